// Puts records into a log: `simulate` today, `replay` and `redrive` later.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/result.h"

namespace millrace {

/// One producer, one thread. What was accepted is durable in the log after flush(); order per key
/// is kept.
class Producer {
 public:
  virtual ~Producer() = default;

  /// Queues one record (both texts are copied). Waits while the bounded queue is full. An error
  /// names the log and the reason and is final.
  virtual Status produce(std::string_view key, std::string_view value) = 0;

  /// Waits until everything queued is durable.
  virtual Status flush() = 0;

  /// Records that the log has confirmed.
  [[nodiscard]] virtual std::uint64_t confirmed() const = 0;
};

}  // namespace millrace
