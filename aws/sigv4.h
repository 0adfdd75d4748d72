// Signature Version 4, both sides: signing our own requests, and checking other people's for the
// embedded services. Pure: bytes and a time in, bytes out. Source: AWS Identity and Access
// Management User Guide, "Create a signed AWS API request"; S3's differences from the Amazon S3 API
// Reference, "Authenticating Requests: Using the Authorization Header".
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "aws/credentials.h"
#include "aws/http_client.h"
#include "core/result.h"
#include "core/time.h"

namespace millrace {

/// 32 bytes of HMAC: valid for one secret, UTC date, region and service.
using SigningKey = std::array<unsigned char, 32>;

SigningKey derive_signing_key(const Secret& secret, std::string_view date_yyyymmdd,
                              std::string_view region, std::string_view service);

/// The last signing key: four HMACs saved per call. A new date, secret, region or service replaces
/// it. Threads: any, without a lock (readers share the entry they found).
class SigningKeyCache {
 public:
  SigningKey get(const Secret& secret, std::string_view date_yyyymmdd, std::string_view region,
                 std::string_view service);

 private:
  struct Entry {
    Secret secret{};
    std::string date{};
    std::string region{};
    std::string service{};
    SigningKey key{};
  };
  std::atomic<std::shared_ptr<const Entry>> entry_{};
};

struct SigningOptions {
  std::string region{};
  std::string service{};  // "s3" keeps the path as sent and adds x-amz-content-sha256
  WallTime time{};
  bool normalize_path = true;            // dot and empty segments; never for s3
  SigningKeyCache* key_cache = nullptr;  // optional; must outlive the call
};

/// What was hashed, in the standard's words: to compare with the vectors others publish.
struct SignatureStages {
  std::string canonical_request{};
  std::string string_to_sign{};
  std::string signature{};  // 64 hex digits
};

/// Adds host, x-amz-date, x-amz-security-token (with temporary credentials), x-amz-content-sha256
/// (s3) and authorization to `request`, replacing what an earlier attempt left there, and signs all
/// headers except those that proxies and HTTP libraries change (user-agent, connection,
/// amz-sdk-request, …). `request.url` must be absolute and go out exactly as it is. The signature
/// is good for some minutes: sign when sending, not when queueing.
SignatureStages sign_request(HttpRequest& request, const Credentials& credentials,
                             const SigningOptions& options);

/// Percent-encodes everything but A-Z a-z 0-9 - _ . ~ (and '/' when kept): for paths and queries.
std::string uri_encode(std::string_view text, bool keep_slash = false);

/// Scheme, host[:port], path and query of an absolute url, or of a bare target ("/a?b": scheme and
/// host stay empty). Views into `url`.
struct UrlParts {
  std::string_view scheme{};
  std::string_view authority{};
  std::string_view path{};   // as written; empty when the url has none
  std::string_view query{};  // without the question mark
};
UrlParts split_url(std::string_view url);

/// Who sent a request whose signature is right.
struct VerifiedCaller {
  std::string access_key_id{};
  std::string region{};   // of the credential scope
  std::string service{};  // of the credential scope
};

struct VerifyOptions {
  WallTime now{};
  std::chrono::milliseconds skew_max{300'000};  // AWS refuses dates more than 5 minutes off
};

/// The secret behind an access key id; nothing for an unknown key.
using SecretOf = std::function<std::optional<Secret>(std::string_view access_key_id)>;

/// Checks a received request (url: absolute or just the target; headers as they came over the
/// wire): header form and presigned query form, for whatever headers the client chose to sign.
/// Errors are `denied` with the services' own code: MissingAuthenticationTokenException,
/// IncompleteSignatureException, UnrecognizedClientException, InvalidSignatureException (also when
/// the date is further off than `skew_max`: the text says so, as the services' does) and
/// XAmzContentSHA256Mismatch. A streaming body (`STREAMING-…` payload) is covered by its headers
/// only: its chunk signatures are not checked.
Result<VerifiedCaller> verify_signature(const HttpRequest& request, const SecretOf& secret_of,
                                        const VerifyOptions& options);

/// The same, with the stages it computed: for tests.
Result<SignatureStages> recompute_signature(const HttpRequest& request, const Secret& secret);

/// 64 hex digits.
std::string sha256_hex(std::string_view bytes);

}  // namespace millrace
