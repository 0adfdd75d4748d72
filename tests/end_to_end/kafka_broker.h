// A real Apache Kafka broker (3.9.1, KRaft, one node, 127.0.0.1) for end-to-end tests, with what
// tests need to do to it. Its jars come from Maven Central by tests/end_to_end/peers.sh; a machine
// without java or mvn fails the tests.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace millrace {

/// One record to put into a topic. No key and no value (a tombstone) are not the same as empty
/// ones.
struct TestRecord {
  std::optional<std::string> key{};
  std::optional<std::string> value{};
  std::int64_t arrived_ms = 0;  // 0: now
};

/// Owns a broker process and its folder; both go with the object, and the process also goes when
/// the test program dies. Everything throws std::runtime_error with the reason when it does not
/// work within its limit (20 s unless said): GoogleTest turns that into a failed test. Threads:
/// one.
class KafkaBroker {
 public:
  /// Starts one (about 1.5 s).
  KafkaBroker();
  ~KafkaBroker();
  KafkaBroker(const KafkaBroker&) = delete;
  KafkaBroker& operator=(const KafkaBroker&) = delete;

  /// The one of this test program, started at first use. Name topics and groups per test, and leave
  /// it running.
  static KafkaBroker& shared();

  /// "127.0.0.1:port": the same for the whole life, also across restarts.
  [[nodiscard]] const std::string& brokers() const { return brokers_; }

  /// Starts the process and waits until it answers metadata requests.
  void start();
  /// SIGTERM and wait.
  void stop();
  /// kill -9 and wait.
  void kill();
  /// SIGSTOP and SIGCONT.
  void freeze();
  void thaw();
  [[nodiscard]] bool running() const { return pid_ > 0; }

  using Configs = std::map<std::string, std::string>;
  /// Returns once every partition has a leader.
  void create_topic(const std::string& topic, int partitions, const Configs& configs = {});
  void delete_topic(const std::string& topic);
  void grow_topic(const std::string& topic, int partitions);
  /// DeleteRecords: the log of the partition then begins at `first_kept`.
  void delete_records(const std::string& topic, int partition, std::int64_t first_kept);

  /// Writes in order with acks=all and returns when all are durable. `partition` -1: by key, as
  /// Java does.
  void produce(const std::string& topic, int partition, const std::vector<TestRecord>& records);
  /// "1" … as values, to one partition.
  void produce_numbers(const std::string& topic, int partition, int first, int count);
  /// One transaction; `commit` false aborts it.
  void produce_transaction(const std::string& topic, int partition,
                           const std::vector<TestRecord>& records, bool commit);

  /// Offset and metadata that `group` has committed; nothing if it has none.
  [[nodiscard]] std::optional<std::pair<std::int64_t, std::string>> committed(
      const std::string& group, const std::string& topic, int partition);
  /// Commits without being a member: the broker takes it only while the group is empty. True when
  /// taken.
  bool commit_from_outside(const std::string& group, const std::string& topic, int partition,
                           std::int64_t offset, const std::string& metadata);

  /// The file of a partition's first segment, for tests that damage it.
  [[nodiscard]] std::string segment_path(const std::string& topic, int partition) const;

 private:
  struct Admin;  // a librdkafka handle for requests
  Admin& admin();
  void spawn();
  void wait_ready();
  void reap(int signal);

  std::string peers_{};
  std::string dir_{};
  std::string brokers_{};
  pid_t pid_ = -1;
  std::unique_ptr<Admin> admin_{};
};

/// A TCP port of 127.0.0.1 that was free a moment ago.
int free_port();

}  // namespace millrace
