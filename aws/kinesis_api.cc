#include "aws/kinesis_api.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <utility>

#include "aws/base64.h"
#include "aws/json_answer.h"
#include "aws/json_text.h"
#include "core/check.h"

namespace millrace {
namespace {

std::string_view word_of(ShardIteratorType type) {
  switch (type) {
    case ShardIteratorType::at_sequence_number:
      return "AT_SEQUENCE_NUMBER";
    case ShardIteratorType::after_sequence_number:
      return "AFTER_SEQUENCE_NUMBER";
    case ShardIteratorType::trim_horizon:
      return "TRIM_HORIZON";
    case ShardIteratorType::latest:
      return "LATEST";
    case ShardIteratorType::at_timestamp:
      return "AT_TIMESTAMP";
  }
  return {};
}

KinesisShard shard_of(const nlohmann::json& object) {
  const auto& keys = object_of(object, "HashKeyRange");
  const auto& numbers = object_of(object, "SequenceNumberRange");
  return {.shard_id = text_of(object, "ShardId"),
          .parent_shard_id = text_of(object, "ParentShardId"),
          .adjacent_parent_shard_id = text_of(object, "AdjacentParentShardId"),
          .hash_key_first = text_of(keys, "StartingHashKey"),
          .hash_key_last = text_of(keys, "EndingHashKey"),
          .sequence_number_first = text_of(numbers, "StartingSequenceNumber"),
          .sequence_number_last = text_of(numbers, "EndingSequenceNumber")};
}

tl::unexpected<Error> no_answer(std::string what) {
  return fail(ErrorKind::ambiguous, "GetRecords: " + std::move(what) +
                                        "; is a proxy in between, or the endpoint another "
                                        "service's?");
}

// What a record must have, or the pipeline could lose or misplace it.
Status append_record(simdjson::dom::object object, RecordBatch& batch) {
  RecordRef record;
  std::string_view data;
  std::string_view number;
  bool has_data = false;
  for (const auto& [key, value] : object) {
    if (key == "Data") {
      has_data = value.get_string().get(data) == simdjson::SUCCESS;
    } else if (key == "SequenceNumber") {
      if (value.get_string().get(number) != simdjson::SUCCESS) number = {};
    } else if (key == "ApproximateArrivalTimestamp") {
      double seconds = -1;
      if (value.get_double().get(seconds) == simdjson::SUCCESS && seconds >= 0 && seconds < 1e12)
        record.arrived_ms = static_cast<std::int64_t>(seconds * 1000 + 0.5);
    }
  }
  if (!Offset::valid(number))
    return fail(ErrorKind::corrupt, "GetRecords: a record without a valid SequenceNumber");
  record.at.offset.digits = number;
  record.begin = batch.bytes.size();
  const auto length = has_data ? append_base64_decoded(data, batch.bytes) : std::nullopt;
  if (!length)
    return fail(ErrorKind::corrupt,
                "GetRecords: Data of record " + std::string(number) + " is not base64");
  record.length = *length;
  batch.records.push_back(std::move(record));
  return {};
}

}  // namespace

Result<KinesisRecords> parse_get_records(std::string_view body) {
  simdjson::dom::parser parser;
  simdjson::dom::object answer;
  if (parser.parse(body.data(), body.size()).get(answer) != simdjson::SUCCESS)
    return no_answer("the answer is not a JSON object");
  KinesisRecords out;
  bool has_records = false;
  for (const auto& [key, value] : answer) {
    if (key == "Records") {
      simdjson::dom::array records;
      if (value.get_array().get(records) != simdjson::SUCCESS)
        return no_answer("Records is not a list");
      has_records = true;
      out.batch.records.reserve(records.size());
      out.batch.bytes.reserve(body.size() / 4 * 3);  // base64 grows by a third
      for (const auto element : records) {
        simdjson::dom::object record;
        if (element.get_object().get(record) != simdjson::SUCCESS)
          return no_answer("a record is not an object");
        if (auto appended = append_record(record, out.batch); !appended)
          return fail(appended.error());
      }
      // Most of a small record's JSON is not data: give back what was reserved too much.
      if (out.batch.bytes.capacity() > 2 * out.batch.bytes.size() + 4096)
        out.batch.bytes.shrink_to_fit();
    } else if (key == "NextShardIterator") {
      std::string_view iterator;
      if (value.get_string().get(iterator) == simdjson::SUCCESS) out.next_iterator = iterator;
    } else if (key == "MillisBehindLatest") {
      std::int64_t behind = -1;
      if (value.get_int64().get(behind) == simdjson::SUCCESS && behind >= 0) out.behind_ms = behind;
    } else if (key == "ChildShards") {
      simdjson::dom::array children;
      if (value.get_array().get(children) != simdjson::SUCCESS) continue;
      for (const auto child : children) {
        std::string_view id;
        if (child["ShardId"].get_string().get(id) == simdjson::SUCCESS)
          out.child_shards.emplace_back(id);
      }
    }
  }
  if (!has_records) return no_answer("the answer has no Records");
  return out;
}

Result<HttpResponse> KinesisApi::call(std::string_view operation, std::string body,
                                      bool repeatable) {
  return client_.call({.operation = operation,
                       .headers = {{"Content-Type", "application/x-amz-json-1.1"},
                                   {"X-Amz-Target", "Kinesis_20131202." + std::string(operation)}},
                       .body = std::move(body),
                       .repeatable = repeatable});
}

Result<std::vector<KinesisShard>> KinesisApi::list_shards(const std::string& stream) {
  bool started_over = false;
  std::vector<KinesisShard> shards;
  std::string next;
  while (true) {
    // With a token the stream must not be named again.
    const nlohmann::json body =
        next.empty() ? nlohmann::json{{"StreamName", stream}} : nlohmann::json{{"NextToken", next}};
    const auto response = call("ListShards", body_of(body), /*repeatable=*/true);
    if (!response) {
      if (response.error().code == "ExpiredNextTokenException" && !started_over) {
        started_over = true;
        shards.clear();
        next.clear();
        continue;
      }
      return fail(response.error().while_doing("stream " + stream));
    }
    const auto answer = answer_object("ListShards", *response);
    if (!answer) return fail(answer.error());
    const auto& page = list_of(*answer, "Shards");
    for (const auto& shard : page) {
      if (!shard.is_object() || text_of(shard, "ShardId").empty())
        return fail(ErrorKind::ambiguous, "ListShards: a shard without ShardId");
      shards.push_back(shard_of(shard));
    }
    next = text_of(*answer, "NextToken");
    if (next.empty()) return shards;
    if (shards.size() >= kShardsMax || page.empty())
      return fail(ErrorKind::corrupt,
                  fmt::format("ListShards: pages without end after {} shards", shards.size()));
  }
}

Result<std::string> KinesisApi::get_shard_iterator(const ShardIteratorRequest& request) {
  std::string body = "{\"StreamName\":";
  append_json_string(request.stream, body);
  body += ",\"ShardId\":";
  append_json_string(request.shard_id, body);
  body += ",\"ShardIteratorType\":";
  append_json_string(word_of(request.type), body);
  if (request.type == ShardIteratorType::at_sequence_number ||
      request.type == ShardIteratorType::after_sequence_number) {
    body += ",\"StartingSequenceNumber\":";
    append_json_string(request.sequence_number, body);
  }
  if (request.type == ShardIteratorType::at_timestamp) {
    const std::int64_t ms = unix_ms(request.timestamp);
    body += fmt::format(",\"Timestamp\":{}.{:03}", ms / 1000, ms % 1000);
  }
  body += '}';
  const auto response = call("GetShardIterator", std::move(body), /*repeatable=*/true);
  if (!response) return fail(response.error().while_doing("shard " + request.shard_id));
  const auto answer = answer_object("GetShardIterator", *response);
  if (!answer) return fail(answer.error());
  auto iterator = text_of(*answer, "ShardIterator");
  if (iterator.empty())
    return fail(ErrorKind::ambiguous, "GetShardIterator: the answer has no ShardIterator");
  return iterator;
}

Result<KinesisRecords> KinesisApi::get_records(const std::string& iterator,
                                               std::int32_t records_max) {
  std::string body = "{\"ShardIterator\":";
  append_json_string(iterator, body);
  body += fmt::format(",\"Limit\":{}}}", records_max);
  const auto response = call("GetRecords", std::move(body), /*repeatable=*/true);
  if (!response) return fail(response.error());
  return parse_get_records(response->body);
}

Result<std::vector<KinesisPutResult>> KinesisApi::put_records(const std::string& stream,
                                                              std::span<const KinesisPut> records) {
  MILLRACE_CHECK(!records.empty() && records.size() <= kPutRecordsMax);
  std::size_t expected = 64 + stream.size();
  for (const auto& record : records)
    expected += 40 + record.partition_key.size() + (record.data.size() + 2) / 3 * 4;
  std::string body;
  body.reserve(expected);
  body += "{\"StreamName\":";
  append_json_string(stream, body);
  body += ",\"Records\":[";
  for (std::size_t i = 0; i < records.size(); ++i) {
    body += i == 0 ? "{\"PartitionKey\":" : ",{\"PartitionKey\":";
    append_json_string(records[i].partition_key, body);
    body += ",\"Data\":\"";
    append_base64(records[i].data, body);
    body += "\"}";
  }
  body += "]}";
  const auto response = call("PutRecords", std::move(body), /*repeatable=*/false);
  if (!response) return fail(response.error().while_doing("stream " + stream));
  const auto answer = answer_object("PutRecords", *response);
  if (!answer) return fail(answer.error());
  std::vector<KinesisPutResult> results;
  for (const auto& entry : list_of(*answer, "Records")) {
    if (!entry.is_object()) break;
    results.push_back({.shard_id = text_of(entry, "ShardId"),
                       .sequence_number = text_of(entry, "SequenceNumber"),
                       .error_code = text_of(entry, "ErrorCode"),
                       .error_message = text_of(entry, "ErrorMessage")});
  }
  if (results.size() != records.size())
    return fail(ErrorKind::ambiguous, fmt::format("PutRecords: {} results for {} records",
                                                  results.size(), records.size()));
  return results;
}

Result<KinesisStreamSummary> KinesisApi::describe_stream_summary(const std::string& stream) {
  const auto response =
      call("DescribeStreamSummary", body_of({{"StreamName", stream}}), /*repeatable=*/true);
  if (!response) return fail(response.error().while_doing("stream " + stream));
  const auto answer = answer_object("DescribeStreamSummary", *response);
  if (!answer) return fail(answer.error());
  const auto& summary = object_of(*answer, "StreamDescriptionSummary");
  if (text_of(summary, "StreamStatus").empty())
    return fail(ErrorKind::ambiguous, "DescribeStreamSummary: the answer has no StreamStatus");
  return KinesisStreamSummary{
      .name = text_of(summary, "StreamName"),
      .arn = text_of(summary, "StreamARN"),
      .status = text_of(summary, "StreamStatus"),
      .mode = text_of(object_of(summary, "StreamModeDetails"), "StreamMode"),
      .retention_hours = static_cast<std::int32_t>(
          std::clamp<std::int64_t>(integer_of(summary, "RetentionPeriodHours", 24), 0, 1'000'000)),
      .open_shards = static_cast<std::int32_t>(
          std::clamp<std::int64_t>(integer_of(summary, "OpenShardCount", 0), 0, 1'000'000)),
      .record_distribution = text_of(summary, "RecordDistributionStrategy"),
      .created = time_of(summary, "StreamCreationTimestamp")};
}

Status KinesisApi::create_stream(const std::string& stream, std::int32_t shards) {
  const auto response =
      call("CreateStream", body_of({{"StreamName", stream}, {"ShardCount", shards}}),
           /*repeatable=*/false);
  if (!response) return fail(response.error().while_doing("stream " + stream));
  return {};
}

}  // namespace millrace
