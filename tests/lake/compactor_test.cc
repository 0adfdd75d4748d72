#include "lake/compactor.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "lake/disk_object_store.h"
#include "lake/encoder.h"
#include "lake/manifest.h"
#include "lake/memory_object_store.h"
#include "lake/names.h"
#include "tests/fakes/faulty_object_store.h"
#include "tests/fakes/temporary_folder.h"

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string flat(std::string_view user, std::string_view item, std::int64_t second,
                 std::string_view id = {}) {
  std::string text =
      fmt::format("{{\"user_id\":\"{}\",\"item_id\":\"{}\",\"timestamp\":{}", user, item, second);
  if (!id.empty()) text += fmt::format(",\"event_id\":\"{}\"", id);
  return text + "}";
}

std::string encoded(Compression compression, std::string_view text) {
  std::string out;
  Encoder(compression).encode(text, out);
  return out;
}

class CompactorTest : public testing::Test {
 protected:
  void put(const std::string& key, std::string_view bytes) {
    ASSERT_TRUE(lake_.put(key, bytes, {}));
  }

  [[nodiscard]] CompactRequest request() {
    return {
        .prefix = Prefix::parse("crm/!{timestamp:yyyy/MM/dd/HH}/", Prefix::Role::objects).value(),
        .error_prefix = Prefix::parse("crm/errors/!{error-type}/", Prefix::Role::errors).value(),
        .output_key = "out/x.csv",
        .run_id = fmt::format("20261121T0{:05}Z-0", ++runs_)};
  }

  CompactOutcome run(const CompactRequest& wanted) {
    auto outcome = compact(lake_, output_, state_, wanted);
    EXPECT_TRUE(outcome.has_value()) << outcome.error().message;
    if (!outcome) return {};
    EXPECT_TRUE(outcome->report.adds_up());
    return *outcome;
  }

  std::string csv() {
    const auto object = output_.get("out/x.csv");
    return object ? object->bytes : std::string();
  }

  static std::vector<std::string> lines(const std::string& text) {
    std::vector<std::string> all;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) all.push_back(line);
    return all;
  }

  std::vector<std::string> state_keys_of(const std::string& prefix) {
    std::vector<std::string> keys;
    const ObjectPage page = state_.list(prefix, "", 1000).value();
    for (const ObjectInfo& object : page.objects) keys.push_back(object.key);
    return keys;
  }

  MemoryObjectStore lake_{};
  MemoryObjectStore output_{};
  MemoryObjectStore state_{};
  int runs_ = 0;
};

