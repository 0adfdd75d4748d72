// A ServiceClock that stands still until the test moves it.
#pragma once

#include <atomic>

#include "local/http_service.h"

namespace millrace {

/// Threads: any.
class ManualClock final : public ServiceClock {
 public:
  [[nodiscard]] WallTime now() const override { return wall_time_of_ms(now_ms_); }
  void set(WallTime time) { now_ms_ = unix_ms(time); }
  void advance(std::chrono::milliseconds duration) { now_ms_ += duration.count(); }

 private:
  std::atomic<std::int64_t> now_ms_{1'795'000'000'000};
};

}  // namespace millrace
