// A Kafka topic as a Source: one member of a consumer group (KIP-429 cooperative rebalancing), on
// librdkafka's queues.
//
// What librdkafka 2.0.2 makes necessary, each found in its source or on a broker:
// - A partition is handed to librdkafka only in start(), with the offset to begin at: nothing is
// fetched before, and the
//   group is answered at once, so the anchor may be committed in peace.
// - Each partition has a queue of its own that is simply not read for back-pressure: pausing would
// throw away what was
//   read ahead, and a slow partition would stop the others.
// - `auto.offset.reset=error`: a damaged batch must not throw the position to the start or the end
// of the log.
// - Positions are committed with rd_kafka_commit_queue: storing offsets loses the note (librdkafka
// changelog, 2.2.0).
// - The broker fences by member and generation, never by partition: so no commit without a living
// tenure, and every answer
//   that is not plainly "again" ends it.
// - What blocks (committed offsets, log ends) runs in Loop::offload.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/log.h"
#include "core/loop.h"
#include "core/metrics.h"
#include "ingest/options.h"
#include "ingest/source.h"

namespace millrace {

struct KafkaSourceLimits {
  std::chrono::milliseconds ask_wait{5000};  // one question to the cluster, on a worker
  std::chrono::milliseconds retry_delay{
      1000};  // before a failed question, a refused commit or a damaged batch is tried again
  std::chrono::milliseconds commit_retry_delay{200};
  // A commit must not be queued behind librdkafka's JoinGroup (see GroupTraffic): this long after
  // librdkafka has looked at an answer that may cause one, it would have been sent.
  std::chrono::milliseconds join_guard{50};
  // No rebalance takes longer (max.poll.interval.ms): a commit held so long is sent, come what may.
  std::chrono::milliseconds commit_hold_max{300'000};
  // Revoked partitions hold up the whole group until released: far under max.poll.interval.ms (5
  // min), where the broker evicts us.
  std::chrono::milliseconds release_wait{60'000};
  std::chrono::milliseconds leave_wait{5000};  // for the group's goodbye, after the last release
  std::chrono::milliseconds log_end_interval{10'000};  // log ends for status()
  std::chrono::milliseconds recheck_interval{
      60'000};  // is our commit still there (else the topic was re-created)
  std::chrono::milliseconds trouble_log_interval{60'000};
  std::chrono::milliseconds trouble_patience{
      30'000};                      // a broken connection is news only after this long
  std::uint32_t damaged_tries = 3;  // reads of a damaged batch before its partition is Stuck
  std::size_t poll_bytes_max = std::size_t{8} << 20;  // payload of one poll(), about
};

/// Memory: fetch_bytes_max bounds what librdkafka reads ahead, split by the number of partitions
/// that the topic had at the start (a topic that grows while we run reads ahead in proportion until
/// the next start), plus poll_bytes_max on its way out of poll(). Threads: see Source; librdkafka
/// has its own, which touch nothing of ours. Destroying without close() leaves the member in its
/// group until the process ends or max.poll.interval.ms is over (see KafkaHandle); work still under
/// way in Loop::offload keeps the handle alive.
///
/// Positions are offsets of the *next* record. Errors of poll() are final: settings that librdkafka
/// refuses (`invalid`), a handle it declares dead, such as another process with our
/// group.instance.id (`refused`).
class KafkaSource final : public Source {
 public:
  /// Does nothing yet: the first poll() begins. An unreachable cluster or a missing topic is waited
  /// for, with the reason in status().trouble and in the log once a minute.
  KafkaSource(KafkaOptions options, Loop& loop, const Log& log, Metrics& metrics,
              KafkaSourceLimits limits = {});
  ~KafkaSource() override;
  KafkaSource(const KafkaSource&) = delete;
  KafkaSource& operator=(const KafkaSource&) = delete;

  [[nodiscard]] std::string kind() const override;
  [[nodiscard]] std::string log_name() const override;
  Result<std::vector<SourceEvent>> poll(std::size_t records_max) override;
  void start(const PartitionId& partition, Tenure tenure, const Position& from) override;
  void pause(const PartitionId& partition, bool paused) override;
  [[nodiscard]] Position after(const Position& at) const override;
  void commit(const PartitionId& partition, Tenure tenure, const Position& next, std::string note,
              Done done) override;
  void release(const PartitionId& partition, Tenure tenure) override;
  void close() override;
  [[nodiscard]] bool closed() const override;
  [[nodiscard]] bool at_end() const override;
  /// bytes_held is an estimate: queued messages times the partition's usual record.
  [[nodiscard]] SourceStatus status() const override;

 private:
  struct State;
  std::shared_ptr<State>
      state_;  // shared with answers on their way back to the loop, which find it gone
};

}  // namespace millrace
