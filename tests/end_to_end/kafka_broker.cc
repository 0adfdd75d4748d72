#include "tests/end_to_end/kafka_broker.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace millrace {
namespace {

constexpr int kWaitMs = 20000;

[[noreturn]] void give_up(const std::string& what) {
  throw std::runtime_error("kafka broker: " + what);
}

void set(rd_kafka_conf_t* conf, const char* key, const std::string& value) {
  std::array<char, 256> text{};
  if (rd_kafka_conf_set(conf, key, value.c_str(), text.data(), text.size()) != RD_KAFKA_CONF_OK)
    give_up(text.data());
}

struct HandleCloser {
  void operator()(rd_kafka_t* rk) const { rd_kafka_destroy(rk); }
};
using Handle = std::unique_ptr<rd_kafka_t, HandleCloser>;

Handle make_handle(rd_kafka_type_t type, rd_kafka_conf_t* conf) {
  std::array<char, 256> text{};
  rd_kafka_t* rk = rd_kafka_new(type, conf, text.data(), text.size());
  if (rk == nullptr) give_up(text.data());
  return Handle(rk);
}

// Where peers.sh has put the jars; fetched once per program when they are not there.
const std::string& kafka_home() {
  static const std::string home = [] {
    FILE* pipe = ::popen(MILLRACE_SOURCE_DIR "/tests/end_to_end/peers.sh kafka", "r");
    if (pipe == nullptr) give_up("peers.sh does not start");
    std::string out;
    std::array<char, 512> part{};
    while (std::fgets(part.data(), part.size(), pipe) != nullptr) out += part.data();
    if (::pclose(pipe) != 0)
      give_up("peers.sh kafka failed: java and mvn are needed, and Maven Central");
    while (!out.empty() && out.back() == '\n') out.pop_back();
    return out;
  }();
  return home;
}

struct Delivery {
  std::size_t confirmed = 0;
  std::string error{};
};

void on_delivery(rd_kafka_t*, const rd_kafka_message_t* message, void* opaque) {
  auto* delivery = static_cast<Delivery*>(opaque);
  if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
    ++delivery->confirmed;
  } else {
    delivery->error = rd_kafka_err2str(message->err);
  }
}

Handle make_producer(const std::string& brokers, Delivery* delivery, const char* transactional_id) {
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  set(conf, "bootstrap.servers", brokers);
  set(conf, "partitioner", "murmur2_random");
  set(conf, "linger.ms", "0");
  set(conf, "message.max.bytes", "2000000");
  set(conf, "queue.buffering.max.messages", "1000000");
  set(conf, "log_level", "0");
  // Without it a retry of the first batches, while the broker still learns about the topic, changes
  // their order.
  set(conf, "enable.idempotence", "true");
  if (transactional_id != nullptr) set(conf, "transactional.id", transactional_id);
  rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
  rd_kafka_conf_set_opaque(conf, delivery);
  return make_handle(RD_KAFKA_PRODUCER, conf);
}

void put(rd_kafka_t* rk, const std::string& topic, int partition,
         const std::vector<TestRecord>& records) {
  for (const TestRecord& record : records) {
    const void* key = record.key ? record.key->data() : nullptr;
    const void* value = record.value ? record.value->data() : nullptr;
    const std::size_t key_bytes = record.key ? record.key->size() : 0;
    const std::size_t value_bytes = record.value ? record.value->size() : 0;
    for (;;) {
      const rd_kafka_resp_err_t err = rd_kafka_producev(
          rk, RD_KAFKA_V_TOPIC(topic.c_str()), RD_KAFKA_V_PARTITION(partition),
          RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(key, key_bytes),
          RD_KAFKA_V_VALUE(const_cast<void*>(value), value_bytes),
          RD_KAFKA_V_TIMESTAMP(record.arrived_ms), RD_KAFKA_V_END);
      if (err == RD_KAFKA_RESP_ERR_NO_ERROR) break;
      if (err != RD_KAFKA_RESP_ERR__QUEUE_FULL)
        give_up(std::string("produce: ") + rd_kafka_err2str(err));
      rd_kafka_poll(rk, 50);
    }
    rd_kafka_poll(rk, 0);
  }
}

