#include "cli/aws_stack.h"

#include <chrono>
#include <random>

namespace millrace {

AwsStack::AwsStack(CommandContext& context)
    : context_(context), http_({.stopping = nullptr}, context.environment) {}

Result<std::unique_ptr<AwsClient>> AwsStack::client(const AwsService& service,
                                                    const AwsOptions& options,
                                                    std::uint32_t attempts_max) {
  auto& provider = credentials_[options.profile];
  if (!provider) {
    auto made = choose_credentials(options, context_.environment);
    if (!made) return tl::unexpected(made.error());
    provider = std::move(*made);
  }
  auto client_options = aws_client_options(service, options, context_.environment);
  if (!client_options) return tl::unexpected(client_options.error());
  client_options->attempts_max = attempts_max;
  return std::make_unique<AwsClient>(
      std::move(*client_options),
      AwsRuntime{.http = http_,
                 .credentials = *provider,
                 .clock_offset = clock_offset_,
                 .pause = *context_.pause,
                 .log = *context_.log,
                 .wall_time =
                     [] {
                       return std::chrono::floor<std::chrono::milliseconds>(
                           std::chrono::system_clock::now());
                     },
                 .seed = std::random_device{}()});
}

}  // namespace millrace
