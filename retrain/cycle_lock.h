// One instance of a fleet at a time leads compaction and retraining: a lease in lock.json below
// `state`, taken and kept by conditional writes.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "core/result.h"
#include "core/time.h"
#include "lake/object_store.h"

namespace millrace {

/// The holder renews the lease while it works; once it has run out, by the wall clock, anybody may
/// take it over. So a killed leader is replaced after `lease` at the latest, and clocks that differ
/// by more than that can make two leaders. That alone breaks nothing: every write of the cycle's
/// state is conditional on the one before, and whoever takes over writes first, so the older leader
/// stops at its next save. Not thread-safe; blocks in the store.
class CycleLock {
 public:
  struct Options {
    std::string owner{};  // unique per process, for people too: "host:pid:chance"
    std::chrono::milliseconds lease{60'000};
  };
  /// `store` must outlive the lock.
  CycleLock(Options options, ObjectStore& store, std::function<WallTime()> wall_time)
      : options_(std::move(options)), store_(store), wall_time_(std::move(wall_time)) {}

  /// The code of acquire()'s error while another one's lease runs. Its message changes when that
  /// one prolongs it, and so tells a holder that lives from one that was killed.
  static constexpr std::string_view kHeld = "LeaseHeld";

  /// Takes the lease, or a stale one over. `refused` names the holder and until when; other errors
  /// are the store's.
  Status acquire();

  /// Prolongs it once a third of it has passed; call it at least that often. `conflict` when
  /// somebody else has taken it: stop at once.
  Status keep();

  /// Gives it back, if it is still ours; what stays after an error runs out by itself.
  void release();

 private:
  Status write(const PutIf& condition);

  const Options options_;
  ObjectStore& store_;
  const std::function<WallTime()> wall_time_;
  std::string etag_{};  // empty: not ours
  WallTime until_{};
};

}  // namespace millrace
