// The adversarial feed of the development data: every line's verdict, in words.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "events/decode_event.h"
#include "tests/events/shared_data.h"

namespace millrace {
namespace {

using Json = nlohmann::json;

DecodeOptions feed_options() {
  DecodeOptions options;
  options.fields.item_id = {"/item_id", "/itemId", "/properties/item_id", "/properties/itemId"};
  options.fields.timestamp = {"/timestamp", "/sent_at", "/sentAt", "/event_time"};
  options.fields.event_type = {"/event_type", "/eventType"};
  options.fields.event_id = {"/event_id", "/eventId"};
  return options;
}

struct Verdict {
  Json interactions = Json::array();
  Json anonymous = Json::array();
  Json refused = Json::array();
};

Verdict verdict_of(const DecodedRecord& record) {
  Verdict verdict;
  for (const Event& event : record.events) {
    Json row{{"user", event.anonymous() ? event.session_id : event.user_id},
             {"item", event.item_id},
             {"timestamp", event.timestamp},
             {"event_type", event.event_type}};
    if (event.event_id_given) row["event_id"] = event.event_id;
    (event.anonymous() ? verdict.anonymous : verdict.interactions).push_back(std::move(row));
  }
  for (const Refusal& refusal : record.refused) {
    verdict.refused.push_back(
        {{"event", refusal.index ? Json(*refusal.index) : Json()}, {"reason", refusal.reason}});
  }
  return verdict;
}

void expect_verdicts(const DecodeOptions& options, std::string_view except_case) {
  const std::string feed = read_file(shared_data_path("messy/feed.ndjson"));
  std::istringstream expected(read_file(shared_data_path("messy/expected.jsonl")));
  EventDecoder decoder(options);
  DecodedRecord record;
  std::size_t lines = 0;
  std::set<std::string> distinct;
  for (std::string text; std::getline(expected, text); ++lines) {
    const Json want = Json::parse(text);
    if (want["case"] == except_case) continue;
    const std::string_view line =
        std::string_view(feed).substr(want["offset"], want["bytes"].get<std::size_t>());
    decoder.decode(line, -1, record);
    const Verdict got = verdict_of(record);
    const auto wanted = [&](const char* key) { return want.value(key, Json::array()); };
    ASSERT_EQ(got.interactions, wanted("interactions")) << "line " << lines + 1;
    ASSERT_EQ(got.anonymous, wanted("anonymous")) << "line " << lines + 1;
    ASSERT_EQ(got.refused, wanted("refused")) << "line " << lines + 1;
    for (const Event& event : record.events) {
      if (!event.anonymous()) distinct.insert(event.event_id);
    }
  }
  EXPECT_EQ(lines, 5021U);
  if (!except_case.empty()) return;
  const Json summary = Json::parse(read_file(shared_data_path("messy/summary.json")));
  EXPECT_EQ(distinct.size(), summary["distinct_interactions"].get<std::size_t>());
}

TEST(Feed, EveryLineIsJudgedAsExpected) {
  SKIP_WITHOUT_SHARED_DATA();
  expect_verdicts(feed_options(), "");
}

TEST(Feed, OurOwnPointersJudgeItTheSame) {
  SKIP_WITHOUT_SHARED_DATA();
  // Where a line has both spellings of a name, our order of pointers is another one.
  expect_verdicts(DecodeOptions{}, "both_names");
}

}  // namespace
}  // namespace millrace
