#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "cli/command.h"
#include "cli/compaction.h"
#include "cli/terminal.h"
#include "cli/traffic.h"
#include "config/values.h"

namespace millrace {
namespace {

struct CompactArgumentsOfLine {
  bool full = false;
  bool incremental = false;
  std::string from{};
  std::string to{};
  std::string output{};
};

Result<std::optional<std::int64_t>> time_of(const std::string& text, std::string_view option) {
  if (text.empty()) return std::nullopt;
  const auto start = parse_start(text);
  if (!start || start->kind != StartAt::Kind::time) {
    return fail(ErrorKind::invalid,
                fmt::format("{} \"{}\": write a time such as 2026-11-21T00:00:00Z, or Unix seconds",
                            option, text));
  }
  return unix_seconds(start->time);
}

void print_report(const CompactOutcome& outcome) {
  const CompactReport& report = outcome.report;
  fmt::print("{} objects read ({}), {} skipped\n", grouped(report.objects),
             human_size(report.bytes), grouped(report.objects_skipped));
  fmt::print(
      "{} events decoded = {} in the CSV + {} duplicates + {} refused + {} anonymous + {} outside "
      "the window\n",
      grouped(report.decoded), grouped(report.csv_rows), grouped(report.duplicates),
      grouped(report.refused()), grouped(report.anonymous), grouped(report.outside_window));
  for (const auto& [reason, count] : report.refused_by_reason)
    fmt::print("  refused: {:>12}  {}\n", grouped(count), reason);
  if (report.first_second && report.last_second) {
    fmt::print("{} users, {} items, {} to {}\n", grouped(report.users), grouped(report.items),
               iso8601(wall_time_of_ms(*report.first_second * 1000)),
               iso8601(wall_time_of_ms(*report.last_second * 1000)));
  }
  for (const DamagedObject& damaged : report.damaged)
    fmt::print("DAMAGED {}: {}\n", damaged.key, damaged.reason);
  for (const std::string& line : report.minimums_missed())
    fmt::print("below Personalize's minimum: {}\n", line);
  for (const std::string& line : report.warnings) fmt::print("warning: {}\n", line);
  for (const std::string& line : report.notes) fmt::print("note: {}\n", line);
  if (!outcome.recovered.empty()) fmt::print("recovered: {}\n", outcome.recovered);
  if (outcome.published) {
    fmt::print("CSV     {} ({})\n", report.csv_url, human_size(report.csv_bytes));
  } else {
    fmt::print("no CSV was published: {}\n", outcome.why_not);
  }
  if (!report.rejects_url.empty()) fmt::print("rejects {}\n", report.rejects_url);
  fmt::print("report  {}\n", outcome.report_url);
}

Exit compact_command(const CompactArgumentsOfLine& line, CommandContext& context) {
  const auto config = context.config();
  if (!config) return report(config.error());
  std::vector<Need> needs{Need::lake, Need::state};
  if (line.output.empty()) needs.push_back(Need::compact);
  if (const Status ready = require(*config, "compact", needs); !ready) return report(ready.error());
  const auto from = time_of(line.from, "--from");
  if (!from) return report(from.error());
  const auto to = time_of(line.to, "--to");
  if (!to) return report(to.error());

  Config with_compact = *config;
  if (!with_compact.compact) with_compact.compact.emplace();
  AwsStack aws(context);
  const auto columns = columns_to_write(with_compact, aws);
  if (!columns) return report(columns.error());
  Progress progress(context.json);
  CompactionArguments arguments{.incremental = line.incremental, .from = *from, .to = *to};
  if (!line.output.empty()) arguments.output = url_of_path(line.output);
  arguments.progress = [&](const CompactProgress& now) {
    progress.show(progress_line(now));
    return !context.stopping();
  };
  const auto outcome = run_compaction(with_compact, context, *columns, arguments);
  progress.clear_line();
  if (!outcome) {
    if (context.stopping()) {
      fmt::print(stderr, "millrace: interrupted; the CSV that was there is untouched\n");
      return Exit::interrupted;
    }
    return report(outcome.error().while_doing("compact"));
  }
  if (context.json) {
    fmt::print("{}\n", outcome->report.to_json());
  } else {
    print_report(*outcome);
  }
  if (!outcome->published) return Exit::refused;
  return outcome->report.damaged.empty() ? Exit::done : Exit::failed;
}

}  // namespace

void add_compact(CLI::App& root, RunCommand& chosen) {
  auto line = std::make_shared<CompactArgumentsOfLine>();
  CLI::App* const command = root.add_subcommand(
      "compact",
      "Every object of the lake, or of a window, into one Personalize CSV, with a report. Exits 1 "
      "when an object is "
      "damaged (its readable lines are used), 3 when there is nothing to publish");
  CLI::Option* const full = command->add_flag("--full", line->full, "All objects (the default)");
  command
      ->add_flag("--incremental", line->incremental, "Only objects that no published run has read")
      ->excludes(full);
  command->add_option("--from", line->from, "Only events at or after this time");
  command->add_option("--to", line->to, "Only events before this time");
  command->add_option("--output", line->output, "Overrides compact.output");
  command->callback([line, &chosen] {
    chosen = [line](CommandContext& context) { return compact_command(*line, context); };
  });
}

}  // namespace millrace
