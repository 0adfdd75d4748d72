// Small vectors of our own, computed with two independent signers; the large public suites are in
// sigv4_vectors_test.cc.
#include "aws/sigv4.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

constexpr std::int64_t kThen = 1'440'938'160'000;  // 20150830T123600Z

Credentials example_credentials(std::string token = "") {
  return {.access_key_id = "AKIDEXAMPLE",
          .secret_access_key = Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
          .session_token = Secret(std::move(token))};
}

std::string hex_of(const SigningKey& key) {
  std::string out;
  for (const unsigned char byte : key) out += fmt::format("{:02x}", byte);
  return out;
}

SigningOptions at_then(std::string service) {
  return {.region = "eu-west-1", .service = std::move(service), .time = wall_time_of_ms(kThen)};
}

std::string_view header_of(const HttpRequest& request, std::string_view name) {
  for (const auto& header : request.headers)
    if (header.name == name) return header.value;
  return {};
}

SecretOf one_secret() {
  return [](std::string_view id) -> std::optional<Secret> {
    if (id != "AKIDEXAMPLE") return std::nullopt;
    return Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
  };
}

TEST(SigV4, DerivesTheKnownSigningKeys) {
  const Secret secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
  EXPECT_EQ(hex_of(derive_signing_key(secret, "20150830", "us-east-1", "iam")),
            "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
  EXPECT_EQ(hex_of(derive_signing_key(secret, "20150830", "eu-west-1", "s3")),
            "7f084c1e81ca0556711304b1668ea2249e2b986333938aea58de5d873d5f1269");
  EXPECT_EQ(hex_of(derive_signing_key(secret, "20150830", "eu-west-1", "personalize")),
            "7b9f49461315ac6361e09565fee3c7c26c85cd53720e9947a027c76cbbb739b1");
}

TEST(SigV4, CachesOneKeyAndNoticesEveryChange) {
  SigningKeyCache cache;
  const Secret a("a");
  const Secret b("b");
  const auto expect_right = [&](const Secret& secret, const char* date, const char* region,
                                const char* service) {
    EXPECT_EQ(cache.get(secret, date, region, service),
              derive_signing_key(secret, date, region, service));
  };
  expect_right(a, "20260101", "eu-west-1", "kinesis");
  expect_right(a, "20260101", "eu-west-1", "kinesis");
  expect_right(a, "20260102", "eu-west-1", "kinesis");
  expect_right(b, "20260102", "eu-west-1", "kinesis");
  expect_right(b, "20260102", "us-east-1", "kinesis");
  expect_right(b, "20260102", "us-east-1", "s3");
}

struct Vector {
  const char* name;
  const char* service;
  HttpRequest request;
  const char* token;
  const char* signature;
};

std::vector<Vector> own_vectors() {
  const std::string s3 = "https://acme-lake.s3.eu-west-1.amazonaws.com";
  return {
      {"odd key",
       "s3",
       {.method = "GET",
        .url = s3 + "/crm/2024/a%20b%2Bc%26d%3De/%C3%A9~%21%2A%27%28%29%40%3A%2C%3B%24/"
                    "x%25y.json.gz"},
       "",
       "16cddca7a4f73210fb8624d11b6d0221d90235105f67f29365d19deb1a0b6aa7"},
      {"put with token",
       "s3",
       {.method = "PUT",
        .url = s3 + "/p/hour%3D05/o-1.ndjson",
        .headers = {{"Content-Type", "application/x-ndjson"},
                    {"If-None-Match", "*"},
                    {"Content-Length", "5"}},
        .body = "hello"},
       "TOKEN/+=",
       "6d259b5fed7812563a8b09231be6b5229d517fcfcdf114170d2e8005bba2a727"},
      {"list",
       "s3",
       {.method = "GET",
        .url = s3 + "/?list-type=2&prefix=crm%2Fa%20b%2F&encoding-type=url&start-after=crm%2F&"
                    "max-keys=1000"},
       "",
       "e8e7cdcd9d87337a5ff6fc1d3ce537f85c922824764c907eba0fadd7a25e1b8f"},
      {"dynamodb",
       "dynamodb",
       {.method = "POST",
        .url = "https://dynamodb.eu-west-1.amazonaws.com/",
        .headers = {{"Content-Type", "application/x-amz-json-1.0"},
                    {"X-Amz-Target", "DynamoDB_20120810.GetItem"}},
        .body = "{}"},
       "",
       "138a520de008e1bf5c8341f0a9c6f564971ef802d59ae8d363adf77d8119fb08"},
      {"path of dots",
       "personalize",
       {.method = "GET",
        .url = "https://personalize-runtime.eu-west-1.amazonaws.com/x/../a%20b//c"},
       "",
       "eeff95f396a08edb29d2398c0f6ac5ce33c62a40c969387f4952c13fbb6c3fe4"},
      {"bare query name",
       "s3",
       {.method = "GET", .url = s3 + "/?uploads"},
       "",
       "900fa279a8f1a4cc50d411c9a90fa1dd7fdd9a72e054e1afe9c19098a01d2c9c"},
  };
}

TEST(SigV4, SignsOurOwnVectors) {
  for (auto& vector : own_vectors()) {
    const auto stages =
        sign_request(vector.request, example_credentials(vector.token), at_then(vector.service));
    EXPECT_EQ(stages.signature, vector.signature) << vector.name << "\n"
                                                  << stages.canonical_request;
  }
}

TEST(SigV4, VerifiesWhatItSigned) {
  for (auto& vector : own_vectors()) {
    sign_request(vector.request, example_credentials(vector.token), at_then(vector.service));
    const auto caller =
        verify_signature(vector.request, one_secret(), {.now = wall_time_of_ms(kThen + 60'000)});
    ASSERT_TRUE(caller.has_value()) << vector.name << ": " << caller.error().message;
    EXPECT_EQ(caller->access_key_id, "AKIDEXAMPLE");
    EXPECT_EQ(caller->service, vector.service);
    EXPECT_EQ(caller->region, "eu-west-1");
  }
}

TEST(SigV4, ASecondSigningReplacesTheFirst) {
  HttpRequest request{.method = "POST", .url = "http://127.0.0.1:9999/x", .body = "b"};
  sign_request(request, example_credentials("OLD"), at_then("kinesis"));
  const std::size_t headers = request.headers.size();
  sign_request(request, example_credentials("NEW"), at_then("kinesis"));
  EXPECT_EQ(request.headers.size(), headers);
  EXPECT_EQ(header_of(request, "X-Amz-Security-Token"), "NEW");
  EXPECT_EQ(header_of(request, "Host"), "127.0.0.1:9999");
  EXPECT_TRUE(verify_signature(request, one_secret(), {.now = wall_time_of_ms(kThen)}).has_value());
}

TEST(SigV4, HostKeepsAPortUnlessItIsTheSchemesOwn) {
  const std::pair<const char*, const char*> rows[] = {{"https://a.example:443/", "a.example"},
                                                      {"http://a.example:80/", "a.example"},
                                                      {"http://a.example:443/", "a.example:443"},
                                                      {"http://[::1]:4566/x", "[::1]:4566"},
                                                      {"https://a.example?x=1", "a.example"}};
  for (const auto& [url, host] : rows) {
    HttpRequest request{.url = url};
    sign_request(request, example_credentials(), at_then("kinesis"));
    EXPECT_EQ(header_of(request, "Host"), host) << url;
  }
}

TEST(SigV4, LeavesOutOfTheSignatureWhatProxiesChange) {
  HttpRequest request{.url = "https://a.example/",
                      .headers = {{"User-Agent", "x"}, {"amz-sdk-request", "attempt=1"}}};
  sign_request(request, example_credentials(), at_then("kinesis"));
  for (auto& header : request.headers)
    if (header.name == "User-Agent" || header.name == "amz-sdk-request") header.value = "changed";
  request.headers.push_back({"X-Amzn-Trace-Id", "Root=1"});
  EXPECT_TRUE(verify_signature(request, one_secret(), {.now = wall_time_of_ms(kThen)}).has_value());
}

class Tampering : public testing::Test {
 protected:
  Tampering() {
    request_ = {.method = "POST",
                .url = "https://kinesis.eu-west-1.amazonaws.com/p?a=1",
                .headers = {{"Content-Type", "application/x-amz-json-1.1"},
                            {"X-Amz-Target", "Kinesis_20131202.PutRecords"}},
                .body = "{}"};
    sign_request(request_, example_credentials(), at_then("kinesis"));
  }
  std::string code_of(std::int64_t now_ms = kThen) {
    const auto caller = verify_signature(request_, one_secret(), {.now = wall_time_of_ms(now_ms)});
    return caller ? "ok" : caller.error().code;
  }
  std::string& header(std::string_view name) {
    for (auto& h : request_.headers)
      if (h.name == name) return h.value;
    ADD_FAILURE() << "no header " << name;
    return request_.body;
  }
  HttpRequest request_{};
};

TEST_F(Tampering, IsNoticedInEverySignedPart) {
  EXPECT_EQ(code_of(), "ok");
  const HttpRequest good = request_;
  const std::string wrong = "InvalidSignatureException";
  request_.method = "PUT";
  EXPECT_EQ(code_of(), wrong);
  request_ = good;
  request_.url = "https://kinesis.eu-west-1.amazonaws.com/q?a=1";
  EXPECT_EQ(code_of(), wrong);
  request_.url = "https://kinesis.eu-west-1.amazonaws.com/p?a=2";
  EXPECT_EQ(code_of(), wrong);
  request_ = good;
  request_.body = "{ }";
  EXPECT_EQ(code_of(), wrong);
  request_ = good;
  header("X-Amz-Target") = "Kinesis_20131202.GetRecords";
  EXPECT_EQ(code_of(), wrong);
  request_ = good;
  header("Host") = "evil.example";
  EXPECT_EQ(code_of(), wrong);
  request_ = good;
  header("Authorization").back() = header("Authorization").back() == '0' ? '1' : '0';
  EXPECT_EQ(code_of(), wrong);
  request_ = good;
  request_.headers.push_back({"x-amz-acl", "public-read"});
  EXPECT_EQ(code_of(), "IncompleteSignatureException");
}

TEST_F(Tampering, IsNoticedInTheClock) {
  EXPECT_EQ(code_of(kThen + 299'000), "ok");
  EXPECT_EQ(code_of(kThen + 301'000), "InvalidSignatureException");
  EXPECT_EQ(code_of(kThen - 299'000), "ok");
  EXPECT_EQ(code_of(kThen - 301'000), "InvalidSignatureException");
  header("X-Amz-Date") = "20150831T123600Z";
  EXPECT_EQ(code_of(kThen + 86'400'000), "InvalidSignatureException");
  for (const char* date : {"", "now", "20150830T123600", "20151330T123600Z",
                           "2015083\xff"
                           "123600Z"}) {
    header("X-Amz-Date") = date;
    EXPECT_EQ(code_of(), "IncompleteSignatureException") << date;
  }
}

TEST_F(Tampering, HostileAuthorizationHeadersAreRefusedInTheServicesWords) {
  const std::pair<const char*, const char*> rows[] = {
      {"", "IncompleteSignatureException"},
      {"AWS4-HMAC-SHA256", "IncompleteSignatureException"},
      {"Bearer x", "IncompleteSignatureException"},
      {"AWS4-HMAC-SHA256 Credential=,SignedHeaders=,Signature=", "IncompleteSignatureException"},
      {"AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request,SignedHeaders=host,Signature=1",
       "IncompleteSignatureException"},
      {"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/eu-west-1/kinesis/aws4_request, "
       "SignedHeaders=x-amz-date, Signature=ab",
       "IncompleteSignatureException"},
      {"AWS4-HMAC-SHA256 Credential=NOBODY/20150830/eu-west-1/kinesis/aws4_request, "
       "SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=ab",
       "UnrecognizedClientException"},
      {"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/eu-west-1/kinesis/aws4_request, "
       "SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=ab",
       "InvalidSignatureException"}};
  for (const auto& [value, code] : rows) {
    header("Authorization") = value;
    EXPECT_EQ(code_of(), code) << value;
  }
  std::erase_if(request_.headers, [](const HttpHeader& h) { return h.name == "Authorization"; });
  EXPECT_EQ(code_of(), "MissingAuthenticationTokenException");
}

TEST(SigV4, ChecksTheBodyAgainstTheHashThatS3RequestsCarry) {
  HttpRequest request{
      .method = "PUT", .url = "https://b.s3.eu-west-1.amazonaws.com/k", .body = "x"};
  sign_request(request, example_credentials(), at_then("s3"));
  request.body = "y";
  const auto caller = verify_signature(request, one_secret(), {.now = wall_time_of_ms(kThen)});
  ASSERT_FALSE(caller.has_value());
  EXPECT_EQ(caller.error().code, "XAmzContentSHA256Mismatch");
}

TEST(SigV4, NoMessageHoldsTheSecret) {
  HttpRequest request{.url = "https://a.example/"};
  const auto stages = sign_request(request, example_credentials(), at_then("kinesis"));
  for (const auto& header : request.headers)
    EXPECT_EQ(header.value.find("wJalr"), std::string::npos);
  EXPECT_EQ(stages.canonical_request.find("wJalr"), std::string::npos);
}

}  // namespace
}  // namespace millrace
