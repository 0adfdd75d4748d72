// What only Kinesis does: iterators that expire, throttles, resharding, retention, re-created
// streams. The promises of every source are in tests/conformance/source_suite.h.
#include "ingest/kinesis_source.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "ingest/kinesis_producer.h"
#include "tests/conformance/source_consumer.h"
#include "tests/ingest/kinesis_world.h"

namespace millrace {
namespace {

constexpr const char* kHalf = "170141183460469231731687303715884105728";
constexpr const char* kLastHash = "340282366920938463463374607431768211455";
constexpr const char* kShard0 = "shardId-000000000000";

class KinesisReading : public testing::Test {
 protected:
  bool run(KinesisWorld& world, const std::vector<SourceConsumer*>& consumers,
           const std::function<bool()>& condition, std::chrono::milliseconds limit = 60s) {
    for (auto passed = 0ms; passed < limit; passed += 20ms) {
      if (condition()) return true;
      world.step(20ms);
      for (SourceConsumer* consumer : consumers) consumer->poll();
    }
    return condition();
  }
  static std::vector<std::string> sorted(std::vector<std::string> texts) {
    std::sort(texts.begin(), texts.end());
    return texts;
  }
};

TEST_F(KinesisReading, AnExpiredIteratorIsReplacedAfterTheLastRecord) {
  KinesisWorld world;
  auto& process = world.open(0);
  SourceConsumer consumer(*process.source);
  for (int i = 0; i < 5; ++i) world.put("k", std::to_string(i));
  ASSERT_TRUE(run(world, {&consumer}, [&] { return consumer.count() == 5; }));
  process.source->pause({kShard0}, true);
  run(
      world, {&consumer}, [] { return false; }, 2s);
  world.step(std::chrono::minutes(6));
  world.put("k", "5");
  process.source->pause({kShard0}, false);
  ASSERT_TRUE(run(world, {&consumer}, [&] { return consumer.count() >= 6; }));
  EXPECT_EQ(consumer.order, (std::vector<std::string>{"0", "1", "2", "3", "4", "5"}));
  EXPECT_GE(process.metrics.value("millrace_kinesis_expired_iterators_total"), 1);
}

/// Answers of GetRecords are emptied while records remain, as a sparse shard's are.
class SparseService final : public HttpService {
 public:
  explicit SparseService(HttpService& service) : service_(service) {}
  HttpResponse handle(const HttpRequest& request) override {
    for (const HttpHeader& header : request.headers) {
      if (header.value != "Kinesis_20131202.GetRecords" || left == 0) continue;
      --left;
      const auto iterator = nlohmann::json::parse(request.body).at("ShardIterator");
      return {200,
              {{"Content-Type", "application/x-amz-json-1.1"}},
              nlohmann::json{{"Records", nlohmann::json::array()},
                             {"NextShardIterator", iterator},
                             {"MillisBehindLatest", 5000}}
                  .dump()};
    }
    return service_.handle(request);
  }
  int left = 200;

