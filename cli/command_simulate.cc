#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/sources.h"
#include "cli/terminal.h"
#include "cli/traffic.h"

namespace millrace {
namespace {

struct SimulateArguments {
  std::string file{};
  std::string map{};
  double rate = 0;
  std::uint64_t limit = 0;
  CrowdOptions crowd{};
};

// A pause of this length or more is worth sending what waits first: a trickle of events should
// flow, not lump.
constexpr std::chrono::milliseconds kIdle{50};

Exit simulate(const SimulateArguments& arguments, CommandContext& context) {
  const auto config = context.config();
  if (!config) return report(config.error());
  if (const Status ready = require(*config, "simulate", {Need::source}); !ready)
    return report(ready.error());

  std::unique_ptr<Traffic> traffic;
  if (arguments.file.empty()) {
    CrowdOptions crowd = arguments.crowd;
    crowd.end = std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
    crowd.start = crowd.end - std::chrono::days(30);
    traffic = invented_traffic(crowd);
  } else {
    RowMap map;
    if (!arguments.map.empty()) {
      const auto parsed = parse_row_map(arguments.map);
      if (!parsed) return report(parsed.error());
      map = *parsed;
    }
    auto opened = open_traffic(arguments.file, map);
    if (!opened) return report(opened.error());
    traffic = std::move(*opened);
  }

  AwsStack aws(context);
  auto made = make_producer(*config, context, aws);
  if (!made) return report(made.error());
  Producer& producer = *made->producer;
  Progress progress(context.json);
  progress.say(fmt::format("{} → {}", traffic->description(), config->source->described()));

  using Clock = std::chrono::steady_clock;
  const Clock::time_point began = Clock::now();
  std::uint64_t produced = 0;
  bool interrupted = false;
  TrafficEvent event;
  while (arguments.limit == 0 || produced < arguments.limit) {
    const auto more = traffic->next(event);
    if (!more) return report(more.error());
    if (!*more) break;
    if (arguments.rate > 0) {
      const auto due =
          began + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(
                      static_cast<double>(produced) / arguments.rate));
      const auto ahead = due - Clock::now();
      if (ahead >= kIdle) {
        if (const Status sent = producer.flush(); !sent) return report(sent.error());
      }
      if (ahead > Clock::duration::zero() && !context.pause->wait(ahead)) interrupted = true;
    }
    if (interrupted || context.stopping()) {
      interrupted = true;
      break;
    }
    if (const Status sent = producer.produce(event.user, event.json); !sent)
      return report(sent.error());
    ++produced;
    if (produced % 256 == 0) {
      const double seconds = std::chrono::duration<double>(Clock::now() - began).count();
      progress.show(fmt::format("{} events produced, {} confirmed, {:.0f}/s", grouped(produced),
                                grouped(producer.confirmed()),
                                static_cast<double>(produced) / std::max(seconds, 1e-9)));
    }
  }
  if (const Status sent = producer.flush(); !sent) return report(sent.error());
  progress.clear_line();
  const double seconds = std::chrono::duration<double>(Clock::now() - began).count();
  if (context.json) {
    fmt::print("{}\n", nlohmann::ordered_json({{"events_produced", producer.confirmed()},
                                               {"rows_rejected", traffic->rejected_rows()},
                                               {"seconds", seconds},
                                               {"interrupted", interrupted}})
                           .dump());
  } else {
    fmt::print("{} events are in {} ({:.1f} s, {:.0f}/s){}\n", grouped(producer.confirmed()),
               config->source->described(), seconds,
               static_cast<double>(produced) / std::max(seconds, 1e-9),
               traffic->rejected_rows() > 0
                   ? fmt::format("; {} rows could not be read as rows (`millrace backfill` keeps "
                                 "such rows with their reason)",
                                 grouped(traffic->rejected_rows()))
                   : "");
  }
  return interrupted ? Exit::interrupted : Exit::done;
}

}  // namespace

void add_simulate(CLI::App& root, RunCommand& chosen) {
  auto arguments = std::make_shared<SimulateArguments>();
  CLI::App* const command =
      root.add_subcommand("simulate",
                          "An app's traffic into the configured Kafka topic or Kinesis stream: a "
                          "data set, or invented users");
  command->add_option("file", arguments->file,
                      "History to replay in its own order (formats as for backfill); without one, "
                      "users are invented");
  command->add_option(
      "--map", arguments->map,
      "user_id=COL,item_id=COL,timestamp=COL[,event_type=COL]: name, number or JSON pointer");
  command->add_option("--rate", arguments->rate, "Events a second; 0: as fast as they go")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--limit", arguments->limit, "Stop after so many events; 0: at the end")
      ->capture_default_str();
  command->add_option("--users", arguments->crowd.users, "Invented users")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command->add_option("--items", arguments->crowd.items, "Their items")
      ->check(CLI::Range(10, 200'000))
      ->capture_default_str();
  command
      ->add_option("--interactions", arguments->crowd.interactions,
                   "Their interactions, over the last 30 days")
      ->check(CLI::Range(1, 100'000'000))
      ->capture_default_str();
  command->add_option("--seed", arguments->crowd.seed, "The same seed, the same users")
      ->capture_default_str();
  command->callback([arguments, &chosen] {
    chosen = [arguments](CommandContext& context) { return simulate(*arguments, context); };
  });
}

}  // namespace millrace
