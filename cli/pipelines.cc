#include "cli/pipelines.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <mutex>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "aws/personalize_events_api.h"
#include "cli/compaction.h"
#include "cli/real_loop.h"
#include "cli/sources.h"
#include "lake/names.h"
#include "lake/store_of_url.h"
#include "pipeline/archiver.h"
#include "pipeline/forwarder.h"

namespace millrace {
namespace {

using Json = nlohmann::ordered_json;

constexpr Ticks kRetentionWarningInterval = 1min;
constexpr Ticks kReportInterval = 500ms;  // twice as often as the page asks

// How much of a pipeline's half of the memory its source may hold ahead.
std::size_t read_ahead_of(std::size_t half) { return half / 4; }

std::uint64_t entropy() {
  return std::uint64_t{std::random_device{}()} << 32 | std::random_device{}();
}

Json json_of(const PartitionStatus& partition) {
  Json json{{"partition", partition.partition.value}, {"committed", partition.committed.text()}};
  if (partition.records_behind >= 0) json["records_behind"] = partition.records_behind;
  if (partition.millis_behind >= 0)
    json["seconds_behind"] = static_cast<double>(partition.millis_behind) / 1000;
  if (partition.retention_left_ms >= 0)
    json["retention_left_seconds"] = partition.retention_left_ms / 1000;
  if (partition.retention_ms >= 0) json["retention_seconds"] = partition.retention_ms / 1000;
  return json;
}

// The partition that the log forgets first, once less than a quarter of the retention is left.
const PartitionStatus* nearly_forgotten(const SourceStatus& status) {
  const PartitionStatus* first = nullptr;
  for (const PartitionStatus& partition : status.partitions) {
    if (partition.retention_ms <= 0 || partition.retention_left_ms < 0) continue;
    if (partition.retention_left_ms >= partition.retention_ms / 4) continue;
    if (first == nullptr || partition.retention_left_ms < first->retention_left_ms)
      first = &partition;
  }
  return first;
}

std::string retention_warning(const PartitionStatus& partition) {
  return fmt::format(
      "partition {}: the log deletes what is not settled in {} minutes of {}: raise "
      "its retention, or find out why this pipeline is behind",
      partition.partition.value, partition.retention_left_ms / 60'000,
      partition.retention_ms / 60'000);
}

// What both pipelines say of their source; its troubles make the part unready.
Json json_of(const Source& source, const SourceStatus& status, PartReport& report,
             const std::string& part) {
  Json json{{"kind", source.kind()}, {"log", source.log_name()}, {"bytes_held", status.bytes_held}};
  if (status.trouble) {
    json["trouble"] = status.trouble->message;
    report.unready.push_back(fmt::format("{}: {}", part, status.trouble->message));
  }
  if (const PartitionStatus* partition = nearly_forgotten(status))
    report.unready.push_back(fmt::format("{}: {}", part, retention_warning(*partition)));
  std::int64_t behind = 0;
  bool known = false;
  json["partitions"] = Json::array();
  for (const PartitionStatus& partition : status.partitions) {
    json["partitions"].push_back(json_of(partition));
    if (partition.records_behind >= 0) {
      behind += partition.records_behind;
      known = true;
    }
  }
  if (known) json["records_behind"] = behind;
  return json;
}

Json json_of(const Books& books) {
  return {{"records", books.records},
          {"empty", books.empty},
          {"read", books.read},
          {"accepted", books.accepted},
          {"dead_lettered", books.dead_lettered},
          {"skipped", books.skipped},
          {"waiting", books.waiting()},
          {"anonymous", books.anonymous}};
}

Json json_of(const RecordBooks& books) {
  return {{"read", books.read},
          {"stored", books.stored},
          {"dead_lettered", books.dead_lettered},
          {"empty", books.empty}};
}

PartReport report_of(const ForwarderStatus& status, const Source& source) {
  PartReport report;
  Json json{{"books", json_of(status.books)},
            {"events_accepted_per_second", status.events_accepted_per_second},
            {"pace_calls_per_second", status.pace_calls_per_second},
            {"calls_in_flight", status.calls_in_flight},
            {"deliveries_waiting", status.deliveries_waiting},
            {"events_batching", status.events_batching},
            {"bytes_held", status.bytes_held},
            {"full", status.full},
            {"stopping", status.stopping}};
  if (!status.trouble.empty()) {
    json["trouble"] = status.trouble;
    report.unready.push_back(fmt::format("personalize: {}", status.trouble));
  }
  json["source"] = json_of(source, source.status(), report, "personalize");
  json["partitions"] = Json::array();
  for (const ForwarderStatus::Partition& partition : status.partitions) {
    Json row{{"partition", partition.partition.value}, {"doing", partition.doing}};
    if (!partition.waiting.empty()) row["waiting"] = partition.waiting;
    row["committed"] = partition.committed.text();
    row["records_held"] = partition.records_held;
    row["books"] = json_of(partition.books);
    json["partitions"].push_back(std::move(row));
  }
  report.json = json.dump();
  return report;
}

PartReport report_of(const ArchiverStatus& status, const Source& source) {
  PartReport report;
  Json json;
  RecordBooks books;
  Json partitions = Json::array();
  for (const ArchiverStatus::Partition& partition : status.partitions) {
    books += partition.books;
    Json row{{"partition", partition.partition.value}, {"doing", partition.doing}};
    if (!partition.waiting.empty()) {
      row["waiting"] = partition.waiting;
      report.unready.push_back(
          fmt::format("lake, partition {}: {}", partition.partition.value, partition.waiting));
    }
    row["committed"] = partition.committed.text();
    row["open_bytes"] = partition.open_bytes;
    row["open_hours"] = partition.open_hours;
    row["open_seconds"] = std::chrono::duration<double>(partition.open_age).count();
    if (partition.cutting_objects > 0) row["cutting_objects"] = partition.cutting_objects;
    if (partition.last_cut) {
      row["last_cut"] = {{"at", iso8601(partition.last_cut->at)},
                         {"why", name_of(partition.last_cut->reason)},
                         {"objects", partition.last_cut->objects},
                         {"records", partition.last_cut->records}};
    }
    row["books"] = json_of(partition.books);
    partitions.push_back(std::move(row));
  }
  json["books"] = json_of(books);
  json["bytes_held"] = status.bytes_held;
  json["uploads_in_flight"] = status.uploads_in_flight;
  json["source"] = json_of(source, source.status(), report, "lake");
  json["partitions"] = std::move(partitions);
  report.json = json.dump();
  return report;
}

// How far behind a pipeline is, for alerts: per pipeline, since partitions come and go and series
// would stay. Per partition it stands in /status.
class LagGauges {
 public:
  LagGauges(Metrics& metrics, const std::string& pipeline)
      : records_behind_(metrics.gauge("millrace_source_records_behind",
                                      "Records of the log that are not settled, all partitions",
                                      {{"pipeline", pipeline}})),
        seconds_behind_(metrics.gauge("millrace_source_seconds_behind",
                                      "Of the partition that is farthest behind",
                                      {{"pipeline", pipeline}})),
        retention_left_(metrics.gauge("millrace_source_retention_left_seconds",
                                      "Until the log deletes what is not settled, of the partition "
                                      "nearest to it; -1: not known",
                                      {{"pipeline", pipeline}})) {
    retention_left_.set(-1);
  }

  void show(const SourceStatus& status) {
    std::int64_t records = 0;
    std::int64_t millis = 0;
    std::int64_t left_ms = -1;
    for (const PartitionStatus& partition : status.partitions) {
      records += std::max<std::int64_t>(0, partition.records_behind);
      millis = std::max(millis, partition.millis_behind);
      if (partition.retention_left_ms >= 0 &&
          (left_ms < 0 || partition.retention_left_ms < left_ms))
        left_ms = partition.retention_left_ms;
    }
    records_behind_.set(records);
    seconds_behind_.set(millis / 1000);
    retention_left_.set(left_ms < 0 ? -1 : left_ms / 1000);
  }

 private:
  Gauge& records_behind_;
  Gauge& seconds_behind_;
  Gauge& retention_left_;
};

// The thread, the loop and the source of one pipeline, and its body (Forwarder or Archiver).
template <class Body>
class Hosted final : public RunningPipeline {
 public:
  using MakeBody = std::function<Result<std::unique_ptr<Body>>(Loop&, Source&)>;

  Hosted(std::string name, std::size_t workers, Metrics& metrics, const Log& log)
      : name_(std::move(name)), log_(log), lag_(metrics, name_), loop_({.workers = workers}) {}

  /// What the body uses on workers: it must outlive the loop's threads, so it goes in here.
  struct Parts {
    std::unique_ptr<AwsClient> client{};
    std::unique_ptr<PersonalizeEventsApi> events{};
    std::unique_ptr<ObjectStore> store{};
    std::unique_ptr<Rng> rng{};
  };

  Parts& parts() { return parts_; }
  Loop& loop() { return loop_; }
  void set_source(SourceWithParts source) { source_ = std::move(source); }
  Source& source() { return *source_.source; }
  void set_body(std::unique_ptr<Body> body) { body_ = std::move(body); }

  ~Hosted() override {
    if (thread_.joinable()) {
      stop();
      thread_.join();
    }
  }

  std::string name() const override { return name_; }

  void start(std::function<void()> ended) override {
    thread_ = std::thread([this, ended = std::move(ended)] {
      loop_.post([this] {
        publish();
        body_->start([this](Status status) {
          result_ = std::move(status);
          loop_.stop();
        });
      });
      loop_.run();
      publish_once();
      over_.set_value();
      ended();
    });
  }

  void stop() override {
    loop_.post_from_outside([this] { body_->stop(); });
  }

  PartReport report() const override {
    const std::lock_guard lock(mutex_);
    return report_;
  }

  bool over() const override {
    return is_over_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  }

  Status wait() override {
    is_over_.wait();
    return result_;
  }

 private:
  void publish_once() {
    PartReport fresh = report_of(body_->status(), *source_.source);
    const SourceStatus status = source_.source->status();
    lag_.show(status);
    warn_of_retention(status);
    const std::lock_guard lock(mutex_);
    report_ = std::move(fresh);
  }

  void warn_of_retention(const SourceStatus& status) {
    const PartitionStatus* partition = nearly_forgotten(status);
    if (partition == nullptr || loop_.now() < retention_warning_not_before_) return;
    retention_warning_not_before_ = loop_.now() + kRetentionWarningInterval;
    log_.error("retention runs out", {{"pipeline", name_}, {"why", retention_warning(*partition)}});
  }

  void publish() {
    publish_once();
    loop_.post_after(kReportInterval, [this] { publish(); });
  }

  std::string name_;
  const Log& log_;
  LagGauges lag_;
  Ticks retention_warning_not_before_{0};
  Parts parts_{};
  // Positions and clients of the source are used by the loop's workers, the source itself is not.
  SourceWithParts source_{};
  RealLoop loop_;
  std::unique_ptr<Body> body_{};
  std::thread thread_{};
  Status result_{};
  std::promise<void> over_{};
  std::shared_future<void> is_over_ = over_.get_future().share();
  mutable std::mutex mutex_{};  // the status server reads reports from its own threads
  PartReport report_{};
};

PipelineOptions pipeline_options(const Config& config, const PipelineRunOptions& options) {
  PipelineOptions pipeline;
  pipeline.memory_bytes = config.memory_bytes / 2;
  pipeline.until_end = options.until_end;
  pipeline.adopt = options.adopt;
  return pipeline;
}

// The dataset's columns, when the configuration tells where to learn them: an event is sent with
// these fields only, so that it equals its row in the CSV. Otherwise none, and every field is sent.
Result<std::vector<std::string>> dataset_columns(const Config& config, AwsStack& aws) {
  std::vector<std::string> names;
  const bool named = config.compact && !config.compact->columns.empty();
  if (!named && !config.retrain) return names;
  const auto columns = columns_to_write(config, aws);
  if (!columns) return tl::unexpected(columns.error());
  for (const Column& column : *columns) names.push_back(column.name);
  return names;
}

}  // namespace

Result<std::unique_ptr<RunningPipeline>> make_forwarder_pipeline(const Config& config,
                                                                 const PipelineRunOptions& options,
                                                                 CommandContext& context,
                                                                 AwsStack& aws, Metrics& metrics) {
  const PersonalizeConfig& personalize = *config.personalize;
  PipelineOptions pipeline = pipeline_options(config, options);
  const std::size_t read_ahead = read_ahead_of(pipeline.memory_bytes);

  const std::string error_template =
      config.lake ? config.lake->options.error_prefix : LakeOptions{}.error_prefix;
  auto error_prefix = Prefix::parse(error_template, Prefix::Role::errors);
  if (!error_prefix) return fail(error_prefix.error().while_doing("lake.error_prefix"));

  // One worker for each call that may be under way, some for dead letters and the source's own
  // questions.
  auto host = std::make_unique<Hosted<Forwarder>>(
      "personalize", personalize.options.calls_in_flight_max + 8, metrics, *context.log);
  auto client = aws.client(kPersonalizeEventsService, personalize.aws, 1);
  if (!client) return fail(client.error().while_doing("personalize"));
  host->parts().client = std::move(*client);
  host->parts().events = std::make_unique<PersonalizeEventsApi>(*host->parts().client);
  auto store = make_store(config.lake ? config.lake->options.url : config.state);
  if (!store) return tl::unexpected(store.error());
  host->parts().store = std::move(*store);
  auto source = make_source(config, "personalize", personalize.start, read_ahead, host->loop(),
                            context, aws, metrics);
  if (!source) return tl::unexpected(source.error());
  host->set_source(std::move(*source));

  auto columns = dataset_columns(config, aws);
  if (!columns) return tl::unexpected(columns.error());
  PersonalizeOptions put_events = personalize.options;
  put_events.columns = std::move(*columns);

  ForwarderOptions forwarder{
      .pipeline = pipeline,
      .decoding = config.events,
      .sink = {.personalize = std::move(put_events)},
      .dead_letters = {.error_prefix = std::move(*error_prefix),
                       .compression =
                           config.lake ? config.lake->options.compression : Compression::gzip,
                       .log_name = host->source().log_name(),
                       .digits = position_digits(host->source().kind()),
                       .folder = config.lake ? "" : "dead-letters/"},
      .read_ahead_bytes = read_ahead};
  PersonalizeEventsApi& events = *host->parts().events;
  host->set_body(std::make_unique<Forwarder>(
      host->loop(), host->source(),
      [&events](const PutEventsRequest& request) { return events.put_events(request); },
      *host->parts().store, std::move(forwarder), entropy(), metrics, *context.log));
  return std::unique_ptr<RunningPipeline>(std::move(host));
}

Result<std::unique_ptr<RunningPipeline>> make_archiver_pipeline(const Config& config,
                                                                const PipelineRunOptions& options,
                                                                CommandContext& context,
                                                                AwsStack& aws, Metrics& metrics) {
  const LakeConfig& lake = *config.lake;
  PipelineOptions pipeline = pipeline_options(config, options);
  const std::size_t read_ahead = read_ahead_of(pipeline.memory_bytes);
  pipeline.memory_bytes -= read_ahead;

  auto host =
      std::make_unique<Hosted<Archiver>>("lake", pipeline.uploads_max + 8, metrics, *context.log);
  auto store = make_store(lake.options.url);
  if (!store) return tl::unexpected(store.error());
  host->parts().store = std::move(*store);
  host->parts().rng = std::make_unique<Rng>(entropy());
  auto source =
      make_source(config, "lake", lake.start, read_ahead, host->loop(), context, aws, metrics);
  if (!source) return tl::unexpected(source.error());
  host->set_source(std::move(*source));
  auto archiver =
      Archiver::make(host->loop(), host->source(), *host->parts().store, lake.options,
                     config.events, pipeline, *host->parts().rng, *context.log, metrics);
  if (!archiver) return fail(archiver.error().while_doing("lake"));
  host->set_body(std::move(*archiver));
  return std::unique_ptr<RunningPipeline>(std::move(host));
}

}  // namespace millrace
