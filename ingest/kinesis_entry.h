// What the Kinesis source remembers, as the JSON objects of a PositionStore: one for the stream
// ("stream") and one for each shard ("shards/<shard id>"). The form is in docs/formats.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/result.h"
#include "core/time.h"
#include "ingest/options.h"
#include "ingest/source.h"

namespace millrace {

/// Made once, when the application first meets the stream; never changed.
struct KinesisStreamEntry {
  std::int64_t created_ms = 0;  // StreamCreationTimestamp: tells a re-created stream
  std::int64_t started_ms = 0;  // our clock when `start` was applied; it is never applied again
  StartAt start{};
  std::vector<std::string> initial{};  // shards that `start` applies to
  std::vector<std::string> skipped{};  // shards that were closed before the start
};

struct KinesisShardEntry {
  std::optional<Committed> committed{};
  /// Where to begin while nothing is committed.
  StartAt start{};
  std::int64_t settled_arrived_ms = -1;  // arrival of the last settled record, when known
  std::int64_t tip_ms = -1;  // our clock when all was settled and the shard held nothing more
  bool ended = false;        // read to its end and settled: the children may start
};

std::string text_of(const KinesisStreamEntry& entry);
std::string text_of(const KinesisShardEntry& entry);

/// `corrupt` with what is wrong.
Result<KinesisStreamEntry> parse_kinesis_stream_entry(const std::string& text);
Result<KinesisShardEntry> parse_kinesis_shard_entry(const std::string& text);

}  // namespace millrace
