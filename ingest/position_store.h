// Where a source without books of its own (Kinesis without a lease table, a file) keeps its
// positions, and who may write them: one owner at a time, and writes of an earlier owner fail.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "core/result.h"
#include "core/time.h"
#include "lake/object_store.h"

namespace millrace {

/// Who owns the positions. A value: what look() saw, or what take() and renew() made of it.
struct PositionLease {
  bool held = false;
  std::string owner{};        // unique per process start
  std::uint64_t counter = 0;  // grows with every write of the lease
  std::uint64_t fence = 0;    // the counter when this owner took it: marks the owner's writes
  std::string tag{};          // the store's own; empty when there is no lease yet
};

struct PositionEntry {
  std::string key{};    // as given to write()
  std::string value{};  // a JSON object
  std::string tag{};    // of the write that made it
};

/// Threads: any; every call blocks, so only inside Loop::offload. Errors: `conflict` when somebody
/// else is the owner now (nothing was written; drop everything), else the store's own, of which
/// retryable() ones may be tried again with the same arguments: a write whose reply was lost is
/// recognised.
///
/// The order that makes it safe: take(), then load(), which puts the new owner's mark on every
/// entry; from then on nothing that an earlier owner, frozen and woken, still writes can succeed.
class PositionStore {
 public:
  virtual ~PositionStore() = default;

  virtual Result<PositionLease> look() = 0;
  /// REQUIRES: `seen` came from look(), and is not held, or expired by LeaseWatch, or ours.
  virtual Result<PositionLease> take(const PositionLease& seen, const std::string& owner) = 0;
  virtual Result<PositionLease> renew(const PositionLease& mine) = 0;
  /// The next owner need not wait for the expiry.
  virtual Status release(const PositionLease& mine) = 0;

  virtual Result<std::vector<PositionEntry>> load(const PositionLease& mine) = 0;
  /// Replaces the entry that has this tag, or makes one where there is none (empty tag), durably.
  /// Gives the new tag. `value` is a JSON object. Keys: letters, digits, '_', '.', '-', '/'.
  virtual Result<std::string> write(const PositionLease& mine, const std::string& key,
                                    const std::string& value, const std::string& tag) = 0;
  /// For entries that nobody reads any more.
  virtual Status remove(const PositionLease& mine, const std::string& key) = 0;

  /// For messages: where the positions lie.
  [[nodiscard]] virtual std::string where() const = 0;
};

/// Decides whether an owner is gone: the lease has not changed for `age_max` of the watcher's own
/// monotonic time. Other machines' clocks do not matter. Pure.
class LeaseWatch {
 public:
  explicit LeaseWatch(std::chrono::milliseconds age_max) : age_max_(age_max) {}
  /// Whether `seen`, looked at now, may be taken by `me`.
  bool may_take(const PositionLease& seen, const std::string& me, Ticks now);

 private:
  std::chrono::milliseconds age_max_;
  std::string owner_{};
  std::uint64_t counter_ = 0;
  Ticks since_{};
  bool watching_ = false;
};

/// In an object store (`state`), by conditional writes: `<prefix>lease.json` and one
/// `<prefix><key>.json` per entry. The form is in docs/formats.md.
class ObjectPositionStore final : public PositionStore {
 public:
  /// `prefix` is empty or ends in '/'. The store must outlive this.
  ObjectPositionStore(ObjectStore& store, std::string prefix)
      : store_(store), prefix_(std::move(prefix)) {}

  Result<PositionLease> look() override;
  Result<PositionLease> take(const PositionLease& seen, const std::string& owner) override;
  Result<PositionLease> renew(const PositionLease& mine) override;
  Status release(const PositionLease& mine) override;
  Result<std::vector<PositionEntry>> load(const PositionLease& mine) override;
  Result<std::string> write(const PositionLease& mine, const std::string& key,
                            const std::string& value, const std::string& tag) override;
  Status remove(const PositionLease& mine, const std::string& key) override;
  [[nodiscard]] std::string where() const override { return store_.url_of(prefix_); }

 private:
  Result<std::string> put_surely(const std::string& key, const std::string& bytes,
                                 const PutIf& condition);
  Result<PositionLease> put_lease(PositionLease lease, const std::string& old_tag);
  Result<PositionEntry> mark(const PositionLease& mine, const std::string& object_key);

  ObjectStore& store_;
  const std::string prefix_;
};

/// In one file on this machine (`leases.file`), owned by whoever holds the lock of `<path>.lock`
/// (flock(2)): a killed process frees it at once, a frozen one keeps it. Not for network file
/// systems. Every write replaces the file and syncs it.
class FilePositionStore final : public PositionStore {
 public:
  explicit FilePositionStore(std::string path) : path_(std::move(path)) {}
  ~FilePositionStore() override;
  FilePositionStore(const FilePositionStore&) = delete;
  FilePositionStore& operator=(const FilePositionStore&) = delete;

  /// Never held, as far as one can see without trying: take() tells.
  Result<PositionLease> look() override;
  /// `conflict`, naming the process, while another one has the lock.
  Result<PositionLease> take(const PositionLease& seen, const std::string& owner) override;
  Result<PositionLease> renew(const PositionLease& mine) override;
  Status release(const PositionLease& mine) override;
  Result<std::vector<PositionEntry>> load(const PositionLease& mine) override;
  Result<std::string> write(const PositionLease& mine, const std::string& key,
                            const std::string& value, const std::string& tag) override;
  Status remove(const PositionLease& mine, const std::string& key) override;
  [[nodiscard]] std::string where() const override { return path_; }

 private:
  Status read_file();
  Status write_file();
  [[nodiscard]] bool mine_still(const PositionLease& mine) const;

  const std::string path_;
  std::mutex mutex_{};  // commits of several partitions come from several workers
  int lock_ = -1;
  std::uint64_t fence_ = 0;
  std::vector<PositionEntry> entries_{};  // by key
};

}  // namespace millrace