void throw_if(rd_kafka_error_t* error, const char* doing) {
  if (error == nullptr) return;
  const std::string text = std::string(doing) + ": " + rd_kafka_error_string(error);
  rd_kafka_error_destroy(error);
  give_up(text);
}

}  // namespace

int free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  const bool good = fd >= 0 && ::bind(fd, reinterpret_cast<sockaddr*>(&address), length) == 0 &&
                    ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0;
  if (fd >= 0) ::close(fd);
  if (!good) throw std::runtime_error("no free port");
  return ntohs(address.sin_port);
}

struct KafkaBroker::Admin {
  Handle rk{};
  rd_kafka_queue_t* queue = nullptr;

  explicit Admin(const std::string& brokers) {
    rd_kafka_conf_t* conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", brokers);
    set(conf, "log_level", "0");
    set(conf, "reconnect.backoff.max.ms", "200");
    rk = make_handle(RD_KAFKA_PRODUCER, conf);
    queue = rd_kafka_queue_new(rk.get());
  }
  ~Admin() { rd_kafka_queue_destroy(queue); }
  Admin(const Admin&) = delete;
  Admin& operator=(const Admin&) = delete;

  // Waits for the answer to a request that was put on `queue`, and throws when it is an error.
  void answer(const char* doing) const {
    rd_kafka_event_t* event = rd_kafka_queue_poll(queue, kWaitMs);
    if (event == nullptr) give_up(std::string(doing) + ": no answer");
    std::string error;
    if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR)
      error = rd_kafka_event_error_string(event);
    std::size_t count = 0;
    const rd_kafka_topic_result_t** results = nullptr;
    if (const auto* created = rd_kafka_event_CreateTopics_result(event))
      results = rd_kafka_CreateTopics_result_topics(created, &count);
    if (const auto* deleted = rd_kafka_event_DeleteTopics_result(event))
      results = rd_kafka_DeleteTopics_result_topics(deleted, &count);
    if (const auto* grown = rd_kafka_event_CreatePartitions_result(event))
      results = rd_kafka_CreatePartitions_result_topics(grown, &count);
    for (std::size_t i = 0; i < count; ++i) {
      if (rd_kafka_topic_result_error(results[i]) != RD_KAFKA_RESP_ERR_NO_ERROR)
        error = rd_kafka_topic_result_error_string(results[i]) != nullptr
                    ? rd_kafka_topic_result_error_string(results[i])
                    : rd_kafka_err2name(rd_kafka_topic_result_error(results[i]));
    }
    if (const auto* gone = rd_kafka_event_DeleteRecords_result(event)) {
      const rd_kafka_topic_partition_list_t* offsets = rd_kafka_DeleteRecords_result_offsets(gone);
      for (int i = 0; i < offsets->cnt; ++i) {
        if (offsets->elems[i].err != RD_KAFKA_RESP_ERR_NO_ERROR)
          error = rd_kafka_err2str(offsets->elems[i].err);
      }
    }
    rd_kafka_event_destroy(event);
    if (!error.empty()) give_up(std::string(doing) + ": " + error);
  }

  // Whether the topic has `partitions` partitions, each with a leader (0: whether it is gone).
  [[nodiscard]] bool topic_has(const std::string& topic, int partitions) const {
    rd_kafka_topic_t* handle = rd_kafka_topic_new(rk.get(), topic.c_str(), nullptr);
    const rd_kafka_metadata_t* metadata = nullptr;
    const rd_kafka_resp_err_t err = rd_kafka_metadata(rk.get(), 0, handle, &metadata, 2000);
    rd_kafka_topic_destroy(handle);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) return false;
    bool good = metadata->topic_cnt == 1;
    if (good) {
      const rd_kafka_metadata_topic_t& found = metadata->topics[0];
      if (partitions == 0) {
        good = found.err != RD_KAFKA_RESP_ERR_NO_ERROR;
      } else {
        good = found.err == RD_KAFKA_RESP_ERR_NO_ERROR && found.partition_cnt == partitions;
        for (int i = 0; good && i < found.partition_cnt; ++i)
          good = found.partitions[i].leader >= 0;
      }
    }
    rd_kafka_metadata_destroy(metadata);
    return good;
  }

  void wait_until(const std::string& what, const std::function<bool()>& condition) const {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(kWaitMs);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > deadline) give_up(what + ": not within 20 s");
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
};

