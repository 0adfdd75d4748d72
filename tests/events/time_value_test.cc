#include "events/time_value.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "events/decode_event.h"
#include "tests/events/shared_data.h"

namespace millrace {
namespace {

void expect_seconds(const TimeReading& reading, std::int64_t seconds, TimeUnit unit) {
  EXPECT_EQ(reading.problem, "");
  EXPECT_EQ(reading.seconds, seconds);
  EXPECT_EQ(reading.unit, unit);
}

TEST(TimeValue, ANumbersSizeSaysItsUnit) {
  expect_seconds(read_time_number("0"), 0, TimeUnit::seconds);
  expect_seconds(read_time_number("-0.0"), 0, TimeUnit::seconds);
  expect_seconds(read_time_number("99999999999"), 99999999999, TimeUnit::seconds);
  expect_seconds(read_time_number("100000000000"), 100000000, TimeUnit::millis);
  expect_seconds(read_time_number("99999999999999"), 99999999999, TimeUnit::millis);
  expect_seconds(read_time_number("100000000000000"), 100000000, TimeUnit::micros);
  expect_seconds(read_time_number("100000000000000000"), 100000000, TimeUnit::nanos);
  expect_seconds(read_time_number("99999999999999999999"), 99999999999, TimeUnit::nanos);
  EXPECT_EQ(read_time_number("100000000000000000000").problem, "out of range");
}

TEST(TimeValue, TheFractionIsCutExactly) {
  expect_seconds(read_time_number("1700000000.9999999999999999999"), 1700000000, TimeUnit::seconds);
  expect_seconds(read_time_number("1.763600000123E12"), 1763600000, TimeUnit::millis);
  expect_seconds(read_time_number("99999999999.9"), 99999999999, TimeUnit::seconds);
  expect_seconds(read_time_number("17000000000000e-4"), 1700000000, TimeUnit::seconds);
  expect_seconds(read_time_number("1e-300"), 0, TimeUnit::seconds);
}

TEST(TimeValue, RefusesByKind) {
  EXPECT_EQ(read_time_number("-0.5").problem, "negative");
  EXPECT_EQ(read_time_number("1e301").problem, "not finite");
  EXPECT_EQ(read_time_number("1e99999999999999999999").problem, "not finite");
  EXPECT_EQ(read_time_number("1e300").problem, "out of range");
  EXPECT_EQ(read_time_number(std::string(401, '1')).problem, "out of range");
  EXPECT_EQ(read_time_text(" \t").problem, "empty");
  for (const char* bad : {"x",
                          "+5",
                          "1.",
                          ".5",
                          "1e",
                          "0x10",
                          "1 2",
                          "-",
                          "2026-02-30",
                          "2026-13-01",
                          "2026-01-01T24:00",
                          "2026-01-01T00:60",
                          "0000-01-01",
                          "2026-1-1",
                          "2026-01-01T00:00:00+24:00",
                          "2026-01-01T00:00:00.Z",
                          "2026-01-01T12:00:60Z",
                          "20260101T000000",
                          "2026-01-01Z",
                          "NaN"}) {
    EXPECT_EQ(read_time_text(bad).problem, "unreadable") << bad;
  }
  EXPECT_EQ(read_time_text("1969-12-31T23:59:59Z").problem, "negative");
  EXPECT_EQ(read_time_text("1970-01-01T00:00:00+00:01").problem, "negative");
}

TEST(TimeValue, ReadsIsoText) {
  for (const char* same :
       {"2023-11-14T22:13:20Z", " 2023-11-14 22:13:20\r", "2023-11-14T22:13:20.999999999999+00",
        "2023-11-15T03:43:20,5+05:30", "2023-11-14t18:13:20 -0400", "20231114T221320Z",
        "2023-11-14 22:13:20 UTC", "01700000000", "1700000000"}) {
    const TimeReading reading = read_time_text(same);
    EXPECT_TRUE(reading.ok()) << same;
    EXPECT_EQ(reading.seconds, 1700000000) << same;
  }
  expect_seconds(read_time_text("1970-01-02"), 86400, TimeUnit::iso);
  expect_seconds(read_time_text("1970-01-02T00:01"), 86460, TimeUnit::iso);
  expect_seconds(read_time_text("2016-12-31T23:59:60Z"), 1483228800, TimeUnit::iso);
  expect_seconds(read_time_text("2017-01-01T05:29:60+05:30"), 1483228800, TimeUnit::iso);
}

TEST(TimeValue, AToldUnitIsTakenAtItsWord) {
  expect_seconds(read_time_number("999", TimeUnit::millis), 0, TimeUnit::millis);
  expect_seconds(read_time_number("1700000000", TimeUnit::millis), 1700000, TimeUnit::millis);
  expect_seconds(read_time_text("1700000000", TimeUnit::millis), 1700000, TimeUnit::millis);
  expect_seconds(read_time_number("1700000000123", TimeUnit::seconds), 1700000000123,
                 TimeUnit::seconds);
  EXPECT_EQ(read_time_number("1e18", TimeUnit::seconds).problem, "out of range");
}

TEST(TimeValue, AgreesWithTheVectors) {
  SKIP_WITHOUT_SHARED_DATA();
  std::istringstream lines(read_file(shared_data_path("vectors/timestamps/timestamps.jsonl")));
  EventDecoder decoder{DecodeOptions{}};
  DecodedRecord record;
  std::size_t count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const auto want = nlohmann::json::parse(line);
    const auto input = want["input_json"].get<std::string>();
    std::string got;
    std::int64_t seconds = -1;
    if (want["unit"] == "auto") {
      decoder.decode(R"({"user_id":"u","item_id":"i","timestamp":)" + input + "}", -1, record);
      if (!record.refused.empty()) got = record.refused[0].reason;
      if (got.starts_with("timestamp ")) got.erase(0, 10);
      if (!record.events.empty()) seconds = record.events[0].timestamp;
    } else {
      const std::string unit = want["unit"];
      const TimeUnit told = unit == "s"    ? TimeUnit::seconds
                            : unit == "ms" ? TimeUnit::millis
                            : unit == "us" ? TimeUnit::micros
                                           : TimeUnit::nanos;
      const auto value = nlohmann::json::parse(input);
      const TimeReading reading = value.is_string() ? read_time_text(value.get<std::string>(), told)
                                                    : read_time_number(input, told);
      got = reading.problem;
      if (reading.ok()) seconds = reading.seconds;
    }
    EXPECT_EQ(got, want["refuse"].is_null() ? "" : want["refuse"].get<std::string>()) << line;
    EXPECT_EQ(seconds,
              want["expect_seconds"].is_null() ? -1 : want["expect_seconds"].get<std::int64_t>())
        << line;
  }
  EXPECT_EQ(count, 165U);
}

}  // namespace
}  // namespace millrace
