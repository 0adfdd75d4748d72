#include "cli/demo.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <thread>
#include <unordered_set>

#include "aws/kinesis_api.h"
#include "config/values.h"
#include "ingest/kinesis_producer.h"
#include "lake/decompress.h"
#include "lake/names.h"
#include "lake/store_of_url.h"
#include "retrain/cycle.h"

namespace millrace {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr const char* kRegion = "eu-west-1";
constexpr const char* kStream = "interactions";
constexpr const char* kMarker = ".millrace-demo";
constexpr const char* kRole = "arn:aws:iam::123456789012:role/personalize";
// The embedded Personalize's asynchronous steps at a five-hundredth of the real time: an import of
// ten minutes takes a second, and every status is still seen to pass.
constexpr double kTimeScale = 0.002;
constexpr std::size_t kRecommendations = 5;
constexpr std::chrono::minutes kPatience{10};  // for anything that should take seconds

constexpr const char* kSchema =
    R"({"type":"record","name":"Interactions","namespace":"com.amazonaws.personalize.schema","fields":[
{"name":"USER_ID","type":"string"},{"name":"ITEM_ID","type":"string"},{"name":"TIMESTAMP","type":"long"},
{"name":"EVENT_TYPE","type":"string"}],"version":"1.0"})";

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// A port that is free now; the child that takes it starts at once.
std::uint16_t free_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  std::uint16_t port = 0;
  if (socket >= 0 && bind(socket, reinterpret_cast<sockaddr*>(&address), length) == 0 &&
      getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length) == 0) {
    port = ntohs(address.sin_port);
  }
  if (socket >= 0) close(socket);
  return port;
}

// How to call this program from here: below the folder we are in, a short path.
std::string shown_program(const std::string& path) {
  std::error_code error;
  const std::filesystem::path near = std::filesystem::proximate(path, error);
  return error || near.empty() || *near.begin() == ".." ? path : near.string();
}

std::string file_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// The end of a child's log, for the message when it failed.
std::string last_lines(const std::string& path, std::size_t count) {
  std::istringstream text(file_text(path));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  std::string out;
  for (std::size_t i = lines.size() > count ? lines.size() - count : 0; i < lines.size(); ++i)
    out += "\n    " + lines[i];
  return out;
}

Json json_of(const OfflineMetrics& metrics) {
  return {{"coverage", metrics.coverage},
          {"mean_reciprocal_rank_at_25", metrics.mean_reciprocal_rank_at_25},
          {"normalized_discounted_cumulative_gain_at_5", metrics.ndcg_at_5},
          {"normalized_discounted_cumulative_gain_at_10", metrics.ndcg_at_10},
          {"normalized_discounted_cumulative_gain_at_25", metrics.ndcg_at_25},
          {"precision_at_5", metrics.precision_at_5},
          {"precision_at_10", metrics.precision_at_10},
          {"precision_at_25", metrics.precision_at_25}};
}

}  // namespace

Demo::Demo(DemoOptions options, CommandContext& context)
    : options_(std::move(options)),
      context_(context),
      progress_(context.json),
      services_log_(LogLevel::warn, context.log_format, stderr_writer()),
      local_context_(context) {
  local_context_.environment =
      [outer = context.environment](std::string_view name) -> std::optional<std::string> {
    if (name == "AWS_ACCESS_KEY_ID") return kLocalAccessKeyId;
    if (name == "AWS_SECRET_ACCESS_KEY") return kLocalSecretAccessKey;
    if (name.starts_with("AWS_")) return std::nullopt;  // the demo never leaves this machine
    return outer(name);
  };
}

Status Demo::tell() {
  std::error_code ignored;
  folder_ = std::filesystem::absolute(options_.folder, ignored).lexically_normal();
  if (const Status made = make_folder(); !made) return made;
  struct Chapter {
    const char* name;
    const char* title;
    Status (Demo::*work)();
  };
  const Chapter chapters[] = {
      {"prepare", "cutting the data by time", &Demo::prepare},
      {"services", "starting the embedded Kinesis and Personalize", &Demo::make_resources},
      {"backfill", "backfilling history into the lake", &Demo::backfill},
      {"train", "importing and training once on history", &Demo::train_once},
      {"feed", "feeding live traffic, with a kill -9 in the middle", &Demo::feed},
      {"live_effect", "three live events of one user", &Demo::live_effect},
      {"settle", "stopping the service and counting what arrived", &Demo::settle},
      {"retrain", "retraining on everything", &Demo::retrain},
      {"look_back", "looking at what came of it", &Demo::look_back},
  };
  for (const Chapter& chapter : chapters) {
    if (const Status told = stage(chapter.name, chapter.title, chapter.work); !told) return told;
    if (context_.stopping()) return fail(ErrorKind::transient, "interrupted", "interrupted");
  }
  rusage own{};
  getrusage(RUSAGE_SELF, &own);
  saw_rss(own.ru_maxrss);
  return {};
}

