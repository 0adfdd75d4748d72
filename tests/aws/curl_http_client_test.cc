// Against small servers of our own on loopback sockets: they can be as rude as real ones.
#include "aws/curl_http_client.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <thread>

#include "aws/sigv4.h"

namespace millrace {
namespace {

Environment environment_of(std::map<std::string, std::string> variables) {
  return [variables = std::move(variables)](std::string_view name) -> std::optional<std::string> {
    const auto found = variables.find(std::string(name));
    if (found == variables.end()) return std::nullopt;
    return found->second;
  };
}

/// Accepts connections one after another and hands each to `serve` until stopped.
class RudeServer {
 public:
  using Serve = std::function<void(int socket)>;
  explicit RudeServer(Serve serve) : serve_(std::move(serve)) {
    listener_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), length), 0);
    EXPECT_EQ(listen(listener_, 16), 0);
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] {
      while (true) {
        const int connection = accept(listener_, nullptr, nullptr);
        if (connection < 0) return;
        ++connections;
        serve_(connection);
        close(connection);
      }
    });
  }
  ~RudeServer() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }
  [[nodiscard]] std::string url(const std::string& target = "/") const {
    return "http://127.0.0.1:" + std::to_string(port_) + target;
  }

  std::atomic<int> connections{0};

 private:
  Serve serve_;
  int listener_ = -1;
  int port_ = 0;
  std::thread thread_{};
};

/// Head and body of one request; empty when the peer is gone.
std::string read_request(int socket) {
  std::string text;
  char buffer[4096];
  while (true) {
    const std::size_t head = text.find("\r\n\r\n");
    if (head != std::string::npos) {
      const std::size_t at = text.find("Content-Length: ");
      const std::size_t body = at == std::string::npos ? 0 : std::stoul(text.substr(at + 16));
      if (text.size() >= head + 4 + body) return text;
    }
    const auto got = recv(socket, buffer, sizeof buffer, 0);
    if (got <= 0) return {};
    text.append(buffer, static_cast<std::size_t>(got));
  }
}

void write_text(int socket, std::string_view text) {
  send(socket, text.data(), text.size(), MSG_NOSIGNAL);
}

std::string ok(const std::string& body, const std::string& headers = "") {
  return "HTTP/1.1 200 OK\r\n" + headers + "Content-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}

RudeServer::Serve answering(std::function<std::string(const std::string&)> answer) {
  return [answer = std::move(answer)](int socket) {
    for (auto request = read_request(socket); !request.empty(); request = read_request(socket))
      write_text(socket, answer(request));
  };
}

TEST(CurlHttpClient, SendsPathHeadersAndBodyByteForByte) {
  std::string seen;
  RudeServer server(answering([&](const std::string& request) {
    seen = request;
    return ok("answer", "X-Here: a b \r\n");
  }));
  CurlHttpClient client({}, environment_of({}));
  const auto response = client.send({.method = "PUT",
                                     .url = server.url("/a/../b//c%20d?x=%2F&y"),
                                     .headers = {{"Host", "name.example"}, {"X-Empty", ""}},
                                     .body = std::string("by\0tes", 6)});
  ASSERT_TRUE(response.has_value()) << response.error().message;
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->body, "answer");
  EXPECT_EQ(response->header("x-here"), "a b");
  EXPECT_TRUE(seen.starts_with("PUT /a/../b//c%20d?x=%2F&y HTTP/1.1\r\n")) << seen;
  EXPECT_NE(seen.find("\r\nHost: name.example\r\n"), std::string::npos);
  EXPECT_NE(seen.find("\r\nX-Empty:\r\n"), std::string::npos) << seen;
  EXPECT_NE(seen.find("\r\nUser-Agent: millrace\r\n"), std::string::npos);
  EXPECT_EQ(seen.find("Expect:"), std::string::npos);
  EXPECT_EQ(seen.find("Content-Type:"), std::string::npos);
  EXPECT_EQ(seen.find("Accept-Encoding:"), std::string::npos);
  EXPECT_TRUE(seen.ends_with(std::string("\r\n\r\nby\0tes", 10)));
}

TEST(CurlHttpClient, NeverAsksForPermissionToSendALargeBody) {
  std::atomic<bool> expects{false};
  RudeServer server(answering([&](const std::string& request) {
    if (request.find("Expect:") != std::string::npos) expects = true;
    return ok("");
  }));
  CurlHttpClient client({}, environment_of({}));
  ASSERT_TRUE(
      client.send({.method = "POST", .url = server.url(), .body = std::string(3 << 20, 'x')})
          .has_value());
  EXPECT_FALSE(expects);
}

TEST(CurlHttpClient, KeepsAConnectionAndGivesItToWhicheverThreadComesNext) {
  RudeServer server(answering([](const std::string&) { return ok("x"); }));
  CurlHttpClient client({}, environment_of({}));
  for (int i = 0; i < 5; ++i) {
    std::thread([&] { EXPECT_TRUE(client.send({.url = server.url()}).has_value()); }).join();
  }
  EXPECT_EQ(server.connections, 1);
}

