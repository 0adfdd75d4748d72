// KafkaSource, KafkaProducer and probe_kafka against a real Apache Kafka broker.
#include "ingest/kafka_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <string>

#include "ingest/kafka_probe.h"
#include "ingest/kafka_producer.h"
#include "tests/end_to_end/kafka_broker.h"
#include "tests/end_to_end/kafka_reader.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class KafkaSourceTest : public ::testing::Test {
 protected:
  KafkaSourceTest() {
    // A number, for --gtest_repeat.
    static int tests_run = 0;
    topic_ = std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()) + "-" +
             std::to_string(++tests_run);
    options_.brokers = broker_.brokers();
    options_.topic = topic_;
    options_.group = topic_ + "-group";
    options_.properties = {{"heartbeat.interval.ms", "200"},
                           {"session.timeout.ms", "6000"},
                           {"max.poll.interval.ms", "10000"},
                           {"topic.metadata.refresh.interval.ms", "500"}};
    limits_.retry_delay = 100ms;
    limits_.commit_retry_delay = 50ms;
    limits_.log_end_interval = 300ms;
    limits_.ask_wait = 2000ms;
  }

  std::unique_ptr<KafkaReader> reader() {
    return std::make_unique<KafkaReader>(options_, loop_, metrics_, limits_,
                                         log_ ? &*log_ : nullptr);
  }

  KafkaBroker& broker_ = KafkaBroker::shared();
  LiveLoop loop_;
  Metrics metrics_;
  KafkaOptions options_;
  KafkaSourceLimits limits_;
  std::optional<Log> log_;
  std::string topic_;
};

std::vector<std::int64_t> numbers(std::int64_t first, std::int64_t count) {
  std::vector<std::int64_t> out;
  for (std::int64_t i = 0; i < count; ++i) out.push_back(first + i);
  return out;
}

TEST_F(KafkaSourceTest, ReadsAllInOrderAndSaysWhereTheLogEnds) {
  broker_.create_topic(topic_, 2);
  broker_.produce_numbers(topic_, 0, 0, 500);
  broker_.produce_numbers(topic_, 1, 1000, 300);
  const auto r = reader();
  ASSERT_TRUE(r->until([&] { return r->source.at_end() && r->ends.size() == 2; }));
  EXPECT_EQ(r->offsets("0"), numbers(0, 500));
  EXPECT_EQ(r->offsets("1"), numbers(0, 300));
  EXPECT_EQ(r->ends.at("0"), "500");
  EXPECT_EQ(r->ends.at("1"), "300");
  for (const auto& g : r->got)
    EXPECT_EQ(g.text, std::to_string(g.offset + (g.partition == "1" ? 1000 : 0)));
  // The end is reached anew.
  broker_.produce_numbers(topic_, 0, 500, 1);
  EXPECT_TRUE(r->until([&] { return r->ends.at("0") == "501"; }));
  EXPECT_TRUE(r->leave());
}

TEST_F(KafkaSourceTest, KeepsPositionAndNoteForTheNextOwner) {
  broker_.create_topic(topic_, 1);
  broker_.produce_numbers(topic_, 0, 0, 10);
  auto a = reader();
  ASSERT_TRUE(a->until([&] { return a->got.size() == 10; }));
  ASSERT_THAT(a->assigned, SizeIs(1));
  EXPECT_FALSE(a->assigned[0].committed);
  EXPECT_EQ(a->assigned[0].start.text(), "0");
  ASSERT_TRUE(a->leave());
  const auto kept = broker_.committed(options_.group, topic_, 0);
  ASSERT_TRUE(kept);
  EXPECT_EQ(kept->first, 10);
  EXPECT_EQ(kept->second, "mr1 at=10");
  a.reset();

  const auto b = reader();
  broker_.produce_numbers(topic_, 0, 10, 5);
  ASSERT_TRUE(b->until([&] { return b->got.size() == 5; }));
  ASSERT_TRUE(b->assigned.at(0).committed);
  EXPECT_EQ(b->assigned[0].committed->position.text(), "10");
  EXPECT_EQ(b->assigned[0].committed->note, "mr1 at=10");
  EXPECT_EQ(b->offsets("0"), numbers(10, 5));
  EXPECT_TRUE(b->leave());
}

TEST_F(KafkaSourceTest, ANoteOf4096BytesIsKeptAndALongerOneRefused) {
  broker_.create_topic(topic_, 1);
  const auto r = reader();
  r->commits = false;
  ASSERT_TRUE(r->until([&] { return !r->assigned.empty(); }));
  const Assigned& a = r->assigned[0];
  std::vector<Status> answers;
  const auto commit = [&](std::string note) {
    r->source.commit(a.partition, a.tenure, a.start, std::move(note),
                     [&](Status s) { answers.push_back(std::move(s)); });
  };
  commit(std::string(kNoteBytesMax, 'x'));
  EXPECT_THAT(answers, IsEmpty()) << "never inside commit()";
  ASSERT_TRUE(r->until([&] { return answers.size() == 1; }));
  EXPECT_TRUE(answers[0]);
  EXPECT_EQ(broker_.committed(options_.group, topic_, 0)->second.size(), kNoteBytesMax);
  commit(std::string(kNoteBytesMax + 1, 'x'));
  commit("caf\xc3\xa9");
  ASSERT_TRUE(r->until([&] { return answers.size() == 3; }));
  EXPECT_EQ(answers[1].error().kind, ErrorKind::rejected);
  EXPECT_EQ(answers[2].error().kind, ErrorKind::rejected);
  // The last one that was good stays.
  EXPECT_EQ(broker_.committed(options_.group, topic_, 0)->second.size(), kNoteBytesMax);
  EXPECT_TRUE(r->leave());
}

