// How a blocking caller (a retrying client, a poller) waits: really, simulated, or not at all in a
// test.
#pragma once

#include "core/time.h"

namespace millrace {

/// Threads: any. Implementations: cli/real_pause.h sleeps and wakes up early on a stop.
class Pause {
 public:
  virtual ~Pause() = default;

  /// Waits for about `duration`. False: the program is stopping, do not try again, return what you
  /// have.
  [[nodiscard]] virtual bool wait(Ticks duration) = 0;
};

}  // namespace millrace
