#include "lake/prefix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace millrace {
namespace {

using testing::HasSubstr;

// 2024-12-30T05Z is a Monday whose week belongs to 2025.
constexpr std::int64_t kMonday = 1'735'534'800;
constexpr std::int64_t kSaturdayNight = 1'767'481'200;  // 2026-01-03T23Z
constexpr std::int64_t kNewYear = 1'672'531'200;        // 2023-01-01T00Z, a Sunday

Prefix parsed(std::string_view text, Prefix::Role role = Prefix::Role::objects) {
  auto prefix = Prefix::parse(text, role);
  EXPECT_TRUE(prefix.has_value()) << text << ": " << prefix.error().message;
  return prefix ? *prefix : Prefix{};
}

std::string at(std::string_view text, std::int64_t seconds) {
  return parsed(text).evaluate(LakeHour::of_seconds(seconds));
}

std::string problem(std::string_view text, Prefix::Role role = Prefix::Role::objects) {
  const auto prefix = Prefix::parse(text, role);
  EXPECT_FALSE(prefix.has_value()) << text;
  if (prefix) return {};
  EXPECT_EQ(prefix.error().kind, ErrorKind::invalid);
  return prefix.error().message;
}

// The expected texts are those of OpenJDK 17's DateTimeFormatter in the US locale.
TEST(Prefix, EvaluatesPatternsAsJavaDoes) {
  const struct {
    const char* pattern;
    const char* monday;
    const char* saturday_night;
    const char* new_year;
  } cases[] = {
      {"yyyy/MM/dd/HH", "2024/12/30/05", "2026/01/03/23", "2023/01/01/00"},
      {"uuuu", "2024", "2026", "2023"},
      {"yy", "24", "26", "23"},
      {"y", "2024", "2026", "2023"},
      {"yyy", "2024", "2026", "2023"},
      {"yyyyy", "02024", "02026", "02023"},
      {"YYYY/MM/dd/HH", "2025/12/30/05", "2026/01/03/23", "2023/01/01/00"},
      {"YY", "25", "26", "23"},
      {"D", "365", "3", "1"},
      {"DD", "365", "03", "01"},
      {"DDD", "365", "003", "001"},
      {"h a", "5 AM", "11 PM", "12 AM"},
      {"hh", "05", "11", "12"},
      {"'year='yyyy", "year=2024", "year=2026", "year=2023"},
      {"yyyy''MM", "2024'12", "2026'01", "2023'01"},
      {"'it''s 'M", "it's 12", "it's 1", "it's 1"},
      {"yyyy-MM-dd'T'HH", "2024-12-30T05", "2026-01-03T23", "2023-01-01T00"},
      {"[yyyy]MM", "202412", "202601", "202301"},
      {"SSS", "000", "000", "000"},
      {"H:m:s", "5:0:0", "23:0:0", "0:0:0"},
  };
  for (const auto& c : cases) {
    const std::string text = "!{timestamp:" + std::string(c.pattern) + "}/";
    EXPECT_EQ(at(text, kMonday), std::string(c.monday) + "/") << c.pattern;
    EXPECT_EQ(at(text, kSaturdayNight), std::string(c.saturday_night) + "/") << c.pattern;
    EXPECT_EQ(at(text, kNewYear), std::string(c.new_year) + "/") << c.pattern;
  }
}

TEST(Prefix, JoinsTextAndExpressionsPlainly) {
  EXPECT_EQ(at("crm/!{timestamp:yyyy}/x=!{timestamp:MM}/", kMonday), "crm/2024/x=12/");
  EXPECT_EQ(at("crm/!{timestamp:yyyy/MM/dd/HH}", kMonday), "crm/2024/12/30/05");
  EXPECT_EQ(at("a!b{c}/!{timestamp:HH/}", kMonday), "a!b{c}/05/");
}

TEST(Prefix, WithoutTimestampGetsFirehosesHours) {
  EXPECT_EQ(at("", kMonday), "2024/12/30/05/");
  EXPECT_EQ(at("crm/", kMonday), "crm/2024/12/30/05/");
  const Prefix glued = parsed("crm");
  EXPECT_EQ(glued.evaluate(LakeHour::of_seconds(kMonday)), "crm2024/12/30/05/");
  ASSERT_EQ(glued.warnings().size(), 1u);
  EXPECT_THAT(glued.warnings()[0], HasSubstr("does not end in '/'"));
  EXPECT_TRUE(parsed("crm/").warnings().empty());
}

TEST(Prefix, TextParsesToTheSamePrefix) {
  for (const char* text : {"", "crm/", "crm/!{timestamp:yyyy/MM/dd/HH}/"}) {
    const Prefix once = parsed(text);
    const Prefix twice = parsed(once.text());
    EXPECT_EQ(once.text(), twice.text());
    EXPECT_EQ(once.evaluate(LakeHour::of_seconds(kMonday)),
              twice.evaluate(LakeHour::of_seconds(kMonday)));
  }
}

TEST(Prefix, FixedHeadIsWhatEveryKeyBeginsWith) {
  EXPECT_EQ(parsed("crm/x/!{timestamp:yyyy}/").fixed_head(), "crm/x/");
  EXPECT_EQ(parsed("crm/x").fixed_head(), "crm/x");
  EXPECT_EQ(parsed("!{timestamp:'year='yyyy}/").fixed_head(), "");
  EXPECT_EQ(parsed("errors/", Prefix::Role::errors).fixed_head(), "errors/");
}

TEST(Prefix, ErrorTypeStandsInErrorPrefixesOnlyAndMust) {
  const auto role = Prefix::Role::errors;
  const LakeHour hour = LakeHour::of_seconds(kMonday);
  EXPECT_EQ(parsed("e/!{firehose:error-output-type}/!{timestamp:yyyy}/", role)
                .evaluate(hour, "processing-failed"),
            "e/processing-failed/2024/");
  EXPECT_EQ(parsed("e/!{error-type}/", role).evaluate(hour, "processing-failed"),
            "e/processing-failed/");
  EXPECT_EQ(parsed("errors/", role).evaluate(hour, "processing-failed"), "errors/");
  EXPECT_THAT(problem("a/!{error-type}/"), HasSubstr("column 3"));
  EXPECT_THAT(problem("e/!{timestamp:yyyy}/", role), HasSubstr("must hold"));
  EXPECT_THAT(problem("", role), HasSubstr("empty"));
}

TEST(Prefix, ErrorsSayTheColumnAndTheReason) {
  EXPECT_THAT(problem("a/!{timestamp:yyyy"), HasSubstr("column 3: !{ is not closed"));
  EXPECT_THAT(problem("é/!{timestamp:hour=HH}/"),
              HasSubstr("column 16: unknown pattern letter 'o'"));
  EXPECT_THAT(problem("!{timestamp:yyyy'T}/"), HasSubstr("column 17: a quote"));
  EXPECT_THAT(problem("!{timestamp:MMM}/"), HasSubstr("column 13: 3 times 'M'"));
  EXPECT_THAT(problem("!{timestamp:yyyy]}/"), HasSubstr("column 17"));
  EXPECT_THAT(problem("!{timestamp:yyyy#}/"), HasSubstr("column 17"));
  EXPECT_THAT(problem("!{timestamp:}/"), HasSubstr("needs a pattern"));
  EXPECT_THAT(problem("!{nothing:x}/"), HasSubstr("unknown expression"));
  EXPECT_THAT(problem("x/!{firehose:random-string}/"), HasSubstr("same name"));
  EXPECT_THAT(problem("x/!{partitionKeyFromQuery:user}/"), HasSubstr("not supported"));
  EXPECT_THAT(problem("x/!{partitionKeyFromLambda:user}/"), HasSubstr("not supported"));
  EXPECT_THAT(problem("x\n/"), HasSubstr("control character"));
  EXPECT_THAT(problem("x\xff/"), HasSubstr("UTF-8"));
}

TEST(Prefix, RefusesWhatNoKeyMayBeginWith) {
  EXPECT_THAT(problem("/crm/"), HasSubstr("slash"));
  EXPECT_THAT(problem("crm//x/"), HasSubstr("two slashes"));
  EXPECT_THAT(problem("crm/../x/"), HasSubstr("'..'"));
  EXPECT_THAT(problem("crm/./"), HasSubstr("'.'"));
  EXPECT_THAT(problem("crm/!{timestamp:/yyyy}/"), HasSubstr("two slashes"));
  EXPECT_THAT(problem(std::string(1030, 'x') + "/"), HasSubstr("at most 1024"));
  EXPECT_THAT(problem(std::string(500, 'x') + "/"), HasSubstr("at most 512"));
}

TEST(Prefix, WarnsOfTraps) {
  EXPECT_THAT(parsed("!{timestamp:YYYY/MM/dd/HH}/").warnings(),
              testing::ElementsAre(HasSubstr("week-based")));
  EXPECT_THAT(parsed("!{timestamp:yyyy/hh}/").warnings(),
              testing::ElementsAre(HasSubstr("1 to 12")));
  EXPECT_TRUE(parsed("!{timestamp:yyyy/hh}!{timestamp:a}/").warnings().empty());
  EXPECT_THAT(parsed("!{timestamp:yyyy/HH/mm/ss}/").warnings(),
              testing::ElementsAre(HasSubstr("finer than an hour")));
  EXPECT_THAT(parsed("!{timestamp:yyyy/MM/dd/HH}").warnings(),
              testing::ElementsAre(HasSubstr("does not end in '/'")));
}

TEST(Prefix, RecognisesItsOwnKeys) {
  const Prefix lake = parsed("crm/latest/!{timestamp:yyyy/MM/dd/HH}/");
  EXPECT_TRUE(lake.matches("crm/latest/2026/11/21/09/x.ndjson"));
  EXPECT_FALSE(lake.matches("crm/latest/backfill/x/y.ndjson"));
  EXPECT_FALSE(lake.matches("crm/latest/2026/11/21"));

  const Prefix errors = parsed("!{error-type}/!{timestamp:yyyy/MM/dd}/", Prefix::Role::errors);
  EXPECT_TRUE(errors.matches("processing-failed/2026/11/21/x"));
  EXPECT_TRUE(errors.matches("activePartitionExceeded/2026/11/21/x"));
  EXPECT_FALSE(errors.matches("latest/2026/11/21/x"));

  // Numbers without fixed width: each way to read them is tried, in no more than linear time.
  std::string many;
  for (int i = 0; i < 70; ++i) many += "!{timestamp:d}";
  EXPECT_TRUE(parsed(many + "/").matches(std::string(100, '1') + "/"));
  EXPECT_FALSE(parsed(many + "/").matches(std::string(1000, '1')));
}

TEST(LakeHour, AbsentAndAbsurdTimesAreHourZero) {
  EXPECT_EQ(LakeHour::of_ms(-1).text(), "1970010100");
  EXPECT_EQ(LakeHour::of_ms(INT64_MAX).text(), "1970010100");
  EXPECT_EQ(LakeHour::of_ms(253'402'300'799'999).text(), "9999123123");
  EXPECT_EQ(LakeHour::of_ms(253'402'300'800'000).text(), "1970010100");
  EXPECT_EQ(LakeHour::of_seconds(kMonday + 3599).text(), "2024123005");
}

TEST(LakeHour, ReadsWhatItWrites) {
  EXPECT_EQ(parse_hour("2024123005"), LakeHour::of_seconds(kMonday));
  for (const char* bad :
       {"", "2024123024", "2024023005", "202412300", "20241230055", "2024a23005", "1969123123"}) {
    EXPECT_FALSE(parse_hour(bad)) << bad;
  }
}

}  // namespace
}  // namespace millrace
