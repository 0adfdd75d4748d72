// The program's front door: reads the command line, hands each command what it needs, ends with its
// exit code.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <mutex>

#include "cli/command.h"
#include "cli/signals.h"
#include "core/edit_distance.h"

namespace millrace {
namespace {

constexpr AddCommand kCommands[] = {add_run,     add_demo,     add_simulate,      add_backfill,
                                    add_compact, add_retrain,  add_check,         add_status,
                                    add_emulate, add_template, add_later_commands};

std::optional<std::string> environment_variable(std::string_view name) {
  const char* const value =
      std::getenv(std::string(name).c_str());  // NOLINT(concurrency-mt-unsafe): nobody writes it
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

std::string own_path() {
  std::string path(4096, '\0');
  const ssize_t length = readlink("/proc/self/exe", path.data(), path.size());
  path.resize(length > 0 ? static_cast<std::size_t>(length) : 0);
  return path;
}

// What ends a command's loops: run at the first signal, or at once when that was earlier.
class StopTask {
 public:
  void set(std::function<void()> task) {
    const std::lock_guard lock(mutex_);
    task_ = std::move(task);
    if (stopped_ && task_) task_();
  }
  void run() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    if (task_) task_();
  }

 private:
  std::mutex mutex_{};  // held while the task runs, so that clearing it waits
  bool stopped_ = false;
  std::function<void()> task_{};
};

constexpr const char* kExitCodes =
    "Exit codes: 0 done, 1 failed while running, 2 bad usage or configuration, 3 refused (a safety "
    "check said no), 130 interrupted.\nNo configuration yet? millrace template config > "
    "millrace.yaml, or try: millrace demo";

// The first word that stands where a command should: CLI11 says only that there is none.
std::string_view command_typed(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (!word.starts_with('-')) return word;
    if (word == "-c" || word == "--config" || word == "--log-format" || word == "--log-level") ++i;
  }
  return {};
}

// One line for a command line that cannot be read.
std::string usage_problem(const CLI::App& root, const CLI::ParseError& error, int argc,
                          char** argv) {
  const std::vector<CLI::App*> commands = root.get_subcommands();
  const std::string_view typed = command_typed(argc, argv);
  if (!commands.empty())
    return fmt::format("{} (millrace {} --help)", error.what(), commands.front()->get_name());
  if (typed.empty()) return fmt::format("{} (millrace --help)", error.what());
  std::string nearest;
  std::size_t distance = std::max<std::size_t>(1, typed.size() / 3) + 1;
  for (const CLI::App* command : root.get_subcommands([](const CLI::App*) { return true; })) {
    const std::size_t to_here = edit_distance(typed, command->get_name());
    if (to_here >= distance) continue;
    distance = to_here;
    nearest = fmt::format("; did you mean {}?", command->get_name());
  }
  return fmt::format("\"{}\" is not a command{} (millrace --help)", typed, nearest);
}

// A descriptor that the caller closed would be given to the next file that is opened, and what is
// meant for people would be written into it.
void open_standard_descriptors() {
  int descriptor = 0;
  do {
    descriptor = open("/dev/null", O_RDWR | O_CLOEXEC);
  } while (descriptor >= 0 && descriptor <= STDERR_FILENO);
  if (descriptor > STDERR_FILENO) close(descriptor);
}

// A result that could not be written is not "done".
int after_output(int exit) {
  const bool failed = std::fflush(stdout) != 0 || std::ferror(stdout) != 0;
  if (!failed || exit != static_cast<int>(Exit::done)) return exit;
  fmt::print(stderr,
             "millrace: the work is done, but its result could not be written to stdout (is the "
             "disk full?)\n");
  return static_cast<int>(Exit::failed);
}

int run_program(int argc, char** argv) {
  RealPause pause;
  StopTask stop_task;
  const Signals signals([&](int) {
    pause.stop();
    stop_task.run();
  });

  CLI::App root(
      "millrace: app events from Kafka or Kinesis into Amazon Personalize and a lake, and from the "
      "lake through one CSV back "
      "into retraining.",
      "millrace");
  root.require_subcommand(1);
  root.fallthrough();
  root.set_version_flag("--version", "millrace " MILLRACE_VERSION);
  CommandContext context;
  std::string log_format = "text";
  std::string log_level = "info";
  root.add_option("-c,--config", context.config_path, "The configuration file")
      ->capture_default_str();
  root.add_option("--log-format", log_format, "Log lines as text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  root.add_option("--log-level", log_level, "debug, info, warn, error or off")
      ->check(CLI::IsMember({"debug", "info", "warn", "error", "off"}))
      ->capture_default_str();
  root.add_flag("--json", context.json, "Print one JSON document on stdout");
  RunCommand chosen;
  // A command inherits this page's end: its own page should need no other.
  root.footer(
      fmt::format("Options of every command:\n"
                  "  -c,--config FILE            The configuration file (millrace.yaml)\n"
                  "  --log-format text|json      Log lines, on stderr\n"
                  "  --log-level LEVEL           debug, info, warn, error or off\n"
                  "  --json                      Print one JSON document on stdout\n\n{}",
                  kExitCodes));
  for (const AddCommand add : kCommands) add(root, chosen);
  root.footer(kExitCodes);
  try {
    root.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return root.exit(help);
  } catch (const CLI::CallForAllHelp& help) {
    return root.exit(help);
  } catch (const CLI::CallForVersion& version) {
    return root.exit(version);
  } catch (const CLI::ParseError& error) {
    fmt::print(stderr, "millrace: {}\n", usage_problem(root, error, argc, argv));
    return static_cast<int>(Exit::usage);
  }

  const LogLevel level = log_level == "debug"   ? LogLevel::debug
                         : log_level == "info"  ? LogLevel::info
                         : log_level == "warn"  ? LogLevel::warn
                         : log_level == "error" ? LogLevel::error
                                                : LogLevel::off;
  context.log_format = log_format == "json" ? Log::Format::json : Log::Format::text;
  const Log log(level, context.log_format, stderr_writer());
  context.environment = environment_variable;
  context.log = &log;
  context.pause = &pause;
  context.set_stop_task = [&stop_task](std::function<void()> task) {
    stop_task.set(std::move(task));
  };
  context.program_path = own_path();
  return static_cast<int>(chosen(context));
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) {
  // The one catch: what a library threw past its adapter is a bug, and still gets one clear line.
  try {
    millrace::open_standard_descriptors();
    return millrace::after_output(millrace::run_program(argc, argv));
  } catch (const std::exception& error) {
    fmt::print(stderr,
               "millrace: unexpected failure: {} (a bug in millrace; positions are safe, please "
               "report it)\n",
               error.what());
    return 1;
  }
}
