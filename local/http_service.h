// An AWS service imitated in memory: a function from request to response, with no socket and no
// clock of its own. The loopback server puts it behind a port, simulations call it directly.
#pragma once

#include "aws/http_client.h"
#include "core/time.h"

namespace millrace {

/// Threads: handle() may be called from several at once. `request.url` is absolute or just path and
/// query; headers are as they came over the wire.
class HttpService {
 public:
  virtual ~HttpService() = default;
  virtual HttpResponse handle(const HttpRequest& request) = 0;
};

/// Where an imitated service gets its time: injected, so that simulations own it.
class ServiceClock {
 public:
  virtual ~ServiceClock() = default;
  [[nodiscard]] virtual WallTime now() const = 0;
};

}  // namespace millrace
