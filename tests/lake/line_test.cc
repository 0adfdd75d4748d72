#include "lake/line.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/rng.h"
#include "events/decode_event.h"
#include "events/json_tape.h"

namespace millrace {
namespace {

struct Made {
  std::string text{};
  std::size_t lines = 0;
  std::vector<LineRefusal> refused{};
};

Made made_of(std::string_view record, bool annotate = true, std::int64_t arrived_ms = 1700000000123,
             std::string_view partition = "3") {
  LineWriter writer(annotate);
  Made made;
  made.lines = writer.append(record, {partition, "12345", arrived_ms}, made.text, made.refused);
  return made;
}

const std::string kOurs =
    R"("_source":{"partition":"3","position":"12345","arrived":1700000000123)";

std::string reason_of(std::string_view record) {
  const Made made = made_of(record);
  EXPECT_EQ(made.text, "") << record;
  if (made.refused.size() != 1) return "refused " + std::to_string(made.refused.size());
  EXPECT_FALSE(made.refused[0].index.has_value());
  return std::string(made.refused[0].reason);
}

TEST(LineWriter, KeepsTheTextAndAddsOneMemberAtItsEnd) {
  EXPECT_EQ(made_of(R"({"b": 1.50e+3 ,"a":"\u00e9\/", "a":[ ]})").text,
            R"({"b": 1.50e+3 ,"a":"\u00e9\/", "a":[ ],)" + kOurs + "}}\n");
}

TEST(LineWriter, GivesAnEmptyObjectOnlyOurMember) {
  EXPECT_EQ(made_of("{}").text, "{" + kOurs + "}}\n");
  EXPECT_EQ(made_of(" { } ").text, "{ " + kOurs + "}}\n");
}

TEST(LineWriter, TurnsLineBreaksBetweenTokensIntoBlanks) {
  EXPECT_EQ(made_of("\xEF\xBB\xBF\r\n{\r\n\"a\":\n1\n}\r\n").text,
            "{  \"a\": 1 ," + kOurs + "}}\n");
}

TEST(LineWriter, LeavesArrivedOutWhenTheLogHasNoTime) {
  EXPECT_EQ(made_of("{}", true, -1).text,
            "{\"_source\":{\"partition\":\"3\",\"position\":\"12345\"}}\n");
}

TEST(LineWriter, QuotesAnOddPartitionName) {
  EXPECT_EQ(made_of("{}", true, -1, "shard-\"1\"").text,
            "{\"_source\":{\"partition\":\"shard-\\\"1\\\"\",\"position\":\"12345\"}}\n");
}

TEST(LineWriter, MovesAProducersOwnSourceIntoOurs) {
  const auto moved = [](std::string_view rest, std::string_view original) {
    return std::string(rest) + kOurs + ",\"original\":" + std::string(original) + "}}\n";
  };
  EXPECT_EQ(made_of(R"({"_source":{"x":1},"a":2})").text, moved(R"({"a":2,)", R"({"x":1})"));
  EXPECT_EQ(made_of(R"({"a":2,"_source":"web"})").text, moved(R"({"a":2,)", R"("web")"));
  EXPECT_EQ(made_of(R"({"a":2, "_source" : [1,2] ,"b":3})").text,
            moved(R"({"a":2 ,"b":3,)", "[1,2]"));
  EXPECT_EQ(made_of(R"({ "_source":null })").text, moved(R"({  )", "null"));
  // Written with escapes it is the same key; of two the last counts, and none of ours is shadowed.
  EXPECT_EQ(made_of(R"({"\u005fsourc\u0065":1,"_source":2,"a":0,"_source":3})").text,
            moved(R"({"a":0,)", "3"));
}

TEST(LineWriter, LeavesNestedAndSimilarKeysAlone) {
  for (const std::string text :
       {R"({"a":{"_source":1})", R"({"_sourcE":1)", R"({"_source ":1)", R"({"\\_source":1)",
        R"({"\u005fsource\u0000":1)", R"({"_source":1)"}) {
    const bool is_it = text == R"({"_source":1)";
    EXPECT_EQ(made_of(text + "}").text.find("original") != std::string::npos, is_it) << text;
  }
}

TEST(LineWriter, MakesALineOfEachObjectOfAList) {
  const Made made = made_of(R"([{"a":1}, {"_source":7}
,{}])");
  EXPECT_EQ(made.lines, 3u);
  EXPECT_EQ(made.text, R"({"a":1,)" + kOurs + ",\"index\":0}}\n" + "{" + kOurs +
                           ",\"index\":1,\"original\":7}}\n" + "{" + kOurs + ",\"index\":2}}\n");
}

TEST(LineWriter, MakesALineOfEachObjectBehindAnother) {
  const Made made = made_of(R"({"a":1}{"b":2} [{"c":3}])");
  EXPECT_EQ(made.lines, 3u);
  EXPECT_EQ(made.text, R"({"a":1,)" + kOurs + ",\"index\":0}}\n" + R"({"b":2,)" + kOurs +
                           ",\"index\":1}}\n" + R"({"c":3,)" + kOurs + ",\"index\":2}}\n");
}

TEST(LineWriter, RefusesOnlyTheEntriesThatAreNoObjects) {
  const Made made = made_of(R"([{"a":1},null,[{}],{"b":2}])");
  EXPECT_EQ(made.lines, 2u);
  EXPECT_EQ(made.refused, (std::vector<LineRefusal>{{1, "event is not an object"},
                                                    {2, "event is not an object"}}));
}

TEST(LineWriter, CountsNothingAsEmptyNotAsRefused) {
  for (const std::string_view record : {"", " \r\n\t", "\xEF\xBB\xBF", "[]", " [ ] "}) {
    const Made made = made_of(record);
    EXPECT_EQ(made.lines, 0u);
    EXPECT_TRUE(made.refused.empty()) << record;
    EXPECT_EQ(made.text, "");
  }
}

TEST(LineWriter, AddsNothingWhenAskedNotTo) {
  EXPECT_EQ(made_of("{\"_source\":1,\n\"a\":2}", false).text, "{\"_source\":1, \"a\":2}\n");
  EXPECT_EQ(made_of(R"([{"a":1},{}])", false).text, "{\"a\":1}\n{}\n");
}

TEST(LineWriter, RefusesWhatIsNotJson) {
  for (const std::string_view record : {"{",
                                        "}",
                                        "{\"a\"}",
                                        "{\"a\":}",
                                        "{\"a\":1,}",
                                        "{,}",
                                        "[1,]",
                                        "[,]",
                                        "[{}",
                                        "{'a':1}",
                                        "{\"a\":NaN}",
                                        "{\"a\":01}",
                                        "{\"a\":1.}",
                                        "{\"a\":.5}",
                                        "{\"a\":+1}",
                                        "{\"a\":1e}",
                                        "{\"a\":\"\\x41\"}",
                                        "{\"a\":\"\\u12g4\"}",
                                        "{\"a\":\"\\u12",
                                        "{\"a\":\"\t\"}",
                                        "{\"a\":tru}",
                                        "{\"a\":1}x",
                                        "{\"a\":1}}",
                                        "{\"a\":1}]",
                                        "nul",
                                        "{\"a\":-}",
                                        "{\"a\":1 \"b\":2}",
                                        "{1:2}",
                                        "{\"a\":\"",
                                        "{\"a\":\"\\",
                                        "{\"_source\":1",
                                        "/**/{}",
                                        "{\"a\":[1}"}) {
    EXPECT_EQ(reason_of(record), "not JSON") << record;
  }
  EXPECT_EQ(reason_of(std::string_view("{\"a\":1}\0", 8)), "not JSON");
}

TEST(LineWriter, RefusesWhatIsNotUtf8) {
  for (const std::string_view record :
       {"{\"a\":\"\xff\"}", "\xff\xfe{}", "{\"a\":\"\xed\xa0\x80\"}"})
    EXPECT_EQ(reason_of(record), "not UTF-8");
}

TEST(LineWriter, RefusesAScalar) {
  for (const std::string_view record : {"42", "\"hello\"", "true", "null", " -0.5e9 "})
    EXPECT_EQ(reason_of(record), "not an object or list") << record;
}

TEST(LineWriter, TakesEveryJsonThatParsersDisagreeAbout) {
  for (const std::string_view text :
       {R"({"a":"\ud800"})", R"({"a":1e400})", R"({"a":123456789012345678901234567890})",
        R"({"a":1,"a":2})", R"({"":-0})", R"({"a":"\u0000"})", "{\"a\":\"\x7f\xe2\x80\xa8\"}"}) {
    EXPECT_EQ(made_of(text).lines, 1u) << text;
    EXPECT_TRUE(made_of(text).refused.empty());
  }
}

TEST(LineWriter, BoundsTheDepth) {
  const auto nested = [](std::size_t depth) {
    return "{\"a\":" + std::string(depth - 1, '[') + std::string(depth - 1, ']') + "}";
  };
  EXPECT_EQ(made_of(nested(JsonTape::kDepthMax)).lines, 1u);
  EXPECT_EQ(reason_of(nested(JsonTape::kDepthMax + 1)), "not JSON");
  EXPECT_EQ(reason_of(std::string(1'000'000, '[')), "not JSON");
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  EXPECT_EQ(reason_of(objects), "not JSON");
}

// The forwarder and the archiver read the same record: what one refuses as a whole, so does the
// other, for the same reason.
TEST(LineWriter, RefusesAsAWholeWhatTheDecoderRefuses) {
  const auto nested = [](std::size_t depth) {
    return "{\"a\":" + std::string(depth - 1, '[') + std::string(depth - 1, ']') + "}";
  };
  EventDecoder decoder{DecodeOptions{}};
  DecodedRecord decoded;
  for (const std::string& record :
       {nested(JsonTape::kDepthMax), nested(JsonTape::kDepthMax + 1),
        nested(JsonTape::kDepthMax + 100), "[" + nested(JsonTape::kDepthMax - 1) + "]",
        "[" + nested(JsonTape::kDepthMax) + "]", std::string("01"),
        std::string("truefalse{\"a\":1}"), std::string("1{\"a\":1}"), std::string("nullnull"),
        std::string("{}5 {}"), std::string("5\"x\""), std::string("{\"a\":\xff}")}) {
    decoder.decode(record, 0, decoded);
    std::string whole;
    for (const Refusal& refusal : decoded.refused) {
      if (!refusal.index && refusal.reason != "not an object or list") whole = refusal.reason;
    }
    const std::string head = record.substr(0, 30);
    if (whole.empty()) {
      EXPECT_NE(made_of(record).lines + made_of(record).refused.size(), 0u) << head;
      for (const LineRefusal& refusal : made_of(record).refused) {
        EXPECT_NE(refusal.reason, "not JSON") << head;
      }
    } else {
      EXPECT_EQ(reason_of(record), whole) << head;
      EXPECT_EQ(made_of(record).lines, 0u) << head;
    }
  }
}

TEST(LineWriter, AnOwnSourceThatMovesDownStaysReadable) {
  const auto record = [](std::size_t depth) {
    return "{\"_source\":" + std::string(depth - 1, '[') + std::string(depth - 1, ']') + "}";
  };
  const auto deepest = made_of(record(JsonTape::kDepthMax - 1));
  ASSERT_EQ(deepest.lines, 1u);
  JsonTape tape;
  EXPECT_TRUE(tape.read_all(deepest.text));
  EXPECT_EQ(reason_of(record(JsonTape::kDepthMax)), "not JSON");
}

// Whatever is cut, doubled or flipped: the verdict equals that of an independent parser, and what
// is written is one JSON text on one line which holds the producer's members and ours.
TEST(LineWriter, AgreesWithAnIndependentParserOnDamagedTexts) {
  const std::string seeds[] = {
      R"({"user_id":"ann","event_list":[{"itemId":"i-1","sentAt":1700000000.5},{}],"x":null})",
      R"([{"a":true,"b":[[],{}]},{"_source":{"k":"v"}}])", R"({"é\n\"":"\\","_source":-1.5E-7})"};
  Rng rng(7);
  LineWriter writer(true);
  int accepted = 0;
  for (int round = 0; round < 30000; ++round) {
    std::string text = seeds[rng.below(3)];
    for (std::uint64_t n = rng.below(3); n > 0; --n) {
      const std::size_t at = rng.below(text.size());
      switch (rng.below(3)) {
        case 0:
          text.erase(at, 1 + rng.below(3));
          break;
        case 1:
          text.insert(at, 1, "{}[],:\"\\ 0\n\x80"[rng.below(12)]);
          break;
        default:
          text[at] = static_cast<char>(rng.below(256));
          break;
      }
      if (text.empty()) text = " ";
    }
    std::string out;
    std::vector<LineRefusal> refused;
    const std::size_t lines = writer.append(text, {"3", "12345", 5}, out, refused);
    const auto parsed = nlohmann::json::parse(text, nullptr, false);
    const bool whole_refused = refused.size() == 1 && !refused[0].index && lines == 0;
    const bool not_json =
        whole_refused && (refused[0].reason == "not UTF-8" || refused[0].reason == "not JSON");
    EXPECT_FALSE(not_json && !parsed.is_discarded()) << text;
    std::size_t breaks = 0;
    for (std::size_t begin = 0; begin < out.size(); ++breaks) {
      const std::size_t end = out.find('\n', begin);
      ASSERT_NE(end, std::string::npos);
      const auto line = nlohmann::json::parse(out.substr(begin, end - begin), nullptr, false);
      ASSERT_TRUE(line.is_object()) << text << " became " << out;
      EXPECT_EQ(line.at("_source").at("position"), "12345");
      begin = end + 1;
    }
    EXPECT_EQ(breaks, lines);
    if (parsed.is_object() && lines == 1) {
      ++accepted;
      auto back = nlohmann::json::parse(out);
      const auto ours = back.at("_source");
      back.erase("_source");
      if (ours.contains("original")) back["_source"] = ours.at("original");
      EXPECT_EQ(back, parsed) << text;
    }
  }
  EXPECT_GT(accepted, 1000);
}

