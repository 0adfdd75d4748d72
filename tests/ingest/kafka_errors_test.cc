// The table of sentences: one line per row, with the texts that librdkafka 2.0.2 was seen to give.
#include "ingest/kafka_errors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <vector>

namespace millrace {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const KafkaPlace kPlace{.brokers = "kafka:9092", .topic = "clicks", .group = "shop-lake"};

struct Case {
  int code;
  const char* reason;
  const char* says;
  ErrorKind kind;
  int rank;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {RD_KAFKA_RESP_ERR__TRANSPORT,
       "kafka:9092/bootstrap: Connect to ipv4#10.0.0.1:9092 failed: Connection refused",
       "nothing listens at kafka:9092", ErrorKind::transient, 2},
      {RD_KAFKA_RESP_ERR__RESOLVE, "Failed to resolve 'kafka:9092': Name or service not known",
       "a host name in kafka:9092 is unknown", ErrorKind::transient, 3},
      {RD_KAFKA_RESP_ERR__TRANSPORT,
       "Connection setup timed out in state CONNECT (after 30000ms in state CONNECT)",
       "security group, firewall", ErrorKind::transient, 2},
      {RD_KAFKA_RESP_ERR__TRANSPORT, "Connection setup timed out in state APIVERSION_QUERY",
       "does not answer as Kafka does", ErrorKind::transient, 2},
      {RD_KAFKA_RESP_ERR__TRANSPORT,
       "Disconnected while requesting ApiVersion: might be caused by incorrect security.protocol "
       "configuration",
       "set security.protocol to ssl or sasl_ssl", ErrorKind::denied, 3},
      {RD_KAFKA_RESP_ERR__SSL,
       "SSL handshake failed: unexpected eof while reading (after 2ms in state SSL_HANDSHAKE)",
       "does not speak TLS", ErrorKind::denied, 3},
      {RD_KAFKA_RESP_ERR__TRANSPORT,
       "Disconnected: unexpected eof while reading (after 2ms in state SSL_HANDSHAKE)",
       "does not speak TLS", ErrorKind::denied, 3},
      {RD_KAFKA_RESP_ERR__SSL, "SSL routines::wrong version number", "does not speak TLS",
       ErrorKind::denied, 3},
      {RD_KAFKA_RESP_ERR__SSL,
       "SSL handshake failed: certificate verify failed: broker certificate could not be verified",
       "check ssl.ca.location", ErrorKind::denied, 3},
      {RD_KAFKA_RESP_ERR__TRANSPORT,
       "sslv3 alert bad certificate: SSL alert number 42 (in state APIVERSION_QUERY)",
       "set ssl.certificate.location", ErrorKind::denied, 3},
      {RD_KAFKA_RESP_ERR__AUTHENTICATION,
       "SASL authentication error: Authentication failed: Invalid username or password",
       "check sasl.username, sasl.password", ErrorKind::denied, 3},
      {RD_KAFKA_RESP_ERR__AUTHENTICATION,
       "Unsupported SASL mechanism: broker's supported mechanisms: PLAIN,SCRAM-SHA-256,OAUTHBEARER",
       "SCRAM-SHA-256,OAUTHBEARER", ErrorKind::denied, 3},
      {RD_KAFKA_RESP_ERR__AUTHENTICATION, "Request not valid in current SASL state",
       "this port of kafka:9092 has no SASL", ErrorKind::denied, 3},
      {RD_KAFKA_RESP_ERR__AUTHENTICATION,
       "Failed to acquire SASL OAUTHBEARER token: no credentials", "no OAUTHBEARER token",
       ErrorKind::denied, 3},
      {RD_KAFKA_RESP_ERR__TRANSPORT,
       "Disconnected: verify that security.protocol is correctly configured, broker might require "
       "SASL authentication",
       "set security.protocol to sasl_plaintext or sasl_ssl", ErrorKind::denied, 3},
      {RD_KAFKA_RESP_ERR__TRANSPORT, "Disconnected (after 8159ms in state UP)",
       "the connection to kafka:9092 broke", ErrorKind::transient, 1},
      {RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, "1/1 brokers are down", "none of the brokers",
       ErrorKind::transient, 1},
      {RD_KAFKA_RESP_ERR__TIMED_OUT, "", "did not answer in time", ErrorKind::transient, 1},
      {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
       "FindCoordinator response error: Group authorization failed.", "grant READ on the group",
       ErrorKind::denied, 3},
      {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
       "Subscribed topic not available: clicks: Broker: Topic authorization failed",
       "grant DESCRIBE and READ on the topic", ErrorKind::denied, 3},
      {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
       "Fetch from broker 1 failed: Broker: Topic authorization failed",
       "no permission to read topic clicks: grant READ", ErrorKind::denied, 3},
      {RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, "", "IDEMPOTENT_WRITE", ErrorKind::denied,
       3},
      {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, "Subscribed topic not available: clicks",
       "topic clicks does not exist at kafka:9092, or we may not see it", ErrorKind::not_found, 3},
      {RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, "", "does not exist", ErrorKind::not_found, 3},
      {RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, "desired partition is no longer available",
       "was the topic deleted?", ErrorKind::not_found, 3},
      {RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, "", "cannot be the name of a topic", ErrorKind::invalid,
       3},
      {RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL, "", "give millrace a group of its own",
       ErrorKind::refused, 3},
      {RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT, "", "group.min and group.max.session.timeout.ms",
       ErrorKind::invalid, 3},
      {RD_KAFKA_RESP_ERR_GROUP_MAX_SIZE_REACHED, "", "group shop-lake is full", ErrorKind::refused,
       3},
      {RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED, "", "max.poll.interval.ms", ErrorKind::transient, 2},
      {RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, "", "has gone on without us", ErrorKind::conflict, 2},
      {RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, "", "has gone on without us", ErrorKind::conflict, 2},
      {RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST, "", "has gone on without us", ErrorKind::conflict, 2},
      {RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, "", "is being rebalanced", ErrorKind::transient, 1},
      {RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE, "", "offset.metadata.max.bytes",
       ErrorKind::rejected, 3},
      {RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, "", "is starting", ErrorKind::transient, 1},
      {RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, "", "no coordinator", ErrorKind::transient, 1},
      {RD_KAFKA_RESP_ERR_NOT_COORDINATOR, "", "is moving", ErrorKind::transient, 1},
      {RD_KAFKA_RESP_ERR__WAIT_COORD, "", "no coordinator", ErrorKind::transient, 1},
      {RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, "", "same group.instance.id", ErrorKind::refused, 3},
      {RD_KAFKA_RESP_ERR__FATAL, "Fatal error: static consumer fenced by other consumer",
       "same group.instance.id", ErrorKind::refused, 3},
      {RD_KAFKA_RESP_ERR__FATAL, "anything else", "cannot go on", ErrorKind::refused, 3},
      {RD_KAFKA_RESP_ERR__BAD_MSG, "MessageSet at offset 0 failed CRC32C check", "a damaged batch",
       ErrorKind::corrupt, 3},
      {RD_KAFKA_RESP_ERR__BAD_COMPRESSION, "", "cannot be decompressed", ErrorKind::corrupt, 3},
      {RD_KAFKA_RESP_ERR_INVALID_MSG, "", "a damaged batch", ErrorKind::corrupt, 3},
      {RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED, "Unsupported Message(Set) MagicByte 106", "cannot read",
       ErrorKind::corrupt, 3},
      {RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, "", "no longer in its log", ErrorKind::refused, 3},
      {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, "", "max.message.bytes", ErrorKind::rejected, 3},
      {RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, "", "did not take a record in time", ErrorKind::transient,
       1},
      {RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION, "", "too old or too new", ErrorKind::refused, 3},
      {RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE, "", "too old or too new", ErrorKind::refused, 3},
      {RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR, "Disk error", "reported an error (Disk error)",
       ErrorKind::transient, 1},
  };
  return all;
}

