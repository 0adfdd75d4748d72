// KafkaSource against librdkafka's own mock cluster, which fails when told to.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <stdexcept>
#include <thread>

#include "tests/end_to_end/kafka_reader.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::int16_t kFetch = 1;
constexpr std::int16_t kOffsetCommit = 8;
constexpr std::int16_t kOffsetFetch = 9;

class KafkaFaults : public ::testing::Test {
 protected:
  KafkaFaults() {
    std::array<char, 256> text{};
    rd_kafka_conf_t* conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "log_level", "0", text.data(), text.size());
    owner_ = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text.data(), text.size());
    cluster_ = rd_kafka_mock_cluster_new(owner_, 1);
    rd_kafka_mock_topic_create(cluster_, "topic", 1, 1);
    options_.brokers = rd_kafka_mock_cluster_bootstraps(cluster_);
    options_.topic = "topic";
    options_.group = "group";
    options_.properties = {{"heartbeat.interval.ms", "100"}, {"session.timeout.ms", "6000"}};
    limits_.retry_delay = 50ms;
    limits_.commit_retry_delay = 20ms;
    limits_.ask_wait = 1000ms;
  }
  ~KafkaFaults() override {
    rd_kafka_mock_cluster_destroy(cluster_);
    rd_kafka_destroy(owner_);
  }

  void produce(int count) {
    std::array<char, 256> text{};
    rd_kafka_conf_t* conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", options_.brokers.c_str(), text.data(),
                      text.size());
    rd_kafka_t* producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text.data(), text.size());
    for (int i = 0; i < count; ++i) {
      rd_kafka_producev(producer, RD_KAFKA_V_TOPIC("topic"), RD_KAFKA_V_PARTITION(0),
                        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                        RD_KAFKA_V_VALUE(const_cast<char*>("v"), 1), RD_KAFKA_V_END);
    }
    rd_kafka_flush(producer, 5000);
    rd_kafka_destroy(producer);
  }

  // Joins, anchors and stops committing by itself.
  void settle(KafkaReader& r) {
    ASSERT_TRUE(r.until([&] { return r.commits_answered == 1 && r.source.at_end(); }));
    r.commits = false;
  }

  std::optional<Status> commit(KafkaReader& r, std::int64_t offset) {
    std::optional<Status> answer;
    r.source.commit(PartitionId{"0"}, r.assigned.at(0).tenure, Position{Offset::of(offset)}, "note",
                    [&](Status s) { answer = std::move(s); });
    r.until([&] { return answer.has_value(); }, 5s);
    return answer;
  }

  rd_kafka_t* owner_ = nullptr;
  rd_kafka_mock_cluster_t* cluster_ = nullptr;
  KafkaOptions options_;
  KafkaSourceLimits limits_;
  Metrics metrics_;
  LiveLoop loop_;
};

TEST_F(KafkaFaults, ARefusedGenerationEndsTheTenureAndNothingIsTriedAgain) {
  for (const auto err :
       {RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID}) {
    options_.group += "x";
    KafkaReader r(options_, loop_, metrics_, limits_);
    settle(r);
    rd_kafka_mock_push_request_errors(cluster_, kOffsetCommit, 1, err);
    const auto answer = commit(r, 1);
    ASSERT_TRUE(answer.has_value());
    ASSERT_FALSE(*answer);
    EXPECT_EQ(answer->error().kind, ErrorKind::conflict);
    EXPECT_TRUE(r.until([&] { return r.losses == 1; }));
    // The member joins again and gets the partition in a new tenure, with the anchor as its
    // position.
    ASSERT_TRUE(r.until([&] { return r.assigned.size() == 2; }));
    EXPECT_NE(r.assigned[0].tenure, r.assigned[1].tenure);
    EXPECT_EQ(r.assigned[1].committed->position.text(), "0");
    const auto late = commit(r, 1);
    ASSERT_TRUE(late.has_value());
    EXPECT_EQ(late->error().kind, ErrorKind::conflict);
    EXPECT_TRUE(r.leave());
  }
}

