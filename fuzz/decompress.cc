// Any bytes as an object of the lake; and any content, packed by us, must come out as it was.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "core/check.h"
#include "lake/decompress.h"
#include "lake/encoder.h"
#include "lake/record_reader.h"

namespace millrace {
namespace {

constexpr std::size_t kContentMax = 8u << 20;  // of what a bomb may expand to: enough to see it

// Hands out the bytes in pieces, so that borders fall everywhere.
class Pieces final : public ByteReader {
 public:
  Pieces(std::string_view text, std::size_t step) : text_(text), step_(step) {}
  Result<std::size_t> read(char* buffer, std::size_t capacity) override {
    const std::size_t count = std::min({capacity, text_.size() - at_, step_});
    std::memcpy(buffer, text_.data() + at_, count);
    at_ += count;
    return count;
  }

 private:
  std::string_view text_;
  std::size_t step_;
  std::size_t at_ = 0;
};

Result<std::string> content_of(std::string_view packed, std::size_t step) {
  Pieces pieces(packed, step);
  Decompressor content(pieces, "object");
  std::string text;
  std::string buffer(step * 3 + 1, '\0');
  while (text.size() < kContentMax) {
    const auto count = content.read(buffer.data(), buffer.size());
    if (!count) {
      const auto again = content.read(buffer.data(), buffer.size());
      MILLRACE_CHECK(!again && again.error().message == count.error().message);
      return fail(count.error());
    }
    if (*count == 0) break;
    text.append(buffer, 0, *count);
  }
  return text;
}

void read_records(std::string_view packed, std::size_t step) {
  Pieces pieces(packed, step);
  Decompressor content(pieces, "object");
  RecordReader records(content);
  for (std::size_t bytes = 0; bytes < kContentMax;) {
    const auto record = records.next();
    if (!record || !*record) return;
    bytes += (*record)->text.size() + 1;
  }
}

}  // namespace
}  // namespace millrace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace millrace;
  if (size == 0) return 0;
  const std::size_t step = data[0] % 64 + 1U;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto whole = content_of(bytes, 1u << 16);
  const auto pieces = content_of(bytes, step);
  MILLRACE_CHECK(whole.has_value() == pieces.has_value());
  if (whole && whole->size() < kContentMax) MILLRACE_CHECK(*whole == *pieces);
  read_records(bytes, step);

  const auto plain = content_of(bytes, 1u << 16);
  if (!plain || *plain != bytes) return 0;  // packed bytes packed once more are refused
  for (const Compression compression : {Compression::gzip, Compression::zstd}) {
    static Encoder gzip(Compression::gzip);
    static Encoder zstd(Compression::zstd);
    Encoder& encoder = compression == Compression::gzip ? gzip : zstd;
    std::string packed;
    encoder.encode(bytes.substr(0, bytes.size() / 3), packed);
    encoder.encode(bytes.substr(bytes.size() / 3), packed);
    const auto unpacked = content_of(packed, step);
    MILLRACE_CHECK(unpacked.has_value() && *unpacked == bytes);
  }
  return 0;
}
