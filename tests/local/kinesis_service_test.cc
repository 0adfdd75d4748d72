#include "local/kinesis_service.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <thread>

#include "aws/base64.h"
#include "core/position.h"
#include "tests/fakes/manual_clock.h"

namespace millrace {
namespace {

using nlohmann::json;

std::string base64_of(std::string_view bytes) {
  std::string out;
  append_base64(bytes, out);
  return out;
}
std::string bytes_of(const json& base64) {
  std::string out;
  EXPECT_TRUE(append_base64_decoded(base64.get<std::string>(), out));
  return out;
}

class Kinesis : public testing::Test {
 protected:
  void SetUp() override { restart({}); }
  void TearDown() override {
    service_.reset();
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
  }

  void restart(KinesisServiceOptions options) {
    service_.reset();
    auto opened = KinesisService::open(std::move(options), clock_);
    ASSERT_TRUE(opened) << opened.error().message;
    service_ = std::move(*opened);
  }
  std::filesystem::path folder() {
    folder_ = std::filesystem::path(testing::TempDir()) /
              fmt::format("kinesis-{}-{}", getpid(),
                          testing::UnitTest::GetInstance()->current_test_info()->name());
    return folder_;
  }

  json call(const std::string& operation, const json& arguments, int status = 200) {
    const HttpResponse response =
        service_->handle({.method = "POST",
                          .url = "/",
                          .headers = {{"X-Amz-Target", "Kinesis_20131202." + operation},
                                      {"Content-Type", "application/x-amz-json-1.1"}},
                          .body = arguments.dump()});
    EXPECT_EQ(response.status, status) << operation << ": " << response.body;
    return response.body.empty() ? json::object() : json::parse(response.body);
  }
  /// The code of the refusal.
  std::string refused(const std::string& operation, const json& arguments) {
    return call(operation, arguments, 400).value("__type", "none");
  }
  void create(const std::string& name, int shards) {
    call("CreateStream", {{"StreamName", name}, {"ShardCount", shards}});
  }
  json put(const std::string& key, const std::string& data) {
    return call("PutRecord",
                {{"StreamName", "s"}, {"PartitionKey", key}, {"Data", base64_of(data)}});
  }
  std::string iterator(const std::string& shard, const std::string& type, json more = {}) {
    json arguments = {{"StreamName", "s"}, {"ShardId", shard}, {"ShardIteratorType", type}};
    if (!more.is_null()) arguments.update(more);
    return call("GetShardIterator", arguments).at("ShardIterator").get<std::string>();
  }
  json read(const std::string& token, int limit = 10'000) {
    return call("GetRecords", {{"ShardIterator", token}, {"Limit", limit}});
  }
  std::vector<std::string> data_of(const json& answer) {
    std::vector<std::string> out;
    for (const json& record : answer.at("Records")) out.push_back(bytes_of(record.at("Data")));
    return out;
  }
  json shards(json more = {}) {
    json arguments = {{"StreamName", "s"}};
    if (!more.is_null()) arguments.update(more);
    return call("ListShards", arguments).at("Shards");
  }
  static std::vector<std::string> ids_of(const json& list) {
    std::vector<std::string> ids;
    for (const json& shard : list) ids.push_back(shard.at("ShardId").get<std::string>());
    return ids;
  }

