// When `run` starts a cycle: a cron line, enough new interactions, or an unfinished cycle. Pure
// functions of the clock and a few facts.
#pragma once

#include <bitset>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/result.h"
#include "core/time.h"
#include "retrain/options.h"

namespace millrace {

/// Five fields: minute (0–59), hour (0–23), day of month (1–31), month (1–12 or jan–dec), day of
/// week (0–7 or sun–sat, 0 and 7 are Sunday); each a `*` or a list of numbers and ranges, with an
/// optional `/step`. When both days are restricted either is enough, as in cron(8). UTC.
class CronSchedule {
 public:
  /// `invalid` naming the field that is wrong, or that no date ever matches.
  static Result<CronSchedule> parse(std::string_view text);

  /// The first full minute after `time` that matches; always within about eight years.
  [[nodiscard]] WallTime next_after(WallTime time) const;

 private:
  [[nodiscard]] bool matches_day(std::chrono::sys_days day) const;
  [[nodiscard]] std::optional<WallTime> find_after(WallTime time) const;

  std::bitset<60> minutes_{};
  std::bitset<24> hours_{};
  std::bitset<32> days_{};     // from 1
  std::bitset<13> months_{};   // from 1
  std::bitset<7> weekdays_{};  // 0 is Sunday
  bool any_day_ = false;
  bool any_weekday_ = false;
};

/// `invalid` unless `timezone` is UTC ("UTC", "Etc/UTC", "GMT"): other zones need a time zone
/// database, which the C++ library of Debian 12 does not have.
Status check_timezone(std::string_view timezone);

struct ScheduleFacts {
  WallTime now{};
  WallTime watched_since{};                // when this leader began to look
  std::optional<WallTime> last_started{};  // of the newest cycle, however it ended
  bool unfinished = false;                 // that cycle was neither done nor failed
  std::int64_t new_interactions = 0;       // in the lake since the newest cycle's compaction
};

enum class StartReason { none, unfinished, schedule, new_interactions };
std::string_view name_of(StartReason reason);

/// Whether a cycle starts now, and why. An unfinished one goes on at once. A time of the schedule
/// that passed while nobody ran is caught up once. `at_most_every` holds back starts by new
/// interactions; the schedule is a limit of its own.
StartReason start_reason(const RetrainOptions& options, const std::optional<CronSchedule>& schedule,
                         const ScheduleFacts& facts);

}  // namespace millrace
