// An imitated service behind a real port of this machine.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "core/result.h"
#include "local/http_service.h"

namespace millrace {

struct LoopbackServerOptions {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;  // 0: any that is free

  /// Connections served at once; each holds a thread while it is open. 256: two pipelines with 32
  /// calls in flight each, the retrain cycle, and some guests.
  std::size_t threads = 256;
  std::size_t waiting_max = 256;  // accepted and without a thread yet; further ones wait outside

  std::size_t request_bytes_max = 32u << 20;  // HTTP 413 beyond; PutRecords in base64 needs 14 MiB

  /// A connection without a request is closed after this, in whole seconds. Also the longest that
  /// stopping takes while a client holds one open.
  std::chrono::milliseconds idle_max{5'000};
  std::chrono::milliseconds read_max{30'000};  // between two bytes of one request
};

/// HTTP/1.1 with keep-alive, on threads of its own, from start() to the end of its life. The
/// service must outlive it and is called from many threads.
class LoopbackServer {
 public:
  /// Listens before it returns. Errors: `conflict` when the port is in use, `denied` when it may
  /// not be had, `invalid` when the host is no address of this machine.
  static Result<std::unique_ptr<LoopbackServer>> start(LoopbackServerOptions options,
                                                       HttpService& service);

  /// Requests under way are answered, then connections close.
  ~LoopbackServer();
  LoopbackServer(const LoopbackServer&) = delete;
  LoopbackServer& operator=(const LoopbackServer&) = delete;

  [[nodiscard]] std::uint16_t port() const;
  /// "http://127.0.0.1:4567": for `aws.endpoint` and --endpoint-url.
  [[nodiscard]] std::string url() const;

 private:
  class Impl;
  explicit LoopbackServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace
