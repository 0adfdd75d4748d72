#include "cli/cycle.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <nlohmann/json.hpp>
#include <random>

#include "aws/personalize_api.h"
#include "cli/compaction.h"
#include "lake/store_of_url.h"
#include "retrain/schedule.h"

namespace millrace {
namespace {

using Json = nlohmann::ordered_json;

// How often `run` looks whether a cycle is due: well under the minute that a schedule can tell.
constexpr std::chrono::seconds kLookInterval{10};
// After a cycle that could not start or failed.
constexpr std::chrono::minutes kFailedInterval{5};

WallTime wall_now() {
  return std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
}

std::string lock_owner() {
  std::string host(256, '\0');
  if (gethostname(host.data(), host.size() - 1) != 0) host = "host";
  return fmt::format("{}:{}:{:08x}", host.c_str(), getpid(), std::random_device{}());
}

Json json_of(const CycleState& state) {
  Json json{{"run_id", state.run_id},
            {"outcome", name_of(state.outcome)},
            {"started_at", iso8601(state.started_at)},
            {"updated_at", iso8601(state.updated_at)},
            {"csv", {{"url", state.csv.url}, {"rows", state.csv.rows}, {"users", state.csv.users}}},
            {"steps", Json::array()}};
  for (std::size_t i = 0; i < kCycleSteps; ++i) {
    const auto which = static_cast<CycleStep>(i);
    const StepState& step = state.step(which);
    Json row{{"step", name_of(which)}, {"status", name_of(step.status)}};
    if (!step.service_status.empty()) row["service_status"] = step.service_status;
    if (!step.arn.empty()) row["arn"] = step.arn;
    if (!step.detail.empty()) row["detail"] = step.detail;
    if (step.finished_at > step.intended_at && step.intended_at > WallTime{}) {
      row["seconds"] = static_cast<double>((step.finished_at - step.intended_at).count()) / 1000;
    }
    json["steps"].push_back(std::move(row));
  }
  json["summary"] = described(state);
  return json;
}

}  // namespace

std::string described(const CycleState& state) {
  for (std::size_t i = 0; i < kCycleSteps; ++i) {
    const auto which = static_cast<CycleStep>(i);
    const StepState& step = state.step(which);
    if (step.status == StepStatus::done || step.status == StepStatus::skipped) continue;
    return fmt::format("{}: {}{}{}", name_of(which), name_of(step.status),
                       step.service_status.empty() ? "" : fmt::format(", {}", step.service_status),
                       step.detail.empty() ? "" : fmt::format(" ({})", step.detail));
  }
  return "done";
}

std::string cycle_report_json(const CycleState& state) { return json_of(state).dump(); }

Result<std::unique_ptr<Cycle>> Cycle::make(const Config& config, CommandContext& context,
                                           AwsStack& aws, bool incremental,
                                           std::function<void(const CycleState&)> on_change) {
  std::unique_ptr<Cycle> cycle(new Cycle(config, context));
  auto client = aws.client(kPersonalizeService, config.retrain->aws);
  if (!client) return fail(client.error().while_doing("retrain"));
  cycle->client_ = std::move(*client);
  cycle->api_ = std::make_unique<PersonalizeApi>(*cycle->client_);
  auto state = make_store(config.state);
  if (!state) return tl::unexpected(state.error());
  cycle->state_ = std::move(*state);

  CycleRunner::Options options;
  options.retrain = config.retrain->options;
  options.retrain.incremental = incremental;
  options.name = config.name;
  options.lock.owner = lock_owner();
  auto chance = std::make_shared<std::random_device>();
  Cycle* const self = cycle.get();
  cycle->runner_ = std::make_unique<CycleRunner>(
      std::move(options),
      CycleRunner::Parts{
          .personalize = *cycle->api_,
          .state = *cycle->state_,
          .pause = *context.pause,
          .log = *context.log,
          .wall_time = wall_now,
          .compact = [self](const CycleCompaction& request) { return self->compact_for(request); },
          .open_csv = [](const std::string& url) -> Result<std::unique_ptr<ObjectReader>> {
            const auto split = split_object_url(url);
            if (!split) return tl::unexpected(split.error());
            auto store = make_store(split->store_url);
            if (!store) return tl::unexpected(store.error());
            return (*store)->open(split->key);
          },
          .chance = [chance] { return std::uint64_t{(*chance)()}; },
          .on_change = std::move(on_change)});
  return cycle;
}

Result<CompactedCsv> Cycle::compact_for(const CycleCompaction& request) {
  auto columns = columns_of_names(request.schema_columns);
  if (!config_.compact->columns.empty()) columns = columns_of_names(config_.compact->columns);
  if (!columns) return tl::unexpected(columns.error());
  CompactionArguments arguments{.run_id = request.run_id, .incremental = request.incremental};
  Status kept{};
  auto next_look = std::chrono::steady_clock::now();
  arguments.progress = [&](const CompactProgress&) {
    if (std::chrono::steady_clock::now() >= next_look) {
      next_look = std::chrono::steady_clock::now() + std::chrono::seconds(2);
      kept = request.keep_alive();
    }
    return kept.has_value() && !context_.stopping();
  };
  const auto outcome = run_compaction(config_, context_, *columns, arguments);
  if (!kept) return tl::unexpected(kept.error());
  if (!outcome) return tl::unexpected(outcome.error());
  if (!outcome->published)
    return fail(ErrorKind::refused, fmt::format("no CSV to import: {}", outcome->why_not));
  CompactedCsv csv{.url = outcome->report.csv_url,
                   .columns = outcome->report.columns,
                   .rows = outcome->report.csv_rows,
                   .users = outcome->report.users,
                   .users_with_two = outcome->report.users_with_two};
  return csv;
}

namespace {

class CyclePart final : public RunningPipeline {
 public:
  CyclePart(const Config& config, CommandContext& context, const Metrics& metrics)
      : config_(config), context_(context), metrics_(metrics) {}

