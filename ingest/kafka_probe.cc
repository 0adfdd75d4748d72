#include "ingest/kafka_probe.h"

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <optional>

#include "ingest/kafka_errors.h"
#include "ingest/kafka_properties.h"

namespace millrace {
namespace {

using Clock = std::chrono::steady_clock;

struct QueueCloser {
  void operator()(rd_kafka_queue_t* queue) const { rd_kafka_queue_destroy(queue); }
};
struct EventCloser {
  void operator()(rd_kafka_event_t* event) const { rd_kafka_event_destroy(event); }
};
struct TopicCloser {
  void operator()(rd_kafka_topic_t* topic) const { rd_kafka_topic_destroy(topic); }
};
using Queue = std::unique_ptr<rd_kafka_queue_t, QueueCloser>;
using Event = std::unique_ptr<rd_kafka_event_t, EventCloser>;
using Topic = std::unique_ptr<rd_kafka_topic_t, TopicCloser>;

int int_ms(Clock::duration duration) {
  return static_cast<int>(std::clamp<std::int64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(duration).count(), 1, 60'000));
}

// Keeps the most telling fault; of two equals the first.
void drain_faults(rd_kafka_queue_t* queue, const KafkaHandle& handle,
                  std::optional<KafkaFault>& best) {
  while (const Event event{rd_kafka_queue_poll(queue, 0)}) {
    if (rd_kafka_event_type(event.get()) != RD_KAFKA_EVENT_ERROR) continue;
    const char* text = rd_kafka_event_error_string(event.get());
    KafkaFault fault{.code = rd_kafka_event_error(event.get()),
                     .reason = text != nullptr ? text : "",
                     .x509_error = handle.certificate_error()};
    if (!best || telling_rank(fault) > telling_rank(*best)) best = std::move(fault);
  }
}

void read_configs(rd_kafka_t* rk, const std::string& topic, int wait_ms, KafkaTopicFacts& facts) {
  const Queue queue(rd_kafka_queue_new(rk));
  std::array<char, 256> text{};
  rd_kafka_AdminOptions_t* options =
      rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
  rd_kafka_AdminOptions_set_request_timeout(options, wait_ms, text.data(), text.size());
  rd_kafka_ConfigResource_t* resource =
      rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic.c_str());
  rd_kafka_DescribeConfigs(rk, &resource, 1, options, queue.get());
  rd_kafka_ConfigResource_destroy(resource);
  rd_kafka_AdminOptions_destroy(options);
  const Event event(rd_kafka_queue_poll(queue.get(), wait_ms + 500));
  const rd_kafka_DescribeConfigs_result_t* result =
      event ? rd_kafka_event_DescribeConfigs_result(event.get()) : nullptr;
  if (result == nullptr) return;
  std::size_t resources = 0;
  const rd_kafka_ConfigResource_t** found =
      rd_kafka_DescribeConfigs_result_resources(result, &resources);
  for (std::size_t i = 0; i < resources; ++i) {
    std::size_t entries = 0;
    const rd_kafka_ConfigEntry_t** configs = rd_kafka_ConfigResource_configs(found[i], &entries);
    for (std::size_t j = 0; j < entries; ++j) {
      const std::string_view name = rd_kafka_ConfigEntry_name(configs[j]);
      const char* value = rd_kafka_ConfigEntry_value(configs[j]);
      if (value == nullptr) continue;
      if (name == "cleanup.policy") facts.cleanup_policy = value;
      if (name == "message.timestamp.type") facts.timestamp_type = value;
      if (name == "retention.ms") {
        const std::string_view digits = value;
        std::int64_t number = -1;
        const auto [end, error] =
            std::from_chars(digits.data(), digits.data() + digits.size(), number);
        if (error == std::errc() && number >= 0) facts.retention_ms = number;
      }
    }
  }
}

}  // namespace

Result<KafkaTopicFacts> probe_kafka(const KafkaOptions& options, std::chrono::milliseconds wait) {
  const KafkaPlace place{
      .brokers = options.brokers, .topic = options.topic, .group = options.group};
  const auto handle = KafkaHandle::make(KafkaHandle::Role::observer, options, {});
  if (!handle) return fail(handle.error());
  rd_kafka_t* rk = (*handle)->get();
  const Queue main(rd_kafka_queue_get_main(rk));
  const Topic topic(rd_kafka_topic_new(rk, options.topic.c_str(), nullptr));
  if (!topic) return fail(ErrorKind::invalid, options.topic + " cannot be the name of a topic");

  const Clock::time_point end = Clock::now() + wait;
  std::optional<KafkaFault> best;
  for (;;) {
    const int left_ms = int_ms(end - Clock::now());
    const rd_kafka_metadata_t* metadata = nullptr;
    // Short rounds: a refused login shows in the events, never in what this call returns.
    const rd_kafka_resp_err_t err =
        rd_kafka_metadata(rk, 0, topic.get(), &metadata, std::min(left_ms, 250));
    drain_faults(main.get(), **handle, best);
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
      KafkaTopicFacts facts;
      rd_kafka_resp_err_t topic_err = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
      if (metadata->topic_cnt == 1) {
        topic_err = metadata->topics[0].err;
        facts.partitions = static_cast<std::size_t>(std::max(0, metadata->topics[0].partition_cnt));
      }
      rd_kafka_metadata_destroy(metadata);
      if (topic_err == RD_KAFKA_RESP_ERR_NO_ERROR && facts.partitions > 0) {
        read_configs(rk, options.topic, std::min(int_ms(end - Clock::now()) + 500, 2000), facts);
        return facts;
      }
      best = KafkaFault{.code = topic_err, .reason = rd_kafka_err2str(topic_err)};
      if (topic_err != RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE)
        return fail(explain_kafka(*best, place));
    } else if (!best) {
      best = KafkaFault{.code = err, .reason = ""};
    }
    // A named cause will not go away in the next seconds: say it now.
    if (best && telling_rank(*best) == 3) return fail(explain_kafka(*best, place));
    if (Clock::now() >= end) return fail(explain_kafka(*best, place));
  }
}

std::vector<std::string> kafka_topic_warnings(const KafkaTopicFacts& facts,
                                              const std::string& topic) {
  std::vector<std::string> out;
  if (facts.cleanup_policy.find("compact") != std::string::npos)
    out.push_back("topic " + topic +
                  " is compacted (cleanup.policy): records may vanish before they are read again "
                  "after a crash, so the "
                  "lake cannot promise each record once; use cleanup.policy=delete");
  if (facts.timestamp_type == "CreateTime")
    out.push_back("topic " + topic +
                  " keeps its producers' clocks (message.timestamp.type=CreateTime): arrival hours "
                  "in the lake are only as "
                  "right as they are; LogAppendTime would be the broker's");
  return out;
}

}  // namespace millrace
