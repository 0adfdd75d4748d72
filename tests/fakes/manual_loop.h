// A Loop for unit tests: time stands still until the test moves it, offloaded work runs when the
// test says so.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <utility>

#include "core/check.h"
#include "core/loop.h"

namespace millrace {

class ManualLoop final : public Loop {
 public:
  Ticks now() const override { return now_; }
  WallTime wall_time() const override {
    return wall_start_ + std::chrono::floor<std::chrono::milliseconds>(now_);
  }
  void post_at(Ticks when, Task task) override {
    queue_.emplace(Key{std::max(when, now_), ++posted_}, std::move(task));
  }
  void offload(Task work, Task done) override {
    if (drop_offloads_) return;
    post([work = std::move(work), done = std::move(done)] {
      work();
      done();
    });
  }

  /// Runs everything due until now + `duration`, in order, moving time along.
  void advance(Ticks duration) {
    const Ticks end = now_ + duration;
    while (!queue_.empty() && queue_.begin()->first.first <= end) step();
    now_ = std::max(now_, end);
  }

  /// Runs task after task, time leaping, until `condition` holds; false when it does not within
  /// `limit`.
  bool run_until(const std::function<bool()>& condition, Ticks limit = std::chrono::hours(1)) {
    const Ticks end = now_ + limit;
    while (!condition()) {
      if (queue_.empty() || queue_.begin()->first.first > end) return false;
      step();
    }
    return true;
  }

  /// From now on offloaded work never ends: a worker that hangs.
  void drop_offloads(bool drop) { drop_offloads_ = drop; }

  void set_wall_start(WallTime start) { wall_start_ = start; }

 private:
  using Key = std::pair<Ticks, std::uint64_t>;

  void step() {
    const auto first = queue_.begin();
    now_ = std::max(now_, first->first.first);
    const Task task = std::move(first->second);
    queue_.erase(first);
    task();
  }

  Ticks now_{0};
  WallTime wall_start_ = wall_time_of_ms(1'795'000'000'000);
  std::uint64_t posted_ = 0;
  bool drop_offloads_ = false;
  std::map<Key, Task> queue_{};
};

}  // namespace millrace
