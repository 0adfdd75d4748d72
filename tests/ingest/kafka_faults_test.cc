// KafkaSource against librdkafka's own mock cluster, which fails when told to.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <array>

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

}  // namespace
}  // namespace millrace