TEST_F(KafkaSourceTest, HandsOutNothingBeforeStart) {
  broker_.create_topic(topic_, 1);
  broker_.produce_numbers(topic_, 0, 0, 10);
  const auto r = reader();
  r->starts = false;
  ASSERT_TRUE(r->until([&] { return r->commits_answered == 1; }));  // the anchor
  EXPECT_FALSE(r->until([&] { return !r->got.empty(); }, 700ms));
  EXPECT_FALSE(r->source.at_end());
  EXPECT_EQ(broker_.committed(options_.group, topic_, 0)->first, 0);
  r->source.start(r->assigned[0].partition, r->assigned[0].tenure, Position{Offset::of(4)});
  ASSERT_TRUE(r->until([&] { return r->got.size() == 6; }));
  EXPECT_EQ(r->offsets("0"), numbers(4, 6));
  EXPECT_TRUE(r->leave());
}

TEST_F(KafkaSourceTest, ResolvesTheConfiguredStartToANumber) {
  broker_.create_topic(topic_, 1);
  std::vector<TestRecord> records;
  for (int i = 0; i < 20; ++i)
    records.push_back({.value = "x", .arrived_ms = 1'600'000'000'000 + i * 1000});
  broker_.produce(topic_, 0, records);
  const auto start_of = [&](StartAt at) {
    options_.start = at;
    options_.group += "x";
    const auto r = reader();
    EXPECT_TRUE(r->until([&] { return !r->assigned.empty(); }));
    const std::string text = r->assigned.empty() ? "" : r->assigned[0].start.text();
    EXPECT_TRUE(r->leave());
    return text;
  };
  EXPECT_EQ(start_of({.kind = StartAt::Kind::earliest}), "0");
  EXPECT_EQ(start_of({.kind = StartAt::Kind::latest}), "20");
  EXPECT_EQ(start_of({.kind = StartAt::Kind::time, .time = wall_time_of_ms(1'600'000'006'500)}),
            "7");
  EXPECT_EQ(start_of({.kind = StartAt::Kind::time, .time = wall_time_of_ms(1'700'000'000'000)}),
            "20");
  broker_.delete_records(topic_, 0, 5);
  EXPECT_EQ(start_of({.kind = StartAt::Kind::earliest}), "5");
}

TEST_F(KafkaSourceTest, APartitionThatAppearsWhileRunningIsReadFromItsBeginning) {
  broker_.create_topic(topic_, 1);
  options_.start.kind = StartAt::Kind::latest;
  const auto r = reader();
  ASSERT_TRUE(r->until([&] { return r->source.at_end(); }));
  broker_.grow_topic(topic_, 2);
  broker_.produce_numbers(topic_, 1, 0, 20);
  ASSERT_TRUE(r->until([&] { return r->got.size() == 20; }));
  EXPECT_EQ(r->offsets("1"), numbers(0, 20));
  EXPECT_TRUE(r->leave());
}

TEST_F(KafkaSourceTest, ARebalanceMidStreamLosesAndDoublesNothing) {
  broker_.create_topic(topic_, 4);
  for (int p = 0; p < 4; ++p) broker_.produce_numbers(topic_, p, 0, 2000);
  auto a = reader();
  a->records_max = 10;
  ASSERT_TRUE(a->until([&] { return a->got.size() > 400; }));
  const auto stale = a->parts;
  const auto begun = std::chrono::steady_clock::now();
  auto b = reader();
  b->records_max = 10;
  const auto both = [&] {
    a->turn();
    b->turn();
  };
  ASSERT_TRUE(
      loop_.run_until([&] { return b->assigned.size() == 2 && a->parts.size() == 2; }, both));
  // A heartbeat until A hears of it and a second of librdkafka's own between two joins: the rest of
  // the bound is for a machine that is busy with other things.
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 8s);
  // What A still knows of a partition that B has now is refused, and nothing is written.
  int refused = 0;
  for (const auto& [partition, owned] : stale) {
    if (a->parts.contains(partition)) continue;
    a->source.commit(PartitionId{partition}, owned.tenure, Position{Offset::of(0)}, "stale",
                     [&](const Status& status) {
                       ASSERT_FALSE(status);
                       EXPECT_EQ(status.error().kind, ErrorKind::conflict);
                       ++refused;
                     });
  }
  ASSERT_TRUE(loop_.run_until([&] { return refused == 2; }, both));
  a->records_max = b->records_max = 1000;
  ASSERT_TRUE(loop_.run_until([&] { return a->source.at_end() && b->source.at_end(); }, both));
  std::set<std::pair<std::string, std::int64_t>> seen;
  std::size_t doubled = 0;
  for (const auto* r : {a.get(), b.get()}) {
    EXPECT_EQ(r->strays, 0);
    for (const auto& g : r->got) doubled += seen.insert({g.partition, g.offset}).second ? 0U : 1U;
  }
  // No commit may cross the group's change of generation: librdkafka would give up all partitions.
  EXPECT_EQ(a->losses + b->losses, 0);
  EXPECT_THAT(a->refused, IsEmpty());
  EXPECT_THAT(b->refused, IsEmpty());
  EXPECT_EQ(doubled, 0U);
  EXPECT_EQ(a->revokings, 2);
  EXPECT_EQ(seen.size(), 8000U);
  EXPECT_TRUE(loop_.run_until([&] { return b->source.closed(); },
                              [&] { a->turn(), b->source.close(), b->turn(); }));
  EXPECT_TRUE(a->leave());
}

