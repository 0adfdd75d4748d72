// librdkafka's properties: what millrace sets, what a user may add, and what only millrace may set.
// Also the owner of a librdkafka handle, because every one of ours is made from these.
#pragma once

#include <atomic>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "core/result.h"
#include "ingest/options.h"

// librdkafka's own types (rdkafka.h), named here so that callers need not include it.
using rd_kafka_t = struct rd_kafka_s;

namespace millrace {

/// Whether librdkafka takes `source.kafka.properties`: an unknown name, a value it refuses, or a
/// property that millrace sets itself is `invalid`, with the name and librdkafka's own text (never
/// the value of a secret). Touches no network and opens no file: what a property points at
/// (certificates) is read when the handle is made.
Status check_kafka_properties(const std::map<std::string, std::string>& properties);

/// Splits the read-ahead among the partitions of a topic. librdkafka counts a queue per partition
/// here, as each has one of its own (CONFIGURATION.md, queued.max.messages.kbytes), may overshoot
/// it by one answer (fetch.message.max.bytes), and spends about 350 bytes on each queued message
/// beside its payload.
struct ReadAhead {
  std::size_t queued_kbytes = 0;    // queued.max.messages.kbytes: payload
  std::size_t queued_messages = 0;  // queued.min.messages: no fetch above
  std::size_t fetch_bytes = 0;      // fetch.message.max.bytes
};
ReadAhead split_read_ahead(std::size_t bytes_max, std::size_t partitions);
inline constexpr std::size_t kQueuedMessageBytes = 350;

/// What passes between a member and its group, as far as it decides whether a commit may be sent. A
/// broker answers one request of a connection at a time, so a commit sent behind a JoinGroup
/// request waits until the group has its next generation, is refused as one of the old, and
/// librdkafka before 2.10 then gives up every partition of the member (its issue #4059). Nothing
/// announces that JoinGroup to the program: librdkafka sends it by itself, upon the answer to a
/// heartbeat, to a metadata request or to SyncGroup, but not within a second of the last one.
///
/// Threads: note_* are called by librdkafka's (its interceptors), the rest by the loop's.
class GroupTraffic {
 public:
  void note_sent(int api_key);
  void note_answered(int api_key, bool heard);

  /// Requests of all kinds that the cluster has answered.
  [[nodiscard]] std::uint64_t answers_heard() const;

  struct Seen {
    std::uint64_t answers = 0;     // after which a JoinGroup may follow
    std::uint64_t heartbeats = 0;  // sent: none while librdkafka means to join
    std::uint64_t joins = 0;       // JoinGroup requests sent
    bool joining = false;          // from a JoinGroup request to the answer to SyncGroup
    auto operator<=>(const Seen&) const = default;
  };
  [[nodiscard]] Seen seen() const;

  /// Runs `send` unless something was noted since `expected`. While it runs nothing can be: what
  /// librdkafka does about the next answer comes after what `send` has queued.
  bool send_if_still(const Seen& expected, const std::function<void()>& send) const;

 private:
  mutable std::mutex mutex_{};
  Seen seen_{};
  std::uint64_t answers_heard_ = 0;
};

/// A librdkafka handle and what its callbacks write to. librdkafka's threads may use
/// `certificate_error` as long as the handle lives. Two faults of librdkafka 2.0.2 shape its end:
/// rd_kafka_destroy() can hang for ever after a topic was deleted (its issue #4724), so it runs on
/// a thread of its own and is left alone after two seconds; and it aborts the program when a
/// consumer was elected leader of its group but has not dealt out partitions yet (issue #4312,
/// fixed in 2.3.0), so a consumer is only destroyed once it is known to be past that
/// (`may_destroy`), and is otherwise left to the end of the process.
///
/// REQUIRES: topic-partition lists and queues taken from the handle are destroyed first.
class KafkaHandle {
 public:
  enum class Role { consumer, observer, producer };

  /// Makes the handle; no network yet. `observer` has no group and reads metadata only;
  /// `read_ahead` is for a consumer. Errors are `invalid`: a property librdkafka refuses, or a file
  /// it cannot read.
  static Result<std::shared_ptr<KafkaHandle>> make(
      Role role, const KafkaOptions& options, const ReadAhead& read_ahead,
      const std::map<std::string, std::string>& more = {});
  ~KafkaHandle();
  KafkaHandle(const KafkaHandle&) = delete;
  KafkaHandle& operator=(const KafkaHandle&) = delete;

  /// A consumer has left its group in order: destroying it is safe now. Other roles always are.
  void may_destroy() { destroyable_ = true; }

  [[nodiscard]] rd_kafka_t* get() const { return state_->rk; }
  /// OpenSSL's last verdict on a broker's certificate (X509_V_ERR_*), 0 when all were accepted.
  [[nodiscard]] int certificate_error() const {
    return state_->certificate_error.load(std::memory_order_relaxed);
  }
  /// Only a consumer's is ever written to.
  [[nodiscard]] const GroupTraffic& traffic() const { return state_->traffic; }

 private:
  struct State {
    rd_kafka_t* rk = nullptr;
    std::atomic<int> certificate_error{0};
    GroupTraffic traffic{};
  };
  KafkaHandle(std::shared_ptr<State> state, bool destroyable)
      : state_(std::move(state)), destroyable_(destroyable) {}

  std::shared_ptr<State> state_;
  bool destroyable_;
};

}  // namespace millrace
