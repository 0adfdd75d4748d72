// What comes next in a cycle, and whether a cycle may begin: pure functions from states and facts
// to decisions. retrain/runner.h performs them.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "aws/personalize_api.h"
#include "core/result.h"
#include "retrain/cycle.h"

namespace millrace {

enum class ActionKind {
  begin,    // save the intent, then make the call
  recover,  // an intent without an answer: find out whether the call was made, else make it
  poll,     // ask how far it is
  finish,   // everything is done
  stop,     // a step has failed
};

struct CycleAction {
  ActionKind kind = ActionKind::finish;
  CycleStep step = CycleStep::compact;  // of the first four kinds
  bool operator==(const CycleAction&) const = default;
};

/// Steps go strictly one after another, so the first that is neither done nor skipped decides.
CycleAction decide(const CycleState& state);

/// `refused` (exit code 3), naming every reason, when Personalize would fail the import or the
/// training: columns that are not the schema's in its order; fewer than 1,000 rows; for a full
/// import also fewer than 25 users with two interactions each, or less than 1 % of all users
/// (Developer Guide, "Endpoints and quotas").
Status check_csv(const CompactedCsv& csv, const std::vector<std::string>& schema_columns,
                 bool incremental);

/// Which of a solution's versions came of our call, whose reply we do not have: the one with our
/// name; where the service does not tell names, one that was started by hand after the intent.
/// Clocks may differ by `kClockSkewMax`. Nothing when there is none.
inline constexpr std::chrono::minutes kClockSkewMax{15};
const SolutionVersionDescription* find_our_version(
    std::span<const SolutionVersionDescription> versions, const StepState& intent);

/// Whether a summary from the list is worth a Describe: created after the intent, give or take the
/// clocks.
bool may_be_our_version(const ResourceSummary& version, const StepState& intent);

/// Where a campaign is on its way to the version we want.
enum class CampaignPhase { serves_it, updating_to_it, failed, busy_with_another, serves_another };
CampaignPhase campaign_phase(const CampaignDescription& campaign,
                             const std::string& solution_version_arn);

/// What `retrain --dry-run` prints: one line per step, what would be done with what.
std::string plan_text(const CycleState& state);

}  // namespace millrace
