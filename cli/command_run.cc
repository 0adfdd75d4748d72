#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/cycle.h"
#include "cli/pipelines.h"
#include "cli/status_server.h"

namespace millrace {
namespace {

struct RunArguments {
  std::vector<std::string> only{};
  bool until_end = false;
  std::string adopt = "none";
};

bool wanted(const RunArguments& arguments, std::string_view part) {
  return arguments.only.empty() ||
         std::find(arguments.only.begin(), arguments.only.end(), part) != arguments.only.end();
}

// Counts pipelines that run, and wakes whoever waits for one to end.
class Ends {
 public:
  void ended() {
    {
      const std::lock_guard lock(mutex_);
      ++count_;
    }
    changed_.notify_all();
  }
  void wait_for(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return count_ >= count; });
  }

 private:
  std::mutex mutex_{};
  std::condition_variable changed_{};
  std::size_t count_ = 0;
};

Exit run(const RunArguments& arguments, CommandContext& context) {
  const auto loaded = context.config();
  if (!loaded) return report(loaded.error());
  const Config& config = *loaded;
  const bool forwards = config.personalize && wanted(arguments, "personalize");
  const bool archives = config.lake && wanted(arguments, "lake");
  const bool cycles = config.retrain && wanted(arguments, "cycle") && !arguments.until_end;
  for (const std::string& part : arguments.only) {
    if (part == "personalize" && !config.personalize) {
      return report(require(config, "run --only personalize", {Need::personalize}).error());
    }
    if (part == "lake" && !config.lake)
      return report(require(config, "run --only lake", {Need::lake}).error());
    if (part == "cycle" && !config.retrain)
      return report(require(config, "run --only cycle", {Need::retrain}).error());
  }
  if (!forwards && !archives && !cycles) {
    return report({ErrorKind::invalid,
                   fmt::format("{}: `run` needs personalize, lake or both, and there is neither",
                               config.file)});
  }
  if (forwards || archives) {
    if (const Status ready = require(config, "run", {Need::source, Need::state}); !ready)
      return report(ready.error());
  }

  Metrics metrics;
  AwsStack aws(context);
  const PipelineRunOptions options{.until_end = arguments.until_end,
                                   .adopt = arguments.adopt == "position" ? Adopt::position
                                            : arguments.adopt == "start"  ? Adopt::start
                                                                          : Adopt::none};
  Ends ends;  // before the parts: their threads touch it until they are joined
  std::vector<std::unique_ptr<RunningPipeline>> parts;
  if (forwards) {
    auto made = make_forwarder_pipeline(config, options, context, aws, metrics);
    if (!made) return report(made.error());
    parts.push_back(std::move(*made));
  }
  if (archives) {
    auto made = make_archiver_pipeline(config, options, context, aws, metrics);
    if (!made) return report(made.error());
    parts.push_back(std::move(*made));
  }

  if (cycles) {
    auto made = make_cycle_part(config, context, aws, metrics);
    if (!made) return report(made.error());
    parts.push_back(std::move(*made));
  }

  std::unique_ptr<StatusServer> server;
  if (!config.server.listen.empty()) {
    StatusSources sources;
    sources.metrics = [&metrics] { return metrics.render(); };
    sources.status = [&parts, &config] {
      std::string json = fmt::format(R"({{"name":{},"source":{})", json_quoted(config.name),
                                     json_quoted(config.source ? config.source->described() : ""));
      for (const auto& part : parts)
        json += fmt::format(R"(,"{}":{})", part->name(), part->report().json);
      return json + "}\n";
    };
    sources.unready = [&parts] {
      std::vector<std::string> reasons;
      for (const auto& part : parts) {
        for (std::string& reason : part->report().unready) reasons.push_back(std::move(reason));
      }
      return reasons;
    };
    auto started = StatusServer::start(config.server.listen, std::move(sources));
    if (!started) return report(started.error());
    server = std::move(*started);
    context.log->info("status server listens",
                      {{"address", config.server.listen}, {"port", server->port()}});
  }

  const OnStop on_stop(context, [&parts, &context] {
    context.log->info(
        "stopping: what was read is settled and committed first; a second signal ends at once");
    for (const auto& part : parts) part->stop();
  });
  for (const auto& part : parts) {
    context.log->info("started", {{"pipeline", part->name()},
                                  {"source", config.source ? config.source->described() : ""}});
    part->start([&ends] { ends.ended(); });
  }
  Exit exit = Exit::done;
  for (std::size_t count = 1; count <= parts.size(); ++count) {
    ends.wait_for(count);
    // The first that fails takes the others along: half a service that looks alive helps nobody.
    for (const auto& part : parts) {
      if (exit != Exit::done || !part->over()) continue;
      if (const Status status = part->wait(); !status) {
        exit = report(status.error().while_doing(part->name()));
        for (const auto& other : parts) other->stop();
      }
    }
  }
  return exit;
}

}  // namespace

void add_run(CLI::App& root, RunCommand& chosen) {
  auto arguments = std::make_shared<RunArguments>();
  CLI::App* const command = root.add_subcommand(
      "run",
      "The service: source → PutEvents ∥ lake, retraining on schedule; SIGTERM drains and leaves");
  command
      ->add_option("--only", arguments->only,
                   "Only these parts: personalize, lake, cycle (separated by commas)")
      ->delimiter(',')
      ->check(CLI::IsMember({"personalize", "lake", "cycle"}));
  command->add_flag("--until-end", arguments->until_end,
                    "Stop at the log ends read at start, everything settled");
  command
      ->add_option("--adopt", arguments->adopt,
                   "Where `run` refuses because positions and lake do not agree: go on from the "
                   "`position` it names, or take the log "
                   "for a new one from its `start`")
      ->check(CLI::IsMember({"none", "position", "start"}))
      ->capture_default_str();
  command->callback([arguments, &chosen] {
    chosen = [arguments](CommandContext& context) { return run(*arguments, context); };
  });
}

}  // namespace millrace