TEST_F(KafkaSourceTest, TheGroupWaitsForARevokedPartitionUntilItIsReleased) {
  broker_.create_topic(topic_, 2);
  auto a = reader();
  ASSERT_TRUE(a->until([&] { return a->parts.size() == 2; }));
  a->hold_release = true;
  auto b = reader();
  const auto both = [&] {
    a->turn();
    b->turn();
  };
  ASSERT_TRUE(loop_.run_until([&] { return a->revokings == 1; }, both));
  broker_.produce_numbers(topic_, 0, 0, 5);
  broker_.produce_numbers(topic_, 1, 0, 5);
  EXPECT_FALSE(loop_.run_until([&] { return !b->assigned.empty(); }, both, 1000ms));
  EXPECT_EQ(a->strays, 0);
  a->hold_release = false;
  EXPECT_TRUE(loop_.run_until([&] { return b->assigned.size() == 1; }, both));
  EXPECT_TRUE(loop_.run_until([&] { return a->got.size() + b->got.size() >= 10; }, both));
  EXPECT_EQ(a->got.size() + b->got.size(), 10U)
      << a->got.size() << " and " << b->got.size() << ", lost " << a->losses << " and " << b->losses
      << ", assigned " << a->assigned.size() << " and " << b->assigned.size();
}

TEST_F(KafkaSourceTest, AReleaseThatNeverComesHoldsTheGroupOnlySoLong) {
  broker_.create_topic(topic_, 2);
  limits_.release_wait = 500ms;
  auto a = reader();
  ASSERT_TRUE(a->until([&] { return a->parts.size() == 2; }));
  a->hold_release = true;
  auto b = reader();
  ASSERT_TRUE(loop_.run_until([&] { return b->assigned.size() == 1; },
                              [&] {
                                a->turn();
                                b->turn();
                              }));
  EXPECT_EQ(a->losses, 1);
}

TEST_F(KafkaSourceTest, IsAtTheEndOnlyWhenOthersHaveCommittedTheirs) {
  broker_.create_topic(topic_, 2);
  auto a = reader();
  auto b = reader();
  const auto both = [&] {
    a->turn();
    b->turn();
  };
  ASSERT_TRUE(loop_.run_until([&] { return a->parts.size() == 1 && b->parts.size() == 1; }, both));
  broker_.produce_numbers(topic_, 0, 0, 10);
  broker_.produce_numbers(topic_, 1, 0, 10);
  b->commits = false;
  ASSERT_TRUE(loop_.run_until([&] { return a->got.size() == 10 && b->got.size() == 10; }, both));
  EXPECT_FALSE(loop_.run_until([&] { return a->source.at_end(); }, both, 1500ms))
      << "what the other has read is not delivered yet";
  b->commits = true;
  EXPECT_TRUE(loop_.run_until([&] { return a->source.at_end(); }, both));
  b->source.close();
  EXPECT_TRUE(loop_.run_until([&] { return b->source.closed(); }, both));
  EXPECT_TRUE(a->leave());
}

