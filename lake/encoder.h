// Chunks of lines as independent gzip members or zstd frames: an object is the concatenation of its
// chunks, so that buffers hold nothing but compressed bytes.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "lake/options.h"

namespace millrace {

/// A compressor to be shared by all buffers of one worker: its state is large (gzip 0.6 MiB, zstd
/// about 4 MiB) and is made at the first chunk.
///
/// The bytes are a function of the chunk alone: gzip (RFC 1952) with no name, time 0 and operating
/// system 255; zstd (RFC 8878) at level 3 with content size and checksum. Another release of the
/// libraries, or another kind of processor, may give other bytes of the same content.
///
/// Threads: one at a time.
class Encoder {
 public:
  explicit Encoder(Compression compression);
  ~Encoder();
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;

  /// Appends the chunk to `out`, compressed; an empty chunk appends nothing. Cannot fail: it aborts
  /// only when there is no memory left.
  void encode(std::string_view chunk, std::string& out);

  [[nodiscard]] Compression compression() const { return compression_; }

 private:
  struct Gzip;
  struct Zstd;
  void encode_gzip(std::string_view chunk, std::string& out);
  void encode_zstd(std::string_view chunk, std::string& out);

  Compression compression_;
  std::unique_ptr<Gzip> gzip_;
  std::unique_ptr<Zstd> zstd_;
};

}  // namespace millrace
