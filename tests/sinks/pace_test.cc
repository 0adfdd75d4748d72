#include "sinks/pace.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(Pace, KeepsTheRateOverASecondAndSpreadsIt) {
  Pace pace({.calls_per_second_max = 100});
  int started = 0;
  for (Ticks now = 0s; now < 2s; now += 1ms) {
    while (pace.next(now) == now) {
      pace.start(now);
      ++started;
    }
  }
  EXPECT_NEAR(started, 200, 4);
}

TEST(Pace, SavesUpNoMoreThanItsBurst) {
  Pace pace({.calls_per_second_max = 1000, .burst = 20ms});
  int at_once = 0;
  while (pace.next(1h) == 1h) {
    pace.start(1h);
    ++at_once;
  }
  EXPECT_LE(at_once, 22);
  EXPECT_GE(at_once, 20);
}

TEST(Pace, NeverStopsAltogether) {
  Pace pace({.calls_per_second_max = 1000});
  for (Ticks now = 0s; now < 60s; now += 100ms) pace.throttled(now);
  EXPECT_GE(pace.rate(), 1.0);
  EXPECT_LE(pace.rate(), 2.0);
}

/// A service that allows `allowed` calls a second by a token bucket of a tenth of a second.
double used_of(double allowed) {
  Pace pace({.calls_per_second_max = 1000});
  double tokens = 0;
  int accepted = 0;
  for (Ticks now = 0s; now < 60s; now += 1ms) {
    tokens = std::min(allowed / 10, tokens + allowed / 1000);
    while (pace.next(now) == now) {
      pace.start(now);
      if (tokens >= 1) {
        tokens -= 1;
        pace.accepted(now);
        if (now >= 10s) ++accepted;
      } else {
        pace.throttled(now);
      }
    }
  }
  return accepted / (allowed * 50);
}

TEST(Pace, UsesNearlyAllOfWhatIsAllowed) {
  for (const double allowed : {50.0, 100.0, 300.0, 900.0}) {
    EXPECT_GE(used_of(allowed), 0.95) << allowed;
  }
}

TEST(Pace, OneThrottledCallAfterAQuietTimeChangesLittle) {
  Pace pace({.calls_per_second_max = 1000});
  for (Ticks now = 0s; now < 10s; now += 500ms) pace.accepted(now);
  pace.throttled(20s);
  EXPECT_GE(pace.rate(), 940);
}

TEST(Pace, RareThrottlingOfAQuietStreamDoesNotSlowItDown) {
  Pace pace({.calls_per_second_max = 1000});
  int calls = 0;
  double lowest = 1000;
  for (Ticks now = 0s; now < 60s; now += 50ms) {
    if (++calls % 50 == 0) {
      pace.throttled(now);
    } else {
      pace.accepted(now);
    }
    lowest = std::min(lowest, pace.rate());
  }
  EXPECT_GE(lowest, 900);
}

TEST(Pace, ForgetsWithinSecondsThatItWasThrottledForLong) {
  Pace pace({.calls_per_second_max = 1000});
  for (Ticks now = 0s; now < 30s; now += 20ms) pace.throttled(now);
  EXPECT_LE(pace.rate(), 2);
  Ticks now = 30s;
  for (; pace.rate() < 1000 && now < 60s; now += 1ms) {
    if (pace.next(now) > now) continue;
    pace.start(now);
    pace.accepted(now);
  }
  EXPECT_LE(now, 40s);
}

}  // namespace
}  // namespace millrace
