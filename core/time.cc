#include "core/time.h"

#include <fmt/format.h>

namespace millrace {
namespace {

struct Parts {
  std::chrono::year_month_day date{};
  std::chrono::hh_mm_ss<std::chrono::milliseconds> clock{std::chrono::milliseconds(0)};
};

Parts parts_of(WallTime time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  return {std::chrono::year_month_day(day),
          std::chrono::hh_mm_ss<std::chrono::milliseconds>(time - day)};
}

}  // namespace

std::string iso8601(WallTime time) {
  const Parts p = parts_of(time);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", static_cast<int>(p.date.year()),
                     static_cast<unsigned>(p.date.month()), static_cast<unsigned>(p.date.day()),
                     p.clock.hours().count(), p.clock.minutes().count(), p.clock.seconds().count(),
                     p.clock.subseconds().count());
}

std::string compact_iso8601(WallTime time) {
  const Parts p = parts_of(time);
  return fmt::format("{:04}{:02}{:02}T{:02}{:02}{:02}Z", static_cast<int>(p.date.year()),
                     static_cast<unsigned>(p.date.month()), static_cast<unsigned>(p.date.day()),
                     p.clock.hours().count(), p.clock.minutes().count(), p.clock.seconds().count());
}

std::string human_duration(std::chrono::nanoseconds duration) {
  const double seconds = std::chrono::duration<double>(duration).count();
  if (seconds < 1) return fmt::format("{:.0f} ms", seconds * 1000);
  if (seconds < 60) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<std::int64_t>(seconds);
  if (whole < 3600) return fmt::format("{}m {:02}s", whole / 60, whole % 60);
  if (whole < 48 * 3600) return fmt::format("{}h {:02}m", whole / 3600, whole % 3600 / 60);
  return fmt::format("{}d {:02}h", whole / 86400, whole % 86400 / 3600);
}

}  // namespace millrace