Status Demo::stage(const std::string& name, const std::string& title, Status (Demo::*work)()) {
  const auto start = Clock::now();
  progress_.show(title + " …");
  done_ = title;
  if (const Status worked = (this->*work)(); !worked)
    return fail(worked.error().while_doing(title));
  seconds_.emplace_back(name, seconds_since(start));
  progress_.say(fmt::format("✓ {:12} {}  ({:.1f} s)", name, done_, seconds_.back().second));
  return {};
}

Status Demo::make_folder() {
  std::error_code error;
  if (std::filesystem::exists(folder_, error)) {
    const bool ours = std::filesystem::exists(folder_ / kMarker, error);
    const bool empty =
        std::filesystem::is_directory(folder_, error) && std::filesystem::is_empty(folder_, error);
    if (!ours && !empty) {
      return fail(ErrorKind::invalid,
                  fmt::format("{} is there and is no earlier demo; choose another --dir",
                              folder_.string()));
    }
    if (ours) std::filesystem::remove_all(folder_, error);
    if (error)
      return fail(ErrorKind::transient, fmt::format("removing the earlier demo in {}: {}",
                                                    folder_.string(), error.message()));
  }
  for (const char* name : {"data", "logs", "out", "lake", "recommendations"}) {
    std::filesystem::create_directories(folder_ / name, error);
    if (error)
      return fail(ErrorKind::invalid,
                  fmt::format("{}: {}; choose another --dir", folder_.string(), error.message()));
  }
  std::ofstream(folder_ / kMarker) << "`millrace demo` may remove this folder\n";
  return {};
}

Status Demo::prepare() {
  auto data = prepare_demo_data(options_.data, folder_ / "data/history.ndjson",
                                folder_ / "data/live.ndjson");
  if (!data) return tl::unexpected(data.error());
  data_ = std::move(*data);
  done(fmt::format("{}: {} older events, {} live ones", data_.description,
                   grouped(data_.history_rows), grouped(data_.live_rows)));
  return {};
}

Status Demo::make_resources() {
  LocalServicesOptions options;
  options.state_folder = folder_ / "services";
  options.region = kRegion;
  options.time_scale = kTimeScale;
  auto services = LocalServices::start(std::move(options), services_log_);
  if (!services) return tl::unexpected(services.error());
  services_ = std::move(*services);

  const AwsOptions aws{.region = kRegion, .profile = "", .endpoint = services_->url()};
  aws_ = std::make_unique<AwsStack>(local_context_);
  auto control = aws_->client(kPersonalizeService, aws);
  if (!control) return tl::unexpected(control.error());
  control_client_ = std::move(*control);
  auto runtime = aws_->client(kPersonalizeRuntimeService, aws);
  if (!runtime) return tl::unexpected(runtime.error());
  runtime_client_ = std::move(*runtime);
  personalize_ = std::make_unique<PersonalizeApi>(*control_client_);
  runtime_ = std::make_unique<PersonalizeRuntimeApi>(*runtime_client_);

  auto kinesis_client = aws_->client(kKinesisService, aws);
  if (!kinesis_client) return tl::unexpected(kinesis_client.error());
  KinesisApi kinesis(**kinesis_client);
  if (const Status made = kinesis.create_stream(kStream, 2); !made) return made;

  PersonalizeApi& api = *personalize_;
  const auto schema = api.create_schema("demo-interactions", kSchema);
  if (!schema) return tl::unexpected(schema.error());
  const auto group = api.create_dataset_group("demo");
  if (!group) return tl::unexpected(group.error());
  const auto state_of = [](auto described) -> Result<ResourceState> {
    if (!described) return tl::unexpected(described.error());
    return described->state;
  };
  if (const Status active = wait_for_active(
          "dataset group", [&] { return state_of(api.describe_dataset_group(*group)); });
      !active) {
    return active;
  }
  const auto dataset = api.create_dataset("demo-interactions", *group, "Interactions", *schema);
  if (!dataset) return tl::unexpected(dataset.error());
  dataset_arn_ = *dataset;
  if (const Status active =
          wait_for_active("dataset", [&] { return state_of(api.describe_dataset(dataset_arn_)); });
      !active) {
    return active;
  }
  const auto tracker = api.create_event_tracker("demo", *group);
  if (!tracker) return tl::unexpected(tracker.error());
  tracking_id_ = tracker->tracking_id;
  const auto solution = api.create_solution(
      {.name = "demo",
       .dataset_group_arn = *group,
       .recipe_arn = "arn:aws:personalize:::recipe/aws-user-personalization-v2"});
  if (!solution) return tl::unexpected(solution.error());
  solution_arn_ = *solution;
  if (const Status active = wait_for_active(
          "solution", [&] { return state_of(api.describe_solution(solution_arn_)); });
      !active) {
    return active;
  }
  status_port_ = free_port();
  if (const Status written = write_configuration(); !written) return written;
  done(fmt::format(
      "Kinesis and Personalize at {}: stream, dataset group, dataset, tracker, solution",
      services_->url()));
  return {};
}

