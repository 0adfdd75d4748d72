// What the sources take from the configuration (keys of `source:`).
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>

#include "core/time.h"

namespace millrace {

/// Where to begin when nothing is committed. A position that is committed always wins.
struct StartAt {
  enum class Kind { earliest, latest, time };  // Kinesis: trim_horizon, latest, at_timestamp
  Kind kind = Kind::earliest;
  WallTime time{};  // only for Kind::time
};

/// source.kafka
struct KafkaOptions {
  std::string brokers{};  // host:port[,host:port]
  std::string topic{};
  std::string group{};  // already with its suffix: <group>-personalize or <group>-lake
  StartAt start{};
  std::map<std::string, std::string>
      properties{};  // any librdkafka property but the few that millrace owns
  std::size_t fetch_bytes_max = 32u << 20;  // read ahead, all partitions together; part of `memory`
  bool continue_on_gap = false;             // source.kafka.on_gap: continue (else `stop`)
};

/// source.kinesis
struct KinesisOptions {
  std::string stream{};
  StartAt start{};
  std::size_t fetch_bytes_max = 32u << 20;  // answers held, all shards together; part of `memory`
  std::chrono::milliseconds poll_interval{
      1000};  // between reads of a shard at its tip (AWS advice: one a second)
  std::chrono::milliseconds poll_interval_min{
      200};                   // the service's limit: five reads a second and shard
  std::string application{};  // <name>-personalize or <name>-lake: whose positions these are
};

/// source.file: for trying things out; one partition "0", positions are byte offsets.
struct FileOptions {
  std::string path{};
};

}  // namespace millrace
