#include "cli/real_loop.h"

#include <algorithm>

#include "core/check.h"

namespace millrace {

RealLoop::RealLoop(Options options) : now_(clock()) {
  MILLRACE_CHECK(options.workers > 0);
  for (std::size_t i = 0; i < options.workers; ++i) {
    workers_.emplace_back([this] { work_until_stopped(); });
  }
}

RealLoop::~RealLoop() {
  {
    const std::lock_guard lock(mutex_);
    workers_stop_ = true;
    jobs_.clear();
  }
  for_workers_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

Ticks RealLoop::clock() { return std::chrono::steady_clock::now().time_since_epoch(); }

WallTime RealLoop::wall_time() const {
  return std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
}

void RealLoop::post_at(Ticks when, Task task) {
  timers_.emplace(std::pair(std::max(when, now_), ++posted_), std::move(task));
}

void RealLoop::offload(Task work, Task done) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back({std::move(work), std::move(done)});
  }
  for_workers_.notify_one();
}

void RealLoop::run() {
  std::vector<Task> arrived;
  while (true) {
    {
      std::unique_lock lock(mutex_);
      const auto awake = [this] { return stopped_ || !arrived_.empty(); };
      if (timers_.empty()) {
        for_loop_.wait(lock, awake);
      } else if (timers_.begin()->first.first > clock()) {
        const std::chrono::steady_clock::time_point next(timers_.begin()->first.first);
        for_loop_.wait_until(lock, next, awake);
      }
      if (stopped_) return;
      arrived.swap(arrived_);
    }
    now_ = clock();
    for (Task& task : arrived) task();
    arrived.clear();
    // Only what was due when we looked: a task that posts itself for "now" does not starve what
    // arrives from outside.
    const Ticks due = now_;
    const std::uint64_t last = posted_;
    while (!timers_.empty() && timers_.begin()->first.first <= due &&
           timers_.begin()->first.second <= last) {
      const Task task = std::move(timers_.begin()->second);
      timers_.erase(timers_.begin());
      now_ = clock();
      task();
    }
  }
}

void RealLoop::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  for_loop_.notify_one();
}

void RealLoop::post_from_outside(Task task) {
  {
    const std::lock_guard lock(mutex_);
    arrived_.push_back(std::move(task));
  }
  for_loop_.notify_one();
}

void RealLoop::work_until_stopped() {
  while (true) {
    Job job;
    {
      std::unique_lock lock(mutex_);
      for_workers_.wait(lock, [this] { return workers_stop_ || !jobs_.empty(); });
      if (workers_stop_) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job.work();
    job.work = nullptr;  // what it owned is freed here, not on the loop's thread
    post_from_outside(std::move(job.done));
  }
}

}  // namespace millrace
