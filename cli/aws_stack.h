// The AWS clients of one program, built from the configuration: one HTTP client, one set of
// credentials per section.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "aws/aws_client.h"
#include "aws/credentials.h"
#include "aws/curl_http_client.h"
#include "cli/command.h"

namespace millrace {

/// Threads: client() from one; the clients themselves from any. The context must outlive it, and it
/// its clients.
class AwsStack {
 public:
  explicit AwsStack(CommandContext& context);
  AwsStack(const AwsStack&) = delete;
  AwsStack& operator=(const AwsStack&) = delete;

  /// `attempts_max` 1 for callers with a paced retry of their own. Errors are `invalid`: no region,
  /// no credentials.
  Result<std::unique_ptr<AwsClient>> client(const AwsService& service, const AwsOptions& options,
                                            std::uint32_t attempts_max = 3);

 private:
  CommandContext& context_;
  CurlHttpClient http_;
  ClockOffset clock_offset_{};
  std::map<std::string, std::unique_ptr<CredentialsProvider>> credentials_{};  // by profile
};

}  // namespace millrace
