// Two clocks that must not be mixed: Ticks measures (monotonic), WallTime names and signs (may
// jump).
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace millrace {

using namespace std::chrono_literals;  // NOLINT(google-build-using-namespace): 5s, 200ms everywhere

/// Monotonic time since some start. Deadlines, ages and delays use nothing else.
using Ticks = std::chrono::nanoseconds;

/// Unix time, UTC, in milliseconds: record arrival, object names, request signatures. Never for
/// measuring.
using WallTime = std::chrono::sys_time<std::chrono::milliseconds>;

inline WallTime wall_time_of_ms(std::int64_t unix_ms) {
  return WallTime(std::chrono::milliseconds(unix_ms));
}
inline std::int64_t unix_ms(WallTime time) { return time.time_since_epoch().count(); }
inline std::int64_t unix_seconds(WallTime time) {
  return std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count();
}

/// "2026-11-21T09:56:00.123Z". For logs and JSON.
std::string iso8601(WallTime time);

/// "20261121T095600Z": the form of SigV4's X-Amz-Date.
std::string compact_iso8601(WallTime time);

/// "1h 02m", "3.2 s", "870 ms": for people.
std::string human_duration(std::chrono::nanoseconds duration);

}  // namespace millrace
