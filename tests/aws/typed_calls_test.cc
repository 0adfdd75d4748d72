// The typed calls: what goes out, and what is made of good, odd and hostile answers.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "aws/base64.h"
#include "aws/json_text.h"
#include "aws/kinesis_api.h"
#include "aws/personalize_api.h"
#include "aws/personalize_events_api.h"
#include "aws/personalize_runtime_api.h"
#include "core/rng.h"
#include "tests/fakes/recording_pause.h"
#include "tests/fakes/scripted_http_client.h"

namespace millrace {
namespace {

using Json = nlohmann::json;

class TypedCalls : public testing::Test {
 protected:
  TypedCalls()
      : credentials_({.access_key_id = "K", .secret_access_key = Secret("s")}),
        client_({.service = kKinesisService, .region = "r-1", .endpoint = "http://h:1"},
                {.http = http_,
                 .credentials = credentials_,
                 .clock_offset = offset_,
                 .pause = pause_,
                 .log = log_,
                 .wall_time = [] { return wall_time_of_ms(1'795'000'000'000); }}) {}

  void answer(std::string body) { http_.then({.status = 200, .body = std::move(body)}); }
  void refuse(const std::string& code) {
    http_.then({.status = 400, .body = R"({"__type":")" + code + "\"}"});
  }
  Json sent(std::size_t index = 0) { return Json::parse(http_.requests().at(index).body); }

  ScriptedHttpClient http_{};
  StaticCredentials credentials_;
  ClockOffset offset_{};
  RecordingPause pause_{};
  Log log_{};
  AwsClient client_;
};

TEST(JsonText, EscapesAnythingIntoValidJson) {
  const std::pair<std::string, std::string> rows[] = {
      {"", "\"\""},
      {"a\"b\\c", "\"a\\\"b\\\\c\""},
      {std::string("\0\x1f\n", 3), "\"\\u0000\\u001f\\u000a\""},
      {"é€😀", "\"é€😀\""},
      {"a\xFF"
       "b",
       "\"a\xEF\xBF\xBD"
       "b\""},
      {"\xC3", "\"\xEF\xBF\xBD\""},
      {"\xC0\x80", "\"\xEF\xBF\xBD\xEF\xBF\xBD\""},                  // overlong
      {"\xED\xA0\x80", "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""},  // a surrogate
  };
  for (const auto& [text, expected] : rows) {
    std::string out;
    append_json_string(text, out);
    EXPECT_EQ(out, expected);
  }
  Rng rng(3);
  for (int i = 0; i < 2000; ++i) {
    std::string text;
    for (std::uint64_t n = rng.below(12); n > 0; --n) text += static_cast<char>(rng.below(256));
    std::string out;
    append_json_string(text, out);
    EXPECT_TRUE(Json::accept(out)) << out;
  }
}

TEST_F(TypedCalls, PutEventsSendsEveryFieldInItsOwnForm) {
  const Event events[] = {
      {.user_id = "u",
       .session_id = "s",
       .item_id = "i\"1",
       .event_type = "click",
       .timestamp = 1'700'000'000,
       .event_id = "e1",
       .event_value = "3.5",
       .properties = R"({"numRatings":"12","q":"a\"b"})",
       .recommendation_id = "RID-1",
       .impression = {"x", "y"}},
      {.item_id = "i2", .event_type = "view", .timestamp = 1, .event_id = "e2"}};
  answer("");
  PersonalizeEventsApi api(client_);
  ASSERT_TRUE(
      api.put_events({.tracking_id = "t", .user_id = "u", .session_id = "s", .events = events})
          .has_value());
  EXPECT_EQ(http_.requests()[0].url, "http://h:1/events");
  const Json body = sent();
  EXPECT_EQ(body, Json::parse(R"({"trackingId":"t","userId":"u","sessionId":"s","eventList":[
      {"eventType":"click","sentAt":1700000000,"eventId":"e1","itemId":"i\"1","eventValue":3.5,
       "properties":"{\"numRatings\":\"12\",\"q\":\"a\\\"b\"}","recommendationId":"RID-1",
       "impression":["x","y"]},
      {"eventType":"view","sentAt":1,"eventId":"e2","itemId":"i2"}]})"));
  EXPECT_TRUE(body["eventList"][0]["sentAt"].is_number_integer());
  EXPECT_TRUE(body["eventList"][0]["properties"].is_string());
}

