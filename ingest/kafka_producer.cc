#include "ingest/kafka_producer.h"

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "ingest/kafka_errors.h"
#include "ingest/kafka_properties.h"

namespace millrace {

struct KafkaProducer::State {
  KafkaProducerOptions options;
  const Log& log;
  std::shared_ptr<KafkaHandle> handle{};
  rd_kafka_queue_t* queue = nullptr;
  std::uint64_t confirmed = 0;
  std::optional<Error> failed{};        // final
  std::optional<KafkaFault> trouble{};  // why records do not get through at the moment

  State(KafkaProducerOptions given, const Log& where) : options(std::move(given)), log(where) {}
  ~State() {
    if (queue != nullptr) rd_kafka_queue_destroy(queue);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  [[nodiscard]] KafkaPlace place() const {
    return {.brokers = options.brokers, .topic = options.topic, .group = {}};
  }

  // Takes what librdkafka has to say, waiting at most `wait_ms` for the first of it.
  void serve(int wait_ms) {
    while (rd_kafka_event_t* event = rd_kafka_queue_poll(queue, wait_ms)) {
      wait_ms = 0;
      switch (rd_kafka_event_type(event)) {
        case RD_KAFKA_EVENT_DR:
          while (const rd_kafka_message_t* message = rd_kafka_event_message_next(event))
            on_report(*message);
          break;
        case RD_KAFKA_EVENT_ERROR:
          on_error(event);
          break;
        case RD_KAFKA_EVENT_LOG: {
          const char* facility = nullptr;
          const char* text = nullptr;
          int level = 0;
          if (rd_kafka_event_log(event, &facility, &text, &level) == 0)
            log.debug("librdkafka", {{"text", text}});
          break;
        }
        default:
          break;
      }
      rd_kafka_event_destroy(event);
    }
  }

  void on_report(const rd_kafka_message_t& message) {
    if (message.err == RD_KAFKA_RESP_ERR_NO_ERROR) {
      ++confirmed;
      trouble.reset();
      return;
    }
    if (failed) return;
    KafkaFault fault{.code = message.err, .reason = rd_kafka_err2str(message.err)};
    // A record that timed out is only the end of a story: tell what it waited for.
    if (message.err == RD_KAFKA_RESP_ERR__MSG_TIMED_OUT && trouble) fault = *trouble;
    failed = explain_kafka(fault, place());
  }

  void on_error(rd_kafka_event_t* event) {
    const char* text = rd_kafka_event_error_string(event);
    KafkaFault fault{.code = rd_kafka_event_error(event),
                     .reason = text != nullptr ? text : "",
                     .x509_error = handle->certificate_error()};
    if (fault.code == RD_KAFKA_RESP_ERR__FATAL) {
      std::array<char, 512> cause{};
      rd_kafka_fatal_error(handle->get(), cause.data(), cause.size());
      fault.reason = cause.data();
      if (!failed) failed = explain_kafka(fault, place());
      return;
    }
    if (trouble && telling_rank(fault) <= telling_rank(*trouble)) return;
    trouble = std::move(fault);
    const Error error = explain_kafka(*trouble, place());
    log.warn("kafka producer waits", {{"error", error.message}, {"code", error.code}});
  }
};

Result<std::unique_ptr<KafkaProducer>> KafkaProducer::make(KafkaProducerOptions options,
                                                           const Log& log) {
  KafkaOptions common;
  common.brokers = options.brokers;
  common.topic = options.topic;
  common.properties = options.properties;
  auto handle = KafkaHandle::make(
      KafkaHandle::Role::producer, common, {},
      {{"queue.buffering.max.messages", std::to_string(options.queue_records_max)},
       {"queue.buffering.max.kbytes",
        std::to_string(std::max<std::size_t>(1, options.queue_bytes_max / 1024))},
       {"linger.ms", std::to_string(options.linger.count())},
       {"message.timeout.ms", std::to_string(options.record_wait_max.count())},
       {"message.max.bytes", "1048588"}});
  if (!handle) return fail(handle.error());
  auto state = std::make_unique<State>(std::move(options), log);
  state->handle = std::move(*handle);
  state->queue = rd_kafka_queue_get_main(state->handle->get());
  return std::unique_ptr<KafkaProducer>(new KafkaProducer(std::move(state)));
}

KafkaProducer::KafkaProducer(std::unique_ptr<State> state) : state_(std::move(state)) {}
KafkaProducer::~KafkaProducer() = default;

Status KafkaProducer::produce(std::string_view key, std::string_view value) {
  for (;;) {
    if (state_->failed) return fail(*state_->failed);
    const rd_kafka_resp_err_t err = rd_kafka_producev(
        state_->handle->get(), RD_KAFKA_V_TOPIC(state_->options.topic.c_str()),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(key.data(), key.size()),
        RD_KAFKA_V_VALUE(const_cast<char*>(value.data()), value.size()), RD_KAFKA_V_END);
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR) break;
    if (err != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
      // Nothing of this record was queued; the caller may go on with others.
      return fail(explain_kafka({.code = err, .reason = rd_kafka_err2str(err)}, state_->place()));
    }
    // Ends by itself: records leave the queue confirmed or, after record_wait_max, as an error.
    state_->serve(50);
  }
  state_->serve(0);
  if (state_->failed) return fail(*state_->failed);
  return {};
}

Status KafkaProducer::flush() {
  rd_kafka_t* rk = state_->handle->get();
  while (!state_->failed && rd_kafka_outq_len(rk) > 0) {
    // With events, flush only ends the lingering: reports must be served by us (rdkafka.h,
    // rd_kafka_flush).
    rd_kafka_flush(rk, 0);
    state_->serve(50);
  }
  if (state_->failed) return fail(*state_->failed);
  return {};
}

std::uint64_t KafkaProducer::confirmed() const { return state_->confirmed; }

}  // namespace millrace
