#include "core/retry_policy.h"

#include <algorithm>

namespace millrace {

std::chrono::milliseconds RetryPolicy::next_delay(const Error& error, std::uint32_t retry,
                                                  Rng& rng) const {
  using std::chrono::milliseconds;
  const milliseconds first = error.kind == ErrorKind::throttled ? base_throttled : base;
  const milliseconds ceiling =
      retry >= 20 ? delay_max : std::min(delay_max, first * (std::int64_t{1} << retry));
  milliseconds delay(static_cast<std::int64_t>(rng.unit() * static_cast<double>(ceiling.count())));
  if (error.retry_after) {
    delay = std::max(
        delay, std::min<milliseconds>(*error.retry_after, delay_max + std::chrono::seconds(5)));
  }
  return delay;
}

}  // namespace millrace
