// One signed AWS call, tried a few times: what every typed call of this folder goes through.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "aws/credentials.h"
#include "aws/http_client.h"
#include "aws/sigv4.h"
#include "core/log.h"
#include "core/pause.h"
#include "core/result.h"
#include "core/retry_policy.h"
#include "core/time.h"

namespace millrace {

/// How far the services' clock is ahead of ours, for signatures only: measured from the Date header
/// once a service refuses ours, shared by all clients of the process. Threads: any.
class ClockOffset {
 public:
  [[nodiscard]] std::chrono::milliseconds get() const {
    return std::chrono::milliseconds(milliseconds_.load(std::memory_order_relaxed));
  }
  void set(std::chrono::milliseconds offset) {
    milliseconds_.store(offset.count(), std::memory_order_relaxed);
  }

 private:
  std::atomic<std::int64_t> milliseconds_{0};
};

/// What all clients of one process share. Everything referred to must outlive the clients.
struct AwsRuntime {
  HttpClient& http;
  CredentialsProvider& credentials;
  ClockOffset& clock_offset;
  Pause& pause;
  const Log& log;
  std::function<WallTime()> wall_time{};  // for signatures
  std::uint64_t seed = 1;                 // of the retry jitter
};

struct AwsCall {
  std::string_view operation{};  // "PutEvents": for messages
  std::string method = "POST";
  std::string target = "/";  // path and query, already encoded
  std::vector<HttpHeader> headers{};
  std::string body{};
  /// Whether sending it again after a lost reply is harmless. Otherwise an `ambiguous` error is
  /// given back at once and the caller finds out what happened (a create without a name).
  bool repeatable = true;
  std::chrono::milliseconds timeout{30'000};  // of one attempt
};

/// Threads: any; call() blocks, so only inside Loop::offload or on a command's own thread.
class AwsClient {
 public:
  struct Options {
    AwsService service{};
    std::string region{};
    std::string endpoint{};  // of resolve_endpoint()
    /// Three: standard mode of the AWS SDKs. Whoever must not give up (a sink, a source) has a
    /// paced retry of its own around it.
    std::uint32_t attempts_max = 3;
    RetryPolicy retry{};
  };

  AwsClient(Options options, AwsRuntime runtime);
  AwsClient(const AwsClient&) = delete;
  AwsClient& operator=(const AwsClient&) = delete;

  /// A 2xx answer, or the service's error by aws_error.h, after at most `attempts_max` tries, each
  /// signed anew. Besides those, at most one immediate try each after a clock that was off by four
  /// minutes or more (the offset is then kept for all clients) and after credentials that the
  /// service calls expired and the provider has replaced. A stop (Pause) ends the tries.
  Result<HttpResponse> call(AwsCall call);

  [[nodiscard]] const std::string& region() const { return options_.region; }
  [[nodiscard]] const std::string& endpoint() const { return options_.endpoint; }

 private:
  const Options options_;
  const AwsRuntime runtime_;
  SigningKeyCache signing_keys_{};
  std::atomic<std::uint64_t> retries_{0};  // draws a new jitter for each retry, whatever the thread
};

/// Region, endpoint and options of a client in one step, from the configuration and environment.
Result<AwsClient::Options> aws_client_options(const AwsService& service, const AwsOptions& options,
                                              const Environment& environment);

}  // namespace millrace
