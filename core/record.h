// Records as they leave a source: bytes and where they stood. One arena per batch, so that no
// record allocates.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/position.h"
#include "core/time.h"

namespace millrace {

/// One record of a batch. `begin` and `length` are bytes within RecordBatch::bytes.
struct RecordRef {
  Position at{};  // the record's own place (not the one to commit: see Source::after)
  std::size_t begin = 0;
  std::size_t length = 0;
  std::int64_t arrived_ms =
      -1;                  // the log's own time in Unix milliseconds; -1 where the log has none
  bool tombstone = false;  // a Kafka record without a value; length is 0
};

/// Records of one partition in the order of the log. Owns its bytes; movable.
struct RecordBatch {
  PartitionId partition{};
  Tenure tenure{};
  std::string bytes{};
  std::vector<RecordRef> records{};

  [[nodiscard]] std::string_view text_of(const RecordRef& record) const {
    return std::string_view(bytes).substr(record.begin, record.length);
  }
  /// What it costs in memory, roughly; the unit of every memory bound.
  [[nodiscard]] std::size_t bytes_held() const {
    return bytes.capacity() + records.capacity() * sizeof(RecordRef);
  }
};

}  // namespace millrace
