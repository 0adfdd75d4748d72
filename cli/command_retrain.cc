#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <memory>

#include "cli/command.h"
#include "cli/cycle.h"
#include "cli/terminal.h"
#include "lake/store_of_url.h"
#include "retrain/cycle_lock.h"

namespace millrace {
namespace {

constexpr std::chrono::milliseconds kLockInterval{500};

struct RetrainArguments {
  bool resume = false;
  bool dry_run = false;
  bool incremental = false;
};

// An instance that was killed leaves its lease behind for a minute: worth waiting for. One that
// lives prolongs it, and then the refusal stands.
Result<CycleState> run_when_free(Cycle& cycle, CycleRunner::Start start, CommandContext& context,
                                 Progress& progress) {
  auto state = cycle.runner().run(start);
  if (state || state.error().code != CycleLock::kHeld) return state;
  const std::string holder = state.error().message;
  progress.say(fmt::format("waiting: {}", holder));
  while (!state && state.error().message == holder && context.pause->wait(kLockInterval))
    state = cycle.runner().run(start);
  return state;
}

Exit retrain(const RetrainArguments& arguments, CommandContext& context) {
  const auto config = context.config();
  if (!config) return report(config.error());
  if (const Status ready =
          require(*config, "retrain", {Need::lake, Need::state, Need::compact, Need::retrain});
      !ready) {
    return report(ready.error());
  }
  AwsStack aws(context);
  Progress progress(context.json);
  std::string last;
  auto cycle =
      Cycle::make(*config, context, aws, arguments.incremental, [&](const CycleState& state) {
        const std::string line = described(state);
        if (line != last) progress.say(fmt::format("{} {}", iso8601(state.updated_at), line));
        last = line;
      });
  if (!cycle) return report(cycle.error());
  if (arguments.dry_run) {
    fmt::print("{}", (*cycle)->runner().plan());
    return Exit::done;
  }
  const auto state = run_when_free(
      **cycle, arguments.resume ? CycleRunner::Start::resume : CycleRunner::Start::fresh, context,
      progress);
  progress.clear_line();
  if (context.json) {
    const auto saved = state ? Result<CycleState>(*state) : CycleRunner::load((*cycle)->state());
    if (saved) fmt::print("{}\n", cycle_report_json(*saved));
  }
  if (!state) {
    if (context.stopping()) {
      fmt::print(stderr, "millrace: interrupted; `millrace retrain --resume` goes on\n");
      return Exit::interrupted;
    }
    return report(state.error());
  }
  if (!context.json) {
    fmt::print("cycle {} is done: {} rows from {}\n", state->run_id, grouped(state->csv.rows),
               state->csv.url);
    for (std::size_t i = 0; i < kCycleSteps; ++i) {
      const auto which = static_cast<CycleStep>(i);
      const StepState& step = state->step(which);
      fmt::print("  {:16} {:8} {}\n", name_of(which), name_of(step.status), step.arn);
    }
  }
  return Exit::done;
}

}  // namespace

void add_retrain(CLI::App& root, RunCommand& chosen) {
  auto arguments = std::make_shared<RetrainArguments>();
  CLI::App* const command =
      root.add_subcommand("retrain",
                          "One cycle now: compact → import → solution version → campaign and/or "
                          "batch inference, saved before and after each step");
  command->add_flag("--resume", arguments->resume,
                    "Go on with a cycle that was broken off; nothing is started twice");
  command->add_flag("--dry-run", arguments->dry_run, "Print what would be done, and do nothing");
  command->add_flag("--incremental", arguments->incremental,
                    "Import only objects that no published run has read");
  command->callback([arguments, &chosen] {
    chosen = [arguments](CommandContext& context) { return retrain(*arguments, context); };
  });
}

}  // namespace millrace
