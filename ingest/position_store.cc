#include "ingest/position_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

namespace millrace {
namespace {

using nlohmann::json;

constexpr std::size_t kListPage = 1000;
constexpr std::size_t kEntriesMax = 200'000;  // twice the shards that ListShards gives
constexpr int kMarkTries = 5;

Error not_ours(const std::string& where) {
  return {ErrorKind::conflict,
          fmt::format("the positions in {} belong to another process now", where),
          {},
          {}};
}
Error unreadable(const std::string& where, std::string_view why) {
  return {ErrorKind::corrupt,
          fmt::format("{} does not hold positions of millrace ({}); restore it, or move it away to "
                      "begin at source.start",
                      where, why),
          {},
          {}};
}

struct Marked {
  std::uint64_t fence = 0;
  json entry{};
};
Result<Marked> parse_marked(const std::string& bytes, const std::string& where) {
  try {
    json root = json::parse(bytes);
    Marked marked{root.at("fence").get<std::uint64_t>(), std::move(root.at("entry"))};
    if (!marked.entry.is_object()) return fail(unreadable(where, "no object"));
    return marked;
  } catch (const json::exception& error) {
    return fail(unreadable(where, error.what()));
  }
}
Result<std::string> marked_bytes(std::uint64_t fence, const std::string& value) {
  json entry = json::parse(value, nullptr, false);
  if (!entry.is_object()) return fail(ErrorKind::invalid, "a position entry is not a JSON object");
  // Invalid UTF-8 in a note must not throw here: it is replaced.
  return json{{"fence", fence}, {"entry", std::move(entry)}}.dump(-1, ' ', false,
                                                                  json::error_handler_t::replace) +
         "\n";
}

}  // namespace

bool LeaseWatch::may_take(const PositionLease& seen, const std::string& me, Ticks now) {
  if (!seen.held || seen.owner == me) return true;
  if (!watching_ || seen.owner != owner_ || seen.counter != counter_) {
    watching_ = true;
    owner_ = seen.owner;
    counter_ = seen.counter;
    since_ = now;
    return false;
  }
  return now - since_ >= age_max_;
}

// ---- in an object store ----------------------------------------------------------------------

// A reply that was lost, or a conflict with ourselves after one, is told from a real conflict by
// what stands there: our bytes name our fence or our counter, which nobody else writes.
Result<std::string> ObjectPositionStore::put_surely(const std::string& key,
                                                    const std::string& bytes,
                                                    const PutIf& condition) {
  auto put = store_.put(key, bytes, condition);
  if (put) return put;
  if (put.error().kind != ErrorKind::ambiguous && put.error().kind != ErrorKind::conflict) {
    return put;
  }
  const auto there = store_.get(key);
  if (there && there->bytes == bytes) return there->etag;
  if (put.error().kind == ErrorKind::conflict) return fail(not_ours(store_.url_of(key)));
  return put;
}

Result<PositionLease> ObjectPositionStore::look() {
  const std::string key = prefix_ + "lease.json";
  const auto object = store_.get(key);
  if (!object) {
    if (object.error().kind == ErrorKind::not_found) return PositionLease{};
    return fail(object.error().while_doing("looking who owns the positions"));
  }
  try {
    const json root = json::parse(object->bytes);
    return PositionLease{.held = root.at("held").get<bool>(),
                         .owner = root.at("owner").get<std::string>(),
                         .counter = root.at("counter").get<std::uint64_t>(),
                         .fence = root.at("fence").get<std::uint64_t>(),
                         .tag = object->etag};
  } catch (const json::exception& error) {
    return fail(unreadable(store_.url_of(key), error.what()));
  }
}

Result<PositionLease> ObjectPositionStore::put_lease(PositionLease lease,
                                                     const std::string& old_tag) {
  const std::string bytes = json{{"version", 1},
                                 {"held", lease.held},
                                 {"owner", lease.owner},
                                 {"counter", lease.counter},
                                 {"fence", lease.fence}}
                                .dump(-1, ' ', false, json::error_handler_t::replace) +
                            "\n";
  auto tag = put_surely(prefix_ + "lease.json", bytes,
                        old_tag.empty() ? PutIf::absent() : PutIf::unchanged(old_tag));
  if (!tag) return fail(tag.error());
  lease.tag = std::move(*tag);
  return lease;
}

Result<PositionLease> ObjectPositionStore::take(const PositionLease& seen,
                                                const std::string& owner) {
  return put_lease({.held = true,
                    .owner = owner,
                    .counter = seen.counter + 1,
                    .fence = seen.counter + 1,
                    .tag = {}},
                   seen.tag);
}

Result<PositionLease> ObjectPositionStore::renew(const PositionLease& mine) {
  PositionLease next = mine;
  ++next.counter;
  return put_lease(std::move(next), mine.tag);
}

Status ObjectPositionStore::release(const PositionLease& mine) {
  PositionLease next = mine;
  ++next.counter;
  next.held = false;
  const auto released = put_lease(std::move(next), mine.tag);
  if (!released) return fail(released.error());
  return {};
}

// Reads one entry and writes it back under our fence, whoever wrote it.
Result<PositionEntry> ObjectPositionStore::mark(const PositionLease& mine,
                                                const std::string& object_key) {
  for (int tries = 0; tries < kMarkTries; ++tries) {
    const auto object = store_.get(object_key);
    if (!object) return fail(object.error());
    const auto marked = parse_marked(object->bytes, store_.url_of(object_key));
    if (!marked) return fail(marked.error());
    if (marked->fence > mine.fence) return fail(not_ours(store_.url_of(object_key)));
    PositionEntry entry{
        .key = object_key.substr(prefix_.size(), object_key.size() - prefix_.size() - 5),
        .value = marked->entry.dump(),
        .tag = object->etag};
    if (marked->fence == mine.fence) return entry;
    const auto bytes = marked_bytes(mine.fence, entry.value);
    if (!bytes) return fail(bytes.error());
    auto tag = put_surely(object_key, *bytes, PutIf::unchanged(object->etag));
    if (tag) {
      entry.tag = std::move(*tag);
      return entry;
    }
    // An earlier owner was a moment faster: what it wrote counts, so it is read again.
    if (tag.error().kind != ErrorKind::conflict) return fail(tag.error());
  }
  return fail(ErrorKind::transient,
              fmt::format("an earlier owner keeps writing {}", store_.url_of(object_key)));
}

Result<std::vector<PositionEntry>> ObjectPositionStore::load(const PositionLease& mine) {
  std::vector<PositionEntry> entries;
  std::string after;
  do {
    const auto page = store_.list(prefix_, after, kListPage);
    if (!page) return fail(page.error().while_doing("listing the positions"));
    for (const ObjectInfo& object : page->objects) {
      if (!object.key.ends_with(".json") || object.key == prefix_ + "lease.json") continue;
      auto entry = mark(mine, object.key);
      if (!entry) {
        if (entry.error().kind == ErrorKind::not_found) continue;  // removed since the listing
        return fail(entry.error().while_doing("taking over the positions"));
      }
      if (entries.size() == kEntriesMax) {
        return fail(ErrorKind::corrupt, fmt::format("more than {} positions below {}", kEntriesMax,
                                                    store_.url_of(prefix_)));
      }
      entries.push_back(std::move(*entry));
    }
    after = page->next;
  } while (!after.empty());
  return entries;
}

Result<std::string> ObjectPositionStore::write(const PositionLease& mine, const std::string& key,
                                               const std::string& value, const std::string& tag) {
  const auto bytes = marked_bytes(mine.fence, value);
  if (!bytes) return fail(bytes.error());
  return put_surely(prefix_ + key + ".json", *bytes,
                    tag.empty() ? PutIf::absent() : PutIf::unchanged(tag));
}

Status ObjectPositionStore::remove(const PositionLease&, const std::string& key) {
  return store_.remove(prefix_ + key + ".json");
}

// ---- in one file -----------------------------------------------------------------------------

FilePositionStore::~FilePositionStore() {
  if (lock_ >= 0) ::close(lock_);
}

Result<PositionLease> FilePositionStore::look() { return PositionLease{}; }

Result<PositionLease> FilePositionStore::take(const PositionLease&, const std::string& owner) {
  const std::lock_guard guard(mutex_);
  const std::string lock_path = path_ + ".lock";
  if (lock_ < 0) {
    std::error_code trouble;
    std::filesystem::create_directories(std::filesystem::path(path_).parent_path(), trouble);
    const int fd = ::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) {
      const ErrorKind kind =
          errno == EACCES || errno == EROFS ? ErrorKind::denied : ErrorKind::transient;
      return fail(kind, fmt::format("opening {}: {}", lock_path, std::strerror(errno)));
    }
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
      char holder[32] = {};
      const ssize_t count = ::pread(fd, holder, sizeof holder - 1, 0);
      ::close(fd);
      return fail(ErrorKind::conflict,
                  fmt::format("the positions in {} are held by process {}", path_,
                              count > 0 ? std::string_view(holder) : "?"));
    }
    const std::string me = std::to_string(::getpid());
    if (::ftruncate(fd, 0) != 0 || ::pwrite(fd, me.data(), me.size(), 0) < 0) {
      // Only the message of the next contender suffers.
    }
    lock_ = fd;
  }
  if (const Status read = read_file(); !read) {
    ::close(lock_);
    lock_ = -1;
    return fail(read.error());
  }
  ++fence_;
  return PositionLease{.held = true, .owner = owner, .counter = fence_, .fence = fence_, .tag = {}};
}