TEST_F(KafkaFaults, WhatMayPassIsTriedAgainUntilItIsWritten) {
  KafkaReader r(options_, loop_, metrics_, limits_);
  settle(r);
  rd_kafka_mock_push_request_errors(
      cluster_, kOffsetCommit, 3, RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS,
      RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS);
  const auto answer = commit(r, 1);
  ASSERT_TRUE(answer.has_value());
  EXPECT_TRUE(*answer);
  EXPECT_GE(metrics_.value("millrace_kafka_commit_retries_total", {{"group", "group"}}), 1);
  EXPECT_TRUE(r.leave());
}

TEST_F(KafkaFaults, AMissingPermissionIsWaitedForAndTold) {
  KafkaReader r(options_, loop_, metrics_, limits_);
  settle(r);
  rd_kafka_mock_push_request_errors(
      cluster_, kOffsetCommit, 3, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
      RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED);
  std::optional<Status> answer;
  std::optional<Error> told;
  r.source.commit(PartitionId{"0"}, r.assigned.at(0).tenure, Position{Offset::of(1)}, "note",
                  [&](Status s) { answer = std::move(s); });
  ASSERT_TRUE(r.until([&] {
    if (const auto trouble = r.source.status().trouble) told = trouble;
    return answer.has_value();
  }));
  EXPECT_TRUE(*answer);
  ASSERT_TRUE(told.has_value());
  EXPECT_THAT(told->message, HasSubstr("grant READ on the group"));
  EXPECT_FALSE(r.source.status().trouble) << "cleared by success";
  EXPECT_TRUE(r.leave());
}

TEST_F(KafkaFaults, ANoteThatTheBrokerFindsTooLongIsRejectedAndTheTenureGoesOn) {
  KafkaReader r(options_, loop_, metrics_, limits_);
  settle(r);
  rd_kafka_mock_push_request_errors(cluster_, kOffsetCommit, 1,
                                    RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE);
  const auto answer = commit(r, 1);
  ASSERT_TRUE(answer.has_value());
  ASSERT_FALSE(*answer);
  EXPECT_EQ(answer->error().kind, ErrorKind::rejected);
  const auto next = commit(r, 2);
  ASSERT_TRUE(next.has_value());
  EXPECT_TRUE(*next);
  EXPECT_TRUE(r.leave());
}

TEST_F(KafkaFaults, CommitsOfAPartitionAreAnsweredInOrderAlsoWhenTheFirstIsTriedAgain) {
  KafkaReader r(options_, loop_, metrics_, limits_);
  settle(r);
  rd_kafka_mock_push_request_errors(cluster_, kOffsetCommit, 1,
                                    RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS);
  std::vector<int> order;
  for (int i = 1; i <= 3; ++i) {
    r.source.commit(PartitionId{"0"}, r.assigned.at(0).tenure, Position{Offset::of(i)}, "note",
                    [&order, i](const Status& s) {
                      EXPECT_TRUE(s);
                      order.push_back(i);
                    });
  }
  ASSERT_TRUE(r.until([&] { return order.size() == 3; }));
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
  EXPECT_TRUE(r.leave());
}

TEST_F(KafkaFaults, PositionsThatCannotBeReadYetAreAskedForAgain) {
  rd_kafka_mock_push_request_errors(
      cluster_, kOffsetFetch, 4, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
      RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
      RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED);
  produce(5);
  KafkaReader r(options_, loop_, metrics_, limits_);
  ASSERT_TRUE(r.until([&] { return r.got.size() == 5; }));
  EXPECT_EQ(r.assigned.size(), 1U);
  EXPECT_TRUE(r.leave());
}

TEST_F(KafkaFaults, AnOutOfRangeThatIsNotTrueIsReadAgainFromOurPosition) {
  produce(5);
  rd_kafka_mock_push_request_errors(cluster_, kFetch, 1, RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE);
  KafkaReader r(options_, loop_, metrics_, limits_);
  ASSERT_TRUE(r.until([&] { return r.got.size() == 5; }));
  EXPECT_EQ(r.offsets("0"), (std::vector<std::int64_t>{0, 1, 2, 3, 4}));
  EXPECT_THAT(r.stuck, IsEmpty());
  EXPECT_TRUE(r.leave());
}

