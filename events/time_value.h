// Time values as apps write them, judged one by one: a number by its size, or ISO 8601 / RFC 3339
// text. Exact: never by way of a double, so 1700000000.9999999999999999 is second 1700000000.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace millrace {

enum class TimeUnit { seconds, millis, micros, nanos, iso };

/// A whole Unix second, or why there is none.
struct TimeReading {
  std::int64_t seconds = 0;
  TimeUnit unit = TimeUnit::seconds;
  /// Empty when it was read; else "empty", "unreadable", "negative", "not finite" (an exponent
  /// beyond 300) or "out of range".
  std::string_view problem{};

  [[nodiscard]] bool ok() const { return problem.empty(); }
};

/// A number, JSON's grammar or digits with leading zeros. Without `unit` its size says what it is:
/// below 10^11 seconds, below 10^14 milliseconds, below 10^17 microseconds, below 10^20
/// nanoseconds, beyond that out of range. With `unit` (never iso) it is taken at its word up to
/// 10^18 seconds. The fraction is cut. Text of more than 400 bytes is out of range.
TimeReading read_time_number(std::string_view text, std::optional<TimeUnit> unit = std::nullopt);

/// Text: blanks (space, tab, CR, LF) around it do not count. Either a number as above, or one of
///   2026-11-21                      midnight UTC
///   2026-11-21T09:56                also with a space, and seconds and a fraction by . or ,
///   2026-11-21T09:56:00.123+05:30   offset Z, UTC, ±hh, ±hhmm or ±hh:mm, a blank before it allowed
///   20261121T095600Z                the basic form, always UTC
/// Without an offset it is UTC. Second 60 only where a leap second can be: 23:59:60 UTC; it counts
/// as the next day's first second, as Unix time has it.
TimeReading read_time_text(std::string_view text, std::optional<TimeUnit> unit = std::nullopt);

}  // namespace millrace
