#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/local_services.h"

namespace millrace {
namespace {

struct EmulateArguments {
  std::string listen = "127.0.0.1:9900";
  std::string state{};
  double time_scale = 1.0;
  std::string region = "us-east-1";
  std::vector<std::string> buckets{};
  std::string access_key = kLocalAccessKeyId;
  bool any_key = false;
  bool limits = false;
  double put_events_quota = 0;
};

Result<LocalServicesOptions> options_of(const EmulateArguments& arguments,
                                        const Environment& environment) {
  LocalServicesOptions options;
  const std::size_t colon = arguments.listen.rfind(':');
  const char* const end = arguments.listen.data() + arguments.listen.size();
  if (colon == std::string::npos) {
    return fail(ErrorKind::invalid, fmt::format("--listen {}: write host:port", arguments.listen));
  }
  options.host = arguments.listen.substr(0, colon);
  const auto [stop, error] =
      std::from_chars(arguments.listen.data() + colon + 1, end, options.port);
  if (error != std::errc() || stop != end) {
    return fail(ErrorKind::invalid,
                fmt::format("--listen {}: the port is a number up to 65535", arguments.listen));
  }
  options.state_folder = arguments.state;
  options.time_scale = arguments.time_scale;
  options.region = arguments.region;
  options.kinesis_limits = arguments.limits;
  options.put_events_calls_per_second_max = arguments.put_events_quota;
  for (const std::string& bucket : arguments.buckets) {
    const std::size_t equals = bucket.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == bucket.size()) {
      return fail(ErrorKind::invalid, fmt::format("--bucket {}: write NAME=FOLDER", bucket));
    }
    options.bucket_folders[bucket.substr(0, equals)] = bucket.substr(equals + 1);
  }
  options.signatures.accept_any = arguments.any_key;
  if (arguments.access_key != kLocalAccessKeyId) {
    // The secret comes by environment: a command line is for everybody to read.
    const auto secret = environment("MILLRACE_SECRET_ACCESS_KEY");
    if (!secret || secret->empty()) {
      return fail(
          ErrorKind::invalid,
          "--access-key needs its secret in the environment variable MILLRACE_SECRET_ACCESS_KEY");
    }
    options.signatures.keys = {{arguments.access_key, Secret(*secret)}};
  }
  return options;
}

Exit emulate(const EmulateArguments& arguments, CommandContext& context) {
  const auto options = options_of(arguments, context.environment);
  if (!options) return report(options.error());
  auto services = LocalServices::start(*options, *context.log);
  if (!services) return report(services.error().while_doing("emulate"));
  const bool own_key = arguments.access_key != kLocalAccessKeyId;
  if (context.json) {
    fmt::print("{}\n", nlohmann::ordered_json({{"url", (*services)->url()},
                                               {"region", arguments.region},
                                               {"access_key_id", arguments.access_key},
                                               {"state", arguments.state}})
                           .dump());
  } else {
    fmt::print(
        "Personalize (control, events, runtime) and Kinesis at {}{}\n\n"
        "  export AWS_ENDPOINT_URL={}\n"
        "  export AWS_REGION={} AWS_DEFAULT_REGION={}\n"
        "  export AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY={}\n\n"
        "Then boto3, the AWS CLI and millrace itself use it unchanged: aws personalize "
        "list-recipes\n"
        "State: {}. Ctrl-C ends it.\n",
        (*services)->url(), arguments.any_key ? ", any key" : "", (*services)->url(),
        arguments.region, arguments.region, arguments.access_key,
        own_key ? "<its secret>" : kLocalSecretAccessKey,
        arguments.state.empty() ? "in memory only (--state FOLDER keeps it)" : arguments.state);
  }
  std::fflush(stdout);
  while (context.pause->wait(std::chrono::hours(1))) {
  }
  return Exit::done;
}

}  // namespace

void add_emulate(CLI::App& root, RunCommand& chosen) {
  auto arguments = std::make_shared<EmulateArguments>();
  CLI::App* const command = root.add_subcommand(
      "emulate", "Serve the embedded Personalize and Kinesis on this machine, for any AWS client");
  command->add_option("--listen", arguments->listen, "host:port; port 0 takes any that is free")
      ->capture_default_str();
  command->add_option("--state", arguments->state,
                      "Keep everything in this folder across restarts (default: in memory)");
  command
      ->add_option("--time-scale", arguments->time_scale,
                   "How long asynchronous steps take beside the real service's: 1 is minutes, 0 as "
                   "long as the work takes")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
  command->add_option("--region", arguments->region, "Of the ARNs it makes")->capture_default_str();
  command->add_option("--bucket", arguments->buckets,
                      "NAME=FOLDER: where s3://NAME lies for imports and batch jobs");
  command
      ->add_option("--access-key", arguments->access_key,
                   "The access key id it knows; its secret comes from MILLRACE_SECRET_ACCESS_KEY")
      ->capture_default_str();
  command->add_flag("--any-key", arguments->any_key,
                    "Take requests of any key, without looking at signatures");
  command->add_flag("--limits", arguments->limits,
                    "Kinesis' limits per shard (5 reads a second, 1,000 records a second, …)");
  command
      ->add_option("--put-events-quota", arguments->put_events_quota,
                   "PutEvents calls a second; 0: no limit")
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str();
  command->callback([arguments, &chosen] {
    chosen = [arguments](CommandContext& context) { return emulate(*arguments, context); };
  });
}

}  // namespace millrace
