// One blocking HTTP exchange: the seam under every AWS call. Curl in the product, the emulator
// itself in simulations.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace millrace {

struct HttpHeader {
  std::string name{};
  std::string value{};
};

struct HttpRequest {
  std::string method = "GET";
  std::string url{};  // absolute; the path goes out byte for byte, never normalised
  std::vector<HttpHeader> headers{};
  std::string body{};
  std::chrono::milliseconds timeout{30'000};  // of the whole exchange
};

struct HttpResponse {
  int status = 0;
  std::vector<HttpHeader> headers{};
  std::string body{};

  /// The first header of that name (names compare without case); empty when absent.
  [[nodiscard]] std::string_view header(std::string_view name) const;
};

/// Threads: any; send() blocks, so only inside Loop::offload or on a command's own thread. Any
/// status is a success here; errors are `transient` (the request certainly had no effect: DNS,
/// refused, TLS), `ambiguous` (it may have had one) or `invalid` (the url is not one).
class HttpClient {
 public:
  virtual ~HttpClient() = default;
  virtual Result<HttpResponse> send(const HttpRequest& request) = 0;
};

}  // namespace millrace
