// The second pipeline: records of the log into objects of the lake, each record once.
//
// Per partition it collects records by hour, and when a buffer is full or old it *cuts*: it commits
// the old position again with the intent "the next cut ends at E", creates one object for each
// hour, and commits E. Whoever finds an intent builds exactly the same objects again. Why this is
// enough, crash point by crash point: docs/decisions, "Each record once in the lake"; what it does
// against every interleaving: tests/simulation/.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/log.h"
#include "core/loop.h"
#include "core/metrics.h"
#include "core/retry_policy.h"
#include "core/rng.h"
#include "events/options.h"
#include "ingest/source.h"
#include "lake/object_store.h"
#include "lake/options.h"
#include "pipeline/cut_note.h"
#include "pipeline/hour_buffers.h"
#include "pipeline/options.h"

namespace millrace {

/// Why a partition was cut.
enum class FlushReason { size, age, hours, memory, revoke, stop, replay };
std::string_view name_of(FlushReason reason);

struct ArchiverStatus {
  struct LastCut {
    WallTime at{};
    FlushReason reason = FlushReason::size;
    std::size_t objects = 0;
    std::uint64_t records = 0;
  };
  struct Partition {
    PartitionId partition{};
    Position committed{};        // everything before it is durable in the lake
    std::string incarnation{};   // empty while it is not known
    std::string_view doing{};    // "looking into the lake", "anchoring", "replaying",
                                 // "collecting", "cutting", "stuck"
    std::string waiting{};       // why nothing moves just now; empty: nothing is wrong
    std::size_t open_bytes = 0;  // memory of records that are not in a cut yet
    std::size_t open_hours = 0;
    Ticks open_age{};                   // of the oldest of them
    std::size_t cutting_objects = 0;    // of the cut under way, not yet durable
    RecordBooks books{};                // of what is committed, since the anchor
    std::optional<LastCut> last_cut{};  // of this process
  };
  std::vector<Partition> partitions{};
  std::size_t bytes_held = 0;  // all buffers; at most memory_bytes and what one poll brings
  std::size_t uploads_in_flight = 0;
};

/// Threads: the loop's; the store is called inside Loop::offload only. Everything given to the
/// constructor must outlive this, and the loop must run none of its tasks after it is destroyed;
/// work that is offloaded by then may still end and touches nothing but the store.
///
/// Memory: `PipelineOptions::memory_bytes` bounds buffers, records held back and objects under way,
/// besides what the source has read ahead. Near it the largest partitions are cut; at it nothing
/// more is taken from the source. It may be exceeded by what one poll brings, and by a replay: a
/// cut of an earlier owner with more memory must end where it ended.
///
/// Failures: what may pass is tried again for ever, with a delay that grows to RetryPolicy's cap; a
/// missing permission or a wrong object in the lake is tried again every `slow_retry`. The
/// partition waits, others go on, and status() says why. `conflict` from a commit means that
/// another owner has the partition: everything of it is dropped.
class Archiver {
 public:
  /// How it ended: nothing when it drained or reached the end, `refused` when a safety check said
  /// no (exit code 3), the source's own error when that is final.
  using Finished = std::function<void(Status)>;

  /// `rng` draws incarnations: seed it from the system's entropy, not from a constant or the clock.
  /// Error: `invalid` when the options cannot be used (a prefix that does not parse or does not fit
  /// into a note).
  static Result<std::unique_ptr<Archiver>> make(Loop& loop, Source& source, ObjectStore& store,
                                                const LakeOptions& lake,
                                                const DecodeOptions& decoding,
                                                const PipelineOptions& options, Rng& rng,
                                                const Log& log, Metrics& metrics);
  Archiver(const Archiver&) = delete;
  Archiver& operator=(const Archiver&) = delete;

  /// Begins to poll. `finished` runs once, on the loop, when all is over. REQUIRES: the first call.
  void start(Finished finished);

  /// Drains: cuts what is open, commits, leaves; at most drain_deadline. Again: no effect.
  void stop();

  [[nodiscard]] ArchiverStatus status() const;

 private:
  enum class Phase { surveying, anchoring, replaying, collecting };
  enum class CutStep { intent, storing, position };