Status Demo::write_configuration() {
  std::ofstream file(folder_ / "millrace.yaml", std::ios::trunc);
  file << fmt::format(
      "# Written by `millrace demo`; every command of it ran with this file.\n"
      "name: demo\n"
      "aws: {{ region: {}, endpoint: \"{}\" }}\n"
      "source:\n"
      "  kinesis: {{ stream: {}, leases: {{ file: \"{}\" }} }}\n"
      "personalize:\n"
      "  tracking_id: \"{}\"\n"
      "  calls_per_second_max: 10000\n"
      "lake:\n"
      "  url: \"file://{}\"\n"
      "  prefix: \"interactions/!{{timestamp:yyyy/MM/dd/HH/}}\"\n"
      "  error_prefix: \"errors/!{{firehose:error-output-type}}/!{{timestamp:yyyy/MM/dd/HH/}}\"\n"
      "  buffer: {{ size: 1MiB, interval: 3s }}\n"
      "compact:\n"
      "  output: \"file://{}\"\n"
      "  columns: [USER_ID, ITEM_ID, TIMESTAMP, EVENT_TYPE] # so that `compact` asks no service\n"
      "retrain:\n"
      "  dataset_arn: \"{}\"\n"
      "  solution_arn: \"{}\"\n"
      "  role_arn: \"{}\"\n"
      "{}"
      "  poll_interval: 200ms\n"
      "  batch_inference: {{ users: all, output: \"file://{}/\", results: 25 }}\n"
      "server: {{ listen: \"127.0.0.1:{}\" }}\n",
      kRegion, services_->url(), kStream, path("leases.json"), tracking_id_, path("lake"),
      path("out/personalize_input.csv"), dataset_arn_, solution_arn_, kRole,
      campaign_arn_.empty() ? "" : fmt::format("  campaign_arn: \"{}\"\n", campaign_arn_),
      path("recommendations"), status_port_);
  file.close();
  if (!file)
    return fail(ErrorKind::transient, fmt::format("writing {} failed", path("millrace.yaml")));
  return {};
}

ChildProcess::Options Demo::child(const std::vector<std::string>& words,
                                  const std::string& log) const {
  ChildProcess::Options options;
  options.arguments = {context_.program_path, "-c", path("millrace.yaml")};
  options.arguments.insert(options.arguments.end(), words.begin(), words.end());
  options.environment = {{"AWS_ACCESS_KEY_ID", kLocalAccessKeyId},
                         {"AWS_SECRET_ACCESS_KEY", kLocalSecretAccessKey},
                         {"AWS_SESSION_TOKEN", ""},
                         {"AWS_PROFILE", ""}};
  options.stdout_path = path("logs/" + log + ".out");
  options.stderr_path = path("logs/" + log + ".log");
  return options;
}

