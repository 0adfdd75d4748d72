#include "sinks/pace.h"

namespace millrace {
namespace {

constexpr Ticks kWindow = 500ms;
constexpr Ticks kAdaptEvery = 200ms;
constexpr double kLower = 0.95;
// doubled with each step that meets no throttling,
constexpr double kRaiseMax = 0.5;  // up to this
constexpr double kFarAbove = 0.2;  // of the calls throttled: the allowance is far below the pace

}  // namespace

void Pace::look(Ticks now) {
  const Ticks age = now - window_.start;
  if (age < kWindow) return;
  const double seconds = std::chrono::duration<double>(age).count();
  const auto calls = static_cast<double>(window_.accepted + window_.throttled);
  // What was accepted tells the allowance only when much was refused: else it tells how little
  // there was to send. A window that nobody looked at for long tells nothing.
  far_above_ = age<2 * kWindow&& static_cast<double>(window_.throttled)> kFarAbove * calls;
  accepted_rate_ = static_cast<double>(window_.accepted) / seconds;
  window_ = {.start = now};
}

void Pace::accepted(Ticks now) {
  look(now);
  ++window_.accepted;
  if (rate_ >= options_.calls_per_second_max || now - adapted_at_ < kAdaptEvery) return;
  adapted_at_ = now;
  rate_ = std::min(options_.calls_per_second_max, rate_ * (1 + raise_));
  raise_ = std::min(kRaiseMax, raise_ * 2);
}

void Pace::throttled(Ticks now) {
  look(now);
  ++window_.throttled;
  raise_ = kRaise;
  if (now - adapted_at_ < kAdaptEvery) return;
  adapted_at_ = now;
  double lower = rate_ * kLower;
  // Small steps would take seconds: go to what was accepted. A tenth above it, since calls that
  // were refused took part of the pace.
  if (far_above_) lower = accepted_rate_ > 0 ? std::min(lower, accepted_rate_ * 1.1) : rate_ / 2;
  rate_ = std::max(options_.calls_per_second_min, lower);
}

}  // namespace millrace
