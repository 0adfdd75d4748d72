#include "local/loopback_server.h"

#include <fmt/format.h>
#include <httplib.h>

#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "local/faulty_service.h"

namespace millrace {
namespace {

/// A thread for each open connection, made when first needed. httplib's own pool starts all of them
/// at once and queues connections without limit.
class ConnectionThreads final : public httplib::TaskQueue {
 public:
  ConnectionThreads(std::size_t threads_max, std::size_t waiting_max)
      : threads_max_(threads_max), waiting_max_(waiting_max) {}

  // Called by the accepting thread. While too many connections wait, so does it, and newer ones
  // stay in the kernel's short backlog.
  void enqueue(std::function<void()> serve) override {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [this] { return waiting_.size() < waiting_max_ || stopping_; });
    waiting_.push_back(std::move(serve));
    if (waiting_.size() > idle_ && threads_.size() < threads_max_) {
      threads_.emplace_back([this] { work(); });
    }
    work_.notify_one();
  }

  void shutdown() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    work_.notify_all();
    room_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      ++idle_;
      work_.wait(lock, [this] { return !waiting_.empty() || stopping_; });
      --idle_;
      if (waiting_.empty()) return;
      const std::function<void()> serve = std::move(waiting_.front());
      waiting_.pop_front();
      room_.notify_one();
      lock.unlock();
      serve();
      lock.lock();
    }
  }

  const std::size_t threads_max_;
  const std::size_t waiting_max_;
  std::mutex mutex_{};
  std::condition_variable work_{};
  std::condition_variable room_{};
  std::deque<std::function<void()>> waiting_{};
  std::vector<std::thread> threads_{};
  std::size_t idle_ = 0;
  bool stopping_ = false;
};

HttpRequest request_of(const httplib::Request& in) {
  HttpRequest request;
  request.method = in.method;
  request.url = in.target;
  request.body = in.body;
  for (const auto& [name, value] : in.headers) {
    // httplib's own notes about the connection, not headers of the wire.
    if (name == "REMOTE_ADDR" || name == "REMOTE_PORT" || name == "LOCAL_ADDR" ||
        name == "LOCAL_PORT") {
      continue;
    }
    request.headers.push_back({name, value});
  }
  return request;
}

void write_answer(const HttpResponse& response, httplib::Response& out) {
  if (response.status == kConnectionCut) {
    // An answer that breaks off before its first byte of content.
    out.set_content_provider(1, "application/octet-stream",
                             [](std::size_t, std::size_t, httplib::DataSink&) { return false; });
    return;
  }
  out.status = response.status;
  std::string type;
  for (const HttpHeader& header : response.headers) {
    if (header.name == "Content-Type") {
      type = header.value;
    } else {
      out.set_header(header.name, header.value);
    }
  }
  out.set_content(response.body, type.empty() ? "application/json" : type);
}

}  // namespace

class LoopbackServer::Impl {
 public:
  Impl(LoopbackServerOptions options, HttpService& service)
      : options_(std::move(options)), service_(service) {}

  ~Impl() {
    server_.stop();
    if (acceptor_.joinable()) acceptor_.join();
  }

  Status start() {
    server_.new_task_queue = [this] {
      return new ConnectionThreads(options_.threads, options_.waiting_max);
    };
    server_.set_tcp_nodelay(true);
    server_.set_keep_alive_max_count(SIZE_MAX);
    server_.set_keep_alive_timeout(
        std::chrono::ceil<std::chrono::seconds>(options_.idle_max).count());
    server_.set_read_timeout(options_.read_max);
    server_.set_payload_max_length(options_.request_bytes_max);
    // Without httplib's SO_REUSEPORT, with which two servers share a port and neither is told.
    server_.set_socket_options([](socket_t socket) {
      const int yes = 1;
      ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    });
    const auto serve = [this](const httplib::Request& in, httplib::Response& out) {
      write_answer(service_.handle(request_of(in)), out);
    };
    server_.Get(".*", serve).Post(".*", serve).Put(".*", serve).Delete(".*", serve);

    errno = 0;
    if (options_.port == 0) {
      const int port = server_.bind_to_any_port(options_.host);
      if (port <= 0) return could_not_listen(errno);
      options_.port = static_cast<std::uint16_t>(port);
    } else if (!server_.bind_to_port(options_.host, options_.port)) {
      return could_not_listen(errno);
    }
    acceptor_ = std::thread([this] { server_.listen_after_bind(); });
    // stop() before the acceptor runs would be lost.
    while (!server_.is_running()) std::this_thread::yield();
    return {};
  }

  [[nodiscard]] const LoopbackServerOptions& options() const { return options_; }

 private:
  [[nodiscard]] Status could_not_listen(int error) const {
    const std::string where = fmt::format("{}:{}", options_.host, options_.port);
    if (error == EACCES) {
      return fail(ErrorKind::denied,
                  fmt::format("listening on {} is not permitted; choose a port above 1023", where));
    }
    if (error == EADDRINUSE) {
      return fail(
          ErrorKind::conflict,
          fmt::format("{} is in use by another program; stop it or choose another port", where));
    }
    return fail(ErrorKind::invalid,
                fmt::format("cannot listen on {}: {}", where,
                            error == 0 ? "no such address" : std::strerror(error)));
  }

  LoopbackServerOptions options_;
  HttpService& service_;
  httplib::Server server_{};
  std::thread acceptor_{};
};

Result<std::unique_ptr<LoopbackServer>> LoopbackServer::start(LoopbackServerOptions options,
                                                              HttpService& service) {
  auto impl = std::make_unique<Impl>(std::move(options), service);
  if (const Status started = impl->start(); !started) return fail(started.error());
  return std::unique_ptr<LoopbackServer>(new LoopbackServer(std::move(impl)));
}

LoopbackServer::LoopbackServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LoopbackServer::~LoopbackServer() = default;

std::uint16_t LoopbackServer::port() const { return impl_->options().port; }
std::string LoopbackServer::url() const {
  return fmt::format("http://{}:{}", impl_->options().host, port());
}

}  // namespace millrace
