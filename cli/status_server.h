// What the running service tells over HTTP: /metrics, /healthz, /readyz, /status (JSON) and / (a
// page for people).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/result.h"

namespace millrace {

/// Called on the server's threads, several at once; each must be quick and safe to call from there.
struct StatusSources {
  std::function<std::string()> metrics{};               // Prometheus text format 0.0.4
  std::function<std::string()> status{};                // one JSON document
  std::function<std::vector<std::string>()> unready{};  // why /readyz is 503; empty: 200 "ready"
};

/// Serves while alive, on at most four threads. Read-only and without secrets; it listens where the
/// configuration says, on loopback unless told otherwise.
class StatusServer {
 public:
  /// `listen` is host:port. `invalid` when it is not; `conflict` when that cannot be
  /// had, most often because somebody listens there.
  static Result<std::unique_ptr<StatusServer>> start(const std::string& listen,
                                                     StatusSources sources);
  ~StatusServer();
  StatusServer(const StatusServer&) = delete;
  StatusServer& operator=(const StatusServer&) = delete;

  /// The port it really listens on (for port 0).
  [[nodiscard]] int port() const;

 private:
  struct Inside;
  explicit StatusServer(std::unique_ptr<Inside> inside);
  std::unique_ptr<Inside> inside_;
};

}  // namespace millrace
