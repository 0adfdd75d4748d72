#include "lake/disk_object_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <optional>
#include <utility>

#include "core/check.h"
#include "lake/object_key.h"

namespace millrace {
namespace {

constexpr std::string_view kTemporaryFolder = ".millrace-tmp";
constexpr std::size_t kSegmentBytesMax = 255;       // NAME_MAX of the usual file systems
constexpr std::size_t kDurableFoldersMax = 10'000;  // remembered; more are flushed once more
constexpr int kAttemptsMax = 100;  // against another process that removes an empty folder meanwhile

class FileHandle {
 public:
  explicit FileHandle(int descriptor = -1) : descriptor_(descriptor) {}
  ~FileHandle() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  FileHandle(FileHandle&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  FileHandle& operator=(FileHandle&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  FileHandle(const FileHandle&) = delete;
  FileHandle& operator=(const FileHandle&) = delete;
  [[nodiscard]] bool open() const { return descriptor_ >= 0; }
  [[nodiscard]] int get() const { return descriptor_; }

 private:
  int descriptor_;
};

tl::unexpected<Error> failed(std::string_view doing, const std::string& path, int code) {
  const auto error = [&](ErrorKind kind, std::string_view advice) {
    return fail(kind, fmt::format("{} {}: {}{}", doing, path, std::strerror(code), advice),
                fmt::format("errno {}", code));
  };
  switch (code) {
    case ENOENT:
      return error(ErrorKind::not_found, "");
    case EEXIST:
      return error(ErrorKind::conflict, "");
    case ENOSPC:
    case EDQUOT:
      return error(ErrorKind::transient, "; make room on that disk");
    case EACCES:
    case EPERM:
    case EROFS:
      return error(ErrorKind::denied, "; give this user the right to write there");
    case ENOTDIR:
    case EISDIR:
    case ENAMETOOLONG:
    case ELOOP:
    case EXDEV:
      return error(ErrorKind::invalid, "; choose another folder or key");
    default:
      return error(ErrorKind::transient, "");
  }
}

std::int64_t nanoseconds(const timespec& time) {
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

std::string etag_of(const struct stat& info) {
  return fmt::format("{:x}-{:x}-{:x}", info.st_ino, nanoseconds(info.st_mtim), info.st_size);
}

ObjectInfo info_of(const std::string& key, const struct stat& info) {
  return {key, static_cast<std::uint64_t>(info.st_size), etag_of(info),
          wall_time_of_ms(nanoseconds(info.st_mtim) / 1'000'000)};
}

Status write_all(int file, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return failed("writing", path, errno);
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

/// Flushes a written file. Its time is set from the fine clock first: the kernel's own stamps move
/// every few milliseconds, and an etag must change with every write.
Status finish_file(int file, const std::string& path) {
  timespec times[2] = {{0, UTIME_OMIT}, {}};
  clock_gettime(CLOCK_REALTIME, &times[1]);
  if (::futimens(file, times) != 0) return failed("writing", path, errno);
  if (::fsync(file) != 0) return failed("flushing", path, errno);
  return {};
}

Status sync_folder(const std::string& path) {
  const FileHandle folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.open()) return failed("opening folder", path, errno);
  if (::fsync(folder.get()) != 0) return failed("flushing folder", path, errno);
  return {};
}

Status check_disk_key(const std::string& key) {
  if (auto status = check_object_key(key); !status) return status;
  for (std::size_t begin = 0; begin < key.size();) {
    const std::size_t end = std::min(key.find('/', begin), key.size());
    if (end - begin > kSegmentBytesMax) {
      return fail(ErrorKind::invalid, fmt::format("the key {} has a segment of more than {} bytes, "
                                                  "which no disk can hold",
                                                  key, kSegmentBytesMax));
    }
    begin = end + 1;
  }
  if (key.substr(0, key.find('/')) == kTemporaryFolder) {
    return fail(ErrorKind::invalid,
                fmt::format("the key {} begins with our own folder for temporary files", key));
  }
  return {};
}

/// The regular file at `path`, open for reading, and what it is.
Result<FileHandle> open_object(const std::string& path, struct stat& info) {
  FileHandle file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.open()) {
    if (errno == ENOTDIR) return failed("reading", path, ENOENT);
    return failed("reading", path, errno);
  }
  if (::fstat(file.get(), &info) != 0) return failed("reading", path, errno);
  if (!S_ISREG(info.st_mode)) return failed("reading", path, ENOENT);
  return file;
}

class FileReader final : public ObjectReader {
 public:
  FileReader(FileHandle file, std::uint64_t bytes, std::string path)
      : file_(std::move(file)), left_(bytes), path_(std::move(path)) {}

  Result<std::size_t> read(char* buffer, std::size_t capacity) override {
    if (left_ == 0) return 0;
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(capacity, left_));
    while (true) {
      const ssize_t got = ::read(file_.get(), buffer, wanted);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return failed("reading", path_, errno);
      if (got == 0) {
        return fail(ErrorKind::corrupt,
                    fmt::format("{} ended {} bytes before its length; it was cut while it was read",
                                path_, left_));
      }
      left_ -= static_cast<std::uint64_t>(got);
      return static_cast<std::size_t>(got);
    }
  }

 private:
  FileHandle file_;
  std::uint64_t left_;
  std::string path_;
};

}  // namespace

/// A file in the temporary folder, locked as long as this object lives, and removed with it unless
/// it was renamed away.
class DiskObjectStore::TemporaryFile {
 public:
  static Result<TemporaryFile> make(const std::string& root) {
    static std::atomic<std::uint64_t> number{0};
    const std::string folder = fmt::format("{}/{}", root, kTemporaryFolder);
    for (int attempt = 0; attempt < kAttemptsMax; ++attempt) {
      if (::mkdir(folder.c_str(), 0777) != 0 && errno != EEXIST) {
        return failed("making folder", folder, errno);
      }
      std::string path = fmt::format("{}/{}-{}", folder, ::getpid(), number++);
      FileHandle file(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
      // Another process may have removed the empty folder, or may use our process id in another
      // namespace.
      if (!file.open() && (errno == ENOENT || errno == EEXIST)) continue;
      if (!file.open()) return failed("making", path, errno);
      struct stat info {};
      // Until we hold the lock, a clean-up elsewhere may take the file for a leftover.
      if (::flock(file.get(), LOCK_EX) != 0 || ::fstat(file.get(), &info) != 0) {
        return failed("locking", path, errno);
      }
      if (info.st_nlink == 0) continue;
      return TemporaryFile(folder, std::move(path), std::move(file));
    }
    return fail(ErrorKind::transient, "making a file in " + folder + ": too many collisions");
  }

  TemporaryFile(TemporaryFile&& other) noexcept = default;
  TemporaryFile& operator=(TemporaryFile&&) = delete;
  ~TemporaryFile() {
    if (!file_.open()) return;
    if (!renamed_) ::unlink(path_.c_str());
    ::rmdir(folder_.c_str());  // fails while others write, which is right
  }

  [[nodiscard]] int get() const { return file_.get(); }
  [[nodiscard]] const std::string& path() const { return path_; }
  void renamed() { renamed_ = true; }

 private:
  TemporaryFile(std::string folder, std::string path, FileHandle file)
      : folder_(std::move(folder)), path_(std::move(path)), file_(std::move(file)) {}

  std::string folder_;
  std::string path_;
  FileHandle file_;
  bool renamed_ = false;
};

class DiskObjectStore::Writer final : public ObjectWriter {
 public:
  Writer(DiskObjectStore& store, std::string key, TemporaryFile file)
      : store_(store), key_(std::move(key)), file_(std::move(file)) {}

