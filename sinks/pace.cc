#include "sinks/pace.h"

namespace millrace {
namespace {

constexpr Ticks kWindow = 500ms;
constexpr Ticks kAdaptEvery = 200ms;

}  // namespace

void Pace::look(Ticks now) {
  if (now - window_start_ < kWindow) return;
  const double seconds = std::chrono::duration<double>(now - window_start_).count();
  accepted_rate_ = static_cast<double>(window_) / seconds;
  window_start_ = now;
  window_ = 0;
}

void Pace::accepted(Ticks now) {
  look(now);
  ++window_;
  if (rate_ >= options_.calls_per_second_max || now - adapted_at_ < kAdaptEvery) return;
  adapted_at_ = now;
  rate_ = std::min(options_.calls_per_second_max, rate_ * 1.02);
}

void Pace::throttled(Ticks now) {
  look(now);
  if (now - adapted_at_ < kAdaptEvery) return;
  adapted_at_ = now;
  double lower = rate_ * 0.95;
  // Far above the allowance, small steps would take seconds: go to what was accepted. A tenth
  // above it, since calls that were refused took part of the pace.
  if (accepted_rate_ > 0) lower = std::min(lower, accepted_rate_ * 1.1);
  if (accepted_rate_ == 0) lower = rate_ / 2;
  rate_ = std::max(options_.calls_per_second_min, lower);
}

}  // namespace millrace
