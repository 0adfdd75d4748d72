#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "aws/kinesis_api.h"
#include "aws/personalize_api.h"
#include "cli/aws_stack.h"
#include "cli/command.h"
#include "cli/compaction.h"
#include "ingest/kafka_probe.h"
#include "lake/names.h"
#include "lake/prefix.h"
#include "lake/store_of_url.h"

namespace millrace {
namespace {

constexpr std::chrono::seconds kKafkaWait{
    10};  // long enough for a refused login to be told from a slow broker

enum class Verdict { ok, warning, failed };

struct Finding {
  Verdict verdict = Verdict::ok;
  std::string what{};
  std::string detail{};
};

class Checker {
 public:
  Checker(const Config& config, CommandContext& context)
      : config_(config), context_(context), aws_(context) {}

  std::vector<Finding> findings{};

  void check_all() {
    ok("configuration", config_.file);
    if (config_.source) check_source();
    if (config_.lake) check_lake();
    if (!config_.state.empty()) check_folder("state", config_.state, "");
    if (config_.compact) check_output();
    if (config_.personalize) check_put_events();
    if (config_.retrain) check_retrain();
  }

 private:
  void ok(std::string what, std::string detail) {
    findings.push_back({Verdict::ok, std::move(what), std::move(detail)});
  }
  void warn(std::string what, std::string detail) {
    findings.push_back({Verdict::warning, std::move(what), std::move(detail)});
  }
  void failed(std::string what, std::string detail) {
    findings.push_back({Verdict::failed, std::move(what), std::move(detail)});
  }

  // `action` is the permission to grant when the answer is "denied".
  void failed(const std::string& what, const Error& error, std::string_view action) {
    failed(what, error.kind == ErrorKind::denied && !action.empty()
                     ? fmt::format("{}; the permission it takes is {}", error.message, action)
                     : error.message);
  }

  void check_source() {
    const SourceConfig& source = *config_.source;
    if (source.kafka) {
      const auto facts = probe_kafka(*source.kafka, kKafkaWait);
      if (!facts) return failed("source", facts.error(), "");
      ok("source",
         fmt::format("{}: {} partitions, groups {}-personalize and {}-lake", source.described(),
                     facts->partitions, source.kafka->group, source.kafka->group));
      for (const std::string& warning : kafka_topic_warnings(*facts, source.kafka->topic))
        warn("source", warning);
    } else if (source.kinesis) {
      auto client = aws_.client(kKinesisService, source.aws);
      if (!client) return failed("source", client.error(), "");
      KinesisApi api(**client);
      const auto summary = api.describe_stream_summary(source.kinesis->stream);
      if (!summary) return failed("source", summary.error(), "kinesis:DescribeStreamSummary");
      const auto shards = api.list_shards(source.kinesis->stream);
      if (!shards) return failed("source", shards.error(), "kinesis:ListShards");
      ok("source", fmt::format("{}: {}, {} open shards, retention {} h", source.described(),
                               summary->status, summary->open_shards, summary->retention_hours));
      if (summary->record_distribution == "AUTO") {
        warn("source",
             "the stream spreads records without regard to their keys (RecordDistributionStrategy "
             "AUTO): there is no "
             "order per user");
      }
    } else if (access(source.file->path.c_str(), R_OK) != 0) {
      failed("source", fmt::format("{}: no such file, or it cannot be read", source.file->path));
    } else {
      ok("source", source.described());
    }
  }

  // Writes, reads and removes a small object, which is what running needs.
  bool check_folder(const std::string& what, const std::string& url, std::string_view folder) {
    auto store = make_store(url);
    if (!store) {
      failed(what, store.error(), "");
      return false;
    }
    const std::string key = fmt::format("{}check-{}", folder, getpid());
    const auto put = (*store)->put(key, "a check; safe to remove\n", PutIf::absent());
    if (!put) {
      failed(what, put.error(), "");
      return false;
    }
    const auto again = (*store)->put(key, "again\n", PutIf::absent());
    const auto read = (*store)->get(key);
    const Status removed = (*store)->remove(key);
    if (again || again.error().kind != ErrorKind::conflict) {
      failed(what,
             fmt::format("{} does not refuse to create an object twice, which exactly-once needs",
                         url));
      return false;
    }
    if (!read || !removed) {
      failed(what, read ? removed.error() : read.error(), "");
      return false;
    }
    ok(what, fmt::format("{}: writable", url));
    return true;
  }

