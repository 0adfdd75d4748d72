// Signing one PutEvents call of ten events (2.2 kB), with the signing key cached as in the product.
// Beside it SHA-256 of the body alone, which every signer has to do. Prints the signature.
#include <benchmark/benchmark.h>

#include <string>

#include "aws/sigv4.h"

namespace millrace {
namespace {

std::string body_of_ten() {
  std::string body =
      R"({"trackingId":"7b0d5cb2","userId":"u-1042","sessionId":"9a4ea","eventList":[)";
  for (int i = 0; i < 10; ++i) {
    body +=
        std::string(i > 0 ? "," : "") +
        R"({"eventId":"0f3a9c1b5d7e2f4a6b8c0d1e2f3a4b5c","eventType":)" +
        R"("view","itemId":"B07J6B1BHK","sentAt":1700000000,"properties":"{\"page\":\"/search\",\"position\":3,)" +
        R"(\"price\":91.37,\"list\":\"search\"}"})";
  }
  return body + "]}";
}

void sign(benchmark::State& bench) {
  const Credentials credentials{
      .access_key_id = "AKIDEXAMPLE",
      .secret_access_key = Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")};
  HttpRequest request{.method = "POST",
                      .url = "https://personalize-events.eu-west-1.amazonaws.com/events",
                      .headers = {{"content-type", "application/json"}},
                      .body = body_of_ten()};
  SigningKeyCache keys;
  const SigningOptions options{.region = "eu-west-1",
                               .service = "personalize",
                               .time = wall_time_of_ms(1'440'938'160'000),
                               .key_cache = &keys};
  SignatureStages stages;
  for (auto _ : bench) {
    stages = sign_request(request, credentials, options);
    benchmark::DoNotOptimize(stages.signature.data());
  }
  bench.SetItemsProcessed(bench.iterations());
  bench.SetLabel(stages.signature.substr(0, 16));
}

void hash_of_the_body(benchmark::State& bench) {
  const std::string body = body_of_ten();
  std::string hash;
  for (auto _ : bench) {
    hash = sha256_hex(body);
    benchmark::DoNotOptimize(hash.data());
  }
  bench.SetItemsProcessed(bench.iterations());
  bench.SetLabel(hash.substr(0, 16));
}

BENCHMARK(sign);
BENCHMARK(hash_of_the_body);

}  // namespace
}  // namespace millrace

BENCHMARK_MAIN();