TEST(CurlHttpClient, OpensNoMoreConnectionsThanAllowed) {
  std::atomic<int> busy{0};
  std::atomic<int> busiest{0};
  std::vector<std::thread> serving;
  // This server takes connections at once and serves each on a thread of its own.
  RudeServer server([&](int socket) {
    serving.emplace_back([&, socket = dup(socket)] {
      for (auto request = read_request(socket); !request.empty(); request = read_request(socket)) {
        const int now = ++busy;
        for (int seen = busiest; now > seen && !busiest.compare_exchange_weak(seen, now);) {
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        --busy;
        write_text(socket, ok(""));
      }
      close(socket);
    });
  });
  {
    CurlHttpClient client({.connections_max = 2}, environment_of({}));
    std::vector<std::thread> callers;
    std::atomic<int> good{0};
    for (int i = 0; i < 8; ++i)
      callers.emplace_back([&] {
        if (client.send({.url = server.url()})) ++good;
      });
    for (auto& caller : callers) caller.join();
    EXPECT_EQ(good, 8);
    EXPECT_LE(busiest, 2);
  }
  for (auto& thread : serving) thread.join();
}

TEST(CurlHttpClient, DoesNotFollowRedirects) {
  RudeServer server(answering([](const std::string&) {
    return std::string(
        "HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n");
  }));
  CurlHttpClient client({}, environment_of({}));
  const auto response = client.send({.url = server.url()});
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->status, 307);
}

TEST(CurlHttpClient, BoundsTheAnswer) {
  RudeServer server(answering([](const std::string&) { return ok(std::string(1001, 'x')); }));
  CurlHttpClient client({.response_bytes_max = 1000}, environment_of({}));
  const auto response = client.send({.url = server.url()});
  ASSERT_FALSE(response.has_value());
  EXPECT_EQ(response.error().kind, ErrorKind::ambiguous);
  EXPECT_NE(response.error().message.find("larger than 1000 bytes"), std::string::npos);
  CurlHttpClient wide({.response_bytes_max = 1001}, environment_of({}));
  EXPECT_TRUE(wide.send({.url = server.url()}).has_value());
}

TEST(CurlHttpClient, ARefusedConnectionHadNoEffect) {
  CurlHttpClient client({}, environment_of({}));
  const auto response = client.send({.url = "http://127.0.0.1:1/x?secret=1"});
  ASSERT_FALSE(response.has_value());
  EXPECT_EQ(response.error().kind, ErrorKind::transient);
  EXPECT_EQ(response.error().message.find("secret"), std::string::npos);
}

