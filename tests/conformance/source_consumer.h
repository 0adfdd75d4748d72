// The smallest honest pipeline over a Source: it starts what it is given, keeps what it reads, and
// commits when it is told to.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "ingest/source.h"

namespace millrace {

class SourceConsumer {
 public:
  explicit SourceConsumer(Source& source) : source_(source) {}

  struct Owned {
    Tenure tenure{};
    std::optional<Committed> committed{};
    Position next{};       // to commit
    bool leaving = false;  // Revoking was told
    int at_end = 0;        // EndOfLog events
  };

  // What happened so far, by partition.
  std::map<std::string, Owned> owned{};
  std::map<std::string, std::vector<std::string>> texts{};
  std::vector<std::string> order{};  // all texts as they came
  std::vector<std::string> lost{};
  std::vector<std::string> assigned{};
  std::optional<Error> final_error{};
  std::optional<Error> stuck{};

  bool start_at_once = true;
  /// Settles at once: commits and releases as soon as Revoking comes.
  bool release_at_once = true;

  void poll(std::size_t records_max = 1000) {
    auto events = source_.poll(records_max);
    if (!events) {
      final_error = events.error();
      return;
    }
    for (SourceEvent& event : *events) {
      std::visit([this](auto& one) { on(one); }, event);
    }
  }

  void start(const std::string& partition) {
    Owned& one = owned.at(partition);
    source_.start({partition}, one.tenure, one.committed ? one.committed->position : one.next);
  }

  /// Commits what was read of it; the answer comes later.
  void commit(const std::string& partition, std::string note = "",
              std::optional<Status>* answer = nullptr) {
    Owned& one = owned.at(partition);
    const Position next = one.next;
    source_.commit({partition}, one.tenure, next, note,
                   [this, partition, next, note, answer](Status status) {
                     if (answer != nullptr) *answer = status;
                     if (status && owned.contains(partition)) {
                       owned[partition].committed = Committed{next, note};
                     }
                   });
  }
  [[nodiscard]] bool all_committed() const {
    for (const auto& [partition, one] : owned) {
      if (!one.committed || one.committed->position != one.next) return false;
    }
    return true;
  }
  [[nodiscard]] std::size_t count() const { return order.size(); }

 private:
  void on(Assigned& event) {
    const std::string& partition = event.partition.value;
    EXPECT_FALSE(owned.contains(partition)) << partition << " is assigned twice";
    Owned& one = owned[partition];
    one.tenure = event.tenure;
    one.committed = event.committed;
    one.next = event.committed ? event.committed->position : event.start;
    assigned.push_back(partition);
    if (start_at_once) start(partition);
  }
  void on(Records& event) {
    const RecordBatch& batch = event.batch;
    const auto found = owned.find(batch.partition.value);
    ASSERT_NE(found, owned.end()) << "records of a partition that is not ours";
    ASSERT_EQ(batch.tenure, found->second.tenure);
    ASSERT_FALSE(found->second.leaving) << "records after Revoking";
    for (const RecordRef& record : batch.records) {
      const Position after = source_.after(record.at);
      EXPECT_LT(found->second.next, after) << "positions must grow";
      found->second.next = after;
      texts[batch.partition.value].emplace_back(batch.text_of(record));
      order.emplace_back(batch.text_of(record));
    }
  }
  void on(EndOfLog& event) {
    const auto found = owned.find(event.partition.value);
    ASSERT_NE(found, owned.end());
    EXPECT_EQ(event.position, found->second.next);
    ++found->second.at_end;
  }
  void on(Revoking& event) {
    const auto found = owned.find(event.partition.value);
    ASSERT_NE(found, owned.end());
    found->second.leaving = true;
    if (!release_at_once) return;
    const std::string partition = event.partition.value;
    const Tenure tenure = event.tenure;
    source_.commit({partition}, tenure, found->second.next, "left",
                   [this, partition, tenure](Status status) {
                     EXPECT_TRUE(status) << status.error().message;
                     owned.erase(partition);
                     source_.release({partition}, tenure);
                   });
  }
  void on(Lost& event) {
    lost.push_back(event.partition.value);
    owned.erase(event.partition.value);
  }
  void on(Stuck& event) { stuck = event.error; }

  Source& source_;
};

}  // namespace millrace
