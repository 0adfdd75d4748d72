// Questions to a Kafka cluster before anything is consumed: `check` shows the answers, the source
// sizes itself by them.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/result.h"
#include "ingest/options.h"

namespace millrace {

/// What the cluster says about a topic. Configuration is empty (or -1) where we may not read it
/// (ACL DESCRIBE_CONFIGS).
struct KafkaTopicFacts {
  std::size_t partitions = 0;
  std::string cleanup_policy{};    // "delete", "compact" or "compact,delete"
  std::string timestamp_type{};    // "CreateTime" or "LogAppendTime"
  std::int64_t retention_ms = -1;  // -1: unknown or without limit
};

/// Asks the cluster about `options.topic`. Blocks for at most about `wait` plus two seconds: for a
/// tool or for Loop::offload. A topic that is not there is `not_found` at once; a cluster that does
/// not answer is tried until `wait` is over, and the error is then the most telling one that came
/// up (a refused login rather than "all brokers down").
Result<KafkaTopicFacts> probe_kafka(const KafkaOptions& options, std::chrono::milliseconds wait);

/// What a person should know about such a topic, one sentence each: compaction (a re-read of the
/// same range may give fewer records, which breaks promise "once in the lake") and producers'
/// clocks as arrival time.
std::vector<std::string> kafka_topic_warnings(const KafkaTopicFacts& facts,
                                              const std::string& topic);

}  // namespace millrace
