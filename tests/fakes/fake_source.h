// A log in memory and a Source on it, in Kafka's terms: partitions with records numbered from 0, a
// committed position and note per partition that outlive the program, tenures that fence commits.
// The test says when partitions come and go.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/check.h"
#include "core/loop.h"
#include "ingest/source.h"

namespace millrace {

/// What outlives the program.
struct FakeLog {
  struct Record {
    std::string text{};
    std::int64_t arrived_ms = -1;
    bool tombstone = false;
  };
  struct Partition {
    std::vector<Record> records{};
    std::optional<Committed> committed{};
    std::vector<Committed> commits{};  // all of them, in order
    Tenure owner{};                    // commits of another tenure are conflicts
  };
  std::map<PartitionId, Partition> partitions{};
  std::uint64_t tenures = 0;

  std::int64_t append(const std::string& partition, std::string text,
                      std::int64_t arrived_ms = -1) {
    auto& records = partitions[PartitionId{partition}].records;
    records.push_back({std::move(text), arrived_ms, false});
    return static_cast<std::int64_t>(records.size()) - 1;
  }
  void append_tombstone(const std::string& partition) {
    partitions[PartitionId{partition}].records.push_back({{}, -1, true});
  }
  /// The committed offset as a number; -1 when nothing is committed.
  std::int64_t committed(const std::string& partition) const {
    const auto found = partitions.find(PartitionId{partition});
    if (found == partitions.end() || !found->second.committed) return -1;
    return std::stoll(found->second.committed->position.offset.digits);
  }
  std::string note(const std::string& partition) const {
    return partitions.at(PartitionId{partition}).committed.value().note;
  }
};

class FakeSource final : public Source {
 public:
  FakeSource(Loop& loop, FakeLog& log) : loop_(loop), log_(log) {}

  // What the test says.
  void assign(const std::string& partition) {
    const PartitionId id{partition};
    const auto tenure = static_cast<Tenure>(++log_.tenures);
    auto& stored = log_.partitions[id];
    stored.owner = tenure;
    owned_[id] = {.tenure = tenure, .end = stored.records.size()};
    events_.push_back(Assigned{id, tenure, stored.committed, Position{Offset::of(0)}});
  }
  void revoke(const std::string& partition) {
    Owned& owned = owned_.at(PartitionId{partition});
    owned.revoking = true;
    events_.push_back(Revoking{PartitionId{partition}, owned.tenure});
  }
  /// Another owner has it: from now on our commits of it are conflicts.
  void lose(const std::string& partition) {
    steal(partition);
    events_.push_back(Lost{PartitionId{partition}, owned_.at(PartitionId{partition}).tenure});
    owned_.erase(PartitionId{partition});
  }
  /// The same, and nobody tells us.
  void steal(const std::string& partition) {
    log_.partitions.at(PartitionId{partition}).owner = static_cast<Tenure>(++log_.tenures);
  }
  void stick(const std::string& partition, Error error) {
    events_.push_back(
        Stuck{PartitionId{partition}, owned_.at(PartitionId{partition}).tenure, std::move(error)});
  }
  void fail_poll(Error error) { poll_error_ = std::move(error); }
  void fail_commits(std::optional<Error> error) { commit_error_ = std::move(error); }
  /// Commits take that long; they are written at the end of it.
  void set_commit_delay(Ticks delay) { commit_delay_ = delay; }

  // What the test looks at.
  std::size_t polls_of_nothing() const { return polls_of_nothing_; }
  std::size_t records_handed_out() const { return handed_out_; }
  bool owns(const std::string& partition) const { return owned_.contains(PartitionId{partition}); }
  bool paused(const std::string& partition) const {
    return owned_.at(PartitionId{partition}).paused;
  }

  // Source.
  std::string kind() const override { return "fake"; }
  std::string log_name() const override { return "events"; }