TEST_F(KafkaSourceTest, AMemberThatComesAndGoesLosesAndDoublesNothing) {
  broker_.create_topic(topic_, 4);
  auto a = reader();
  a->keep_text = false;
  std::set<std::pair<std::string, std::int64_t>> seen;
  std::size_t doubled = 0;
  int losses = 0;
  const auto take = [&](KafkaReader& r) {
    for (const auto& g : r.got) doubled += seen.insert({g.partition, g.offset}).second ? 0U : 1U;
    r.got.clear();
  };
  ASSERT_TRUE(a->until([&] { return a->parts.size() == 4; }));
  for (int round = 0; round < 5; ++round) {
    for (int p = 0; p < 4; ++p) broker_.produce_numbers(topic_, p, 0, 50);
    auto b = reader();
    b->records_max = a->records_max = 7;
    const auto both = [&] {
      a->turn();
      b->turn();
      take(*a);
      take(*b);
    };
    ASSERT_TRUE(loop_.run_until([&] { return b->parts.size() == 2; }, both)) << "round " << round;
    b->source.close();
    ASSERT_TRUE(loop_.run_until([&] { return b->source.closed() && a->parts.size() == 4; }, both))
        << "round " << round;
    EXPECT_EQ(b->strays, 0);
    losses += b->losses;
  }
  a->records_max = 1000;
  EXPECT_TRUE(loop_.run_until([&] { return seen.size() == 1000; }, [&] { a->turn(), take(*a); }));
  EXPECT_EQ(losses + a->losses, 0);
  EXPECT_EQ(doubled, 0U);
  EXPECT_TRUE(a->leave());
}

TEST_F(KafkaSourceTest, AMemberThatSleptTooLongIsRefusedAndLosesItsPartitions) {
  broker_.create_topic(topic_, 1);
  broker_.produce_numbers(topic_, 0, 0, 10);
  options_.properties["session.timeout.ms"] = "1000";
  options_.properties["max.poll.interval.ms"] = "1500";
  auto a = reader();
  ASSERT_TRUE(a->until(
      [&] { return a->got.size() == 10 && a->commits_answered >= 1 && !a->parts.at("0").dirty; }));
  const Tenure old = a->parts.at("0").tenure;
  auto b = reader();  // takes over while nobody polls A
  ASSERT_TRUE(b->until([&] { return b->assigned.size() == 1; }));
  EXPECT_EQ(b->assigned[0].committed->position.text(), "10");
  std::optional<Status> answer;
  a->source.commit(PartitionId{"0"}, old, Position{Offset::of(3)}, "zombie",
                   [&](Status s) { answer = std::move(s); });
  ASSERT_TRUE(loop_.run_until([&] { return answer.has_value() && a->losses == 1; },
                              [&] {
                                a->turn();
                                b->turn();
                              }));
  ASSERT_FALSE(*answer);
  EXPECT_EQ(answer->error().kind, ErrorKind::conflict);
  EXPECT_EQ(broker_.committed(options_.group, topic_, 0)->first, 10);
  EXPECT_TRUE(b->leave());
}

TEST_F(KafkaSourceTest, SurvivesABrokerThatStopsAndOneThatIsKilled) {
  broker_.create_topic(topic_, 2);
  broker_.produce_numbers(topic_, 0, 0, 300);
  const auto r = reader();
  r->records_max = 5;
  ASSERT_TRUE(r->until([&] { return r->got.size() > 20; }));
  broker_.stop();
  // A commit made now is answered when the broker is back.
  const int answered = r->commits_answered;
  r->parts.at("0").dirty = true;
  r->until([&] { return r->commits_answered > answered + 1; }, 500ms);
  broker_.start();
  broker_.produce_numbers(topic_, 1, 0, 300);
  ASSERT_TRUE(r->until([&] { return r->got.size() > 320 && r->commits_answered > answered; }, 30s));
  broker_.kill();
  r->until([] { return false; }, 200ms);
  broker_.start();
  broker_.produce_numbers(topic_, 0, 300, 100);
  r->records_max = 1000;
  ASSERT_TRUE(r->until(
      [&] {
        return r->got.size() >= 700 && !r->parts.at("0").dirty && !r->parts.at("0").committing;
      },
      30s));
  EXPECT_EQ(r->offsets("0"), numbers(0, 400));
  EXPECT_EQ(r->offsets("1"), numbers(0, 300));
  EXPECT_TRUE(r->until([&] { return !r->source.status().trouble; }));
  EXPECT_TRUE(r->leave());
  EXPECT_EQ(broker_.committed(options_.group, topic_, 0)->first, 400);
}

TEST_F(KafkaSourceTest, WaitsForABrokerThatIsNotThereYet) {
  broker_.create_topic(topic_, 1);
  broker_.produce_numbers(topic_, 0, 0, 3);
  broker_.stop();
  std::vector<std::string> lines;
  log_.emplace(LogLevel::warn, Log::Format::text,
               [&](LogLevel, std::string_view line) { lines.emplace_back(line); });
  limits_.ask_wait = 300ms;
  const auto r = reader();
  ASSERT_TRUE(r->until([&] { return r->source.status().trouble.has_value(); }));
  EXPECT_THAT(r->source.status().trouble->message,
              HasSubstr("nothing listens at " + broker_.brokers()));
  r->until([] { return false; }, 1500ms);
  EXPECT_THAT(lines, SizeIs(1)) << "one line a minute, however often it is tried";
  broker_.start();
  EXPECT_TRUE(r->until([&] { return r->got.size() == 3; }));
  EXPECT_FALSE(r->source.status().trouble);
  EXPECT_TRUE(r->leave());
}

