// The UTC hour that a lake object belongs to.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/time.h"

namespace millrace {

/// Whole hours since 1970-01-01T00Z, 0 up to the last hour of the year 9999.
struct LakeHour {
  std::int64_t number = 0;
  auto operator<=>(const LakeHour&) const = default;

  /// The hour of a Unix time in milliseconds. Hour 0 stands in for a time that is absent (-1) or
  /// absurd (before 1970, after 9999): a record without a usable time still needs one place.
  static LakeHour of_ms(std::int64_t unix_ms);
  static LakeHour of_seconds(std::int64_t unix_seconds);

  [[nodiscard]] WallTime begin() const { return wall_time_of_ms(number * 3'600'000); }

  /// "2026112109": yyyyMMddHH, the form in object names.
  [[nodiscard]] std::string text() const;
};

/// Nothing unless `text` is what LakeHour::text() writes.
std::optional<LakeHour> parse_hour(std::string_view text);

}  // namespace millrace