Result<std::string> Demo::command(const std::vector<std::string>& words, const std::string& log) {
  const ChildProcess::Options options = child(words, log);
  std::error_code ignored;
  std::filesystem::remove(options.stdout_path, ignored);
  auto process = ChildProcess::start(options);
  if (!process) return tl::unexpected(process.error());
  const auto word = std::find_if(words.begin(), words.end(),
                                 [](const std::string& one) { return !one.starts_with('-'); });
  const std::string name = word == words.end() ? log : *word;
  const auto start = Clock::now();
  std::optional<ChildResult> result;
  while (!(result = process->poll())) {
    if (!context_.pause->wait(50ms))
      return fail(ErrorKind::transient, "interrupted", "interrupted");
    progress_.show(fmt::format("millrace {} … {:.0f} s", name, seconds_since(start)));
  }
  saw_rss(result->rss_kib_max);
  if (result->exit_code != 0) {
    return fail(ErrorKind::transient,
                fmt::format("`millrace {}` ended with {}:{}", name, result->exit_code,
                            last_lines(options.stderr_path, 5)));
  }
  return file_text(options.stdout_path);
}

Status Demo::wait_for_active(const std::string& what,
                             const std::function<Result<ResourceState>()>& describe) {
  const auto start = Clock::now();
  while (seconds_since(start) < std::chrono::duration<double>(kPatience).count()) {
    const auto state = describe();
    if (!state) return tl::unexpected(state.error());
    progress_.show(fmt::format("{}: {}", what, state->status));
    if (state->phase() == ResourcePhase::active) return {};
    if (state->phase() != ResourcePhase::running) {
      return fail(ErrorKind::rejected,
                  fmt::format("{}: {} ({})", what, state->status, state->failure_reason));
    }
    if (!context_.pause->wait(50ms))
      return fail(ErrorKind::transient, "interrupted", "interrupted");
  }
  return fail(ErrorKind::transient,
              fmt::format("{} is not ACTIVE after {}", what, human_duration(kPatience)));
}

Status Demo::backfill() {
  const auto out = command({"--json", "backfill", path("data/history.ndjson")}, "backfill");
  if (!out) return tl::unexpected(out.error());
  const Json result = Json::parse(*out, nullptr, false);
  if (result.is_discarded())
    return fail(ErrorKind::corrupt, "`millrace backfill --json` printed no JSON");
  const Json& source = result.at("sources").at(0);
  rows_backfilled_ =
      source.at("events").get<std::uint64_t>() - source.at("events_anonymous").get<std::uint64_t>();
  rows_rejected_ = source.at("rows_rejected").get<std::uint64_t>();
  done(fmt::format("{} events in {} objects, {} rows rejected with their reason",
                   grouped(rows_backfilled_), source.at("objects_created").get<std::uint64_t>(),
                   grouped(rows_rejected_)));
  return {};
}

Status Demo::train_once() {
  const auto out = command({"--json", "retrain"}, "train");
  if (!out) return tl::unexpected(out.error());
  const auto solution = personalize_->describe_solution(solution_arn_);
  if (!solution) return tl::unexpected(solution.error());
  const auto versions = personalize_->list_solution_versions(solution_arn_);
  if (!versions) return tl::unexpected(versions.error());
  if (versions->empty()) return fail(ErrorKind::corrupt, "retraining left no solution version");
  solution_version_arn_ = versions->front().arn;
  const auto campaign = personalize_->create_campaign("demo", solution_version_arn_);
  if (!campaign) return tl::unexpected(campaign.error());
  campaign_arn_ = *campaign;
  const Status active = wait_for_active("campaign", [&]() -> Result<ResourceState> {
    const auto described = personalize_->describe_campaign(campaign_arn_);
    if (!described) return tl::unexpected(described.error());
    return described->state;
  });
  if (!active) return active;
  if (const Status written = write_configuration(); !written) return written;
  done("compact → import → train → batch inference, and a campaign on it");
  return {};
}

std::uint64_t Demo::distinct_in_model() const {
  const PutEventsCounts counts = services_->personalize().put_events_counts();
  return counts.events - counts.repeated;
}

Status Demo::start_run() {
  auto started = ChildProcess::start(child({"run"}, "run"));
  if (!started) return tl::unexpected(started.error());
  run_ = std::move(*started);
  return {};
}

