// Child processes of the demo: this very program, as a user would start it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/result.h"

namespace millrace {

struct ChildResult {
  int exit_code = -1;  // 128 + signal when a signal ended it
  std::int64_t rss_kib_max = 0;
};

/// One child; ended with SIGKILL when the object goes while it still runs, and by the kernel when
/// the parent dies. Not thread-safe.
class ChildProcess {
 public:
  struct Options {
    std::vector<std::string> arguments{};              // [0] is the program's path
    std::map<std::string, std::string> environment{};  // added to ours
    std::string stdout_path{};                         // appended to; empty: ours
    std::string stderr_path{};
  };

  static Result<ChildProcess> start(const Options& options);
  ~ChildProcess();
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  /// No effect once it has ended.
  void signal(int number);
  /// Its result once it has ended; nothing while it runs.
  std::optional<ChildResult> poll();
  /// Waits for the end.
  ChildResult wait();

 private:
  explicit ChildProcess(pid_t pid) : pid_(pid) {}

  pid_t pid_ = -1;
  std::optional<ChildResult> result_{};
};

}  // namespace millrace