  Status open(AwsStack& aws) {
    if (const Status zone = check_timezone(config_.retrain->options.timezone); !zone) {
      return fail(zone.error().while_doing("retrain.timezone"));
    }
    if (!config_.retrain->options.schedule.empty()) {
      auto schedule = CronSchedule::parse(config_.retrain->options.schedule);
      if (!schedule) return fail(schedule.error().while_doing("retrain.schedule"));
      schedule_ = *schedule;
    }
    auto cycle = Cycle::make(config_, context_, aws, false,
                             [this](const CycleState& state) { publish(state, ""); });
    if (!cycle) return tl::unexpected(cycle.error());
    cycle_ = std::move(*cycle);
    return {};
  }

  ~CyclePart() override {
    if (thread_.joinable()) thread_.join();
  }

  std::string name() const override { return "cycle"; }

  void start(std::function<void()> ended) override {
    thread_ = std::thread([this, ended = std::move(ended)] {
      look_until_stopped();
      over_.set_value();
      ended();
    });
  }

  // The Pause that every wait in here goes through has been stopped by then.
  void stop() override {}

  PartReport report() const override {
    const std::lock_guard lock(mutex_);
    return report_;
  }
  bool over() const override {
    return is_over_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  }
  Status wait() override {
    is_over_.wait();
    return {};
  }

 private:
  void look_until_stopped() {
    const WallTime watched_since = wall_now();
    std::int64_t counted = stored_records();
    do {
      ScheduleFacts facts{.now = wall_now(), .watched_since = watched_since};
      const auto last = CycleRunner::load(cycle_->state());
      if (last) {
        facts.last_started = last->started_at;
        facts.unfinished = last->outcome == CycleOutcome::unfinished;
        publish(*last, "");
      } else if (last.error().kind != ErrorKind::not_found) {
        publish_trouble(last.error());
        continue;
      }
      facts.new_interactions = stored_records() - counted;
      const StartReason reason = start_reason(config_.retrain->options, schedule_, facts);
      if (reason == StartReason::none) continue;
      context_.log->info("retrain cycle starts", {{"reason", name_of(reason)}});
      counted = stored_records();
      const auto state = cycle_->runner().run(CycleRunner::Start::resume_or_fresh);
      if (state) {
        context_.log->info("retrain cycle done", {{"run_id", state->run_id}});
        continue;
      }
      if (context_.stopping()) break;
      publish_trouble(state.error());
      if (!context_.pause->wait(kFailedInterval)) break;
    } while (context_.pause->wait(kLookInterval));
  }

  // Of this instance, since it started: each instance of a fleet counts its own partitions.
  [[nodiscard]] std::int64_t stored_records() const {
    return metrics_.value("millrace_lake_records_total", {{"outcome", "stored"}});
  }

  void publish(const CycleState& state, const std::string& trouble) {
    Json json = json_of(state);
    if (!trouble.empty()) json["trouble"] = trouble;
    const std::lock_guard lock(mutex_);
    report_.json = json.dump();
  }

  // A cycle that fails is no reason to call the streaming parts unready; it is logged and shown.
  void publish_trouble(const Error& error) {
    context_.log->error("retrain cycle failed",
                        {{"kind", name_of(error.kind)}, {"why", error.message}});
    const std::lock_guard lock(mutex_);
    report_.json = Json({{"summary", error.message}}).dump();
  }

  const Config& config_;
  CommandContext& context_;
  const Metrics& metrics_;
  std::optional<CronSchedule> schedule_{};
  std::unique_ptr<Cycle> cycle_{};
  std::thread thread_{};
  std::promise<void> over_{};
  std::shared_future<void> is_over_ = over_.get_future().share();
  mutable std::mutex mutex_{};  // the status server reads from its own threads
  PartReport report_{.json = R"({"summary":"waiting"})"};
};

}  // namespace

Result<std::unique_ptr<RunningPipeline>> make_cycle_part(const Config& config,
                                                         CommandContext& context, AwsStack& aws,
                                                         const Metrics& metrics) {
  auto part = std::make_unique<CyclePart>(config, context, metrics);
  if (const Status opened = part->open(aws); !opened) return tl::unexpected(opened.error());
  return std::unique_ptr<RunningPipeline>(std::move(part));
}

}  // namespace millrace
