#include "config/values.h"

#include <gtest/gtest.h>

#include "core/time.h"

namespace millrace {
namespace {

TEST(Values, SizesTakeUnits) {
  EXPECT_EQ(parse_size("512"), 512U);
  EXPECT_EQ(parse_size("5MiB"), 5U << 20);
  EXPECT_EQ(parse_size("5 mib"), 5U << 20);
  EXPECT_EQ(parse_size("1.5GiB"), 1610612736U);
  EXPECT_EQ(parse_size("2MB"), 2'000'000U);
  for (const char* bad : {"", "MiB", "-1", "5XB", "5 M", "1e99TiB", "9999999999TiB"})
    EXPECT_FALSE(parse_size(bad)) << bad;
}

TEST(Values, DurationsNeedAUnit) {
  EXPECT_EQ(parse_duration("300s"), 300s);
  EXPECT_EQ(parse_duration("1h30m"), 90min);
  EXPECT_EQ(parse_duration("200ms"), 200ms);
  EXPECT_EQ(parse_duration("1.5s"), 1500ms);
  EXPECT_EQ(parse_duration("0"), 0ms);
  for (const char* bad : {"", "300", "s", "5w", "-5s", "5s6", "99999d"})
    EXPECT_FALSE(parse_duration(bad)) << bad;
}

TEST(Values, StartsAreWordsOrTimes) {
  EXPECT_EQ(parse_start("earliest")->kind, StartAt::Kind::earliest);
  EXPECT_EQ(parse_start("TRIM_HORIZON")->kind, StartAt::Kind::earliest);
  EXPECT_EQ(parse_start("latest")->kind, StartAt::Kind::latest);
  EXPECT_EQ(unix_ms(parse_start("1970-01-02")->time), 86'400'000);
  EXPECT_EQ(unix_ms(parse_start("2023-11-14T22:13:20Z")->time), 1'700'000'000'000);
  EXPECT_EQ(unix_ms(parse_start("2023-11-14T23:13:20+01:00")->time), 1'700'000'000'000);
  EXPECT_EQ(unix_ms(parse_start("1700000000")->time), 1'700'000'000'000);
  for (const char* bad : {"", "yesterday", "2023-02-30", "2023-11-14T25:00", "1700000000000",
                          "2023-11-14T22:13:20+1"}) {
    EXPECT_FALSE(parse_start(bad)) << bad;
  }
}

TEST(Values, SizesPrintShort) {
  EXPECT_EQ(human_size(5u << 20), "5 MiB");
  EXPECT_EQ(human_size(1536), "1.5 KiB");
  EXPECT_EQ(human_size(0), "0 B");
}

}  // namespace
}  // namespace millrace
