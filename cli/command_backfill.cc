#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/terminal.h"
#include "cli/traffic.h"
#include "config/values.h"
#include "lake/backfill.h"
#include "lake/store_of_url.h"

namespace millrace {
namespace {

struct BackfillArguments {
  std::vector<std::string> sources{};
  std::string map{};
};

nlohmann::ordered_json json_of(const std::string& source, const BackfillResult& result) {
  return {{"source", source},
          {"source_id", result.source_id},
          {"recognised", result.description},
          {"rows", result.rows},
          {"rows_stored_before", result.stored_before},
          {"rows_stored_now", result.stored_now},
          {"rows_rejected", result.rejected},
          {"events", result.events},
          {"events_anonymous", result.anonymous},
          {"events_refused", result.events_refused},
          {"objects_before", result.objects_before},
          {"objects_created", result.objects_created},
          {"folder", result.folder_url},
          {"rejects", result.rejects_url},
          {"warnings", result.warnings},
          {"complete", !result.stopped}};
}

void print_result(const std::string& source, const BackfillResult& result) {
  fmt::print("{}: {}\n", source, result.description);
  fmt::print("  {} rows = {} stored now + {} stored before + {} rejected; {} objects created\n",
             grouped(result.rows), grouped(result.stored_now), grouped(result.stored_before),
             grouped(result.rejected), grouped(result.objects_created));
  if (result.events_refused > 0) {
    fmt::print(
        "  {} events beside good ones in a row were refused (compaction reports them by reason)\n",
        grouped(result.events_refused));
  }
  if (result.anonymous > 0)
    fmt::print("  {} events are anonymous: they stay out of the CSV\n", grouped(result.anonymous));
  fmt::print("  lake    {}\n", result.folder_url);
  if (!result.rejects_url.empty())
    fmt::print("  rejects {} (line, reason, original bytes)\n", result.rejects_url);
  for (const std::string& warning : result.warnings) fmt::print("  warning: {}\n", warning);
}

Exit backfill_command(const BackfillArguments& arguments, CommandContext& context) {
  const auto config = context.config();
  if (!config) return report(config.error());
  if (const Status ready = require(*config, "backfill", {Need::lake, Need::state}); !ready)
    return report(ready.error());
  BackfillOptions options;
  options.lake = config->lake->options;
  options.decode = config->events;
  if (!arguments.map.empty()) {
    const auto map = parse_row_map(arguments.map);
    if (!map) return report(map.error());
    options.map = *map;
  }
  auto lake = make_store(config->lake->options.url);
  if (!lake) return report(lake.error());
  auto state = make_store(config->state);
  if (!state) return report(state.error());

  Progress progress(context.json);
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const std::string& source : arguments.sources) {
    if (const Status there = check_input_file(source); !there) return report(there.error());
    const auto url = split_object_url(url_of_path(source));
    if (!url) return report(url.error());
    auto store = make_store(url->store_url);
    if (!store) return report(store.error());
    const auto result = backfill(
        {store->get(), url->key}, **lake, **state, options, [&](const BackfillProgress& now) {
          progress.show(fmt::format(
              "{} {} {} of {}, {} rows", source,
              bar(static_cast<double>(now.bytes_read), static_cast<double>(now.bytes_total), 30),
              human_size(now.bytes_read), human_size(now.bytes_total), grouped(now.rows)));
          return !context.stopping();
        });
    progress.clear_line();
    if (!result) return report(result.error().while_doing(fmt::format("backfill of {}", source)));
    if (context.json) {
      all.push_back(json_of(source, *result));
    } else {
      print_result(source, *result);
    }
    if (result->stopped) {
      if (context.json) fmt::print("{}\n", nlohmann::ordered_json({{"sources", all}}).dump());
      fmt::print(stderr, "millrace: interrupted; the same command goes on where it stopped\n");
      return Exit::interrupted;
    }
  }
  if (context.json) fmt::print("{}\n", nlohmann::ordered_json({{"sources", all}}).dump());
  return Exit::done;
}

}  // namespace

void add_backfill(CLI::App& root, RunCommand& chosen) {
  auto arguments = std::make_shared<BackfillArguments>();
  CLI::App* const command =
      root.add_subcommand("backfill",
                          "History into the lake: CSV, TSV, NDJSON and JSON lists, plain, gz or "
                          "zst. Twice adds nothing; interrupted, it goes on");
  command->add_option("source", arguments->sources, "Files, or file:// URLs")->required();
  command->add_option("--map", arguments->map,
                      "user_id=COL,item_id=COL,timestamp=COL[,event_type=COL…]: a column's name or "
                      "number, or a JSON pointer");
  command->callback([arguments, &chosen] {
    chosen = [arguments](CommandContext& context) { return backfill_command(*arguments, context); };
  });
}

}  // namespace millrace
