// What a section's AWS calls take from the configuration (`aws:` and the overrides of each
// section).
#pragma once

#include <string>

namespace millrace {

/// aws: { region, profile, endpoint }. Each section may override region and endpoint.
struct AwsOptions {
  std::string region{};    // empty: AWS_REGION, AWS_DEFAULT_REGION, the profile's
  std::string profile{};   // empty: AWS_PROFILE, else "default"
  std::string endpoint{};  // empty: the service's own; else scheme://host[:port][/base]
};

}  // namespace millrace