Status Demo::feed() {
  if (const Status started = start_run(); !started) return started;
  auto simulate =
      ChildProcess::start(child({"--json", "simulate", path("data/live.ndjson")}, "simulate"));
  if (!simulate) return tl::unexpected(simulate.error());

  const auto accepted = [&] { return services_->personalize().put_events_counts().events; };
  const auto start = Clock::now();
  const auto wait_until = [&](const std::function<bool()>& reached,
                              const std::string& what) -> Status {
    while (!reached()) {
      if (seconds_since(start) > std::chrono::duration<double>(kPatience).count()) {
        return fail(ErrorKind::transient,
                    fmt::format("{} did not happen within {}:{}", what, human_duration(kPatience),
                                last_lines(path("logs/run.log"), 5)));
      }
      if (const auto ended = run_->poll()) {
        return fail(ErrorKind::transient,
                    fmt::format("`millrace run` ended with {}:{}", ended->exit_code,
                                last_lines(path("logs/run.log"), 5)));
      }
      if (!context_.pause->wait(20ms)) {
        return fail(ErrorKind::transient, "interrupted", "interrupted");
      }
      progress_.show(fmt::format(
          "live {} {} of {} events accepted by PutEvents, {:.0f}/s",
          bar(static_cast<double>(accepted()), static_cast<double>(data_.live_events), 24),
          grouped(accepted()), grouped(data_.live_events),
          static_cast<double>(accepted()) / std::max(seconds_since(start), 0.1)));
    }
    return {};
  };

  // The kill: in the middle of the traffic, without warning.
  if (const Status reached = wait_until([&] { return accepted() >= data_.live_events * 2 / 5; },
                                        "two fifths of the traffic");
      !reached) {
    return reached;
  }
  run_->signal(SIGKILL);
  saw_rss(run_->wait().rss_kib_max);
  const auto killed = Clock::now();
  kill_.at = accepted();
  if (const Status again = start_run(); !again) return again;
  if (const Status back =
          wait_until([&] { return accepted() > kill_.at; }, "the restarted run's first call");
      !back) {
    return back;
  }
  kill_.back_after_s = seconds_since(killed);

  if (const Status all = wait_until(
          [&] { return distinct_in_model() >= data_.live_distinct_events; }, "the last live event");
      !all) {
    return all;
  }
  const ChildResult produced = simulate->wait();
  saw_rss(produced.rss_kib_max);
  const Json simulated = Json::parse(file_text(path("logs/simulate.out")), nullptr, false);
  if (produced.exit_code != 0 || simulated.is_discarded()) {
    return fail(ErrorKind::transient,
                fmt::format("`millrace simulate` ended with {}:{}", produced.exit_code,
                            last_lines(path("logs/simulate.log"), 5)));
  }
  produced_ = simulated.at("events_produced").get<std::uint64_t>();
  done(fmt::format(
      "{} records on the stream; run was killed with -9 at {} accepted events, back after {:.2f} s",
      grouped(produced_), grouped(kill_.at), kill_.back_after_s));
  return {};
}

// SIGTERM drains: what is in the lake's buffers becomes objects. Then the books: what was produced
// beside what arrived.
Status Demo::settle() {
  run_->signal(SIGTERM);
  const ChildResult ended = run_->wait();
  saw_rss(ended.rss_kib_max);
  if (ended.exit_code != 0) {
    return fail(ErrorKind::transient,
                fmt::format("`millrace run` ended with {} after SIGTERM:{}", ended.exit_code,
                            last_lines(path("logs/run.log"), 5)));
  }
  auto lake = count_lake();
  if (!lake) return tl::unexpected(lake.error());
  lake_ = *lake;
  const std::uint64_t records = produced_ + live_effect_events_;
  in_model_ = distinct_in_model();
  const std::uint64_t wanted = data_.live_distinct_events + live_effect_events_;
  // Every live row is JSON, so each is a line of the lake, whatever the judge says of its event.
  kill_.doubled = lake_.lines - lake_.distinct;
  kill_.lost = (records > lake_.distinct ? records - lake_.distinct : 0) +
               (wanted > in_model_ ? wanted - in_model_ : 0);
  done(fmt::format("{} produced: {} lines in the lake, {} events in the model: {} lost, {} doubled",
                   grouped(records), grouped(lake_.lines), grouped(in_model_), kill_.lost,
                   kill_.doubled));
  return {};
}

Result<std::vector<std::string>> Demo::recommended(const std::string& user, std::int32_t results) {
  const auto answer = runtime_->get_recommendations(
      {.campaign_arn = campaign_arn_, .user_id = user, .results = results});
  if (!answer) return tl::unexpected(answer.error());
  std::vector<std::string> items;
  for (const RecommendedItem& item : answer->items) items.push_back(item.item_id);
  return items;
}

