// The first pipeline: records of the log to PutEvents, seconds after they came.
//
//   source -> decode -> batch by user and session -> PutEvents
//                 \-> dead letters <-/ refused
//
// A record is settled when each of its events was accepted, is durable as a dead letter, or was
// skipped as too old; the position that is committed is the end of the settled prefix, with the
// books of exactly that prefix in its note. Whatever is not committed is read again by the next
// owner and sent again with the same ids and times.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "batcher/batcher.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/metrics.h"
#include "events/decode_event.h"
#include "ingest/source.h"
#include "lake/object_store.h"
#include "pipeline/ack_tracker.h"
#include "pipeline/options.h"
#include "sinks/dead_letters.h"
#include "sinks/personalize_sink.h"

namespace millrace {

struct ForwarderOptions {
  PipelineOptions pipeline{};
  DecodeOptions decoding{};
  PersonalizeSinkOptions sink{};
  DeadLettersOptions dead_letters;
  /// What the source holds ahead at most (its fetch_bytes_max): part of pipeline.memory_bytes.
  std::size_t read_ahead_bytes = 32u << 20;
  Ticks commit_interval = 200ms;  // per partition; a commit costs the broker a write
  /// A partition that must leave waits this long for calls under way: well below a consumer group's
  /// patience (max.poll.interval.ms, session.timeout.ms), and longer than nearly every call.
  Ticks revoke_wait = 5s;
  /// Dead letters of one partition not yet durable; beyond it the partition is not read.
  std::size_t dead_letter_bytes_per_partition_max = 4u << 20;
  Ticks close_wait = 10s;  // for the source's goodbye, after the drain
  /// With until_end: so long may calls fail for what only a person can mend (a wrong tracking id, a
  /// missing permission). Without until_end that is waited for.
  Ticks stuck_wait_at_end = 60s;
};

struct ForwarderStatus {
  struct Partition {
    PartitionId partition{};
    Position committed{};          // everything before it is settled
    std::string_view doing{};      // "anchoring", "forwarding", "leaving", "stuck"
    std::string waiting{};         // why nothing moves just now; empty: nothing is wrong
    Books books{};                 // since the anchor; books.waiting() are read and not settled
    std::size_t records_held = 0;  // from the first unsettled one on
  };
  std::vector<Partition> partitions{};
  Books books{};  // of the partitions owned now
  std::size_t calls_in_flight = 0;
  std::size_t deliveries_waiting = 0;  // between two tries
  std::size_t events_batching = 0;
  std::size_t bytes_held = 0;
  bool full = false;  // at the memory bound: nothing is read until something is settled
  double events_accepted_per_second = 0;  // of the last ten seconds or so
  double pace_calls_per_second = 0;       // what may be sent, as adapted to throttling
  std::string trouble{};                  // why calls or dead letters fail right now, what to do
  bool stopping = false;
};

/// Threads: the loop's; calls and the store are used inside Loop::offload only. Source, store,
/// metrics and log must outlive this, the call and the store also the work that is offloaded.
/// Destroying it drops everything uncommitted, as a crash would; tasks it left on the loop then do
/// nothing.
///
/// Memory: events, records' texts and dead letters count; when they reach memory_bytes less twice
/// read_ahead_bytes (at least a quarter of memory_bytes) nothing more is taken from the source
/// until something is settled. It may be exceeded by what one poll brings.
///
/// Failures: a call or a dead letter that fails is repeated for ever and holds back the position of
/// its own partition only. `conflict` from a commit means that another owner has the partition:
/// everything of it is dropped. A partition whose position was committed by another program is
/// refused (exit code 3), unless PipelineOptions::adopt says to go on from there with new books.
class Forwarder {
 public:
  /// How it ended: nothing when it drained or reached the end, `refused` when a safety check said
  /// no (exit code 3), the source's own error when that is final. With until_end also `rejected`:
  /// PutEvents takes nothing until a person mends it; what was not accepted stays uncommitted.
  using Finished = std::function<void(Status)>;

  Forwarder(Loop& loop, Source& source, PersonalizeSink::Call call, ObjectStore& store,
            ForwarderOptions options, std::uint64_t seed, Metrics& metrics, const Log& log);
  Forwarder(const Forwarder&) = delete;
  Forwarder& operator=(const Forwarder&) = delete;