TEST_F(KafkaSourceTest, WaitsForATopicThatIsNotThereYet) {
  const auto r = reader();
  ASSERT_TRUE(r->until([&] { return r->source.status().trouble.has_value(); }));
  EXPECT_THAT(r->source.status().trouble->message,
              HasSubstr("topic " + topic_ + " does not exist"));
  EXPECT_EQ(r->source.status().trouble->kind, ErrorKind::not_found);
  broker_.create_topic(topic_, 1);
  broker_.produce_numbers(topic_, 0, 0, 3);
  EXPECT_TRUE(r->until([&] { return r->got.size() == 3; }));
  EXPECT_TRUE(r->leave());
}

TEST_F(KafkaSourceTest, RecordsThatRetentionAteStopThePartitionAndSayHowMany) {
  broker_.create_topic(topic_, 2);
  broker_.produce_numbers(topic_, 0, 0, 100);
  broker_.produce_numbers(topic_, 1, 0, 10);
  ASSERT_TRUE(broker_.commit_from_outside(options_.group, topic_, 0, 10, "mr1"));
  broker_.delete_records(topic_, 0, 60);
  {
    const auto r = reader();
    ASSERT_TRUE(r->until([&] { return !r->stuck.empty() && r->got.size() == 10; }));
    EXPECT_EQ(r->stuck[0].partition.value, "0");
    EXPECT_EQ(r->stuck[0].error.kind, ErrorKind::refused);
    EXPECT_THAT(r->stuck[0].error.message, HasSubstr("50 offsets were deleted"));
    EXPECT_THAT(r->stuck[0].error.message, HasSubstr("on_gap"));
    EXPECT_THAT(r->offsets("0"), IsEmpty());
    EXPECT_TRUE(r->leave());
  }
  EXPECT_EQ(broker_.committed(options_.group, topic_, 0)->first, 10);
  options_.continue_on_gap = true;
  const auto r = reader();
  ASSERT_TRUE(r->until([&] { return r->got.size() == 40; }));
  EXPECT_EQ(r->offsets("0"), numbers(60, 40));
  EXPECT_EQ(metrics_.value("millrace_kafka_gap_records_total", {{"group", options_.group}}), 50);
  EXPECT_TRUE(r->leave());
}

TEST_F(KafkaSourceTest, APositionBeyondTheEndOfTheLogIsNeverReset) {
  broker_.create_topic(topic_, 1);
  broker_.produce_numbers(topic_, 0, 0, 10);
  ASSERT_TRUE(broker_.commit_from_outside(options_.group, topic_, 0, 5000, "mr1"));
  options_.continue_on_gap = true;  // is about the other side
  const auto r = reader();
  ASSERT_TRUE(r->until([&] { return !r->stuck.empty(); }));
  EXPECT_EQ(r->stuck[0].error.kind, ErrorKind::refused);
  EXPECT_THAT(r->stuck[0].error.message, HasSubstr("ends at offset 10, before our position 5000"));
  EXPECT_THAT(r->got, IsEmpty());
  EXPECT_TRUE(r->leave());
}

TEST_F(KafkaSourceTest, AbortedRecordsAreNeverSeenAndTheEndIsStillReached) {
  broker_.create_topic(topic_, 1);
  const auto ten = std::vector<TestRecord>(10, TestRecord{.value = "good"});
  broker_.produce_transaction(topic_, 0, ten, true);
  broker_.produce_transaction(topic_, 0, std::vector<TestRecord>(10, TestRecord{.value = "bad"}),
                              false);
  const auto r = reader();
  ASSERT_TRUE(r->until([&] { return r->source.at_end() && r->ends.contains("0"); }));
  EXPECT_THAT(r->got, SizeIs(10));
  for (const auto& g : r->got) EXPECT_EQ(g.text, "good");
  EXPECT_EQ(r->ends.at("0"), "22");
  EXPECT_TRUE(r->leave());
}

TEST_F(KafkaSourceTest, TakesEveryShapeOfRecord) {
  broker_.create_topic(
      topic_, 1, {{"max.message.bytes", "2000000"}, {"message.timestamp.type", "CreateTime"}});
  const std::string binary("\0\xff\x01 \n", 5);
  const std::string large(1'000'000, 'L');
  broker_.produce(topic_, 0,
                  {{.key = std::nullopt, .value = "no key", .arrived_ms = 1000},
                   {.key = "k", .value = std::nullopt, .arrived_ms = 4'102'444'800'000},
                   {.key = "k", .value = ""},
                   {.key = binary, .value = binary},
                   {.key = "k", .value = large}});
  const auto r = reader();
  ASSERT_TRUE(r->until([&] { return r->got.size() == 5; }));
  EXPECT_EQ(r->got[0].text, "no key");
  EXPECT_EQ(r->got[0].arrived_ms, 1000);
  EXPECT_FALSE(r->got[0].tombstone);
  EXPECT_TRUE(r->got[1].tombstone);
  EXPECT_EQ(r->got[1].arrived_ms, 4'102'444'800'000);
  EXPECT_FALSE(r->got[2].tombstone);
  EXPECT_EQ(r->got[2].text, "");
  EXPECT_EQ(r->got[3].text, binary);
  EXPECT_EQ(r->got[4].text, large);
  EXPECT_TRUE(r->leave());
}

