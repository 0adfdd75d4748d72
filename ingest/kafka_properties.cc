#include "ingest/kafka_properties.h"

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace millrace {
namespace {

struct Owned {
  std::string_view name;
  std::string_view why;
};
constexpr auto kOwned = std::to_array<Owned>({
    {"bootstrap.servers", "it is source.kafka.brokers"},
    {"metadata.broker.list", "it is source.kafka.brokers"},
    {"group.id", "it is source.kafka.group"},
    {"auto.offset.reset", "it is source.kafka.start and source.kafka.on_gap"},
    {"enable.auto.commit", "positions are committed only after delivery"},
    {"enable.auto.offset.store", "positions are committed only after delivery"},
    {"auto.commit.enable", "positions are committed only after delivery"},
    {"enable.partition.eof", "millrace needs to see the end of a partition"},
    {"partition.assignment.strategy", "millrace moves partitions one by one (cooperative-sticky)"},
    {"group.protocol", "millrace moves partitions one by one (cooperative-sticky)"},
    {"check.crcs", "a damaged record must never pass for a good one"},
    {"log.queue", "librdkafka's log lines go into millrace's log"},
    {"enable.idempotence", "a record is written once"},
    {"plugin.library.paths", "millrace loads no code by configuration"},
});

bool secret(std::string_view name) {
  for (const std::string_view word :
       {"password", "secret", "pem", "oauthbearer.config", "sasl.jaas"}) {
    if (name.find(word) != std::string_view::npos) return true;
  }
  return false;
}

struct ConfDestroyer {
  void operator()(rd_kafka_conf_t* conf) const { rd_kafka_conf_destroy(conf); }
};
using Conf = std::unique_ptr<rd_kafka_conf_t, ConfDestroyer>;

Status put(rd_kafka_conf_t* conf, const std::string& name, const std::string& value) {
  std::array<char, 512> text{};
  if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), text.data(), text.size()) ==
      RD_KAFKA_CONF_OK)
    return {};
  const std::string said = secret(name) ? "the value is not accepted" : std::string(text.data());
  return fail(ErrorKind::invalid, "source.kafka.properties: " + name + ": " + said);
}

Status put_users(rd_kafka_conf_t* conf, const std::map<std::string, std::string>& properties) {
  for (const auto& [name, value] : properties) {
    const auto* const owned =
        std::find_if(kOwned.begin(), kOwned.end(), [&](const Owned& o) { return o.name == name; });
    if (owned != kOwned.end())
      return fail(ErrorKind::invalid, "source.kafka.properties: " + name +
                                          " is set by millrace itself: " + std::string(owned->why) +
                                          "; remove it");
    if (auto status = put(conf, name, value); !status) return status;
  }
  return {};
}

// On a thread of librdkafka: only remembers. Not accepting what OpenSSL refused is librdkafka's own
// matter.
int on_certificate(rd_kafka_t*, const char*, std::int32_t, int* x509_error, int, const char*,
                   std::size_t, char*, std::size_t, void* opaque) {
  if (*x509_error != 0)
    static_cast<std::atomic<int>*>(opaque)->store(*x509_error, std::memory_order_relaxed);
  return *x509_error == 0 ? 1 : 0;
}

// "A Guide to the Kafka Protocol", API keys.
constexpr int kMetadataRequest = 3;
constexpr int kJoinGroupRequest = 11;
constexpr int kHeartbeatRequest = 12;
constexpr int kSyncGroupRequest = 14;

