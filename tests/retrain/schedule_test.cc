#include "retrain/schedule.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

WallTime at(int year, unsigned month, unsigned day, int hour = 0, int minute = 0, int second = 0) {
  return WallTime(std::chrono::sys_days(std::chrono::year(year) / std::chrono::month(month) /
                                        std::chrono::day(day))) +
         std::chrono::hours(hour) + std::chrono::minutes(minute) + std::chrono::seconds(second);
}

std::string next(const char* cron, WallTime after) {
  const auto schedule = CronSchedule::parse(cron);
  if (!schedule) return schedule.error().message;
  return iso8601(schedule->next_after(after)).substr(0, 16);
}

TEST(Cron, FindsTheNextMinuteThatMatches) {
  const WallTime saturday = at(2026, 11, 21, 10, 30, 15);
  EXPECT_EQ(next("* * * * *", saturday), "2026-11-21T10:31");
  EXPECT_EQ(next("30 10 * * *", saturday), "2026-11-22T10:30");
  EXPECT_EQ(next("0 3 * * *", saturday), "2026-11-22T03:00");
  EXPECT_EQ(next("*/20 * * * *", saturday), "2026-11-21T10:40");
  EXPECT_EQ(next("5/25 * * * *", saturday), "2026-11-21T10:55");
  EXPECT_EQ(next("0 9-17/4 * * *", saturday), "2026-11-21T13:00");
  EXPECT_EQ(next("0,15 0 1 * *", saturday), "2026-12-01T00:00");
  EXPECT_EQ(next("0 0 * JAN *", saturday), "2027-01-01T00:00");
  EXPECT_EQ(next("0 0 * * mon-fri", saturday), "2026-11-23T00:00");
  EXPECT_EQ(next("0 0 * * 7", saturday), "2026-11-22T00:00");
  EXPECT_EQ(next("0 0 29 2 *", saturday), "2028-02-29T00:00");
  EXPECT_EQ(next("0 0 29 2 *", at(2096, 3, 1)), "2104-02-29T00:00");
}

TEST(Cron, EitherDayIsEnoughWhenBothAreRestricted) {
  EXPECT_EQ(next("0 0 25 * sun", at(2026, 11, 21)), "2026-11-22T00:00");
  EXPECT_EQ(next("0 0 25 * sun", at(2026, 11, 22)), "2026-11-25T00:00");
}

TEST(Cron, NamesWhatIsWrong) {
  const std::pair<const char*, const char*> rows[] = {{"", "five fields"},
                                                      {"* * * *", "five fields"},
                                                      {"60 * * * *", "is no minute"},
                                                      {"* 24 * * *", "is no hour"},
                                                      {"* * 0 * *", "day of month"},
                                                      {"* * * 13 *", "is no month"},
                                                      {"* * * * 8", "day of week"},
                                                      {"5-1 * * * *", "is no minute"},
                                                      {"*/0 * * * *", "is no minute"},
                                                      {"a * * * *", "is no minute"},
                                                      {"1,,2 * * * *", "is no minute"},
                                                      {"0 0 30 2 *", "no date ever"},
                                                      {"@daily", "five fields"}};
  for (const auto& [cron, text] : rows) {
    const auto schedule = CronSchedule::parse(cron);
    ASSERT_FALSE(schedule.has_value()) << cron;
    EXPECT_EQ(schedule.error().kind, ErrorKind::invalid);
    EXPECT_NE(schedule.error().message.find(text), std::string::npos) << schedule.error().message;
  }
}

TEST(Timezone, IsUtcOrAClearError) {
  EXPECT_TRUE(check_timezone("UTC").has_value());
  EXPECT_FALSE(check_timezone("Europe/Berlin").has_value());
}

class Start : public testing::Test {
 protected:
  StartReason reason() { return start_reason(options_, schedule_, facts_); }
  RetrainOptions options_{};
  std::optional<CronSchedule> schedule_{};
  ScheduleFacts facts_{.now = at(2026, 11, 21, 10), .watched_since = at(2026, 11, 21, 2)};
};

TEST_F(Start, NeedsAReason) {
  facts_.new_interactions = 1'000'000;
  EXPECT_EQ(reason(), StartReason::none);
  facts_.unfinished = true;
  EXPECT_EQ(reason(), StartReason::unfinished);
}

TEST_F(Start, FollowsTheScheduleOncePerTimeAndCatchesUpOneMissed) {
  schedule_ = CronSchedule::parse("0 3 * * *").value();
  EXPECT_EQ(reason(), StartReason::schedule);
  facts_.last_started = at(2026, 11, 21, 3, 0, 5);
  EXPECT_EQ(reason(), StartReason::none);
  facts_.now = at(2026, 11, 22, 3);  // five seconds short of a day: at_most_every is not for this
  EXPECT_EQ(reason(), StartReason::schedule);
  facts_.last_started = at(2026, 11, 1);
  facts_.watched_since = facts_.now;
  EXPECT_EQ(reason(), StartReason::schedule);
  facts_.last_started.reset();
  EXPECT_EQ(reason(), StartReason::none);
}

TEST_F(Start, WaitsForEnoughNewInteractionsAndNotTooOften) {
  options_.after_new_interactions = 100;
  options_.at_most_every = std::chrono::hours(24);
  facts_.new_interactions = 99;
  EXPECT_EQ(reason(), StartReason::none);
  facts_.new_interactions = 100;
  EXPECT_EQ(reason(), StartReason::new_interactions);
  facts_.last_started = facts_.now - std::chrono::hours(23);
  EXPECT_EQ(reason(), StartReason::none);
  facts_.last_started = facts_.now - std::chrono::hours(24);
  EXPECT_EQ(reason(), StartReason::new_interactions);
}

}  // namespace
}  // namespace millrace
