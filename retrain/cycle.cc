#include "retrain/cycle.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

namespace millrace {
namespace {

using nlohmann::json;

constexpr int kVersion = 1;
constexpr std::size_t kNameMax = 63;  // Personalize's limit

constexpr std::string_view kStepNames[] = {"compact", "import", "train", "campaign",
                                           "batch_inference"};
constexpr std::string_view kStatusNames[] = {"pending", "intended", "running",
                                             "done",    "failed",   "skipped"};
constexpr std::string_view kOutcomeNames[] = {"unfinished", "done", "failed", "refused"};
constexpr std::string_view kUsersNames[] = {"all", "active", "file"};

bool letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// A word that is none of `names` is noted in `unknown`, and the first of them given.
template <class Enum, std::size_t N>
Enum parse_word(const json& object, const char* member, const std::string_view (&names)[N],
                std::string& unknown) {
  const auto text = object.at(member).get<std::string>();
  const auto* found = std::find(std::begin(names), std::end(names), text);
  if (found == std::end(names)) {
    unknown = fmt::format("{}: \"{}\"", member, text);
    found = std::begin(names);
  }
  return static_cast<Enum>(found - std::begin(names));
}

json step_to_json(CycleStep which, const StepState& step) {
  return {{"step", name_of(which)},
          {"status", name_of(step.status)},
          {"job_name", step.job_name},
          {"arn", step.arn},
          {"service_status", step.service_status},
          {"detail", step.detail},
          {"attempt", step.attempt},
          {"intended_ms", unix_ms(step.intended_at)},
          {"started_ms", unix_ms(step.started_at)},
          {"finished_ms", unix_ms(step.finished_at)}};
}

StepState step_from_json(const json& object, std::string& unknown) {
  return {.status = parse_word<StepStatus>(object, "status", kStatusNames, unknown),
          .job_name = object.at("job_name").get<std::string>(),
          .arn = object.at("arn").get<std::string>(),
          .service_status = object.at("service_status").get<std::string>(),
          .detail = object.at("detail").get<std::string>(),
          .attempt = object.at("attempt").get<std::int32_t>(),
          .intended_at = wall_time_of_ms(object.at("intended_ms").get<std::int64_t>()),
          .started_at = wall_time_of_ms(object.at("started_ms").get<std::int64_t>()),
          .finished_at = wall_time_of_ms(object.at("finished_ms").get<std::int64_t>())};
}

json options_to_json(const RetrainOptions& options) {
  json out{
      {"dataset_arn", options.dataset_arn}, {"solution_arn", options.solution_arn},
      {"role_arn", options.role_arn},       {"campaign_arn", options.campaign_arn},
      {"incremental", options.incremental}, {"poll_interval_ms", options.poll_interval.count()}};
  if (options.batch_inference) {
    const auto& batch = *options.batch_inference;
    json b{{"users", kUsersNames[static_cast<std::size_t>(batch.users)]},
           {"active_within_s", batch.active_within.count()},
           {"users_file", batch.users_file},
           {"output", batch.output},
           {"results", batch.results},
           {"filter_arn", batch.filter_arn}};
    if (batch.exploration_weight) b["exploration_weight"] = *batch.exploration_weight;
    if (batch.exploration_item_age_days)
      b["exploration_item_age_days"] = *batch.exploration_item_age_days;
    out["batch_inference"] = std::move(b);
  }
  return out;
}

RetrainOptions options_from_json(const json& object, std::string& unknown) {
  RetrainOptions out;
  out.dataset_arn = object.at("dataset_arn").get<std::string>();
  out.solution_arn = object.at("solution_arn").get<std::string>();
  out.role_arn = object.at("role_arn").get<std::string>();
  out.campaign_arn = object.at("campaign_arn").get<std::string>();
  out.incremental = object.at("incremental").get<bool>();
  out.poll_interval = std::chrono::milliseconds(object.at("poll_interval_ms").get<std::int64_t>());
  if (const auto found = object.find("batch_inference"); found != object.end()) {
    BatchInferenceOptions batch;
    batch.users = parse_word<BatchInferenceOptions::Users>(*found, "users", kUsersNames, unknown);
    batch.active_within = std::chrono::seconds(found->at("active_within_s").get<std::int64_t>());
    batch.users_file = found->at("users_file").get<std::string>();
    batch.output = found->at("output").get<std::string>();
    batch.results = found->at("results").get<std::int32_t>();
    batch.filter_arn = found->at("filter_arn").get<std::string>();
    if (found->contains("exploration_weight"))
      batch.exploration_weight = found->at("exploration_weight").get<double>();
    if (found->contains("exploration_item_age_days"))
      batch.exploration_item_age_days = found->at("exploration_item_age_days").get<std::int32_t>();
    out.batch_inference = std::move(batch);
  }
  return out;
}

}  // namespace

std::string_view name_of(CycleStep step) { return kStepNames[static_cast<std::size_t>(step)]; }
std::string_view name_of(StepStatus status) {
  return kStatusNames[static_cast<std::size_t>(status)];
}
std::string_view name_of(CycleOutcome outcome) {
  return kOutcomeNames[static_cast<std::size_t>(outcome)];
}

CycleState new_cycle(std::string run_id, const RetrainOptions& options, WallTime now) {
  CycleState state;
  state.run_id = std::move(run_id);
  state.options = options;
  state.started_at = now;
  state.updated_at = now;
  if (options.campaign_arn.empty()) state.step(CycleStep::campaign).status = StepStatus::skipped;
  if (!options.batch_inference) state.step(CycleStep::batch_inference).status = StepStatus::skipped;
  return state;
}

std::string job_name_of(std::string_view name, std::string_view run_id, std::int32_t attempt) {
  std::string tail = "-" + std::string(run_id);
  if (attempt > 1) tail += "-" + std::to_string(attempt);
  std::string out(name.substr(0, kNameMax - std::min(kNameMax - 1, tail.size())));
  out += tail;
  for (char& c : out)
    if (!letter_or_digit(c) && c != '-' && c != '_') c = '-';
  if (!letter_or_digit(out.front())) out.front() = 'm';
  out.resize(std::min(out.size(), kNameMax));
  return out;
}

std::string cycle_to_json(const CycleState& state) {
  json steps = json::array();
  for (std::size_t i = 0; i < kCycleSteps; ++i)
    steps.push_back(step_to_json(static_cast<CycleStep>(i), state.steps[i]));
  const json out{{"version", kVersion},
                 {"run_id", state.run_id},
                 {"owner", state.owner},
                 {"outcome", name_of(state.outcome)},
                 {"options", options_to_json(state.options)},
                 {"csv",
                  {{"url", state.csv.url},
                   {"columns", state.csv.columns},
                   {"rows", state.csv.rows},
                   {"users", state.csv.users},
                   {"users_with_two", state.csv.users_with_two}}},
                 {"steps", std::move(steps)},
                 {"started_ms", unix_ms(state.started_at)},
                 {"updated_ms", unix_ms(state.updated_at)}};
  return out.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

Result<CycleState> cycle_from_json(std::string_view text) {
  const auto root = json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto version = root.is_object() ? root.find("version") : root.end();
  if (version == root.end() || !version->is_number_integer())
    return fail(ErrorKind::corrupt, "the cycle's state is not JSON of ours");
  if (version->get<std::int64_t>() > kVersion)
    return fail(
        ErrorKind::refused,
        "the cycle's state was written by a newer millrace: finish the cycle with that one");
  try {
    CycleState state;
    std::string unknown;  // a word that no release of this version writes
    state.run_id = root.at("run_id").get<std::string>();
    state.owner = root.at("owner").get<std::string>();
    state.outcome = parse_word<CycleOutcome>(root, "outcome", kOutcomeNames, unknown);
    state.options = options_from_json(root.at("options"), unknown);
    const auto& csv = root.at("csv");
    state.csv = {.url = csv.at("url").get<std::string>(),
                 .columns = csv.at("columns").get<std::vector<std::string>>(),
                 .rows = csv.at("rows").get<std::uint64_t>(),
                 .users = csv.at("users").get<std::uint64_t>(),
                 .users_with_two = csv.at("users_with_two").get<std::uint64_t>()};
    const auto& steps = root.at("steps");
    if (!steps.is_array() || steps.size() != kCycleSteps)
      return fail(ErrorKind::corrupt, "the cycle's state does not have its five steps");
    for (std::size_t i = 0; i < kCycleSteps; ++i)
      state.steps[i] = step_from_json(steps[i], unknown);
    state.started_at = wall_time_of_ms(root.at("started_ms").get<std::int64_t>());
    state.updated_at = wall_time_of_ms(root.at("updated_ms").get<std::int64_t>());
    if (!unknown.empty())
      return fail(ErrorKind::corrupt, "the cycle's state cannot be read: " + unknown);
    return state;
  } catch (const json::exception& thrown) {
    return fail(ErrorKind::corrupt,
                std::string("the cycle's state cannot be read: ") + thrown.what());
  }
}

}  // namespace millrace
