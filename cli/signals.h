// SIGINT and SIGTERM as calls on an ordinary thread.
#pragma once

#include <csignal>
#include <functional>
#include <thread>

namespace millrace {

/// While alive, the first SIGINT or SIGTERM calls `on_stop(signal)` on a thread of its own; a
/// second one ends the process at once with 130 (nothing is lost: what was not committed is read
/// again). Build it in main before any other thread, so that all of them inherit the blocked
/// signals. SIGPIPE is ignored: a closed pipe is an error of the write.
class Signals {
 public:
  explicit Signals(std::function<void(int signal)> on_stop);
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

 private:
  std::function<void(int)> on_stop_;
  sigset_t watched_{};
  std::thread thread_{};
};

}  // namespace millrace