  struct Cut {
    Position end{};
    std::vector<HourBuffers::Object> objects{};
    std::vector<std::string> keys{};
    std::size_t next = 0;  // object to be created
    RecordBooks books{};
    ObjectMaker* maker = nullptr;
    std::uint32_t mapping = 0;
    FlushReason reason = FlushReason::size;
    CutStep step = CutStep::intent;
    std::size_t bytes = 0;
  };
  struct Held {
    RecordBatch batch{};
    std::size_t next = 0;  // record to be taken
  };
  struct Partition {
    Partition(PartitionId name, Tenure number, ObjectMaker& maker)
        : id(std::move(name)), tenure(number), open(maker) {}

    PartitionId id;
    Tenure tenure;
    Phase phase = Phase::surveying;
    Position start{};      // Assigned::start
    Position committed{};  // C
    CutNote note{};        // as committed with it
    HourBuffers open;
    Position read_to{};  // E, if it were cut now
    Ticks open_since{};
    std::optional<Cut> cut{};
    std::deque<Held> held{};            // handed out by the source, not taken yet
    std::optional<FlushReason> full{};  // a cut that must come before the next record
    bool leaving = false;
    bool paused = false;
    bool stuck = false;
    std::uint32_t retries = 0;
    std::string waiting{};
    std::optional<ArchiverStatus::LastCut> last_cut{};

    [[nodiscard]] bool has_open() const { return open.books().read > 0; }
  };
  struct Upload {
    PartitionId partition{};
    Tenure tenure{};
  };
  struct Found {  // objects of one partition in the lake
    Position newest{};
    std::string incarnation{};
    std::uint64_t objects = 0;
  };
  struct Survey;

  Archiver(Loop& loop, Source& source, ObjectStore& store, const LakeOptions& lake,
           const DecodeOptions& decoding, const PipelineOptions& options, Rng& rng, const Log& log,
           Metrics& metrics, std::unique_ptr<ObjectMaker> maker);

  void pump();
  void handle(Assigned event);
  void handle(Records event);
  void handle(const EndOfLog& event);
  void handle(const Revoking& event);
  void handle(const Lost& event);
  void handle(const Stuck& event);

  Partition* find(const PartitionId& id, Tenure tenure);
  void drop(Partition& partition, std::string_view why);
  void release(Partition& partition);

  void begin(Partition& partition, const Committed& committed);
  void survey();
  void surveyed(const std::shared_ptr<Survey>& survey);
  void anchor(Partition& partition, Position position);
  void collect(Partition& partition);
  void begin_replay(Partition& partition);
  void end_replay(Partition& partition);

  void take_held(Partition& partition);
  bool take(Partition& partition, const RecordBatch& batch, const RecordRef& record);
  void begin_cut(Partition& partition, FlushReason reason);
  void commit_intent(Partition& partition);
  void commit_position(Partition& partition);
  void queue_upload(const Partition& partition);
  void start_uploads();
  void uploaded(const PartitionId& id, Tenure tenure, const Status& answer);
  void cut_done(Partition& partition);
  void settle_leaving(Partition& partition);

  void cut_old();
  void cut_for_memory();
  void update_pauses();
  void wait(Partition& partition, const Error& error, std::function<void(Partition&)> again);
  void clear_waiting(Partition& partition);
  Result<ObjectMaker*> maker_for(const CutLayout& layout);
  [[nodiscard]] std::size_t bytes_of(const Partition& partition) const;
  [[nodiscard]] std::size_t bytes_held() const;
  [[nodiscard]] std::string where(const Partition& partition) const;
  void refuse(Partition& partition, const Error& error);
  void end(Status status);

  Loop& loop_;
  Source& source_;
  ObjectStore& store_;
  const LakeOptions lake_;
  const DecodeOptions decoding_;
  const PipelineOptions options_;
  Rng& rng_;
  const Log& log_;
  const RetryPolicy retry_{};
  const std::uint32_t mapping_;

  std::vector<std::unique_ptr<ObjectMaker>> makers_{};  // the first is today's layout
  std::map<PartitionId, Partition> partitions_{};
  std::deque<Upload> uploads_{};
  std::size_t uploads_in_flight_ = 0;
  bool surveying_ = false;
  std::size_t record_bytes_ = 1024;  // of late, on average: how many records fit into what is left
  bool stopping_ = false;
  bool ended_ = false;
  Ticks stop_deadline_{};
  Status outcome_{};
  Finished finished_{};

  Counter& stored_;
  Counter& dead_lettered_;
  Counter& empty_;
  Counter& objects_;
  Counter& object_bytes_;
  Counter& put_failures_;
  std::map<FlushReason, Counter*> flushes_{};
  Gauge& bytes_gauge_;
};

}  // namespace millrace
