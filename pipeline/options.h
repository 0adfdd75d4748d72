// What the two pipelines share of the configuration.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

#include "core/time.h"

namespace millrace {

/// What the archiver does with a partition whose place nobody can vouch for (`run --adopt`).
enum class Adopt {
  none,      // refuses with exit code 3 and says what it found
  position,  // goes on from the committed position, or else from where the lake's objects end
  start,     // takes the log for a new one: from the committed position, or else from its start
};

struct PipelineOptions {
  std::size_t memory_bytes =
      128u << 20;  // half of `memory`: this pipeline's buffers and its source's read-ahead
  std::size_t poll_records_max =
      2000;               // per poll: some milliseconds of work between two looks at the timers
  Ticks idle_wait = 5ms;  // after a poll that brought nothing
  Ticks drain_deadline =
      25s;  // SIGTERM: what is not settled by then is left uncommitted (safe: read again)
  bool until_end = false;           // run --until-end
  std::size_t open_hours_max = 24;  // per partition: the 25th open hour forces a cut
  std::size_t uploads_max = 8;      // of the archiver, at a time; one of a partition
  Ticks slow_retry =
      30s;  // between tries of what a person must mend (a permission, a wrong object)
  Adopt adopt = Adopt::none;
};

}  // namespace millrace