TEST(LineWriter, AgreesWithTheMessyFeed) {
  namespace fs = std::filesystem;
  const fs::path folder = fs::path(MILLRACE_SOURCE_DIR) / "../shared/data/messy";
  if (!fs::exists(folder)) GTEST_SKIP() << folder << " is not here";
  std::ifstream feed(folder / "feed.ndjson", std::ios::binary);
  std::ifstream expected(folder / "expected.jsonl");
  LineWriter writer(true);
  std::string record, verdict;
  std::size_t checked = 0;
  while (std::getline(expected, verdict)) {
    ASSERT_TRUE(std::getline(feed, record));
    ++checked;
    const auto wanted = nlohmann::json::parse(verdict);
    std::string out;
    std::vector<LineRefusal> refused;
    const std::size_t lines = writer.append(record, {"0", "1", 1}, out, refused);
    // Refused as a whole by the one judge for its bytes means refused here, and nothing else is.
    std::string whole;
    for (const auto& refusal : wanted["refused"])
      if (refusal["event"].is_null()) whole = refusal["reason"];
    if (whole == "not UTF-8" || whole == "not JSON" || whole == "not an object or list") {
      ASSERT_EQ(refused.size(), 1u) << wanted["case"];
      EXPECT_EQ(refused[0].reason, whole) << wanted["case"];
      EXPECT_EQ(lines, 0u);
    } else if (!wanted["interactions"].empty()) {
      EXPECT_GE(lines, 1u) << wanted["case"];
    }
  }
  EXPECT_GT(checked, 5000u);
}

}  // namespace
}  // namespace millrace
