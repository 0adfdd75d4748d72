#include "retrain/decide.h"

#include <fmt/format.h>

namespace millrace {
namespace {

// Developer Guide, "Endpoints and quotas": model training.
constexpr std::uint64_t kRowsMin = 1000;
constexpr std::uint64_t kUsersWithTwoMin = 25;

std::string joined(const std::vector<std::string>& names) {
  std::string out;
  for (const auto& name : names) out += (out.empty() ? "" : ",") + name;
  return out;
}

}  // namespace

CycleAction decide(const CycleState& state) {
  for (std::size_t i = 0; i < kCycleSteps; ++i) {
    const auto step = static_cast<CycleStep>(i);
    switch (state.steps[i].status) {
      case StepStatus::done:
      case StepStatus::skipped:
        break;
      case StepStatus::pending:
        return {ActionKind::begin, step};
      case StepStatus::intended:
        return {ActionKind::recover, step};
      case StepStatus::running:
        return {ActionKind::poll, step};
      case StepStatus::failed:
        return {ActionKind::stop, step};
    }
  }
  return {ActionKind::finish, CycleStep::compact};
}

Status check_csv(const CompactedCsv& csv, const std::vector<std::string>& schema_columns,
                 bool incremental) {
  std::string reasons;
  const auto add = [&](const std::string& reason) {
    reasons += (reasons.empty() ? "" : "; ") + reason;
  };
  if (csv.columns != schema_columns)
    add(fmt::format("its columns are {} but the dataset's schema has {}", joined(csv.columns),
                    joined(schema_columns)));
  if (csv.rows < kRowsMin)
    add(fmt::format("it has {} rows and Personalize needs {}{}", csv.rows, kRowsMin,
                    incremental ? " new ones for an incremental import" : ""));
  if (!incremental) {
    if (csv.users_with_two < kUsersWithTwoMin)
      add(fmt::format("{} users have two interactions or more and Personalize needs {}",
                      csv.users_with_two, kUsersWithTwoMin));
    else if (csv.users_with_two * 100 < csv.users)
      add(fmt::format("{} of {} users have two interactions or more and Personalize needs 1 %",
                      csv.users_with_two, csv.users));
  }
  if (reasons.empty()) return {};
  return fail(ErrorKind::refused, csv.url + " is not importable: " + reasons);
}

bool may_be_our_version(const ResourceSummary& version, const StepState& intent) {
  return version.state.created + kClockSkewMax >= intent.intended_at;
}

const SolutionVersionDescription* find_our_version(
    std::span<const SolutionVersionDescription> versions, const StepState& intent) {
  for (const auto& version : versions)
    if (!version.name.empty() && version.name == intent.job_name) return &version;
  for (const auto& version : versions)
    if (version.name.empty() && version.training_type != "AUTOMATIC" &&
        version.state.created + kClockSkewMax >= intent.intended_at)
      return &version;
  return nullptr;
}

CampaignPhase campaign_phase(const CampaignDescription& campaign,
                             const std::string& solution_version_arn) {
  if (campaign.latest_update) {
    const bool ours = campaign.latest_update_solution_version_arn == solution_version_arn;
    switch (campaign.latest_update->phase()) {
      case ResourcePhase::running:
        return ours ? CampaignPhase::updating_to_it : CampaignPhase::busy_with_another;
      case ResourcePhase::failed:
        if (ours) return CampaignPhase::failed;
        break;
      case ResourcePhase::active:
      case ResourcePhase::gone:
        break;
    }
  }
  if (campaign.state.phase() == ResourcePhase::running) return CampaignPhase::busy_with_another;
  return campaign.solution_version_arn == solution_version_arn ? CampaignPhase::serves_it
                                                               : CampaignPhase::serves_another;
}

std::string plan_text(const CycleState& state) {
  const auto& options = state.options;
  std::string out =
      fmt::format("cycle {}\n  compact          the lake into one CSV ({})\n", state.run_id,
                  options.incremental ? "only what no cycle has taken yet" : "everything");
  out += fmt::format("  import           {} into {}\n",
                     options.incremental ? "INCREMENTAL" : "FULL", options.dataset_arn);
  out += fmt::format("  train            a new version of {}\n", options.solution_arn);
  out += options.campaign_arn.empty()
             ? std::string("  campaign         not configured\n")
             : fmt::format("  campaign         {} then serves the new version\n",
                           options.campaign_arn);
  if (!options.batch_inference) return out + "  batch inference  not configured\n";
  const auto& batch = *options.batch_inference;
  std::string users = "all users of the CSV";
  if (batch.users == BatchInferenceOptions::Users::active)
    users = fmt::format("users of the CSV active within {}", human_duration(batch.active_within));
  if (batch.users == BatchInferenceOptions::Users::file) users = "the users in " + batch.users_file;
  return out + fmt::format("  batch inference  {} items for {}, to {}\n", batch.results, users,
                           batch.output);
}

}  // namespace millrace
