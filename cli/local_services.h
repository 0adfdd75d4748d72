// The embedded Personalize and Kinesis behind one loopback port: `emulate`, and the world of
// `demo`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "core/log.h"
#include "core/result.h"
#include "core/secret.h"
#include "local/kinesis_service.h"
#include "local/loopback_server.h"
#include "local/personalize_service.h"
#include "local/router.h"
#include "local/signature_check.h"

namespace millrace {

class SystemServiceClock final : public ServiceClock {
 public:
  [[nodiscard]] WallTime now() const override;
};

struct LocalServicesOptions {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;                // 0: any
  std::filesystem::path state_folder{};  // empty: in memory only
  std::string region = "us-east-1";
  double time_scale = 1.0;  // of Personalize's asynchronous steps; 0: as long as the work takes
  std::map<std::string, std::filesystem::path> bucket_folders{};
  bool kinesis_limits = false;
  double put_events_calls_per_second_max = 0;
  SignatureCheckOptions signatures{};
};

/// Serves from start() to the end of its life. Threads: its own.
class LocalServices {
 public:
  static Result<std::unique_ptr<LocalServices>> start(LocalServicesOptions options, const Log& log);
  LocalServices(const LocalServices&) = delete;
  LocalServices& operator=(const LocalServices&) = delete;

  [[nodiscard]] std::string url() const { return server_->url(); }
  [[nodiscard]] PersonalizeService& personalize() { return *personalize_; }
  [[nodiscard]] KinesisService& kinesis() { return *kinesis_; }

 private:
  LocalServices() = default;

  SystemServiceClock clock_{};
  std::unique_ptr<KinesisService> kinesis_{};
  std::unique_ptr<PersonalizeService> personalize_{};
  std::unique_ptr<Router> router_{};
  std::unique_ptr<SignatureCheck> checked_{};
  std::unique_ptr<LoopbackServer> server_{};
};

}  // namespace millrace