TEST(PutEventsBody, LeavesOutAnAnonymousUser) {
  const Event event{.session_id = "s", .item_id = "i", .event_type = "v", .event_id = "e"};
  const Json body =
      Json::parse(put_events_body({.tracking_id = "t", .session_id = "s", .events = {&event, 1}}));
  EXPECT_FALSE(body.contains("userId"));
}

TEST(GetRecordsAnswer, DecodesIntoOneArena) {
  const auto parsed = parse_get_records(
      R"({"Records":[{"SequenceNumber":"49590338271490256608559692538361571095921575989136588898",
      "ApproximateArrivalTimestamp":1.795000000123E9,"Data":"aGVsbG8=","PartitionKey":"k"},
      {"SequenceNumber":"2","Data":"","New":{"x":[1]}}],"NextShardIterator":"N",
      "MillisBehindLatest":7,"ChildShards":[{"ShardId":"c1"},{"ShardId":"c2"}],"Other":null})");
  ASSERT_TRUE(parsed.has_value()) << parsed.error().message;
  ASSERT_EQ(parsed->batch.records.size(), 2u);
  const auto& first = parsed->batch.records[0];
  EXPECT_EQ(first.at.text(), "49590338271490256608559692538361571095921575989136588898");
  EXPECT_EQ(first.arrived_ms, 1'795'000'000'123);
  EXPECT_EQ(parsed->batch.text_of(first), "hello");
  EXPECT_EQ(parsed->batch.text_of(parsed->batch.records[1]), "");
  EXPECT_EQ(parsed->batch.records[1].arrived_ms, -1);
  EXPECT_EQ(parsed->next_iterator, "N");
  EXPECT_EQ(parsed->behind_ms, 7);
  EXPECT_EQ(parsed->child_shards, (std::vector<std::string>{"c1", "c2"}));
}

TEST(GetRecordsAnswer, ANullIteratorIsTheShardsEnd) {
  const auto parsed = parse_get_records(R"({"Records":[],"NextShardIterator":null})");
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->next_iterator, "");
  EXPECT_EQ(parsed->behind_ms, -1);
}

TEST(GetRecordsAnswer, NeverSkipsWhatItCannotRead) {
  const std::pair<const char*, ErrorKind> rows[] = {
      {"", ErrorKind::ambiguous},
      {"<html>", ErrorKind::ambiguous},
      {"{}", ErrorKind::ambiguous},
      {"[]", ErrorKind::ambiguous},
      {R"({"Records":{}})", ErrorKind::ambiguous},
      {R"({"Records":[1]})", ErrorKind::ambiguous},
      {R"({"Records":[{"SequenceNumber":"1","Data":"aGVsbG8"}]})", ErrorKind::corrupt},
      {R"({"Records":[{"SequenceNumber":"1"}]})", ErrorKind::corrupt},
      {R"({"Records":[{"SequenceNumber":"1","Data":7}]})", ErrorKind::corrupt},
      {R"({"Records":[{"SequenceNumber":1,"Data":""}]})", ErrorKind::corrupt},
      {R"({"Records":[{"SequenceNumber":"01","Data":""}]})", ErrorKind::corrupt},
      {R"({"Records":[{"SequenceNumber":"x","Data":""}]})", ErrorKind::corrupt},
      {R"({"Records":[{"SequenceNumber":"1","Data":""}])", ErrorKind::ambiguous},
  };
  for (const auto& [body, kind] : rows) {
    const auto parsed = parse_get_records(body);
    ASSERT_FALSE(parsed.has_value()) << body;
    EXPECT_EQ(parsed.error().kind, kind) << body << parsed.error().message;
  }
}