  /// Begins to poll. `finished` runs once, on the loop, when all is over. REQUIRES: the first call.
  void start(Finished finished);

  /// Drains: reads nothing more, sends what waits without lingering, commits, leaves. What is not
  /// settled after drain_deadline is left uncommitted. Again: no effect.
  void stop();

  [[nodiscard]] ForwarderStatus status() const;

 private:
  enum class Phase { anchoring, forwarding, leaving, stuck };
  struct Partition {
    PartitionId id{};
    Tenure tenure{};
    std::uint32_t stream = 0;
    Phase phase = Phase::anchoring;
    AckTracker tracker{Books{}};
    Position committed{};
    std::uint64_t committed_records = 0;  // of the books committed
    bool committing = false;
    Ticks commit_at{};     // not before
    Ticks leave_at{};      // leaving: then without what is not settled
    bool dropped = false;  // leaving: what was not settled is forgotten
    bool paused = false;
    std::string waiting{};
  };
  struct Delivery {
    std::uint64_t number = 0;
    std::uint32_t user = 0;
    std::size_t bytes = 0;
    std::vector<EventTag> tags{};
    std::vector<std::uint32_t> indexes{};
  };
  using Partitions = std::map<PartitionId, std::unique_ptr<Partition>>;

  void pump();
  void handle(Assigned event);
  void handle(Records event);
  void handle(const EndOfLog&) {}
  void handle(const Revoking& event);
  void handle(const Lost& event);
  void handle(const Stuck& event);

  Partition* find(const PartitionId& id, Tenure tenure);
  Partition* find(std::uint32_t stream);
  void forward(Partition& partition, const RecordBatch& batch, RecordRef& record);
  void deliver_ready();
  void delivered(const std::shared_ptr<Delivery>& delivery,
                 const std::vector<EventOutcome>& outcomes);
  void dead_letter(Partition& partition, std::uint64_t record, std::optional<std::uint32_t> index,
                   std::string_view code, std::string_view reason, std::uint32_t attempts);
  void settle(EventTag tag, Settled how);
  [[nodiscard]] bool too_old(const Event& event) const;
  void anchor(Partition& partition);
  void commit(Partition& partition, const Position& next, const Books& books);
  void committed(const PartitionId& id, Tenure tenure, const Position& next, const Books& books,
                 const Status& answer);
  void commit_settled();
  void drop_work(std::uint32_t stream);
  void drop(const Partition& partition);
  void let_leave();
  void look_at_dead_letters();
  void look_at_trouble();
  void refuse(std::string message);
  [[nodiscard]] bool all_settled_and_committed() const;
  [[nodiscard]] std::size_t bytes_held() const;
  [[nodiscard]] std::string where(const PartitionId& id) const;
  void sample_rate();
  void end(Status status);

  Loop& loop_;
  Source& source_;
  ForwarderOptions options_;
  const Log& log_;
  const std::size_t bytes_max_;
  EventDecoder decoder_;
  DecodedRecord decoded_{};
  Batcher batcher_;
  PersonalizeSink sink_;
  DeadLetters dead_letters_;

  Partitions partitions_{};
  std::unordered_map<std::uint32_t, Partition*> streams_{};  // never iterated
  std::uint32_t streams_made_ = 0;
  std::map<std::uint64_t, std::shared_ptr<Delivery>> deliveries_{};
  std::size_t delivering_bytes_ = 0;
  bool delivering_ready_ = false;

  Finished finished_{};
  Status outcome_{};
  bool stopping_ = false;
  bool closing_ = false;
  bool ended_ = false;
  Ticks drain_until_{};
  Ticks close_until_{};

  std::uint64_t accepted_ = 0;
  std::deque<std::pair<Ticks, std::uint64_t>> accepted_samples_{};
  std::optional<Ticks> stuck_since_{};
  Ticks refusal_logged_at_ = Ticks::min() / 2;

  Counter& records_read_;
  Counter& records_empty_;
  Counter& events_read_;
  Counter& events_anonymous_;
  Counter& events_skipped_;
  Counter& events_dead_lettered_;
  Counter& commits_;
  Gauge& events_waiting_;
  Gauge& bytes_gauge_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace millrace