TEST(CurlHttpClient, AReplyThatNeverComesOrIsCutIsAmbiguous) {
  const std::function<void(int)> rude[] = {
      [](int socket) { read_request(socket); },
      [](int socket) {
        read_request(socket);
        write_text(socket, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
      },
      [](int socket) {
        read_request(socket);
        write_text(socket, "\x16\x03 no http at all");
      },
  };
  for (const auto& serve : rude) {
    RudeServer server(serve);
    CurlHttpClient client({}, environment_of({}));
    const auto response = client.send({.method = "POST", .url = server.url(), .body = "b"});
    ASSERT_FALSE(response.has_value());
    EXPECT_EQ(response.error().kind, ErrorKind::ambiguous) << response.error().message;
  }
}

TEST(CurlHttpClient, TimesOutAsAmbiguousOnceTheRequestHasLeft) {
  RudeServer server([](int socket) {
    read_request(socket);
    char byte = 0;
    (void)recv(socket, &byte, 1, 0);  // until the client leaves
  });
  CurlHttpClient client({}, environment_of({}));
  const auto response =
      client.send({.url = server.url(), .timeout = std::chrono::milliseconds(100)});
  ASSERT_FALSE(response.has_value());
  EXPECT_EQ(response.error().kind, ErrorKind::ambiguous);
}

TEST(CurlHttpClient, AStopEndsACallThatWaits) {
  std::atomic<bool> stop{false};
  RudeServer server([&](int socket) {
    read_request(socket);
    stop = true;
    char byte = 0;
    (void)recv(socket, &byte, 1, 0);
  });
  CurlHttpClient client({.stopping = [&] { return stop.load(); }}, environment_of({}));
  const auto response = client.send({.url = server.url()});
  ASSERT_FALSE(response.has_value());
  EXPECT_EQ(response.error().kind, ErrorKind::ambiguous);
  EXPECT_NE(response.error().message.find("stopping"), std::string::npos);
}

TEST(CurlHttpClient, ADeadKeptConnectionIsReplacedWithoutTheCallerNoticing) {
  RudeServer server([](int socket) {
    read_request(socket);
    write_text(socket, ok("x"));  // and closes, without having said so
  });
  CurlHttpClient client({}, environment_of({}));
  for (int i = 0; i < 3; ++i)
    EXPECT_TRUE(client.send({.method = "POST", .url = server.url(), .body = "b"}).has_value());
  EXPECT_EQ(server.connections, 3);
}

TEST(CurlHttpClient, UsesTheProxyOfTheEnvironmentButNeverForLoopback) {
  std::string seen;
  RudeServer proxy(answering([&](const std::string& request) {
    seen = request;
    return ok("proxied");
  }));
  RudeServer direct(answering([](const std::string&) { return ok("direct"); }));
  CurlHttpClient client({}, environment_of({{"http_proxy", proxy.url("")}}));
  EXPECT_EQ(client.send({.url = "http://service.invalid/x"})->body, "proxied");
  EXPECT_TRUE(seen.starts_with("GET http://service.invalid/x HTTP/1.1\r\n")) << seen;
  EXPECT_EQ(client.send({.url = direct.url()})->body, "direct");
  CurlHttpClient without(
      {}, environment_of({{"http_proxy", proxy.url("")}, {"NO_PROXY", "service.invalid"}}));
  EXPECT_FALSE(without.send({.url = "http://service.invalid/x"}).has_value());
}

TEST(CurlHttpClient, RefusesUrlsAndHeadersThatAreNone) {
  CurlHttpClient client({}, environment_of({}));
  for (const char* url : {"", "not a url", "ftp://127.0.0.1/x", "file:///etc/passwd"}) {
    const auto response = client.send({.url = url});
    ASSERT_FALSE(response.has_value()) << url;
    EXPECT_EQ(response.error().kind, ErrorKind::invalid) << url << response.error().message;
  }
  const auto injected =
      client.send({.url = "http://127.0.0.1:1/", .headers = {{"X", "a\r\nY: b"}}});
  EXPECT_EQ(injected.error().kind, ErrorKind::invalid);
}

TEST(CurlHttpClient, ACertificateFileThatIsNoneIsNamed) {
  CurlHttpClient client({}, environment_of({{"AWS_CA_BUNDLE", "/no/such/bundle.pem"}}));
  const auto response = client.send({.url = "https://127.0.0.1:1/"});
  ASSERT_FALSE(response.has_value());
  EXPECT_EQ(response.error().kind, ErrorKind::transient);
}

TEST(CurlErrors, EachCodeSaysWhetherTheRequestMayHaveHadAnEffect) {
  const struct {
    int code;
    ErrorKind before;
    ErrorKind after;
  } rows[] = {
      {CURLE_COULDNT_RESOLVE_PROXY, ErrorKind::transient, ErrorKind::transient},
      {CURLE_COULDNT_RESOLVE_HOST, ErrorKind::transient, ErrorKind::transient},
      {CURLE_COULDNT_CONNECT, ErrorKind::transient, ErrorKind::transient},
      {CURLE_PROXY, ErrorKind::transient, ErrorKind::transient},
      {CURLE_SSL_CONNECT_ERROR, ErrorKind::transient, ErrorKind::transient},
      {CURLE_PEER_FAILED_VERIFICATION, ErrorKind::transient, ErrorKind::transient},
      {CURLE_SSL_CACERT_BADFILE, ErrorKind::transient, ErrorKind::transient},
      {CURLE_SSL_CERTPROBLEM, ErrorKind::transient, ErrorKind::transient},
      {CURLE_SSL_ISSUER_ERROR, ErrorKind::transient, ErrorKind::transient},
      {CURLE_OPERATION_TIMEDOUT, ErrorKind::transient, ErrorKind::ambiguous},
      {CURLE_ABORTED_BY_CALLBACK, ErrorKind::transient, ErrorKind::ambiguous},
      {CURLE_SEND_ERROR, ErrorKind::transient, ErrorKind::ambiguous},
      {CURLE_RECV_ERROR, ErrorKind::transient, ErrorKind::ambiguous},
      {CURLE_GOT_NOTHING, ErrorKind::ambiguous, ErrorKind::ambiguous},
      {CURLE_PARTIAL_FILE, ErrorKind::ambiguous, ErrorKind::ambiguous},
      {CURLE_WEIRD_SERVER_REPLY, ErrorKind::ambiguous, ErrorKind::ambiguous},
      {CURLE_WRITE_ERROR, ErrorKind::ambiguous, ErrorKind::ambiguous},
      {CURLE_SEND_FAIL_REWIND, ErrorKind::ambiguous, ErrorKind::ambiguous},
      {CURLE_HTTP2, ErrorKind::ambiguous, ErrorKind::ambiguous},
      {CURLE_HTTP2_STREAM, ErrorKind::ambiguous, ErrorKind::ambiguous},
      {CURLE_URL_MALFORMAT, ErrorKind::invalid, ErrorKind::invalid},
      {CURLE_UNSUPPORTED_PROTOCOL, ErrorKind::invalid, ErrorKind::ambiguous},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(kind_of_curl_error(row.code, false), row.before) << row.code;
    EXPECT_EQ(kind_of_curl_error(row.code, true), row.after) << row.code;
  }
  EXPECT_EQ(curl_error_table().size(), std::size(rows));
  EXPECT_EQ(kind_of_curl_error(CURLE_OUT_OF_MEMORY, false), ErrorKind::transient);
  EXPECT_EQ(kind_of_curl_error(CURLE_OUT_OF_MEMORY, true), ErrorKind::ambiguous);
}

}  // namespace
}  // namespace millrace