KafkaBroker::KafkaBroker() : peers_(kafka_home()) {
  std::array<char, 64> name{};
  std::snprintf(name.data(), name.size(), "%s", "/tmp/millrace-kafka-XXXXXX");
  if (::mkdtemp(name.data()) == nullptr) give_up("no temporary folder");
  dir_ = name.data();
  // A port may be taken between the question and its use: try again with others.
  for (int attempt = 1;; ++attempt) {
    const int port = free_port();
    const int controller = free_port();
    std::filesystem::remove_all(dir_ + "/data");
    std::filesystem::copy(peers_ + "/template", dir_ + "/data",
                          std::filesystem::copy_options::recursive);
    std::ofstream(dir_ + "/server.properties")
        << "process.roles=broker,controller\nnode.id=1\n"
        << "controller.quorum.voters=1@127.0.0.1:" << controller << "\n"
        << "listeners=PLAINTEXT://127.0.0.1:" << port << ",CONTROLLER://127.0.0.1:" << controller
        << "\n"
        << "advertised.listeners=PLAINTEXT://127.0.0.1:" << port << "\n"
        << "controller.listener.names=CONTROLLER\n"
        << "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n"
        << "log.dirs=" << dir_ << "/data\n"
        << "num.partitions=4\noffsets.topic.num.partitions=1\noffsets.topic.replication.factor=1\n"
        << "transaction.state.log.num.partitions=1\ntransaction.state.log.replication.factor=1\n"
        << "transaction.state.log.min.isr=1\ngroup.initial.rebalance.delay.ms=0\n"
        << "group.min.session.timeout.ms=1000\nauto.create.topics.enable=false\n"
        << "message.max.bytes=2000000\nlog.cleaner.dedupe.buffer.size=2097152\n"
        << "broker.session.timeout.ms=1000\nbroker.heartbeat.interval.ms=200\n"
        << "controller.quorum.election.timeout.ms=200\ncontroller.quorum.fetch.timeout.ms=1000\n"
        << "controller.quorum.election.backoff.max.ms=100\n";
    brokers_ = "127.0.0.1:" + std::to_string(port);
    try {
      start();
      return;
    } catch (const std::exception&) {
      admin_.reset();
      reap(SIGKILL);
      if (attempt == 3) throw;
    }
  }
}

KafkaBroker::~KafkaBroker() {
  admin_.reset();
  reap(SIGKILL);
  std::error_code ignored;
  std::filesystem::remove_all(dir_, ignored);
}

KafkaBroker& KafkaBroker::shared() {
  static KafkaBroker broker;
  return broker;
}

KafkaBroker::Admin& KafkaBroker::admin() {
  if (!admin_) admin_ = std::make_unique<Admin>(brokers_);
  return *admin_;
}

void KafkaBroker::start() {
  if (pid_ > 0) return;
  spawn();
  wait_ready();
}

void KafkaBroker::spawn() {
  std::vector<std::string> words = {"java", "-Xmx256m", "-XX:+UseSerialGC",
                                    "-XX:TieredStopAtLevel=1"};
  // The archive of classes belongs to exactly these flags and this class path; without it a start
  // takes 2 s longer.
  if (std::filesystem::exists(peers_ + "/classes.jsa"))
    words.push_back("-XX:SharedArchiveFile=" + peers_ + "/classes.jsa");
  words.insert(words.end(),
               {"-cp", peers_ + "/libs/*", "kafka.Kafka", dir_ + "/server.properties"});
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const std::string log = dir_ + "/log";
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) give_up("fork failed");
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
    ::dup2(out, 1);
    ::dup2(out, 2);
    ::execvp("java", arguments.data());
    ::_exit(127);
  }
}

