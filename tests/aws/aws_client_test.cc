#include "aws/aws_client.h"

#include <gtest/gtest.h>

#include "tests/fakes/recording_pause.h"
#include "tests/fakes/scripted_http_client.h"

namespace millrace {
namespace {

constexpr std::int64_t kNow = 1'795'000'000'000;

HttpResponse refusal(std::string code, int status = 400) {
  return {.status = status, .body = R"({"__type":")" + code + R"(","message":"m"})"};
}

/// Credentials that change once they were refused.
class RotatingCredentials final : public CredentialsProvider {
 public:
  Result<Credentials> credentials() override {
    return Credentials{.access_key_id = "KEY" + std::to_string(generation),
                       .secret_access_key = Secret("s")};
  }
  void forget(const Credentials&) override {
    ++forgotten;
    if (rotates) ++generation;
  }
  [[nodiscard]] std::string name() const override { return "rotating keys"; }

  bool rotates = true;
  int generation = 1;
  int forgotten = 0;
};

class AwsClientTest : public testing::Test {
 protected:
  AwsClient client(std::uint32_t attempts_max = 3) {
    return AwsClient({.service = kKinesisService,
                      .region = "eu-west-1",
                      .endpoint = "http://127.0.0.1:4566/base",
                      .attempts_max = attempts_max},
                     {.http = http_,
                      .credentials = credentials_,
                      .clock_offset = offset_,
                      .pause = pause_,
                      .log = log_,
                      .wall_time = [this] { return wall_time_of_ms(now_ms_); }});
  }
  static AwsCall some_call(bool repeatable = true) {
    return {.operation = "PutRecords",
            .target = "/x",
            .headers = {{"X-Amz-Target", "Kinesis_20131202.PutRecords"}},
            .body = "{}",
            .repeatable = repeatable};
  }

  ScriptedHttpClient http_{};
  RotatingCredentials credentials_{};
  ClockOffset offset_{};
  RecordingPause pause_{};
  Log log_{};
  std::int64_t now_ms_ = kNow;
};

TEST_F(AwsClientTest, SendsASignedRequestToTheEndpointsBasePath) {
  http_.then({.status = 200, .body = "ok"});
  auto aws = client();
  const auto response = aws.call(some_call());
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->body, "ok");
  const auto sent = http_.requests();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].url, "http://127.0.0.1:4566/base/x");
  const auto caller = verify_signature(sent[0], [](std::string_view) { return Secret("s"); },
                                       {.now = wall_time_of_ms(kNow)});
  ASSERT_TRUE(caller.has_value()) << caller.error().message;
  EXPECT_EQ(caller->service, "kinesis");
}

TEST_F(AwsClientTest, TriesWeatherAgainWithANewSignatureAndGivesUpAfterThree) {
  for (int i = 0; i < 5; ++i)
    http_.then([this](const HttpRequest&) -> Result<HttpResponse> {
      now_ms_ += 2000;
      return refusal("ThrottlingException");
    });
  auto aws = client();
  const auto response = aws.call(some_call());
  ASSERT_FALSE(response.has_value());
  EXPECT_EQ(response.error().kind, ErrorKind::throttled);
  const auto sent = http_.requests();
  ASSERT_EQ(sent.size(), 3u);
  EXPECT_NE(header_of(sent[0], "X-Amz-Date"), header_of(sent[1], "X-Amz-Date"));
  EXPECT_NE(header_of(sent[0], "Authorization"), header_of(sent[1], "Authorization"));
  EXPECT_EQ(sent[0].headers.size(), sent[2].headers.size());
  EXPECT_EQ(pause_.waits.size(), 2u);
}

TEST_F(AwsClientTest, DoesNotTryAnAnswerAgain) {
  for (const char* code : {"ResourceInUseException", "InvalidInputException",
                           "AccessDeniedException", "ResourceNotFoundException"}) {
    http_.then(refusal(code));
    auto aws = client();
    const auto response = aws.call(some_call());
    ASSERT_FALSE(response.has_value());
    EXPECT_EQ(response.error().code, code);
  }
  EXPECT_EQ(http_.requests().size(), 4u);
  EXPECT_TRUE(pause_.waits.empty());
}

TEST_F(AwsClientTest, ALostReplyIsRepeatedOnlyWhereThatIsHarmless) {
  http_.then(Error{ErrorKind::ambiguous, "lost"});
  http_.then({.status = 200});
  auto aws = client();
  EXPECT_FALSE(aws.call(some_call(/*repeatable=*/false)).has_value());
  EXPECT_EQ(http_.requests().size(), 1u);
  http_.then(Error{ErrorKind::ambiguous, "lost"});
  http_.then({.status = 200});
  EXPECT_TRUE(aws.call(some_call(/*repeatable=*/true)).has_value());
}

