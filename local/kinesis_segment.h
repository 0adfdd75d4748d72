// The records of one shard on disk: one append-only file that grows at its end and is cut from its
// front when retention has passed.
//
// Form (all numbers little-endian): a head of 16 bytes ("MRKSEG1\n" and, as u64, the place in the
// shard where the file begins), then records: u32 CRC-32 of what follows, u32 bytes of data, u32
// bytes of key, u64 counter, i64 arrival in Unix milliseconds, key, data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "core/result.h"

namespace millrace {

/// What a segment knows of a record without its bytes.
struct SegmentRecord {
  std::uint64_t at = 0;  // place of key and data in the shard; grows for ever
  std::uint32_t key_bytes = 0;
  std::uint32_t data_bytes = 0;
  std::uint64_t counter = 0;
  std::int64_t arrived_ms = 0;
};

/// Threads: one at a time. Appended records survive a kill of the process; nothing is synced to the
/// disk, so an outage of the machine may cut the newest ones.
class KinesisSegment final {
 public:
  KinesisSegment() = default;
  ~KinesisSegment();
  KinesisSegment(const KinesisSegment&) = delete;
  KinesisSegment& operator=(const KinesisSegment&) = delete;

  /// Opens or makes the file and names every whole record in it, in order. What follows the last
  /// whole record is cut off. `corrupt`: the file is not a segment.
  Status open(const std::filesystem::path& path,
              const std::function<void(const SegmentRecord&)>& each);

  [[nodiscard]] bool is_open() const { return fd_ >= 0; }

  /// Adds the form of one record to `out`, to be written by append(), and gives where its key
  /// begins within `out`.
  static std::size_t encode(std::string& out, std::uint64_t counter, std::int64_t arrived_ms,
                            std::string_view key, std::string_view data);

  /// Writes encoded records at the end and gives the place where they begin. After an error the
  /// file is as it was (a full disk).
  Result<std::uint64_t> append(std::string_view encoded);

  Status read(std::uint64_t at, std::size_t bytes, std::string& out) const;

  /// Nothing before the record whose key is at `at` is needed any more. Frees the disk when at
  /// least half of the file, and 4 MiB, are unneeded; the rest is copied to a new file.
  Status trim(std::uint64_t at);

  void remove();  // with its file

 private:
  std::filesystem::path path_{};
  int fd_ = -1;
  std::uint64_t begin_ = 0;  // place of the first byte after the head
  std::uint64_t end_ = 0;
};

}  // namespace millrace
