#include "ingest/kafka_properties.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ingest/kafka_probe.h"
#include "ingest/kafka_producer.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(KafkaProperties, TakesWhatLibrdkafkaKnows) {
  EXPECT_TRUE(check_kafka_properties({}));
  EXPECT_TRUE(check_kafka_properties({{"security.protocol", "sasl_ssl"},
                                      {"sasl.mechanisms", "SCRAM-SHA-512"},
                                      {"sasl.username", "u"},
                                      {"sasl.password", "p"},
                                      {"group.instance.id", "host-1"},
                                      {"client.rack", "a"},
                                      {"session.timeout.ms", "10000"}}));
}

TEST(KafkaProperties, NamesTheUnknownOneAndTheBadValue) {
  const auto unknown = check_kafka_properties({{"sesion.timeout.ms", "1"}});
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().kind, ErrorKind::invalid);
  EXPECT_THAT(unknown.error().message, HasSubstr("sesion.timeout.ms"));
  EXPECT_THAT(unknown.error().message, HasSubstr("No such configuration property"));
  const auto bad = check_kafka_properties({{"session.timeout.ms", "soon"}});
  ASSERT_FALSE(bad);
  EXPECT_THAT(bad.error().message, HasSubstr("session.timeout.ms"));
}

TEST(KafkaProperties, RefusesWhatMillraceSetsItselfAndSaysWhy) {
  for (const char* name : {"bootstrap.servers", "metadata.broker.list", "group.id",
                           "auto.offset.reset", "enable.auto.commit", "enable.auto.offset.store",
                           "enable.partition.eof", "partition.assignment.strategy", "check.crcs",
                           "log.queue", "enable.idempotence", "plugin.library.paths"}) {
    const auto status = check_kafka_properties({{name, "true"}});
    ASSERT_FALSE(status) << name;
    EXPECT_EQ(status.error().kind, ErrorKind::invalid);
    EXPECT_THAT(status.error().message,
                HasSubstr(std::string(name) + " is set by millrace itself: "));
  }
}

TEST(KafkaProperties, NeverRepeatsASecret) {
  const auto status = check_kafka_properties(
      {{"ssl.key.pem", "hunter2"}, {"sasl.oauthbearer.client.secretx", "hunter2"}});
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, Not(HasSubstr("hunter2")));
}

TEST(KafkaProperties, ReadAheadStaysWithinItsShare) {
  for (const std::size_t partitions : {1U, 4U, 12U, 100U}) {
    const std::size_t bytes_max = std::size_t{32} << 20;
    const ReadAhead split = split_read_ahead(bytes_max, partitions);
    const std::size_t worst =
        partitions * (split.queued_kbytes * 1024 + split.queued_messages * kQueuedMessageBytes +
                      split.fetch_bytes);
    EXPECT_LE(worst, bytes_max) << partitions;
    EXPECT_GE(worst, bytes_max / 2) << "and uses it, partitions " << partitions;
  }
  // A floor, so that anything flows at all; and no division by nothing.
  EXPECT_EQ(split_read_ahead(0, 0).queued_kbytes, 16U);
  EXPECT_EQ(split_read_ahead(1, 1000).fetch_bytes, std::size_t{16} << 10);
}

TEST(KafkaProperties, AMissingCertificateFileIsAnErrorOfTheConfiguration) {
  KafkaOptions options;
  options.brokers = "127.0.0.1:1";
  options.topic = "t";
  options.properties = {{"security.protocol", "ssl"}, {"ssl.ca.location", "/nowhere/ca.pem"}};
  const auto facts = probe_kafka(options, 1s);
  ASSERT_FALSE(facts);
  EXPECT_EQ(facts.error().kind, ErrorKind::invalid);
  EXPECT_THAT(facts.error().message, HasSubstr("ssl.ca.location"));
}

TEST(KafkaProbe, NamesTheCauseWhenNothingListensAndWhenAHostIsUnknown) {
  KafkaOptions options;
  options.topic = "t";
  options.brokers = "127.0.0.1:1";
  const auto refused = probe_kafka(options, 500ms);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("nothing listens at 127.0.0.1:1"));
  EXPECT_TRUE(refused.error().retryable());
  options.brokers = "no-such-host.invalid:9092";
  const auto unknown = probe_kafka(options, 10s);
  ASSERT_FALSE(unknown);
  EXPECT_THAT(unknown.error().message,
              HasSubstr("a host name in no-such-host.invalid:9092 is unknown"));
}

TEST(KafkaProducerWithoutBroker, FailsWithTheCauseOnceARecordIsTooOld) {
  auto producer = KafkaProducer::make(
      {.brokers = "127.0.0.1:1", .topic = "t", .record_wait_max = 300ms}, Log());
  ASSERT_TRUE(producer) << producer.error().message;
  ASSERT_TRUE((*producer)->produce("k", "v"));
  const Status flushed = (*producer)->flush();
  ASSERT_FALSE(flushed);
  EXPECT_THAT(flushed.error().message, HasSubstr("nothing listens at 127.0.0.1:1"));
  EXPECT_EQ((*producer)->confirmed(), 0U);
  EXPECT_FALSE((*producer)->produce("k", "v")) << "final";
}

TEST(KafkaProducerWithoutBroker, RefusesPropertiesThatMillraceOwns) {
  const auto producer = KafkaProducer::make(
      {.brokers = "b:1", .topic = "t", .properties = {{"enable.idempotence", "false"}}}, Log());
  ASSERT_FALSE(producer);
  EXPECT_EQ(producer.error().kind, ErrorKind::invalid);
}

TEST(GroupTraffic, SendsNothingOnceAnAnswerOrAJoinHasComeBetween) {
  constexpr int kJoinGroup = 11;
  constexpr int kHeartbeat = 12;
  constexpr int kSyncGroup = 14;
  GroupTraffic traffic;
  int sent = 0;
  const auto send = [&] { ++sent; };
  const GroupTraffic::Seen quiet = traffic.seen();
  EXPECT_TRUE(traffic.send_if_still(quiet, send));
  traffic.note_answered(kHeartbeat, true);
  EXPECT_FALSE(traffic.send_if_still(quiet, send)) << "it may have asked for a rebalance";
  EXPECT_TRUE(traffic.send_if_still(traffic.seen(), send));
  const GroupTraffic::Seen before_join = traffic.seen();
  traffic.note_sent(kJoinGroup);
  EXPECT_FALSE(traffic.send_if_still(before_join, send));
  traffic.note_answered(kJoinGroup, true);
  EXPECT_TRUE(traffic.seen().joining) << "until SyncGroup is answered";
  traffic.note_answered(kSyncGroup, true);
  EXPECT_FALSE(traffic.seen().joining);
  EXPECT_EQ(sent, 2);
  EXPECT_EQ(traffic.answers_heard(), 3U);
}

}  // namespace
}  // namespace millrace
