#include "lake/decompress.h"

#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <string_view>

#include "core/check.h"

namespace millrace {
namespace {

constexpr std::string_view kGzipMagic = "\x1f\x8b";
constexpr std::string_view kZstdMagic = "\x28\xb5\x2f\xfd";
constexpr std::size_t kMagicBytesMax = 10;

bool begins_with(std::string_view bytes, std::string_view magic) {
  return bytes.substr(0, magic.size()) == magic;
}

/// Skippable frames have the magic numbers 0x184D2A50 to 0x184D2A5F, little-endian.
bool begins_with_zstd(std::string_view bytes) {
  return begins_with(bytes, kZstdMagic) ||
         (bytes.size() >= 4 && (static_cast<unsigned char>(bytes[0]) & 0xF0) == 0x50 &&
          bytes.substr(1, 3) == "\x2a\x4d\x18");
}

/// Forms that the lake does not read, by the bytes that no text begins with.
std::string_view foreign_form(std::string_view bytes) {
  const struct {
    std::string_view magic;
    std::string_view name;
  } forms[] = {{"PK\x03\x04", "ZIP"},
               {"\xfd"
                "7zXZ",
                "xz"},
               {"BZh91AY&SY", "bzip2"},
               {std::string_view("\xff\x06\0\0sNaPpY", 10), "Snappy"},
               {"PAR1", "Parquet"},
               {"ORC\n", "ORC"},
               {"\x78\x01", "a zlib stream"},
               {"\x78\x9c", "a zlib stream"},
               {"\x78\xda", "a zlib stream"}};
  for (const auto& form : forms) {
    if (begins_with(bytes, form.magic)) return form.name;
  }
  return {};
}

}  // namespace

struct Decompressor::Gzip {
  z_stream stream{};
  bool in_member = false;