// One user suddenly likes what somebody else likes: three events on the stream, and the campaign's
// answer moves.
Status Demo::live_effect() {
  if (data_.users.empty()) return fail(ErrorKind::invalid, "no user has a live event");
  effect_user_ = data_.users.front();
  const auto before = recommended(effect_user_, kRecommendations);
  if (!before) return tl::unexpected(before.error());
  before_ = *before;
  const auto others = recommended(data_.users.back(), 10);
  if (!others) return tl::unexpected(others.error());
  for (const std::string& item : *others) {
    if (std::find(before_.begin(), before_.end(), item) == before_.end() && three_items_.size() < 3)
      three_items_.push_back(item);
  }

  auto client = aws_->client(kKinesisService,
                             {.region = kRegion, .profile = "", .endpoint = services_->url()});
  if (!client) return tl::unexpected(client.error());
  KinesisApi kinesis(**client);
  KinesisProducer producer({.stream = kStream}, kinesis, *context_.pause, *context_.log);
  const auto start = Clock::now();
  const std::int64_t now = std::chrono::duration_cast<std::chrono::seconds>(
                               std::chrono::system_clock::now().time_since_epoch())
                               .count();
  for (std::size_t i = 0; i < three_items_.size(); ++i) {
    const Json event{{"user_id", effect_user_},
                     {"session_id", "demo-live-effect"},
                     {"item_id", three_items_[i]},
                     {"event_type", "interaction"},
                     {"timestamp", now + static_cast<std::int64_t>(i)}};
    if (const Status sent = producer.produce(effect_user_, event.dump()); !sent) return sent;
    ++live_effect_events_;
  }
  if (const Status sent = producer.flush(); !sent) return sent;
  const std::uint64_t wanted = data_.live_distinct_events + live_effect_events_;
  bool all_there = false;
  while (seconds_since(start) < 60) {
    const PutEventsCounts counts = services_->personalize().put_events_counts();
    const auto after = recommended(effect_user_, kRecommendations);
    if (!after) return tl::unexpected(after.error());
    if (effect_seconds_ == 0 && *after != before_) effect_seconds_ = seconds_since(start);
    all_there = counts.events - counts.repeated >= wanted;
    if (all_there) {
      after_ = *after;
      done(fmt::format("three events of {} changed the recommendations after {:.2f} s",
                       effect_user_, effect_seconds_));
      return {};
    }
    if (!context_.pause->wait(20ms))
      return fail(ErrorKind::transient, "interrupted", "interrupted");
  }
  return fail(ErrorKind::transient,
              "the three live events did not reach PutEvents within a minute");
}

Status Demo::retrain() {
  const auto start = Clock::now();
  const auto out = command({"--json", "retrain"}, "retrain");
  if (!out) return tl::unexpected(out.error());
  const Json cycle = Json::parse(*out, nullptr, false);
  if (cycle.is_discarded())
    return fail(ErrorKind::corrupt, "`millrace retrain --json` printed no JSON");
  csv_rows_ = cycle.at("csv").at("rows").get<std::uint64_t>();
  for (const Json& step : cycle.at("steps")) {
    const std::string what = step.at("step").get<std::string>();
    const std::string status = step.value("service_status", step.at("status").get<std::string>());
    timeline_.push_back({what, status, step.value("seconds", 0.0)});
    if (what == name_of(CycleStep::import)) import_status_ = status;
    if (what == name_of(CycleStep::train)) {
      version_status_ = status;
      solution_version_arn_ = step.value("arn", "");
    }
    if (what == name_of(CycleStep::batch_inference)) batch_status_ = status;
  }
  done(
      fmt::format("{} rows in one CSV, imported, trained, deployed, batch inference in {:.1f} s "
                  "(two fixed waits of 20 minutes "
                  "would have made it {:.0f} min)",
                  grouped(csv_rows_), seconds_since(start), 40 + seconds_since(start) / 60));
  return {};
}

Status Demo::look_back() {
  const auto metrics = services_->personalize().metrics(solution_version_arn_);
  if (!metrics) return tl::unexpected(metrics.error());
  metrics_ = *metrics;
  for (const std::string& user : data_.users) {
    const auto items = recommended(user, kRecommendations);
    if (!items) return tl::unexpected(items.error());
    recommendations_[user] = *items;
  }
  std::error_code ignored;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(folder_ / "recommendations", ignored)) {
    if (!entry.path().string().ends_with(".out")) continue;
    std::ifstream file(entry.path());
    std::getline(file, batch_line_);
  }
  done(fmt::format("precision@5 {:.3f}, of the most popular items {:.3f}",
                   metrics_.model.precision_at_5, metrics_.popularity.precision_at_5));
  return {};
}

