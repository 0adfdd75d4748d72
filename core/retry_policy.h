// How long to wait before trying again: a pure function, so that tests can print the whole table.
#pragma once

#include <chrono>
#include <cstdint>

#include "core/result.h"
#include "core/rng.h"

namespace millrace {

struct RetryPolicy {
  std::chrono::milliseconds base{
      50};  // first delay before jitter ("standard" mode of the AWS SDKs, 2026)
  std::chrono::milliseconds base_throttled{1000};
  std::chrono::milliseconds delay_max{20000};  // cap, before jitter

  /// Delay before retry number `retry` (from 0): full jitter over min(base · 2^retry, cap), and
  /// never less than the server's own wish (which is itself capped at delay_max + 5 s).
  [[nodiscard]] std::chrono::milliseconds next_delay(const Error& error, std::uint32_t retry,
                                                     Rng& rng) const;
};

}  // namespace millrace
