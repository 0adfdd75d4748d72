#include "ingest/kafka_errors.h"

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <array>

namespace millrace {
namespace {

bool says(std::string_view reason, std::string_view words) {
  return reason.find(words) != std::string_view::npos;
}

// The first row that fits wins: a code (0: any) and words within the reason (empty: any).
struct Row {
  int code;
  std::string_view words;
  int rank;
  ErrorKind kind;
  std::string_view sentence;  // {b} brokers, {t} topic, {g} group
};

constexpr auto kRows = std::to_array<Row>({
    {RD_KAFKA_RESP_ERR__FATAL, "static consumer fenced", 3, ErrorKind::refused,
     "another process runs with the same group.instance.id in group {g}: give each process its "
     "own"},
    {RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, "", 3, ErrorKind::refused,
     "another process runs with the same group.instance.id in group {g}: give each process its "
     "own"},
    {RD_KAFKA_RESP_ERR__FATAL, "", 3, ErrorKind::refused,
     "the Kafka client cannot go on: start again"},

    {RD_KAFKA_RESP_ERR__RESOLVE, "", 3, ErrorKind::transient,
     "a host name in {b} is unknown: check source.kafka.brokers and the DNS (the broker may also "
     "advertise a name that "
     "only its own network knows: advertised.listeners)"},

    {RD_KAFKA_RESP_ERR__AUTHENTICATION, "Failed to acquire SASL OAUTHBEARER token", 3,
     ErrorKind::denied, "no OAUTHBEARER token for {b}: check the sasl.oauthbearer properties"},
    {RD_KAFKA_RESP_ERR__AUTHENTICATION, "Unsupported SASL mechanism", 3, ErrorKind::denied,
     "{b} does not offer this SASL mechanism: set sasl.mechanisms to one that it supports"},
    {RD_KAFKA_RESP_ERR__AUTHENTICATION, "Request not valid in current SASL state", 3,
     ErrorKind::denied,
     "this port of {b} has no SASL: use the SASL port, or set security.protocol to plaintext or "
     "ssl"},
    {RD_KAFKA_RESP_ERR__AUTHENTICATION, "", 3, ErrorKind::denied,
     "{b} refused the login: check sasl.username, sasl.password and sasl.mechanisms"},

    {RD_KAFKA_RESP_ERR__SSL, "unexpected eof", 3, ErrorKind::denied,
     "this port of {b} does not speak TLS: set security.protocol to plaintext or sasl_plaintext, "
     "or use the TLS port"},
    {RD_KAFKA_RESP_ERR__SSL, "wrong version number", 3, ErrorKind::denied,
     "this port of {b} does not speak TLS: set security.protocol to plaintext or sasl_plaintext, "
     "or use the TLS port"},
    {RD_KAFKA_RESP_ERR__SSL, "", 3, ErrorKind::denied,
     "no TLS connection to {b}: check ssl.ca.location and the broker's certificate"},
    {RD_KAFKA_RESP_ERR__TRANSPORT, "SSL alert number", 3, ErrorKind::denied,
     "{b} refused our TLS certificate or asks for one: set ssl.certificate.location and "
     "ssl.key.location"},
    {RD_KAFKA_RESP_ERR__TRANSPORT, "SSL_HANDSHAKE", 3, ErrorKind::denied,
     "this port of {b} does not speak TLS: set security.protocol to plaintext or sasl_plaintext, "
     "or use the TLS port"},
    {RD_KAFKA_RESP_ERR__TRANSPORT, "might require SASL", 3, ErrorKind::denied,
     "{b} hung up: it may ask for a login: set security.protocol to sasl_plaintext or sasl_ssl"},
    {RD_KAFKA_RESP_ERR__TRANSPORT, "incorrect security.protocol", 3, ErrorKind::denied,
     "{b} hung up on a plain connection: set security.protocol to ssl or sasl_ssl"},
    {RD_KAFKA_RESP_ERR__TRANSPORT, "Connection refused", 2, ErrorKind::transient,
     "nothing listens at {b}: is Kafka running there, and is the port right?"},
    {RD_KAFKA_RESP_ERR__TRANSPORT, "state CONNECT", 2, ErrorKind::transient,
     "no answer from {b}: something on the way drops the connection (security group, firewall, "
     "VPC)"},
    {RD_KAFKA_RESP_ERR__TRANSPORT, "state APIVERSION_QUERY", 2, ErrorKind::transient,
     "{b} takes connections but does not answer as Kafka does: another service, or a broker that "
     "is overloaded"},
    {RD_KAFKA_RESP_ERR__TRANSPORT, "", 1, ErrorKind::transient, "the connection to {b} broke"},
    {RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, "", 1, ErrorKind::transient,
     "none of the brokers at {b} can be reached"},
    {RD_KAFKA_RESP_ERR__TIMED_OUT, "", 1, ErrorKind::transient, "{b} did not answer in time"},
    {RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE, "", 1, ErrorKind::transient, "{b} did not answer in time"},

    {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, "", 3, ErrorKind::denied,
     "no permission for consumer group {g}: grant READ on the group"},
    {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, "Fetch from broker", 3, ErrorKind::denied,
     "no permission to read topic {t}: grant READ on the topic"},
    {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, "", 3, ErrorKind::denied,
     "no permission for topic {t}: grant DESCRIBE and READ on the topic (WRITE to produce)"},
    {RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, "", 3, ErrorKind::denied,
     "no permission on the cluster at {b}: grant it (IDEMPOTENT_WRITE to produce)"},
    {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, "", 3, ErrorKind::not_found,
     "topic {t} does not exist at {b}, or we may not see it: check the name, or grant DESCRIBE on "
     "the topic"},
    {RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, "", 3, ErrorKind::not_found,
     "topic {t} does not exist at {b}, or we may not see it: check the name, or grant DESCRIBE on "
     "the topic"},
    {RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, "", 3, ErrorKind::not_found,
     "a partition of topic {t} is gone: was the topic deleted?"},
    {RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, "", 3, ErrorKind::invalid,
     "{t} cannot be the name of a topic"},

    {RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL, "", 3, ErrorKind::refused,
     "another program uses group {g} with other settings: give millrace a group of its own"},
    {RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT, "", 3, ErrorKind::invalid,
     "{b} does not allow this session.timeout.ms: choose one between its group.min and "
     "group.max.session.timeout.ms"},
    {RD_KAFKA_RESP_ERR_GROUP_MAX_SIZE_REACHED, "", 3, ErrorKind::refused,
     "group {g} is full (the broker's group.max.size): stop other members or raise the limit"},
    {RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED, "", 2, ErrorKind::transient,
     "group {g} was left because this program was busy or stopped for longer than "
     "max.poll.interval.ms"},
    {RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, "", 2, ErrorKind::conflict,
     "group {g} has gone on without us"},
    {RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, "", 2, ErrorKind::conflict,
     "group {g} has gone on without us"},
    {RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST, "", 2, ErrorKind::conflict,
     "group {g} has gone on without us"},
    {RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, "", 1, ErrorKind::transient,
     "group {g} is being rebalanced"},
    {RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE, "", 3, ErrorKind::rejected,
     "{b} takes no commit note of this length: raise its offset.metadata.max.bytes to 4096"},
    {RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, "", 1, ErrorKind::transient,
     "the coordinator of group {g} is starting"},
    {RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, "", 1, ErrorKind::transient,
     "group {g} has no coordinator at the moment"},
    {RD_KAFKA_RESP_ERR_NOT_COORDINATOR, "", 1, ErrorKind::transient,
     "the coordinator of group {g} is moving"},
    {RD_KAFKA_RESP_ERR__WAIT_COORD, "", 1, ErrorKind::transient,
     "group {g} has no coordinator at the moment"},

    {RD_KAFKA_RESP_ERR__BAD_MSG, "", 3, ErrorKind::corrupt, "a damaged batch in topic {t}"},
    {RD_KAFKA_RESP_ERR__BAD_COMPRESSION, "", 3, ErrorKind::corrupt,
     "a batch in topic {t} that cannot be decompressed"},
    {RD_KAFKA_RESP_ERR_INVALID_MSG, "", 3, ErrorKind::corrupt, "a damaged batch in topic {t}"},
    {RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, "", 3, ErrorKind::refused,
     "a position in topic {t} is no longer in its log"},
    {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, "", 3, ErrorKind::rejected,
     "a record is larger than topic {t} takes: raise its max.message.bytes (and message.max.bytes "
     "here)"},
    {RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, "", 1, ErrorKind::transient,
     "{b} did not take a record in time"},
    {RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION, "", 3, ErrorKind::refused,
     "the broker at {b} is too old or too new for this client: Kafka 2.3 to 4.1 are known to work"},
    {RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE, "", 3, ErrorKind::refused,
     "the broker at {b} is too old or too new for this client: Kafka 2.3 to 4.1 are known to work"},
    {RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED, "", 3, ErrorKind::corrupt,
     "topic {t} holds data that this client cannot read"},
    {0, "", 1, ErrorKind::transient, "Kafka at {b} reported an error"},
});

const Row& row_of(const KafkaFault& fault) {
  return *std::find_if(kRows.begin(), kRows.end(), [&](const Row& row) {
    return (row.code == 0 || row.code == fault.code) && says(fault.reason, row.words);
  });
}

// The same text of librdkafka for every one of these: only OpenSSL's number tells them apart.
std::string_view certificate_sentence(int x509_error) {
  switch (x509_error) {
    case 0:
      return {};
    case 10:
      return "the certificate of {b} has expired";
    case 9:
      return "the certificate of {b} is not valid yet: is this machine's clock right?";
    case 18:
    case 19:
    case 20:
    case 21:
      return "the certificate of {b} comes from an authority that we do not know: set "
             "ssl.ca.location";
    case 62:
      return "the certificate of {b} is for another host name: use a name that it contains in "
             "source.kafka.brokers";
    case 64:
      return "the certificate of {b} is not for this IP address: use its host name in "
             "source.kafka.brokers";
    default:
      return "the certificate of {b} was not accepted";
  }
}

std::string filled(std::string_view sentence, const KafkaPlace& place) {
  std::string out;
  for (std::size_t i = 0; i < sentence.size(); ++i) {
    if (sentence[i] == '{' && i + 2 < sentence.size() && sentence[i + 2] == '}') {
      const char which = sentence[i + 1];
      out += which == 'b' ? place.brokers : which == 't' ? place.topic : place.group;
      i += 2;
    } else {
      out += sentence[i];
    }
  }
  return out;
}

// librdkafka's texts may span lines and be long; one line is enough.
std::string one_line(std::string_view text) {
  constexpr std::size_t kBytesMax = 300;
  std::string out(text.substr(0, kBytesMax));
  std::replace_if(
      out.begin(), out.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; }, ' ');
  return out;
}

}  // namespace