  Result<std::vector<SourceEvent>> poll(std::size_t records_max) override {
    if (poll_error_) return fail(*poll_error_);
    if (records_max == 0) ++polls_of_nothing_;
    auto events = std::exchange(events_, {});
    for (auto& [id, owned] : owned_) {
      if (!owned.started || owned.paused || owned.revoking) continue;
      const auto& records = log_.partitions.at(id).records;
      const std::size_t end = std::min(records.size(), owned.next + records_max);
      if (owned.next >= end) continue;
      RecordBatch batch;
      batch.partition = id;
      batch.tenure = owned.tenure;
      for (; owned.next < end; ++owned.next) {
        const auto& record = records[owned.next];
        batch.records.push_back({.at = {Offset::of(static_cast<std::int64_t>(owned.next))},
                                 .begin = batch.bytes.size(),
                                 .length = record.text.size(),
                                 .arrived_ms = record.arrived_ms,
                                 .tombstone = record.tombstone});
        batch.bytes += record.text;
      }
      records_max -= batch.records.size();
      handed_out_ += batch.records.size();
      events.push_back(Records{std::move(batch)});
      if (owned.next == records.size()) {
        events.push_back(
            EndOfLog{id, owned.tenure, {Offset::of(static_cast<std::int64_t>(owned.next))}});
      }
    }
    return events;
  }

  void start(const PartitionId& partition, Tenure tenure, const Position& from) override {
    Owned& owned = owned_.at(partition);
    MILLRACE_CHECK(owned.tenure == tenure && !owned.started);
    owned.started = true;
    owned.next = static_cast<std::size_t>(std::stoull(from.offset.digits));
  }

  void pause(const PartitionId& partition, bool paused) override {
    owned_.at(partition).paused = paused;
  }

  Position after(const Position& at) const override {
    return {Offset::of(std::stoll(at.offset.digits) + 1)};
  }

  void commit(const PartitionId& partition, Tenure tenure, const Position& next, std::string note,
              Done done) override {
    MILLRACE_CHECK(note.size() <= kNoteBytesMax);
    loop_.post_after(commit_delay_, [this, alive = std::weak_ptr<bool>(alive_), partition, tenure,
                                     next, note = std::move(note), done = std::move(done)] {
      if (alive.expired()) return;
      auto& stored = log_.partitions.at(partition);
      if (stored.owner != tenure) {
        done(fail(ErrorKind::conflict, "another owner"));
      } else if (commit_error_) {
        done(fail(*commit_error_));
      } else {
        stored.committed = Committed{next, note};
        stored.commits.push_back({next, note});
        done({});
      }
    });
  }

  void release(const PartitionId& partition, Tenure tenure) override {
    const auto found = owned_.find(partition);
    if (found == owned_.end() || found->second.tenure != tenure) return;
    MILLRACE_CHECK(found->second.revoking);
    owned_.erase(found);
  }

  void close() override {
    closing_ = true;
    for (auto& [id, owned] : owned_) {
      if (!std::exchange(owned.revoking, true)) events_.push_back(Revoking{id, owned.tenure});
    }
  }
  bool closed() const override { return closing_ && owned_.empty(); }

  bool at_end() const override {
    return !owned_.empty() && std::all_of(owned_.begin(), owned_.end(), [](const auto& entry) {
      return entry.second.started && entry.second.next >= entry.second.end;
    });
  }

  SourceStatus status() const override {
    SourceStatus status;
    for (const auto& [id, owned] : owned_) {
      PartitionStatus one;
      one.partition = id;
      const auto& stored = log_.partitions.at(id);
      if (stored.committed) one.committed = stored.committed->position;
      status.partitions.push_back(std::move(one));
    }
    return status;
  }

 private:
  struct Owned {
    Tenure tenure{};
    std::size_t end = 0;  // of the log when it was assigned
    std::size_t next = 0;
    bool started = false;
    bool paused = false;
    bool revoking = false;
  };

  Loop& loop_;
  FakeLog& log_;
  std::map<PartitionId, Owned> owned_{};
  std::vector<SourceEvent> events_{};
  std::optional<Error> poll_error_{};
  std::optional<Error> commit_error_{};
  Ticks commit_delay_ = 1ms;
  std::size_t polls_of_nothing_ = 0;
  std::size_t handed_out_ = 0;
  bool closing_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace millrace