TEST_F(TypedCalls, ListShardsReadsAllPagesAndNamesTheStreamOnlyOnce) {
  answer(R"({"Shards":[{"ShardId":"a","HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"9"},
      "SequenceNumberRange":{"StartingSequenceNumber":"1","EndingSequenceNumber":"5"}}],
      "NextToken":"T"})");
  answer(R"({"Shards":[{"ShardId":"b","ParentShardId":"a",
      "SequenceNumberRange":{"StartingSequenceNumber":"6"}}]})");
  KinesisApi api(client_);
  const auto shards = api.list_shards("stream");
  ASSERT_TRUE(shards.has_value()) << shards.error().message;
  ASSERT_EQ(shards->size(), 2u);
  EXPECT_EQ(shards->at(0).hash_key_last, "9");
  EXPECT_EQ(shards->at(0).sequence_number_last, "5");
  EXPECT_EQ(shards->at(1).parent_shard_id, "a");
  EXPECT_EQ(sent(0), Json::parse(R"({"StreamName":"stream"})"));
  EXPECT_EQ(sent(1), Json::parse(R"({"NextToken":"T"})"));
}

TEST_F(TypedCalls, ListShardsStartsOverOnceWhenAPageTokenExpires) {
  KinesisApi api(client_);
  answer(R"({"Shards":[{"ShardId":"a"}],"NextToken":"T"})");
  refuse("ExpiredNextTokenException");
  answer(R"({"Shards":[{"ShardId":"a"}]})");
  EXPECT_EQ(api.list_shards("s")->size(), 1u);
  answer(R"({"Shards":[{"ShardId":"a"}],"NextToken":"T"})");
  refuse("ExpiredNextTokenException");
  answer(R"({"Shards":[{"ShardId":"a"}],"NextToken":"T"})");
  refuse("ExpiredNextTokenException");
  EXPECT_FALSE(api.list_shards("s").has_value());
}

TEST_F(TypedCalls, EndlessPagesAreCut) {
  KinesisApi api(client_);
  answer(R"({"Shards":[],"NextToken":"T"})");
  EXPECT_EQ(api.list_shards("s").error().kind, ErrorKind::corrupt);
}

TEST_F(TypedCalls, ShardIteratorSendsOnlyWhatItsTypeNeeds) {
  KinesisApi api(client_);
  for (int i = 0; i < 3; ++i) answer(R"({"ShardIterator":"I"})");
  EXPECT_EQ(api.get_shard_iterator({.stream = "s", .shard_id = "x"}).value(), "I");
  ASSERT_TRUE(api.get_shard_iterator({.stream = "s",
                                      .shard_id = "x",
                                      .type = ShardIteratorType::after_sequence_number,
                                      .sequence_number = "42"}));
  ASSERT_TRUE(api.get_shard_iterator({.stream = "s",
                                      .shard_id = "x",
                                      .type = ShardIteratorType::at_timestamp,
                                      .timestamp = wall_time_of_ms(1'700'000'000'007)}));
  EXPECT_EQ(sent(0),
            Json::parse(R"({"StreamName":"s","ShardId":"x","ShardIteratorType":"TRIM_HORIZON"})"));
  EXPECT_EQ(sent(1)["StartingSequenceNumber"], "42");
  EXPECT_NE(http_.requests()[2].body.find("\"Timestamp\":1700000000.007}"), std::string::npos);
}

TEST_F(TypedCalls, PutRecordsGivesOneResultPerRecordAndIsNotRepeated) {
  const KinesisPut puts[] = {{"k1", "one"}, {"k2", std::string_view("\0\xff", 2)}};
  answer(R"({"FailedRecordCount":1,"Records":[{"SequenceNumber":"1","ShardId":"a"},
      {"ErrorCode":"InternalFailure","ErrorMessage":"m"}]})");
  KinesisApi api(client_);
  const auto results = api.put_records("s", puts);
  ASSERT_TRUE(results.has_value());
  EXPECT_EQ(results->at(0).sequence_number, "1");
  EXPECT_EQ(results->at(1).error_code, "InternalFailure");
  EXPECT_EQ(sent()["Records"][1]["Data"], "AP8=");
  answer(R"({"Records":[]})");
  EXPECT_EQ(api.put_records("s", puts).error().kind, ErrorKind::ambiguous);
  http_.then(Error{ErrorKind::ambiguous, "lost"});
  EXPECT_EQ(api.put_records("s", puts).error().kind, ErrorKind::ambiguous);
  EXPECT_EQ(http_.requests().size(), 3u);
}

