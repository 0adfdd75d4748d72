// A Loop for tests against real programs: real time, one thread for each piece of offloaded work.
// Runs only while the test waits for something.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "core/loop.h"

namespace millrace {

/// Threads: the test's own, as the loop's. The destructor waits for the work that is under way and
/// drops its `done`.
class LiveLoop final : public Loop {
 public:
  LiveLoop() = default;
  ~LiveLoop() override {
    for (std::thread& worker : workers_) worker.join();
  }
  LiveLoop(const LiveLoop&) = delete;
  LiveLoop& operator=(const LiveLoop&) = delete;

  Ticks now() const override { return std::chrono::steady_clock::now().time_since_epoch(); }
  WallTime wall_time() const override {
    return std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
  }
  void post_at(Ticks when, Task task) override {
    const std::lock_guard lock(mutex_);
    queue_.emplace(std::pair{when, ++posted_}, std::move(task));
  }
  void offload(Task work, Task done) override {
    workers_.emplace_back([this, work = std::move(work), done = std::move(done)]() mutable {
      work();
      work = nullptr;  // what it holds ends before anybody hears that it is done
      post_at(now(), std::move(done));
    });
  }

  /// Runs what is due.
  void step() {
    for (;;) {
      Task task;
      {
        const std::lock_guard lock(mutex_);
        if (queue_.empty() || queue_.begin()->first.first > now()) return;
        task = std::move(queue_.begin()->second);
        queue_.erase(queue_.begin());
      }
      task();
    }
  }

  /// Steps, and calls `each` every millisecond, until `condition` holds; false when it does not
  /// within `limit`.
  bool run_until(const std::function<bool()>& condition, const std::function<void()>& each,
                 std::chrono::milliseconds limit = std::chrono::seconds(20)) {
    const Ticks end = now() + limit;
    for (;;) {
      step();
      each();
      if (condition()) return true;
      if (now() > end) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

 private:
  std::mutex mutex_{};
  std::uint64_t posted_ = 0;
  std::map<std::pair<Ticks, std::uint64_t>, Task> queue_{};
  std::vector<std::thread> workers_{};
};

}  // namespace millrace