TEST(KafkaErrors, EachCauseHasItsSentence) {
  for (const Case& c : cases()) {
    const KafkaFault fault{.code = c.code, .reason = c.reason};
    const Error error = explain_kafka(fault, kPlace);
    EXPECT_THAT(error.message, HasSubstr(c.says)) << error.code;
    EXPECT_EQ(error.kind, c.kind) << error.code << ": " << error.message;
    EXPECT_EQ(telling_rank(fault), c.rank) << error.code << ": " << error.message;
    EXPECT_EQ(error.code, rd_kafka_err2name(static_cast<rd_kafka_resp_err_t>(c.code)));
    EXPECT_THAT(error.message, Not(HasSubstr("{"))) << "every place is named";
  }
}

TEST(KafkaErrors, CertificatesAreToldApartByOpenSslsVerdict) {
  const auto said = [](int verdict) {
    return explain_kafka({.code = RD_KAFKA_RESP_ERR__SSL,
                          .reason = "SSL handshake failed: certificate verify failed",
                          .x509_error = verdict},
                         kPlace)
        .message;
  };
  EXPECT_THAT(said(10), HasSubstr("has expired"));
  EXPECT_THAT(said(9), HasSubstr("not valid yet"));
  EXPECT_THAT(said(18), HasSubstr("set ssl.ca.location"));
  EXPECT_THAT(said(20), HasSubstr("set ssl.ca.location"));
  EXPECT_THAT(said(62), HasSubstr("another host name"));
  EXPECT_THAT(said(64), HasSubstr("not for this IP address"));
  EXPECT_THAT(said(23), HasSubstr("was not accepted"));
}