TEST_F(TypedCalls, StreamSummaryAndCreate) {
  KinesisApi api(client_);
  answer(R"({"StreamDescriptionSummary":{"StreamName":"s","StreamARN":"arn:x","StreamStatus":
      "ACTIVE","StreamModeDetails":{"StreamMode":"ON_DEMAND"},"RetentionPeriodHours":48,
      "OpenShardCount":4,"StreamCreationTimestamp":1700000000.5}})");
  const auto summary = api.describe_stream_summary("s");
  ASSERT_TRUE(summary.has_value());
  EXPECT_EQ(summary->mode, "ON_DEMAND");
  EXPECT_EQ(summary->retention_hours, 48);
  EXPECT_EQ(unix_ms(summary->created), 1'700'000'000'500);
  answer("");
  EXPECT_TRUE(api.create_stream("s", 2).has_value());
  EXPECT_EQ(sent(1), Json::parse(R"({"StreamName":"s","ShardCount":2})"));
  refuse("ResourceInUseException");
  EXPECT_EQ(api.create_stream("s", 2).error().kind, ErrorKind::conflict);
}

TEST(ResourcePhase, KnowsEachStatusInBothSpellings) {
  const std::pair<const char*, ResourcePhase> rows[] = {
      {"CREATE PENDING", ResourcePhase::running},  {"CREATE IN_PROGRESS", ResourcePhase::running},
      {"PENDING", ResourcePhase::running},         {"IN PROGRESS", ResourcePhase::running},
      {"CREATE STOPPING", ResourcePhase::running}, {"", ResourcePhase::running},
      {"ACTIVE", ResourcePhase::active},           {"COMPLETED", ResourcePhase::active},
      {"CREATE FAILED", ResourcePhase::failed},    {"CREATE_FAILED", ResourcePhase::failed},
      {"CREATE STOPPED", ResourcePhase::failed},   {"CREATE_STOPPED", ResourcePhase::failed},
      {"FAILED", ResourcePhase::failed},           {"DELETE PENDING", ResourcePhase::gone},
      {"DELETE IN_PROGRESS", ResourcePhase::gone}};
  for (const auto& [status, phase] : rows) EXPECT_EQ(phase_of_status(status), phase) << status;
}

TEST_F(TypedCalls, PersonalizeCreatesUseTheServicesShapes) {
  PersonalizeApi api(client_);
  answer(R"({"datasetImportJobArn":"arn:i"})");
  EXPECT_EQ(api.create_dataset_import_job({.job_name = "j",
                                           .dataset_arn = "d",
                                           .data_location = "s3://b/x.csv",
                                           .role_arn = "r",
                                           .incremental = true})
                .value(),
            "arn:i");
  EXPECT_EQ(sent(0), Json::parse(R"({"jobName":"j","datasetArn":"d","dataSource":
      {"dataLocation":"s3://b/x.csv"},"roleArn":"r","importMode":"INCREMENTAL"})"));
  EXPECT_EQ(header_of(http_.requests()[0], "X-Amz-Target"),
            "AmazonPersonalize.CreateDatasetImportJob");
  answer(R"({"batchInferenceJobArn":"arn:b"})");
  ASSERT_TRUE(api.create_batch_inference_job({.job_name = "j",
                                              .solution_version_arn = "v",
                                              .input_path = "s3://b/in.json",
                                              .output_path = "s3://b/out/",
                                              .role_arn = "r",
                                              .exploration_weight = 0.3,
                                              .exploration_item_age_days = 30}));
  EXPECT_EQ(sent(1), Json::parse(R"({"jobName":"j","solutionVersionArn":"v","jobInput":
      {"s3DataSource":{"path":"s3://b/in.json"}},"jobOutput":{"s3DataDestination":{"path":
      "s3://b/out/"}},"roleArn":"r","numResults":25,"batchInferenceJobConfig":
      {"itemExplorationConfig":{"explorationWeight":"0.3","explorationItemAgeCutOff":"30"}}})"));
  answer(R"({"solutionArn":"arn:s"})");
  ASSERT_TRUE(api.create_solution({.name = "n", .dataset_group_arn = "g", .recipe_arn = "r"}));
  EXPECT_EQ(sent(2)["performAutoTraining"], false);
  answer(R"({"solutionVersionArn":"arn:v"})");
  ASSERT_TRUE(api.create_solution_version("arn:s", "run-1"));
  EXPECT_EQ(sent(3)["name"], "run-1");
  answer(R"({"eventTrackerArn":"arn:t","trackingId":"id"})");
  EXPECT_EQ(api.create_event_tracker("n", "g")->tracking_id, "id");
  answer("{}");
  EXPECT_EQ(api.create_dataset_group("n").error().kind, ErrorKind::ambiguous);
}

