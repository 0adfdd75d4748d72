// Reads plain, gzip and zstd bytes alike, whatever the object is called.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/result.h"
#include "lake/byte_reader.h"
#include "lake/object_store.h"
#include "lake/options.h"

namespace millrace {

/// An object's bytes as a ByteReader.
class ObjectBytesReader final : public ByteReader {
 public:
  explicit ObjectBytesReader(std::unique_ptr<ObjectReader> reader) : reader_(std::move(reader)) {}
  Result<std::size_t> read(char* buffer, std::size_t capacity) override {
    return reader_->read(buffer, capacity);
  }

 private:
  std::unique_ptr<ObjectReader> reader_;
};

struct DecompressOptions {
  std::size_t input_bytes = 64u << 10;  // read at once from the source
  int zstd_window_log_max = 27;  // 128 MiB, what the zstd program takes by default; larger windows
                                 // are refused
};

/// The content of `source`. The form is told by the first bytes, never by the name:
///
/// - gzip (RFC 1952): members back to back; zero bytes after a member are padding; other bytes
/// after
///   the last member are ignored with a warning(), as GNU gzip does.
/// - zstd (RFC 8878): frames and skippable frames; anything else between them is damage.
/// - Nothing at all, or other bytes: taken as they are. But ZIP, bzip2, xz, Snappy, Parquet, ORC
///   and zlib streams, and a content that is compressed once more, are refused by name.
///
/// Errors: `corrupt`, with the name and what is wrong (cut off, checksum, …), after all content
/// before the damage has been given; errors of the source as they are. Memory: about 100 KiB, for
/// zstd the window too; what a few bytes expand to never collects here.
class Decompressor final : public ByteReader {
 public:
  /// `name` is for messages. REQUIRES: `source` outlives this.
  Decompressor(ByteReader& source, std::string name, DecompressOptions options = {});
  ~Decompressor() override;

  Result<std::size_t> read(char* buffer, std::size_t capacity) override;

  /// What was found; nothing before the first read.
  [[nodiscard]] std::optional<Compression> compression() const { return compression_; }

  /// The content is whole, but something about the bytes should be reported.
  [[nodiscard]] const std::optional<std::string>& warning() const { return warning_; }

 private:
  struct Gzip;
  struct Zstd;

  Status fill(std::size_t bytes_min);
  Status recognise();
  Result<std::size_t> read_plain(char* buffer, std::size_t capacity);
  Result<std::size_t> read_gzip(char* buffer, std::size_t capacity);
  Result<std::size_t> read_zstd(char* buffer, std::size_t capacity);
  Result<bool> next_member();
  Status look_at_content(const char* bytes, std::size_t count);
  [[nodiscard]] tl::unexpected<Error> damaged(const std::string& what) const;

  ByteReader& source_;
  std::string name_;
  DecompressOptions options_;
  std::vector<char> input_;
  std::size_t begin_ = 0;  // the unread part of input_ is [begin_, end_)
  std::size_t end_ = 0;
  bool source_ended_ = false;
  std::optional<Compression> compression_{};
  std::optional<std::string> warning_{};
  std::optional<Error> error_{};  // given again at every read
  bool done_ = false;
  std::string content_head_{};  // the first bytes given, up to four
  std::unique_ptr<Gzip> gzip_;
  std::unique_ptr<Zstd> zstd_;
};

}  // namespace millrace