// The lake as any plain reader sees it: every line that came from the stream, keyed by where it
// stood there.
Result<Demo::LakeCount> Demo::count_lake() {
  auto store = make_store("file://" + path("lake"));
  if (!store) return tl::unexpected(store.error());
  LakeCount count;
  std::unordered_set<std::string> seen;
  std::string after;
  do {
    const auto page = (*store)->list("interactions/", after, 1000);
    if (!page) return tl::unexpected(page.error());
    for (const ObjectInfo& info : page->objects) {
      if (!parse_cut_key(info.key)) continue;
      ++count.objects;
      auto object = (*store)->open(info.key);
      if (!object) return tl::unexpected(object.error());
      ObjectBytesReader bytes(std::move(*object));
      Decompressor content(bytes, info.key);
      std::string text;
      std::string buffer(256u << 10, '\0');
      while (true) {
        const auto got = content.read(buffer.data(), buffer.size());
        if (!got) return tl::unexpected(got.error());
        if (*got == 0) break;
        text.append(buffer, 0, *got);
      }
      std::istringstream lines(text);
      for (std::string line; std::getline(lines, line);) {
        ++count.lines;
        // `_source` is the last member of every line.
        const std::size_t at = line.rfind("\"_source\":{");
        if (at == std::string::npos)
          return fail(ErrorKind::corrupt, fmt::format("{} has a line without _source", info.key));
        const Json source =
            Json::parse(line.substr(at + 10, line.size() - at - 11), nullptr, false);
        if (source.is_discarded())
          return fail(ErrorKind::corrupt,
                      fmt::format("{} has a line with a damaged _source", info.key));
        seen.insert(fmt::format("{}/{}/{}", source.value("partition", ""),
                                source.value("position", ""), source.value("index", 0)));
      }
    }
    after = page->next;
  } while (!after.empty());
  count.distinct = seen.size();

  std::string dead_after;
  do {
    const auto page = (*store)->list("errors/", dead_after, 1000);
    if (!page) return tl::unexpected(page.error());
    for (const ObjectInfo& info : page->objects) {
      auto object = (*store)->open(info.key);
      if (!object) return tl::unexpected(object.error());
      ObjectBytesReader bytes(std::move(*object));
      Decompressor content(bytes, info.key);
      std::string buffer(64u << 10, '\0');
      while (true) {
        const auto got = content.read(buffer.data(), buffer.size());
        if (!got) return tl::unexpected(got.error());
        if (*got == 0) break;
        dead_lettered_ += static_cast<std::uint64_t>(
            std::count(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(*got), '\n'));
      }
    }
    dead_after = page->next;
  } while (!dead_after.empty());
  return count;
}

std::string Demo::json() const {
  Json recommendations;
  for (const auto& [user, items] : recommendations_) recommendations[user] = items;
  Json metrics = json_of(metrics_.model);
  metrics["popularity"] = json_of(metrics_.popularity);
  Json seconds;
  for (const auto& [name, value] : seconds_) seconds[name] = value;
  return Json({{"events_backfilled", rows_backfilled_},
               {"events_produced", produced_ + live_effect_events_},
               {"events_lake", lake_.lines},
               {"events_personalize", in_model_},
               {"dead_lettered", dead_lettered_ + rows_rejected_},
               {"csv_rows", csv_rows_},
               {"csv_path", path("out/personalize_input.csv")},
               {"import_status", import_status_},
               {"solution_version_status", version_status_},
               {"batch_inference_status", batch_status_},
               {"recommendations", recommendations},
               {"metrics", metrics},
               {"kill",
                {{"at", kill_.at},
                 {"back_after_s", kill_.back_after_s},
                 {"lost", kill_.lost},
                 {"doubled", kill_.doubled}}},
               {"live_effect",
                {{"user", effect_user_},
                 {"before", before_},
                 {"after", after_},
                 {"seconds", effect_seconds_}}},
               {"seconds", seconds},
               {"rss_mib_max", rss_kib_max_ / 1024}})
      .dump();
}