 private:
  HttpService& service_;
};

TEST_F(KinesisReading, EmptyAnswersWhileBehindAreCrossedAtFiveASecond) {
  KinesisWorld world;
  SparseService sparse(*world.service);
  world.front = std::make_unique<FaultyService>(FaultyServiceOptions{}, sparse);
  world.put("k", "at last");
  SourceConsumer consumer(*world.open(0).source);
  ASSERT_TRUE(run(world, {&consumer}, [&] { return consumer.count() == 1; }));
  EXPECT_EQ(sparse.left, 0);
  EXPECT_EQ(consumer.owned.at(kShard0).at_end, 1);
}

TEST_F(KinesisReading, ThrottlesAndLostRepliesAreWeather) {
  KinesisWorld world(2, {},
                     {.seed = 3,
                      .throttle = 0.3,
                      .failure = 0.1,
                      .unavailable = 0.1,
                      .reply_lost = 0.1,
                      .cut_short = 0.05});
  world.front->set_well(false);
  std::vector<std::string> put;
  for (int i = 0; i < 200; ++i) {
    put.push_back(fmt::format("{:03}", i));
    world.put(put.back(), put.back());
  }
  auto& process = world.open(0);
  SourceConsumer consumer(*process.source);
  ASSERT_TRUE(run(
      world, {&consumer}, [&] { return consumer.count() >= 200; }, 600s));
  for (int i = 200; i < 300; ++i) {
    put.push_back(fmt::format("{:03}", i));
    world.put(put.back(), put.back());
    world.step(100ms);
  }
  ASSERT_TRUE(run(
      world, {&consumer}, [&] { return consumer.count() >= 300; }, 600s));
  EXPECT_EQ(sorted(consumer.order), put);
  EXPECT_GT(world.front->faults(), 10u);
  EXPECT_FALSE(consumer.final_error);
  EXPECT_FALSE(consumer.stuck);
}

TEST_F(KinesisReading, StaysWithinTheServicesLimits) {
  KinesisWorld world(1, {.limits = true});
  for (int i = 0; i < 3000; ++i) {
    if (i % 500 == 0) world.step(1s);
    world.put("k", std::to_string(i));
  }
  auto& process = world.open(0);
  process.loop.advance(0ms);
  SourceConsumer consumer(*process.source);
  ASSERT_TRUE(run(world, {&consumer}, [&] { return consumer.count() == 3000; }));
  run(
      world, {&consumer}, [] { return false; }, 20s);
  EXPECT_EQ(process.metrics.value("millrace_kinesis_throttled_total"), 0);
}

TEST_F(KinesisReading, AnswersOfTenMegabytesPassWithinTheBound) {
  KinesisWorld world;
  world.options.fetch_bytes_max = 12u << 20;
  const std::string large(1'000'000, 'x');
  for (int i = 0; i < 30; ++i) world.put("k", large);
  auto& process = world.open(0);
  SourceConsumer consumer(*process.source);
  std::size_t held_max = 0;
  for (int i = 0; i < 3000 && consumer.count() < 30; ++i) {
    world.step(20ms);
    held_max = std::max(held_max, process.source->status().bytes_held);
    if (i % 10 == 0) consumer.poll();
  }
  EXPECT_EQ(consumer.count(), 30u);
  EXPECT_GT(held_max, 0u);
  EXPECT_LE(held_max, 12u << 20);
}

// Three generations within a second, keys that move between shards each time.
TEST_F(KinesisReading, ReshardingKeepsTheOrderOfEveryKey) {
  KinesisWorld world;
  std::map<std::string, int> next;
  const auto put_all = [&] {
    for (const std::string key : {"ann", "bob", "cyd", "dan", "eve", "fay"}) {
      world.put(key, fmt::format("{} {}", key, next[key]++));
    }
  };
  put_all();
  world.split(kShard0, kHalf);
  put_all();
  world.merge("shardId-000000000001", "shardId-000000000002");
  put_all();
  world.split("shardId-000000000003", kHalf);
  put_all();
  auto& process = world.open(0);
  SourceConsumer consumer(*process.source);
  ASSERT_TRUE(run(world, {&consumer}, [&] { return consumer.count() == 24; }));
  world.merge("shardId-000000000004", "shardId-000000000005");
  put_all();
  ASSERT_TRUE(run(
      world, {&consumer}, [&] { return consumer.count() == 30; }, 200s));
  std::map<std::string, int> seen;
  for (const std::string& text : consumer.order) {
    const std::string key = text.substr(0, 3);
    EXPECT_EQ(text, fmt::format("{} {}", key, seen[key]++));
  }
  EXPECT_EQ(consumer.assigned.size(), 7u);
  EXPECT_EQ(consumer.owned.size(), 1u);
  EXPECT_TRUE(process.source->at_end());
}

TEST_F(KinesisReading, AChildWaitsUntilItsParentIsSettledNotOnlyRead) {
  KinesisWorld world;
  world.put("k", "parent");
  world.split(kShard0, kHalf);
  world.put("k", "child");
  auto& process = world.open(0);
  SourceConsumer consumer(*process.source);
  consumer.release_at_once = false;
  const auto leaving = [&] {
    const auto found = consumer.owned.find(kShard0);
    return found != consumer.owned.end() && found->second.leaving;
  };
  ASSERT_TRUE(run(world, {&consumer}, leaving));
  run(
      world, {&consumer}, [] { return false; }, 90s);
  EXPECT_EQ(consumer.order, std::vector<std::string>{"parent"});
  EXPECT_FALSE(process.source->at_end());

  // Released without a commit: read again, and still no child.
  const Tenure tenure = consumer.owned[kShard0].tenure;
  consumer.owned.erase(kShard0);
  process.source->release({kShard0}, tenure);
  ASSERT_TRUE(run(world, {&consumer}, leaving));
  EXPECT_EQ(consumer.order, (std::vector<std::string>{"parent", "parent"}));

  consumer.commit(kShard0);
  ASSERT_TRUE(run(world, {&consumer}, [&] { return consumer.all_committed(); }));
  const Tenure second = consumer.owned[kShard0].tenure;
  consumer.owned.erase(kShard0);
  process.source->release({kShard0}, second);
  ASSERT_TRUE(run(world, {&consumer}, [&] { return consumer.count() == 3; }));
  EXPECT_EQ(consumer.order.back(), "child");
}

TEST_F(KinesisReading, AClosedButUnreadShardAtTheStartIsReadToItsEnd) {
  KinesisWorld world;
  {
    auto& process = world.open(0);
    SourceConsumer consumer(*process.source);
    world.put("k", "1");
    ASSERT_TRUE(run(world, {&consumer}, [&] { return consumer.count() == 1; }));
    consumer.commit(kShard0);
    ASSERT_TRUE(run(world, {&consumer}, [&] { return consumer.all_committed(); }));
  }
  world.crash(0);
  world.put("k", "2");
  world.split(kShard0, kHalf);
  world.put("k", "3");
  SourceConsumer consumer(*world.open(0).source);
  ASSERT_TRUE(run(world, {&consumer}, [&] { return consumer.count() == 2; }));
  EXPECT_EQ(consumer.order, (std::vector<std::string>{"2", "3"}));
}

TEST_F(KinesisReading, AnEndedShardStaysEndedForTheNextProcess) {
  KinesisWorld world;
  world.put("k", "1");
  world.split(kShard0, kHalf);
  {
    SourceConsumer consumer(*world.open(0).source);
    ASSERT_TRUE(run(world, {&consumer}, [&] { return consumer.owned.size() == 2; }));
  }
  world.crash(0);
  world.put("k", "2");
  SourceConsumer consumer(*world.open(0).source);
  ASSERT_TRUE(run(world, {&consumer}, [&] { return consumer.count() == 1; }));
  EXPECT_EQ(consumer.order, std::vector<std::string>{"2"});
  EXPECT_EQ(std::count(consumer.assigned.begin(), consumer.assigned.end(), kShard0), 0);
}

TEST_F(KinesisReading, LatestIsATimeThatSurvivesACrashBeforeTheFirstCommit) {
  KinesisWorld world;
  world.options.start.kind = StartAt::Kind::latest;
  world.put("k", "before");
  {
    SourceConsumer consumer(*world.open(0).source);
    ASSERT_TRUE(run(world, {&consumer}, [&] { return !consumer.owned.empty(); }));
    run(
        world, {&consumer}, [] { return false; }, 3s);
    EXPECT_EQ(consumer.count(), 0u);
    world.put("k", "first");
    ASSERT_TRUE(run(world, {&consumer}, [&] { return consumer.count() == 1; }));
  }
  world.crash(0);
  world.put("k", "second");
  SourceConsumer consumer(*world.open(0).source);
  ASSERT_TRUE(run(world, {&consumer}, [&] { return consumer.count() == 2; }));
  EXPECT_EQ(consumer.order, (std::vector<std::string>{"first", "second"}));
}

TEST_F(KinesisReading, LatestAndAReshardBeforeTheFirstReadLosesNothing) {
  KinesisWorld world(2);
  world.merge(kShard0, "shardId-000000000001");
  world.step(2s);
  world.options.start.kind = StartAt::Kind::latest;
  {
    SourceConsumer consumer(*world.open(0).source);
    consumer.start_at_once = false;
    ASSERT_TRUE(run(world, {&consumer}, [&] { return !consumer.owned.empty(); }));
    EXPECT_EQ(consumer.assigned, std::vector<std::string>{"shardId-000000000002"});
  }
  world.crash(0);
  world.put("k", "1");
  world.split("shardId-000000000002", kHalf);
  world.put("k", "2");
  SourceConsumer consumer(*world.open(0).source);
  ASSERT_TRUE(run(world, {&consumer}, [&] { return consumer.count() == 2; }));
  EXPECT_EQ(consumer.order, (std::vector<std::string>{"1", "2"}));
}

TEST_F(KinesisReading, StartingAtATimeReadsFromThere) {
  KinesisWorld world;
  world.put("k", "before");
  world.step(60s);
  world.options.start = {StartAt::Kind::time, world.clock.now()};
  world.step(60s);
  world.put("k", "after");
  SourceConsumer consumer(*world.open(0).source);
  ASSERT_TRUE(run(world, {&consumer}, [&] { return consumer.count() == 1; }));
  EXPECT_EQ(consumer.order, std::vector<std::string>{"after"});
}

TEST_F(KinesisReading, AStartInTheFutureIsRefused) {
  KinesisWorld world;
  world.options.start = {StartAt::Kind::time, world.clock.now() + std::chrono::hours(1)};
  SourceConsumer consumer(*world.open(0).source);
  ASSERT_TRUE(run(world, {&consumer}, [&] { return consumer.final_error.has_value(); }));
  EXPECT_EQ(consumer.final_error->kind, ErrorKind::invalid);
}

TEST_F(KinesisReading, APositionOlderThanRetentionGoesOnAndIsCountedOnce) {
  KinesisWorld world;
  world.put("k", "1");
  {
    SourceConsumer consumer(*world.open(0).source);
    ASSERT_TRUE(run(world, {&consumer}, [&] { return consumer.count() == 1; }));
    consumer.commit(kShard0);
    ASSERT_TRUE(run(world, {&consumer}, [&] { return consumer.all_committed(); }));
  }
  world.crash(0);
  world.put("k", "lost");
  world.clock.advance(std::chrono::hours(30));
  world.put("k", "kept");
  auto& process = world.open(0);
  SourceConsumer consumer(*process.source);
  ASSERT_TRUE(run(world, {&consumer}, [&] { return consumer.count() == 1; }));
  EXPECT_EQ(consumer.order, std::vector<std::string>{"kept"});
  EXPECT_EQ(process.metrics.value("millrace_kinesis_gaps_total"), 1);
}

TEST_F(KinesisReading, AQuietShardIsNoGapWhileItsReaderWasThere) {
  KinesisWorld world;
  world.put("k", "1");
  {
    SourceConsumer consumer(*world.open(0).source);
    ASSERT_TRUE(run(world, {&consumer}, [&] { return consumer.count() == 1; }));
    consumer.commit(kShard0);
    for (int hour = 0; hour < 30; ++hour) {
      world.step(std::chrono::hours(1));
      run(
          world, {&consumer}, [] { return false; }, 2s);
    }
  }
  world.crash(0);
  auto& process = world.open(0);
  SourceConsumer consumer(*process.source);
  ASSERT_TRUE(run(world, {&consumer}, [&] { return consumer.owned.size() == 1; }));
  EXPECT_EQ(process.metrics.value("millrace_kinesis_gaps_total"), 0);
}

TEST_F(KinesisReading, AShardThatExpiredUnreadIsAGapAndItsChildrenGoOn) {
  KinesisWorld world;
  world.put("k", "1");
  {
    SourceConsumer consumer(*world.open(0).source);
    ASSERT_TRUE(run(world, {&consumer}, [&] { return consumer.count() == 1; }));
    consumer.commit(kShard0);
    ASSERT_TRUE(run(world, {&consumer}, [&] { return consumer.all_committed(); }));
  }
  world.crash(0);
  world.split(kShard0, kHalf);
  world.clock.advance(std::chrono::hours(30));
  world.put("k", "2");
  auto& process = world.open(0);
  SourceConsumer consumer(*process.source);
  ASSERT_TRUE(run(world, {&consumer}, [&] { return consumer.count() == 1; }));
  EXPECT_EQ(consumer.order, std::vector<std::string>{"2"});
  EXPECT_EQ(process.metrics.value("millrace_kinesis_gaps_total"), 1);
}

TEST_F(KinesisReading, ARecreatedStreamIsRefusedWithBothTimes) {
  KinesisWorld world;
  world.put("k", "1");
  {
    SourceConsumer consumer(*world.open(0).source);
    ASSERT_TRUE(run(world, {&consumer}, [&] { return consumer.count() == 1; }));
  }
  world.crash(0);
  const std::string old_time = iso8601(wall_time_of_ms(1'795'000'000'000));
  world.call("DeleteStream", {{"StreamName", "s"}});
  world.step(60s);
  world.call("CreateStream", {{"StreamName", "s"}, {"ShardCount", 1}});
  const std::string new_time = iso8601(world.clock.now());
  SourceConsumer consumer(*world.open(0).source);
  ASSERT_TRUE(run(world, {&consumer}, [&] { return consumer.final_error.has_value(); }));
  EXPECT_EQ(consumer.final_error->kind, ErrorKind::refused);
  EXPECT_NE(consumer.final_error->message.find(old_time), std::string::npos);
  EXPECT_NE(consumer.final_error->message.find(new_time), std::string::npos);
}

TEST_F(KinesisReading, AStreamThatDoesNotExistOrIsDeletedIsAFinalError) {
  KinesisWorld world;
  auto& process = world.open(0);
  SourceConsumer consumer(*process.source);
  ASSERT_TRUE(run(world, {&consumer}, [&] { return !consumer.owned.empty(); }));
  world.call("DeleteStream", {{"StreamName", "s"}});
  ASSERT_TRUE(run(
      world, {&consumer}, [&] { return consumer.final_error.has_value(); }, 120s));
  EXPECT_EQ(consumer.final_error->kind, ErrorKind::not_found);
  world.crash(0);
  SourceConsumer next(*world.open(0).source);
  ASSERT_TRUE(run(world, {&next}, [&] { return next.final_error.has_value(); }));
  EXPECT_EQ(next.final_error->kind, ErrorKind::not_found);
  EXPECT_NE(next.final_error->message.find(" s"), std::string::npos);
}

TEST_F(KinesisReading, ASecondProcessWaitsAndTakesOverAtOnceAfterACleanStop) {
  KinesisWorld world;
  world.put("k", "1");
  auto& first = world.open(0);
  SourceConsumer one(*first.source);
  ASSERT_TRUE(run(world, {&one}, [&] { return one.count() == 1; }));
  auto& second = world.open(1);
  SourceConsumer two(*second.source);
  run(
      world, {&one, &two}, [] { return false; }, 60s);
  EXPECT_TRUE(two.owned.empty());
  ASSERT_TRUE(second.source->status().trouble);
  EXPECT_NE(second.source->status().trouble->message.find("process-0"), std::string::npos);
  first.source->close();
  ASSERT_TRUE(run(world, {&one}, [&] { return first.source->closed(); }));
  world.put("k", "2");
  EXPECT_TRUE(run(
      world, {&two}, [&] { return two.count() == 1; }, 3s));
}

TEST_F(KinesisReading, ADeadProcessIsReplacedAfterTheLeaseRanOut) {
  KinesisWorld world;
  world.put("k", "1");
  {
    SourceConsumer one(*world.open(0).source);
    ASSERT_TRUE(run(world, {&one}, [&] { return one.count() == 1; }));
  }
  world.crash(0);
  SourceConsumer two(*world.open(1).source);
  EXPECT_FALSE(run(
      world, {&two}, [&] { return !two.owned.empty(); }, 9s));
  EXPECT_TRUE(run(
      world, {&two}, [&] { return two.count() == 1; }, 4s));
}

// A commit under way at the kill may or may not have happened. What the next process is given is
// one of the two, and its records are exactly those after it.
TEST_F(KinesisReading, KilledAtAnyMomentItRepeatsNothingCommittedAndLosesNothing) {
  Rng rng(11);
  KinesisWorld world(3);
  std::map<std::string, std::vector<std::string>> put;      // per shard, texts
  std::map<std::string, std::vector<std::string>> numbers;  // and their sequence numbers
  std::map<std::string, std::size_t> confirmed;             // records whose commit was answered
  const auto count_of = [&numbers](const std::string& shard, const Position& position) {
    const auto& all = numbers[shard];
    const auto found = std::find(all.begin(), all.end(), position.offset.digits);
    return found == all.end() ? std::size_t{0} : static_cast<std::size_t>(found - all.begin()) + 1;
  };
  int number = 0;
  std::size_t read_in_all = 0;
  for (int life = 0; life < 40; ++life) {
    for (int i = 0; i < 20; ++i) {
      const std::string text = std::to_string(number++);
      std::string base64;
      append_base64(text, base64);
      const auto answer =
          world.call("PutRecord", {{"StreamName", "s"}, {"PartitionKey", text}, {"Data", base64}});
      const auto shard = answer.at("ShardId").get<std::string>();
      put[shard].push_back(text);
      numbers[shard].push_back(answer.at("SequenceNumber").get<std::string>());
    }
    auto& process = world.open(0);
    SourceConsumer consumer(*process.source);
    struct Commit {
      std::optional<Status> answer{};
      std::size_t count = 0;
    };
    std::map<std::string, Commit> commits;
    std::map<std::string, std::size_t> began;
    const auto steps = 20 + rng.below(300);
    for (std::uint64_t step = 0; step < steps; ++step) {
      world.step(10ms);
      consumer.poll(1 + rng.below(10));
      for (const auto& [shard, owned] : consumer.owned) {
        if (!began.contains(shard)) {
          began[shard] = owned.committed ? count_of(shard, owned.committed->position) : 0;
          ASSERT_GE(began[shard], confirmed[shard]) << "a commit was forgotten";
        }
        const auto& texts = consumer.texts[shard];
        const auto& all = put[shard];
        ASSERT_LE(began[shard] + texts.size(), all.size());
        ASSERT_TRUE(std::equal(texts.begin(), texts.end(),
                               all.begin() + static_cast<std::ptrdiff_t>(began[shard])))
            << "life " << life << ", " << shard;
        const auto [commit, is_new] = commits.try_emplace(shard);
        if (commit->second.answer) {
          ASSERT_TRUE(*commit->second.answer) << commit->second.answer->error().message;
          confirmed[shard] = commit->second.count;
        }
        if ((is_new || commit->second.answer) && rng.chance(0.2)) {
          commit->second.answer.reset();
          commit->second.count = count_of(shard, owned.next);
          consumer.commit(shard, "", &commit->second.answer);
        } else if (is_new) {
          commits.erase(commit);
        }
      }
    }
    read_in_all += consumer.count();
    world.crash(0);
  }
  EXPECT_GT(read_in_all, 400u);
}

TEST_F(KinesisReading, ASilentReadIsGivenUpAndTheShardGoesOn) {
  KinesisWorld world;
  auto& process = world.open(0);
  SourceConsumer consumer(*process.source);
  ASSERT_TRUE(run(world, {&consumer}, [&] { return !consumer.owned.empty(); }));
  EXPECT_EQ(process.metrics.value("millrace_kinesis_silent_reads_total"), 0);
  // ManualLoop runs work at once: a hung worker is one whose loop drops the job.
  process.loop.drop_offloads(true);
  run(
      world, {&consumer}, [] { return false; }, 5s);
  process.loop.drop_offloads(false);
  world.put("k", "after the silence");
  ASSERT_TRUE(run(
      world, {&consumer}, [&] { return consumer.count() == 1; }, 200s));
  EXPECT_EQ(process.metrics.value("millrace_kinesis_silent_reads_total"), 1);
}

TEST_F(KinesisReading, AggregatedRecordsPassWholeAndAreCounted) {
  KinesisWorld world;
  const std::string aggregate("\xF3\x89\x9A\xC2 a protobuf and its digest");
  world.put("k", aggregate);
  auto& process = world.open(0);
  SourceConsumer consumer(*process.source);
  ASSERT_TRUE(run(world, {&consumer}, [&] { return consumer.count() == 1; }));
  EXPECT_EQ(consumer.order.front(), aggregate);
  EXPECT_EQ(process.metrics.value("millrace_kinesis_aggregated_records_total"), 1);
}

TEST_F(KinesisReading, ArrivalTimesAreTheServices) {
  KinesisWorld world;
  const auto put_at = unix_ms(world.clock.now());
  world.put("k", "x");
  world.step(5s);
  auto& process = world.open(0);
  for (int i = 0; i < 200; ++i) {
    world.step(20ms);
    const auto events = process.source->poll(10);
    ASSERT_TRUE(events);
    for (const SourceEvent& event : *events) {
      if (const auto* assigned = std::get_if<Assigned>(&event)) {
        process.source->start(assigned->partition, assigned->tenure, assigned->start);
      }
      if (const auto* records = std::get_if<Records>(&event)) {
        EXPECT_EQ(records->batch.records[0].arrived_ms, put_at);
        EXPECT_EQ(records->batch.records[0].at.offset.digits.size(), 56u);
        return;
      }
    }
  }
  FAIL() << "no records came";
}

// ---- the producer ----------------------------------------------------------------------------

TEST(KinesisProducerTest, KeepsTheOrderOfEachKeyThroughPartialFailures) {
  KinesisWorld world(2, {.limits = true});
  auto& process = world.open(0);
  class MovingPause final : public Pause {
   public:
    explicit MovingPause(ManualClock& clock) : clock_(clock) {}
    bool wait(Ticks duration) override {
      clock_.advance(std::chrono::ceil<std::chrono::milliseconds>(duration));
      return true;
    }

   private:
    ManualClock& clock_;
  } pause(world.clock);
  Log log;
  KinesisProducer producer({.stream = "s"}, process.api, pause, log);
  for (int i = 0; i < 6000; ++i) {
    ASSERT_TRUE(producer.produce(fmt::format("user-{}", i % 700), std::to_string(i)));
  }
  ASSERT_TRUE(producer.flush());
  EXPECT_EQ(producer.confirmed(), 6000u);
  SourceConsumer consumer(*process.source);
  for (int i = 0; i < 3000 && consumer.count() < 6000; ++i) {
    world.step(20ms);
    consumer.poll();
  }
  ASSERT_EQ(consumer.count(), 6000u);
  std::map<int, int> last;
  for (const std::string& text : consumer.order) {
    const int number = std::stoi(text);
    const auto [at, is_first] = last.try_emplace(number % 700, number);
    if (!is_first) {
      EXPECT_LT(at->second, number);
    }
    at->second = number;
  }
}

TEST(KinesisProducerTest, SaysWhichStreamIsMissingAndRefusesWhatIsTooLarge) {
  KinesisWorld world;
  auto& process = world.open(0);
  Log log;
  KinesisProducer producer({.stream = "nobody"}, process.api, process.pause, log);
  ASSERT_TRUE(producer.produce("k", "v"));
  const Status flushed = producer.flush();
  ASSERT_FALSE(flushed);
  EXPECT_NE(flushed.error().message.find("nobody"), std::string::npos);
  EXPECT_FALSE(producer.produce("k", "v"));

  KinesisProducer fine({.stream = "s"}, process.api, process.pause, log);
  EXPECT_EQ(fine.produce("k", std::string(1u << 20, 'x')).error().kind, ErrorKind::rejected);
  EXPECT_TRUE(fine.produce("", ""));
  EXPECT_TRUE(fine.produce(std::string(300, 'k'), "long key"));
  EXPECT_TRUE(fine.flush());
  EXPECT_EQ(fine.confirmed(), 2u);
}

}  // namespace
}  // namespace millrace
