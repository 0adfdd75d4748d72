#include "cli/local_services.h"

#include <chrono>

namespace millrace {

WallTime SystemServiceClock::now() const {
  return std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
}

Result<std::unique_ptr<LocalServices>> LocalServices::start(LocalServicesOptions options,
                                                            const Log& log) {
  std::unique_ptr<LocalServices> services(new LocalServices);
  const bool keeps = !options.state_folder.empty();

  KinesisServiceOptions kinesis;
  kinesis.region = options.region;
  kinesis.limits = options.kinesis_limits;
  if (keeps) kinesis.folder = options.state_folder / "kinesis";
  auto opened_kinesis = KinesisService::open(kinesis, services->clock_);
  if (!opened_kinesis) return fail(opened_kinesis.error().while_doing("the local Kinesis"));
  services->kinesis_ = std::move(*opened_kinesis);

  PersonalizeServiceOptions personalize;
  personalize.region = options.region;
  personalize.time_scale = options.time_scale;
  personalize.bucket_folders = options.bucket_folders;
  personalize.put_events_calls_per_second_max = options.put_events_calls_per_second_max;
  if (keeps) personalize.state_folder = options.state_folder / "personalize";
  auto opened_personalize = PersonalizeService::open(personalize, services->clock_, log);
  if (!opened_personalize)
    return fail(opened_personalize.error().while_doing("the local Personalize"));
  services->personalize_ = std::move(*opened_personalize);

  services->router_ = std::make_unique<Router>(Routes{.kinesis = services->kinesis_.get(),
                                                      .personalize = services->personalize_.get(),
                                                      .events = services->personalize_.get(),
                                                      .runtime = services->personalize_.get()});
  services->checked_ =
      std::make_unique<SignatureCheck>(options.signatures, services->clock_, *services->router_);
  LoopbackServerOptions server;
  server.host = options.host;
  server.port = options.port;
  auto started = LoopbackServer::start(server, *services->checked_);
  if (!started) return tl::unexpected(started.error());
  services->server_ = std::move(*started);
  return services;
}

}  // namespace millrace
