// Performs a cycle: what decide() names is done, saved before and after, and waited for. It may be
// killed at any instruction and be gone on with by any instance.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "aws/personalize_api.h"
#include "core/log.h"
#include "core/pause.h"
#include "core/result.h"
#include "lake/object_store.h"
#include "retrain/cycle.h"
#include "retrain/cycle_lock.h"

namespace millrace {

struct CycleCompaction {
  std::string run_id{};  // the compaction's too: called again with it, it finishes what it began
  bool incremental = false;
  std::vector<std::string> schema_columns{};  // of the dataset, in order
  /// Keeps the leader's lease: to be called every few seconds; an error ends the compaction.
  std::function<Status()> keep_alive{};
};

/// Not thread-safe; every method blocks, for hours if need be: a thread of its own, or a command.
class CycleRunner {
 public:
  struct Options {
    RetrainOptions retrain{};
    std::string name = "millrace";  // job names begin with it
    CycleLock::Options lock{};
    std::chrono::milliseconds describe_spacing{
        1100};  // between two Describe calls: 1/s is the quota of each operation
    std::chrono::hours step_wait_max{72};  // a step that takes longer fails the cycle
    std::size_t users_max = 20'000'000;    // of a batch input we make: about 100 bytes each
  };

  /// What it works with; everything referred to must outlive the runner.
  struct Parts {
    PersonalizeApi& personalize;
    ObjectStore& state;
    Pause& pause;
    const Log& log;
    std::function<WallTime()> wall_time{};
    std::function<Result<CompactedCsv>(const CycleCompaction&)> compact{};
    /// Opens the CSV of this url, to read its users.
    std::function<Result<std::unique_ptr<ObjectReader>>(const std::string& url)> open_csv{};
    std::function<std::uint64_t()> chance{};                     // for run ids
    std::function<void(const CycleState&)> on_change = nullptr;  // optional: for a display
  };

  enum class Start {
    fresh,            // refused while an earlier cycle is unfinished
    resume,           // refused when there is none; a failed step is tried again
    resume_or_fresh,  // what `run` does on its schedule
  };

  CycleRunner(Options options, Parts parts);

  /// Until the cycle is done. Errors: `refused` (another leader, an unfinished cycle, a CSV that
  /// Personalize would not take), `conflict` when somebody took over, `rejected` with the service's
  /// own failureReason, `denied`, …; `transient` with the code "stopped" when the Pause said so
  /// (resume goes on). The service's "in use" and "limit exceeded" are waited out, visibly in the
  /// step's `detail`.
  Result<CycleState> run(Start start);

  /// What a fresh cycle would do; changes nothing.
  [[nodiscard]] std::string plan() const;

  /// The saved state; `not_found` when there was no cycle yet.
  static Result<CycleState> load(ObjectStore& state);

 private:
  Result<CycleState> run_locked(Start start);
  Status open_cycle(Start start);
  Status begin(CycleStep step);
  Status perform(CycleStep step);
  Status recover(CycleStep step);
  Status poll(CycleStep step);
  Status compact();
  Status write_batch_input();
  Result<std::string> create(CycleStep step);
  Result<std::string> find_existing(CycleStep step);
  Result<std::string> find_version();
  Status recover_campaign(bool just_begun);
  Status refuse(CycleStep step, const Error& error);
  Status after_create_error(CycleStep step, const Error& error);
  Status adopt(CycleStep step, std::string arn);
  Status apply(CycleStep step, const ResourceState& state);
  Status finish_step(CycleStep step);
  Status fail_step(CycleStep step, std::string reason, ErrorKind kind = ErrorKind::rejected);
  Status wait(CycleStep step, std::string reason);
  Status save();
  [[nodiscard]] std::string arn_of_job(CycleStep step) const;
  [[nodiscard]] std::string batch_input_url() const;

  const Options options_;
  const Parts parts_;
  CycleLock lock_;
  CycleState state_{};
  std::string etag_{};  // of cycle.json as we last saw it; empty: there is none
};

}  // namespace millrace
