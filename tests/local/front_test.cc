// What stands before the imitated services: signatures, routes, faults and the port.
#include <gtest/gtest.h>

#include <atomic>
#include <string>

#include "aws/curl_http_client.h"
#include "aws/sigv4.h"
#include "local/faulty_service.h"
#include "local/loopback_server.h"
#include "local/router.h"
#include "local/signature_check.h"
#include "tests/fakes/manual_clock.h"

namespace millrace {
namespace {

class Echo final : public HttpService {
 public:
  explicit Echo(std::string name) : name_(std::move(name)) {}
  HttpResponse handle(const HttpRequest& request) override {
    ++requests;
    return {200,
            {{"Content-Type", "text/plain"}, {"x-echo", request.url}},
            name_ + ":" + request.method + ":" + request.body};
  }
  std::atomic<int> requests{0};

 private:
  std::string name_;
};

HttpRequest signed_request(const ManualClock& clock, const std::string& secret,
                           std::string target = "Kinesis_20131202.ListShards") {
  HttpRequest request{.method = "POST", .url = "http://127.0.0.1:4567/", .body = "{}"};
  if (!target.empty()) {
    request.headers = {{"Content-Type", "application/x-amz-json-1.1"},
                       {"X-Amz-Target", std::move(target)}};
  }
  Credentials credentials;
  credentials.access_key_id = kLocalAccessKeyId;
  credentials.secret_access_key = Secret(secret);
  sign_request(request, credentials,
               {.region = "eu-west-1", .service = "kinesis", .time = clock.now()});
  return request;
}

TEST(SignatureCheck, LetsTheRightSignatureThroughUntouched) {
  ManualClock clock;
  Echo echo("in");
  SignatureCheck check({}, clock, echo);
  EXPECT_EQ(check.handle(signed_request(clock, kLocalSecretAccessKey)).body, "in:POST:{}");
}

TEST(SignatureCheck, TurnsEveryOtherOneAwayInTheWordsOfTheService) {
  ManualClock clock;
  Echo echo("in");
  SignatureCheck check({}, clock, echo);
  const auto code_of = [&check](const HttpRequest& request) {
    const HttpResponse response = check.handle(request);
    EXPECT_EQ(response.status, 400);
    EXPECT_EQ(response.header("content-type"), "application/x-amz-json-1.1");
    return response.body.substr(0, response.body.find(','));
  };
  EXPECT_EQ(code_of(signed_request(clock, "another secret")),
            R"({"__type":"InvalidSignatureException")");

  HttpRequest changed = signed_request(clock, kLocalSecretAccessKey);
  changed.body = "{\"Limit\":1}";
  EXPECT_EQ(code_of(changed), R"({"__type":"InvalidSignatureException")");

  HttpRequest unsigned_request = signed_request(clock, kLocalSecretAccessKey);
  std::erase_if(unsigned_request.headers, [](const HttpHeader& h) {
    return h.name == "authorization" || h.name == "Authorization";
  });
  EXPECT_EQ(code_of(unsigned_request), R"({"__type":"MissingAuthenticationTokenException")");

  SignatureCheckOptions others;
  others.keys = {{"AKIDEXAMPLE", Secret("x")}};
  SignatureCheck stranger(others, clock, echo);
  EXPECT_NE(stranger.handle(signed_request(clock, kLocalSecretAccessKey))
                .body.find("UnrecognizedClientException"),
            std::string::npos);

  const HttpRequest old = signed_request(clock, kLocalSecretAccessKey);
  clock.advance(std::chrono::minutes(6));
  EXPECT_EQ(code_of(old), R"({"__type":"InvalidSignatureException")");
  EXPECT_EQ(echo.requests, 0);
}

TEST(SignatureCheck, AnswersRestCallsWithAnErrorTypeHeader) {
  ManualClock clock;
  Echo echo("in");
  SignatureCheck check({}, clock, echo);
  const HttpResponse response = check.handle({.method = "POST", .url = "/events", .body = "{}"});
  EXPECT_EQ(response.status, 403);
  EXPECT_EQ(response.header("x-amzn-errortype"), "MissingAuthenticationTokenException");
}

TEST(SignatureCheck, AcceptsAnyoneOnlyWhenAsked) {
  ManualClock clock;
  Echo echo("in");
  SignatureCheckOptions options;
  options.accept_any = true;
  SignatureCheck check(options, clock, echo);
  EXPECT_EQ(check.handle({.method = "POST", .url = "/"}).status, 200);
}

TEST(Router, ChoosesByTargetElseByPath) {
  Echo kinesis("kinesis"), personalize("personalize"), events("events"), runtime("runtime");
  Router router({&kinesis, &personalize, &events, &runtime});
  const auto who = [&router](std::string target, std::string url, std::string method = "POST") {
    HttpRequest request{.method = std::move(method), .url = std::move(url)};
    if (!target.empty()) request.headers.push_back({"x-amz-target", std::move(target)});
    const HttpResponse response = router.handle(request);
    return response.status == 200 ? response.body.substr(0, response.body.find(':'))
                                  : std::to_string(response.status);
  };
  EXPECT_EQ(who("Kinesis_20131202.ListShards", "/"), "kinesis");
  EXPECT_EQ(who("AmazonPersonalize.ListSchemas", "/"), "personalize");
  EXPECT_EQ(who("DynamoDB_20120810.Scan", "/"), "404");
  EXPECT_EQ(who("", "/events"), "events");
  EXPECT_EQ(who("", "http://127.0.0.1:1/items?x=1"), "events");
  EXPECT_EQ(who("", "/recommendations"), "runtime");
  EXPECT_EQ(who("", "/personalize-ranking"), "runtime");
  EXPECT_EQ(who("", "/eventsandmore"), "404");
  EXPECT_EQ(who("", "/", "GET"), "millrace emulator");
  Router only({.kinesis = &kinesis});
  EXPECT_EQ(only.handle({.method = "POST", .url = "/events"}).status, 404);
}

TEST(FaultyService, LosesRepliesAfterTheEffectAndTellsHowMany) {
  Echo echo("in");
  FaultyService faulty({.every_nth_reply_lost = 3}, echo);
  int lost = 0;
  for (int i = 0; i < 9; ++i) lost += faulty.handle({}).status == kConnectionCut;
  EXPECT_EQ(lost, 3);
  EXPECT_EQ(echo.requests, 9);
  EXPECT_EQ(faulty.faults(), 3u);
}

TEST(FaultyService, IsAFunctionOfItsSeed) {
  const auto fates = [](std::uint64_t seed) {
    Echo echo("in");
    FaultyService faulty({.seed = seed,
                          .throttle = 0.2,
                          .failure = 0.2,
                          .unavailable = 0.2,
                          .reply_lost = 0.2,
                          .cut_short = 0.2},
                         echo);
    std::vector<int> statuses;
    for (int i = 0; i < 200; ++i) statuses.push_back(faulty.handle({}).status);
    return statuses;
  };
  EXPECT_EQ(fates(7), fates(7));
  EXPECT_NE(fates(7), fates(8));
  const auto seen = fates(7);
  for (const int status : {200, 400, 500, 503, kConnectionCut}) {
    EXPECT_NE(std::count(seen.begin(), seen.end(), status), 0) << status;
  }
}

class Server : public testing::Test {
 protected:
  void start(HttpService& service, LoopbackServerOptions options = {}) {
    options.idle_max = 1s;
    auto started = LoopbackServer::start(options, service);
    ASSERT_TRUE(started) << started.error().message;
    server_ = std::move(*started);
  }
  std::unique_ptr<LoopbackServer> server_{};
  const Environment environment_ = [](std::string_view) { return std::nullopt; };
  CurlHttpClient client_{{}, environment_};
};

TEST_F(Server, CarriesMethodsTargetsHeadersAndBodiesByteForByte) {
  Echo echo("in");
  start(echo);
  const std::string body("\0binary\xFF\r\n", 10);
  const auto answer = client_.send({.method = "POST",
                                    .url = server_->url() + "/a%20b//c?x=%2F&y",
                                    .headers = {{"Content-Type", "application/x-amz-json-1.1"}},
                                    .body = body});
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->body, "in:POST:" + body);
  EXPECT_EQ(answer->header("x-echo"), "/a%20b//c?x=%2F&y");
}

TEST_F(Server, KeepsAConnectionForManyRequests) {
  Echo echo("in");
  LoopbackServerOptions options;
  options.threads = 1;  // a second connection would wait for the first one's end
  start(echo, options);
  for (int i = 0; i < 200; ++i) {
    const auto answer = client_.send({.url = server_->url() + "/", .timeout = 500ms});
    ASSERT_TRUE(answer) << i << ": " << answer.error().message;
  }
}

TEST_F(Server, SaysThatAPortIsInUse) {
  Echo echo("in");
  start(echo);
  LoopbackServerOptions options;
  options.port = server_->port();
  const auto second = LoopbackServer::start(options, echo);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind, ErrorKind::conflict);
  EXPECT_NE(second.error().message.find(std::to_string(options.port)), std::string::npos);
}

