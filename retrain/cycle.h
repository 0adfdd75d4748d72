// Where one retrain cycle is: a plain value, written to cycle.json below `state` before and after
// every step, so that whoever starts next can go on (docs/formats.md shows it).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "core/time.h"
#include "retrain/options.h"

namespace millrace {

enum class CycleStep { compact, import, train, campaign, batch_inference };
inline constexpr std::size_t kCycleSteps = 5;

enum class StepStatus {
  pending,   // nothing has been done
  intended,  // saved before the call: it may have been made, or not
  running,   // the service has it; `arn` says where
  done,
  failed,   // `detail` has the service's own words
  skipped,  // not configured
};

enum class CycleOutcome { unfinished, done, failed, refused };

std::string_view name_of(CycleStep step);
std::string_view name_of(StepStatus status);
std::string_view name_of(CycleOutcome outcome);

struct StepState {
  StepStatus status = StepStatus::pending;
  std::string job_name{};        // unique to this try; empty for compact and campaign
  std::string arn{};             // of the job, solution version or campaign
  std::string service_status{};  // the service's own word, e.g. "CREATE IN_PROGRESS"
  std::string detail{};          // what it waits for, or why it failed; empty otherwise
  std::int32_t attempt = 1;      // a resumed failure starts the next one, under a new name
  WallTime intended_at{};
  WallTime started_at{};
  WallTime finished_at{};
  bool operator==(const StepState&) const = default;
};

/// What compaction made of the lake.
struct CompactedCsv {
  std::string url{};
  std::vector<std::string> columns{};
  std::uint64_t rows = 0;
  std::uint64_t users = 0;
  std::uint64_t users_with_two = 0;  // with at least two interactions
  bool operator==(const CompactedCsv&) const = default;
};

struct CycleState {
  std::string run_id{};  // of lake/names.h, new_run_id()
  std::string owner{};   // who wrote this last
  CycleOutcome outcome = CycleOutcome::unfinished;
  RetrainOptions options{};  // as they were when the cycle began: a resumed one keeps to them
  CompactedCsv csv{};
  std::array<StepState, kCycleSteps> steps{};
  WallTime started_at{};
  WallTime updated_at{};

  [[nodiscard]] StepState& step(CycleStep which) { return steps[static_cast<std::size_t>(which)]; }
  [[nodiscard]] const StepState& step(CycleStep which) const {
    return steps[static_cast<std::size_t>(which)];
  }
};

/// A cycle that has not begun: steps that the options do not ask for are skipped.
CycleState new_cycle(std::string run_id, const RetrainOptions& options, WallTime now);

/// "<name>-<run id>[-<attempt>]": valid in Personalize's names (1–63 of [A-Za-z0-9-_], the first a
/// letter or digit; "CreateDatasetImportJob"), other characters of `name` replaced, its end cut.
std::string job_name_of(std::string_view name, std::string_view run_id, std::int32_t attempt);

/// cycle.json, version 1, and back. `corrupt` when it is not one of ours, `refused` when a newer
/// release wrote it.
std::string cycle_to_json(const CycleState& state);
Result<CycleState> cycle_from_json(std::string_view text);

}  // namespace millrace
