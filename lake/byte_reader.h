// Bytes in order, pulled: an object, a local file, or what a decompressor makes of another reader.
#pragma once

#include <cstddef>

#include "core/result.h"

namespace millrace {

/// Not thread-safe; one reader, one thread.
class ByteReader {
 public:
  virtual ~ByteReader() = default;

  /// Fills up to `capacity` bytes (at least one), 0 is the end. After an error or the end it gives
  /// the same again. REQUIRES: capacity > 0.
  virtual Result<std::size_t> read(char* buffer, std::size_t capacity) = 0;
};

}  // namespace millrace