  void check_lake() {
    const LakeOptions& lake = config_.lake->options;
    const auto prefix = Prefix::parse(lake.prefix, Prefix::Role::objects);
    if (!prefix) return failed("lake.prefix", prefix.error(), "");
    const auto error_prefix = Prefix::parse(lake.error_prefix, Prefix::Role::errors);
    if (!error_prefix) return failed("lake.error_prefix", error_prefix.error(), "");
    for (const std::string& warning : prefix->warnings()) warn("lake.prefix", warning);
    for (const std::string& warning : error_prefix->warnings()) warn("lake.error_prefix", warning);
    check_folder("lake", lake.url, kStateFolder);
  }

  void check_output() {
    const auto output = split_object_url(config_.compact->output);
    if (!output) return failed("compact.output", output.error(), "");
    auto store = make_store(output->store_url);
    if (!store) return failed("compact.output", store.error(), "");
    // Begun and never published: nothing is seen beside the CSV.
    auto writer = (*store)->create(output->key);
    if (!writer) return failed("compact.output", writer.error(), "");
    if (const Status written = (*writer)->write("a check\n"); !written)
      return failed("compact.output", written.error(), "");
    ok("compact.output", fmt::format("{}: writable", config_.compact->output));
  }

  // An empty list of events: refused as invalid after the signature and the permission were looked
  // at, and without effect.
  void check_put_events() {
    auto client = aws_.client(kPersonalizeEventsService, config_.personalize->aws);
    if (!client) return failed("personalize", client.error(), "");
    AwsCall call;
    call.operation = "PutEvents";
    call.target = "/events";
    call.headers = {{"Content-Type", "application/json"}};
    call.body = nlohmann::json({{"trackingId", config_.personalize->options.tracking_id},
                                {"sessionId", "millrace-check"},
                                {"eventList", nlohmann::json::array()}})
                    .dump();
    const auto reply = (*client)->call(std::move(call));
    if (reply || reply.error().kind == ErrorKind::rejected) {
      return ok("personalize",
                fmt::format("{} answers, credentials are good", (*client)->endpoint()));
    }
    failed("personalize", reply.error(), "personalize:PutEvents");
  }

  void check_retrain() {
    auto client = aws_.client(kPersonalizeService, config_.retrain->aws);
    if (!client) return failed("retrain", client.error(), "");
    PersonalizeApi api(**client);
    const RetrainOptions& retrain = config_.retrain->options;
    const auto dataset = api.describe_dataset(retrain.dataset_arn);
    if (!dataset) {
      failed("retrain.dataset_arn", dataset.error(), "personalize:DescribeDataset");
    } else {
      check_columns(api, *dataset);
      check_tracker(api, *dataset);
    }
    const auto solution = api.describe_solution(retrain.solution_arn);
    if (!solution) {
      failed("retrain.solution_arn", solution.error(), "personalize:DescribeSolution");
    } else {
      ok("retrain.solution_arn",
         fmt::format("{}: {}, {}", solution->name, solution->recipe_arn, solution->state.status));
      if (solution->auto_training) {
        warn("retrain.solution_arn",
             "the solution trains by itself too (performAutoTraining), and each training is "
             "billed: switch it off with "
             "UpdateSolution, or leave training to it");
      }
      if (dataset && solution->dataset_group_arn != dataset->dataset_group_arn) {
        failed("retrain.solution_arn",
               "the solution belongs to another dataset group than the dataset");
      }
    }
    if (!retrain.campaign_arn.empty()) {
      const auto campaign = api.describe_campaign(retrain.campaign_arn);
      if (!campaign)
        return failed("retrain.campaign_arn", campaign.error(), "personalize:DescribeCampaign");
      ok("retrain.campaign_arn", fmt::format("{}: {}", campaign->name, campaign->state.status));
      if (!campaign->solution_version_arn.starts_with(retrain.solution_arn + "/")) {
        warn("retrain.campaign_arn", "the campaign serves a version of another solution");
      }
    }
  }