bool FilePositionStore::mine_still(const PositionLease& mine) const {
  return lock_ >= 0 && mine.fence == fence_;
}

Result<PositionLease> FilePositionStore::renew(const PositionLease& mine) {
  const std::lock_guard guard(mutex_);
  if (!mine_still(mine)) return fail(not_ours(path_));
  return mine;
}

Status FilePositionStore::release(const PositionLease& mine) {
  const std::lock_guard guard(mutex_);
  if (!mine_still(mine)) return {};
  ::close(lock_);
  lock_ = -1;
  return {};
}

Status FilePositionStore::read_file() {
  entries_.clear();
  std::error_code trouble;
  if (!std::filesystem::exists(path_, trouble)) return {};
  std::ifstream file(path_, std::ios::binary);
  if (!file) {
    return fail(ErrorKind::denied, fmt::format("{} cannot be read", path_));
  }
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  try {
    const json root = json::parse(text);
    if (root.at("version") != 1) return fail(unreadable(path_, "another version"));
    fence_ = std::max(fence_, root.at("fence").get<std::uint64_t>());
    for (const auto& [key, value] : root.at("entries").items()) {
      entries_.push_back({key, value.dump(), "1"});
    }
  } catch (const json::exception& error) {
    return fail(unreadable(path_, error.what()));
  }
  return {};
}

