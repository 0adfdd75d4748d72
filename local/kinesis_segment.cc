#include "local/kinesis_segment.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <zlib.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace millrace {
namespace {

constexpr std::string_view kMagic = "MRKSEG1\n";
constexpr std::size_t kFileHead = 16;
constexpr std::size_t kRecordHead = 28;
constexpr std::uint32_t kKeyBytesMax = 1024;  // 256 characters of UTF-8
constexpr std::uint32_t kDataBytesMax = 10u << 20;
constexpr std::uint64_t kTrimBytesMin = 4u << 20;
constexpr std::size_t kCopyBytes = 1u << 20;

template <class Number>
void put(char* at, Number value) {
  for (std::size_t i = 0; i < sizeof value; ++i) {
    at[i] = static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i));
  }
}
template <class Number>
Number get(const char* at) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(Number); ++i) {
    value |= std::uint64_t{static_cast<unsigned char>(at[i])} << (8 * i);
  }
  return static_cast<Number>(value);
}

std::uint32_t crc_of(const char* bytes, std::size_t count) {
  return static_cast<std::uint32_t>(
      crc32_z(0, reinterpret_cast<const unsigned char*>(bytes), count));
}

Error error_of(const std::filesystem::path& path, std::string_view doing) {
  const int number = errno;
  const ErrorKind kind = number == EACCES || number == EPERM || number == EROFS
                             ? ErrorKind::denied
                             : ErrorKind::transient;
  return {kind, fmt::format("{} {}: {}", doing, path.string(), std::strerror(number)), {}, {}};
}

// All `count` bytes, or false with errno set; a file that ends earlier gives errno 0.
bool read_all(int fd, char* out, std::size_t count, std::uint64_t from) {
  while (count > 0) {
    const ssize_t got = pread(fd, out, count, static_cast<off_t>(from));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      if (got == 0) errno = 0;
      return false;
    }
    out += got;
    count -= static_cast<std::size_t>(got);
    from += static_cast<std::uint64_t>(got);
  }
  return true;
}

bool write_all(int fd, std::string_view bytes, std::uint64_t to) {
  while (!bytes.empty()) {
    const ssize_t put_bytes = pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(to));
    if (put_bytes < 0 && errno == EINTR) continue;
    if (put_bytes < 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(put_bytes));
    to += static_cast<std::uint64_t>(put_bytes);
  }
  return true;
}

std::string file_head(std::uint64_t begin) {
  std::string head(kMagic);
  head.resize(kFileHead);
  put(head.data() + kMagic.size(), begin);
  return head;
}

}  // namespace

KinesisSegment::~KinesisSegment() {
  if (fd_ >= 0) ::close(fd_);
}

Status KinesisSegment::open(const std::filesystem::path& path,
                            const std::function<void(const SegmentRecord&)>& each) {
  path_ = path;
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd_ < 0) return fail(error_of(path_, "opening"));
  const off_t length = lseek(fd_, 0, SEEK_END);
  if (length < 0) return fail(error_of(path_, "measuring"));
  const auto file_bytes = static_cast<std::uint64_t>(length);
  if (file_bytes < kFileHead) {  // new, or killed while it was made: no record was answered yet
    if (ftruncate(fd_, 0) != 0 || !write_all(fd_, file_head(0), 0)) {
      return fail(error_of(path_, "writing"));
    }
    return {};
  }
  std::array<char, kFileHead> head{};
  if (!read_all(fd_, head.data(), head.size(), 0)) return fail(error_of(path_, "reading"));
  if (std::string_view(head.data(), kMagic.size()) != kMagic) {
    return fail(ErrorKind::corrupt,
                fmt::format("{} is not a record segment of the emulated Kinesis; move it away or "
                            "choose another folder",
                            path_.string()));
  }
  begin_ = get<std::uint64_t>(head.data() + kMagic.size());
  std::uint64_t at = kFileHead;
  std::string record;
  while (at + kRecordHead <= file_bytes) {
    record.resize(kRecordHead);
    if (!read_all(fd_, record.data(), kRecordHead, at)) return fail(error_of(path_, "reading"));
    const auto data_bytes = get<std::uint32_t>(record.data() + 4);
    const auto key_bytes = get<std::uint32_t>(record.data() + 8);
    if (data_bytes > kDataBytesMax || key_bytes > kKeyBytesMax) break;
    const std::uint64_t whole = kRecordHead + key_bytes + data_bytes;
    if (at + whole > file_bytes) break;
    record.resize(whole);
    if (!read_all(fd_, record.data() + kRecordHead, whole - kRecordHead, at + kRecordHead)) {
      return fail(error_of(path_, "reading"));
    }
    if (get<std::uint32_t>(record.data()) != crc_of(record.data() + 4, whole - 4)) break;
    each({.at = begin_ + (at - kFileHead) + kRecordHead,
          .key_bytes = key_bytes,
          .data_bytes = data_bytes,
          .counter = get<std::uint64_t>(record.data() + 12),
          .arrived_ms = get<std::int64_t>(record.data() + 20)});
    at += whole;
  }
  if (at < file_bytes && ftruncate(fd_, static_cast<off_t>(at)) != 0) {
    return fail(error_of(path_, "cutting the torn tail of"));
  }
  end_ = begin_ + (at - kFileHead);
  return {};
}