TEST_F(KafkaSourceTest, ADamagedBatchStopsItsPartitionAtItsOffsetAndNoOther) {
  broker_.create_topic(topic_, 2);
  broker_.produce(topic_, 0, std::vector<TestRecord>(5, TestRecord{.value = "first batch"}));
  broker_.produce(topic_, 0, std::vector<TestRecord>(5, TestRecord{.value = "THE DAMAGED ONE"}));
  broker_.produce(topic_, 1, std::vector<TestRecord>(5, TestRecord{.value = "well"}));
  const std::string path = broker_.segment_path(topic_, 0);
  std::string bytes;
  {
    std::ifstream in(path, std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(in), {});
  }
  const std::size_t at = bytes.find("THE DAMAGED");
  ASSERT_NE(at, std::string::npos);
  {
    std::fstream out(path, std::ios::binary | std::ios::in | std::ios::out);
    out.seekp(static_cast<std::streamoff>(at));
    out.put('t');
  }
  const auto r = reader();
  ASSERT_TRUE(r->until([&] { return !r->stuck.empty() && r->offsets("1").size() == 5; }));
  EXPECT_EQ(r->stuck[0].partition.value, "0");
  EXPECT_EQ(r->stuck[0].error.kind, ErrorKind::corrupt);
  EXPECT_THAT(r->stuck[0].error.message, HasSubstr("at offset 5 after 3 tries"));
  EXPECT_EQ(r->offsets("0"), numbers(0, 5));
  EXPECT_TRUE(r->leave());
  EXPECT_EQ(broker_.committed(options_.group, topic_, 0)->first, 5);
}

TEST_F(KafkaSourceTest, ATopicCreatedAnewUnderARunningReaderIsNoticed) {
  broker_.create_topic(topic_, 1);
  broker_.produce_numbers(topic_, 0, 0, 10);
  limits_.recheck_interval = 300ms;
  options_.properties["topic.metadata.refresh.interval.ms"] = "60000";
  const auto r = reader();
  ASSERT_TRUE(r->until([&] { return r->got.size() == 10 && r->commits_answered >= 1; }));
  ASSERT_TRUE(r->until([&] { return !r->parts.at("0").dirty && !r->parts.at("0").committing; }));
  broker_.delete_topic(topic_);
  broker_.create_topic(topic_, 1);
  broker_.produce_numbers(topic_, 0, 0, 20);
  // Whoever notices first, the re-check, the group (which takes a deleted topic away and gives the
  // new one) or a fetch beyond the new log's end: never is it read on, and never begun anew
  // unasked.
  ASSERT_TRUE(r->until([&] { return !r->stuck.empty(); }));
  EXPECT_EQ(r->stuck[0].error.kind, ErrorKind::refused);
  EXPECT_THAT(r->stuck[0].error.message, HasSubstr("created anew"));
  EXPECT_FALSE(r->until([&] { return r->got.size() > 10; }, 300ms));
  EXPECT_FALSE(broker_.committed(options_.group, topic_, 0))
      << "the old number must not be written into the new topic's books";
  EXPECT_TRUE(r->leave());
}

TEST_F(KafkaSourceTest, ATopicThatCameBackBetweenTwoAssignmentsIsNotBegunAnewUnasked) {
  broker_.create_topic(topic_, 1);
  broker_.produce_numbers(topic_, 0, 0, 10);
  const auto r = reader();
  ASSERT_TRUE(r->until([&] {
    return r->got.size() == 10 && !r->parts.at("0").dirty && !r->parts.at("0").committing;
  }));
  broker_.delete_topic(topic_);
  ASSERT_TRUE(r->until([&] { return r->parts.empty(); })) << "the group has taken it away";
  broker_.create_topic(topic_, 1);
  broker_.produce_numbers(topic_, 0, 0, 20);
  ASSERT_TRUE(r->until([&] { return !r->stuck.empty(); }));
  EXPECT_EQ(r->stuck[0].error.kind, ErrorKind::refused);
  EXPECT_THAT(r->stuck[0].error.message, HasSubstr("created anew"));
  EXPECT_FALSE(r->until([&] { return r->got.size() > 10; }, 300ms));
  EXPECT_FALSE(broker_.committed(options_.group, topic_, 0));
  EXPECT_TRUE(r->leave());
}

TEST_F(KafkaSourceTest, LeavingWhileTheBrokerIsDownTakesSeconds) {
  broker_.create_topic(topic_, 1);
  broker_.produce_numbers(topic_, 0, 0, 10);
  limits_.leave_wait = 1000ms;
  auto r = reader();
  ASSERT_TRUE(r->until([&] {
    return r->got.size() == 10 && !r->parts.at("0").dirty && !r->parts.at("0").committing;
  }));
  broker_.stop();
  r->parts.at("0").dirty = true;  // a commit that cannot be written
  r->until([] { return false; }, 300ms);
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_TRUE(r->leave());
  r.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 8s);
  broker_.start();
  r = reader();
  ASSERT_TRUE(r->until([&] { return !r->assigned.empty(); }, 30s));
  EXPECT_EQ(r->assigned[0].committed->position.text(), "10");
  EXPECT_TRUE(r->leave());
}

