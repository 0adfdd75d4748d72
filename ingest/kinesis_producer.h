// Puts records into a Kinesis stream: PutRecords calls of up to 500 records and 5 MiB, in order per
// key.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "aws/kinesis_api.h"
#include "core/log.h"
#include "core/pause.h"
#include "core/retry_policy.h"
#include "core/rng.h"
#include "ingest/producer.h"

namespace millrace {

struct KinesisProducerOptions {
  std::string stream{};
  std::size_t queue_records_max = 5000;  // not yet confirmed
  std::size_t queue_bytes_max = 16u << 20;
  std::chrono::milliseconds refused_max{30'000};  // of waits without a record stored, then error
  RetryPolicy retry{};
  std::uint64_t seed = 1;
};

/// A call holds at most one record of each key, and a record that the service did not store is sent
/// again before any later one of its key: PutRecords itself keeps no order when it stores only a
/// part (Kinesis API Reference, PutRecords). Throttles and 5xx are waited out. A lost reply is sent
/// again as a whole, so its records may be in the stream twice: downstream knows them by event id.
///
/// Errors: `not_found` (no such stream), `rejected` (a record too large: 1 MiB with its key),
/// `denied`, and whatever refused every record for refused_max. They are final. Blocking: on a
/// thread of its own. `api`, `pause` and `log` must outlive it.
class KinesisProducer final : public Producer {
 public:
  KinesisProducer(KinesisProducerOptions options, KinesisApi& api, Pause& pause, const Log& log);

  /// An empty key stands for no key: records without one are spread by their content.
  Status produce(std::string_view key, std::string_view value) override;
  Status flush() override;
  [[nodiscard]] std::uint64_t confirmed() const override { return confirmed_; }

 private:
  struct Record {
    std::string key{};
    std::string value{};
  };
  Status send_some();
  Status wait_after(const Error& error);

  const KinesisProducerOptions options_;
  KinesisApi& api_;
  Pause& pause_;
  const Log& log_;
  Rng rng_;
  std::deque<Record> queue_{};
  std::size_t queue_bytes_ = 0;
  std::uint64_t confirmed_ = 0;
  std::uint32_t failures_ = 0;
  std::chrono::milliseconds waited_{0};  // since a record was stored
  std::optional<Error> final_error_{};
};

}  // namespace millrace
