// What every command is given, and how commands register themselves. One file command_<name>.cc
// each.
#pragma once

#include <CLI/App.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cli/real_pause.h"
#include "config/config.h"
#include "core/environment.h"
#include "core/log.h"
#include "core/result.h"

namespace millrace {

/// The exit codes of the contract (README, "Exit codes").
enum class Exit : int { done = 0, failed = 1, usage = 2, refused = 3, interrupted = 130 };

/// invalid → 2, refused → 3, everything else → 1.
Exit exit_of(const Error& error);

/// Lives for the whole program; what it refers to too.
struct CommandContext {
  std::string config_path = "millrace.yaml";
  bool json = false;  // stdout is one JSON document
  Environment environment{};
  const Log* log = nullptr;
  Log::Format log_format = Log::Format::text;
  RealPause* pause = nullptr;  // stopped by the first SIGINT or SIGTERM
  /// What the first stop signal runs, on the signal thread (at once when it has come already);
  /// nothing clears it. Use OnStop.
  std::function<void(std::function<void()>)> set_stop_task{};
  std::string program_path{};  // of this very binary, for child processes

  [[nodiscard]] bool stopping() const { return pause->stopped(); }
  /// Loads the configuration, prints its warnings to the log.
  [[nodiscard]] Result<Config> config() const;
};

/// While alive, a stop signal runs `task`, once, on the signal thread. One at a time.
class OnStop {
 public:
  OnStop(CommandContext& context, std::function<void()> task) : context_(context) {
    context_.set_stop_task(std::move(task));
  }
  /// Waits for a task that runs just now.
  ~OnStop() { context_.set_stop_task(nullptr); }
  OnStop(const OnStop&) = delete;
  OnStop& operator=(const OnStop&) = delete;

 private:
  CommandContext& context_;
};

/// A parsed command line: what to run once CLI11 is through.
using RunCommand = std::function<Exit(CommandContext&)>;

/// Adds a subcommand; its callback sets `chosen`.
using AddCommand = void (*)(CLI::App& root, RunCommand& chosen);

void add_backfill(CLI::App& root, RunCommand& chosen);
void add_check(CLI::App& root, RunCommand& chosen);
void add_compact(CLI::App& root, RunCommand& chosen);
void add_demo(CLI::App& root, RunCommand& chosen);
void add_emulate(CLI::App& root, RunCommand& chosen);
void add_retrain(CLI::App& root, RunCommand& chosen);
void add_run(CLI::App& root, RunCommand& chosen);
void add_simulate(CLI::App& root, RunCommand& chosen);
void add_status(CLI::App& root, RunCommand& chosen);
void add_template(CLI::App& root, RunCommand& chosen);
/// replay, redrive, forget, audit: named in --help as coming later, exit 2.
void add_later_commands(CLI::App& root, RunCommand& chosen);

/// Prints the error the one way every command does: to stderr, "millrace: …"; gives its exit code.
Exit report(const Error& error);

}  // namespace millrace