TEST_F(AwsClientTest, ARefusedConnectionIsTriedAgainEvenForCallsThatMustNotRepeat) {
  http_.then(Error{ErrorKind::transient, "refused"});
  http_.then({.status = 200});
  auto aws = client();
  EXPECT_TRUE(aws.call(some_call(/*repeatable=*/false)).has_value());
}

TEST_F(AwsClientTest, CorrectsAClockAnHourOffOnceAndForAllClients) {
  HttpResponse late = refusal("InvalidSignatureException");
  // kNow is 2026-11-18T11:06:40Z; the service is an hour ahead.
  ASSERT_EQ(iso8601(wall_time_of_ms(kNow)).substr(0, 19), "2026-11-18T11:06:40");
  late.headers.push_back({"Date", "Wed, 18 Nov 2026 12:06:40 GMT"});
  http_.then(late);
  http_.then({.status = 200});
  auto aws = client(1);
  EXPECT_TRUE(aws.call(some_call()).has_value());
  EXPECT_EQ(offset_.get(), std::chrono::hours(1));
  EXPECT_TRUE(pause_.waits.empty());
  http_.then({.status = 200});
  auto another = client(1);
  EXPECT_TRUE(another.call(some_call()).has_value());
  EXPECT_EQ(header_of(http_.requests().back(), "X-Amz-Date"), "20261118T120640Z");
}

TEST_F(AwsClientTest, DoesNotTouchTheClockForThreeMinutesOrAWrongKey) {
  HttpResponse wrong = refusal("InvalidSignatureException");
  wrong.headers.push_back({"Date", "Wed, 18 Nov 2026 11:09:40 GMT"});
  http_.then(wrong);
  auto aws = client(1);
  EXPECT_EQ(aws.call(some_call()).error().kind, ErrorKind::denied);
  EXPECT_EQ(offset_.get(), std::chrono::milliseconds(0));
  EXPECT_EQ(http_.requests().size(), 1u);
}

TEST_F(AwsClientTest, CorrectsTheClockAtMostOncePerCall) {
  for (int i = 0; i < 4; ++i) {
    HttpResponse late = refusal("RequestTimeTooSkewed");
    late.headers.push_back({"Date", "Wed, 18 Nov 2026 0" + std::to_string(i) + ":00:00 GMT"});
    http_.then(late);
  }
  auto aws = client(1);
  EXPECT_FALSE(aws.call(some_call()).has_value());
  EXPECT_EQ(http_.requests().size(), 2u);
}

TEST_F(AwsClientTest, FetchesCredentialsAgainWhenTheServiceCallsThemExpired) {
  http_.then(refusal("ExpiredTokenException"));
  http_.then({.status = 200});
  auto aws = client(1);
  EXPECT_TRUE(aws.call(some_call()).has_value());
  EXPECT_EQ(credentials_.forgotten, 1);
  EXPECT_NE(header_of(http_.requests().back(), "Authorization").find("KEY2/"), std::string::npos);
  EXPECT_TRUE(pause_.waits.empty());
}

TEST_F(AwsClientTest, SaysSoWhenThereAreNoNewerCredentials) {
  credentials_.rotates = false;
  http_.then(refusal("ExpiredTokenException"));
  auto aws = client(1);
  const auto response = aws.call(some_call());
  ASSERT_FALSE(response.has_value());
  EXPECT_EQ(response.error().kind, ErrorKind::transient);
  EXPECT_NE(response.error().message.find("rotating keys has no newer credentials"),
            std::string::npos);
  EXPECT_EQ(http_.requests().size(), 1u);
}

TEST_F(AwsClientTest, AStopEndsTheTries) {
  pause_.stop_at = 1;
  for (int i = 0; i < 3; ++i) http_.then(refusal("ThrottlingException"));
  auto aws = client();
  EXPECT_FALSE(aws.call(some_call()).has_value());
  EXPECT_EQ(http_.requests().size(), 1u);
}

TEST_F(AwsClientTest, WaitsAsLongAsTheServerWishes) {
  HttpResponse busy = refusal("SlowDown", 503);
  busy.headers.push_back({"x-amz-retry-after", "3000"});
  http_.then(busy);
  http_.then({.status = 200});
  auto aws = client();
  EXPECT_TRUE(aws.call(some_call()).has_value());
  ASSERT_EQ(pause_.waits.size(), 1u);
  EXPECT_GE(pause_.waits[0], std::chrono::milliseconds(3000));
}

}  // namespace
}  // namespace millrace