  ManualClock clock_{};
  std::unique_ptr<KinesisService> service_{};
  std::filesystem::path folder_{};
};

constexpr const char* kShard0 = "shardId-000000000000";
constexpr const char* kShard1 = "shardId-000000000001";
constexpr const char* kShard2 = "shardId-000000000002";
constexpr const char* kShard3 = "shardId-000000000003";
constexpr const char* kHalf = "170141183460469231731687303715884105728";

TEST_F(Kinesis, GivesBackWhatWasPutInOrderWithNumbersOf56Digits) {
  create("s", 1);
  std::vector<std::string> numbers;
  const std::vector<std::string> sent = {"one", "", std::string("\0\xFF", 2), "four"};
  for (const std::string& data : sent) {
    numbers.push_back(put("ann", data).at("SequenceNumber").get<std::string>());
  }
  const json answer = read(iterator(kShard0, "TRIM_HORIZON"));
  ASSERT_EQ(answer.at("Records").size(), 4u);
  EXPECT_EQ(data_of(answer), sent);
  EXPECT_EQ(answer.at("MillisBehindLatest"), 0);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    EXPECT_EQ(numbers[i].size(), 56u);
    EXPECT_EQ(answer.at("Records")[i].at("SequenceNumber"), numbers[i]);
    if (i > 0) {
      EXPECT_LT(Offset{numbers[i - 1]}, Offset{numbers[i]});
    }
  }
  EXPECT_EQ(answer.at("Records")[0].at("PartitionKey"), "ann");
  EXPECT_DOUBLE_EQ(answer.at("Records")[0].at("ApproximateArrivalTimestamp").get<double>(),
                   1'795'000'000.0);
}

TEST_F(Kinesis, EveryIteratorTypeStartsWhereItSays) {
  create("s", 1);
  put("k", "a");
  clock_.advance(10s);
  const auto second = put("k", "b").at("SequenceNumber").get<std::string>();
  clock_.advance(10s);
  put("k", "c");
  using Data = std::vector<std::string>;
  EXPECT_EQ(data_of(read(iterator(kShard0, "TRIM_HORIZON"))), (Data{"a", "b", "c"}));
  EXPECT_EQ(data_of(read(iterator(kShard0, "LATEST"))), Data{});
  EXPECT_EQ(
      data_of(read(iterator(kShard0, "AT_SEQUENCE_NUMBER", {{"StartingSequenceNumber", second}}))),
      (Data{"b", "c"}));
  EXPECT_EQ(data_of(read(
                iterator(kShard0, "AFTER_SEQUENCE_NUMBER", {{"StartingSequenceNumber", second}}))),
            Data{"c"});
  EXPECT_EQ(data_of(read(iterator(kShard0, "AT_TIMESTAMP", {{"Timestamp", 1'795'000'000.001}}))),
            (Data{"b", "c"}));
  EXPECT_EQ(data_of(read(iterator(kShard0, "AT_TIMESTAMP", {{"Timestamp", 1'795'000'010}}))),
            (Data{"b", "c"}));
  const std::string latest = iterator(kShard0, "LATEST");
  put("k", "d");
  EXPECT_EQ(data_of(read(latest)), Data{"d"});
}

TEST_F(Kinesis, LimitAndTenMegabytesCutAnAnswer) {
  create("s", 1);
  const std::string large(1'000'000, 'x');
  for (int i = 0; i < 14; ++i) put("k", large);
  json answer = read(iterator(kShard0, "TRIM_HORIZON"));
  EXPECT_EQ(answer.at("Records").size(), 10u);
  EXPECT_GT(answer.at("MillisBehindLatest"), 0);
  answer = read(answer.at("NextShardIterator"), 3);
  EXPECT_EQ(answer.at("Records").size(), 3u);
  answer = read(answer.at("NextShardIterator"));
  EXPECT_EQ(answer.at("Records").size(), 1u);
  EXPECT_EQ(answer.at("MillisBehindLatest"), 0);
}

TEST_F(Kinesis, AnIteratorExpiresAfterFiveMinutes) {
  create("s", 1);
  const std::string token = iterator(kShard0, "TRIM_HORIZON");
  clock_.advance(300s);
  EXPECT_TRUE(read(token).contains("Records"));
  clock_.advance(1ms);
  EXPECT_EQ(refused("GetRecords", {{"ShardIterator", token}}), "ExpiredIteratorException");
}

TEST_F(Kinesis, AClosedShardEndsInItsChildrenAndKeepsItsRecords) {
  create("s", 1);
  put("k", "before");
  call("SplitShard",
       {{"StreamName", "s"}, {"ShardToSplit", kShard0}, {"NewStartingHashKey", kHalf}});
  const json parent_end = read(iterator(kShard0, "TRIM_HORIZON"));
  EXPECT_EQ(data_of(parent_end), std::vector<std::string>{"before"});
  EXPECT_TRUE(parent_end.at("NextShardIterator").is_null());
  ASSERT_EQ(parent_end.at("ChildShards").size(), 2u);
  EXPECT_EQ(parent_end.at("ChildShards")[0].at("ShardId"), kShard1);
  EXPECT_EQ(parent_end.at("ChildShards")[0].at("ParentShards"), json::array({kShard0}));

  call("MergeShards",
       {{"StreamName", "s"}, {"ShardToMerge", kShard1}, {"AdjacentShardToMerge", kShard2}});
  for (const char* parent : {kShard1, kShard2}) {
    const json end = read(iterator(parent, "LATEST"));
    EXPECT_TRUE(end.at("NextShardIterator").is_null());
    EXPECT_EQ(end.at("ChildShards")[0].at("ParentShards"), json::array({kShard1, kShard2}));
  }
  const json list = shards();
  ASSERT_EQ(list.size(), 4u);
  EXPECT_TRUE(list[0].at("SequenceNumberRange").contains("EndingSequenceNumber"));
  EXPECT_FALSE(list[3].at("SequenceNumberRange").contains("EndingSequenceNumber"));
  EXPECT_EQ(list[3].at("AdjacentParentShardId"), kShard2);
  // A child's numbers are above its parents', even when all happens within one second.
  const auto child = put("k", "after").at("SequenceNumber").get<std::string>();
  EXPECT_LT(Offset{parent_end.at("Records")[0].at("SequenceNumber").get<std::string>()},
            Offset{child});
}

TEST_F(Kinesis, FiltersOfListShardsTellTheGenerationsApart) {
  create("s", 2);
  clock_.advance(60s);
  call("MergeShards",
       {{"StreamName", "s"}, {"ShardToMerge", kShard0}, {"AdjacentShardToMerge", kShard1}});
  clock_.advance(60s);
  const auto filtered = [&](json filter) {
    return ids_of(shards({{"ShardFilter", std::move(filter)}}));
  };
  using Ids = std::vector<std::string>;
  EXPECT_EQ(ids_of(shards()), (Ids{kShard0, kShard1, kShard2}));
  EXPECT_EQ(filtered({{"Type", "AT_LATEST"}}), Ids{kShard2});
  EXPECT_EQ(filtered({{"Type", "AT_TRIM_HORIZON"}}), (Ids{kShard0, kShard1}));
  EXPECT_EQ(filtered({{"Type", "AT_TIMESTAMP"}, {"Timestamp", 1'795'000'030}}),
            (Ids{kShard0, kShard1}));
  EXPECT_EQ(filtered({{"Type", "AT_TIMESTAMP"}, {"Timestamp", 1'795'000'061}}), Ids{kShard2});
  EXPECT_EQ(filtered({{"Type", "FROM_TIMESTAMP"}, {"Timestamp", 1'795'000'061}}), Ids{kShard2});
  EXPECT_EQ(filtered({{"Type", "AFTER_SHARD_ID"}, {"ShardId", kShard0}}), (Ids{kShard1, kShard2}));
  EXPECT_EQ(
      refused("ListShards", {{"StreamName", "s"}, {"ShardFilter", {{"Type", "AT_TIMESTAMP"}}}}),
      "InvalidArgumentException");
}

TEST_F(Kinesis, ListShardsPagesWithATokenThatExpires) {
  create("s", 5);
  json page = call("ListShards", {{"StreamName", "s"}, {"MaxResults", 2}});
  std::vector<std::string> all = ids_of(page.at("Shards"));
  const std::string first_token = page.at("NextToken").get<std::string>();
  while (page.contains("NextToken")) {
    page = call("ListShards", {{"NextToken", page.at("NextToken")}, {"MaxResults", 2}});
    for (const std::string& id : ids_of(page.at("Shards"))) all.push_back(id);
  }
  EXPECT_EQ(all, ids_of(shards()));
  EXPECT_EQ(refused("ListShards", {{"NextToken", first_token}, {"StreamName", "other"}}),
            "InvalidArgumentException");
  clock_.advance(301s);
  EXPECT_EQ(refused("ListShards", {{"NextToken", first_token}}), "ExpiredNextTokenException");
}

TEST_F(Kinesis, UpdateShardCountKeepsTheWholeRangeCoveredAndEveryKeyInOneOpenShard) {
  create("s", 3);
  for (const int target : {5, 4, 2, 1, 2, 3}) {
    const json answer = call(
        "UpdateShardCount",
        {{"StreamName", "s"}, {"TargetShardCount", target}, {"ScalingType", "UNIFORM_SCALING"}});
    EXPECT_EQ(answer.at("TargetShardCount"), target);
    const json open = shards({{"ShardFilter", {{"Type", "AT_LATEST"}}}});
    ASSERT_EQ(open.size(), static_cast<std::size_t>(target));
    std::set<std::string> starts;
    bool at_zero = false;
    bool at_end = false;
    for (const json& shard : open) {
      const json& range = shard.at("HashKeyRange");
      at_zero = at_zero || range.at("StartingHashKey") == "0";
      at_end = at_end || range.at("EndingHashKey") == "340282366920938463463374607431768211455";
      starts.insert(range.at("StartingHashKey").get<std::string>());
    }
    EXPECT_TRUE(at_zero && at_end);
    EXPECT_EQ(starts.size(), static_cast<std::size_t>(target));
    put("ann", "x");
  }
  EXPECT_EQ(
      refused("UpdateShardCount",
              {{"StreamName", "s"}, {"TargetShardCount", 7}, {"ScalingType", "UNIFORM_SCALING"}}),
      "LimitExceededException");
}

TEST_F(Kinesis, RecordsGoWhereTheirHashSays) {
  create("s", 2);
  const auto shard_of = [&](const json& more) {
    json arguments = {{"StreamName", "s"}, {"PartitionKey", "k"}, {"Data", ""}};
    arguments.update(more);
    return call("PutRecord", arguments).at("ShardId");
  };
  EXPECT_EQ(shard_of({{"ExplicitHashKey", "0"}}), kShard0);
  EXPECT_EQ(shard_of({{"ExplicitHashKey", "170141183460469231731687303715884105727"}}), kShard0);
  EXPECT_EQ(shard_of({{"ExplicitHashKey", kHalf}}), kShard1);
  EXPECT_EQ(shard_of({{"PartitionKey", "abc"}}), kShard1);  // MD5 begins with 0x90
  EXPECT_EQ(refused("PutRecord", {{"StreamName", "s"},
                                  {"PartitionKey", "k"},
                                  {"Data", ""},
                                  {"ExplicitHashKey", "340282366920938463463374607431768211456"}}),
            "InvalidArgumentException");
}

TEST_F(Kinesis, RetentionTrimsRecordsThenClosedShards) {
  create("s", 1);
  const auto number = put("k", "old").at("SequenceNumber").get<std::string>();
  call("SplitShard",
       {{"StreamName", "s"}, {"ShardToSplit", kShard0}, {"NewStartingHashKey", kHalf}});
  clock_.advance(std::chrono::hours(23));
  EXPECT_EQ(shards().size(), 3u);
  call("IncreaseStreamRetentionPeriod", {{"StreamName", "s"}, {"RetentionPeriodHours", 48}});
  clock_.advance(std::chrono::hours(2));
  EXPECT_EQ(data_of(read(iterator(kShard0, "TRIM_HORIZON"))).size(), 1u);
  clock_.advance(std::chrono::hours(24));
  EXPECT_EQ(ids_of(shards()), (std::vector<std::string>{kShard1, kShard2}));
  EXPECT_EQ(refused("GetShardIterator", {{"StreamName", "s"},
                                         {"ShardId", kShard0},
                                         {"ShardIteratorType", "AFTER_SEQUENCE_NUMBER"},
                                         {"StartingSequenceNumber", number}}),
            "ResourceNotFoundException");
}

TEST_F(Kinesis, ATrimmedPositionIsServedFromTheOldestRecordKept) {
  create("s", 1);
  const auto number = put("k", "old").at("SequenceNumber").get<std::string>();
  clock_.advance(std::chrono::hours(23));
  put("k", "newer");
  clock_.advance(std::chrono::hours(2));
  EXPECT_EQ(
      data_of(read(iterator(kShard0, "AT_SEQUENCE_NUMBER", {{"StartingSequenceNumber", number}}))),
      std::vector<std::string>{"newer"});
}

TEST_F(Kinesis, LimitsThrottleReadsAndWritesOfOneShard) {
  restart({.limits = true});
  create("s", 1);
  const std::string token = iterator(kShard0, "TRIM_HORIZON");
  for (int i = 0; i < 5; ++i) read(token);
  EXPECT_EQ(refused("GetRecords", {{"ShardIterator", token}}),
            "ProvisionedThroughputExceededException");
  clock_.advance(1s);
  EXPECT_TRUE(read(token).contains("Records"));

  json records = json::array();
  for (int i = 0; i < 500; ++i) records.push_back({{"PartitionKey", "k"}, {"Data", ""}});
  EXPECT_EQ(call("PutRecords", {{"StreamName", "s"}, {"Records", records}}).at("FailedRecordCount"),
            0);
  call("PutRecords", {{"StreamName", "s"}, {"Records", records}});
  const json third = call("PutRecords", {{"StreamName", "s"}, {"Records", records}});
  EXPECT_EQ(third.at("FailedRecordCount"), 500);
  EXPECT_EQ(third.at("Records")[0].at("ErrorCode"), "ProvisionedThroughputExceededException");
  EXPECT_FALSE(third.at("Records")[0].contains("SequenceNumber"));
  clock_.advance(500ms);
  EXPECT_EQ(call("PutRecords", {{"StreamName", "s"}, {"Records", records}}).at("FailedRecordCount"),
            0);
}

TEST_F(Kinesis, AnAnswerOfTenMegabytesIsPaidForWithSecondsOfThrottle) {
  create("s", 1);
  const std::string large(1'000'000, 'x');
  for (int i = 0; i < 20; ++i) put("k", large);
  restart({.limits = true});
  create("s", 1);
  for (int i = 0; i < 20; ++i) {
    put("k", large);
    clock_.advance(1s);
  }
  const json answer = read(iterator(kShard0, "TRIM_HORIZON"));
  EXPECT_EQ(answer.at("Records").size(), 10u);
  clock_.advance(3s);
  EXPECT_EQ(refused("GetRecords", {{"ShardIterator", answer.at("NextShardIterator")}}),
            "ProvisionedThroughputExceededException");
  clock_.advance(2s);
  EXPECT_EQ(read(answer.at("NextShardIterator")).at("Records").size(), 10u);
}

TEST_F(Kinesis, FullStoreRefusesWritesUntilRetentionMakesRoom) {
  restart({.records_bytes_max = 10'000});
  create("s", 1);
  put("k", std::string(9'000, 'x'));
  EXPECT_EQ(refused("PutRecord", {{"StreamName", "s"},
                                  {"PartitionKey", "k"},
                                  {"Data", base64_of(std::string(2'000, 'x'))}}),
            "ProvisionedThroughputExceededException");
  clock_.advance(std::chrono::hours(25));
  put("k", std::string(2'000, 'x'));
}

TEST_F(Kinesis, StatusesTakeTheirTimeAndRefuseMeanwhile) {
  restart({.status_duration = 500ms});
  create("s", 1);
  const auto status = [&] {
    return call("DescribeStreamSummary", {{"StreamName", "s"}})
        .at("StreamDescriptionSummary")
        .at("StreamStatus");
  };
  EXPECT_EQ(status(), "CREATING");
  EXPECT_EQ(refused("ListShards", {{"StreamName", "s"}}), "ResourceInUseException");
  clock_.advance(500ms);
  EXPECT_EQ(status(), "ACTIVE");
  const json split = {
      {"StreamName", "s"}, {"ShardToSplit", kShard0}, {"NewStartingHashKey", kHalf}};
  call("SplitShard", split);
  EXPECT_EQ(status(), "UPDATING");
  EXPECT_EQ(refused("SplitShard", split), "ResourceInUseException");
  put("k", "writes go on");
  clock_.advance(500ms);
  call("DeleteStream", {{"StreamName", "s"}});
  EXPECT_EQ(status(), "DELETING");
  clock_.advance(500ms);
  EXPECT_EQ(refused("DescribeStreamSummary", {{"StreamName", "s"}}), "ResourceNotFoundException");
}

TEST_F(Kinesis, RefusesWhatTheServiceRefusesByItsOwnCode) {
  create("s", 2);
  const auto number = put("k", "x");
  const std::string shard = number.at("ShardId").get<std::string>();
  const std::string other = shard == kShard0 ? kShard1 : kShard0;
  json records = json::array();
  for (int i = 0; i < 501; ++i) records.push_back({{"PartitionKey", "k"}, {"Data", ""}});
  struct Row {
    const char* operation;
    json arguments;
    const char* code;
  };
  const std::string million(1024 * 1024, 'x');
  const Row rows[] = {
      {"CreateStream", {{"StreamName", "s"}, {"ShardCount", 1}}, "ResourceInUseException"},
      {"CreateStream", {{"StreamName", "bad name"}, {"ShardCount", 1}}, "ValidationException"},
      {"CreateStream", {{"StreamName", "t"}, {"ShardCount", 0}}, "ValidationException"},
      {"CreateStream", {{"StreamName", "t"}}, "ValidationException"},
      {"CreateStream", {{"StreamName", "t"}, {"ShardCount", 10'001}}, "LimitExceededException"},
      {"ListShards", {{"StreamName", "nobody"}}, "ResourceNotFoundException"},
      {"ListShards", json::object(), "InvalidArgumentException"},
      {"ListShards", {{"StreamName", 5}}, "SerializationException"},
      {"PutRecord", {{"StreamName", "s"}, {"PartitionKey", "k"}}, "ValidationException"},
      {"PutRecord",
       {{"StreamName", "s"}, {"PartitionKey", ""}, {"Data", ""}},
       "ValidationException"},
      {"PutRecord",
       {{"StreamName", "s"}, {"PartitionKey", std::string(257, 'k')}, {"Data", ""}},
       "ValidationException"},
      {"PutRecord",
       {{"StreamName", "s"}, {"PartitionKey", "k"}, {"Data", "not base64!"}},
       "SerializationException"},
      {"PutRecord",
       {{"StreamName", "s"}, {"PartitionKey", "k"}, {"Data", base64_of(million)}},
       "InvalidArgumentException"},
      {"PutRecords", {{"StreamName", "s"}, {"Records", records}}, "ValidationException"},
      {"PutRecords", {{"StreamName", "s"}, {"Records", json::array()}}, "ValidationException"},
      {"GetRecords", {{"ShardIterator", "AAAAAAAA"}}, "InvalidArgumentException"},
      {"GetRecords", {{"ShardIterator", "not/an+iterator"}}, "InvalidArgumentException"},
      {"GetShardIterator",
       {{"StreamName", "s"}, {"ShardId", "shardId-9"}, {"ShardIteratorType", "LATEST"}},
       "ResourceNotFoundException"},
      {"GetShardIterator",
       {{"StreamName", "s"}, {"ShardId", kShard0}, {"ShardIteratorType", "SOMEWHERE"}},
       "ValidationException"},
      {"GetShardIterator",
       {{"StreamName", "s"}, {"ShardId", kShard0}, {"ShardIteratorType", "AT_SEQUENCE_NUMBER"}},
       "InvalidArgumentException"},
      {"GetShardIterator",
       {{"StreamName", "s"},
        {"ShardId", kShard0},
        {"ShardIteratorType", "AT_TIMESTAMP"},
        {"Timestamp", 1'895'000'000}},
       "InvalidArgumentException"},
      {"GetShardIterator",
       {{"StreamName", "s"},
        {"ShardId", other},
        {"ShardIteratorType", "AFTER_SEQUENCE_NUMBER"},
        {"StartingSequenceNumber", number.at("SequenceNumber")}},
       "InvalidArgumentException"},
      {"SplitShard",
       {{"StreamName", "s"}, {"ShardToSplit", kShard0}, {"NewStartingHashKey", "0"}},
       "InvalidArgumentException"},
      {"MergeShards",
       {{"StreamName", "s"}, {"ShardToMerge", kShard0}, {"AdjacentShardToMerge", kShard0}},
       "InvalidArgumentException"},
      {"SubscribeToShard", json::object(), "UnknownOperationException"},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(refused(row.operation, row.arguments), row.code)
        << row.operation << " " << row.arguments.dump().substr(0, 200);
  }
  EXPECT_EQ(refused("GetRecords", {{"ShardIterator", iterator(kShard0, "LATEST")}, {"Limit", 0}}),
            "ValidationException");
  EXPECT_EQ(
      refused("GetRecords", {{"ShardIterator", iterator(kShard0, "LATEST")}, {"Limit", 10'001}}),
      "InvalidArgumentException");
}

TEST_F(Kinesis, AnyBytesAreAnAnswerNotACrash) {
  for (const std::string body :
       {"", "{", "[]", "null", "\xFF\xFE", "{\"StreamName\":\"\\ud800\"}"}) {
    const HttpResponse response =
        service_->handle({.method = "POST",
                          .url = "/",
                          .headers = {{"X-Amz-Target", "Kinesis_20131202.ListShards"},
                                      {"Content-Type", "application/x-amz-json-1.1"}},
                          .body = body});
    EXPECT_EQ(response.status, 400) << body;
    EXPECT_EQ(json::parse(response.body).at("__type"), "SerializationException") << body;
  }
}

TEST_F(Kinesis, ARecreatedStreamKnowsItsOldNumbersAreForeign) {
  create("s", 1);
  const auto number = put("k", "x").at("SequenceNumber");
  const std::string token = iterator(kShard0, "TRIM_HORIZON");
  call("DeleteStream", {{"StreamName", "s"}});
  clock_.advance(5s);
  create("s", 1);
  EXPECT_EQ(refused("GetShardIterator", {{"StreamName", "s"},
                                         {"ShardId", kShard0},
                                         {"ShardIteratorType", "AFTER_SEQUENCE_NUMBER"},
                                         {"StartingSequenceNumber", number}}),
            "InvalidArgumentException");
  EXPECT_EQ(refused("GetRecords", {{"ShardIterator", token}}), "ResourceNotFoundException");
}

TEST_F(Kinesis, KeepsEverythingInItsFolderAcrossAKill) {
  const KinesisServiceOptions options{.folder = folder()};
  restart(options);
  create("s", 2);
  call("AddTagsToStream", {{"StreamName", "s"}, {"Tags", {{"team", "recs"}}}});
  const auto first = put("ann", "one");
  const std::string shard = first.at("ShardId").get<std::string>();
  call("SplitShard", {{"StreamName", "s"},
                      {"ShardToSplit", kShard1},
                      {"NewStartingHashKey", "255211775190703847597530955573826158592"}});
  const json before = shards();
  const std::string token = iterator(shard, "TRIM_HORIZON");
  clock_.advance(1s);
  restart(options);
  EXPECT_EQ(shards(), before);
  EXPECT_EQ(read(token).at("Records")[0].at("SequenceNumber"), first.at("SequenceNumber"));
  EXPECT_EQ(call("ListTagsForStream", {{"StreamName", "s"}}).at("Tags")[0].at("Value"), "recs");
  const auto second = put("ann", "two").at("SequenceNumber").get<std::string>();
  EXPECT_LT(Offset{first.at("SequenceNumber").get<std::string>()}, Offset{second});
  call("DeleteStream", {{"StreamName", "s"}});
  restart(options);
  EXPECT_EQ(refused("ListShards", {{"StreamName", "s"}}), "ResourceNotFoundException");
}

TEST_F(Kinesis, ASecondProcessOnTheFolderIsToldSo) {
  restart({.folder = folder()});
  const auto second = KinesisService::open({.folder = folder()}, clock_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind, ErrorKind::conflict);
}

TEST_F(Kinesis, ManyThreadsPutAndReadWithoutLosingARecord) {
  create("s", 4);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      for (int i = 0; i < 50; ++i) {
        json records = json::array();
        for (int r = 0; r < 10; ++r) {
          records.push_back({{"PartitionKey", fmt::format("{}-{}", i, r)},
                             {"Data", base64_of(fmt::format("{}-{}-{}", t, i, r))}});
        }
        call("PutRecords", {{"StreamName", "s"}, {"Records", std::move(records)}});
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<std::string> seen;
  for (const std::string& shard : ids_of(shards())) {
    for (const std::string& data : data_of(read(iterator(shard, "TRIM_HORIZON")))) {
      EXPECT_TRUE(seen.insert(data).second) << data;
    }
  }
  EXPECT_EQ(seen.size(), 2000u);
  EXPECT_EQ(service_->records_accepted(), 2000u);
}

}  // namespace
}  // namespace millrace
