// The bad days of a service, on demand: lost replies, 5xx, throttles and slowness, in front of an
// imitation that is itself well.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

#include "core/rng.h"
#include "local/http_service.h"

namespace millrace {

struct FaultyServiceOptions {
  std::uint64_t seed = 1;

  // Each with its own draw per request; the first that hits is the one that happens.
  double throttle = 0;      // HTTP 400 with `throttle_code`, no effect
  double failure = 0;       // HTTP 500 InternalFailure, no effect
  double unavailable = 0;   // HTTP 503 with a body that is not JSON, no effect
  double reply_lost = 0;    // the service did it, the connection is cut before the answer
  double late_failure = 0;  // the service did it, and HTTP 500 says otherwise
  double cut_short = 0;     // half of the answer's body arrives as if it were all

  std::uint64_t every_nth_reply_lost = 0;  // and the n-th, 2n-th, … request, for plain tests
  std::string throttle_code = "ProvisionedThroughputExceededException";

  /// Called before each request is handled, outside of any lock: a test may sleep, block or stop
  /// the clock in it.
  std::function<void(const HttpRequest&)> before{};
};

/// The status that stands for "the connection was cut": the loopback server closes the connection,
/// LocalHttpClient (tests/fakes/local_http_client.h) gives an `ambiguous` error.
inline constexpr int kConnectionCut = -1;

/// Threads: any. What happens is a function of the seed and the order of requests.
class FaultyService final : public HttpService {
 public:
  FaultyService(FaultyServiceOptions options, HttpService& service)
      : options_(std::move(options)), service_(service), rng_(options_.seed) {}

  HttpResponse handle(const HttpRequest& request) override;

  /// From now on, or no longer, every request passes untouched.
  void set_well(bool well);
  /// Requests that met a fault.
  [[nodiscard]] std::uint64_t faults() const;

 private:
  enum class Fault { none, throttle, failure, unavailable, reply_lost, late_failure, cut_short };
  Fault draw();

  const FaultyServiceOptions options_;
  HttpService& service_;
  mutable std::mutex mutex_{};  // guards the draws: requests come on many threads
  Rng rng_;
  bool well_ = false;
  std::uint64_t requests_ = 0;
  std::uint64_t faults_ = 0;
};

}  // namespace millrace
