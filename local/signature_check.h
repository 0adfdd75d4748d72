// In front of an imitated service: whoever's signature is wrong is turned away, in the words of
// AWS.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>

#include "core/secret.h"
#include "local/http_service.h"

namespace millrace {

/// The key pair that `millrace emulate` knows when the configuration names no other.
inline constexpr const char* kLocalAccessKeyId = "millrace";
inline constexpr const char* kLocalSecretAccessKey = "millrace-local-secret";

struct SignatureCheckOptions {
  /// Access key id → secret.
  std::map<std::string, Secret, std::less<>> keys{
      {kLocalAccessKeyId, Secret(kLocalSecretAccessKey)}};

  /// Requests of any key, or without a signature, pass unchecked: for clients that bring keys of
  /// their own.
  bool accept_any = false;

  std::chrono::milliseconds skew_max{300'000};
};

/// Verifies Signature Version 4 (header and presigned form, whatever headers the client signed) and
/// passes on what is right, untouched. What is not is answered as the service would: JSON 1.1 error
/// bodies and HTTP 400 for requests with X-Amz-Target, `x-amzn-errortype` and HTTP 403 for REST
/// requests. The region and service of the credential scope are not compared with anything: clients
/// may say any region. Threads: as the service behind it, which, like the clock, must outlive it.
class SignatureCheck final : public HttpService {
 public:
  SignatureCheck(SignatureCheckOptions options, const ServiceClock& clock, HttpService& service)
      : options_(std::move(options)), clock_(clock), service_(service) {}

  HttpResponse handle(const HttpRequest& request) override;

 private:
  const SignatureCheckOptions options_;
  const ServiceClock& clock_;
  HttpService& service_;
  std::atomic<std::uint64_t> refused_{0};
};

}  // namespace millrace
