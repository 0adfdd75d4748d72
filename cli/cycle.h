// The retrain cycle as the configuration says: what `retrain` runs once and `run` on its schedule.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "cli/aws_stack.h"
#include "cli/command.h"
#include "cli/pipelines.h"
#include "config/config.h"
#include "lake/object_store.h"
#include "retrain/runner.h"

namespace millrace {

/// Everything one cycle works with, built from the configuration. REQUIRES: lake, compact, retrain
/// and state in it.
class Cycle {
 public:
  static Result<std::unique_ptr<Cycle>> make(const Config& config, CommandContext& context,
                                             AwsStack& aws, bool incremental,
                                             std::function<void(const CycleState&)> on_change);
  Cycle(const Cycle&) = delete;
  Cycle& operator=(const Cycle&) = delete;

  CycleRunner& runner() { return *runner_; }
  ObjectStore& state() { return *state_; }

 private:
  Cycle(const Config& config, CommandContext& context) : config_(config), context_(context) {}
  Result<CompactedCsv> compact_for(const CycleCompaction& request);

  const Config& config_;
  CommandContext& context_;
  std::unique_ptr<AwsClient> client_{};
  std::unique_ptr<PersonalizeApi> api_{};
  std::unique_ptr<ObjectStore> state_{};
  std::unique_ptr<CycleRunner> runner_{};
};

/// "import: CREATE IN_PROGRESS (waiting 40 s)": where a cycle is, for people.
std::string described(const CycleState& state);
/// The state for --json and /status.
std::string cycle_report_json(const CycleState& state);

/// The part of `run` that starts cycles: looks at the schedule and at the lake, leads when nobody
/// else does, goes on with a cycle that another instance began.
Result<std::unique_ptr<RunningPipeline>> make_cycle_part(const Config& config,
                                                         CommandContext& context, AwsStack& aws,
                                                         const Metrics& metrics);

}  // namespace millrace
