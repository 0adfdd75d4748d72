#include "core/time.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(Time, PrintsBothIsoForms) {
  const WallTime time = wall_time_of_ms(1'700'000'000'123);
  EXPECT_EQ(iso8601(time), "2023-11-14T22:13:20.123Z");
  EXPECT_EQ(compact_iso8601(time), "20231114T221320Z");
  EXPECT_EQ(iso8601(wall_time_of_ms(-1)), "1969-12-31T23:59:59.999Z");
}

TEST(Time, SecondsAreCutTowardsThePast) {
  EXPECT_EQ(unix_seconds(wall_time_of_ms(1999)), 1);
  EXPECT_EQ(unix_seconds(wall_time_of_ms(-1)), -1);
}

TEST(Time, DurationsAreForPeople) {
  EXPECT_EQ(human_duration(870ms), "870 ms");
  EXPECT_EQ(human_duration(3200ms), "3.2 s");
  EXPECT_EQ(human_duration(62s), "1m 02s");
  EXPECT_EQ(human_duration(3720s), "1h 02m");
  EXPECT_EQ(human_duration(std::chrono::hours(50)), "2d 02h");
}

}  // namespace
}  // namespace millrace
