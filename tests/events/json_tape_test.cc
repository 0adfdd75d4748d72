#include "events/json_tape.h"

#include <gtest/gtest.h>
#include <simdjson.h>

#include <algorithm>
#include <filesystem>

#include "core/rng.h"
#include "events/decode_event.h"
#include "events/utf8.h"
#include "tests/events/shared_data.h"

namespace millrace {
namespace {

bool reads(std::string_view text) { return JsonTape().read_one(text); }

std::string text_of(std::string_view json) {
  JsonTape tape;
  std::string scratch;
  EXPECT_TRUE(tape.read_one(json)) << json;
  return std::string(tape.text(tape.roots().at(0), scratch));
}

TEST(JsonTape, ReadsWhatRfc8259Allows) {
  for (const char* good :
       {"{}", "[]", " [ 1 , -0.5e+10 , true , false , null , \"x\" ] ", R"({"a":{"b":[]},"":0})",
        "\"\\u00e9\\ud800\"", "0", "-0", "1E400", "18446744073709551616", R"({"a":1,"a":2})"}) {
    EXPECT_TRUE(reads(good)) << good;
  }
}

TEST(JsonTape, RefusesWhatItDoesNot) {
  for (const char* bad : {"",
                          "{",
                          "[",
                          "]",
                          "{\"a\"}",
                          "{\"a\":}",
                          "{a:1}",
                          "[1,]",
                          "{\"a\":1,}",
                          "[,1]",
                          "[1 2]",
                          "01",
                          "-",
                          "1.",
                          ".5",
                          "1e",
                          "+1",
                          "nul",
                          "True",
                          "NaN",
                          "'a'",
                          "\"\\x\"",
                          "\"\\u12g4\"",
                          "\"\\u12",
                          "\"a\nb\"",
                          "\"abc",
                          "\"\\",
                          "[1]]",
                          "{}{}",
                          "// x\n1",
                          "\xEF\xBB\xBF{}",
                          "[1}",
                          "{\"a\":1]",
                          "nulltrue",
                          "1true"}) {
    EXPECT_FALSE(reads(bad)) << bad;
  }
}

TEST(JsonTape, UndoesEscapes) {
  EXPECT_EQ(text_of(R"("a\"\\\/\b\f\n\r\tz")"), "a\"\\/\b\f\n\r\tz");
  EXPECT_EQ(text_of(R"("\u0041\u00e9\u20ac\ud83d\ude00")"),
            "A\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
  EXPECT_EQ(text_of(R"("\ud83d!")"), "\xED\xA0\xBD!");
  EXPECT_EQ(text_of(R"("\ude00\ud83d")"), "\xED\xB8\x80\xED\xA0\xBD");
  EXPECT_EQ(text_of(R"("\ud83d\u0041")"),
            "\xED\xA0\xBD"
            "A");
}

TEST(JsonTape, FindsTheLastOfRepeatedMembers) {
  JsonTape tape;
  std::string scratch;
  ASSERT_TRUE(tape.read_one(R"({"a":{"b":1},"b":2,"\u0061":[3]})"));
  EXPECT_EQ(tape.raw(tape.member(0, "a", scratch).value()), "[3]");
  EXPECT_EQ(tape.raw(tape.member(0, "b", scratch).value()), "2");
  EXPECT_FALSE(tape.member(0, "c", scratch));
}

TEST(JsonTape, ReadsValuesBehindEachOther) {
  JsonTape tape;
  ASSERT_TRUE(tape.read_all("{}[1]\"x\"7 8 true{}"));
  EXPECT_EQ(tape.roots().size(), 7U);
  EXPECT_TRUE(tape.read_all(" \n"));
  EXPECT_TRUE(tape.roots().empty());
  EXPECT_FALSE(tape.read_all("{}}"));
  EXPECT_FALSE(tape.read_all("7true"));
}

// simdjson's verdict where it has one; nothing for what it is known to refuse although it is JSON.
std::optional<bool> verdict_of_simdjson(std::string_view text) {
  simdjson::dom::parser parser;
  const auto error = parser.parse(simdjson::padded_string(text)).error();
  if (error == simdjson::SUCCESS) return true;
  // Half surrogates (also 'a string error'), numbers beyond a double, nesting.
  if (error == simdjson::STRING_ERROR || error == simdjson::NUMBER_ERROR ||
      error == simdjson::DEPTH_ERROR) {
    return std::nullopt;
  }
  return false;
}

TEST(JsonTape, AgreesWithSimdjsonOnMutatedRecords) {
  const std::vector<std::string> seeds{
      R"({"user_id":"u1","itemId":"i9","eventType":"rating","sentAt":1700000000.999,"x":[1,-2e5]})",
      R"({"event_list":[{"item_id":"\ud83d\ude00","timestamp":"2026-11-21T09:56:00Z"}],"user_id":7})",
      R"([{"user_id":null,"ok":true,"no":false,"properties":"{\"itemId\":\"i\"}"},{}])",
      "{\"user_id\":\"\xC3\xA9\\n\",\"item_id\":{\"a\":{}},\"timestamp\":-0.0E-1}"};
  Rng rng(20261121);
  constexpr std::string_view kAlphabet =
      "{}[]\",:\\/ue0123456789+-.EtrfalsnN \t\n\x01\x7F\x80\xC3\xED\xFF";
  EventDecoder decoder{DecodeOptions{}};
  DecodedRecord record;
  std::size_t accepted = 0;
  std::size_t compared = 0;
  for (int round = 0; round < 60'000; ++round) {
    std::string text = seeds[rng.below(seeds.size())];
    const std::uint64_t changes = 1 + rng.below(3);
    for (std::uint64_t i = 0; i < changes && !text.empty(); ++i) {
      const std::size_t at = rng.below(text.size());
      const char c = kAlphabet[rng.below(kAlphabet.size())];
      switch (rng.below(4)) {
        case 0:
          text[at] = c;
          break;
        case 1:
          text.insert(at, 1, c);
          break;
        case 2:
          text.erase(at, 1 + rng.below(3));
          break;
        default:
          text.insert(at, text.substr(rng.below(text.size()), rng.below(12)));
      }
    }
    decoder.decode(text, -1, record);
    const bool ours = valid_utf8(text) && reads(text);
    if (const auto theirs = verdict_of_simdjson(text)) {
      ASSERT_EQ(ours, *theirs) << text;
      ++compared;
      accepted += ours;
    }
    if (record.blank) continue;
    const bool refused_whole = !record.refused.empty() && !record.refused[0].index;
    if (!valid_utf8(text)) {
      ASSERT_EQ(record.refused.at(0).reason, "not UTF-8") << text;
    }
    if (ours) {
      ASSERT_TRUE(!refused_whole || (record.refused[0].reason != "not JSON")) << text;
    }
  }
  // Both sides of the comparison must have been walked.
  EXPECT_GT(accepted, 5'000U);
  EXPECT_GT(compared - accepted, 20'000U);
}

TEST(JsonTape, AgreesWithJsonTestSuite) {
  SKIP_WITHOUT_SHARED_DATA();
  EventDecoder decoder{DecodeOptions{}};
  DecodedRecord record;
  std::size_t must = 0;
  std::size_t must_not = 0;
  std::size_t either = 0;
  std::vector<std::filesystem::path> paths;
  for (const char* folder : {"test_parsing", "test_transform"}) {
    for (const auto& entry :
         std::filesystem::directory_iterator(shared_data_path("vectors/json") / folder)) {
      if (entry.path().extension() == ".json") paths.push_back(entry.path());
    }
  }
  std::sort(paths.begin(), paths.end());
  for (const auto& path : paths) {
    const std::string name = path.filename().string();
    const std::string text = read_file(path);
    decoder.decode(text, -1, record);
    const bool json = record.refused.empty() || (record.refused[0].reason != "not JSON" &&
                                                 record.refused[0].reason != "not UTF-8");
    if (name.starts_with("y_")) {
      ++must;
      EXPECT_TRUE(json && reads(text)) << name;
    } else if (name.starts_with("n_")) {
      ++must_not;
      EXPECT_FALSE(valid_utf8(text) && reads(text)) << name;
      // A blank record is nothing, and values behind each other are several records (the second one
      // ends in a bare text, which is refused as such).
      const bool ours = record.blank || name == "n_structure_double_array.json" ||
                        name == "n_structure_object_with_trailing_garbage.json";
      EXPECT_EQ(json, ours) << name;
      EXPECT_TRUE(record.events.empty()) << name;
    } else {
      ++either;  // it came back: that is all that is asked
    }
  }
  EXPECT_EQ(must, 95U);
  EXPECT_EQ(must_not, 188U);
  EXPECT_EQ(either, 35U + 22U);
}

}  // namespace
}  // namespace millrace
