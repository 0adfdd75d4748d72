#include "events/decode_event.h"

#include <gtest/gtest.h>

#include "events/event_id.h"
#include "events/json_tape.h"

namespace millrace {
namespace {

DecodedRecord decoded(std::string_view record, DecodeOptions options = {},
                      std::int64_t arrived_ms = -1) {
  EventDecoder decoder(std::move(options));
  DecodedRecord out;
  decoder.decode(record, arrived_ms, out);
  return out;
}

// The only refusal's reason, or "" when there is none.
std::string reason_of(std::string_view record, DecodeOptions options = {}) {
  const DecodedRecord out = decoded(record, std::move(options));
  EXPECT_LE(out.refused.size(), 1U) << record;
  return out.refused.empty() ? "" : out.refused.front().reason;
}

std::string event_with(std::string_view member) {
  return R"({"user_id":"u","item_id":"i","timestamp":1700000000,)" + std::string(member) + "}";
}

TEST(EventDecoder, ReadsAFlatEvent) {
  const DecodedRecord out =
      decoded(R"({"user_id":"u1","itemId":"i9","eventType":"rating","sentAt":1700000000.999,)"
              R"("eventId":"e-1","session_id":"s1","eventValue":4.50,"properties":{"a" : [1, 2]},)"
              R"("impression":["x","y"],"recommendationId":"R1"})");
  ASSERT_EQ(out.events.size(), 1U);
  EXPECT_TRUE(out.refused.empty());
  const Event& event = out.events[0];
  EXPECT_EQ(event.user_id, "u1");
  EXPECT_EQ(event.item_id, "i9");
  EXPECT_EQ(event.event_type, "rating");
  EXPECT_EQ(event.timestamp, 1700000000);
  EXPECT_EQ(event.event_id, "e-1");
  EXPECT_TRUE(event.event_id_given);
  EXPECT_EQ(event.session_id, "s1");
  EXPECT_EQ(event.event_value, "4.50");
  EXPECT_EQ(event.properties, R"({"a" : [1, 2]})");
  EXPECT_EQ(event.impression, (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(event.recommendation_id, "R1");
  EXPECT_EQ(out.units.seconds, 1U);
}

TEST(EventDecoder, ReadsAnEnvelopeAndNumbersItsEvents) {
  const DecodedRecord out = decoded(
      R"({"event_list":[{"itemId":"a","sentAt":1},7,{"itemId":"b","sentAt":2,"userId":"w"},)"
      R"({"sentAt":3}],"user_id":"u","session_id":"s"})");
  ASSERT_EQ(out.events.size(), 2U);
  EXPECT_EQ(out.events[0].user_id, "u");
  EXPECT_EQ(out.events[0].session_id, "s");
  EXPECT_EQ(out.events[1].user_id, "w") << "the event's own user comes before its envelope's";
  EXPECT_EQ(out.events[1].index, 2U);
  ASSERT_EQ(out.refused.size(), 2U);
  EXPECT_EQ(out.refused[0], (Refusal{1, "event is not an object"}));
  EXPECT_EQ(out.refused[1], (Refusal{3, "item_id missing"}));
}

TEST(EventDecoder, TheEnvelopesTimeIsNotTheEvents) {
  EXPECT_EQ(reason_of(R"({"user_id":"u","sent_at":5,"event_list":[{"item_id":"i"}]})"),
            "timestamp missing");
}

TEST(EventDecoder, NamesWhatIsWrongWithAWholeRecord) {
  EXPECT_EQ(reason_of("\xFF{}"), "not UTF-8");
  EXPECT_EQ(reason_of("{\"user_id\":\"\xED\xA0\x80\"}"), "not UTF-8");
  EXPECT_EQ(reason_of(R"({"a":NaN})"), "not JSON");
  EXPECT_EQ(reason_of(R"({"a":1,})"), "not JSON");
  EXPECT_EQ(reason_of("{'a':1}"), "not JSON");
  EXPECT_EQ(reason_of("{} x"), "not JSON");
  EXPECT_EQ(reason_of("01"), "not JSON");
  EXPECT_EQ(reason_of("17"), "not an object or list");
  EXPECT_EQ(reason_of(R"({"event_list":{}})"), "event_list is not a list");
  EXPECT_EQ(reason_of("[[]]"), "event is not an object");
}

TEST(EventDecoder, BlankIsNothingAndAnEmptyListIsEmpty) {
  for (const char* blank : {"", " \t\r\n", "\xEF\xBB\xBF", "\xEF\xBB\xBF \r"}) {
    const DecodedRecord out = decoded(blank);
    EXPECT_TRUE(out.blank && out.events.empty() && out.refused.empty()) << blank;
  }
  const DecodedRecord list = decoded("[]");
  EXPECT_TRUE(!list.blank && list.events.empty() && list.refused.empty());
}

TEST(EventDecoder, SeveralValuesInOneRecordAreAllJudgedOrNone) {
  const std::string one = event_with(R"("event_type":"v")");
  const DecodedRecord out = decoded(one + one + " 7 [" + one + "]");
  EXPECT_EQ(out.events.size(), 3U);
  EXPECT_EQ(out.events.back().index, 2U);
  ASSERT_EQ(out.refused.size(), 1U);
  EXPECT_EQ(out.refused[0], (Refusal{std::nullopt, "not an object or list"}));
  EXPECT_EQ(decoded(one + one + "{").events.size(), 0U);
}

TEST(EventDecoder, JudgesIds) {
  const auto user = [](std::string_view value) {
    return reason_of(R"({"item_id":"i","timestamp":1,"user_id":)" + std::string(value) + "}");
  };
  EXPECT_EQ(user(R"("u")"), "");
  EXPECT_EQ(user("18446744073709551615"), "");
  EXPECT_EQ(user("-9223372036854775808"), "");
  EXPECT_EQ(user("18446744073709551616"), "user_id wrong type");
  EXPECT_EQ(user("1.0"), "user_id wrong type");
  EXPECT_EQ(user("1e3"), "user_id wrong type");
  EXPECT_EQ(user("true"), "user_id wrong type");
  EXPECT_EQ(user(R"("")"), "user_id empty");
  EXPECT_EQ(user("\"\xC2\xA0 \xE3\x80\x80\""), "user_id empty");
  EXPECT_EQ(user(R"("\ud800")"), "user_id lone surrogate");
  EXPECT_EQ(user(R"("\udc00\ud800")"), "user_id lone surrogate");
  EXPECT_EQ(user(R"("\ud83d\ude00")"), "");
  EXPECT_EQ(user(R"("a\u007f")"), "user_id control character");
  EXPECT_EQ(user(R"("nUlL")"), "user_id placeholder");
  EXPECT_EQ(user("null"), "user_id missing");
  EXPECT_EQ(user('"' + std::string(256, 'x') + '"'), "");
  EXPECT_EQ(user('"' + std::string(257, 'x') + '"'), "user_id too long");
  std::string emoji;
  for (int i = 0; i < 256; ++i) emoji += "\xF0\x9F\x98\x80";
  EXPECT_EQ(user('"' + emoji + '"'), "");
  EXPECT_EQ(user('"' + emoji + "x\""), "user_id too long");
}

TEST(EventDecoder, KeepsTheDigitsOfANumberId) {
  const DecodedRecord out = decoded(R"({"user_id":-7,"item_id":9007199254740993,"timestamp":1})");
  ASSERT_EQ(out.events.size(), 1U);
  EXPECT_EQ(out.events[0].user_id, "-7");
  EXPECT_EQ(out.events[0].item_id, "9007199254740993");
}

TEST(EventDecoder, TheLastOfRepeatedKeysCounts) {
  const DecodedRecord out =
      decoded(R"({"user_id":"a","user_id":"b","item_id":"i","timestamp":1,"timestamp":2})");
  ASSERT_EQ(out.events.size(), 1U);
  EXPECT_EQ(out.events[0].user_id, "b");
  EXPECT_EQ(out.events[0].timestamp, 2);
  EXPECT_EQ(reason_of(R"({"user_id":"a","user_id":null,"item_id":"i","timestamp":1})"),
            "user_id missing");
}

TEST(EventDecoder, PointersStepIntoObjectsTextsAndLists) {
  EXPECT_EQ(reason_of(R"({"user_id":"u","timestamp":1,"properties":{"itemId":"i"}})"), "");
  EXPECT_EQ(reason_of(R"({"user_id":"u","timestamp":1,"properties":"{\"itemId\":\"i\"}"})"), "");
  EXPECT_EQ(reason_of(R"({"user_id":"u","timestamp":1,"properties":"{\"itemId\":\"i\""})"),
            "item_id missing");
  DecodeOptions options;
  options.fields.item_id = {"/cart/1/s~1k~0u"};
  EXPECT_EQ(reason_of(R"({"user_id":"u","timestamp":1,"cart":[0,{"s/k~u":"i"}]})", options), "");
  EXPECT_EQ(reason_of(R"({"user_id":"u","timestamp":1,"cart":[0]})", options), "item_id missing");
}

TEST(EventDecoder, AnonymousEventsAreKnownByTheirSession) {
  const DecodedRecord out = decoded(R"({"session_id":"s","item_id":"i","timestamp":9})");
  ASSERT_EQ(out.events.size(), 1U);
  EXPECT_TRUE(out.events[0].anonymous());
  EXPECT_EQ(out.events[0].session_id, "s");
  EXPECT_EQ(reason_of(R"({"session_id":" ","item_id":"i","timestamp":9})"), "user_id missing");
  EXPECT_EQ(reason_of(R"({"session_id":"none","item_id":"i","timestamp":9})"),
            "session_id placeholder");
}

TEST(EventDecoder, DerivesIdsFromContentAlone) {
  EventDecoder decoder{DecodeOptions{}};
  DecodedRecord first;
  DecodedRecord again;
  decoder.decode(R"({"user_id":"u","item_id":"i","timestamp":1700000000000,"x":1})", -1, first);
  decoder.decode(R"({"item_id":"i","timestamp":"2023-11-14T22:13:20Z","user_id":"u"})", -1, again);
  ASSERT_EQ(first.events.size(), 1U);
  ASSERT_EQ(again.events.size(), 1U);
  EXPECT_EQ(first.events[0], again.events[0]);
  EXPECT_FALSE(first.events[0].event_id_given);
  std::string expected;
  IdHasher().event_id(false, "u", "i", 1700000000, "interaction", expected);
  EXPECT_EQ(first.events[0].event_id, expected);
  IdHasher().session_id("u", 1700000000, 1800, expected);
  EXPECT_EQ(first.events[0].session_id, expected);
}

TEST(EventDecoder, AnUnusableOptionalFieldIsLeftOutAndRefusesNothing) {
  const auto one = [](std::string_view member) {
    const DecodedRecord out = decoded(event_with(member));
    EXPECT_EQ(out.events.size(), 1U) << member;
    return out.events.empty() ? Event{} : out.events[0];
  };
  EXPECT_EQ(one(R"("event_value":"4.5 ")").event_value, "4.5");
  for (const char* bad : {R"("lots")", "true", "1e999", R"("0x10")", "3.5e38", R"("")"}) {
    EXPECT_EQ(one(R"("event_value":)" + std::string(bad)).event_value, "") << bad;
  }
  EXPECT_EQ(one(R"("properties":" {\"a\":1} ")").properties, R"({"a":1})");
  EXPECT_EQ(one(R"("properties":{"a":"\ud800"})").properties, R"({"a":"\ud800"})");
  for (const char* bad : {"[1]", R"("x")", R"("{\"a\":\"\ud800\"}")", "7"}) {
    EXPECT_EQ(one(R"("properties":)" + std::string(bad)).properties, "") << bad;
  }
  EXPECT_EQ(one(R"("impression":"a|b||c")").impression, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(one(R"("impression":["a",5,null,"nan"])").impression,
            (std::vector<std::string>{"a", "5"}));
  EXPECT_EQ(one(R"("recommendation_id":")" + std::string(41, 'r') + '"').recommendation_id, "");
  EXPECT_EQ(one(R"("event_id":77)").event_id, "77");
  EXPECT_FALSE(one(R"("event_id":"")").event_id_given);
  EXPECT_FALSE(one(R"("event_id":[1])").event_id_given);
  EXPECT_EQ(one(R"("session_id":["x"])").session_id.size(), 32U);
}

TEST(EventDecoder, ArrivalStandsInOnlyWhereConfigured) {
  const std::string_view record = R"({"user_id":"u","item_id":"i"})";
  EXPECT_EQ(reason_of(record), "timestamp missing");
  DecodeOptions options;
  options.timestamp_from_arrival = true;
  const DecodedRecord out = decoded(record, options, 1700000000999);
  ASSERT_EQ(out.events.size(), 1U);
  EXPECT_EQ(out.events[0].timestamp, 1700000000);
  EXPECT_EQ(out.units.arrival, 1U);
  EXPECT_EQ(reason_of(record, options), "timestamp missing") << "the log had no time";
  const DecodedRecord line =
      decoded(R"({"user_id":"u","item_id":"i","_source":{"arrived":1600000000123}})", options);
  ASSERT_EQ(line.events.size(), 1U);
  EXPECT_EQ(line.events[0].timestamp, 1600000000);
  EXPECT_EQ(reason_of(R"({"user_id":"u","item_id":"i","timestamp":"x"})", options),
            "timestamp unreadable")
      << "a bad time is not an absent one";
}

TEST(EventDecoder, OurAnnotationChangesNothing) {
  const std::string plain = R"({"user_id":"u","item_id":"i","timestamp":1)";
  const DecodedRecord bare = decoded(plain + "}");
  const DecodedRecord line =
      decoded(plain + R"(,"_source":{"partition":"3","position":"12","arrived":5}})");
  EXPECT_EQ(bare.events, line.events);
}

TEST(EventDecoder, FormatsCanBeFixed) {
  DecodeOptions flat;
  flat.format = DecodeOptions::Format::flat;
  EXPECT_EQ(reason_of(event_with(R"("event_list":[])"), flat), "");
  DecodeOptions envelope;
  envelope.format = DecodeOptions::Format::envelope;
  EXPECT_EQ(reason_of(event_with(R"("x":1)"), envelope), "event_list missing");
}

TEST(EventDecoder, AReusedResultHoldsNothingOfTheRecordBefore) {
  EventDecoder decoder{DecodeOptions{}};
  DecodedRecord out;
  decoder.decode("[" + event_with(R"("event_value":5,"impression":["x"],"properties":{}),)") + "]",
                 -1, out);
  decoder.decode("[" + event_with(R"("event_value":5,"impression":["x"],"properties":{})") + ",7]",
                 -1, out);
  ASSERT_EQ(out.events.size(), 1U);
  ASSERT_EQ(out.refused.size(), 1U);
  const std::string next = R"({"user_id":"v","item_id":"j","timestamp":2})";
  decoder.decode(next, -1, out);
  EXPECT_EQ(out.events, decoded(next).events);
  EXPECT_TRUE(out.refused.empty());
  decoder.decode("", -1, out);
  EXPECT_TRUE(out.events.empty() && out.blank);
  EXPECT_EQ(out.units, TimeUnitCounts{});
}

TEST(EventDecoder, DepthIsBounded) {
  const auto nested = [](std::size_t depth) {
    return event_with("\"x\":" + std::string(depth, '[') + std::string(depth, ']'));
  };
  EXPECT_EQ(reason_of(nested(JsonTape::kDepthMax - 1)), "");
  EXPECT_EQ(reason_of(nested(JsonTape::kDepthMax)), "not JSON");
  EXPECT_EQ(reason_of(nested(100'000)), "not JSON");
}

}  // namespace
}  // namespace millrace
