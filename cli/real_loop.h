// The Loop of the running program: one thread for the tasks, a bounded pool of workers for what
// blocks.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "core/loop.h"

namespace millrace {

/// Threads: run() on the thread that shall own the state; post_from_outside() and stop() from any;
/// the rest as in Loop. The one place (beside the librdkafka adapter and the curl pool) with a
/// mutex: everything else is single-threaded.
class RealLoop final : public Loop {
 public:
  struct Options {
    std::size_t workers =
        8;  // threads for offload(): as many blocking calls as may be under way at once
  };

  explicit RealLoop(Options options);
  /// Waits for work under way; work not begun is dropped without its `done`. REQUIRES: run() has
  /// returned.
  ~RealLoop() override;
  RealLoop(const RealLoop&) = delete;
  RealLoop& operator=(const RealLoop&) = delete;

  [[nodiscard]] Ticks now() const override { return now_; }
  [[nodiscard]] WallTime wall_time() const override;
  void post_at(Ticks when, Task task) override;
  void offload(Task work, Task done) override;

  /// Runs tasks until stop().
  void run();
  void stop();
  /// Like post(), from any thread: how signals and the status server reach the state.
  void post_from_outside(Task task);

 private:
  struct Job {
    Task work{};
    Task done{};
  };

  [[nodiscard]] static Ticks clock();
  void work_until_stopped();

  Ticks now_{};
  std::uint64_t posted_ = 0;
  std::map<std::pair<Ticks, std::uint64_t>, Task> timers_{};  // the loop thread's own

  std::mutex mutex_{};  // guards everything below
  std::condition_variable for_loop_{};
  std::condition_variable for_workers_{};
  std::vector<Task> arrived_{};
  std::deque<Job> jobs_{};
  bool stopped_ = false;
  bool workers_stop_ = false;
  std::vector<std::thread> workers_{};
};

}  // namespace millrace
