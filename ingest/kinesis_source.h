// A Kinesis stream as a Source: every shard is a partition, polled by GetRecords, with its position
// in a PositionStore. One process owns all shards of the stream; others wait to take over.
//
// - A position is the last sequence number settled; an iterator is only a cache of it and may be
//   thrown away at any time (Kinesis API Reference, GetShardIterator: five minutes).
// - A closed shard is read to its end, Revoking is told, and after release() with everything
//   committed its end is recorded. Only then do its children start, at TRIM_HORIZON whatever
//   `start` says, so that the order per key survives resharding.
// - `start` is used once, when the application has no state: the time is remembered, and a shard
//   without a position resumes from that time ("latest" is not a place that two processes share).
// - Throttles, 5xx and lost replies are weather: the same shard again later, for ever. What nobody
//   can wait out (the stream is gone or was created anew) is a final error of poll().
// - Aggregated records of the Kinesis Producer Library are handed out as they are: one record with
//   the library's framing. It is no JSON, so it becomes a dead letter with all its bytes and its
//   position, from where it can be redriven, and is counted
//   (millrace_kinesis_aggregated_records_total). Splitting them comes with a later release.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "aws/kinesis_api.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/metrics.h"
#include "core/retry_policy.h"
#include "ingest/options.h"
#include "ingest/position_store.h"
#include "ingest/source.h"

namespace millrace {

struct KinesisSourceLimits {
  std::size_t reads_in_flight_max = 16;  // of all shards together; each holds a worker
  /// What one read asks for, by the usual size of the shard's records. 2 MiB: what the service
  /// gives a shard in a second.
  std::size_t answer_bytes_wanted = 2u << 20;
  std::size_t answer_bytes_max = 10u << 20;  // what an answer may have nevertheless (Quotas)
  std::size_t batch_records_max = 500;       // an answer is handed out in batches of this

  std::chrono::milliseconds lease_age_max{10'000};  // an owner that is silent for so long is gone
  std::chrono::milliseconds lease_renew_interval{3'000};
  std::chrono::milliseconds lease_look_interval{1'000};
  std::chrono::milliseconds close_wait{5'000};  // for the lease's release

  std::chrono::milliseconds list_interval{60'000};      // between two looks for new shards
  std::chrono::milliseconds throttle_delay_min{1'000};  // Developer Guide: a second or more
  std::chrono::milliseconds denied_delay{30'000};       // a person has to act first
  std::chrono::milliseconds silence_max{90'000};        // a read without an answer is given up
  std::chrono::milliseconds stall_max{600'000};  // behind and without a record: a fresh iterator
  std::chrono::milliseconds tip_note_interval{300'000};  // idle shards: "was at the tip at …"
  std::chrono::milliseconds log_interval{60'000};        // per kind of trouble
  RetryPolicy retry{};
};

/// Memory: at most fetch_bytes_max of answers held or under way (each counted as answer_bytes_max
/// until it is there), but at least one answer. A paused partition is not read further; what it
/// holds counts. Metrics: millrace_kinesis_*. Destroying without close() is like a crash: the lease
/// runs out, or the file's lock is freed with the process.
///
/// `api`, `positions`, `loop`, `log` and `metrics` must outlive the source and the loop's workers.
class KinesisSource final : public Source {
 public:
  /// `owner` must differ between any two processes; `seed` makes the retries' jitter.
  /// Does nothing yet: the first poll() begins.
  KinesisSource(KinesisOptions options, KinesisApi& api, PositionStore& positions,
                std::string owner, std::uint64_t seed, Loop& loop, const Log& log, Metrics& metrics,
                KinesisSourceLimits limits = {});
  ~KinesisSource() override;
  KinesisSource(const KinesisSource&) = delete;
  KinesisSource& operator=(const KinesisSource&) = delete;

  [[nodiscard]] std::string kind() const override { return "kinesis"; }
  [[nodiscard]] std::string log_name() const override;
  /// Final errors: `not_found` (no such stream), `refused` (the stream was deleted and created
  /// anew: both times are named), `invalid` (a start in the future), `corrupt` (damaged positions).
  Result<std::vector<SourceEvent>> poll(std::size_t records_max) override;
  void start(const PartitionId& partition, Tenure tenure, const Position& from) override;
  void pause(const PartitionId& partition, bool paused) override;
  [[nodiscard]] Position after(const Position& at) const override { return at; }
  void commit(const PartitionId& partition, Tenure tenure, const Position& next, std::string note,
              Done done) override;
  /// Of a closed shard whose records are not all committed: it is assigned again, from its
  /// committed position.
  void release(const PartitionId& partition, Tenure tenure) override;
  void close() override;
  [[nodiscard]] bool closed() const override;
  [[nodiscard]] bool at_end() const override;
  [[nodiscard]] SourceStatus status() const override;

 private:
  class State;
  std::shared_ptr<State> state_;  // shared with answers on their way back, which may find it gone
};

}  // namespace millrace
