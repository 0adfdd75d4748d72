#include "ingest/kinesis_producer.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace millrace {
namespace {

constexpr std::size_t kRecordBytesMax = 1u << 20;
constexpr std::size_t kKeyBytesMax = 256;

}  // namespace

KinesisProducer::KinesisProducer(KinesisProducerOptions options, KinesisApi& api, Pause& pause,
                                 const Log& log)
    : options_(std::move(options)), api_(api), pause_(pause), log_(log), rng_(options_.seed) {}

Status KinesisProducer::produce(std::string_view key, std::string_view value) {
  if (final_error_) return fail(*final_error_);
  Record record{std::string(key), std::string(value)};
  if (record.key.empty()) record.key = std::to_string(std::hash<std::string_view>{}(value));
  // Two keys with the same first 256 bytes only share a shard.
  if (record.key.size() > kKeyBytesMax) {
    std::size_t end = kKeyBytesMax;
    while (end > 0 && (static_cast<unsigned char>(record.key[end]) & 0xC0) == 0x80) --end;
    record.key.resize(end);
  }
  const std::size_t bytes = record.key.size() + record.value.size();
  if (bytes > kRecordBytesMax) {
    return fail(ErrorKind::rejected,
                fmt::format("a record of {} bytes is larger than the 1 MiB that stream {} takes",
                            bytes, options_.stream));
  }
  while (!queue_.empty() && (queue_.size() >= options_.queue_records_max ||
                             queue_bytes_ + bytes > options_.queue_bytes_max)) {
    if (const Status sent = send_some(); !sent) return sent;
  }
  queue_bytes_ += bytes;
  queue_.push_back(std::move(record));
  return {};
}

Status KinesisProducer::flush() {
  if (final_error_) return fail(*final_error_);
  while (!queue_.empty()) {
    if (const Status sent = send_some(); !sent) return sent;
  }
  return {};
}

Status KinesisProducer::wait_after(const Error& error) {
  const auto delay = options_.retry.next_delay(error, std::min(failures_++, 16U), rng_);
  waited_ += delay;
  if (waited_ > options_.refused_max) {
    final_error_ = error.while_doing(fmt::format("nothing could be put into stream {} for {}",
                                                 options_.stream, human_duration(waited_)));
    return fail(*final_error_);
  }
  if (!pause_.wait(delay)) {
    final_error_ = Error{ErrorKind::transient,
                         fmt::format("stopped with {} records not put into stream {}",
                                     queue_.size(), options_.stream),
                         {},
                         {}};
    return fail(*final_error_);
  }
  return {};
}

Status KinesisProducer::send_some() {
  std::vector<std::size_t> chosen;
  std::vector<KinesisPut> puts;
  std::unordered_set<std::string_view> keys;
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < queue_.size() && puts.size() < kPutRecordsMax; ++i) {
    const Record& record = queue_[i];
    const std::size_t more = record.key.size() + record.value.size();
    // Also when it does not fit: no later record of its key may pass it.
    if (!keys.insert(record.key).second || bytes + more > kPutRecordsBytesMax) continue;
    bytes += more;
    chosen.push_back(i);
    puts.push_back({record.key, record.value});
  }
  const auto results = api_.put_records(options_.stream, puts);
  if (!results) {
    if (results.error().retryable()) {
      log_.warn("put records failed",
                {{"stream", options_.stream}, {"error", results.error().message}});
      return wait_after(results.error());
    }
    final_error_ = results.error();
    return fail(*final_error_);
  }
  if (results->size() != puts.size()) {
    final_error_ = Error{ErrorKind::corrupt,
                         fmt::format("stream {} answered {} results for {} records",
                                     options_.stream, results->size(), puts.size()),
                         {},
                         {}};
    return fail(*final_error_);
  }
  std::vector<bool> stored(queue_.size(), false);
  const KinesisPutResult* refused = nullptr;
  std::size_t stored_count = 0;
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    const KinesisPutResult& result = (*results)[i];
    if (!result.error_code.empty()) {
      refused = &result;
      continue;
    }
    stored[chosen[i]] = true;
    ++stored_count;
  }
  std::deque<Record> left;
  for (std::size_t i = 0; i < queue_.size(); ++i) {
    if (stored[i]) {
      queue_bytes_ -= queue_[i].key.size() + queue_[i].value.size();
    } else {
      left.push_back(std::move(queue_[i]));
    }
  }
  queue_ = std::move(left);
  confirmed_ += stored_count;
  if (stored_count > 0) waited_ = {};
  if (refused == nullptr) {
    failures_ = 0;
    return {};
  }
  const bool throttled = refused->error_code == "ProvisionedThroughputExceededException";
  return wait_after({throttled ? ErrorKind::throttled : ErrorKind::transient,
                     fmt::format("{}: {}", refused->error_code, refused->error_message),
                     refused->error_code,
                     {}});
}

}  // namespace millrace