Error explain_kafka(const KafkaFault& fault, const KafkaPlace& place) {
  const Row& row = row_of(fault);
  std::string_view sentence = row.sentence;
  if (fault.code == RD_KAFKA_RESP_ERR__SSL && says(fault.reason, "certificate verify failed") &&
      fault.x509_error != 0)
    sentence = certificate_sentence(fault.x509_error);
  Error error{.kind = row.kind,
              .message = filled(sentence, place),
              .code = {},
              .retry_after = std::nullopt};
  error.code = rd_kafka_err2name(static_cast<rd_kafka_resp_err_t>(fault.code));
  if (!fault.reason.empty()) error.message += " (" + one_line(fault.reason) + ")";
  return error;
}

int telling_rank(const KafkaFault& fault) {
  if (fault.code == RD_KAFKA_RESP_ERR_NO_ERROR || fault.code == RD_KAFKA_RESP_ERR__PARTITION_EOF)
    return 0;
  return row_of(fault).rank;
}

CommitVerdict judge_commit(int code) {
  switch (code) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
      return CommitVerdict::written;
    case RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID:
    case RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST:
    case RD_KAFKA_RESP_ERR__DESTROY:
    case RD_KAFKA_RESP_ERR__STATE:
    case RD_KAFKA_RESP_ERR__FENCED:
      return CommitVerdict::tenure_over;
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
    case RD_KAFKA_RESP_ERR__FATAL:
      return CommitVerdict::fatal;
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
      return CommitVerdict::denied;
    case RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_COMMIT_OFFSET_SIZE:
    case RD_KAFKA_RESP_ERR__INVALID_ARG:
    case RD_KAFKA_RESP_ERR__NO_OFFSET:
      return CommitVerdict::rejected;
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__WAIT_COORD:
    case RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_COORDINATOR:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
    case RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT:
      return CommitVerdict::again;
    // What nobody foresaw ends the tenure: repeating it across a rebalance could write over the
    // next owner's note.
    default:
      return CommitVerdict::tenure_over;
  }
}

}  // namespace millrace
