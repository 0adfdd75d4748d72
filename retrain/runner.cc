#include "retrain/runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/check.h"
#include "lake/names.h"
#include "retrain/batch_input.h"
#include "retrain/decide.h"

namespace millrace {
namespace {

constexpr std::string_view kStopped = "stopped";
constexpr int kSaveAttemptsMax = 30;
constexpr std::chrono::seconds kSavePause{2};

tl::unexpected<Error> stopped() {
  return fail(ErrorKind::transient,
              "stopped in the middle of a cycle; `retrain --resume` or the next `run` goes on",
              std::string(kStopped));
}

/// Calls until the answer is final, waiting between the tries.
template <class Call, class Wait>
auto insist(Call call, Wait wait) -> decltype(call()) {
  while (true) {
    auto answer = call();
    if (answer || !answer.error().retryable()) return answer;
    if (auto waited = wait(answer.error().message); !waited) return fail(waited.error());
  }
}

}  // namespace

CycleRunner::CycleRunner(Options options, Parts parts)
    : options_(std::move(options)),
      parts_(std::move(parts)),
      lock_(options_.lock, parts_.state, parts_.wall_time) {
  MILLRACE_CHECK(parts_.wall_time && parts_.compact && parts_.open_csv && parts_.chance);
}

Result<CycleState> CycleRunner::load(ObjectStore& state) {
  const auto saved = state.get(state_keys::cycle());
  if (!saved) return fail(saved.error().while_doing("the cycle's state"));
  return cycle_from_json(saved->bytes);
}

std::string CycleRunner::plan() const {
  return plan_text(new_cycle(new_run_id(parts_.wall_time(), parts_.chance()), options_.retrain,
                             parts_.wall_time()));
}

Result<CycleState> CycleRunner::run(Start start) {
  if (auto locked = lock_.acquire(); !locked) return fail(locked.error());
  auto result = run_locked(start);
  lock_.release();
  return result;
}

Result<CycleState> CycleRunner::run_locked(Start start) {
  if (auto opened = open_cycle(start); !opened) return fail(opened.error());
  while (true) {
    if (const auto kept = lock_.keep(); !kept && !kept.error().retryable())
      return fail(kept.error());
    const CycleAction action = decide(state_);
    Status done;
    switch (action.kind) {
      case ActionKind::begin:
        done = begin(action.step);
        break;
      case ActionKind::recover:
        done = recover(action.step);
        break;
      case ActionKind::poll:
        done = poll(action.step);
        break;
      case ActionKind::stop:
        return fail(ErrorKind::rejected,
                    fmt::format("{}: {}", name_of(action.step), state_.step(action.step).detail));
      case ActionKind::finish:
        state_.outcome = CycleOutcome::done;
        if (auto saved = save(); !saved) return fail(saved.error());
        parts_.log.info("cycle done", {{"run_id", state_.run_id}});
        return state_;
    }
    if (!done) return fail(done.error());
  }
}

Status CycleRunner::open_cycle(Start start) {
  const auto saved = parts_.state.get(state_keys::cycle());
  if (!saved && saved.error().kind != ErrorKind::not_found)
    return fail(saved.error().while_doing("the cycle's state"));
  etag_.clear();
  if (!saved && start == Start::resume)
    return fail(ErrorKind::refused, "there is no cycle to resume: start one without --resume");
  if (saved) {
    auto earlier = cycle_from_json(saved->bytes);
    if (!earlier) return fail(earlier.error());
    etag_ = saved->etag;
    const bool unfinished = earlier->outcome == CycleOutcome::unfinished;
    if (unfinished && start == Start::fresh)
      return fail(ErrorKind::refused,
                  "cycle " + earlier->run_id + " is not finished: go on with it by --resume");
    const bool failed = earlier->outcome == CycleOutcome::failed;
    if (unfinished || (failed && start == Start::resume)) {
      state_ = std::move(*earlier);
      for (auto& step : state_.steps) {
        if (step.status != StepStatus::failed) continue;
        // A new name: the service never frees the old one.
        step = {.attempt = step.attempt + 1};
      }
      state_.outcome = CycleOutcome::unfinished;
      // Writing first makes an older leader that still runs stop at its next save.
      return save();
    }
    if (start == Start::resume)
      return fail(ErrorKind::refused,
                  fmt::format("the last cycle, {}, ended ({}): there is nothing to resume",
                              earlier->run_id, name_of(earlier->outcome)));
    const auto archived =
        parts_.state.put(state_keys::past_cycle(earlier->run_id), saved->bytes, PutIf{});
    if (!archived) return fail(archived.error().while_doing("keeping the last cycle's state"));
  }
  const WallTime now = parts_.wall_time();
  state_ = new_cycle(new_run_id(now, parts_.chance()), options_.retrain, now);
  return save();
}

Status CycleRunner::begin(CycleStep step) {
  auto& intent = state_.step(step);
  intent.status = StepStatus::intended;
  intent.intended_at = parts_.wall_time();
  if (step == CycleStep::import || step == CycleStep::train || step == CycleStep::batch_inference)
    intent.job_name = job_name_of(options_.name, state_.run_id, intent.attempt);
  if (auto saved = save(); !saved) return saved;
  parts_.log.info("cycle step begins", {{"run_id", state_.run_id}, {"step", name_of(step)}});
  if (step == CycleStep::campaign) return recover_campaign(/*just_begun=*/true);
  return perform(step);
}

Status CycleRunner::recover(CycleStep step) {
  if (step == CycleStep::compact) return compact();
  if (step == CycleStep::campaign) return recover_campaign(/*just_begun=*/false);
  auto arn = insist([&] { return find_existing(step); },
                    [&](std::string reason) { return wait(step, std::move(reason)); });
  if (arn) return adopt(step, std::move(*arn));
  if (arn.error().kind == ErrorKind::not_found) return perform(step);
  if (arn.error().code == kStopped || state_.step(step).status == StepStatus::failed)
    return fail(arn.error());
  return fail_step(step, arn.error().message, arn.error().kind);
}

Status CycleRunner::perform(CycleStep step) {
  if (step == CycleStep::compact) return compact();
  if (step == CycleStep::batch_inference &&
      state_.options.batch_inference->users != BatchInferenceOptions::Users::file) {
    if (auto written = write_batch_input(); !written) {
      if (written.error().retryable()) return wait(step, written.error().message);
      return fail_step(step, written.error().message, written.error().kind);
    }
  }
  auto arn = create(step);
  if (arn) return adopt(step, std::move(*arn));
  return after_create_error(step, arn.error());
}

Result<std::string> CycleRunner::create(CycleStep step) {
  const auto& options = state_.options;
  const std::string& name = state_.step(step).job_name;
  if (step == CycleStep::import)
    return parts_.personalize.create_dataset_import_job({.job_name = name,
                                                         .dataset_arn = options.dataset_arn,
                                                         .data_location = state_.csv.url,
                                                         .role_arn = options.role_arn,
                                                         .incremental = options.incremental});
  if (step == CycleStep::train)
    return parts_.personalize.create_solution_version(options.solution_arn, name);
  const auto& batch = *options.batch_inference;
  return parts_.personalize.create_batch_inference_job(
      {.job_name = name,
       .solution_version_arn = state_.step(CycleStep::train).arn,
       .input_path = batch_input_url(),
       .output_path = batch.output,
       .role_arn = options.role_arn,
       .filter_arn = batch.filter_arn,
       .results = batch.results,
       .exploration_weight = batch.exploration_weight,
       .exploration_item_age_days = batch.exploration_item_age_days});
}

Status CycleRunner::after_create_error(CycleStep step, const Error& error) {
  if (error.code == "ResourceAlreadyExistsException" && step != CycleStep::campaign) {
    auto arn = find_existing(step);
    if (arn) return adopt(step, std::move(*arn));
    if (arn.error().kind == ErrorKind::refused)
      return fail_step(step, arn.error().message, ErrorKind::refused);
    return wait(step, error.message);  // not visible yet: the next turn looks again
  }
  // Nothing was made, or nobody knows: the next turn looks before it calls again.
  if (error.retryable() || error.code == "ResourceInUseException") return wait(step, error.message);
  return fail_step(step, error.message, error.kind);
}

// The ARN of what our call has made; `not_found` when it has made nothing.
Result<std::string> CycleRunner::find_existing(CycleStep step) {
  if (step == CycleStep::train) return find_version();
  const std::string arn = arn_of_job(step);
  if (step == CycleStep::import) {
    const auto job = parts_.personalize.describe_dataset_import_job(arn);
    if (!job) return fail(job.error());
    if (job->dataset_arn != state_.options.dataset_arn || job->data_location != state_.csv.url)
      return fail(ErrorKind::refused,
                  "import job " + arn + " has our name but not our data: somebody else made it");
    return arn;
  }
  const auto job = parts_.personalize.describe_batch_inference_job(arn);
  if (!job) return fail(job.error());
  if (job->solution_version_arn != state_.step(CycleStep::train).arn ||
      job->input_path != batch_input_url())
    return fail(ErrorKind::refused, "batch inference job " + arn +
                                        " has our name but not our input: somebody else made it");
  return arn;
}

Result<std::string> CycleRunner::find_version() {
  const auto& intent = state_.step(CycleStep::train);
  const auto listed = parts_.personalize.list_solution_versions(state_.options.solution_arn);
  if (!listed) return fail(listed.error());
  std::vector<SolutionVersionDescription> versions;
  for (const auto& version : *listed) {
    if (!may_be_our_version(version, intent)) continue;
    if (!versions.empty() && !parts_.pause.wait(options_.describe_spacing)) return stopped();
    auto described = parts_.personalize.describe_solution_version(version.arn);
    if (!described && described.error().kind == ErrorKind::not_found) continue;
    if (!described) return fail(described.error());
    versions.push_back(std::move(*described));
  }
  const auto* ours = find_our_version(versions, intent);
  if (ours == nullptr)
    return fail(ErrorKind::not_found, "no version of " + state_.options.solution_arn + " is ours");
  return ours->arn;
}

Status CycleRunner::recover_campaign(bool just_begun) {
  constexpr CycleStep kStep = CycleStep::campaign;
  const std::string& arn = state_.options.campaign_arn;
  const std::string& version = state_.step(CycleStep::train).arn;
  const auto campaign = insist([&] { return parts_.personalize.describe_campaign(arn); },
                               [&](std::string reason) { return wait(kStep, std::move(reason)); });
  if (!campaign) {
    if (campaign.error().code == kStopped || state_.step(kStep).status == StepStatus::failed)
      return fail(campaign.error());
    return fail_step(kStep, campaign.error().message, campaign.error().kind);
  }
  switch (campaign_phase(*campaign, version)) {
    case CampaignPhase::serves_it:
      state_.step(kStep).arn = arn;
      return finish_step(kStep);
    case CampaignPhase::updating_to_it:
      return adopt(kStep, arn);
    case CampaignPhase::busy_with_another:
      return wait(kStep, "the campaign is being updated by somebody else");
    case CampaignPhase::failed: {
      // Ours, unless it is the failure that this new try was begun for.
      const bool ours = !just_begun && campaign->latest_update->created + kClockSkewMax >=
                                           state_.step(kStep).intended_at;
      if (ours) return fail_step(kStep, campaign->latest_update->failure_reason);
      break;
    }
    case CampaignPhase::serves_another:
      break;
  }
  const auto updated = parts_.personalize.update_campaign(arn, version);
  if (updated) return adopt(kStep, arn);
  return after_create_error(kStep, updated.error());
}

Status CycleRunner::poll(CycleStep step) {
  const std::string& arn = state_.step(step).arn;
  const auto describe = [&]() -> Result<ResourceState> {
    if (step == CycleStep::import) {
      const auto job = parts_.personalize.describe_dataset_import_job(arn);
      if (!job) return fail(job.error());
      return job->state;
    }
    if (step == CycleStep::train) {
      const auto version = parts_.personalize.describe_solution_version(arn);
      if (!version) return fail(version.error());
      return version->state;
    }
    if (step == CycleStep::batch_inference) {
      const auto job = parts_.personalize.describe_batch_inference_job(arn);
      if (!job) return fail(job.error());
      return job->state;
    }
    const auto campaign = parts_.personalize.describe_campaign(arn);
    if (!campaign) return fail(campaign.error());
    switch (campaign_phase(*campaign, state_.step(CycleStep::train).arn)) {
      case CampaignPhase::serves_it:
        return ResourceState{.status = "ACTIVE"};
      case CampaignPhase::updating_to_it:
        return *campaign->latest_update;
      case CampaignPhase::failed:
        return *campaign->latest_update;
      case CampaignPhase::busy_with_another:
      case CampaignPhase::serves_another:
        break;
    }
    return ResourceState{.status = "CREATE FAILED",
                         .failure_reason = "somebody else has updated the campaign to " +
                                           campaign->latest_update_solution_version_arn};
  };
  const auto found =
      insist(describe, [&](std::string reason) { return wait(step, std::move(reason)); });
  if (found) return apply(step, *found);
  if (found.error().code == kStopped || state_.step(step).status == StepStatus::failed)
    return fail(found.error());
  return fail_step(step, found.error().message, found.error().kind);
}

Status CycleRunner::apply(CycleStep step, const ResourceState& state) {
  state_.step(step).service_status = state.status;
  switch (state.phase()) {
    case ResourcePhase::active:
      return finish_step(step);
    case ResourcePhase::failed:
      return fail_step(step, state.failure_reason.empty() ? state.status : state.failure_reason);
    case ResourcePhase::gone:
      return fail_step(step, state_.step(step).arn + " is being deleted");
    case ResourcePhase::running:
      break;
  }
  return wait(step, state.status);
}

Status CycleRunner::compact() {
  constexpr CycleStep kStep = CycleStep::compact;
  const auto waiting = [&](std::string reason) { return wait(kStep, std::move(reason)); };
  const auto give_up = [&](const Error& error) -> Status {
    if (error.code == kStopped || state_.step(kStep).status == StepStatus::failed)
      return fail(error);
    if (error.kind == ErrorKind::refused) return refuse(kStep, error);
    return fail_step(kStep, error.message, error.kind);
  };
  const auto dataset = insist(
      [&] { return parts_.personalize.describe_dataset(state_.options.dataset_arn); }, waiting);
  if (!dataset) return give_up(dataset.error());
  const auto schema =
      insist([&] { return parts_.personalize.describe_schema(dataset->schema_arn); }, waiting);
  if (!schema) return give_up(schema.error());
  auto columns = columns_of_schema(schema->avro);
  if (!columns) return give_up(columns.error());

  auto csv = insist(
      [&] {
        return parts_.compact({.run_id = state_.run_id,
                               .incremental = state_.options.incremental,
                               .schema_columns = *columns,
                               .keep_alive = [this] { return lock_.keep(); }});
      },
      waiting);
  if (!csv) return give_up(csv.error());
  state_.csv = std::move(*csv);
  if (auto fits = check_csv(state_.csv, *columns, state_.options.incremental); !fits)
    return refuse(kStep, fits.error());
  return finish_step(kStep);
}

Status CycleRunner::write_batch_input() {
  const auto& batch = *state_.options.batch_inference;
  std::optional<std::int64_t> since;
  if (batch.users == BatchInferenceOptions::Users::active)
    since = unix_seconds(state_.started_at) - batch.active_within.count();
  auto csv = parts_.open_csv(state_.csv.url);
  if (!csv) return fail(csv.error().while_doing("the users of " + state_.csv.url));
  auto writer = parts_.state.create(state_keys::batch_input(state_.run_id));
  if (!writer) return fail(writer.error().while_doing("batch inference input"));
  const auto users = write_users(**csv, **writer, since, options_.users_max);
  if (!users) return fail(users.error().while_doing("the users of " + state_.csv.url));
  if (*users == 0)
    return fail(ErrorKind::refused,
                "no user of " + state_.csv.url + " is active enough for batch inference");
  auto published = (*writer)->publish();
  if (!published) return fail(published.error().while_doing("batch inference input"));
  parts_.log.info("batch inference input written", {{"users", *users}, {"url", batch_input_url()}});
  return {};
}

Status CycleRunner::adopt(CycleStep step, std::string arn) {
  auto& running = state_.step(step);
  running.status = StepStatus::running;
  running.arn = std::move(arn);
  running.started_at = parts_.wall_time();
  running.detail.clear();
  return save();
}

Status CycleRunner::finish_step(CycleStep step) {
  auto& done = state_.step(step);
  done.status = StepStatus::done;
  done.finished_at = parts_.wall_time();
  done.detail.clear();
  if (auto saved = save(); !saved) return saved;
  parts_.log.info("cycle step done",
                  {{"run_id", state_.run_id},
                   {"step", name_of(step)},
                   {"took", human_duration(done.finished_at - done.intended_at)}});
  return {};
}

Status CycleRunner::fail_step(CycleStep step, std::string reason, ErrorKind kind) {
  auto& failed = state_.step(step);
  failed.status = StepStatus::failed;
  failed.finished_at = parts_.wall_time();
  failed.detail = reason;
  state_.outcome = CycleOutcome::failed;
  if (auto saved = save(); !saved) return saved;
  return fail(kind, fmt::format("{}: {}", name_of(step), reason));
}

Status CycleRunner::refuse(CycleStep step, const Error& error) {
  auto& refused = state_.step(step);
  refused.status = StepStatus::failed;
  refused.finished_at = parts_.wall_time();
  refused.detail = error.message;
  state_.outcome = CycleOutcome::refused;
  if (auto saved = save(); !saved) return saved;
  return fail(ErrorKind::refused, error.message);
}

Status CycleRunner::wait(CycleStep step, std::string reason) {
  auto& waiting = state_.step(step);
  const WallTime now = parts_.wall_time();
  if (now - waiting.intended_at > options_.step_wait_max)
    return fail_step(
        step, fmt::format("not done after {}: {}", human_duration(options_.step_wait_max), reason),
        ErrorKind::transient);
  if (waiting.detail != reason) {
    parts_.log.info("cycle waits", {{"run_id", state_.run_id},
                                    {"step", name_of(step)},
                                    {"reason", reason},
                                    {"elapsed", human_duration(now - waiting.intended_at)}});
    waiting.detail = std::move(reason);
    if (auto saved = save(); !saved) return saved;
  }
  // In slices, so that the lease is kept however long the interval is.
  auto left = state_.options.poll_interval;
  const auto slice_max = std::max(options_.lock.lease / 3, std::chrono::milliseconds(1));
  while (left > std::chrono::milliseconds(0)) {
    const auto slice = std::min(left, slice_max);
    if (!parts_.pause.wait(slice)) return stopped();
    left -= slice;
    if (const auto kept = lock_.keep(); !kept && !kept.error().retryable())
      return fail(kept.error());
  }
  return {};
}

Status CycleRunner::save() {
  state_.owner = options_.lock.owner;
  state_.updated_at = parts_.wall_time();
  const std::string text = cycle_to_json(state_);
  for (int attempt = 1;; ++attempt) {
    auto etag = parts_.state.put(state_keys::cycle(), text,
                                 etag_.empty() ? PutIf::absent() : PutIf::unchanged(etag_));
    if (!etag) {
      // A reply that was lost may have been a yes: the bytes there say so.
      if (const auto there = parts_.state.get(state_keys::cycle()); there && there->bytes == text)
        etag = there->etag;
    }
    if (etag) {
      etag_ = std::move(*etag);
      if (parts_.on_change) parts_.on_change(state_);
      return {};
    }
    if (etag.error().kind == ErrorKind::conflict)
      return fail(ErrorKind::conflict,
                  "cycle " + state_.run_id + " has been taken over by another instance",
                  etag.error().code);
    if (!etag.error().retryable() || attempt >= kSaveAttemptsMax)
      return fail(etag.error().while_doing("saving the cycle's state"));
    if (!parts_.pause.wait(kSavePause)) return stopped();
  }
}

// Job ARNs are made of the dataset's or solution's own head and the job's name (Service
// Authorization Reference, "Resource types defined by Amazon Personalize").
std::string CycleRunner::arn_of_job(CycleStep step) const {
  const std::string& arn = state_.options.dataset_arn;
  std::size_t end = 0;
  for (int colon = 0; colon < 5 && end != std::string::npos; ++colon)
    end = arn.find(':', end == 0 ? 0 : end + 1);
  const std::string head = end == std::string::npos ? arn + ":" : arn.substr(0, end + 1);
  return head + (step == CycleStep::import ? "dataset-import-job/" : "batch-inference-job/") +
         state_.step(step).job_name;
}

std::string CycleRunner::batch_input_url() const {
  const auto& batch = *state_.options.batch_inference;
  if (batch.users == BatchInferenceOptions::Users::file) return batch.users_file;
  return parts_.state.url_of(state_keys::batch_input(state_.run_id));
}

}  // namespace millrace
