// The thread that owns all state of one pipeline, real (cli/real_loop.h) or simulated
// (tests/simulation/sim_loop.h).
#pragma once

#include <functional>

#include "core/time.h"

namespace millrace {

/// Threads: every method is called on the loop's own thread, from tasks it runs (or before it
/// runs). Tasks never throw and never block; what blocks goes through offload().
class Loop {
 public:
  using Task = std::function<void()>;
  virtual ~Loop() = default;

  /// Monotonic; stands still while a task runs.
  [[nodiscard]] virtual Ticks now() const = 0;

  /// May jump: for names and signatures only.
  [[nodiscard]] virtual WallTime wall_time() const = 0;

  /// Runs `task` at `when` or soon after; ties run in posting order. A time in the past means
  /// "next".
  virtual void post_at(Ticks when, Task task) = 0;

  /// Runs `work` on another thread, on values it owns, then `done` back here. `work` may block
  /// (HTTP, files). At most Options::workers run at once, the others queue: callers bound what they
  /// start. `done` runs exactly once.
  virtual void offload(Task work, Task done) = 0;

  void post(Task task) { post_at(now(), std::move(task)); }
  void post_after(Ticks delay, Task task) { post_at(now() + delay, std::move(task)); }
};

}  // namespace millrace
