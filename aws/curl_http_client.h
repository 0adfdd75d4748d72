// HttpClient over libcurl: TLS always verified, connections kept and reused, every wait bounded.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "aws/http_client.h"
#include "core/environment.h"
#include "core/result.h"

namespace millrace {

/// Threads: any. Each call borrows one of at most `connections_max` libcurl handles, each with its
/// own kept connections; when all are busy it waits, inside its own timeout. The pool is under a
/// mutex held for the length of a push or pop, never during I/O: a blocking client that is shared
/// by worker threads has to hand out its handles somehow, and this is the one place.
///
/// Redirects are not followed (they are answers), `Expect` is never sent, no decompression is asked
/// for, and the path goes out byte for byte. Proxies come from the environment given (HTTPS_PROXY,
/// http_proxy, NO_PROXY in either case, except HTTP_PROXY: CVE-2016-5385); loopback and link-local
/// addresses never go through one. The certificate store is AWS_CA_BUNDLE, else SSL_CERT_FILE, else
/// the system's.
class CurlHttpClient final : public HttpClient {
 public:
  struct Options {
    std::size_t connections_max = 64;            // more than any caller's calls in flight
    std::size_t response_bytes_max = 64u << 20;  // four times the largest answer (Kinesis: 14 MB)
    std::chrono::milliseconds connect_timeout{
        3'100};  // the SDKs' "standard" mode: name and TLS too
    /// Fewer than one byte a second for this long ends a call: a dead peer must not cost the whole
    /// timeout of a large transfer.
    std::chrono::seconds stall_timeout{20};
    /// S3 closes idle connections after 5 s and more: ours are not reused when older than this.
    std::chrono::seconds idle_max{4};
    std::string user_agent = "millrace";
    /// Asked about once a second during a call, from the calling thread: true ends it (`transient`
    /// or `ambiguous`, by whether the request had left).
    std::function<bool()> stopping{};
  };

  CurlHttpClient(Options options, const Environment& environment);
  ~CurlHttpClient() override;
  CurlHttpClient(const CurlHttpClient&) = delete;
  CurlHttpClient& operator=(const CurlHttpClient&) = delete;

  Result<HttpResponse> send(const HttpRequest& request) override;

 private:
  class Pool;
  const Options options_;
  std::string ca_file_{};
  std::string https_proxy_{};
  std::string http_proxy_{};
  std::string no_proxy_{};
  std::unique_ptr<Pool> pool_;
};

/// What a libcurl error code means for the request; `request_left` is whether any byte of the
/// request may have reached the peer. Pure; curl_error_table() lists the codes it knows by name.
ErrorKind kind_of_curl_error(int curl_code, bool request_left);

struct CurlErrorRow {
  int curl_code = 0;
  ErrorKind kind_before{};  // the request had not left
  ErrorKind kind_after{};
};
std::span<const CurlErrorRow> curl_error_table();

}  // namespace millrace
