#include "sinks/sent_fields.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

Event event_with(std::string properties) {
  Event event;
  event.user_id = "ann";
  event.session_id = "s";
  event.item_id = "i";
  event.properties = std::move(properties);
  return event;
}

std::string sent(std::string properties, const std::vector<std::string>& columns = {}) {
  auto event = event_with(std::move(properties));
  EXPECT_EQ(SentFields(columns).prepare(event), "");
  return event.properties;
}

TEST(SentFields, LeavesOutWhatTheServiceRefusesInsideProperties) {
  EXPECT_EQ(sent(R"({"itemId":"x", "TIMESTAMP" : 1, "sessionid":{"a":[1,"}"]}, "rating" : 5 })"),
            R"({"rating" : 5})");
  EXPECT_EQ(sent(R"({"userId":"u","eventType":"e","recommendationId":"r","impression":["a","b"]})"),
            "");
  EXPECT_EQ(sent(R"({})"), "");
  EXPECT_EQ(sent(R"({"a":"x\"},{","b":[{"timestamp":1}]})"),
            R"({"a":"x\"},{","b":[{"timestamp":1}]})");
}

TEST(SentFields, KeepsTheLastOfANameWrittenTwice) {
  EXPECT_EQ(sent(R"({"a":1,"b":2,"a":3})"), R"({"b":2,"a":3})");
}

TEST(SentFields, KeepsAnEventValueInsidePropertiesOnlyWhenThereIsNoOther) {
  EXPECT_EQ(sent(R"({"eventValue":3})"), R"({"eventValue":3})");
  auto event = event_with(R"({"eventValue":3})");
  event.event_value = "4";
  EXPECT_EQ(SentFields({}).prepare(event), "");
  EXPECT_EQ(event.properties, "");
}

TEST(SentFields, SendsOnlyColumnsOfTheDatasetOnceTheyAreKnown) {
  const std::vector<std::string> columns = {"USER_ID", "ITEM_ID", "TIMESTAMP", "NUM_RATINGS"};
  EXPECT_EQ(sent(R"({"numRatings":"12","other":1,"NUM_RATINGS":3})", columns),
            R"({"numRatings":"12"})");
  auto event = event_with("");
  event.event_value = "1";
  event.impression = {"a"};
  event.recommendation_id = "r";
  const auto all = event;
  EXPECT_EQ(SentFields(columns).prepare(event), "");
  EXPECT_EQ(event, event_with(""));
  event = all;
  EXPECT_EQ(SentFields({"EVENT_VALUE", "IMPRESSION", "RECOMMENDATION_ID"}).prepare(event), "");
  EXPECT_EQ(event, all);
}

TEST(SentFields, RefusesWhatIsTooLongAndCountsCharactersNotBytes) {
  auto event = event_with(R"({"a":")" + std::string(1016, 'x') + R"("})");
  EXPECT_EQ(SentFields({}).prepare(event), "");
  event = event_with(R"({"a":")" + std::string(1017, 'x') + R"("})");
  EXPECT_EQ(SentFields({}).prepare(event), "properties too long");
  std::string umlauts;
  for (int i = 0; i < 1016; ++i) umlauts += "\xc3\xa4";
  event = event_with(R"({"a":")" + umlauts + R"("})");
  EXPECT_EQ(SentFields({}).prepare(event), "");

  event = event_with("");
  event.session_id = std::string(257, 's');
  EXPECT_EQ(SentFields({}).prepare(event), "session_id too long");
  event = event_with("");
  event.recommendation_id = std::string(41, 'r');
  EXPECT_EQ(SentFields({}).prepare(event), "recommendation_id too long");
  event = event_with("");
  event.impression.assign(26, "i");
  EXPECT_EQ(SentFields({}).prepare(event), "impression too long");
}

TEST(SentFields, AHundredThousandMembersCostNoQuadraticTime) {
  std::string properties = "{";
  for (int i = 0; i < 100'000; ++i) properties += "\"k" + std::to_string(i) + "\":1,";
  properties.back() = '}';
  auto event = event_with(properties);
  EXPECT_EQ(SentFields({}).prepare(event), "properties too long");
}

TEST(SentFields, SurvivesPropertiesThatAreCutShort) {
  const std::string whole = R"({"a":{"b":[1,"x\"y"]},"itemId":"z","c":"\u0041"})";
  for (std::size_t length = 0; length <= whole.size(); ++length) {
    auto event = event_with(whole.substr(0, length));
    EXPECT_EQ(SentFields({}).prepare(event), "");
  }
}

}  // namespace
}  // namespace millrace
