// What people see while they wait: one live line on a terminal, a plain line now and then in a
// pipe.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

namespace millrace {

/// "1,234,567": for people.
std::string grouped(std::uint64_t number);

/// A picture of `value` of `whole` in `cells` characters: "███████░░░".
std::string bar(double value, double whole, std::size_t cells);

/// Writes to stderr, so that stdout stays for results. Threads: any.
class Progress {
 public:
  /// `quiet` (with --json) shows nothing on a pipe, and the live line only on a terminal.
  explicit Progress(bool quiet);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// On a terminal the line replaces the one before it (at most ten times a second); in a pipe it
  /// is printed when `interval` has passed since the last.
  void show(std::string_view line);
  /// A line that stays.
  void say(std::string_view line);
  /// Takes the live line away, for what is printed next.
  void clear_line();
  [[nodiscard]] bool live() const { return live_; }

 private:
  void clear();

  const bool live_;
  const bool quiet_;
  std::mutex mutex_{};  // workers report from their own threads
  bool shown_ = false;
  std::chrono::steady_clock::time_point last_{};
};

}  // namespace millrace