void KafkaBroker::wait_ready() {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(kWaitMs * 2);
  for (;;) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      std::ostringstream text;
      text << std::ifstream(dir_ + "/log").rdbuf();
      give_up("the process ended: " + text.str().substr(0, 2000));
    }
    const rd_kafka_metadata_t* metadata = nullptr;
    if (rd_kafka_metadata(admin().rk.get(), 0, nullptr, &metadata, 250) ==
        RD_KAFKA_RESP_ERR_NO_ERROR) {
      const bool good = metadata->broker_cnt == 1;
      rd_kafka_metadata_destroy(metadata);
      if (good) return;
    }
    if (std::chrono::steady_clock::now() > deadline) give_up("not ready within 40 s");
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

void KafkaBroker::reap(int signal) {
  if (pid_ <= 0) return;
  ::kill(pid_, signal);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void KafkaBroker::stop() { reap(SIGTERM); }
void KafkaBroker::kill() { reap(SIGKILL); }
void KafkaBroker::freeze() { ::kill(pid_, SIGSTOP); }
void KafkaBroker::thaw() { ::kill(pid_, SIGCONT); }

void KafkaBroker::create_topic(const std::string& topic, int partitions, const Configs& configs) {
  std::array<char, 256> text{};
  rd_kafka_NewTopic_t* request =
      rd_kafka_NewTopic_new(topic.c_str(), partitions, 1, text.data(), text.size());
  if (request == nullptr) give_up(text.data());
  for (const auto& [key, value] : configs)
    rd_kafka_NewTopic_set_config(request, key.c_str(), value.c_str());
  rd_kafka_CreateTopics(admin().rk.get(), &request, 1, nullptr, admin().queue);
  rd_kafka_NewTopic_destroy(request);
  admin().answer("create topic");
  admin().wait_until("create topic " + topic, [&] { return admin().topic_has(topic, partitions); });
}

void KafkaBroker::delete_topic(const std::string& topic) {
  rd_kafka_DeleteTopic_t* request = rd_kafka_DeleteTopic_new(topic.c_str());
  rd_kafka_DeleteTopics(admin().rk.get(), &request, 1, nullptr, admin().queue);
  rd_kafka_DeleteTopic_destroy(request);
  admin().answer("delete topic");
  admin().wait_until("delete topic " + topic, [&] { return admin().topic_has(topic, 0); });
}

void KafkaBroker::grow_topic(const std::string& topic, int partitions) {
  std::array<char, 256> text{};
  rd_kafka_NewPartitions_t* request = rd_kafka_NewPartitions_new(
      topic.c_str(), static_cast<std::size_t>(partitions), text.data(), text.size());
  if (request == nullptr) give_up(text.data());
  rd_kafka_CreatePartitions(admin().rk.get(), &request, 1, nullptr, admin().queue);
  rd_kafka_NewPartitions_destroy(request);
  admin().answer("grow topic");
  admin().wait_until("grow topic " + topic, [&] { return admin().topic_has(topic, partitions); });
}

void KafkaBroker::delete_records(const std::string& topic, int partition, std::int64_t first_kept) {
  rd_kafka_topic_partition_list_t* offsets = rd_kafka_topic_partition_list_new(1);
  rd_kafka_topic_partition_list_add(offsets, topic.c_str(), partition)->offset = first_kept;
  rd_kafka_DeleteRecords_t* request = rd_kafka_DeleteRecords_new(offsets);
  rd_kafka_topic_partition_list_destroy(offsets);
  rd_kafka_DeleteRecords(admin().rk.get(), &request, 1, nullptr, admin().queue);
  rd_kafka_DeleteRecords_destroy(request);
  admin().answer("delete records");
}

void KafkaBroker::produce(const std::string& topic, int partition,
                          const std::vector<TestRecord>& records) {
  Delivery delivery;
  const Handle producer = make_producer(brokers_, &delivery, nullptr);
  put(producer.get(), topic, partition, records);
  rd_kafka_flush(producer.get(), kWaitMs * 2);
  if (delivery.confirmed != records.size()) give_up("produce to " + topic + ": " + delivery.error);
}

void KafkaBroker::produce_numbers(const std::string& topic, int partition, int first, int count) {
  std::vector<TestRecord> records;
  records.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i)
    records.push_back({.key = std::nullopt, .value = std::to_string(first + i)});
  produce(topic, partition, records);
}