  void check_columns(PersonalizeApi& api, const DatasetDescription& dataset) {
    const auto schema = api.describe_schema(dataset.schema_arn);
    if (!schema) return failed("retrain.dataset_arn", schema.error(), "personalize:DescribeSchema");
    const auto columns = parse_interactions_schema(schema->avro);
    if (!columns) return failed("retrain.dataset_arn", columns.error(), "");
    std::vector<std::string> names;
    for (const Column& column : *columns) names.push_back(column.name);
    const auto& wanted = config_.compact->columns;
    if (!wanted.empty() && wanted != names) {
      return failed(
          "compact.columns",
          fmt::format("[{}] are not the dataset's columns [{}]; leave compact.columns at auto",
                      fmt::join(wanted, ", "), fmt::join(names, ", ")));
    }
    ok("retrain.dataset_arn", fmt::format("{}: columns {}", dataset.name, fmt::join(names, ", ")));
  }

  // A tracking id that is not this dataset group's would feed another model.
  void check_tracker(PersonalizeApi& api, const DatasetDescription& dataset) {
    if (!config_.personalize) return;
    const auto trackers = api.list_event_trackers(dataset.dataset_group_arn);
    if (!trackers)
      return failed("personalize.tracking_id", trackers.error(), "personalize:ListEventTrackers");
    for (const ResourceSummary& summary : *trackers) {
      const auto tracker = api.describe_event_tracker(summary.arn);
      if (!tracker)
        return failed("personalize.tracking_id", tracker.error(),
                      "personalize:DescribeEventTracker");
      if (tracker->tracking_id == config_.personalize->options.tracking_id) {
        return ok("personalize.tracking_id", fmt::format("of event tracker {}", tracker->name));
      }
    }
    failed("personalize.tracking_id", fmt::format("no event tracker of the dataset's group has it; "
                                                  "the group has {} (see `aws personalize "
                                                  "list-event-trackers --dataset-group-arn {}`)",
                                                  trackers->size(), dataset.dataset_group_arn));
  }

  const Config& config_;
  CommandContext& context_;
  AwsStack aws_;
};

Exit check(CommandContext& context) {
  const auto config = context.config();
  if (!config) return report(config.error());
  Checker checker(*config, context);
  checker.check_all();
  const bool fine =
      std::none_of(checker.findings.begin(), checker.findings.end(),
                   [](const Finding& finding) { return finding.verdict == Verdict::failed; });
  const auto word = [](Verdict verdict) {
    return verdict == Verdict::ok ? "ok" : verdict == Verdict::warning ? "warning" : "FAILED";
  };
  if (context.json) {
    nlohmann::ordered_json json{{"ok", fine}, {"checks", nlohmann::ordered_json::array()}};
    for (const Finding& finding : checker.findings) {
      json["checks"].push_back(
          {{"what", finding.what}, {"verdict", word(finding.verdict)}, {"detail", finding.detail}});
    }
    fmt::print("{}\n", json.dump());
  } else {
    for (const Finding& finding : checker.findings) {
      fmt::print("{:8} {:24} {}\n", word(finding.verdict), finding.what, finding.detail);
    }
  }
  return fine ? Exit::done : Exit::failed;
}

}  // namespace

void add_check(CLI::App& root, RunCommand& chosen) {
  CLI::App* const command = root.add_subcommand(
      "check",
      "Validate the configuration, then reach every service with harmless calls; one line each");
  command->callback([&chosen] { chosen = [](CommandContext& context) { return check(context); }; });
}

}  // namespace millrace