  Status write(std::string_view bytes) override {
    MILLRACE_CHECK(!published_);
    return write_all(file_.get(), bytes, store_.path_of(key_));
  }
  Result<ObjectInfo> publish() override {
    MILLRACE_CHECK(!published_);
    published_ = true;
    if (auto etag = store_.replace_by(file_, key_, {}); !etag) return fail(etag.error());
    struct stat info {};
    if (::fstat(file_.get(), &info) != 0) return failed("reading", store_.path_of(key_), errno);
    return info_of(key_, info);
  }

 private:
  DiskObjectStore& store_;
  std::string key_;
  TemporaryFile file_;
  bool published_ = false;
};

DiskObjectStore::DiskObjectStore(std::string root, Options options)
    : root_(std::move(root)), options_(options) {
  MILLRACE_CHECK(!root_.empty() && root_.front() == '/');
  while (!root_.empty() && root_.back() == '/') root_.pop_back();
}

/// What a killed process left is locked by nobody. Best effort: a failure only leaves it there.
void DiskObjectStore::remove_leftovers() {
  const std::string folder = fmt::format("{}/{}", root_, kTemporaryFolder);
  DIR* listing = ::opendir(folder.c_str());
  if (listing == nullptr) return;
  while (const dirent* entry = ::readdir(listing)) {
    const std::string path = folder + "/" + entry->d_name;
    const FileHandle file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    struct stat info {};
    if (!file.open() || ::fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
    if (::flock(file.get(), LOCK_EX | LOCK_NB) == 0) ::unlink(path.c_str());
  }
  ::closedir(listing);
  ::rmdir(folder.c_str());
}

/// Makes the folders of `key`, the root too.
Status DiskObjectStore::make_folders(const std::string& key) {
  const std::string path = path_of(key);
  const std::string folder = path.substr(0, path.rfind('/'));
  if (folder.empty() || ::mkdir(folder.c_str(), 0777) == 0 || errno == EEXIST) return {};
  if (errno != ENOENT) return failed("making folder", folder, errno);
  for (std::size_t end = folder.find('/', 1);; end = folder.find('/', end + 1)) {
    const std::string part = folder.substr(0, end);
    if (::mkdir(part.c_str(), 0777) != 0 && errno != EEXIST) {
      return failed("making folder", part, errno);
    }
    if (end == std::string::npos) return {};
  }
}

/// The name must survive a power cut, and so must the names of the folders above it, whoever made
/// them.
Status DiskObjectStore::sync_folder_of(const std::string& key) {
  const std::string path = path_of(key);
  std::string folder = path.substr(0, path.rfind('/'));
  if (auto status = sync_folder(folder.empty() ? "/" : folder); !status) return status;
  {
    const std::lock_guard lock(mutex_);
    if (durable_folders_.count(folder) > 0) return {};
  }
  const std::string made = folder;
  while (folder.size() > root_.size()) {
    folder = folder.substr(0, folder.rfind('/'));
    if (auto status = sync_folder(folder.empty() ? "/" : folder); !status) return status;
  }
  // The root itself may be new; its parent may be somebody else's, whom we cannot flush.
  if (!root_.empty()) {
    const std::string parent = root_.substr(0, root_.rfind('/'));
    if (auto status = sync_folder(parent.empty() ? "/" : parent);
        !status && status.error().kind != ErrorKind::denied) {
      return status;
    }
  }
  const std::lock_guard lock(mutex_);
  if (durable_folders_.size() >= kDurableFoldersMax) durable_folders_.clear();
  durable_folders_.insert(made);
  return {};
}

Result<std::string> DiskObjectStore::put(const std::string& key, std::string_view bytes,
                                         const PutIf& condition) {
  if (auto status = check_disk_key(key); !status) return fail(status.error());
  std::call_once(leftovers_removed_, [&] { remove_leftovers(); });
  if (auto status = make_folders(key); !status) return fail(status.error());
  if (condition.kind == PutIf::Kind::absent) return put_new(key, bytes);
  auto file = TemporaryFile::make(root_);
  if (!file) return fail(file.error());
  if (auto status = write_all(file->get(), bytes, path_of(key)); !status) {
    return fail(status.error());
  }
  return replace_by(*file, key, condition);
}

Result<std::string> DiskObjectStore::put_new(const std::string& key, std::string_view bytes) {
  const std::string path = path_of(key);
  struct stat info {};
  // Spares the writing; the link below is what decides. What a killed writer linked may not have
  // reached the disk yet, so that "already there" promises the same as our own write.
  const auto already_there = [&]() -> Result<std::string> {
    if (::lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) {
      return failed("writing", path, EISDIR);
    }
    if (auto status = sync_folder_of(key); !status) return fail(status.error());
    return fail(ErrorKind::conflict, path + " exists already");
  };
  if (::lstat(path.c_str(), &info) == 0) return already_there();

  const std::string folder = path.substr(0, path.rfind('/'));
  std::optional<TemporaryFile> temporary;
  FileHandle nameless;
  if (options_.nameless_files) {
    nameless = FileHandle(::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0666));
    if (!nameless.open() && errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL) {
      return failed("writing", path, errno);
    }
  }
  if (!nameless.open()) {
    auto made = TemporaryFile::make(root_);
    if (!made) return fail(made.error());
    temporary.emplace(std::move(*made));
  }
  const int file = temporary ? temporary->get() : nameless.get();
  if (auto status = write_all(file, bytes, path); !status) return fail(status.error());
  if (auto status = finish_file(file, path); !status) return fail(status.error());
  if (::fstat(file, &info) != 0) return failed("reading", path, errno);
  const std::string from =
      temporary ? temporary->path() : fmt::format("/proc/self/fd/{}", nameless.get());
  if (::linkat(AT_FDCWD, from.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) != 0) {
    if (errno == EEXIST) return already_there();
    return failed("writing", path, errno);
  }
  if (auto status = sync_folder_of(key); !status) return fail(status.error());
  return etag_of(info);
}

Result<std::string> DiskObjectStore::replace_by(TemporaryFile& file, const std::string& key,
                                                const PutIf& condition) {
  const std::string path = path_of(key);
  if (auto status = finish_file(file.get(), path); !status) return fail(status.error());
  if (auto status = make_folders(key); !status) return fail(status.error());
  const std::string root = root_.empty() ? "/" : root_;
  const FileHandle lock(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock.open()) return failed("opening folder", root, errno);
  while (::flock(lock.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return failed("locking", root, errno);
  }
  struct stat info {};
  if (condition.kind == PutIf::Kind::unchanged &&
      (::stat(path.c_str(), &info) != 0 || etag_of(info) != condition.etag)) {
    return fail(ErrorKind::conflict, path + " has changed since it was read");
  }
  if (::fstat(file.get(), &info) != 0) return failed("reading", path, errno);
  if (::rename(file.path().c_str(), path.c_str()) != 0) return failed("writing", path, errno);
  file.renamed();
  if (auto status = sync_folder_of(key); !status) return fail(status.error());
  return etag_of(info);
}

Result<ObjectBytes> DiskObjectStore::get(const std::string& key) {
  if (auto status = check_disk_key(key); !status) return fail(status.error());
  struct stat info {};
  auto file = open_object(path_of(key), info);
  if (!file) return fail(file.error());
  ObjectBytes object{std::string(static_cast<std::size_t>(info.st_size), '\0'), etag_of(info)};
  FileReader reader(std::move(*file), static_cast<std::uint64_t>(info.st_size), path_of(key));
  for (std::size_t at = 0; at < object.bytes.size();) {
    const auto got = reader.read(object.bytes.data() + at, object.bytes.size() - at);
    if (!got) return fail(got.error());
    at += *got;
  }
  return object;
}

Result<ObjectInfo> DiskObjectStore::head(const std::string& key) {
  if (auto status = check_disk_key(key); !status) return fail(status.error());
  struct stat info {};
  if (::stat(path_of(key).c_str(), &info) != 0) {
    return failed("reading", path_of(key), errno == ENOTDIR ? ENOENT : errno);
  }
  if (!S_ISREG(info.st_mode)) return failed("reading", path_of(key), ENOENT);
  return info_of(key, info);
}

Result<std::unique_ptr<ObjectReader>> DiskObjectStore::open(const std::string& key) {
  if (auto status = check_disk_key(key); !status) return fail(status.error());
  struct stat info {};
  auto file = open_object(path_of(key), info);
  if (!file) return fail(file.error());
  return std::make_unique<FileReader>(std::move(*file), static_cast<std::uint64_t>(info.st_size),
                                      path_of(key));
}

Result<std::unique_ptr<ObjectWriter>> DiskObjectStore::create(const std::string& key) {
  if (auto status = check_disk_key(key); !status) return fail(status.error());
  std::call_once(leftovers_removed_, [&] { remove_leftovers(); });
  if (auto status = make_folders(key); !status) return fail(status.error());
  auto file = TemporaryFile::make(root_);
  if (!file) return fail(file.error());
  return std::make_unique<Writer>(*this, key, std::move(*file));
}

namespace {

/// One folder's part of a listing: depth first, in byte order of the keys.
class Listing {
 public:
  Listing(const std::string& root, const std::string& prefix, const std::string& after,
          std::size_t objects_max)
      : root_(root), prefix_(prefix), after_(after), objects_max_(objects_max) {}

  /// `folder` is "" or ends in a slash. False: the page is full.
  Result<bool> add_folder(const std::string& folder) {
    auto names = names_in(folder);
    if (!names) return fail(names.error());
    for (const std::string& name : *names) {
      const std::string key = folder + name;
      if (name.back() == '/') {
        if (!may_hold(key)) continue;
        auto more = add_folder(key);
        if (!more || !*more) return more;
      } else if (key > after_ && key.compare(0, prefix_.size(), prefix_) == 0) {
        struct stat info {};
        if (::stat((root_ + "/" + key).c_str(), &info) != 0) {
          if (errno == ENOENT) continue;  // removed a moment ago
          return failed("reading", root_ + "/" + key, errno);
        }
        if (!S_ISREG(info.st_mode) || !check_object_key(key)) continue;
        if (page_.objects.size() == objects_max_) {
          page_.next = page_.objects.back().key;
          return false;
        }
        page_.objects.push_back(info_of(key, info));
      }
    }
    return true;
  }

  ObjectPage take() { return std::move(page_); }

 private:
  /// Whether a key below `folder` can be on the page.
  [[nodiscard]] bool may_hold(const std::string& folder) const {
    const std::size_t common = std::min(folder.size(), prefix_.size());
    if (folder.compare(0, common, prefix_, 0, common) != 0) return false;
    return folder > after_ || after_.compare(0, folder.size(), folder) == 0;
  }

  /// The names in one folder in the order of their keys: folders with their slash.
  Result<std::vector<std::string>> names_in(const std::string& folder) const {
    const std::string path = root_ + "/" + folder;
    std::vector<std::string> names;
    DIR* listing = ::opendir(path.c_str());
    if (listing == nullptr) {
      if (errno == ENOENT || errno == ENOTDIR) return names;
      return failed("reading folder", path, errno);
    }
    while (const dirent* entry = ::readdir(listing)) {
      std::string name = entry->d_name;
      if (name == "." || name == ".." || (folder.empty() && name == kTemporaryFolder)) continue;
      bool is_folder = entry->d_type == DT_DIR;
      if (entry->d_type == DT_LNK || entry->d_type == DT_UNKNOWN) {
        struct stat info {};
        is_folder = ::stat((path + name).c_str(), &info) == 0 && S_ISDIR(info.st_mode);
      }
      if (is_folder) name += '/';
      names.push_back(std::move(name));
    }
    ::closedir(listing);
    std::sort(names.begin(), names.end());
    return names;
  }

  const std::string& root_;
  const std::string& prefix_;
  const std::string& after_;
  std::size_t objects_max_;
  ObjectPage page_{};
};

}  // namespace

Result<ObjectPage> DiskObjectStore::list(const std::string& prefix, const std::string& after,
                                         std::size_t objects_max) {
  MILLRACE_CHECK(objects_max >= 1 && objects_max <= 1000);
  // The folder that all keys of this prefix lie in; nothing beside it is read.
  const std::size_t slash = prefix.rfind('/');
  const std::string folder = slash == std::string::npos ? "" : prefix.substr(0, slash + 1);
  if (!folder.empty() && !check_object_key(folder.substr(0, slash))) return ObjectPage{};
  if (folder.substr(0, folder.find('/')) == kTemporaryFolder) return ObjectPage{};
  Listing listing(root_, prefix, after, objects_max);
  if (auto more = listing.add_folder(folder); !more) return fail(more.error());
  return listing.take();
}

Status DiskObjectStore::remove(const std::string& key) {
  if (auto status = check_disk_key(key); !status) return status;
  const std::string root = root_.empty() ? "/" : root_;
  const FileHandle lock(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock.open()) {
    if (errno == ENOENT) return {};
    return failed("opening folder", root, errno);
  }
  while (::flock(lock.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return failed("locking", root, errno);
  }
  if (::unlink(path_of(key).c_str()) != 0) {
    if (errno == ENOENT || errno == ENOTDIR || errno == EISDIR) return {};
    return failed("removing", path_of(key), errno);
  }
  return sync_folder_of(key);
}

std::string DiskObjectStore::url_of(const std::string& key) const {
  return "file://" + path_of(key);
}

}  // namespace millrace