TEST(KafkaErrors, AnOldVerdictDoesNotColourOtherErrors) {
  EXPECT_THAT(
      explain_kafka(
          {.code = RD_KAFKA_RESP_ERR__TRANSPORT, .reason = "Connection refused", .x509_error = 10},
          kPlace)
          .message,
      HasSubstr("nothing listens"));
}

TEST(KafkaErrors, MessagesAreOneLineOfBoundedLength) {
  const Error error = explain_kafka(
      {.code = RD_KAFKA_RESP_ERR__RESOLVE, .reason = std::string(5000, 'x') + "\n"}, kPlace);
  EXPECT_LT(error.message.size(), 700U);
  const Error broken =
      explain_kafka({.code = RD_KAFKA_RESP_ERR__RESOLVE, .reason = "a\nb\tc"}, kPlace);
  EXPECT_THAT(broken.message, HasSubstr("(a b c)"));
}

TEST(KafkaErrors, TheEndOfAPartitionIsNoTrouble) {
  EXPECT_EQ(telling_rank({.code = RD_KAFKA_RESP_ERR__PARTITION_EOF}), 0);
  EXPECT_EQ(telling_rank({.code = RD_KAFKA_RESP_ERR_NO_ERROR}), 0);
}

TEST(KafkaErrors, CommitAnswersAreJudgedOneByOne) {
  using V = CommitVerdict;
  const std::vector<std::pair<int, V>> table = {
      {RD_KAFKA_RESP_ERR_NO_ERROR, V::written},
      {RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, V::tenure_over},
      {RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, V::tenure_over},
      {RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST, V::tenure_over},
      {RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, V::fatal},
      {RD_KAFKA_RESP_ERR__FATAL, V::fatal},
      {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, V::denied},
      {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, V::denied},
      {RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE, V::rejected},
      {RD_KAFKA_RESP_ERR_INVALID_COMMIT_OFFSET_SIZE, V::rejected},
      {RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, V::again},
      {RD_KAFKA_RESP_ERR__TIMED_OUT, V::again},
      {RD_KAFKA_RESP_ERR__TRANSPORT, V::again},
      {RD_KAFKA_RESP_ERR__WAIT_COORD, V::again},
      {RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, V::again},
      {RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, V::again},
      {RD_KAFKA_RESP_ERR_NOT_COORDINATOR, V::again},
      {RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, V::again},
      {RD_KAFKA_RESP_ERR_UNKNOWN, V::tenure_over},  // what nobody foresaw
  };
  for (const auto& [code, verdict] : table)
    EXPECT_EQ(judge_commit(code), verdict)
        << rd_kafka_err2name(static_cast<rd_kafka_resp_err_t>(code));
}

}  // namespace
}  // namespace millrace
