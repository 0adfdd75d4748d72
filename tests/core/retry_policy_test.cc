#include "core/retry_policy.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

using std::chrono::milliseconds;

TEST(RetryPolicy, StaysUnderTheDoublingCeilingAndTheCap) {
  const RetryPolicy policy{.base = milliseconds(50),
                           .base_throttled = milliseconds(1000),
                           .delay_max = milliseconds(20000)};
  Rng rng(1);
  const Error weather{ErrorKind::transient, "x"};
  for (int i = 0; i < 1000; ++i) {
    EXPECT_LT(policy.next_delay(weather, 0, rng), milliseconds(50));
    EXPECT_LT(policy.next_delay(weather, 3, rng), milliseconds(400));
    EXPECT_LT(policy.next_delay(weather, 4000000000U, rng), milliseconds(20000));
  }
}

TEST(RetryPolicy, WaitsLongerWhenThrottledAndAsLongAsTheServerWishesWithinReason) {
  const RetryPolicy policy{};
  Rng rng(2);
  milliseconds longest(0);
  for (int i = 0; i < 200; ++i)
    longest = std::max(longest, policy.next_delay({ErrorKind::throttled, "x"}, 0, rng));
  EXPECT_GT(longest, milliseconds(500));
  const Error wish{ErrorKind::throttled, "x", "", milliseconds(7000)};
  EXPECT_GE(policy.next_delay(wish, 0, rng), milliseconds(7000));
  const Error absurd{ErrorKind::throttled, "x", "", milliseconds(86'400'000)};
  EXPECT_LE(policy.next_delay(absurd, 0, rng), milliseconds(25000));
}

}  // namespace
}  // namespace millrace
