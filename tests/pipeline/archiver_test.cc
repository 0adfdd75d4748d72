#include "pipeline/archiver.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "lake/memory_object_store.h"
#include "pipeline/create_once.h"
#include "tests/fakes/fake_source.h"
#include "tests/fakes/faulty_object_store.h"
#include "tests/fakes/manual_loop.h"

namespace millrace {
namespace {

constexpr std::int64_t kArrived = 1'700'000'000'000;  // 2023-11-14T22:13:20Z
constexpr std::int64_t kHour = 3'600'000;

class ArchiverTest : public testing::Test {
 protected:
  ArchiverTest() {
    lake.prefix = "lake/!{timestamp:yyyy/MM/dd/HH/}";
    lake.error_prefix = "errors/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd/HH/}";
    lake.compression = Compression::none;
    lake.buffer_interval = std::chrono::seconds(60);
  }

  /// A new process: what the old one knew is gone.
  void start(std::vector<std::string> partitions = {"0"}) {
    archiver.reset();
    loop = std::make_unique<ManualLoop>();
    source = std::make_unique<FakeSource>(*loop, log);
    ended.reset();
    auto made = Archiver::make(*loop, *source, store, lake, decoding, options, rng, quiet, metrics);
    ASSERT_TRUE(made) << made.error().message;
    archiver = std::move(*made);
    archiver->start([this](Status status) { ended = std::move(status); });
    for (const std::string& partition : partitions) source->assign(partition);
  }
  void append(int count, const std::string& partition = "0", std::int64_t arrived = kArrived) {
    for (int i = 0; i < count; ++i) {
      log.append(partition, fmt::format("{{\"n\":{}}}", ++appended), arrived);
    }
  }
  bool runs_until_committed(std::int64_t offset, const std::string& partition = "0") {
    return loop->run_until([&] {
      return log.committed(partition) >= offset &&
             log.note(partition).find(" c=") == std::string::npos;
    });
  }
  std::vector<std::string> keys(const std::string& head = "") {
    std::vector<std::string> found;
    const auto page = memory.list(head, "", 1000);
    for (const ObjectInfo& object : page->objects) found.push_back(object.key);
    return found;
  }
  std::string content(const std::string& key) { return memory.get(key)->bytes; }
  std::int64_t flushes(const std::string& reason) {
    return metrics.value("millrace_lake_flushes_total", {{"reason", reason}});
  }
  ArchiverStatus::Partition line() { return archiver->status().partitions.at(0); }
  CutNote note() { return parse_cut_note(log.note("0")).value(); }
  std::string refusal() {
    EXPECT_TRUE(loop->run_until([&] { return ended.has_value(); }));
    if (!ended || *ended) return "none";
    EXPECT_EQ(ended->error().kind, ErrorKind::refused);
    return ended->error().message;
  }

