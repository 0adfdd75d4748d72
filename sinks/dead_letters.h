// Events that no destination takes, kept with their reason and their record's own bytes.
#pragma once

#include <cstddef>
#include <cstdint>
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
#include "core/position.h"
#include "core/retry_policy.h"
#include "core/rng.h"
#include "lake/object_store.h"
#include "lake/options.h"
#include "lake/prefix.h"

namespace millrace {

/// What stands in `errorCode`: at which step it was refused. `errorMessage` says why.
inline constexpr std::string_view kDecodeFailed = "decode-failed";
inline constexpr std::string_view kRefusedByPersonalize = "refused";

/// One dead letter. Views: they must outlive the call only.
struct DeadLetter {
  std::string_view pipeline{};  // "personalize" or "lake"
  std::string_view partition{};
  Position position{};                   // of the record
  std::optional<std::uint32_t> index{};  // which event of the record; absent: the whole record
  std::string_view code{};
  std::string_view reason{};
  std::string_view raw{};        // the record's bytes
  std::int64_t arrived_ms = -1;  // the log's own time; -1 is written as 0
  std::int64_t ended_ms = 0;     // when it was given up
  std::uint32_t attempts = 1;
};

/// Appends one line of JSON and its line feed: the members of Firehose's own error records ("Data
/// transformation failure handling" in the Firehose Developer Guide: attemptsMade,
/// arrivalTimestamp, errorCode, errorMessage, attemptEndingTimestamp, rawData in base64), so that
/// tools written for those read ours, and then our key (pipeline, partition, position, index).
/// Bytes of `reason` that are not UTF-8 become U+FFFD.
void append_dead_letter(std::string& out, const DeadLetter& letter);

struct DeadLettersOptions {
  Prefix error_prefix;
  Compression compression = Compression::gzip;
  std::string log_name{};              // topic, stream or file
  std::size_t digits = 20;             // position_digits() of its kind
  std::string folder{};                // in front of the key: "" in a lake, a folder below `state`
  Ticks age_max = 1s;                  // a letter waits this long for company
  std::size_t bytes_max = 512u << 10;  // of lines in one object, then it is written at once
  std::size_t puts_max = 4;            // objects being written at a time, one of a partition
  RetryPolicy retry{};
};

/// Writes dead letters as objects of lines under the error prefix, one object per partition and
/// flush. A letter is written at least once: a crash between an object and the commit of its
/// records repeats it, perhaps in an object of another name; whoever reads counts a key (pipeline,
/// partition, position, index) once. The name is computed from the letters in the object, so a put
/// repeated after a lost reply changes nothing.
///
/// A put that fails is repeated for ever, paced by RetryPolicy, whatever the error: nothing may
/// settle without it. bytes_waiting() grows meanwhile; whoever adds looks at it and makes the
/// partition wait.
///
/// Threads: the loop's. The store must outlive the loop's offloaded work.
class DeadLetters {
 public:
  using Done = std::function<void()>;

  DeadLetters(Loop& loop, ObjectStore& store, DeadLettersOptions options, std::uint64_t seed,
              Metrics& metrics, const Log& log);
  DeadLetters(const DeadLetters&) = delete;
  DeadLetters& operator=(const DeadLetters&) = delete;

  /// Takes a letter; `done` runs once on the loop, never inside add(), when it is durable.
  void add(const DeadLetter& letter, Done done);

  /// Letters that wait are written at once: a stop, or a partition that leaves.
  void flush();

  /// Bytes of lines not yet durable.
  [[nodiscard]] std::size_t bytes_waiting() const { return bytes_; }
  [[nodiscard]] std::size_t bytes_waiting(const PartitionId& partition) const;

  /// Why the last put failed; cleared by the next that works.
  [[nodiscard]] const std::optional<Error>& trouble() const { return trouble_; }

 private:
  struct Letters {
    std::string lines{};
    std::vector<Done> done{};
    Position first{};
    Position last{};
    std::int64_t arrived_ms = -1;
    std::uint64_t hash = 0;
  };
  struct Partition {
    Letters waiting{};
    std::uint64_t number = 0;  // of the letters that wait: an older timer does nothing
    bool due = false;
    bool writing = false;
    std::size_t bytes = 0;
  };
  struct Put;

  void start_due();
  void write(const PartitionId& id, Partition& partition);
  void attempt(const std::shared_ptr<Put>& put);

  Loop& loop_;
  ObjectStore& store_;
  DeadLettersOptions options_;
  Rng rng_;
  Counter& written_;
  Counter& failed_;
  const Log& log_;
  std::map<PartitionId, Partition> partitions_{};  // only those with letters
  std::size_t writing_ = 0;
  std::size_t bytes_ = 0;
  std::uint64_t numbers_ = 0;
  std::optional<Error> trouble_{};
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // tasks outlive us in a crash
};

}  // namespace millrace