TEST_F(Server, RefusesABodyBeyondItsLimit) {
  Echo echo("in");
  LoopbackServerOptions options;
  options.request_bytes_max = 1000;
  start(echo, options);
  const auto answer =
      client_.send({.method = "POST", .url = server_->url() + "/", .body = std::string(2000, 'x')});
  if (answer) {
    EXPECT_EQ(answer->status, 413);
  }
  EXPECT_EQ(echo.requests, 0);
  EXPECT_EQ(client_.send({.url = server_->url() + "/"})->status, 200);
}

TEST_F(Server, CutsTheConnectionForALostReply) {
  Echo echo("in");
  FaultyService faulty({.every_nth_reply_lost = 2}, echo);
  start(faulty);
  const HttpRequest request{.method = "POST", .url = server_->url() + "/", .body = "x"};
  EXPECT_TRUE(client_.send(request));
  const auto lost = client_.send(request);
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().kind, ErrorKind::ambiguous);
  EXPECT_EQ(echo.requests, 2);
}

TEST_F(Server, StopsWhileClientsHoldConnectionsOpen) {
  Echo echo("in");
  start(echo);
  ASSERT_TRUE(client_.send({.url = server_->url() + "/"}));
  const auto before = std::chrono::steady_clock::now();
  server_.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - before, 5s);
}

}  // namespace
}  // namespace millrace