TEST_F(KafkaSourceTest, ADeletedTopicIsToldAndDoesNotHangTheEnd) {
  broker_.create_topic(topic_, 2);
  broker_.produce_numbers(topic_, 0, 0, 10);
  auto r = reader();
  ASSERT_TRUE(r->until([&] { return r->got.size() == 10; }));
  broker_.delete_topic(topic_);
  ASSERT_TRUE(r->until([&] { return r->parts.empty() && r->source.status().trouble.has_value(); }));
  EXPECT_THAT(r->source.status().trouble->message, HasSubstr(topic_));
  const auto before = std::chrono::steady_clock::now();
  EXPECT_TRUE(r->leave());
  r.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - before, 10s);
}

std::size_t resident_bytes() {
  std::ifstream in("/proc/self/statm");
  std::size_t pages = 0;
  std::size_t resident = 0;
  in >> pages >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

TEST_F(KafkaSourceTest, ABacklogOf200MegabytesStaysWithinTheReadAhead) {
  broker_.create_topic(topic_, 4);
  const std::string value(1000, 'v');
  for (int p = 0; p < 4; ++p)
    broker_.produce(topic_, p, std::vector<TestRecord>(50'000, TestRecord{.value = value}));
  options_.fetch_bytes_max = std::size_t{32} << 20;
  const auto r = reader();
  r->keep_text = false;
  r->got.reserve(200'000);
  ASSERT_TRUE(r->until([&] { return r->parts.size() == 4; }));
  ::malloc_trim(0);
  const std::size_t before = resident_bytes();
  // Nobody reads: the queues fill up to their bound and stay there.
  r->records_max = 0;
  ASSERT_TRUE(r->until([&] { return r->source.status().bytes_held > (std::size_t{8} << 20); }));
  r->until([] { return false; }, 1000ms);
  EXPECT_LE(r->source.status().bytes_held, options_.fetch_bytes_max);
  const std::size_t grown = resident_bytes() - std::min(before, resident_bytes());
  EXPECT_LE(grown, options_.fetch_bytes_max + (std::size_t{8} << 20));
  EXPECT_THAT(r->got, IsEmpty());
  r->records_max = 10'000;
  const auto begun = std::chrono::steady_clock::now();
  ASSERT_TRUE(r->until([&] { return r->bytes == 200'000'000; }, 60s));
  RecordProperty(
      "seconds_for_200_mb",
      std::to_string(
          std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count()));
  EXPECT_TRUE(r->leave());
}

TEST_F(KafkaSourceTest, APausedPartitionDoesNotStopTheOthersAndLosesNothing) {
  broker_.create_topic(topic_, 2);
  broker_.produce_numbers(topic_, 0, 0, 1000);
  broker_.produce_numbers(topic_, 1, 0, 1000);
  const auto r = reader();
  r->records_max = 20;
  ASSERT_TRUE(r->until([&] { return r->offsets("0").size() > 20 && r->offsets("1").size() > 20; }));
  r->source.pause(PartitionId{"0"}, true);
  const std::size_t had = r->offsets("0").size();
  ASSERT_TRUE(r->until([&] { return r->ends.contains("1"); }));
  EXPECT_EQ(r->offsets("0").size(), had);
  r->source.pause(PartitionId{"0"}, false);
  ASSERT_TRUE(r->until([&] { return r->ends.contains("0"); }, 2s))
      << "what was read ahead is still there";
  EXPECT_EQ(r->offsets("0"), numbers(0, 1000));
  EXPECT_EQ(r->offsets("1"), numbers(0, 1000));
  EXPECT_TRUE(r->leave());
}

TEST_F(KafkaSourceTest, StatusTellsHowFarBehindTheCommittedPositionIs) {
  broker_.create_topic(topic_, 1, {{"retention.ms", "3600000"}});
  broker_.produce_numbers(topic_, 0, 0, 100);
  const auto r = reader();
  ASSERT_TRUE(r->until([&] { return r->got.size() == 100; }));
  ASSERT_TRUE(r->until([&] {
    const auto s = r->source.status();
    return s.partitions.size() == 1 && s.partitions[0].records_behind == 0;
  }));
  r->commits = false;
  broker_.produce_numbers(topic_, 0, 100, 50);
  ASSERT_TRUE(r->until([&] { return r->source.status().partitions[0].records_behind == 50; }));
  ASSERT_TRUE(r->until([&] { return r->source.status().partitions[0].millis_behind > 0; }));
  const PartitionStatus line = r->source.status().partitions[0];
  EXPECT_EQ(line.committed.text(), "100");
  EXPECT_LT(line.millis_behind, 20'000);
  EXPECT_GT(line.retention_left_ms, 3'500'000);
  EXPECT_LE(line.retention_left_ms, 3'600'000);
  EXPECT_EQ(line.retention_ms, 3'600'000);
  r->commits = true;
  EXPECT_TRUE(r->leave());
}

TEST_F(KafkaSourceTest, ASecondProcessWithTheSameInstanceIdEndsTheFirst) {
  broker_.create_topic(topic_, 1);
  broker_.produce_numbers(topic_, 0, 0, 5);
  options_.properties["group.instance.id"] = "one";
  auto a = reader();
  ASSERT_TRUE(a->until([&] { return a->got.size() == 5; }));
  auto b = reader();
  ASSERT_TRUE(loop_.run_until([&] { return a->failed.has_value(); },
                              [&] {
                                if (!a->failed && !a->parts.empty())
                                  a->parts.begin()->second.dirty = true;
                                a->turn();
                                b->turn();
                              }));
  EXPECT_EQ(a->failed->kind, ErrorKind::refused);
  EXPECT_THAT(a->failed->message, HasSubstr("group.instance.id"));
  // Every commit is answered, and leaving waits for nobody.
  std::optional<Status> late;
  a->source.commit(PartitionId{"0"}, a->assigned[0].tenure, Position{Offset::of(1)}, "late",
                   [&](Status s) { late = std::move(s); });
  EXPECT_TRUE(loop_.run_until([&] { return late.has_value(); }, [] {}, 2s));
  ASSERT_TRUE(late.has_value());
  EXPECT_EQ(late->error().kind, ErrorKind::conflict);
  a->source.close();
  EXPECT_TRUE(a->source.closed());
}

TEST_F(KafkaSourceTest, ProbeSaysWhatTheTopicIsLike) {
  broker_.create_topic(topic_, 3, {{"cleanup.policy", "compact"}, {"retention.ms", "1234567"}});
  const auto facts = probe_kafka(options_, 5s);
  ASSERT_TRUE(facts) << facts.error().message;
  EXPECT_EQ(facts->partitions, 3U);
  EXPECT_EQ(facts->cleanup_policy, "compact");
  EXPECT_EQ(facts->timestamp_type, "CreateTime");
  EXPECT_EQ(facts->retention_ms, 1234567);
  EXPECT_THAT(kafka_topic_warnings(*facts, topic_),
              ElementsAre(HasSubstr("compacted"), HasSubstr("CreateTime")));
  options_.topic = "absent";
  const auto absent = probe_kafka(options_, 5s);
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().kind, ErrorKind::not_found);
}

TEST_F(KafkaSourceTest, ProducerWritesWhereJavaWouldAndConfirms) {
  broker_.create_topic(topic_, 12);
  auto producer = KafkaProducer::make({.brokers = broker_.brokers(), .topic = topic_}, Log());
  ASSERT_TRUE(producer) << producer.error().message;
  ASSERT_TRUE((*producer)->produce("user-1", "one"));
  ASSERT_TRUE((*producer)->produce("user-42", "two"));
  ASSERT_TRUE((*producer)->produce("user-42", std::string_view()));
  ASSERT_TRUE((*producer)->produce("user-42", ""));
  ASSERT_TRUE((*producer)->flush());
  EXPECT_EQ((*producer)->confirmed(), 4U);
  const auto r = reader();
  ASSERT_TRUE(r->until([&] { return r->got.size() == 4; }));
  EXPECT_EQ(r->offsets("8"), numbers(0, 1));
  EXPECT_EQ(r->offsets("4"), numbers(0, 3));
  for (const auto& g : r->got) EXPECT_EQ(g.tombstone, g.partition == "4" && g.offset == 1);
  EXPECT_TRUE(r->leave());

  const auto large = (*producer)->produce("k", std::string(2'000'000, 'x'));
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().kind, ErrorKind::rejected);
  EXPECT_TRUE((*producer)->produce("k", "after it"));
  EXPECT_TRUE((*producer)->flush());
}

TEST_F(KafkaSourceTest, ProducerWithASmallQueueWaitsAndLosesNothing) {
  broker_.create_topic(topic_, 1);
  auto producer = KafkaProducer::make(
      {.brokers = broker_.brokers(), .topic = topic_, .queue_records_max = 10, .linger = 0ms},
      Log());
  ASSERT_TRUE(producer);
  for (int i = 0; i < 500; ++i) ASSERT_TRUE((*producer)->produce("k", std::to_string(i)));
  ASSERT_TRUE((*producer)->flush());
  EXPECT_EQ((*producer)->confirmed(), 500U);
  const auto r = reader();
  ASSERT_TRUE(r->until([&] { return r->got.size() == 500; }));
  for (std::size_t i = 0; i < 500; ++i) EXPECT_EQ(r->got[i].text, std::to_string(i));
  EXPECT_TRUE(r->leave());
}

}  // namespace
}  // namespace millrace
