// The smallest pipeline there can be, for tests of KafkaSource: starts what is assigned, keeps what
// comes, commits how far it is after every poll, and lets go when asked.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ingest/kafka_source.h"
#include "tests/fakes/live_loop.h"

namespace millrace {

struct KafkaReader {
  struct Got {
    std::string partition{};
    std::int64_t offset = 0;
    std::string text{};
    std::int64_t arrived_ms = -1;
    bool tombstone = false;
  };
  struct Owned {
    Tenure tenure{};
    Position next{};
    bool dirty = true;  // the anchor
    bool committing = false;
    bool revoking = false;
  };

  KafkaReader(const KafkaOptions& options, LiveLoop& where, Metrics& metrics,
              KafkaSourceLimits limits = {}, Log* log = nullptr)
      : loop(where), source(options, where, log == nullptr ? silent : *log, metrics, limits) {}

  /// One poll and what follows from it.
  void turn() {
    if (failed) return;
    auto events = source.poll(records_max);
    if (!events) {
      failed = events.error();
      return;
    }
    for (SourceEvent& event : *events) std::visit([this](auto& e) { on(e); }, event);
    for (auto& [partition, owned] : parts) {
      if (commits && owned.dirty && !owned.committing) commit(partition, owned);
    }
    for (auto at = parts.begin(); at != parts.end();) {
      Owned& owned = at->second;
      if (owned.revoking && !hold_release && !owned.committing && !(commits && owned.dirty)) {
        source.release(PartitionId{at->first}, owned.tenure);
        at = parts.erase(at);
      } else {
        ++at;
      }
    }
  }

  void commit(const std::string& partition, Owned& owned) {
    owned.committing = true;
    owned.dirty = false;
    source.commit(PartitionId{partition}, owned.tenure, owned.next, "mr1 at=" + owned.next.text(),
                  [this, partition, tenure = owned.tenure](const Status& status) {
                    ++commits_answered;
                    if (!status) refused.push_back(status.error());
                    const auto found = parts.find(partition);
                    if (found == parts.end() || found->second.tenure != tenure) return;
                    found->second.committing = false;
                    if (!status) parts.erase(found);
                  });
  }

  void on(const Assigned& e) {
    assigned.push_back(e);
    const Position from = e.committed ? e.committed->position : e.start;
    // What an earlier tenure read and could not commit is dropped: it comes again.
    std::erase_if(got, [&](const Got& g) {
      return g.partition == e.partition.value && Offset::of(g.offset) >= from.offset && losses > 0;
    });
    parts[e.partition.value] = Owned{.tenure = e.tenure, .next = from, .dirty = !e.committed};
    if (starts) source.start(e.partition, e.tenure, from);
  }
  void on(const Records& e) {
    const auto found = parts.find(e.batch.partition.value);
    if (found == parts.end() || found->second.tenure != e.batch.tenure || found->second.revoking) {
      ++strays;
      return;
    }
    for (const RecordRef& record : e.batch.records) {
      got.push_back({e.batch.partition.value, std::stoll(record.at.offset.digits),
                     keep_text ? std::string(e.batch.text_of(record)) : std::string(),
                     record.arrived_ms, record.tombstone});
      bytes += record.length;
      found->second.next = source.after(record.at);
    }
    found->second.dirty = true;
  }
  void on(const EndOfLog& e) { ends[e.partition.value] = e.position.text(); }
  void on(const Revoking& e) {
    ++revokings;
    if (parts.contains(e.partition.value)) parts[e.partition.value].revoking = true;
  }
  void on(const Lost& e) {
    ++losses;
    parts.erase(e.partition.value);
  }
  void on(const Stuck& e) { stuck.push_back(e); }

  /// Everything of one partition in the order it came.
  [[nodiscard]] std::vector<std::int64_t> offsets(const std::string& partition) const {
    std::vector<std::int64_t> out;
    for (const Got& g : got) {
      if (g.partition == partition) out.push_back(g.offset);
    }
    return out;
  }

  /// Leaves the group; false when it takes longer than `limit`.
  bool leave(std::chrono::milliseconds limit = std::chrono::seconds(20)) {
    source.close();
    return loop.run_until([this] { return source.closed(); }, [this] { turn(); }, limit);
  }
  bool until(const std::function<bool()>& condition,
             std::chrono::milliseconds limit = std::chrono::seconds(20)) {
    return loop.run_until(
        condition, [this] { turn(); }, limit);
  }

  LiveLoop& loop;
  Log silent{};
  std::size_t records_max = 1000;
  bool starts = true;
  bool commits = true;
  bool keep_text = true;
  bool hold_release = false;
  std::map<std::string, Owned> parts{};
  std::vector<Got> got{};
  std::vector<Assigned> assigned{};
  std::map<std::string, std::string> ends{};
  std::vector<Stuck> stuck{};
  std::vector<Error> refused{};
  std::optional<Error> failed{};
  std::size_t bytes = 0;
  int commits_answered = 0;
  int revokings = 0;
  int losses = 0;
  int strays = 0;      // records of a partition that we had not, or were about to leave
  KafkaSource source;  // last: it goes first
};

}  // namespace millrace
