// Puts records into a Kafka topic: idempotent, in order per key, to the partition that Java's
// default partitioner picks (murmur2; KIP-794 keeps it for records with a key).
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <string>

#include "core/log.h"
#include "ingest/producer.h"

namespace millrace {

struct KafkaProducerOptions {
  std::string brokers{};
  std::string topic{};
  std::map<std::string, std::string> properties{};  // see check_kafka_properties
  std::size_t queue_records_max = 100'000;          // not yet confirmed
  std::size_t queue_bytes_max = 64u << 20;          // the same, payload
  std::chrono::milliseconds linger{5};  // how long a record waits for company; 50 ms for a replay
  std::chrono::milliseconds record_wait_max{
      300'000};  // a record not durable by then fails the producer
};

/// A key or value whose data() is null is absent (a tombstone, a record without key); one of length
/// 0 that points somewhere is empty. A value may have 1048588 bytes with its framing (Kafka's
/// default max.message.bytes) unless `properties` raise message.max.bytes. The first record that
/// the broker refuses or that times out makes every later call fail with that error: what
/// confirmed() counts is durable, the rest may or may not be.
class KafkaProducer final : public Producer {
 public:
  /// Touches no network. Errors: `invalid` properties.
  static Result<std::unique_ptr<KafkaProducer>> make(KafkaProducerOptions options, const Log& log);
  ~KafkaProducer() override;

  Status produce(std::string_view key, std::string_view value) override;
  Status flush() override;
  [[nodiscard]] std::uint64_t confirmed() const override;

 private:
  struct State;
  explicit KafkaProducer(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace millrace
