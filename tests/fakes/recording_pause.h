// A Pause that takes no time: it adds up what it was asked to wait, and may say stop.
#pragma once

#include <functional>
#include <vector>

#include "core/pause.h"

namespace millrace {

/// One thread.
class RecordingPause final : public Pause {
 public:
  bool wait(Ticks duration) override {
    waits.push_back(duration);
    now += duration;
    if (on_wait) on_wait();
    return waits.size() < stop_at;
  }

  std::vector<Ticks> waits{};
  Ticks now{0};                   // a clock to hand out, if the test wants one
  std::size_t stop_at = 100'000;  // the wait with this number (from 1) is told to stop
  std::function<void()> on_wait{};
};

}  // namespace millrace
