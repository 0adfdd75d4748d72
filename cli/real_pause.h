// Waiting that a stop ends early.
#pragma once

#include <condition_variable>
#include <mutex>

#include "core/pause.h"

namespace millrace {

/// Threads: any. stop() ends all waits, now and later.
class RealPause final : public Pause {
 public:
  [[nodiscard]] bool wait(Ticks duration) override {
    std::unique_lock lock(mutex_);
    return !stopped_signal_.wait_for(lock, duration, [this] { return stopped_; });
  }

  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
    }
    stopped_signal_.notify_all();
  }

  [[nodiscard]] bool stopped() const {
    const std::lock_guard lock(mutex_);
    return stopped_;
  }

 private:
  mutable std::mutex mutex_{};
  std::condition_variable stopped_signal_{};
  bool stopped_ = false;
};

}  // namespace millrace