void KafkaBroker::produce_transaction(const std::string& topic, int partition,
                                      const std::vector<TestRecord>& records, bool commit) {
  Delivery delivery;
  const Handle producer = make_producer(brokers_, &delivery, "test-transactions");
  throw_if(rd_kafka_init_transactions(producer.get(), kWaitMs), "init transactions");
  throw_if(rd_kafka_begin_transaction(producer.get()), "begin transaction");
  put(producer.get(), topic, partition, records);
  rd_kafka_flush(producer.get(), kWaitMs);
  throw_if(commit ? rd_kafka_commit_transaction(producer.get(), kWaitMs)
                  : rd_kafka_abort_transaction(producer.get(), kWaitMs),
           "end transaction");
}

std::optional<std::pair<std::int64_t, std::string>> KafkaBroker::committed(const std::string& group,
                                                                           const std::string& topic,
                                                                           int partition) {
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  set(conf, "bootstrap.servers", brokers_);
  set(conf, "group.id", group);
  set(conf, "log_level", "0");
  const Handle rk = make_handle(RD_KAFKA_CONSUMER, conf);
  rd_kafka_topic_partition_list_t* list = rd_kafka_topic_partition_list_new(1);
  const rd_kafka_topic_partition_t* entry =
      rd_kafka_topic_partition_list_add(list, topic.c_str(), partition);
  const rd_kafka_resp_err_t err = rd_kafka_committed(rk.get(), list, kWaitMs);
  std::optional<std::pair<std::int64_t, std::string>> found;
  if (err == RD_KAFKA_RESP_ERR_NO_ERROR && entry->offset >= 0) {
    found.emplace(entry->offset, entry->metadata_size == 0
                                     ? std::string()
                                     : std::string(static_cast<const char*>(entry->metadata),
                                                   entry->metadata_size));
  }
  rd_kafka_topic_partition_list_destroy(list);
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
    give_up(std::string("committed: ") + rd_kafka_err2str(err));
  return found;
}

bool KafkaBroker::commit_from_outside(const std::string& group, const std::string& topic,
                                      int partition, std::int64_t offset,
                                      const std::string& metadata) {
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  set(conf, "bootstrap.servers", brokers_);
  set(conf, "group.id", group);
  set(conf, "log_level", "0");
  const Handle rk = make_handle(RD_KAFKA_CONSUMER, conf);
  rd_kafka_topic_partition_list_t* list = rd_kafka_topic_partition_list_new(1);
  rd_kafka_topic_partition_t* entry =
      rd_kafka_topic_partition_list_add(list, topic.c_str(), partition);
  entry->offset = offset;
  if (!metadata.empty()) {
    entry->metadata = std::malloc(metadata.size());
    std::memcpy(entry->metadata, metadata.data(), metadata.size());
    entry->metadata_size = metadata.size();
  }
  const rd_kafka_resp_err_t err = rd_kafka_commit(rk.get(), list, 0);
  rd_kafka_topic_partition_list_destroy(list);
  return err == RD_KAFKA_RESP_ERR_NO_ERROR;
}

std::string KafkaBroker::segment_path(const std::string& topic, int partition) const {
  return dir_ + "/data/" + topic + "-" + std::to_string(partition) + "/00000000000000000000.log";
}

}  // namespace millrace
