// The seam between a log (Kafka, Kinesis, a file) and a pipeline: partitions come and go, records
// flow, positions are kept in the log's own books together with a note for the next owner.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/position.h"
#include "core/record.h"
#include "core/result.h"

namespace millrace {

/// What the log remembers of a partition for our group.
struct Committed {
  Position position{};
  std::string note{};  // ASCII, at most kNoteBytesMax; empty when another program committed
};

/// Kafka refuses more commit metadata than this (broker setting offset.metadata.max.bytes).
inline constexpr std::size_t kNoteBytesMax = 4096;

/// A partition is ours. Nothing of it flows before Source::start(). `start` is where to begin when
/// nothing is committed: the configured start, already resolved to a number where the log has one
/// (so that it can be committed as an anchor before the first read); an empty offset means the
/// source remembers by itself where its start is (Kinesis: TRIM_HORIZON).
struct Assigned {
  PartitionId partition{};
  Tenure tenure{};
  std::optional<Committed> committed{};
  Position start{};
};

/// Records of one partition in log order, never of a partition that was not started or is paused.
struct Records {
  RecordBatch batch{};
};

/// Everything up to `position` (in the sense of Source::after) has been handed out and the log
/// holds nothing more now. Repeated whenever the end is reached anew.
struct EndOfLog {
  PartitionId partition{};
  Tenure tenure{};
  Position position{};
};

/// The partition is about to leave (rebalance, a closed Kinesis shard that is read to its end,
/// close()). Still ours: settle what is settled soon, commit, then answer with release(). No more
/// records of it come.
struct Revoking {
  PartitionId partition{};
  Tenure tenure{};
};

/// The partition is gone without asking (session expired, lease stolen). Drop everything, commit
/// nothing; release() is not expected.
struct Lost {
  PartitionId partition{};
  Tenure tenure{};
};

/// This partition cannot go on until a person decides (damaged batch, committed position out of
/// range, topic re-created). Others go on. `error.kind` refused: the program should end with exit
/// code 3 and this message.
struct Stuck {
  PartitionId partition{};
  Tenure tenure{};
  Error error{};
};

using SourceEvent = std::variant<Assigned, Records, EndOfLog, Revoking, Lost, Stuck>;

/// One line of `status` per partition.
struct PartitionStatus {
  PartitionId partition{};
  Position committed{};
  std::int64_t records_behind =
      -1;  // from the committed position to the log's end; -1 unknown (Kinesis)
  std::int64_t millis_behind = -1;  // -1 unknown
  std::int64_t retention_left_ms =
      -1;  // until the log forgets the oldest record not yet settled; -1 unknown
  std::int64_t retention_ms = -1;  // how long the log keeps a record; -1 unknown or for ever
};

struct SourceStatus {
  std::vector<PartitionStatus> partitions{};
  std::optional<Error> trouble{};  // why nothing flows right now (broker unreachable, access
                                   // denied); cleared by success
  std::size_t bytes_held = 0;      // read ahead and not yet handed out
};

/// Threads: every method on the loop's thread; none blocks. What one implementation promises all
/// do: tests/conformance/source_suite.h.
class Source {
 public:
  using Done = std::function<void(Status)>;
  virtual ~Source() = default;

  /// "kafka", "kinesis" or "file", and the topic, stream or path: for names, `_source` and
  /// messages.
  [[nodiscard]] virtual std::string kind() const = 0;
  [[nodiscard]] virtual std::string log_name() const = 0;

  /// Returns at once with what is ready. At most about `records_max` records; 0 keeps the session
  /// alive without taking any: that is all our back-pressure is. An Error is final for the whole
  /// source.
  virtual Result<std::vector<SourceEvent>> poll(std::size_t records_max) = 0;

  /// Lets records flow from `from` (a committed position or Assigned::start). Once per tenure.
  virtual void start(const PartitionId& partition, Tenure tenure, const Position& from) = 0;

  /// While paused, poll() returns no records of this partition; nothing already read ahead is
  /// thrown away.
  virtual void pause(const PartitionId& partition, bool paused) = 0;

  /// The position once the record at `at` (and all before it) is settled: what to commit, and where
  /// a cut ends.
  [[nodiscard]] virtual Position after(const Position& at) const = 0;

  /// Writes position and note durably for whoever owns the partition next. Returns at once; `done`
  /// runs once on the loop, after the log's own answer, never inside commit(). Errors: `conflict`
  /// when the tenure is over (nothing was written, drop the partition); retryable kinds have been
  /// retried inside for as long as the tenure lasts, so what arrives is final. Commits of one
  /// partition are answered in order; at most one should be under way.
  virtual void commit(const PartitionId& partition, Tenure tenure, const Position& next,
                      std::string note, Done done) = 0;

  /// The answer to Revoking: nothing of this partition is under way here any more.
  virtual void release(const PartitionId& partition, Tenure tenure) = 0;

  /// Leaves: Revoking comes for every partition, and closed() turns true once all are released and
  /// the log knows (or a bounded wait is over).
  virtual void close() = 0;
  [[nodiscard]] virtual bool closed() const = 0;

  /// For `run --until-end`: each partition owned now has been handed out up to the end that its log
  /// had when it was assigned (Kinesis: up to zero milliseconds behind), and what other members of
  /// a Kafka group own is committed up to the end that was seen first: a member that died holds its
  /// partitions until its session is over. False before the first assignment.
  [[nodiscard]] virtual bool at_end() const = 0;

  [[nodiscard]] virtual SourceStatus status() const = 0;
};

}  // namespace millrace
