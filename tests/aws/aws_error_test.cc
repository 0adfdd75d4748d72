#include "aws/aws_error.h"

#include <gtest/gtest.h>

#include <map>

namespace millrace {
namespace {

TEST(AwsErrorCode, ComesFromWhereverTheProtocolPutsIt) {
  const struct {
    const char* header;
    const char* body;
    const char* code;
  } rows[] = {
      {"", R"({"__type":"ResourceInUseException","message":"m"})", "ResourceInUseException"},
      {"", R"({"__type":"com.amazonaws.kinesis.v20131202#LimitExceededException"})",
       "LimitExceededException"},
      {"", R"({"__type":"ns#Name:http://internal.example/x#y"})", "Name"},
      {"", R"({"code":"InvalidInputException"})", "InvalidInputException"},
      {"InvalidInputException:http://internal.amazon.com/coral/", "{}", "InvalidInputException"},
      {"FromHeader", R"({"__type":"FromBody"})", "FromHeader"},
      {"", "", "400"},
      {"", "<html>Bad Gateway</html>", "400"},
      {"", "[1,2]", "400"},
      {"", R"({"__type":7,"message":["x"]})", "400"},
      {"", "{\"__type\":\"\xff\xfe\"}", "400"},
  };
  for (const auto& row : rows) {
    HttpResponse response{.status = 400, .body = row.body};
    if (*row.header != 0) response.headers.push_back({"x-amzn-ErrorType", row.header});
    EXPECT_EQ(extract_aws_error(response).code, row.code) << row.body;
  }
}

TEST(AwsErrorCode, TheQueryErrorHeaderWins) {
  const HttpResponse response{.status = 400,
                              .headers = {{"x-amzn-query-error", "Gone;Sender"}},
                              .body = R"({"__type":"Other"})"};
  EXPECT_EQ(extract_aws_error(response).code, "Gone");
}

TEST(AwsErrorMessage, IsOneBoundedLineWithTheRequestId) {
  HttpResponse response{.status = 400,
                        .headers = {{"x-amzn-RequestId", "id-1"}},
                        .body = R"({"__type":"InvalidInputException","message":"a\nb"})"};
  EXPECT_EQ(aws_error("PutEvents", response).message,
            "PutEvents: InvalidInputException: a b (HTTP 400, request id id-1)");
  EXPECT_EQ(without_request_id(aws_error("PutEvents", response).message),
            "PutEvents: InvalidInputException: a b (HTTP 400)");
  EXPECT_EQ(without_request_id("no answer"), "no answer");
  response.body = std::string(511, 'x') + "é and more";
  const std::string message = extract_aws_error(response).message;
  EXPECT_EQ(message, std::string(511, 'x') + "…");
}

TEST(AwsErrorMessage, SaysWhenTheAnswerCannotBeFromAws) {
  const Error error = aws_error("GetRecords", {.status = 502, .body = "<html>oops</html>"});
  EXPECT_EQ(error.kind, ErrorKind::ambiguous);
  EXPECT_NE(error.message.find("is a proxy in between?"), std::string::npos);
}

TEST(AwsErrorTable, MapsEachCodeToWhatTheCallerShouldDo) {
  // Written out again on purpose: the table is a promise to the callers.
  const std::map<ErrorKind, std::vector<std::string>> expected = {
      {ErrorKind::throttled,
       {"LimitExceededException", "ThrottlingException", "Throttling", "ThrottledException",
        "RequestThrottled", "RequestThrottledException", "TooManyRequestsException",
        "ProvisionedThroughputExceededException", "RequestLimitExceeded", "BandwidthLimitExceeded",
        "KMSThrottlingException", "SlowDown", "PriorRequestNotComplete"}},
      {ErrorKind::transient,
       {"ServiceUnavailable", "ServiceUnavailableException", "ExpiredToken",
        "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired", "RequestTimeTooSkewed",
        "RequestInTheFuture"}},
      {ErrorKind::ambiguous,
       {"RequestTimeout", "RequestTimeoutException", "InternalFailure", "InternalFailureException",
        "InternalServerError", "InternalServerException", "InternalError"}},
      {ErrorKind::denied,
       {"AccessDenied",
        "AccessDeniedException",
        "UnauthorizedOperation",
        "UnauthorizedException",
        "NotAuthorized",
        "UnrecognizedClientException",
        "InvalidClientTokenId",
        "InvalidAccessKeyId",
        "InvalidToken",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "AuthFailure",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "OptInRequired",
        "SubscriptionRequiredException",
        "KMSAccessDeniedException",
        "KMSDisabledException",
        "KMSInvalidStateException",
        "KMSNotFoundException",
        "KMSOptInRequired"}},
      {ErrorKind::not_found, {"ResourceNotFoundException"}},
      {ErrorKind::conflict,
       {"ResourceInUseException", "ResourceAlreadyExistsException", "ExpiredIteratorException",
        "ExpiredNextTokenException"}},
      {ErrorKind::rejected,
       {"InvalidInputException", "InvalidArgumentException", "InvalidNextTokenException",
        "ValidationException", "ValidationError", "SerializationException",
        "UnknownOperationException", "TooManyTagsException", "TooManyTagKeysException"}},
  };
  std::size_t rows = 0;
  for (const auto& [kind, codes] : expected) {
    for (const auto& code : codes) {
      EXPECT_EQ(kind_of_aws_error(code, 400), kind) << code;
      ++rows;
    }
  }
  EXPECT_EQ(aws_error_table().size(), rows);
}

TEST(AwsErrorTable, FallsBackToTheStatusOfAnUnknownCode) {
  const std::pair<int, ErrorKind> rows[] = {
      {400, ErrorKind::rejected},  {401, ErrorKind::denied},    {403, ErrorKind::denied},
      {404, ErrorKind::not_found}, {408, ErrorKind::ambiguous}, {409, ErrorKind::conflict},
      {412, ErrorKind::conflict},  {429, ErrorKind::throttled}, {500, ErrorKind::ambiguous},
      {502, ErrorKind::ambiguous}, {503, ErrorKind::transient}, {504, ErrorKind::ambiguous},
      {302, ErrorKind::rejected}};
  for (const auto& [status, kind] : rows)
    EXPECT_EQ(kind_of_aws_error("SomethingNew", status), kind) << status;
}

TEST(AwsErrorHints, TakesTheServersWishWhenItIsANumber) {
  using std::chrono::milliseconds;
  const struct {
    const char* name;
    const char* value;
    std::optional<milliseconds> wish;
  } rows[] = {{"x-amz-retry-after", "1500", milliseconds(1500)},
              {"Retry-After", "3", milliseconds(3000)},
              {"Retry-After", "Wed, 21 Oct 2026 07:28:00 GMT", std::nullopt},
              {"x-amz-retry-after", "-1", std::nullopt},
              {"x-amz-retry-after", "99999999999999999999", std::nullopt},
              {"x-amz-retry-after", "", std::nullopt}};
  for (const auto& row : rows) {
    const HttpResponse response{.status = 503, .headers = {{row.name, row.value}}};
    EXPECT_EQ(aws_error("X", response).retry_after, row.wish) << row.value;
  }
}

}  // namespace
}  // namespace millrace
