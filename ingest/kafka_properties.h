// librdkafka's properties: what millrace sets, what a user may add, and what only millrace may set.
// Also the owner of a librdkafka handle, because every one of ours is made from these.
#pragma once

#include <atomic>
#include <cstddef>
#include <map>
#include <memory>
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

 private:
  struct State {
    rd_kafka_t* rk = nullptr;
    std::atomic<int> certificate_error{0};
  };
  KafkaHandle(std::shared_ptr<State> state, bool destroyable)
      : state_(std::move(state)), destroyable_(destroyable) {}

  std::shared_ptr<State> state_;
  bool destroyable_;
};

}  // namespace millrace
