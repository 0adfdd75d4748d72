// The Kinesis Data Streams calls we make: JSON 1.1 over AwsClient. Each method's page in the Amazon
// Kinesis Data Streams API Reference has the method's name in CamelCase ("GetRecords").
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "aws/aws_client.h"
#include "core/record.h"
#include "core/result.h"
#include "core/time.h"

namespace millrace {

struct KinesisShard {
  std::string shard_id{};
  std::string parent_shard_id{};           // empty: none
  std::string adjacent_parent_shard_id{};  // only after a merge
  std::string hash_key_first{};            // decimal digits, inclusive
  std::string hash_key_last{};
  std::string sequence_number_first{};
  std::string sequence_number_last{};  // empty: the shard is open
  bool operator==(const KinesisShard&) const = default;
};

enum class ShardIteratorType {
  at_sequence_number,
  after_sequence_number,
  trim_horizon,
  latest,
  at_timestamp
};

struct ShardIteratorRequest {
  std::string stream{};
  std::string shard_id{};
  ShardIteratorType type = ShardIteratorType::trim_horizon;
  std::string sequence_number{};  // for the two sequence number types
  WallTime timestamp{};           // for at_timestamp
};

struct KinesisRecords {
  /// The decoded records in order; partition and tenure are the caller's to fill in. `at.offset` is
  /// the sequence number, `arrived_ms` ApproximateArrivalTimestamp.
  RecordBatch batch{};
  std::string next_iterator{};  // empty: the shard is closed and fully read
  std::int64_t behind_ms = -1;  // MillisBehindLatest; -1: not told
  std::vector<std::string> child_shards{};
};

struct KinesisPut {
  std::string_view partition_key{};  // 1–256 characters
  std::string_view data{};
};

struct KinesisPutResult {
  std::string shard_id{};
  std::string sequence_number{};
  std::string error_code{};  // empty: stored. Else ProvisionedThroughputExceededException, …
  std::string error_message{};
};

struct KinesisStreamSummary {
  std::string name{};
  std::string arn{};
  std::string status{};  // CREATING, DELETING, ACTIVE, UPDATING
  std::string mode{};    // PROVISIONED or ON_DEMAND; empty when not told
  std::int32_t retention_hours = 24;
  std::int32_t open_shards = 0;
  std::string record_distribution{};  // AUTO: no order per key (see "CreateStream")
  WallTime created{};
};

/// Most records and bytes of one PutRecords request. The service takes 10 MiB since 2025 and took
/// 5 MiB before, as others' servers still do.
inline constexpr std::size_t kPutRecordsMax = 500;
inline constexpr std::size_t kPutRecordsBytesMax = 5u << 20;

/// Threads and errors: as AwsClient::call. An answer that is not what the service documents is
/// `ambiguous` ("is a proxy in between?"), or `corrupt` when a record in it cannot be decoded.
class KinesisApi {
 public:
  explicit KinesisApi(AwsClient& client) : client_(client) {}

  /// All pages, at most `kShardsMax`. A page token that expires meanwhile starts over, once.
  Result<std::vector<KinesisShard>> list_shards(const std::string& stream);
  static constexpr std::size_t kShardsMax = 100'000;

  /// The iterator is good for five minutes.
  Result<std::string> get_shard_iterator(const ShardIteratorRequest& request);

  /// Up to `records_max` (1–10,000) records; an answer may have 10 MB of data (14 MB of JSON),
  /// which is decoded straight into one arena.
  Result<KinesisRecords> get_records(const std::string& iterator, std::int32_t records_max);

  /// One result per record, in order: a success of the call may hold refused records.
  /// A lost reply is `ambiguous` and not tried again here: a repeat stores the records twice.
  /// REQUIRES: at most kPutRecordsMax records, at least one.
  Result<std::vector<KinesisPutResult>> put_records(const std::string& stream,
                                                    std::span<const KinesisPut> records);

  Result<KinesisStreamSummary> describe_stream_summary(const std::string& stream);

  /// Starts making a provisioned stream; it takes a while until it is ACTIVE. An existing one is
  /// `conflict` (ResourceInUseException).
  Status create_stream(const std::string& stream, std::int32_t shards);

 private:
  Result<HttpResponse> call(std::string_view operation, std::string body, bool repeatable);

  AwsClient& client_;
};

/// Decodes a GetRecords answer. Pure; exposed for tests, fuzzing and the bench.
Result<KinesisRecords> parse_get_records(std::string_view body);

}  // namespace millrace
