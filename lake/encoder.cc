#include "lake/encoder.h"

#include <isa-l/igzip_lib.h>
#include <zstd.h>

#include <algorithm>
#include <vector>

#include "core/check.h"

namespace millrace {
namespace {

constexpr int kZstdLevel = 3;
constexpr std::size_t kOutputStep = 64u << 10;
// ISA-L counts in 32 bits; larger chunks are fed in pieces of one member.
constexpr std::size_t kInputStep = 1u << 30;

}  // namespace

struct Encoder::Gzip {
  isal_zstream stream{};
  std::vector<std::uint8_t> level_buffer = std::vector<std::uint8_t>(ISAL_DEF_LVL1_DEFAULT);
};

struct Encoder::Zstd {
  struct Free {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  };
  std::unique_ptr<ZSTD_CCtx, Free> context{ZSTD_createCCtx()};
};

Encoder::Encoder(Compression compression) : compression_(compression) {}
Encoder::~Encoder() = default;

void Encoder::encode(std::string_view chunk, std::string& out) {
  if (chunk.empty()) return;
  switch (compression_) {
    case Compression::none:
      out += chunk;
      return;
    case Compression::gzip:
      return encode_gzip(chunk, out);
    case Compression::zstd:
      return encode_zstd(chunk, out);
  }
}

void Encoder::encode_gzip(std::string_view chunk, std::string& out) {
  if (!gzip_) gzip_ = std::make_unique<Gzip>();
  isal_zstream& stream = gzip_->stream;
  isal_deflate_init(&stream);
  stream.gzip_flag = IGZIP_GZIP;
  stream.level = 1;
  stream.level_buf = gzip_->level_buffer.data();
  stream.level_buf_size = static_cast<std::uint32_t>(gzip_->level_buffer.size());
  stream.flush = NO_FLUSH;

  std::size_t used = out.size();
  std::size_t fed = 0;
  // A fifth is a usual size of such lines; a wrong guess costs another round.
  out.resize(used + std::max(chunk.size() / 5, kOutputStep));
  while (stream.internal_state.state != ZSTATE_END) {
    if (stream.avail_in == 0 && fed < chunk.size()) {
      const std::size_t length = std::min(chunk.size() - fed, kInputStep);
      // ISA-L's interface lacks a const; it does not write.
      stream.next_in = reinterpret_cast<std::uint8_t*>(const_cast<char*>(chunk.data() + fed));
      stream.avail_in = static_cast<std::uint32_t>(length);
      fed += length;
      stream.end_of_stream = fed == chunk.size() ? 1 : 0;
    }
    if (used == out.size()) out.resize(used + kOutputStep);
    const std::size_t room = std::min(out.size() - used, kInputStep);
    stream.next_out = reinterpret_cast<std::uint8_t*>(out.data() + used);
    stream.avail_out = static_cast<std::uint32_t>(room);
    MILLRACE_CHECK(isal_deflate(&stream) == COMP_OK);
    used += room - stream.avail_out;
  }
  out.resize(used);
}

void Encoder::encode_zstd(std::string_view chunk, std::string& out) {
  if (!zstd_) {
    zstd_ = std::make_unique<Zstd>();
    ZSTD_CCtx* context = zstd_->context.get();
    MILLRACE_CHECK(context != nullptr);
    MILLRACE_CHECK(
        !ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, kZstdLevel)));
    MILLRACE_CHECK(!ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1)));
  }
  const std::size_t begin = out.size();
  out.resize(begin + ZSTD_compressBound(chunk.size()));
  const std::size_t written = ZSTD_compress2(zstd_->context.get(), out.data() + begin,
                                             out.size() - begin, chunk.data(), chunk.size());
  MILLRACE_CHECK(!ZSTD_isError(written));
  out.resize(begin + written);
}

}  // namespace millrace
