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

/// Calls are allowed at an even pace. A throttled answer lowers the rate a little below what was
/// accepted lately, at most five times a second (answers of calls already out say nothing new);
/// without one it climbs by 2 % five times a second. Against a steady allowance this uses more than
/// nine tenths of it. Never above calls_per_second_max.
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
  void look(Ticks now);

  PaceOptions options_;
  double rate_;
  Ticks free_at_ = Ticks::min() / 2;
  Ticks adapted_at_{};         // the last change of rate, up or down
  Ticks window_start_{};       // of the count below
  std::uint64_t window_ = 0;   // accepted in this window
  double accepted_rate_ = -1;  // calls per second of the last whole window; negative: none yet
};

}  // namespace millrace
