// How fast calls may go: a token bucket that slows down when the service says so and feels its way
// back up. Pure: time is an argument.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/time.h"

namespace millrace {

struct PaceOptions {
  double calls_per_second_max = 1000;
  double calls_per_second_min = 1;  // never slower than this, or nothing would ever find out
  Ticks burst = 20ms;               // saved up at most; two waits of an idle loop
};

/// Calls are allowed at an even pace. A throttled answer lowers the rate by 5 %, at most five times
/// a second (answers of calls already out say nothing new); where many are throttled, to a little
/// above what was accepted lately. It climbs by 2 %, five times a second, and twice as fast after
/// each step without a throttled answer: what throttled for a while, or once, is soon forgotten.
/// Against a steady allowance this uses more than nine tenths of it. Never above
/// calls_per_second_max.
class Pace {
 public:
  explicit Pace(const PaceOptions& options)
      : options_(options), rate_(options.calls_per_second_max) {}

  /// When the next call may start: `now` or later.
  [[nodiscard]] Ticks next(Ticks now) const { return std::max(now, free_at_); }

  /// A call starts now. REQUIRES: next(now) == now.
  void start(Ticks now) {
    const auto gap = Ticks(static_cast<std::int64_t>(1e9 / rate_));
    free_at_ = std::max(free_at_, now - options_.burst) + gap;
  }

  void accepted(Ticks now);
  void throttled(Ticks now);

  /// Calls per second, as adapted.
  [[nodiscard]] double rate() const { return rate_; }

 private:
  static constexpr double kRaise = 0.02;
  struct Window {
    Ticks start{};
    std::uint64_t accepted = 0;
    std::uint64_t throttled = 0;
  };

  void look(Ticks now);

  PaceOptions options_;
  double rate_;
  double raise_ = kRaise;  // by which part the next step goes up
  Ticks free_at_ = Ticks::min() / 2;
  Ticks adapted_at_{};        // the last change of rate, up or down
  Window window_{};           // the one under way
  double accepted_rate_ = 0;  // calls per second of the last whole window
  bool far_above_ = false;    // much of the last whole window was throttled
};

}  // namespace millrace
