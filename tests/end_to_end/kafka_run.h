// What the end-to-end tests of `millrace run` on Kafka are made of: records that know what must
// become of them, a configuration in a folder, `run` as child processes, and the lake as a plain
// reader sees it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "cli/child_process.h"
#include "tests/end_to_end/kafka_broker.h"
#include "tests/end_to_end/put_events_server.h"
#include "tests/fakes/temporary_folder.h"

namespace millrace {

/// Records for a topic, and what was sent so far. Every record and every event is unlike any other;
/// a third are envelopes of two events, one event in ten has no id of its own, and arrivals spread
/// over three hours, so that a cut has several objects.
class Feed {
 public:
  Feed(KafkaBroker& broker, std::string topic, int partitions, int users);

  /// Writes `count` more records, keyed by user; `padding` bytes more in each.
  void send(int count, std::size_t padding = 0);

  struct Sent {
    std::string text{};
    std::int64_t arrived_ms = 0;
  };
  [[nodiscard]] const std::vector<Sent>& records() const { return records_; }
  [[nodiscard]] std::size_t events() const { return ids_.size(); }
  /// Item -> event id ("" when the producer gave none).
  [[nodiscard]] const std::map<std::string, std::string>& ids() const { return ids_; }
  /// User -> items, in order.
  [[nodiscard]] const std::map<std::string, std::vector<std::string>>& order() const {
    return order_;
  }
  [[nodiscard]] const std::string& topic() const { return topic_; }
  [[nodiscard]] int partitions() const { return partitions_; }

 private:
  KafkaBroker& broker_;
  const std::string topic_;
  const int partitions_;
  const int users_;
  const std::int64_t now_ms_;
  std::vector<Sent> records_{};
  std::map<std::string, std::string> ids_{};
  std::map<std::string, std::vector<std::string>> order_{};
};

/// The lake read with zlib and a JSON parser, nothing else, and no de-duplication.
struct PlainLake {
  std::size_t objects = 0;
  std::size_t lines = 0;
  std::vector<std::string> wrong{};  // against the feed; at most 20 sentences
};
PlainLake read_lake(const std::string& folder, const Feed& feed);

/// A folder with a configuration, and the processes that run with it.
class Deployment {
 public:
  struct Options {
    std::string memory = "64MiB";
    std::string buffer = "{ size: 20KiB, interval: 300ms }";
    std::map<std::string, std::string> properties{};  // of source.kafka
  };
  Deployment(KafkaBroker& broker, const std::string& topic, StrictPutEventsServer& server,
             Options options);

  /// `millrace run` and these words, with AWS credentials of its own.
  ChildProcess run(const std::vector<std::string>& words = {});
  [[nodiscard]] std::string lake() const { return folder_.path() / "lake"; }
  [[nodiscard]] std::string group(const std::string& pipeline) const {
    return name_ + "-" + pipeline;
  }
  /// What all processes wrote to stderr; for the message of a failure.
  [[nodiscard]] std::string logs(std::size_t bytes_max = 6000) const;

 private:
  TemporaryFolder folder_{};
  StrictPutEventsServer& server_;
  const std::string name_;
  int started_ = 0;
};

/// Polls until `condition` or the limit; `meanwhile` runs between two looks.
bool wait_until(
    const std::function<bool()>& condition, std::chrono::milliseconds limit,
    const std::function<void()>& meanwhile = [] {});

/// VmHWM of a living process, in bytes.
std::size_t peak_memory(pid_t pid);

}  // namespace millrace