TEST_F(KafkaFaults, LeavingIsBoundedWhenTheClusterIsGone) {
  limits_.release_wait = 200ms;
  limits_.leave_wait = 300ms;
  KafkaReader r(options_, loop_, metrics_, limits_);
  settle(r);
  rd_kafka_mock_broker_set_down(cluster_, 1);
  r.hold_release = true;
  EXPECT_TRUE(r.leave(5s));
  EXPECT_EQ(r.losses, 1);
}

TEST_F(KafkaFaults, ClosingBeforeAnythingHappenedIsImmediate) {
  KafkaReader r(options_, loop_, metrics_, limits_);
  r.source.close();
  EXPECT_TRUE(r.source.closed());
}

// A service that is not Kafka: takes connections and answers whatever comes with `answer`, or says
// nothing when that is empty.
class NotKafka {
 public:
  explicit NotKafka(std::string answer) : answer_(std::move(answer)) {
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (::bind(fd_, reinterpret_cast<sockaddr*>(&address), length) != 0 || ::listen(fd_, 8) != 0 ||
        ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &length) != 0)
      throw std::runtime_error("no port");
    address_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    thread_ = std::thread([this] { serve(); });
  }
  ~NotKafka() {
    over_ = true;
    thread_.join();
    ::close(fd_);
  }
  NotKafka(const NotKafka&) = delete;
  NotKafka& operator=(const NotKafka&) = delete;

  [[nodiscard]] const std::string& address() const { return address_; }

 private:
  void serve() {
    std::vector<pollfd> open = {{.fd = fd_, .events = POLLIN, .revents = 0}};
    while (!over_) {
      ::poll(open.data(), open.size(), 20);
      for (std::size_t i = open.size(); i-- > 1;) {
        std::array<char, 4096> bytes{};
        if ((open[i].revents & (POLLIN | POLLHUP | POLLERR)) == 0) continue;
        const ssize_t got = ::recv(open[i].fd, bytes.data(), bytes.size(), 0);
        if (got > 0 && answer_.empty()) continue;
        if (got > 0) ::send(open[i].fd, answer_.data(), answer_.size(), MSG_NOSIGNAL);
        ::close(open[i].fd);
        open.erase(open.begin() + static_cast<std::ptrdiff_t>(i));
      }
      if ((open[0].revents & POLLIN) != 0)
        open.push_back({.fd = ::accept(fd_, nullptr, nullptr), .events = POLLIN, .revents = 0});
    }
    for (std::size_t i = 1; i < open.size(); ++i) ::close(open[i].fd);
  }

  std::string answer_;
  int fd_ = -1;
  std::string address_{};
  std::atomic<bool> over_{false};
  std::thread thread_{};
};

// What a person reads first when the port or security.protocol is wrong.
std::string trouble_at(const NotKafka& service, const std::string& protocol) {
  LiveLoop loop;
  Metrics metrics;
  KafkaOptions options;
  options.brokers = service.address();
  options.topic = "topic";
  options.group = "group";
  options.properties = {{"security.protocol", protocol},
                        {"socket.timeout.ms", "1000"},
                        {"socket.connection.setup.timeout.ms", "1000"}};
  KafkaSourceLimits limits;
  limits.ask_wait = std::chrono::milliseconds(4000);
  KafkaReader r(options, loop, metrics, limits);
  r.until([&] { return r.source.status().trouble.has_value(); });
  const auto trouble = r.source.status().trouble;
  EXPECT_TRUE(r.leave(std::chrono::seconds(2)));
  return trouble ? trouble->message : "";
}

TEST(KafkaTrouble, AWrongSecurityProtocolIsNamed) {
  // A TLS port answers a plain request with an alert (RFC 8446, section 6: fatal, decode_error).
  const NotKafka tls(std::string("\x15\x03\x03\x00\x02\x02\x32", 7));
  EXPECT_THAT(trouble_at(tls, "plaintext"), HasSubstr("set security.protocol to ssl or sasl_ssl"));
  // A port without TLS answers our hello with something else.
  const NotKafka web("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(trouble_at(web, "ssl"), HasSubstr("does not speak TLS"));
}

TEST(KafkaTrouble, AServiceThatTakesConnectionsAndSaysNothingIsNamed) {
  const NotKafka silent("");
  EXPECT_THAT(trouble_at(silent, "plaintext"), HasSubstr("does not answer as Kafka does"));
}

}  // namespace
}  // namespace millrace