TEST_F(CompactorTest, MakesOneCsvOfEverythingThatIsThere) {
  put("crm/2026/11/21/08/b.ndjson.gz",
      encoded(Compression::gzip, flat("u2", "i2", 200) + "\n" + flat("u1", "i1", 100) + "\n"));
  put("crm/2026/11/21/07/a.ndjson", flat("u1", "i1", 100) + "\n" + flat("u3", "i,3", 300));
  put("crm/backfill/0a/00000000000000000001-00000000000000000002.ndjson.zst",
      encoded(Compression::zstd, flat("u9", "i9", 1'700'000'000'000) + "\n"));
  put("crm/2026/11/21/09/firehose",
      "{\"user_id\":\"u4\",\"event_list\":[{\"item_id\":\"i4\",\"timestamp\":400},{\"item_id\":"
      "\"i5\",\"timestamp\":401}]}" +
          flat("u5", "i5", 500));
  put("crm/2026/11/21/09/empty", "");
  const CompactOutcome outcome = run(request());
  EXPECT_TRUE(outcome.published);
  EXPECT_THAT(lines(csv()),
              ElementsAre("USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE", "u1,i1,100,interaction",
                          "u3,\"i,3\",300,interaction", "u2,i2,200,interaction",
                          "u4,i4,400,interaction", "u4,i5,401,interaction", "u5,i5,500,interaction",
                          "u9,i9,1700000000,interaction"));
  const CompactReport& report = outcome.report;
  EXPECT_EQ(report.objects, 5u);
  EXPECT_EQ(report.decoded, 8u);
  EXPECT_EQ(report.duplicates, 1u);
  EXPECT_EQ(report.csv_rows, 7u);
  EXPECT_EQ(report.users, 6u);
  EXPECT_EQ(report.users_with_two, 1u);
  EXPECT_EQ(report.items, 6u);
  EXPECT_EQ(report.first_second, 100);
  EXPECT_EQ(report.last_second, 1'700'000'000);
  EXPECT_EQ(report.time_units.millis, 1u);
  EXPECT_EQ(report.csv_bytes, csv().size());
  EXPECT_EQ(report.minimums_missed().size(), 2u);
  const auto json = nlohmann::json::parse(state_.get("reports/" + report.run_id + ".json")->bytes);
  EXPECT_EQ(json["events"]["decoded"], 8);
  EXPECT_TRUE(json["events"]["adds_up"]);
  EXPECT_FALSE(json["personalize_minimums"]["met"]);
}

// Backfilled lines carry our own names; live ones are judged as the forwarder judges them, that is
// by the configured names alone.
TEST_F(CompactorTest, OwnFieldNamesCountInBackfilledObjectsOnly) {
  put("crm/backfill/0a/00000000000000000001-00000000000000000002.ndjson",
      flat("old", "i1", 1) +
          "\n{\"uid\":\"u2\",\"event_list\":[{\"iid\":\"i2\",\"timestamp\":2}]}\n");
  put("crm/2026/11/21/08/a.ndjson",
      flat("live", "i3", 3) + "\n{\"uid\":\"u4\",\"iid\":\"i4\",\"timestamp\":4}\n");
  CompactRequest wanted = request();
  wanted.decode.fields.user_id = {"/uid"};
  wanted.decode.fields.item_id = {"/iid"};
  wanted.decode.format = DecodeOptions::Format::flat;
  const CompactOutcome outcome = run(wanted);
  EXPECT_THAT(lines(csv()), ElementsAre(testing::_, "u4,i4,4,interaction", "old,i1,1,interaction",
                                        "u2,i2,2,interaction"));
  EXPECT_EQ(outcome.report.refused(), 1u);
}

TEST_F(CompactorTest, LeavesOutWhatIsNotOfTheLake) {
  put("crm/2026/11/21/07/a.ndjson", flat("u1", "i1", 100));
  put("crm/errors/processing-failed/x.ndjson", flat("no", "i", 1));
  put("crm/2026/11/21/07/x.dead.ndjson", flat("no", "i", 2));
  put("crm/state/reports/x", flat("no", "i", 3));
  put("crm/out.csv", flat("no", "i", 4));
  put("_millrace/other/x", flat("no", "i", 5));
  put("crn/2026/11/21/07/a", flat("no", "i", 6));
  CompactRequest wanted = request();
  wanted.state_in_lake = "crm/state";
  wanted.output_in_lake = "crm/out.csv";
  run(wanted);
  EXPECT_THAT(lines(csv()), ElementsAre(testing::_, "u1,i1,100,interaction"));
}

TEST_F(CompactorTest, TheFirstOfEachEventStays) {
  put("crm/a", flat("u1", "first", 1, "same") + "\n" + flat("u1", "again", 2, "same") + "\n" +
                   flat("u1", "x", 3) + "\n" + flat("u1", "x", 3));
  put("crm/b", flat("u1", "later", 4, "same"));
  EXPECT_EQ(run(request()).report.duplicates, 3u);
  EXPECT_THAT(lines(csv()),
              ElementsAre(testing::_, "u1,first,1,interaction", "u1,x,3,interaction"));
}

TEST_F(CompactorTest, RefusesByRowAndReasonAndTheBooksAddUp) {
  put("crm/a", flat("u1", "i1", 1) + "\nnot json\n" + flat("", "i", 1) + "\n" +
                   "{\"session_id\":\"s\",\"item_id\":\"i\",\"timestamp\":5}\n\n" +
                   "[{\"user_id\":\"u\"},{\"item_id\":\"i\"}," + flat("u", "i", 9) + "]\n");
  CompactRequest wanted = request();
  const CompactOutcome outcome = run(wanted);
  const CompactReport& report = outcome.report;
  EXPECT_EQ(report.records, 6u);
  EXPECT_EQ(report.blank, 1u);
  EXPECT_EQ(report.decoded, 7u);
  EXPECT_EQ(report.refused(), 4u);
  EXPECT_EQ(report.anonymous, 1u);
  EXPECT_EQ(report.csv_rows, 2u);
  EXPECT_EQ(report.refused_by_reason.at("not JSON"), 1u);

  ASSERT_EQ(report.rejects_url, state_.url_of("rejects/" + wanted.run_id + ".ndjson.gz"));
  auto opened = state_.open("rejects/" + wanted.run_id + ".ndjson.gz").value();
  std::string rejects(10'000, '\0');
  rejects.resize(opened->read(rejects.data(), rejects.size()).value());
  EXPECT_EQ(rejects.substr(0, 2), "\x1f\x8b");
}

TEST_F(CompactorTest, AColumnThatCannotBeFilledIsARejectNotAGuess) {
  put("crm/a", "{\"user_id\":\"u\",\"item_id\":\"i\",\"timestamp\":1,\"event_value\":2.5}\n" +
                   flat("u", "j", 2));
  CompactRequest wanted = request();
  wanted.columns = {{"ITEM_ID"},
                    {"USER_ID"},
                    {"EVENT_VALUE", ColumnType::float32, false},
                    {"TIMESTAMP", ColumnType::int64}};
  const CompactOutcome outcome = run(wanted);
  EXPECT_THAT(lines(csv()), ElementsAre("ITEM_ID,USER_ID,EVENT_VALUE,TIMESTAMP", "i,u,2.5,1"));
  EXPECT_EQ(outcome.report.refused_by_reason.at("column EVENT_VALUE missing"), 1u);
}

TEST_F(CompactorTest, ADamagedObjectGivesWhatItHoldsAndIsReported) {
  std::string text;
  for (int i = 0; i < 2000; ++i) text += flat("u" + std::to_string(i), "i", 1000 + i) + "\n";
  std::string whole = encoded(Compression::gzip, text);
  put("crm/a.gz", whole.substr(0, whole.size() / 2));
  put("crm/b", flat("last", "i", 1));
  put("crm/c.zip", "PK\x03\x04....");
  const CompactOutcome outcome = run(request());
  EXPECT_TRUE(outcome.published);
  ASSERT_EQ(outcome.report.damaged.size(), 2u);
  EXPECT_EQ(outcome.report.damaged[0].key, "crm/a.gz");
  EXPECT_THAT(outcome.report.damaged[0].reason, HasSubstr("cut off"));
  EXPECT_GT(outcome.report.csv_rows, 500u);
  EXPECT_LT(outcome.report.csv_rows, 2001u);
  EXPECT_EQ(lines(csv()).back(), "last,i,1,interaction");
  EXPECT_TRUE(outcome.report.refused_by_reason.empty()) << "half a line is damage, no refusal";
  EXPECT_TRUE(load_manifests(state_)->back().manifest.objects[0].damaged);
}

TEST_F(CompactorTest, APlainObjectCutInHalfIsDamagedAndKeepsItsWholeLines) {
  const std::string line = flat("ann", "i", 1000);
  put("crm/a", line + "\n" + line.substr(0, line.size() / 2));
  put("crm/b", line + "\n" + "no JSON, and nobody's half");
  const CompactOutcome outcome = run(request());
  EXPECT_TRUE(outcome.published);
  ASSERT_EQ(outcome.report.damaged.size(), 1u);
  EXPECT_EQ(outcome.report.damaged[0].key, "crm/a");
  EXPECT_THAT(outcome.report.damaged[0].reason, HasSubstr("line 2"));
  EXPECT_EQ(outcome.report.csv_rows, 1u);
  EXPECT_EQ(outcome.report.refused_by_reason.at("not JSON"), 2u) << "the half's bytes are kept";
}

TEST_F(CompactorTest, MemoryChangesNothingButTheSpeed) {
  std::string text;
  for (int k = 0; k < 30'000; ++k) {
    const int i = k % 20'000;
    text +=
        flat("u" + std::to_string(i * 7919 % 900), "i" + std::to_string(i % 131), i % 97) + "\n";
  }
  put("crm/a", text);
  const CompactOutcome roomy = run(request());
  const std::string expected = csv();
  EXPECT_GT(roomy.report.duplicates, 0u);
  for (const std::size_t memory : {std::size_t{1}, std::size_t{400'000}}) {
    CompactRequest wanted = request();
    wanted.memory_bytes = memory;
    const CompactOutcome tight = run(wanted);
    EXPECT_EQ(csv(), expected);
    EXPECT_EQ(tight.report.duplicates, roomy.report.duplicates);
    EXPECT_EQ(tight.report.users, roomy.report.users);
    EXPECT_EQ(tight.report.users_with_two, roomy.report.users_with_two);
    EXPECT_EQ(tight.report.items, roomy.report.items);
    EXPECT_EQ(tight.report.csv_sha256, roomy.report.csv_sha256);
  }
}

TEST_F(CompactorTest, AWindowIsByEventTimeAndSkipsWhatItRemembers) {
  put("crm/a", flat("u1", "i", 100) + "\n" + flat("u1", "i", 200));
  put("crm/b", flat("u2", "i", 300));
  put("crm/c", flat("u3", "i", 250) + "\n" + flat("u3", "i", 400));
  run(request());
  CompactRequest wanted = request();
  wanted.from = 250;
  wanted.to = 400;
  const CompactOutcome outcome = run(wanted);
  EXPECT_THAT(lines(csv()),
              ElementsAre(testing::_, "u2,i,300,interaction", "u3,i,250,interaction"));
  EXPECT_EQ(outcome.report.objects_skipped, 1u);
  EXPECT_EQ(outcome.report.outside_window, 1u);
  // Another mapping may see other times: nothing remembered is good for it.
  CompactRequest mapped = request();
  mapped.from = 250;
  mapped.decode.default_event_type = "view";
  EXPECT_EQ(run(mapped).report.objects_skipped, 0u);
}

TEST_F(CompactorTest, IncrementalTakesWhatNoPublishedRunTook) {
  put("crm/a", flat("u1", "i", 100));
  run(request());
  CompactRequest wanted = request();
  wanted.incremental = true;
  const CompactOutcome nothing = run(wanted);
  EXPECT_FALSE(nothing.published);
  EXPECT_THAT(nothing.why_not, HasSubstr("stays as it is"));
  EXPECT_EQ(lines(csv()).size(), 2u);

  put("crm/b", flat("u2", "i", 200) + "\n" + flat("u1", "i", 100));
  wanted = request();
  wanted.incremental = true;
  const CompactOutcome outcome = run(wanted);
  EXPECT_THAT(lines(csv()),
              ElementsAre(testing::_, "u2,i,200,interaction", "u1,i,100,interaction"));
  ASSERT_EQ(outcome.report.notes.size(), 1u);
  EXPECT_THAT(outcome.report.notes[0], HasSubstr("duplicates"));
  // An object that was replaced is new; one that a window took a part of stays new.
  put("crm/a", flat("u7", "i", 700) + "\n" + flat("u7", "i", 900));
  wanted = request();
  wanted.from = 900;
  run(wanted);
  wanted = request();
  wanted.incremental = true;
  EXPECT_EQ(run(wanted).report.objects, 1u);
  EXPECT_EQ(lines(csv()).size(), 3u);
}

TEST_F(CompactorTest, NothingToDoIsSaidClearlyAndTheCsvStays) {
  const auto empty = compact(lake_, output_, state_, request());
  ASSERT_FALSE(empty.has_value());
  EXPECT_EQ(empty.error().kind, ErrorKind::refused);
  EXPECT_THAT(empty.error().message, HasSubstr("no object under memory:///crm/"));

  put("crm/a", flat("u1", "i", 100));
  run(request());
  put("crm/a", "nonsense\n");
  const CompactOutcome outcome = run(request());
  EXPECT_FALSE(outcome.published);
  EXPECT_THAT(outcome.why_not, HasSubstr("no event became a row"));
  EXPECT_FALSE(outcome.report_url.empty());
  EXPECT_EQ(lines(csv()).size(), 2u);
}

TEST_F(CompactorTest, KeepsThePreviousCsvsUpToANumber) {
  for (int i = 0; i < 5; ++i) {
    put("crm/a", flat("u1", "i", 100 + i));
    CompactRequest wanted = request();
    wanted.keep = 2;
    wanted.reports_keep = 3;
    run(wanted);
  }
  const auto previous = state_keys_of("previous/");
  ASSERT_EQ(previous.size(), 2u);
  EXPECT_THAT(state_.get(previous[1])->bytes, HasSubstr("u1,i,103,"));
  EXPECT_THAT(state_.get(previous[0])->bytes, HasSubstr("u1,i,102,"));
  EXPECT_EQ(state_keys_of("reports/").size(), 3u);
  EXPECT_EQ(state_keys_of("manifests/").size(), 1u);
}

TEST_F(CompactorTest, CanBeInterruptedWithoutATrace) {
  put("crm/a", flat("u1", "i", 100));
  CompactRequest wanted = request();
  wanted.progress = [](const CompactProgress&) { return false; };
  const auto outcome = compact(lake_, output_, state_, wanted);
  ASSERT_FALSE(outcome.has_value());
  EXPECT_EQ(outcome.error().code, "interrupted");
  EXPECT_EQ(csv(), "");
  EXPECT_TRUE(state_keys_of("manifests/").empty());
}

// The process dies at every single call of every store, done or not; the next run must find the old
// CSV or the new one, never a mix, and put the books right.
TEST_F(CompactorTest, ADeathAtAnyCallLeavesTheOldCsvOrTheNewOne) {
  put("crm/a", flat("u1", "i", 100) + "\nnonsense\n");
  const CompactRequest first = request();
  const CompactRequest second = request();
  const CompactRequest third = request();
  std::set<std::string> seen;
  for (const int which : {0, 1, 2}) {
    for (const bool done : {false, true}) {
      bool finished = false;
      for (std::uint64_t at = 0; !finished; ++at) {
        ASSERT_LT(at, 200u);
        MemoryObjectStore output;
        MemoryObjectStore state;
        ASSERT_TRUE(lake_.put("crm/b", flat("u2", "i", 200), {}));
        ASSERT_TRUE(compact(lake_, output, state, first)->published);
        const std::string old_csv = output.get("out/x.csv")->bytes;
        ASSERT_TRUE(lake_.put("crm/b", flat("u3", "i", 300), {}));

        // A process has one life: its stores die together.
        bool dead = false;
        const auto dies = [&](int store) {
          return [&dead, store, which, at, done](const FaultyObjectStore::Call& call) {
            if (dead) return FaultyObjectStore::Fault::before;
            if (store != which || call.number != at) return FaultyObjectStore::Fault::none;
            dead = true;
            return done ? FaultyObjectStore::Fault::lost_reply : FaultyObjectStore::Fault::before;
          };
        };
        FaultyObjectStore lake(lake_, dies(0));
        FaultyObjectStore dying_output(output, dies(1));
        FaultyObjectStore dying_state(state, dies(2));
        const auto outcome = compact(lake, dying_output, dying_state, second);
        finished = !dead;
        EXPECT_EQ(outcome.has_value(), !dead) << which << " " << at;

        const std::string csv_now = output.get("out/x.csv")->bytes;
        const bool is_new = csv_now != old_csv;
        EXPECT_EQ(csv_now.find("u3") != std::string::npos, is_new);
        seen.insert(csv_now);
        const auto recovered = recover_publication(output, "out/x.csv", state);
        ASSERT_TRUE(recovered.has_value()) << recovered.error().message;
        const auto manifests = load_manifests(state).value();
        bool lists_new = false;
        for (const StoredManifest& stored : manifests) {
          EXPECT_NE(stored.manifest.state, Manifest::State::prepared);
          lists_new |= stored.manifest.run_id == second.run_id &&
                       stored.manifest.state == Manifest::State::published;
        }
        EXPECT_EQ(lists_new, is_new) << "store " << which << " call " << at << " done " << done;

        const auto last = compact(lake_, output, state, third);
        ASSERT_TRUE(last.has_value()) << last.error().message;
        EXPECT_TRUE(last->published);
        EXPECT_EQ(output.get("out/x.csv")->bytes.find("u2"), std::string::npos);
      }
    }
  }
  EXPECT_EQ(seen.size(), 2u) << "both outcomes must have been met";
}

TEST_F(CompactorTest, TwoRunsAtATimeDoNotMixTheirBooks) {
  put("crm/a", flat("u1", "i", 100));
  FaultyObjectStore output(output_);
  const CompactRequest one = request();
  CompactRequest other = request();
  // The other run comes between the first one's `prepared` and its CSV.
  output.decide([&](const FaultyObjectStore::Call& call) {
    if (call.what == "publish") {
      EXPECT_TRUE(recover_publication(output_, "out/x.csv", state_).has_value());
    }
    return FaultyObjectStore::Fault::none;
  });
  const auto outcome = compact(lake_, output, state_, one);
  ASSERT_FALSE(outcome.has_value());
  EXPECT_EQ(outcome.error().kind, ErrorKind::conflict);
}

TEST(Compactor, WorksOnADisk) {
  const TemporaryFolder folder;
  DiskObjectStore lake((folder.path() / "lake").string());
  DiskObjectStore output((folder.path() / "out").string());
  DiskObjectStore state((folder.path() / "lake/_millrace/x").string());
  ASSERT_TRUE(lake.put("2026/11/21/07/a", flat("u", "i", 1), PutIf::absent()));
  const CompactRequest wanted{
      .prefix = Prefix::parse("", Prefix::Role::objects).value(),
      .error_prefix = Prefix::parse("errors/", Prefix::Role::errors).value(),
      .state_in_lake = "_millrace/x/",
      .output_key = "x.csv",
      .run_id = "20261121T000000Z-1"};
  const auto outcome = compact(lake, output, state, wanted);
  ASSERT_TRUE(outcome.has_value()) << outcome.error().message;
  EXPECT_TRUE(outcome->published);
  std::size_t beside = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path() / "out")) {
    EXPECT_EQ(entry.path().filename(), "x.csv");
    ++beside;
  }
  EXPECT_EQ(beside, 1u);
}

TEST(Manifest, ReadsWhatItWritesAndTellsDamage) {
  const Manifest manifest{.run_id = "r",
                          .state = Manifest::State::published,
                          .incremental = true,
                          .mapping = "m",
                          .csv_url = "file:///x",
                          .csv_sha256 = "ab",
                          .csv_bytes = 5,
                          .csv_rows = 1,
                          .objects = {{"k", "e", 3, 10, 20, true}, {"l", "f", 0, {}, {}, false}}};
  EXPECT_EQ(Manifest::parse(manifest.to_json(), "x").value(), manifest);
  for (const char* bad : {"", "{}", "[]", "{\"format\":2}", "nonsense"}) {
    const auto parsed = Manifest::parse(bad, "file:///m");
    ASSERT_FALSE(parsed.has_value());
    EXPECT_EQ(parsed.error().kind, ErrorKind::corrupt);
    EXPECT_THAT(parsed.error().message, HasSubstr("file:///m"));
  }
}

TEST(CompactReport, NamesEachMinimumThatIsMissed) {
  CompactReport report;
  report.csv_rows = 1000;
  report.users = 2500;
  report.users_with_two = 25;
  EXPECT_TRUE(report.minimums_missed().empty());
  report.csv_rows = 999;
  report.users = 2501;
  report.users_with_two = 24;
  EXPECT_EQ(report.minimums_missed().size(), 3u);
}

// A feed with the expected verdict of each line (its README has the rules).
TEST_F(CompactorTest, JudgesTheMessyFeedAsExpected) {
  const std::filesystem::path folder =
      std::filesystem::path(MILLRACE_SOURCE_DIR) / "../shared/data/messy";
  std::ifstream feed(folder / "feed.ndjson", std::ios::binary);
  if (!feed) GTEST_SKIP() << "no feed at " << folder;
  std::stringstream text;
  text << feed.rdbuf();
  put("crm/feed", text.str());
  std::ifstream in(folder / "summary.json");
  const auto summary = nlohmann::json::parse(in);
  CompactRequest wanted = request();
  EventFields& fields = wanted.decode.fields;
  fields.user_id = {"/user_id", "/userId"};
  fields.item_id = {"/item_id", "/itemId", "/properties/item_id", "/properties/itemId"};
  fields.timestamp = {"/timestamp", "/sent_at", "/sentAt", "/event_time"};
  fields.event_type = {"/event_type", "/eventType"};
  fields.event_id = {"/event_id", "/eventId"};
  fields.session_id = {"/session_id", "/sessionId"};
  const CompactOutcome outcome = run(wanted);
  EXPECT_EQ(outcome.report.csv_rows, summary["distinct_interactions"]) << summary.dump();
}

}  // namespace
}  // namespace millrace
