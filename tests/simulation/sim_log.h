// A partitioned log that outlives every program, with consumer groups as Kafka has them, in memory:
// members that must be heard of, generations, revocation that waits for its answer, commits that
// are fenced by tenure. What it promises is what ingest/source.h says.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ingest/source.h"
#include "tests/simulation/sim_loop.h"

namespace millrace {

struct SimLogOptions {
  /// Kafka's positions (the next record) or Kinesis' (the last one settled, in 56 digits).
  bool successor_positions = true;
  Ticks session_timeout = 2s;  // unheard of for so long, a member is put out
  Ticks revoke_timeout = 10s;  // so long a partition may take to leave its member
  bool fence = true;           // off: late commits are accepted, as they must never be
  bool keep_notes = true;      // off: commits lose their note, as a careless tool would
};

struct SimRecord {
  std::int64_t number = 0;  // offset; with gaps, as transaction markers and compaction leave them
  std::string text{};
  std::int64_t arrived_ms = 0;
  bool tombstone = false;
};

class SimSource;

class SimLog {
 public:
  SimLog(SimScheduler& scheduler, std::size_t partitions, SimLogOptions options);

  static PartitionId partition_id(std::size_t index) { return {std::to_string(index)}; }

  void append(std::size_t partition, std::string text, std::int64_t arrived_ms,
              bool tombstone = false, std::int64_t gap = 0);
  [[nodiscard]] const std::vector<SimRecord>& records(std::size_t partition) const {
    return partitions_.at(partition).records;
  }
  [[nodiscard]] std::size_t partition_count() const { return partitions_.size(); }

  /// The position of a record itself, and the one once it is settled.
  [[nodiscard]] Position at(std::int64_t number) const;
  [[nodiscard]] Position after(const Position& at) const;

  /// Retention: forgets the records below `number`. Whoever starts below goes on there.
  void forget_below(std::size_t partition, std::int64_t number) {
    partitions_.at(partition).low = number;
  }

  [[nodiscard]] std::optional<Committed> committed(const std::string& group,
                                                   std::size_t partition) const;
  void set_committed(const std::string& group, std::size_t partition,
                     std::optional<Committed> committed);

  /// Called for each commit that is accepted, before it takes effect.
  using OnCommit =
      std::function<void(const std::string& group, std::size_t partition,
                         const std::optional<Committed>& before, const Committed& now)>;
  void on_commit(OnCommit hook) { on_commit_ = std::move(hook); }

  /// Draws a new assignment although nobody came or went.
  void shuffle(const std::string& group);

  [[nodiscard]] const SimLogOptions& options() const { return options_; }
  [[nodiscard]] SimScheduler& scheduler() { return scheduler_; }
  [[nodiscard]] std::uint64_t commits_refused() const { return commits_refused_; }

 private:
  friend class SimSource;
  using MemberId = std::uint64_t;

  struct Partition {
    std::vector<SimRecord> records{};
    std::int64_t low = 0;
    std::int64_t next = 0;
  };
  struct Ownership {
    std::optional<MemberId> owner{};
    std::uint64_t epoch = 0;  // rises with every change of owner
    bool revoking = false;
    Ticks revoke_deadline{};
    std::optional<MemberId> target{};
    std::optional<Committed> committed{};
  };
  struct Event {
    enum class Kind { assigned, revoking, lost } kind = Kind::assigned;
    std::size_t partition = 0;
    std::uint64_t epoch = 0;
  };
  struct Member {
    Ticks heard{};
    bool leaving = false;
    std::deque<Event> inbox{};
  };
  struct Group {
    std::map<MemberId, Member> members{};
    std::vector<Ownership> owners{};
    bool ticking = false;
  };

  Group& group_of(const std::string& name);
  MemberId join(const std::string& name);
  void heartbeat(const std::string& name, MemberId member);
  void leave(const std::string& name, MemberId member);
  void released(const std::string& name, MemberId member, std::size_t partition,
                std::uint64_t epoch);
  [[nodiscard]] bool is_member(const std::string& name, MemberId member);
  Status commit(const std::string& name, MemberId member, std::size_t partition,
                std::uint64_t epoch, Committed committed);
  void rebalance(Group& group);
  void hand_over(Group& group);
  void expire(const std::string& name);

  SimScheduler& scheduler_;
  SimLogOptions options_;
  std::vector<Partition> partitions_{};
  std::map<std::string, Group> groups_{};
  MemberId member_ids_ = 0;
  std::uint64_t commits_refused_ = 0;
  OnCommit on_commit_{};
};

/// One member's view: the Source of a worker.
class SimSource final : public Source {
 public:
  /// REQUIRES: `log` and `loop` outlive this; the loop's process is killed before it is destroyed.
  SimSource(SimLog& log, std::string group, SimLoop& loop)
      : log_(log), group_(std::move(group)), loop_(loop), member_(log.join(group_)) {}

  std::string kind() const override {
    return log_.options().successor_positions ? "kafka" : "kinesis";
  }
  std::string log_name() const override { return "interactions"; }
  Result<std::vector<SourceEvent>> poll(std::size_t records_max) override;
  void start(const PartitionId& partition, Tenure tenure, const Position& from) override;
  void pause(const PartitionId& partition, bool paused) override;
  Position after(const Position& at) const override { return log_.after(at); }
  void commit(const PartitionId& partition, Tenure tenure, const Position& next, std::string note,
              Done done) override;
  void release(const PartitionId& partition, Tenure tenure) override;
  void close() override;
  bool closed() const override { return closed_; }
  bool at_end() const override;
  SourceStatus status() const override { return {}; }

 private:
  struct Owned {
    Tenure tenure{};
    std::uint64_t epoch = 0;
    bool started = false;
    bool paused = false;
    bool revoking = false;
    std::size_t next = 0;  // record to be handed out
    std::int64_t end_then = 0;
  };
  Position position_before(std::size_t partition, std::size_t next) const;

  SimLog& log_;
  std::string group_;
  SimLoop& loop_;
  SimLog::MemberId member_;
  std::map<std::size_t, Owned> owned_{};
  std::uint64_t tenures_ = 0;
  bool assigned_once_ = false;
  bool closing_ = false;
  bool closed_ = false;
};

}  // namespace millrace
