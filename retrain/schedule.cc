#include "retrain/schedule.h"

#include <algorithm>
#include <charconv>
#include <vector>

namespace millrace {
namespace {

constexpr std::chrono::days kSearchMax{366 * 8 + 2};  // 29 February skips 2100

struct Field {
  std::string_view name{};
  int low = 0;
  int high = 0;
  std::string_view words{};  // of three letters each, for numbers from words_from on
  int words_from = 0;
};

constexpr Field kFields[] = {{"minute", 0, 59},
                             {"hour", 0, 23},
                             {"day of month", 1, 31},
                             {"month", 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec", 1},
                             {"day of week", 0, 7, "sunmontuewedthufrisat", 0}};

std::vector<std::string_view> split(std::string_view text, std::string_view separators) {
  std::vector<std::string_view> out;
  while (true) {
    const std::size_t end = text.find_first_of(separators);
    out.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return out;
    text.remove_prefix(end + 1);
  }
}

std::optional<int> parse_number(std::string_view text, const Field& field) {
  if (text.size() == 3 && !field.words.empty()) {
    std::string word(text);
    for (char& c : word)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    const std::size_t at = field.words.find(word);
    if (at != std::string_view::npos && at % 3 == 0)
      return static_cast<int>(at / 3) + field.words_from;
  }
  int value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() ||
      value < field.low || value > field.high)
    return std::nullopt;
  return value;
}

/// The numbers that one field allows.
Result<std::vector<int>> parse_field(std::string_view text, const Field& field) {
  const auto wrong = [&] {
    return fail(ErrorKind::invalid, "cron: \"" + std::string(text) + "\" is no " +
                                        std::string(field.name) + " (" + std::to_string(field.low) +
                                        "–" + std::to_string(field.high) +
                                        ", lists, ranges and steps)");
  };
  std::vector<int> out;
  for (const auto part : split(text, ",")) {
    const auto halves = split(part, "/");
    if (halves.size() > 2) return wrong();
    int step = 1;
    if (halves.size() == 2) {
      const auto parsed = parse_number(halves[1], {.name = field.name, .low = 1, .high = 59});
      if (!parsed) return wrong();
      step = *parsed;
    }
    int first = field.low;
    int last = field.high;
    if (halves[0] != "*") {
      const auto ends = split(halves[0], "-");
      if (ends.size() > 2) return wrong();
      const auto low = parse_number(ends[0], field);
      const auto high = ends.size() == 2 ? parse_number(ends[1], field) : low;
      if (!low || !high || *low > *high) return wrong();
      first = *low;
      // "5/15" counts on from 5 to the end, as in other crons.
      last = ends.size() == 1 && halves.size() == 2 ? field.high : *high;
    }
    for (int n = first; n <= last; n += step) out.push_back(n);
  }
  return out;
}

}  // namespace

Result<CronSchedule> CronSchedule::parse(std::string_view text) {
  std::vector<std::string_view> parts = split(text, " \t");
  std::erase(parts, std::string_view());
  if (parts.size() != std::size(kFields))
    return fail(ErrorKind::invalid,
                "cron: \"" + std::string(text) +
                    "\" does not have the five fields minute, hour, day of month, month, day of "
                    "week (as in \"0 3 * * *\")");
  CronSchedule out;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto numbers = parse_field(parts[i], kFields[i]);
    if (!numbers) return fail(numbers.error());
    for (const int number : *numbers) {
      const auto n = static_cast<std::size_t>(number);
      if (i == 0) out.minutes_.set(n);
      if (i == 1) out.hours_.set(n);
      if (i == 2) out.days_.set(n);
      if (i == 3) out.months_.set(n);
      if (i == 4) out.weekdays_.set(n % 7);
    }
  }
  out.any_day_ = parts[2].front() == '*';
  out.any_weekday_ = parts[4].front() == '*';
  if (!out.find_after(WallTime{}))
    return fail(ErrorKind::invalid, "cron: no date ever matches \"" + std::string(text) + "\"");
  return out;
}

bool CronSchedule::matches_day(std::chrono::sys_days day) const {
  const std::chrono::year_month_day date(day);
  if (!months_.test(static_cast<unsigned>(date.month()))) return false;
  const bool day_fits = days_.test(static_cast<unsigned>(date.day()));
  const bool weekday_fits = weekdays_.test(std::chrono::weekday(day).c_encoding());
  return any_day_ || any_weekday_ ? day_fits && weekday_fits : day_fits || weekday_fits;
}

std::optional<WallTime> CronSchedule::find_after(WallTime time) const {
  const auto from = std::chrono::floor<std::chrono::minutes>(time) + std::chrono::minutes(1);
  const auto first_day = std::chrono::floor<std::chrono::days>(from);
  for (auto day = first_day; day <= first_day + kSearchMax; day += std::chrono::days(1)) {
    if (!matches_day(day)) continue;
    for (std::size_t hour = 0; hour < hours_.size(); ++hour) {
      if (!hours_.test(hour)) continue;
      for (std::size_t minute = 0; minute < minutes_.size(); ++minute) {
        const WallTime candidate =
            WallTime(day) + std::chrono::hours(hour) + std::chrono::minutes(minute);
        if (minutes_.test(minute) && candidate >= from) return candidate;
      }
    }
  }
  return std::nullopt;
}

// parse() has seen one match within the search from 1970, and matches repeat at least every eight
// years.
WallTime CronSchedule::next_after(WallTime time) const { return find_after(time).value_or(time); }

Status check_timezone(std::string_view timezone) {
  if (timezone == "UTC" || timezone == "Etc/UTC" || timezone == "GMT") return {};
  return fail(ErrorKind::invalid, "retrain.timezone: \"" + std::string(timezone) +
                                      "\" is not supported yet: write the schedule in UTC");
}

std::string_view name_of(StartReason reason) {
  switch (reason) {
    case StartReason::none:
      return "none";
    case StartReason::unfinished:
      return "unfinished";
    case StartReason::schedule:
      return "schedule";
    case StartReason::new_interactions:
      return "new_interactions";
  }
  return "none";
}

StartReason start_reason(const RetrainOptions& options, const std::optional<CronSchedule>& schedule,
                         const ScheduleFacts& facts) {
  if (facts.unfinished) return StartReason::unfinished;
  if (schedule &&
      schedule->next_after(facts.last_started.value_or(facts.watched_since)) <= facts.now)
    return StartReason::schedule;
  if (options.after_new_interactions > 0 &&
      facts.new_interactions >= options.after_new_interactions &&
      (!facts.last_started || facts.now - *facts.last_started >= options.at_most_every))
    return StartReason::new_interactions;
  return StartReason::none;
}

}  // namespace millrace