void Demo::print_ending() const {
  const auto titles = [this](const std::vector<std::string>& items) {
    std::vector<std::string> shown;
    for (const std::string& item : items) shown.push_back(data_.title_of(item));
    return fmt::format("{}", fmt::join(shown, " · "));
  };
  fmt::print("\nLive effect: user {}\n", effect_user_);
  fmt::print("  before      {}\n", titles(before_));
  fmt::print("  three events on {}\n", titles(three_items_));
  fmt::print("  after       {}\n", titles(after_));
  fmt::print("  the answer changed {:.2f} s after the first event was produced\n", effect_seconds_);

  fmt::print("\nThe retrain cycle, by the service's own statuses\n");
  for (const Step& step : timeline_)
    fmt::print("  {:16} {:20} {:6.1f} s\n", step.what, step.status, step.seconds);

  double cycle_seconds = 0;
  for (const Step& step : timeline_) cycle_seconds += step.seconds;
  fmt::print(
      "  {:16} {:20} {:6.1f} s    the usual state machine, with its two fixed waits of 20 minutes: "
      "{:.0f} min\n",
      "together", "", cycle_seconds, 40 + cycle_seconds / 60);

  fmt::print("\nRecommendations\n");
  for (const std::string& user : data_.users) {
    fmt::print("  {} took lately  {}\n", user, titles(data_.newest_items.at(user)));
    const auto found = recommendations_.find(user);
    if (found != recommendations_.end())
      fmt::print("  {} should see   {}\n", user, titles(found->second));
  }
  fmt::print("\nOne line of the batch inference file\n  {}\n",
             batch_line_.size() > 200 ? batch_line_.substr(0, 200) + "…" : batch_line_);

  fmt::print(
      "\nOffline metrics (of {} users, on their newest interactions, which training did not see)\n",
      metrics_.model.users);
  const auto row = [](const char* name, double model, double popularity) {
    fmt::print("  {:44} {:.4f}   most popular items {:.4f}\n", name, model, popularity);
  };
  row("precision_at_5", metrics_.model.precision_at_5, metrics_.popularity.precision_at_5);
  row("precision_at_25", metrics_.model.precision_at_25, metrics_.popularity.precision_at_25);
  row("normalized_discounted_cumulative_gain_at_10", metrics_.model.ndcg_at_10,
      metrics_.popularity.ndcg_at_10);
  row("mean_reciprocal_rank_at_25", metrics_.model.mean_reciprocal_rank_at_25,
      metrics_.popularity.mean_reciprocal_rank_at_25);
  row("coverage", metrics_.model.coverage, metrics_.popularity.coverage);

  fmt::print(
      "\n{}\n"
      "  millrace.yaml             the configuration that every command ran with\n"
      "  data/                     history.ndjson, live.ndjson: what went in\n"
      "  lake/interactions/        backfill/ and yyyy/MM/dd/HH/: {} objects from the stream, each "
      "record once\n"
      "  lake/errors/              dead letters, {} lines\n"
      "  lake/_millrace/demo/      manifests, reports, the cycle's state\n"
      "  out/personalize_input.csv {} rows\n"
      "  recommendations/          what batch inference wrote\n"
      "  services/                 the embedded Kinesis and Personalize\n"
      "  logs/                     what each command said\n",
      folder_.string(), grouped(lake_.objects), grouped(dead_lettered_), grouped(csv_rows_));

  fmt::print(
      "\nIn the cloud the same file differs in these lines\n"
      "  - aws: {{ region: {}, endpoint: \"{}\" }}\n"
      "  + aws: {{ region: {} }}\n"
      "  - source: {{ kinesis: {{ stream: {}, leases: … }} }}\n"
      "  + source: {{ kafka: {{ brokers: \"broker:9092\", topic: {} }} }}      # or kinesis, "
      "without `leases`\n"
      "  - personalize: {{ tracking_id: \"{}\" }}\n"
      "  + personalize: {{ tracking_id: \"<your event tracker's>\" }}\n"
      "  ± lake.url, compact.output, the ARNs under retrain\n",
      kRegion, services_->url(), kRegion, kStream, kStream, tracking_id_);

  // The service's address without its scheme.
  const std::string listen = services_->url().substr(std::string_view("http://").size());
  const std::string program = shown_program(context_.program_path);
  fmt::print(
      "\nTry next\n"
      "  {0} -c {1}/millrace.yaml compact      # the CSV again, with its report\n"
      "  {0} emulate --state {1}/services --region {2} --listen {3}\n"
      "      # the same Personalize and Kinesis: for boto3, the AWS CLI and this millrace.yaml\n"
      "  {0} template config > millrace.yaml      # a file of your own\n",
      program, options_.folder.string(), kRegion, listen);
}

}  // namespace millrace