std::size_t KinesisSegment::encode(std::string& out, std::uint64_t counter, std::int64_t arrived_ms,
                                   std::string_view key, std::string_view data) {
  const std::size_t from = out.size();
  out.resize(from + kRecordHead);
  put(out.data() + from + 4, static_cast<std::uint32_t>(data.size()));
  put(out.data() + from + 8, static_cast<std::uint32_t>(key.size()));
  put(out.data() + from + 12, counter);
  put(out.data() + from + 20, arrived_ms);
  out.append(key).append(data);
  put(out.data() + from, crc_of(out.data() + from + 4, out.size() - from - 4));
  return from + kRecordHead;
}

Result<std::uint64_t> KinesisSegment::append(std::string_view encoded) {
  const std::uint64_t file_at = kFileHead + (end_ - begin_);
  if (!write_all(fd_, encoded, file_at)) {
    const Error error = error_of(path_, "writing");
    // A half-written record would be cut at the next start anyway; the next append overwrites it.
    if (ftruncate(fd_, static_cast<off_t>(file_at)) != 0) return fail(error);
    return fail(error);
  }
  const std::uint64_t at = end_;
  end_ += encoded.size();
  return at;
}

Status KinesisSegment::read(std::uint64_t at, std::size_t bytes, std::string& out) const {
  out.resize(bytes);
  if (!read_all(fd_, out.data(), bytes, kFileHead + (at - begin_))) {
    return fail(error_of(path_, "reading"));
  }
  return {};
}

Status KinesisSegment::trim(std::uint64_t at) {
  const std::uint64_t keep_from = at - kRecordHead;
  const std::uint64_t unneeded = keep_from - begin_;
  if (unneeded < kTrimBytesMin || unneeded < (end_ - begin_) / 2) return {};
  const std::filesystem::path fresh_path = path_.string() + ".new";
  const int fresh = ::open(fresh_path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fresh < 0) return fail(error_of(fresh_path, "opening"));
  bool copied = write_all(fresh, file_head(keep_from), 0);
  std::string part;
  for (std::uint64_t from = keep_from; copied && from < end_; from += part.size()) {
    part.resize(std::min<std::uint64_t>(kCopyBytes, end_ - from));
    copied = read_all(fd_, part.data(), part.size(), kFileHead + (from - begin_)) &&
             write_all(fresh, part, kFileHead + (from - keep_from));
  }
  if (!copied || ::rename(fresh_path.c_str(), path_.c_str()) != 0) {
    const Error error = error_of(fresh_path, "copying the kept records to");
    ::close(fresh);
    ::unlink(fresh_path.c_str());
    return fail(error);
  }
  ::close(fd_);
  fd_ = fresh;
  begin_ = keep_from;
  return {};
}

void KinesisSegment::remove() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
  ::unlink(path_.c_str());
}

}  // namespace millrace
