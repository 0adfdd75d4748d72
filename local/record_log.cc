#include "local/record_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "core/check.h"

namespace millrace {
namespace {

constexpr std::size_t kHeadBytes = 8;  // length and CRC-32, little-endian
constexpr std::size_t kPendingBytesMax = 4u << 20;

std::uint32_t checksum(std::string_view bytes) {
  return static_cast<std::uint32_t>(
      crc32(0, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size())));
}

void put_u32(std::string& out, std::uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<char>(value >> shift));
}

std::uint32_t get_u32(std::string_view bytes) {
  std::uint32_t value = 0;
  for (int i = 3; i >= 0; --i) {
    value = value << 8 | static_cast<unsigned char>(bytes[static_cast<std::size_t>(i)]);
  }
  return value;
}

tl::unexpected<Error> failed(const char* what, const std::filesystem::path& path) {
  const int code = errno;
  const auto kind = code == ENOENT                    ? ErrorKind::not_found
                    : code == EACCES || code == EPERM ? ErrorKind::denied
                                                      : ErrorKind::transient;
  return fail(kind,
              fmt::format("{} {}: {}", what, path.string(), std::generic_category().message(code)));
}

bool write_all(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

}  // namespace

Result<RecordLog> RecordLog::open(const std::filesystem::path& path,
                                  const std::function<void(std::string_view)>& visit) {
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file < 0) return failed("opening", path);
  RecordLog log(file, path, 0);

  std::string buffer;
  std::size_t used = 0;  // of the buffer's beginning
  bool sound = true;
  for (bool more = true; more && sound;) {
    buffer.erase(0, used);
    used = 0;
    const std::size_t had = buffer.size();
    buffer.resize(had + kPendingBytesMax);
    const auto got = ::read(file, buffer.data() + had, kPendingBytesMax);
    if (got < 0 && errno != EINTR) return failed("reading", path);
    buffer.resize(had + static_cast<std::size_t>(std::max<ssize_t>(0, got)));
    more = got != 0;
    while (buffer.size() - used >= kHeadBytes) {
      const std::string_view rest = std::string_view(buffer).substr(used);
      const std::uint32_t bytes = get_u32(rest);
      if (bytes > kRecordBytesMax) {
        sound = false;
        break;
      }
      if (rest.size() < kHeadBytes + bytes) break;
      const auto record = rest.substr(kHeadBytes, bytes);
      if (checksum(record) != get_u32(rest.substr(4))) {
        sound = false;
        break;
      }
      visit(record);
      used += kHeadBytes + bytes;
      log.bytes_ += kHeadBytes + bytes;
    }
  }
  if (::ftruncate(file, static_cast<off_t>(log.bytes_)) != 0 || ::lseek(file, 0, SEEK_END) < 0) {
    return failed("cutting", path);
  }
  return log;
}

RecordLog::RecordLog(int file, std::filesystem::path path, std::uint64_t bytes)
    : file_(file), path_(std::move(path)), bytes_(bytes) {}

RecordLog::RecordLog(RecordLog&& other) noexcept
    : file_(std::exchange(other.file_, -1)),
      path_(std::move(other.path_)),
      bytes_(other.bytes_),
      pending_(std::move(other.pending_)) {}

RecordLog& RecordLog::operator=(RecordLog&& other) noexcept {
  std::swap(file_, other.file_);
  std::swap(path_, other.path_);
  std::swap(bytes_, other.bytes_);
  std::swap(pending_, other.pending_);
  return *this;
}

RecordLog::~RecordLog() {
  if (file_ >= 0) ::close(file_);
}

Status RecordLog::append_later(std::string_view record) {
  MILLRACE_CHECK(record.size() <= kRecordBytesMax);
  put_u32(pending_, static_cast<std::uint32_t>(record.size()));
  put_u32(pending_, checksum(record));
  pending_ += record;
  return pending_.size() >= kPendingBytesMax ? flush() : Status{};
}

Status RecordLog::append(std::string_view record) {
  if (auto status = append_later(record); !status) return status;
  return flush();
}

Status RecordLog::flush() {
  const std::string bytes = std::exchange(pending_, {});
  if (!write_all(file_, bytes)) {
    auto error = failed("writing", path_);
    // The half that may stand there would hide what later calls append.
    if (::ftruncate(file_, static_cast<off_t>(bytes_)) != 0 || ::lseek(file_, 0, SEEK_END) < 0) {
      return failed("repairing", path_);
    }
    return error;
  }
  bytes_ += bytes.size();
  return {};
}

Status RecordLog::sync() {
  if (::fdatasync(file_) != 0) return failed("syncing", path_);
  return {};
}

Status replace_file(const std::filesystem::path& path, std::string_view bytes) {
  const auto beside = path.string() + ".new";
  const int file = ::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) return failed("creating", beside);
  const bool good = write_all(file, bytes) && ::fsync(file) == 0;
  if (!good) {
    auto error = failed("writing", beside);
    ::close(file);
    ::unlink(beside.c_str());
    return error;
  }
  ::close(file);
  if (::rename(beside.c_str(), path.c_str()) != 0) return failed("renaming", beside);
  const auto folder_path = path.has_parent_path() ? path.parent_path() : ".";
  const int folder = ::open(folder_path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return failed("opening", folder_path);
  const bool synced = ::fsync(folder) == 0;
  ::close(folder);
  if (!synced) return failed("syncing", folder_path);
  return {};
}

Result<std::string> read_file(const std::filesystem::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return failed("opening", path);
  std::string bytes;
  while (true) {
    const std::size_t had = bytes.size();
    bytes.resize(had + (1u << 20));
    const auto got = ::read(file, bytes.data() + had, 1u << 20);
    if (got < 0 && errno == EINTR) {
      bytes.resize(had);
      continue;
    }
    if (got < 0) {
      auto error = failed("reading", path);
      ::close(file);
      return error;
    }
    bytes.resize(had + static_cast<std::size_t>(got));
    if (got == 0) break;
  }
  ::close(file);
  return bytes;
}

}  // namespace millrace
