// What the lake takes from the configuration (keys of `lake:` and `compact:`).
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include "core/time.h"

namespace millrace {

enum class Compression { none, gzip, zstd };
enum class PartitionBy { arrival, event };

/// lake:
struct LakeOptions {
  std::string url{};  // file:///… or s3://bucket[/folder]
  std::string prefix =
      "!{timestamp:yyyy/MM/dd/HH/}";  // Firehose's expressions; plain concatenation
  std::string error_prefix = "errors/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd/HH}/";
  PartitionBy partition_by = PartitionBy::arrival;
  std::size_t buffer_bytes = 5u << 20;  // bytes of the object as stored
  std::chrono::milliseconds buffer_interval{300'000};
  Compression compression = Compression::gzip;
  bool annotate = true;  // add `_source` to each line
};

/// compact:
struct CompactOptions {
  std::string output{};                // one object: file:///…/x.csv or s3://…
  std::vector<std::string> columns{};  // empty: the dataset's schema in its order, else USER_ID,
                                       // ITEM_ID, TIMESTAMP, EVENT_TYPE
  std::size_t keep = 7;                // previous CSVs under `state`
  std::size_t memory_bytes = 1u << 30;
};

}  // namespace millrace
