#include "lake/hour.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace millrace {
namespace {

constexpr std::int64_t kMsPerHour = 3'600'000;
constexpr std::int64_t kHourEnd = 253'402'300'800 / 3600;  // 10000-01-01T00Z

}  // namespace

LakeHour LakeHour::of_ms(std::int64_t unix_ms) {
  if (unix_ms < 0) return {};
  const LakeHour hour{unix_ms / kMsPerHour};
  return hour.number < kHourEnd ? hour : LakeHour{};
}

LakeHour LakeHour::of_seconds(std::int64_t unix_seconds) {
  if (unix_seconds < 0 || unix_seconds / 3600 >= kHourEnd) return {};
  return LakeHour{unix_seconds / 3600};
}

std::string LakeHour::text() const {
  const auto day = std::chrono::sys_days(std::chrono::days(number / 24));
  const std::chrono::year_month_day date(day);
  return fmt::format("{:04}{:02}{:02}{:02}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     number % 24);
}

std::optional<LakeHour> parse_hour(std::string_view text) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  if (text.size() != 10 || !std::all_of(text.begin(), text.end(), digit)) return std::nullopt;
  const auto number = [&](std::size_t begin, std::size_t length) {
    int value = 0;
    for (const char c : text.substr(begin, length)) value = value * 10 + (c - '0');
    return value;
  };
  const std::chrono::year_month_day date(std::chrono::year(number(0, 4)),
                                         std::chrono::month(static_cast<unsigned>(number(4, 2))),
                                         std::chrono::day(static_cast<unsigned>(number(6, 2))));
  const int hour_of_day = number(8, 2);
  if (!date.ok() || hour_of_day > 23 || number(0, 4) < 1970) return std::nullopt;
  const auto days = std::chrono::sys_days(date).time_since_epoch().count();
  return LakeHour{static_cast<std::int64_t>(days) * 24 + hour_of_day};
}

}  // namespace millrace