Status FilePositionStore::write_file() {
  json entries = json::object();
  for (const PositionEntry& entry : entries_) entries[entry.key] = json::parse(entry.value);
  const std::string text =
      json{{"version", 1}, {"fence", fence_}, {"entries", std::move(entries)}}.dump(
          1, ' ', false, json::error_handler_t::replace) +
      "\n";
  const std::string fresh = path_ + ".new";
  const int fd = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  bool written = fd >= 0;
  for (std::string_view rest = text; written && !rest.empty();) {
    const ssize_t count = ::write(fd, rest.data(), rest.size());
    if (count < 0 && errno == EINTR) continue;
    written = count >= 0;
    if (written) rest.remove_prefix(static_cast<std::size_t>(count));
  }
  written = written && ::fsync(fd) == 0;
  int error = errno;
  if (fd >= 0) ::close(fd);
  if (written && ::rename(fresh.c_str(), path_.c_str()) != 0) {
    error = errno;
    written = false;
  }
  if (written) {
    auto folder = std::filesystem::path(path_).parent_path();
    if (folder.empty()) folder = ".";
    const int folder_fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    written = folder_fd >= 0 && ::fsync(folder_fd) == 0;
    error = errno;
    if (folder_fd >= 0) ::close(folder_fd);
  }
  if (written) return {};
  return fail(error == EACCES || error == EROFS ? ErrorKind::denied : ErrorKind::transient,
              fmt::format("writing the positions to {}: {}", path_, std::strerror(error)));
}

Result<std::vector<PositionEntry>> FilePositionStore::load(const PositionLease& mine) {
  const std::lock_guard guard(mutex_);
  if (!mine_still(mine)) return fail(not_ours(path_));
  return entries_;
}

Result<std::string> FilePositionStore::write(const PositionLease& mine, const std::string& key,
                                             const std::string& value, const std::string& tag) {
  const std::lock_guard guard(mutex_);
  if (!mine_still(mine)) return fail(not_ours(path_));
  if (!json::accept(value)) return fail(ErrorKind::invalid, "a position entry is not JSON");
  const auto at = std::lower_bound(
      entries_.begin(), entries_.end(), key,
      [](const PositionEntry& entry, const std::string& k) { return entry.key < k; });
  const bool there = at != entries_.end() && at->key == key;
  if (there == tag.empty() && !(there && at->value == value)) return fail(not_ours(path_));
  const std::vector<PositionEntry> before = entries_;
  if (there) {
    at->value = value;
  } else {
    entries_.insert(at, {key, value, "1"});
  }
  if (const Status written = write_file(); !written) {
    entries_ = before;
    return fail(written.error());
  }
  return std::string("1");
}

Status FilePositionStore::remove(const PositionLease& mine, const std::string& key) {
  const std::lock_guard guard(mutex_);
  if (!mine_still(mine)) return fail(not_ours(path_));
  std::erase_if(entries_, [&key](const PositionEntry& entry) { return entry.key == key; });
  return write_file();
}

}  // namespace millrace
