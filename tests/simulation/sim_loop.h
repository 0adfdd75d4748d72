// Time and chance of a simulated world: one queue for everything that happens in it, ordered by
// time and then by posting, so that a run is a function of its seed.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "core/check.h"
#include "core/loop.h"
#include "core/rng.h"

namespace millrace {

/// A process of the world. Tasks of a dead one never run; tasks of a frozen one run when it thaws.
using ProcessId = std::uint64_t;
inline constexpr ProcessId kWorldItself = 0;

class SimScheduler {
 public:
  explicit SimScheduler(std::uint64_t seed) : rng_(seed) {}

  Rng& rng() { return rng_; }
  [[nodiscard]] Ticks now() const { return now_; }

  ProcessId new_process() { return ++processes_; }
  void kill(ProcessId process) { dead_.insert(process); }
  [[nodiscard]] bool alive(ProcessId process) const { return dead_.count(process) == 0; }
  void freeze(ProcessId process, Ticks until) { frozen_[process] = until; }
  [[nodiscard]] bool frozen(ProcessId process) const {
    const auto found = frozen_.find(process);
    return found != frozen_.end() && found->second > now_;
  }

  void post_at(ProcessId process, Ticks when, Loop::Task task) {
    queue_.emplace(std::pair(std::max(when, now_), ++posted_), Entry{process, std::move(task)});
  }

  /// Runs the next task; false when nothing is left to happen.
  bool step() {
    while (!queue_.empty()) {
      const auto first = queue_.begin();
      now_ = std::max(now_, first->first.first);
      Entry entry = std::move(first->second);
      const std::uint64_t order = first->first.second;
      queue_.erase(first);
      if (!alive(entry.process)) continue;
      if (frozen(entry.process)) {
        queue_.emplace(std::pair(frozen_.at(entry.process), order), std::move(entry));
        continue;
      }
      entry.task();
      return true;
    }
    return false;
  }

  /// A duration drawn between the two.
  Ticks between(Ticks min, Ticks max) {
    return min + Ticks(static_cast<std::int64_t>(
                     rng_.below(static_cast<std::uint64_t>((max - min).count()) + 1)));
  }

 private:
  struct Entry {
    ProcessId process = kWorldItself;
    Loop::Task task{};
  };

  Rng rng_;
  Ticks now_{0};
  std::uint64_t posted_ = 0;
  ProcessId processes_ = 0;
  std::map<std::pair<Ticks, std::uint64_t>, Entry> queue_{};
  std::set<ProcessId> dead_{};
  std::map<ProcessId, Ticks> frozen_{};
};

/// The loop of one process. Offloaded work takes effect at a drawn time and its `done` comes at
/// another; the work of a process that died meanwhile takes effect or does not, by chance, as a
/// request on its way to a server would.
class SimLoop final : public Loop {
 public:
  SimLoop(SimScheduler& scheduler, ProcessId process) : scheduler_(scheduler), process_(process) {}

  Ticks now() const override { return scheduler_.now(); }
  WallTime wall_time() const override {
    return wall_time_of_ms(1'795'000'000'000) +
           std::chrono::floor<std::chrono::milliseconds>(scheduler_.now());
  }
  void post_at(Ticks when, Task task) override {
    scheduler_.post_at(process_, when, std::move(task));
  }
  void offload(Task work, Task done) override {
    const Ticks at = now() + scheduler_.between(0ms, 80ms);
    const Ticks back = at + scheduler_.between(0ms, 40ms);
    scheduler_.post_at(kWorldItself, at, [&scheduler = scheduler_, process = process_, work] {
      if (scheduler.alive(process) || scheduler.rng().chance(0.5)) work();
    });
    scheduler_.post_at(process_, back, std::move(done));
  }
  [[nodiscard]] ProcessId process() const { return process_; }

 private:
  SimScheduler& scheduler_;
  ProcessId process_;
};

}  // namespace millrace
