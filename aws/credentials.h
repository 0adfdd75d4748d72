// Who signs: credentials as one immutable value, where they come from, and which region and
// endpoint a call goes to. Names and precedence are those of the "AWS SDKs and Tools Reference
// Guide".
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "aws/options.h"
#include "core/environment.h"
#include "core/result.h"
#include "core/secret.h"
#include "core/time.h"

namespace millrace {

/// Access key, secret and token of one generation; never mixed with those of another.
struct Credentials {
  std::string access_key_id{};
  Secret secret_access_key{};
  Secret session_token{};                // empty: long-lived keys
  std::optional<WallTime> expires_at{};  // nothing: they do not expire
};

/// Threads: any. credentials() may block (later providers do HTTP), so it is called where
/// HttpClient::send is. Errors: `invalid` when the configuration is wrong or names no credentials,
/// `denied` when a provider answered no, `transient` when it could not be reached.
class CredentialsProvider {
 public:
  virtual ~CredentialsProvider() = default;
  virtual Result<Credentials> credentials() = 0;

  /// A service has refused these as expired or unknown: the next credentials() should look again
  /// where they come from. Harmless when newer ones are already there.
  virtual void forget(const Credentials& refused) = 0;

  /// "environment", "profile acme (shared credentials file)": for messages. No secret.
  [[nodiscard]] virtual std::string name() const = 0;
};

/// Always the same ones: the demo, tests, and the emulator's own clients.
class StaticCredentials final : public CredentialsProvider {
 public:
  StaticCredentials(Credentials credentials, std::string name = "static keys")
      : credentials_(std::move(credentials)), name_(std::move(name)) {}
  Result<Credentials> credentials() override { return credentials_; }
  void forget(const Credentials&) override {}
  [[nodiscard]] std::string name() const override { return name_; }

 private:
  Credentials credentials_;
  std::string name_;
};

/// One profile of the shared config and credentials files, both merged. Keys are lower case; a
/// nested block's keys are "block.key" ("s3.addressing_style").
struct Profile {
  std::string name{};
  std::map<std::string, std::string, std::less<>> settings{};
  bool found = false;                // whether a file has a section of that name
  std::vector<std::string> known{};  // every profile name in the files, for messages

  [[nodiscard]] std::optional<std::string> find(std::string_view key) const;
};

/// Reads AWS_CONFIG_FILE (~/.aws/config) and AWS_SHARED_CREDENTIALS_FILE (~/.aws/credentials) for
/// the profile named by `options.profile`, AWS_PROFILE, AWS_DEFAULT_PROFILE or "default". Absent
/// files are no error; a malformed one (file:line is named), one over 1 MiB, or a profile that was
/// asked for by name and is in neither is `invalid`.
Result<Profile> read_profile(const AwsOptions& options, const Environment& environment);

/// The text of one such file. Pure; `file` is for messages. Sections of a config file are
/// [default] and [profile NAME], of a credentials file [NAME]. The result maps a profile's name to
/// its settings.
using ProfileSections = std::map<std::string, std::map<std::string, std::string, std::less<>>>;
Result<ProfileSections> parse_profile_file(std::string_view text, bool is_config,
                                           std::string_view file);

/// Chooses the provider once: environment keys, else the profile's static keys. What is configured
/// but unusable is an error, never skipped: a key without its secret, and a profile that needs
/// role_arn, sso_session, credential_process or web_identity_token_file (named in the message as
/// not supported yet), as are the container and web identity variables. A profile named in
/// `options` (not by AWS_PROFILE) goes before the environment's keys. The result reads the source
/// again after forget(), so keys replaced in the file are picked up without a restart.
Result<std::unique_ptr<CredentialsProvider>> choose_credentials(const AwsOptions& options,
                                                                const Environment& environment);

/// `options.region`, AWS_REGION, AWS_DEFAULT_REGION, the profile's region; else `invalid`, naming
/// all of these (there is no silent us-east-1). The region's form is checked, since it becomes part
/// of a host name.
Result<std::string> resolve_region(const AwsOptions& options, const Environment& environment);

/// A service as endpoints and signatures know it ("Service endpoints", AWS General Reference).
struct AwsService {
  std::string_view host_prefix{};   // "personalize-events"
  std::string_view signing_name{};  // "personalize"
  std::string_view variable{};      // "PERSONALIZE_EVENTS", of AWS_ENDPOINT_URL_<variable>
};

inline constexpr AwsService kKinesisService{"kinesis", "kinesis", "KINESIS"};
inline constexpr AwsService kPersonalizeService{"personalize", "personalize", "PERSONALIZE"};
inline constexpr AwsService kPersonalizeEventsService{"personalize-events", "personalize",
                                                      "PERSONALIZE_EVENTS"};
inline constexpr AwsService kPersonalizeRuntimeService{"personalize-runtime", "personalize",
                                                       "PERSONALIZE_RUNTIME"};

/// `options.endpoint`, AWS_ENDPOINT_URL_<SERVICE>, AWS_ENDPOINT_URL, the profile's endpoint_url,
/// else https://prefix.region.suffix with the suffix of the region's partition. Without a slash at
/// its end; scheme, port and base path of a custom one are kept.
/// AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true leaves only `options.endpoint` and the computed one.
Result<std::string> resolve_endpoint(const AwsService& service, const std::string& region,
                                     const AwsOptions& options, const Environment& environment);

/// "aws", "aws-cn", "aws-us-gov", "aws-eusc", "aws-iso"…: for ARNs. Unknown regions are "aws".
std::string_view partition_of(std::string_view region);

/// The region inside an ARN (arn:partition:service:region:account:resource); empty when it has
/// none.
std::string_view region_of_arn(std::string_view arn);

}  // namespace millrace
