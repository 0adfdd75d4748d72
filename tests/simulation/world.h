// A whole world for the two pipelines: a log, a lake, workers that crash, freeze, come and go, and
// a network that loses replies; and a ledger that checks at every step what docs/formats.md and the
// headers promise. Everything that happens is drawn from one seed.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/log.h"
#include "core/metrics.h"
#include "lake/memory_object_store.h"
#include "pipeline/archiver.h"
#include "tests/fakes/faulty_object_store.h"
#include "tests/simulation/sim_log.h"
#include "tests/simulation/sim_loop.h"

namespace millrace {

struct WorldOptions {
  SimLogOptions log{};
  /// What the store wrongly says: a put that is answered but not done, now and then.
  bool lying_store = false;
  Ticks chaos = 15s;         // so long things go wrong
  Ticks drain_limit = 300s;  // so long the workers may take to finish afterwards
};

/// What is durable, record by record, and everything that is wrong with it.
class LakeLedger {
 public:
  struct Expected {
    std::size_t lines = 0;
    std::size_t dead = 0;
    LakeHour by_arrival{};
    LakeHour by_event{};
    std::string text{};
  };

  explicit LakeLedger(const SimLog& log) : log_(log), partitions_(log.partition_count()) {}

  void expect(std::size_t partition, std::int64_t number, Expected expected);
  /// An object came to stand in the lake.
  void created(const std::string& key, const std::string& bytes);
  /// Nothing below a committed position may be missing.
  void committed(std::size_t partition, const std::optional<Committed>& before,
                 const Committed& now);
  /// At the end: every record once, the names tile the log, the books add up.
  void finished(std::size_t partition, const std::optional<Committed>& committed);

  /// The first thing that was wrong; empty: nothing.
  [[nodiscard]] const std::string& problem() const { return problem_; }
  void complain(const std::string& what) {
    if (problem_.empty()) problem_ = what;
  }
  [[nodiscard]] std::uint64_t objects() const { return objects_; }

 private:
  struct Seen {
    std::size_t lines = 0;
    std::size_t dead = 0;
  };
  struct Partition {
    std::map<std::int64_t, Expected> expected{};
    std::map<std::int64_t, Seen> seen{};
    std::map<std::string, std::map<Position, Position>> ranges{};  // by incarnation: from → to
    std::int64_t checked_below = 0;
  };
  [[nodiscard]] std::int64_t number_of(const Position& position) const;
  /// The first record number that a committed position leaves open.
  [[nodiscard]] std::int64_t first_open(const Position& position) const;

  const SimLog& log_;
  std::vector<Partition> partitions_;
  std::uint64_t objects_ = 0;
  std::string problem_{};
};

class World {
 public:
  World(std::uint64_t seed, const WorldOptions& options);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  /// Lives through it all; the first problem, or nothing.
  std::string run();

  /// A line about what happened, to see that something did.
  [[nodiscard]] std::string story() const;

  [[nodiscard]] std::uint64_t crashes() const { return crashes_; }
  [[nodiscard]] std::uint64_t objects() const { return ledger_.objects(); }
  [[nodiscard]] std::uint64_t commits_refused() const { return log_->commits_refused(); }

 private:
  class WatchedStore;
  struct Worker;

  void produce();
  void start_worker(std::size_t index);
  void crash(std::size_t index);
  void meddle();
  void check_step();
  [[nodiscard]] bool drained() const;

  WorldOptions options_;
  SimScheduler scheduler_;
  std::unique_ptr<SimLog> log_;
  LakeLedger ledger_;
  MemoryObjectStore memory_{};
  std::unique_ptr<WatchedStore> watched_;
  std::unique_ptr<FaultyObjectStore> store_;
  std::vector<std::unique_ptr<Worker>> workers_{};
  bool chaos_ = true;
  double fault_rate_ = 0;
  std::uint64_t produced_ = 0;
  std::uint64_t produce_limit_ = 0;
  std::uint64_t crashes_ = 0;
  std::uint64_t freezes_ = 0;
  std::uint64_t stops_ = 0;
};

}  // namespace millrace
