#include "config/values.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace millrace {
namespace {

bool digit(char c) { return c >= '0' && c <= '9'; }

// The leading non-negative decimal number of `text`, which is cut off it.
std::optional<double> take_number(std::string_view& text) {
  std::size_t end = 0;
  while (end < text.size() && (digit(text[end]) || text[end] == '.')) ++end;
  double number = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + end, number);
  if (end == 0 || error != std::errc() || stop != text.data() + end) return std::nullopt;
  text.remove_prefix(end);
  return number;
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return out;
}

// The whole of `text` as an integer of `length` digits, -1 if it is none.
int fixed_digits(std::string_view text, std::size_t from, std::size_t length) {
  if (from + length > text.size()) return -1;
  int value = 0;
  for (std::size_t i = from; i < from + length; ++i) {
    if (!digit(text[i])) return -1;
    value = value * 10 + (text[i] - '0');
  }
  return value;
}

// YYYY-MM-DD[THH:MM[:SS]][Z|±HH:MM]: what people write into a configuration; without an offset it
// is UTC.
std::optional<WallTime> parse_iso(std::string_view text) {
  const int year = fixed_digits(text, 0, 4);
  const int month = fixed_digits(text, 5, 2);
  const int day = fixed_digits(text, 8, 2);
  if (year < 0 || month < 0 || day < 0 || text[4] != '-' || text[7] != '-') return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok()) return std::nullopt;
  std::chrono::seconds clock{0};
  std::string_view rest = text.substr(10);
  if (!rest.empty() && (rest[0] == 'T' || rest[0] == 't' || rest[0] == ' ')) {
    const int hour = fixed_digits(rest, 1, 2);
    const int minute = fixed_digits(rest, 4, 2);
    if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || rest[3] != ':') return std::nullopt;
    clock = std::chrono::hours(hour) + std::chrono::minutes(minute);
    rest.remove_prefix(6);
    if (!rest.empty() && rest[0] == ':') {
      const int second = fixed_digits(rest, 1, 2);
      if (second < 0 || second > 59) return std::nullopt;
      clock += std::chrono::seconds(second);
      rest.remove_prefix(3);
    }
  }
  if (!rest.empty() && rest != "Z" && rest != "z") {
    const int hour = fixed_digits(rest, 1, 2);
    const int minute = fixed_digits(rest, 4, 2);
    if (rest.size() != 6 || (rest[0] != '+' && rest[0] != '-') || hour < 0 || hour > 23 ||
        minute < 0 || minute > 59 || rest[3] != ':') {
      return std::nullopt;
    }
    const std::chrono::seconds offset = std::chrono::hours(hour) + std::chrono::minutes(minute);
    clock += rest[0] == '+' ? -offset : offset;
  }
  return WallTime(std::chrono::sys_days(date)) + clock;
}

}  // namespace

std::optional<std::uint64_t> parse_size(std::string_view text) {
  const auto number = take_number(text);
  if (!number) return std::nullopt;
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  struct Unit {
    std::string_view name;
    double bytes;
  };
  static constexpr std::array<Unit, 11> kUnits{{{"", 1},
                                                {"b", 1},
                                                {"kb", 1e3},
                                                {"mb", 1e6},
                                                {"gb", 1e9},
                                                {"tb", 1e12},
                                                {"kib", 1024.0},
                                                {"mib", 1048576.0},
                                                {"gib", 1073741824.0},
                                                {"tib", 1099511627776.0},
                                                {"byte", 1}}};
  const std::string unit = lower(text);
  for (const Unit& known : kUnits) {
    if (unit != known.name) continue;
    const double bytes = *number * known.bytes;
    if (bytes > 0x1.0p62) return std::nullopt;
    return static_cast<std::uint64_t>(std::llround(bytes));
  }
  return std::nullopt;
}

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
  if (text == "0") return std::chrono::milliseconds(0);
  double total_ms = 0;
  if (text.empty()) return std::nullopt;
  while (!text.empty()) {
    const auto number = take_number(text);
    if (!number) return std::nullopt;
    std::size_t end = 0;
    while (end < text.size() && !digit(text[end])) ++end;
    const std::string_view unit = text.substr(0, end);
    const double ms = unit == "ms"  ? 1
                      : unit == "s" ? 1e3
                      : unit == "m" ? 60e3
                      : unit == "h" ? 3600e3
                      : unit == "d" ? 86400e3
                                    : 0;
    if (ms == 0) return std::nullopt;
    total_ms += *number * ms;
    text.remove_prefix(end);
  }
  if (total_ms > 3650.0 * 86400e3) return std::nullopt;
  return std::chrono::milliseconds(std::llround(total_ms));
}

std::optional<StartAt> parse_start(std::string_view text) {
  const std::string word = lower(text);
  if (word == "earliest" || word == "trim_horizon") return StartAt{StartAt::Kind::earliest, {}};
  if (word == "latest") return StartAt{StartAt::Kind::latest, {}};
  if (const auto time = parse_iso(text)) return StartAt{StartAt::Kind::time, *time};
  std::int64_t seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error == std::errc() && end == text.data() + text.size() && seconds >= 0 &&
      seconds < 100'000'000'000) {
    return StartAt{StartAt::Kind::time, wall_time_of_ms(seconds * 1000)};
  }
  return std::nullopt;
}

std::optional<bool> parse_boolean(std::string_view text) {
  const std::string word = lower(text);
  if (word == "true" || word == "yes" || word == "on") return true;
  if (word == "false" || word == "no" || word == "off") return false;
  return std::nullopt;
}

std::string human_size(std::uint64_t bytes) {
  static constexpr std::array<std::string_view, 5> kUnits{"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  if (value == std::floor(value)) return fmt::format("{:.0f} {}", value, kUnits[unit]);
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

}  // namespace millrace