  FakeLog log;
  MemoryObjectStore memory;
  FaultyObjectStore store{memory};
  LakeOptions lake;
  DecodeOptions decoding;
  PipelineOptions options;
  Rng rng{7};
  Log quiet;
  Metrics metrics;
  std::unique_ptr<ManualLoop> loop;
  std::unique_ptr<FakeSource> source;
  std::unique_ptr<Archiver> archiver;
  std::optional<Status> ended;
  int appended = 0;
};

TEST_F(ArchiverTest, CommitsAnchorIntentAndPositionAroundTheObject) {
  std::vector<std::string> notes_at_put;
  store.decide([&](const FaultyObjectStore::Call& call) {
    if (call.what == "put") notes_at_put.push_back(log.note("0"));
    return FaultyObjectStore::Fault::none;
  });
  append(3);
  start();
  ASSERT_TRUE(runs_until_committed(3));
  const auto& commits = log.partitions.at(PartitionId{"0"}).commits;
  ASSERT_EQ(commits.size(), 3u);
  EXPECT_EQ(commits[0].position.text(), "0");
  EXPECT_EQ(commits[1].position.text(), "0");
  EXPECT_EQ(commits[2].position.text(), "3");
  const CutNote anchor = parse_cut_note(commits[0].note).value();
  EXPECT_FALSE(anchor.intent);
  EXPECT_EQ(parse_cut_note(commits[1].note).value().intent.value().end.text(), "3");
  EXPECT_EQ(notes_at_put, std::vector<std::string>{commits[1].note});
  const CutNote last = parse_cut_note(commits[2].note).value();
  EXPECT_EQ(last.incarnation, anchor.incarnation);
  EXPECT_EQ(last.objects, 1u);
  EXPECT_EQ(last.books, (RecordBooks{.read = 3, .stored = 3, .dead_lettered = 0, .empty = 0}));
  const std::string key = "lake/2023/11/14/22/events-" + incarnation_text(anchor.incarnation) +
                          "-0-00000000000000000000-00000000000000000003-2023111422.ndjson";
  EXPECT_EQ(keys(), std::vector<std::string>{key});
  EXPECT_EQ(
      content(key),
      "{\"n\":1,\"_source\":{\"partition\":\"0\",\"position\":\"0\",\"arrived\":1700000000000}}\n"
      "{\"n\":2,\"_source\":{\"partition\":\"0\",\"position\":\"1\",\"arrived\":1700000000000}}\n"
      "{\"n\":3,\"_source\":{\"partition\":\"0\",\"position\":\"2\",\"arrived\":1700000000000}}\n");
}

TEST_F(ArchiverTest, AgeClosesABufferWithoutFurtherTraffic) {
  append(1);
  start();
  loop->advance(59s);
  EXPECT_TRUE(keys().empty());
  loop->advance(2s);
  EXPECT_EQ(keys().size(), 1u);
  EXPECT_EQ(flushes("age"), 1);
  EXPECT_EQ(line().last_cut.value().reason, FlushReason::age);
}

TEST_F(ArchiverTest, SizeClosesABufferBeforeItsTime) {
  lake.buffer_bytes = 500;
  append(20);
  start();
  loop->advance(1s);
  EXPECT_GE(keys().size(), 2u);
  EXPECT_EQ(flushes("age"), 0);
  for (const std::string& key : keys()) EXPECT_GE(content(key).size(), 500u);
}

TEST_F(ArchiverTest, OneCutTakesAllOpenHoursAndOneHourTooManyForcesIt) {
  options.open_hours_max = 3;
  for (int hour = 0; hour < 4; ++hour) append(1, "0", kArrived + hour * kHour);
  append(1, "0", -1);
  start();
  loop->advance(1s);
  EXPECT_EQ(log.committed("0"), 3);
  EXPECT_EQ(keys().size(), 3u);
  EXPECT_EQ(flushes("hours"), 1);
  ASSERT_TRUE(runs_until_committed(5));
  EXPECT_EQ(keys("lake/1970/01/01/00/").size(), 1u);  // no time: hour 0
}

TEST_F(ArchiverTest, TheTwentyFifthOpenHourForcesACut) {
  for (int hour = 0; hour < 24; ++hour) append(1, "0", kArrived + hour * kHour);
  start();
  loop->advance(1s);
  EXPECT_EQ(keys().size(), 0u);
  append(1, "0", kArrived + 24 * kHour);
  loop->advance(1s);
  EXPECT_EQ(log.committed("0"), 24);
  EXPECT_EQ(keys().size(), 24u);
  EXPECT_EQ(flushes("hours"), 1);
}

TEST_F(ArchiverTest, PoisonIsDeadLetteredInsideItsCutAndBooksAddUp) {
  append(1);
  log.append("0", "not JSON", kArrived);
  log.append("0", "[{},5]", kArrived);
  log.append_tombstone("0");
  log.append("0", "  ", kArrived);
  start();
  ASSERT_TRUE(runs_until_committed(5));
  EXPECT_EQ(note().books, (RecordBooks{.read = 5, .stored = 2, .dead_lettered = 1, .empty = 2}));
  const auto dead = keys("errors/processing-failed/2023/11/14/22/");
  ASSERT_EQ(dead.size(), 1u);
  const std::string text = content(dead[0]);
  const auto first = nlohmann::json::parse(text.substr(0, text.find('\n')));
  EXPECT_EQ(first.at("rawData"), "bm90IEpTT04=");
  EXPECT_EQ(first.at("errorMessage"), "not JSON");
  EXPECT_EQ(first.at("position"), "1");
  EXPECT_EQ(first.at("pipeline"), "lake");
  const auto second = nlohmann::json::parse(text.substr(text.find('\n') + 1));
  EXPECT_EQ(second.at("index"), 1);
  EXPECT_EQ(metrics.value("millrace_lake_records_total", {{"outcome", "dead_lettered"}}), 1);
}

TEST_F(ArchiverTest, OnlyEmptyRecordsMoveThePositionWithoutAnObject) {
  log.append_tombstone("0");
  start();
  ASSERT_TRUE(runs_until_committed(1));
  EXPECT_TRUE(keys().empty());
}

TEST_F(ArchiverTest, FinishesACutWithItsOwnBoundsAndLayout) {
  append(6);
  start();
  // The process dies when the intent is durable and the object is not.
  ASSERT_TRUE(loop->run_until(
      [&] { return log.committed("0") == 0 && log.note("0").find(" c=6 ") != std::string::npos; }));
  EXPECT_TRUE(keys().empty());
  append(4);
  lake.prefix = "elsewhere/";
  lake.compression = Compression::gzip;
  lake.buffer_bytes = 10;  // would cut after each record
  start();
  loop->advance(10s);
  const auto first = keys("lake/");
  ASSERT_EQ(first.size(), 1u);
  EXPECT_NE(first[0].find("-00000000000000000000-00000000000000000006-"), std::string::npos);
  EXPECT_EQ(first[0].substr(first[0].size() - 7), ".ndjson");
  ASSERT_TRUE(runs_until_committed(10));
  EXPECT_EQ(keys("elsewhere/").size(), 4u);
  EXPECT_EQ(note().books.read, 10u);
  EXPECT_EQ(note().objects, 5u);
  EXPECT_EQ(flushes("replay"), 1);
}

TEST_F(ArchiverTest, RefusesALogWithoutPositionWhoseObjectsAreInTheLake) {
  append(3);
  start();
  ASSERT_TRUE(runs_until_committed(3));
  append(2);
  log.partitions.at(PartitionId{"0"}).committed.reset();
  start();
  EXPECT_NE(refusal().find("up to position 3"), std::string::npos);
  EXPECT_EQ(log.committed("0"), -1);

  options.adopt = Adopt::position;
  start();
  ASSERT_TRUE(runs_until_committed(5));
  EXPECT_EQ(keys().size(), 2u);
  EXPECT_EQ(note().books.read, 2u);

  log.partitions.at(PartitionId{"0"}).committed.reset();
  options.adopt = Adopt::start;
  start();
  ASSERT_TRUE(runs_until_committed(5));
  EXPECT_EQ(note().books.read, 5u);
}

// Prefixes are concatenated plainly: without a slash at its end the template is a part of the name.
TEST_F(ArchiverTest, FindsObjectsWhoseNamesAreGluedToThePrefix) {
  for (const std::string prefix :
       {"lake-", "lake/!{timestamp:yyyy/MM/dd/HH}", "my-!{timestamp:yyyy}-"}) {
    lake.prefix = prefix;
    lake.error_prefix = "errors/!{firehose:error-output-type}-!{timestamp:HH}";
    for (const std::string record : {"{}", "poison"}) {
      log = FakeLog{};
      for (const std::string& key : keys()) ASSERT_TRUE(memory.remove(key));
      log.append("0", record, kArrived);
      start();
      ASSERT_TRUE(runs_until_committed(1));
      ASSERT_EQ(keys().size(), 1u);
      log.partitions.at(PartitionId{"0"}).committed.reset();
      start();
      EXPECT_NE(refusal().find("up to position 1"), std::string::npos) << keys().front();
    }
    // Another log's objects under the same prefix are not ours.
    const std::string others = keys().front();
    ASSERT_TRUE(memory.remove(others));
    ASSERT_TRUE(
        memory.put(std::string(others).replace(others.find("events-"), 6, "extras"), "x", {}));
    start();
    EXPECT_TRUE(runs_until_committed(1)) << others;
  }
}

// Results of work begun in an older tenure are dropped, also when the partition is ours again.
TEST_F(ArchiverTest, AnAnswerToAnOlderTenureDoesNotReachTheNewOne) {
  append(1);
  start();
  source->set_commit_delay(10s);
  loop->advance(1s);  // the anchor is on its way
  source->lose("0");
  source->assign("0");
  loop->advance(5min);  // its conflict comes back to a partition that is ours again
  EXPECT_EQ(log.committed("0"), 1);
  EXPECT_EQ(keys().size(), 1u);
}

TEST_F(ArchiverTest, FindsThePoisonOfALogThatHeldNothingElse) {
  log.append("0", "poison", kArrived);
  start();
  ASSERT_TRUE(runs_until_committed(1));
  log.partitions.at(PartitionId{"0"}).committed.reset();
  start();
  EXPECT_NE(refusal().find("up to position 1"), std::string::npos);
}

TEST_F(ArchiverTest, RefusesAPositionThatAnotherProgramCommitted) {
  append(3);
  log.partitions.at(PartitionId{"0"}).committed = Committed{{Offset::of(2)}, ""};
  start();
  EXPECT_NE(refusal().find("another program"), std::string::npos);
  EXPECT_TRUE(keys().empty());
  options.adopt = Adopt::position;
  start();
  ASSERT_TRUE(runs_until_committed(3));
  EXPECT_EQ(note().books.read, 1u);
}

TEST_F(ArchiverTest, RefusesToFinishACutByEventTimeWithOtherPointers) {
  lake.partition_by = PartitionBy::event;
  log.append("0", R"({"user_id":"u","item_id":"i","timestamp":1600000000})", kArrived);
  log.append("0", R"({"user_id":"u"})", kArrived);
  start();
  ASSERT_TRUE(loop->run_until(
      [&] { return log.committed("0") == 0 && log.note("0").find(" c=2 ") != std::string::npos; }));
  decoding.fields.timestamp = {"/other"};
  start();
  EXPECT_NE(refusal().find("`events:`"), std::string::npos);
  decoding = DecodeOptions{};
  start();
  ASSERT_TRUE(runs_until_committed(2));
  EXPECT_EQ(keys("lake/2020/09/13/12/").size(), 1u);
  EXPECT_EQ(keys("lake/2023/11/14/22/").size(), 1u);
}

TEST_F(ArchiverTest, ALostReplyIsNoSecondObject) {
  int puts = 0;
  store.decide([&](const FaultyObjectStore::Call& call) {
    return call.what == "put" && ++puts == 1 ? FaultyObjectStore::Fault::lost_reply
                                             : FaultyObjectStore::Fault::none;
  });
  append(2);
  start();
  ASSERT_TRUE(runs_until_committed(2));
  EXPECT_EQ(puts, 2);
  EXPECT_EQ(keys().size(), 1u);
}

TEST_F(ArchiverTest, AnObjectOfOtherContentStopsThePartitionAndSaysSo) {
  append(2);
  start();
  ASSERT_TRUE(loop->run_until([&] { return log.committed("0") == 0; }));
  const std::string key = "lake/2023/11/14/22/events-" + incarnation_text(note().incarnation) +
                          "-0-00000000000000000000-00000000000000000002-2023111422.ndjson";
  ASSERT_TRUE(memory.put(key, "{\"stranger\":1}\n", PutIf::absent()));
  loop->advance(300s);
  EXPECT_EQ(log.committed("0"), 0);
  EXPECT_NE(line().waiting.find("other content"), std::string::npos);
  EXPECT_EQ(content(key), "{\"stranger\":1}\n");
  ASSERT_TRUE(memory.remove(key));
  ASSERT_TRUE(runs_until_committed(2));
  EXPECT_EQ(line().waiting, "");
}

TEST_F(ArchiverTest, AMissingPermissionIsTriedAgainSlowly) {
  store.error = {ErrorKind::denied, "s3:PutObject is not allowed", "AccessDenied", std::nullopt};
  std::uint64_t puts = 0;
  store.decide([&](const FaultyObjectStore::Call& call) {
    if (call.what != "put") return FaultyObjectStore::Fault::none;
    ++puts;
    return FaultyObjectStore::Fault::before;
  });
  append(1);
  start();
  loop->advance(60s + 10min);
  EXPECT_GE(puts, 15u);
  EXPECT_LE(puts, 22u);
  EXPECT_NE(line().waiting.find("s3:PutObject"), std::string::npos);
  EXPECT_EQ(log.committed("0"), 0);
}

TEST_F(ArchiverTest, AStoreThatIsDownBoundsMemoryAndRecovers) {
  bool down = true;
  store.decide([&](const FaultyObjectStore::Call& call) {
    return down && call.what == "put" ? FaultyObjectStore::Fault::before
                                      : FaultyObjectStore::Fault::none;
  });
  options.memory_bytes = 200'000;
  options.poll_records_max = 20;
  lake.buffer_bytes = 20'000;
  for (const std::string partition : {"0", "1"}) {
    for (int i = 0; i < 1000; ++i) {
      log.append(partition, fmt::format("{{\"pad\":\"{}\"}}", std::string(1000, 'x')), kArrived);
    }
  }
  start({"0", "1"});
  std::size_t largest = 0;
  for (int i = 0; i < 1000; ++i) {
    loop->advance(100ms);
    largest = std::max(largest, archiver->status().bytes_held);
  }
  EXPECT_LT(largest, options.memory_bytes + 100'000);
  EXPECT_EQ(log.committed("0"), 0);
  down = false;
  ASSERT_TRUE(runs_until_committed(1000, "0"));
  ASSERT_TRUE(runs_until_committed(1000, "1"));
  std::size_t lines = 0;
  for (const std::string& key : keys()) {
    const std::string text = content(key);
    lines += static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
  }
  EXPECT_EQ(lines, 2000u);
}

TEST_F(ArchiverTest, TightMemoryCutsTheLargestFirst) {
  options.memory_bytes = 400'000;
  append(1, "1");
  for (int i = 0; i < 310; ++i) {
    log.append("0", fmt::format("{{\"pad\":\"{}\"}}", std::string(1000, 'x')), kArrived);
  }
  start({"0", "1"});
  loop->advance(10s);
  EXPECT_GE(flushes("memory"), 1);
  EXPECT_GT(log.committed("0"), 0);
  EXPECT_EQ(log.committed("1"), 0);
}

TEST_F(ArchiverTest, AStolenPartitionIsDroppedWithoutAnObject) {
  append(2);
  start();
  loop->advance(10s);
  source->steal("0");
  loop->advance(120s);
  EXPECT_TRUE(keys().empty());
  EXPECT_TRUE(archiver->status().partitions.empty());
}

TEST_F(ArchiverTest, ALostPartitionIsDroppedInTheMiddleOfItsCut) {
  append(2);
  start();
  ASSERT_TRUE(loop->run_until([&] { return log.committed("0") == 0; }));
  loop->advance(59s);
  ASSERT_TRUE(loop->run_until([&] { return log.note("0").find(" c=") != std::string::npos; }));
  source->lose("0");
  loop->advance(60s);
  EXPECT_EQ(log.committed("0"), 0);
  start();
  ASSERT_TRUE(runs_until_committed(2));
  EXPECT_EQ(keys().size(), 1u);
}

TEST_F(ArchiverTest, ARevokedPartitionIsCutCommittedAndReleased) {
  append(2);
  start();
  loop->advance(1s);
  source->revoke("0");
  ASSERT_TRUE(loop->run_until([&] { return !source->owns("0"); }, 1s));
  EXPECT_EQ(log.committed("0"), 2);
  EXPECT_EQ(flushes("revoke"), 1);
}

TEST_F(ArchiverTest, StopDrainsAndEnds) {
  append(2);
  start();
  loop->advance(1s);
  archiver->stop();
  ASSERT_TRUE(loop->run_until([&] { return ended.has_value(); }, 1s));
  EXPECT_TRUE(*ended);
  EXPECT_EQ(log.committed("0"), 2);
  EXPECT_EQ(flushes("stop"), 1);
}

TEST_F(ArchiverTest, StopEndsAtItsDeadlineAlthoughTheStoreIsDown) {
  store.decide([](const FaultyObjectStore::Call& call) {
    return call.what == "put" ? FaultyObjectStore::Fault::before : FaultyObjectStore::Fault::none;
  });
  append(2);
  start();
  loop->advance(1s);
  archiver->stop();
  EXPECT_FALSE(loop->run_until([&] { return ended.has_value(); }, 24s));
  EXPECT_TRUE(loop->run_until([&] { return ended.has_value(); }, 2s));
  EXPECT_TRUE(*ended);
  EXPECT_EQ(log.committed("0"), 0);
  store.decide({});
  start();
  ASSERT_TRUE(runs_until_committed(2));
  EXPECT_EQ(keys().size(), 1u);
}

TEST_F(ArchiverTest, UntilEndCutsAtTheEndAndFinishes) {
  options.until_end = true;
  append(5);
  start();
  ASSERT_TRUE(loop->run_until([&] { return ended.has_value(); }, 5s));
  EXPECT_TRUE(*ended);
  EXPECT_EQ(log.committed("0"), 5);
}

TEST_F(ArchiverTest, AStuckPartitionIsNamedAndTheOthersGoOn) {
  append(2, "0");
  append(2, "1");
  start({"0", "1"});
  loop->advance(1s);
  source->stick("0", {ErrorKind::corrupt, "a damaged batch at offset 7", {}, std::nullopt});
  ASSERT_TRUE(runs_until_committed(2, "1"));
  EXPECT_EQ(line().doing, "stuck");
  EXPECT_EQ(line().waiting, "a damaged batch at offset 7");
  EXPECT_FALSE(ended.has_value());
  source->stick("0", {ErrorKind::refused, "out of range", {}, std::nullopt});
  EXPECT_NE(refusal().find("out of range"), std::string::npos);
}

TEST_F(ArchiverTest, TheSourcesFinalErrorEndsIt) {
  start();
  source->fail_poll({ErrorKind::denied, "no such topic", {}, std::nullopt});
  ASSERT_TRUE(loop->run_until([&] { return ended.has_value(); }, 1s));
  EXPECT_EQ(ended->error().message, "no such topic");
}

TEST_F(ArchiverTest, OptionsThatCannotBeUsedAreNamed) {
  start();
  lake.prefix = "x/!{timestamp:QQ}";
  EXPECT_EQ(Archiver::make(*loop, *source, store, lake, decoding, options, rng, quiet, metrics)
                .error()
                .kind,
            ErrorKind::invalid);
}

TEST(HourBuffers, BytesAreAFunctionOfTheRecordsAlone) {
  const CutLayout layout{.prefix = "a/", .error_prefix = "e/"};
  auto maker = ObjectMaker::make(layout, {}).value();
  auto other = ObjectMaker::make(layout, {}).value();
  HourBuffers disturbance(*other);
  HourBuffers one(*maker);
  HourBuffers same(*other);
  Rng rng(3);
  for (int i = 0; i < 20'000; ++i) {
    const std::string text = fmt::format("{{\"n\":{},\"x\":{}}}", i, rng.next());
    const RecordRef record{.at = {Offset::of(i)}, .arrived_ms = kArrived + (i % 3) * kHour};
    const LakeHour hour = maker->hour_of(text, record.arrived_ms);
    one.add({"0"}, record, text, hour);
    if (i % 7 == 0) disturbance.add({"1"}, record, text, hour);
    same.add({"0"}, record, text, hour);
  }
  EXPECT_GT(one.largest_stored(), kChunkBytes / 4);
  const auto left = std::move(one).seal();
  const auto right = std::move(same).seal();
  ASSERT_EQ(left.size(), 3u);
  for (std::size_t i = 0; i < left.size(); ++i) EXPECT_EQ(*left[i].bytes, *right[i].bytes);
}

TEST(CreateOnce, ComparesContentNotBytes) {
  MemoryObjectStore store;
  const auto zipped = [](std::initializer_list<std::string_view> chunks) {
    Encoder encoder(Compression::gzip);
    std::string out;
    for (const std::string_view chunk : chunks) encoder.encode(chunk, out);
    return out;
  };
  const auto create = [&](const std::string& bytes) { return create_once(store, "k", bytes); };
  EXPECT_EQ(create(zipped({"{1}\n{2}\n"})).value(), Creation::now);
  EXPECT_EQ(create(zipped({"{1}\n{2}\n"})).value(), Creation::before);
  EXPECT_EQ(create(zipped({"{1}\n", "{2}\n"})).value(), Creation::before);
  EXPECT_EQ(create(zipped({"{2}\n"})).value(), Creation::longer);
  for (const std::string_view other : {"}\n", "{1}\n", "{3}\n{2}\n", "{0}\n{1}\n{2}\n"}) {
    EXPECT_EQ(create(zipped({other})).error().kind, ErrorKind::corrupt) << other;
  }
  EXPECT_EQ(store.get("k")->bytes, zipped({"{1}\n{2}\n"}));
}

}  // namespace
}  // namespace millrace
