// Amazon Kinesis Data Streams in one process: streams, shards, records, iterators, resharding.
//
// It speaks the service's JSON 1.1 protocol (Amazon Kinesis Data Streams API Reference: POST / with
// X-Amz-Target Kinesis_20131202.<Operation>), so unmodified AWS clients work against it. It answers
// CreateStream, DeleteStream, DescribeStream, DescribeStreamSummary, ListStreams, ListShards,
// PutRecord, PutRecords, GetShardIterator, GetRecords, SplitShard, MergeShards, UpdateShardCount,
// IncreaseStreamRetentionPeriod, DecreaseStreamRetentionPeriod, AddTagsToStream,
// RemoveTagsFromStream and ListTagsForStream; any other operation is refused with
// UnknownOperationException. Signatures are SignatureCheck's matter (local/signature_check.h).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "core/result.h"
#include "local/http_service.h"

namespace millrace {

struct KinesisServiceOptions {
  std::string region = "us-east-1";      // of the ARNs it makes
  std::string account = "123456789012";  // the same: 12 digits

  /// Streams and records are kept here across restarts. Empty: in memory only. One process at a
  /// time (a lock file says so). What was answered survives a kill of the process at any
  /// instruction; an outage of the machine may cut the newest records, never tear one.
  std::filesystem::path folder{};

  /// Bytes of all records that are kept (data, partition keys and 96 bytes of index for each), in
  /// memory or, with a folder, on its disk. Beyond it writes are refused with
  /// ProvisionedThroughputExceededException until retention makes room.
  std::size_t records_bytes_max = std::size_t{1} << 30;

  /// The service's limits per shard (Developer Guide, "Quotas and limits"): 5 reads and 2 MiB a
  /// second out, 1,000 records and 1 MiB a second in, 5 iterators a second. Off: as fast as it can.
  bool limits = false;

  /// How long a stream stays CREATING, UPDATING or DELETING after the call that made it so.
  std::chrono::milliseconds status_duration{0};

  std::chrono::milliseconds iterator_age_max{300'000};  // five minutes, as in the service
  std::size_t streams_max = 500;                        // LimitExceededException beyond
  std::size_t shards_max = 10'000;                      // of one stream, closed ones included
};

/// Threads: handle() may be called from several at once; one lock guards the streams, and parsing,
/// hashing and base64 happen outside of it. Time comes only from the clock, so that iterators,
/// retention and limits can be tested in no time.
class KinesisService final : public HttpService {
 public:
  /// Loads what the folder holds; a torn tail of a segment is cut. Errors: `conflict` when another
  /// process has the folder, `corrupt` when its files are not ours, `denied` or `transient` when it
  /// cannot be read or made. `clock` must outlive the service.
  static Result<std::unique_ptr<KinesisService>> open(KinesisServiceOptions options,
                                                      const ServiceClock& clock);
  ~KinesisService() override;

  HttpResponse handle(const HttpRequest& request) override;

  /// Records ever accepted by this process: for benches and status lines.
  [[nodiscard]] std::uint64_t records_accepted() const;

 private:
  class Streams;
  explicit KinesisService(std::unique_ptr<Streams> streams);
  std::unique_ptr<Streams> streams_;
};

}  // namespace millrace
