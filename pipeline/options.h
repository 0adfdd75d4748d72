// What the two pipelines share of the configuration.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

#include "core/time.h"

namespace millrace {

struct PipelineOptions {
  std::size_t memory_bytes =
      128u << 20;  // half of `memory`: this pipeline's buffers and its source's read-ahead
  std::size_t poll_records_max =
      2000;               // per poll: some milliseconds of work between two looks at the timers
  Ticks idle_wait = 5ms;  // after a poll that brought nothing
  Ticks drain_deadline =
      25s;  // SIGTERM: what is not settled by then is left uncommitted (safe: read again)
  bool until_end = false;           // run --until-end
  std::size_t open_hours_max = 25;  // per partition: one more open hour forces a cut
};

}  // namespace millrace
