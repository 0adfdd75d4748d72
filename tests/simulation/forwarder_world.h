// A world for the forwarder: the log and the loop of the archiver's, a PutEvents service that fails
// in every way, workers that crash, freeze, come and go. Checked with every commit: all below it is
// accepted or durable as a dead letter, and its books say exactly that; with every acceptance: the
// event is what was produced, and first acceptances follow each user's order.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/log.h"
#include "core/metrics.h"
#include "lake/memory_object_store.h"
#include "pipeline/forwarder.h"
#include "tests/fakes/faulty_object_store.h"
#include "tests/simulation/sim_log.h"
#include "tests/simulation/sim_loop.h"

namespace millrace {

struct ForwarderWorldOptions {
  SimLogOptions log{};
  bool lying_service = false;  // answers 200 now and then without keeping the events
  Ticks chaos = 15s;           // so long things go wrong
  Ticks drain_limit = 300s;    // so long the workers may take to finish afterwards
};

class ForwarderWorld {
 public:
  ForwarderWorld(std::uint64_t seed, const ForwarderWorldOptions& options);
  ~ForwarderWorld();
  ForwarderWorld(const ForwarderWorld&) = delete;
  ForwarderWorld& operator=(const ForwarderWorld&) = delete;

  /// Lives through it all; the first problem, or nothing.
  std::string run();

  /// A line about what happened, to see that something did.
  [[nodiscard]] std::string story() const;

  [[nodiscard]] std::uint64_t crashes() const { return crashes_; }
  [[nodiscard]] std::uint64_t calls() const { return calls_; }
  [[nodiscard]] std::uint64_t repeated() const { return repeated_; }

 private:
  struct Worker;
  class WatchedStore;

  /// What a record must come to.
  struct Expected {
    std::vector<std::string> accepted{};  // event ids
    std::set<std::string> dead{};         // "index", or "" for the whole record
  };
  struct Sent {
    std::size_t place = 0;  // among its user's events
    std::string user{};
    std::string item{};
    std::int64_t timestamp = 0;
    bool accepted = false;
  };
  struct User {
    std::vector<std::string> events{};
    std::size_t next = 0;  // whose first acceptance comes next
    bool exempt = false;   // met a service that refused everybody: order may have suffered
  };

  Status put_events(const PutEventsRequest& request);
  void accept(const PutEventsRequest& request);
  void dead_letters(const std::string& bytes);
  void committed(std::size_t partition, const std::optional<Committed>& before,
                 const Committed& now);
  void produce();
  void start_worker(std::size_t index);
  void crash(std::size_t index);
  void meddle();
  void check_step();
  [[nodiscard]] bool drained() const;
  [[nodiscard]] std::int64_t first_open(const Position& position) const;
  void complain(const std::string& what) {
    if (problem_.empty()) problem_ = what;
  }

  ForwarderWorldOptions options_;
  SimScheduler scheduler_;
  std::unique_ptr<SimLog> log_;
  MemoryObjectStore memory_{};
  std::unique_ptr<WatchedStore> watched_;
  std::unique_ptr<FaultyObjectStore> store_;
  std::vector<std::unique_ptr<Worker>> workers_{};

  std::vector<std::map<std::int64_t, Expected>> expected_{};           // by partition
  std::vector<std::map<std::int64_t, std::set<std::string>>> dead_{};  // durable dead letters
  std::map<std::string, Sent> sent_{};                                 // by event id
  std::map<std::string, User> users_{};

  bool chaos_ = true;
  double fault_rate_ = 0;
  Ticks refuses_all_until_{};
  std::uint64_t produced_ = 0;
  std::uint64_t produce_limit_ = 0;
  std::uint64_t events_ = 0;
  std::uint64_t calls_ = 0;
  std::uint64_t repeated_ = 0;
  std::uint64_t crashes_ = 0;
  std::uint64_t freezes_ = 0;
  std::uint64_t stops_ = 0;
  std::string problem_{};
};

}  // namespace millrace
