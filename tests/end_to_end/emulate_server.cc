// The embedded Kinesis behind a port, for clients of other languages: prints its url and serves
// until its standard input ends.
#include <chrono>
#include <cstdio>
#include <string>

#include "local/kinesis_service.h"
#include "local/loopback_server.h"
#include "local/router.h"
#include "local/signature_check.h"

namespace {

class SystemClock final : public millrace::ServiceClock {
 public:
  [[nodiscard]] millrace::WallTime now() const override {
    return std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
  }
};

}  // namespace

int main(int count, char** words) {
  const SystemClock clock;
  millrace::KinesisServiceOptions options;
  options.region = "eu-west-1";
  if (count > 1) options.folder = words[1];
  auto kinesis = millrace::KinesisService::open(options, clock);
  if (!kinesis) {
    std::fprintf(stderr, "%s\n", kinesis.error().message.c_str());
    return 1;
  }
  millrace::Router router({.kinesis = kinesis->get()});
  millrace::SignatureCheck check({}, clock, router);
  auto server = millrace::LoopbackServer::start({}, check);
  if (!server) {
    std::fprintf(stderr, "%s\n", server.error().message.c_str());
    return 1;
  }
  std::printf("%s\n", (*server)->url().c_str());
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  return 0;
}