  Gzip() { MILLRACE_CHECK(inflateInit2(&stream, 15 + 16) == Z_OK); }
  ~Gzip() { inflateEnd(&stream); }
  Gzip(const Gzip&) = delete;
  Gzip& operator=(const Gzip&) = delete;
};

struct Decompressor::Zstd {
  struct Free {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  std::unique_ptr<ZSTD_DCtx, Free> context{ZSTD_createDCtx()};
  bool in_frame = false;
};

Decompressor::Decompressor(ByteReader& source, std::string name, DecompressOptions options)
    : source_(source),
      name_(std::move(name)),
      options_(options),
      input_(std::max(options.input_bytes, kMagicBytesMax)) {}

Decompressor::~Decompressor() = default;

tl::unexpected<Error> Decompressor::damaged(const std::string& what) const {
  return fail(ErrorKind::corrupt, fmt::format("{} is damaged: {}", name_, what));
}

Result<std::size_t> Decompressor::read(char* buffer, std::size_t capacity) {
  if (error_) return fail(*error_);
  if (done_) return 0;
  Result<std::size_t> got = 0;
  if (!compression_) {
    if (auto status = recognise(); !status) got = fail(status.error());
  }
  if (got) {
    got = compression_ == Compression::gzip   ? read_gzip(buffer, capacity)
          : compression_ == Compression::zstd ? read_zstd(buffer, capacity)
                                              : read_plain(buffer, capacity);
  }
  if (got && *got > 0) {
    if (auto status = look_at_content(buffer, *got); !status) got = fail(status.error());
  }
  if (!got) error_ = got.error();
  if (got && *got == 0) done_ = true;
  return got;
}

/// Makes at least `bytes_min` bytes of input ready, or all that are left.
Status Decompressor::fill(std::size_t bytes_min) {
  while (end_ - begin_ < bytes_min && !source_ended_) {
    if (begin_ > 0) {
      std::memmove(input_.data(), input_.data() + begin_, end_ - begin_);
      end_ -= begin_;
      begin_ = 0;
    }
    const auto got = source_.read(input_.data() + end_, input_.size() - end_);
    if (!got) return fail(got.error().while_doing("reading " + name_));
    source_ended_ = *got == 0;
    end_ += *got;
  }
  return {};
}

Status Decompressor::recognise() {
  if (auto status = fill(kMagicBytesMax); !status) return status;
  const std::string_view head(input_.data() + begin_, end_ - begin_);
  if (begins_with(head, kGzipMagic)) {
    compression_ = Compression::gzip;
    gzip_ = std::make_unique<Gzip>();
    gzip_->in_member = true;
  } else if (begins_with_zstd(head)) {
    compression_ = Compression::zstd;
    zstd_ = std::make_unique<Zstd>();
    MILLRACE_CHECK(zstd_->context != nullptr);
    MILLRACE_CHECK(!ZSTD_isError(ZSTD_DCtx_setParameter(zstd_->context.get(), ZSTD_d_windowLogMax,
                                                        options_.zstd_window_log_max)));
  } else if (const auto form = foreign_form(head); !form.empty()) {
    return fail(
        ErrorKind::corrupt,
        fmt::format("{} is {}; the lake is read as plain text, gzip or zstd only", name_, form));
  } else {
    compression_ = Compression::none;
  }
  return {};
}

Status Decompressor::look_at_content(const char* bytes, std::size_t count) {
  if (content_head_.size() >= 4) return {};
  content_head_.append(bytes, std::min(count, 4 - content_head_.size()));
  if (compression_ == Compression::none) return {};
  if (begins_with(content_head_, kGzipMagic) || begins_with_zstd(content_head_)) {
    return damaged(
        "its content is compressed once more (compressed by the producer and again on "
        "its way here); decompress it once");
  }
  return {};
}

Result<std::size_t> Decompressor::read_plain(char* buffer, std::size_t capacity) {
  if (begin_ == end_) {
    const auto got = source_.read(buffer, capacity);
    if (!got) return fail(got.error().while_doing("reading " + name_));
    return got;
  }
  const std::size_t count = std::min(capacity, end_ - begin_);
  std::memcpy(buffer, input_.data() + begin_, count);
  begin_ += count;
  return count;
}

/// After a member: true when another one begins.
Result<bool> Decompressor::next_member() {
  std::uint64_t padding = 0;
  while (true) {
    if (auto status = fill(1); !status) return fail(status.error());
    if (begin_ == end_) return false;
    if (input_[begin_] != 0) break;
    ++begin_;
    ++padding;
  }
  if (auto status = fill(2); !status) return fail(status.error());
  const std::string_view rest(input_.data() + begin_, end_ - begin_);
  if (rest.size() == 1 && rest[0] == kGzipMagic[0]) {
    return damaged("gzip: it is cut off in the header of a further member");
  }
  if (begins_with(rest, kGzipMagic)) return true;
  warning_ = fmt::format("{}: bytes after the last gzip member are ignored", name_);
  return false;
}

Result<std::size_t> Decompressor::read_gzip(char* buffer, std::size_t capacity) {
  z_stream& stream = gzip_->stream;
  const std::size_t room = std::min<std::size_t>(capacity, std::numeric_limits<uInt>::max());
  stream.next_out = reinterpret_cast<Bytef*>(buffer);
  stream.avail_out = static_cast<uInt>(room);
  while (stream.avail_out > 0) {
    const std::size_t given = room - stream.avail_out;
    if (!gzip_->in_member) {
      if (given > 0) return given;  // what is known to be good first
      const auto another = next_member();
      if (!another) return fail(another.error());
      if (!*another) return 0;
      inflateReset(&stream);
      gzip_->in_member = true;
    }
    if (auto status = fill(1); !status) {
      if (given > 0) return given;  // the source will fail again at the next call
      return fail(status.error());
    }
    stream.next_in = reinterpret_cast<Bytef*>(input_.data() + begin_);
    stream.avail_in = static_cast<uInt>(end_ - begin_);
    const int outcome = inflate(&stream, Z_NO_FLUSH);
    begin_ = end_ - stream.avail_in;
    const std::size_t count = room - stream.avail_out;
    if (outcome == Z_STREAM_END) {
      gzip_->in_member = false;
    } else if (outcome == Z_BUF_ERROR || (outcome == Z_OK && begin_ == end_ && source_ended_)) {
      if (count > 0) return count;
      return damaged("gzip: it is cut off");
    } else if (outcome != Z_OK) {
      // zlib repeats its verdict at the next call.
      if (count > 0) return count;
      return damaged(fmt::format("gzip: {}", stream.msg ? stream.msg : "not a sound stream"));
    }
  }
  return room;
}

Result<std::size_t> Decompressor::read_zstd(char* buffer, std::size_t capacity) {
  ZSTD_outBuffer out{buffer, capacity, 0};
  while (true) {
    const bool had_input = begin_ < end_;
    if (!had_input && !zstd_->in_frame) {
      if (auto status = fill(1); !status) return fail(status.error());
      if (begin_ == end_) return 0;
    }
    ZSTD_inBuffer in{input_.data(), end_, begin_};
    const std::size_t outcome = ZSTD_decompressStream(zstd_->context.get(), &out, &in);
    const bool moved = in.pos > begin_ || out.pos > 0;
    begin_ = in.pos;
    if (ZSTD_isError(outcome)) {
      if (ZSTD_getErrorCode(outcome) == ZSTD_error_frameParameter_windowTooLarge) {
        return damaged(
            fmt::format("zstd: it needs a window of more than {} MiB, the most that is "
                        "allowed here",
                        (1u << options_.zstd_window_log_max) >> 20));
      }
      return damaged(fmt::format("zstd: {}", ZSTD_getErrorName(outcome)));
    }
    zstd_->in_frame = outcome != 0;
    if (out.pos > 0) return out.pos;
    if (begin_ < end_ && moved) continue;
    if (auto status = fill(1); !status) return fail(status.error());
    if (begin_ == end_) {
      if (!zstd_->in_frame) return 0;
      return damaged("zstd: it is cut off");
    }
  }
}

}  // namespace millrace