rd_kafka_resp_err_t on_request(rd_kafka_t*, int, const char*, std::int32_t, std::int16_t api_key,
                               std::int16_t, std::int32_t, std::size_t, void* opaque) {
  static_cast<GroupTraffic*>(opaque)->note_sent(api_key);
  return RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_resp_err_t on_response(rd_kafka_t*, int, const char*, std::int32_t, std::int16_t api_key,
                                std::int16_t, std::int32_t, std::size_t, std::int64_t,
                                rd_kafka_resp_err_t err, void* opaque) {
  static_cast<GroupTraffic*>(opaque)->note_answered(api_key, err == RD_KAFKA_RESP_ERR_NO_ERROR);
  return RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_resp_err_t on_new(rd_kafka_t* rk, const rd_kafka_conf_t*, void* opaque, char*,
                           std::size_t) {
  rd_kafka_interceptor_add_on_request_sent(rk, "millrace", on_request, opaque);
  rd_kafka_interceptor_add_on_response_received(rk, "millrace", on_response, opaque);
  return RD_KAFKA_RESP_ERR_NO_ERROR;
}

}  // namespace

void GroupTraffic::note_sent(int api_key) {
  const std::lock_guard lock(mutex_);
  if (api_key == kHeartbeatRequest) ++seen_.heartbeats;
  if (api_key != kJoinGroupRequest) return;
  ++seen_.joins;
  seen_.joining = true;
}

void GroupTraffic::note_answered(int api_key, bool heard) {
  const std::lock_guard lock(mutex_);
  if (heard) ++answers_heard_;
  if (api_key == kHeartbeatRequest || api_key == kMetadataRequest || api_key == kSyncGroupRequest)
    ++seen_.answers;
  if (api_key == kSyncGroupRequest) seen_.joining = false;
}

std::uint64_t GroupTraffic::answers_heard() const {
  const std::lock_guard lock(mutex_);
  return answers_heard_;
}

GroupTraffic::Seen GroupTraffic::seen() const {
  const std::lock_guard lock(mutex_);
  return seen_;
}

bool GroupTraffic::send_if_still(const Seen& expected, const std::function<void()>& send) const {
  const std::lock_guard lock(mutex_);
  if (seen_ != expected) return false;
  send();
  return true;
}

Status check_kafka_properties(const std::map<std::string, std::string>& properties) {
  const Conf conf(rd_kafka_conf_new());
  return put_users(conf.get(), properties);
}

ReadAhead split_read_ahead(std::size_t bytes_max, std::size_t partitions) {
  const std::size_t share = bytes_max / std::max<std::size_t>(1, partitions);
  ReadAhead out;
  // An eighth for the answer that overshoots, half for payload, the rest for what librdkafka keeps
  // beside it.
  out.fetch_bytes = std::clamp<std::size_t>(share / 8, std::size_t{16} << 10, std::size_t{4} << 20);
  out.queued_kbytes = std::clamp<std::size_t>(share / 2 / 1024, 16, 2'097'151);
  out.queued_messages = std::clamp<std::size_t>(share * 3 / 8 / kQueuedMessageBytes, 16, 1'000'000);
  return out;
}

Result<std::shared_ptr<KafkaHandle>> KafkaHandle::make(
    Role role, const KafkaOptions& options, const ReadAhead& read_ahead,
    const std::map<std::string, std::string>& more) {
  Conf conf(rd_kafka_conf_new());
  std::map<std::string, std::string> ours = {
      {"client.id", "millrace"},
      {"socket.keepalive.enable", "true"},
      {"log.queue", "true"},
      {"bootstrap.servers", options.brokers},
      // Faster than the default 10 s: a broker that comes back is found again soon, at one
      // connection in two seconds.
      {"reconnect.backoff.max.ms", "2000"},
  };
  if (role == Role::producer) {
    ours.insert({{"enable.idempotence", "true"},
                 {"partitioner", "murmur2_random"},
                 {"compression.codec", "lz4"}});
  } else {
    ours.insert({{"allow.auto.create.topics", "false"},
                 {"check.crcs", "true"},
                 {"enable.auto.commit", "false"},
                 {"enable.auto.offset.store", "false"},
                 {"enable.partition.eof", "true"},
                 {"auto.offset.reset", "error"},
                 {"isolation.level", "read_committed"}});
  }
  if (role == Role::consumer) {
    ours.insert({{"group.id", options.group},
                 {"partition.assignment.strategy", "cooperative-sticky"},
                 {"session.timeout.ms", "45000"},
                 {"heartbeat.interval.ms", "1000"},
                 {"max.poll.interval.ms", "300000"},
                 {"topic.metadata.refresh.interval.ms", "60000"},
                 {"queued.max.messages.kbytes", std::to_string(read_ahead.queued_kbytes)},
                 {"queued.min.messages", std::to_string(read_ahead.queued_messages)},
                 {"fetch.message.max.bytes", std::to_string(read_ahead.fetch_bytes)}});
  }
  for (const auto& [name, value] : more) ours[name] = value;
  for (const auto& [name, value] : ours) {
    if (auto status = put(conf.get(), name, value); !status) return fail(status.error());
  }
  if (auto status = put_users(conf.get(), options.properties); !status) return fail(status.error());

  auto state = std::make_shared<State>();
  rd_kafka_conf_set_opaque(conf.get(), &state->certificate_error);
  rd_kafka_conf_set_ssl_cert_verify_cb(conf.get(), on_certificate);
  rd_kafka_conf_set_events(conf.get(), RD_KAFKA_EVENT_REBALANCE | RD_KAFKA_EVENT_ERROR |
                                           RD_KAFKA_EVENT_OFFSET_COMMIT | RD_KAFKA_EVENT_LOG |
                                           RD_KAFKA_EVENT_DR);
  if (role == Role::consumer)
    rd_kafka_conf_interceptor_add_on_new(conf.get(), "millrace", on_new, &state->traffic);
  std::array<char, 512> text{};
  const rd_kafka_type_t type = role == Role::producer ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER;
  state->rk = rd_kafka_new(type, conf.get(), text.data(), text.size());
  if (state->rk == nullptr)
    return fail(ErrorKind::invalid, "source.kafka: " + std::string(text.data()));
  static_cast<void>(conf.release());  // it belongs to the handle now
  rd_kafka_set_log_queue(state->rk, nullptr);
  constexpr int kFixedIn = 0x02030000;
  const bool destroyable = role != Role::consumer || rd_kafka_version() >= kFixedIn;
  return std::shared_ptr<KafkaHandle>(new KafkaHandle(std::move(state), destroyable));
}

KafkaHandle::~KafkaHandle() {
  if (!destroyable_) {
    static std::mutex mutex;
    static auto* const kept =
        new std::vector<std::shared_ptr<State>>();  // for librdkafka's threads, to the very end
    const std::lock_guard lock(mutex);
    kept->push_back(std::move(state_));
    return;
  }
  struct Wait {
    std::mutex mutex{};
    std::condition_variable ended{};
    bool over = false;
  };
  const auto wait = std::make_shared<Wait>();
  std::thread([state = state_, wait] {
    // Closing the consumer is the source's own, bounded matter; here nobody waits for the group.
    rd_kafka_destroy_flags(state->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    const std::lock_guard lock(wait->mutex);
    wait->over = true;
    wait->ended.notify_all();
  }).detach();
  std::unique_lock lock(wait->mutex);
  wait->ended.wait_for(lock, std::chrono::seconds(2), [&] { return wait->over; });
}

}  // namespace millrace
