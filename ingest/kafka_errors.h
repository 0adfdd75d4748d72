// What librdkafka says and what a person should hear: one table of sentences, and one judgement of
// commit errors. Pure. Codes are librdkafka's `rd_kafka_resp_err_t` as plain numbers (rdkafka.h;
// below zero: found by the client itself, from zero: the broker's own, "A Guide to the Kafka
// Protocol", error codes), so that no caller needs its header.
#pragma once

#include <string>
#include <string_view>

#include "core/result.h"

namespace millrace {

/// Whose error it is: named in the sentences.
struct KafkaPlace {
  std::string brokers{};
  std::string topic{};
  std::string group{};  // empty for a producer
};

/// One thing that librdkafka reported. `reason` is its text; `x509_error` is OpenSSL's verdict on
/// the broker's certificate (X509_V_ERR_*, see x509_vfy.h), 0 when there was none.
struct KafkaFault {
  int code = 0;
  std::string reason{};
  int x509_error = 0;
};

/// One line for a person: what happened, where, what to do, with librdkafka's own words at the end.
/// Error::code is librdkafka's name of the error ("_RESOLVE").
Error explain_kafka(const KafkaFault& fault, const KafkaPlace& place);

/// How much a fault explains, when several arrive for one cause: a wrong password is worth more
/// than "all brokers are down", which follows from it. 0 says nothing (end of partition, a clean
/// disconnect), 3 names the cause.
int telling_rank(const KafkaFault& fault);

/// What an answer to a commit means for the tenure it was made in.
enum class CommitVerdict {
  written,
  again,   // nothing is known or nothing was written: the same commit again, while the tenure lasts
  denied,  // the same, but a person must act first
  tenure_over,  // the group has gone on without us: nothing was written, nothing more may be
  rejected,     // this commit can never be written (a note too long)
  fatal,        // the whole handle is dead (another process has our group.instance.id)
};
CommitVerdict judge_commit(int code);

}  // namespace millrace