TEST_F(TypedCalls, ALostReplyOfACreateIsNotRepeated) {
  PersonalizeApi api(client_);
  http_.then(Error{ErrorKind::ambiguous, "lost"});
  answer(R"({"solutionVersionArn":"second"})");
  EXPECT_FALSE(api.create_solution_version("s", "n").has_value());
  EXPECT_EQ(http_.requests().size(), 1u);
}

TEST_F(TypedCalls, DescribesUnwrapAndForgiveAbsentMembers) {
  PersonalizeApi api(client_);
  answer(R"({"campaign":{"campaignArn":"c","solutionVersionArn":"v1","status":"ACTIVE",
      "latestCampaignUpdate":{"status":"CREATE IN_PROGRESS","solutionVersionArn":"v2"}}})");
  const auto campaign = api.describe_campaign("c");
  ASSERT_TRUE(campaign.has_value());
  EXPECT_EQ(campaign->state.phase(), ResourcePhase::active);
  ASSERT_TRUE(campaign->latest_update.has_value());
  EXPECT_EQ(campaign->latest_update->phase(), ResourcePhase::running);
  EXPECT_EQ(campaign->latest_update_solution_version_arn, "v2");
  answer(R"({"solutionVersion":{"status":"CREATE FAILED","failureReason":"too few",
      "creationDateTime":1700000000.25}})");
  const auto version = api.describe_solution_version("v");
  EXPECT_EQ(version->state.failure_reason, "too few");
  EXPECT_EQ(unix_ms(version->state.created), 1'700'000'000'250);
  answer(R"({"schema":{"schema":"{}","name":"n"}})");
  EXPECT_EQ(api.describe_schema("s")->avro, "{}");
  answer(R"({"other":1})");
  EXPECT_FALSE(api.describe_dataset("d").has_value());
}

TEST_F(TypedCalls, ListsReadAllPages) {
  PersonalizeApi api(client_);
  answer(R"({"solutionVersions":[{"solutionVersionArn":"1","status":"ACTIVE"}],"nextToken":"T"})");
  answer(R"({"solutionVersions":[{"solutionVersionArn":"2"}]})");
  const auto versions = api.list_solution_versions("s");
  ASSERT_EQ(versions->size(), 2u);
  EXPECT_EQ(versions->at(1).arn, "2");
  EXPECT_EQ(sent(1)["nextToken"], "T");
}

TEST_F(TypedCalls, MetricsAndRecommendations) {
  PersonalizeApi api(client_);
  answer(R"({"metrics":{"coverage":0.5,"odd":"x"}})");
  EXPECT_EQ(api.get_solution_metrics("v").value(),
            (std::map<std::string, double>{{"coverage", 0.5}}));
  answer(R"({"itemList":[{"itemId":"a","score":0.25},{"itemId":"b"}],"recommendationId":"R"})");
  PersonalizeRuntimeApi runtime(client_);
  const auto got = runtime.get_recommendations({.campaign_arn = "c", .user_id = "u", .results = 2});
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->items.at(0).score, 0.25);
  EXPECT_FALSE(got->items.at(1).score.has_value());
  EXPECT_EQ(sent(1), Json::parse(R"({"campaignArn":"c","userId":"u","numResults":2})"));
}

TEST(Schema, GivesItsColumnsInOrder) {
  EXPECT_EQ(columns_of_schema(R"({"type":"record","fields":[{"name":"USER_ID","type":"string"},
      {"name":"ITEM_ID"}]})")
                .value(),
            (std::vector<std::string>{"USER_ID", "ITEM_ID"}));
  for (const char* bad : {"", "[]", "{}", R"({"fields":[]})", R"({"fields":[{}]})"})
    EXPECT_FALSE(columns_of_schema(bad).has_value()) << bad;
}

}  // namespace
}  // namespace millrace
