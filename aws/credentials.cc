#include "aws/credentials.h"

#include <algorithm>
#include <atomic>
#include <fstream>
#include <iterator>
#include <utility>

namespace millrace {
namespace {

constexpr std::size_t kFileBytesMax = 1u << 20;

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r'))
    text.remove_suffix(1);
  return text;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::optional<std::string> set_variable(const Environment& environment, std::string_view name) {
  auto value = environment(name);
  if (value && value->empty()) return std::nullopt;
  return value;
}

// The profile that a section's name stands for; empty for sections that are none (sso-session,
// services, or a plain name in a config file, which the SDKs pass over too).
std::string profile_of_section(std::string_view section, bool is_config) {
  if (!is_config || section == "default") return std::string(section);
  if (!section.starts_with("profile") || section.size() < 9 ||
      (section[7] != ' ' && section[7] != '\t'))
    return {};
  std::string_view name = trimmed(section.substr(8));
  if (name.size() >= 2 && (name.front() == '"' || name.front() == '\'') &&
      name.back() == name.front())
    name = name.substr(1, name.size() - 2);
  return std::string(name);
}

Error malformed(std::string_view file, std::size_t line, std::string_view what) {
  return {ErrorKind::invalid,
          std::string(file) + ":" + std::to_string(line) + ": " + std::string(what)};
}

// Nothing when the file is not there.
Result<std::optional<std::string>> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  std::string text(kFileBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad()) return std::nullopt;
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kFileBytesMax)
    return fail(ErrorKind::invalid, path + " is over 1 MiB: that is no AWS profile file");
  return text;
}

std::string home_path(const Environment& environment, std::string path) {
  if (!path.starts_with("~/")) return path;
  return set_variable(environment, "HOME").value_or("") + path.substr(1);
}

std::string profile_name(const AwsOptions& options, const Environment& environment) {
  if (!options.profile.empty()) return options.profile;
  for (const std::string_view name : {"AWS_PROFILE", "AWS_DEFAULT_PROFILE"})
    if (auto value = set_variable(environment, name)) return *value;
  return "default";
}

bool profile_was_asked_for(const AwsOptions& options, const Environment& environment) {
  return !options.profile.empty() || set_variable(environment, "AWS_PROFILE") ||
         set_variable(environment, "AWS_DEFAULT_PROFILE");
}

Result<std::optional<Credentials>> from_environment(const Environment& environment) {
  const auto key = set_variable(environment, "AWS_ACCESS_KEY_ID");
  if (!key) return std::nullopt;
  const auto secret = set_variable(environment, "AWS_SECRET_ACCESS_KEY");
  if (!secret)
    return fail(ErrorKind::invalid,
                "AWS_ACCESS_KEY_ID is set but AWS_SECRET_ACCESS_KEY is not: set both or neither");
  return Credentials{
      .access_key_id = *key,
      .secret_access_key = Secret(*secret),
      .session_token = Secret(set_variable(environment, "AWS_SESSION_TOKEN").value_or(""))};
}

Result<std::optional<Credentials>> from_profile(const Profile& profile) {
  for (const std::string_view key :
       {"role_arn", "web_identity_token_file", "sso_session", "sso_start_url", "sso_account_id",
        "credential_process", "login_session"}) {
    if (profile.find(key))
      return fail(ErrorKind::invalid,
                  "profile " + profile.name + " uses " + std::string(key) +
                      ", which millrace does not support yet: use a profile with static keys, or "
                      "put temporary keys into AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and "
                      "AWS_SESSION_TOKEN");
  }
  const auto key = profile.find("aws_access_key_id");
  if (!key) return std::nullopt;
  const auto secret = profile.find("aws_secret_access_key");
  if (!secret)
    return fail(ErrorKind::invalid,
                "profile " + profile.name + " has aws_access_key_id but no aws_secret_access_key");
  return Credentials{.access_key_id = *key,
                     .secret_access_key = Secret(*secret),
                     .session_token = Secret(profile.find("aws_session_token").value_or(""))};
}

/// Asks the environment at each call: cheap beside the network exchange that follows.
class EnvironmentCredentials final : public CredentialsProvider {
 public:
  explicit EnvironmentCredentials(Environment environment) : environment_(std::move(environment)) {}
  Result<Credentials> credentials() override {
    auto found = from_environment(environment_);
    if (!found) return fail(found.error());
    if (!*found) return fail(ErrorKind::invalid, "AWS_ACCESS_KEY_ID is no longer set");
    return std::move(**found);
  }
  void forget(const Credentials&) override {}
  [[nodiscard]] std::string name() const override { return "environment"; }

 private:
  Environment environment_;
};

/// Keeps what it read until a service refuses it; then the file is read again. Readers share one
/// immutable value, so no two of them ever mix generations.
class ProfileCredentials final : public CredentialsProvider {
 public:
  ProfileCredentials(AwsOptions options, Environment environment, Credentials first,
                     std::string name)
      : options_(std::move(options)),
        environment_(std::move(environment)),
        name_("profile " + std::move(name)),
        current_(std::make_shared<const Credentials>(std::move(first))) {}

  Result<Credentials> credentials() override {
    if (const auto held = current_.load()) return *held;
    const auto profile = read_profile(options_, environment_);
    if (!profile) return fail(profile.error());
    auto found = from_profile(*profile);
    if (!found) return fail(found.error());
    if (!*found) return fail(ErrorKind::invalid, name_ + " no longer has aws_access_key_id");
    current_.store(std::make_shared<const Credentials>(**found));
    return std::move(**found);
  }
  void forget(const Credentials& refused) override {
    auto held = current_.load();
    // Somebody may have refreshed meanwhile: only what was refused is dropped.
    if (held && held->access_key_id == refused.access_key_id &&
        held->secret_access_key == refused.secret_access_key &&
        held->session_token == refused.session_token)
      current_.compare_exchange_strong(held, nullptr);
  }
  [[nodiscard]] std::string name() const override { return name_; }

 private:
  const AwsOptions options_;
  const Environment environment_;
  const std::string name_;
  std::atomic<std::shared_ptr<const Credentials>> current_;
};

bool valid_region(std::string_view region) {
  return !region.empty() && region.size() <= 63 && region.front() != '-' && region.back() != '-' &&
         std::all_of(region.begin(), region.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
         });
}

struct Partition {
  std::string_view name{};
  std::string_view region_start{};
  std::string_view suffix{};
};

// In this order: "us-gov-" before anything that "us-" could mean. Source: the partitions file of
// the SDKs (botocore's partitions.json).
constexpr Partition kPartitions[] = {
    {"aws-cn", "cn-", "amazonaws.com.cn"},       {"aws-us-gov", "us-gov-", "amazonaws.com"},
    {"aws-eusc", "eusc-", "amazonaws.eu"},       {"aws-iso", "us-iso-", "c2s.ic.gov"},
    {"aws-iso-b", "us-isob-", "sc2s.sgov.gov"},  {"aws-iso-e", "eu-isoe-", "cloud.adc-e.uk"},
    {"aws-iso-f", "us-isof-", "csp.hci.ic.gov"}, {"aws", "", "amazonaws.com"},
};

const Partition& partition_row(std::string_view region) {
  for (const auto& row : kPartitions)
    if (region.starts_with(row.region_start)) return row;
  return kPartitions[std::size(kPartitions) - 1];
}

Result<std::string> checked_endpoint(std::string url, std::string_view source) {
  const bool https = url.starts_with("https://");
  const std::size_t scheme = https ? 8 : 7;
  if ((!https && !url.starts_with("http://")) || url.size() == scheme || url[scheme] == '/' ||
      url.find_first_of("?# \t\r\n@") != std::string::npos)
    return fail(ErrorKind::invalid, std::string(source) + ": \"" + url +
                                        "\" is not an endpoint; write it as "
                                        "https://host[:port][/base]");
  while (url.ends_with('/')) url.pop_back();
  return url;
}

}  // namespace

std::optional<std::string> Profile::find(std::string_view key) const {
  const auto setting = settings.find(key);
  if (setting == settings.end() || setting->second.empty()) return std::nullopt;
  return setting->second;
}

Result<ProfileSections> parse_profile_file(std::string_view text, bool is_config,
                                           std::string_view file) {
  ProfileSections sections;
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  std::string profile;
  bool in_section = false;
  std::string block;  // the key above whose value is empty: what is indented below belongs to it
  std::size_t line_number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view raw = text.substr(begin, end - begin);
    begin = end + 1;
    ++line_number;
    std::string_view line = trimmed(raw);
    if (line.empty() || line.front() == '#' || line.front() == ';') continue;
    const bool indented = raw.front() == ' ' || raw.front() == '\t';

    if (line.front() == '[' && !indented) {
      const std::size_t close = line.find(']');
      if (close == std::string_view::npos)
        return fail(malformed(file, line_number, "section without a closing bracket"));
      profile = profile_of_section(trimmed(line.substr(1, close - 1)), is_config);
      in_section = true;
      block.clear();
      if (!profile.empty()) sections[profile];
      continue;
    }
    const std::size_t equals = line.find('=');
    if (equals == std::string_view::npos || equals == 0)
      return fail(malformed(file, line_number, "neither a [section] nor \"key = value\""));
    if (!in_section)
      return fail(malformed(file, line_number, "a setting before the first [section]"));
    std::string key = lower(trimmed(line.substr(0, equals)));
    std::string_view value = trimmed(line.substr(equals + 1));
    for (std::size_t i = 1; i < value.size(); ++i) {
      if ((value[i] == '#' || value[i] == ';') && (value[i - 1] == ' ' || value[i - 1] == '\t')) {
        value = trimmed(value.substr(0, i));
        break;
      }
    }
    if (indented && !block.empty())
      key.insert(0, block + ".");
    else
      block = value.empty() ? key : std::string();
    if (!profile.empty()) sections[profile][key] = std::string(value);
  }
  return sections;
}

Result<Profile> read_profile(const AwsOptions& options, const Environment& environment) {
  Profile profile;
  profile.name = profile_name(options, environment);
  // The credentials file last: its keys win over the config file's.
  const struct {
    std::string_view variable;
    std::string_view fallback;
    bool is_config;
  } files[] = {{"AWS_CONFIG_FILE", "~/.aws/config", true},
               {"AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials", false}};
  for (const auto& [variable, fallback, is_config] : files) {
    const std::string path =
        home_path(environment, set_variable(environment, variable).value_or(std::string(fallback)));
    const auto text = read_file(path);
    if (!text) return fail(text.error());
    if (!*text) continue;
    auto sections = parse_profile_file(**text, is_config, path);
    if (!sections) return fail(sections.error());
    for (auto& [name, settings] : *sections) {
      if (std::find(profile.known.begin(), profile.known.end(), name) == profile.known.end())
        profile.known.push_back(name);
      if (name != profile.name) continue;
      profile.found = true;
      for (auto& [key, value] : settings) profile.settings[key] = std::move(value);
    }
  }
  if (!profile.found && profile_was_asked_for(options, environment)) {
    std::string known;
    for (const auto& name : profile.known) known += (known.empty() ? "" : ", ") + name;
    return fail(
        ErrorKind::invalid,
        "AWS profile \"" + profile.name + "\" is in neither the config nor the credentials file; " +
            (known.empty() ? "there are no profiles at all" : "the profiles there are: " + known));
  }
  return profile;
}

Result<std::unique_ptr<CredentialsProvider>> choose_credentials(const AwsOptions& options,
                                                                const Environment& environment) {
  if (options.profile.empty()) {
    const auto keys = from_environment(environment);
    if (!keys) return fail(keys.error());
    if (*keys) return std::make_unique<EnvironmentCredentials>(environment);
    for (const std::string_view variable :
         {"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
          "AWS_CONTAINER_CREDENTIALS_FULL_URI"}) {
      if (set_variable(environment, variable) && !profile_was_asked_for(options, environment))
        return fail(ErrorKind::invalid,
                    std::string(variable) +
                        " is set, but credentials from there are not supported yet: set "
                        "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN");
    }
  }
  const auto profile = read_profile(options, environment);
  if (!profile) return fail(profile.error());
  auto keys = from_profile(*profile);
  if (!keys) return fail(keys.error());
  if (!*keys)
    return fail(ErrorKind::invalid,
                "no AWS credentials: AWS_ACCESS_KEY_ID is not set and profile " + profile->name +
                    " has no aws_access_key_id (looked in the shared config and credentials "
                    "files)");
  return std::make_unique<ProfileCredentials>(options, environment, std::move(**keys),
                                              profile->name);
}

Result<std::string> resolve_region(const AwsOptions& options, const Environment& environment) {
  std::string region = options.region;
  std::string source = "aws.region";
  for (const std::string_view name : {"AWS_REGION", "AWS_DEFAULT_REGION"}) {
    if (!region.empty()) break;
    region = set_variable(environment, name).value_or("");
    source = name;
  }
  if (region.empty()) {
    const auto profile = read_profile(options, environment);
    if (!profile) return fail(profile.error());
    region = profile->find("region").value_or("");
    source = "region of profile " + profile->name;
    if (region.empty())
      return fail(ErrorKind::invalid,
                  "no AWS region: set aws.region in the config, AWS_REGION, AWS_DEFAULT_REGION, or "
                  "region in profile " +
                      profile->name);
  }
  if (!valid_region(region))
    return fail(ErrorKind::invalid,
                source + ": \"" + region + "\" is not the name of a region (as \"eu-west-1\" is)");
  return region;
}

Result<std::string> resolve_endpoint(const AwsService& service, const std::string& region,
                                     const AwsOptions& options, const Environment& environment) {
  if (!options.endpoint.empty()) return checked_endpoint(options.endpoint, "aws.endpoint");
  if (lower(set_variable(environment, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS").value_or("")) !=
      "true") {
    const std::string own = "AWS_ENDPOINT_URL_" + std::string(service.variable);
    for (const auto& name : {own, std::string("AWS_ENDPOINT_URL")})
      if (auto url = set_variable(environment, name)) return checked_endpoint(*url, name);
    const auto profile = read_profile(options, environment);
    if (!profile) return fail(profile.error());
    if (auto url = profile->find("endpoint_url"))
      return checked_endpoint(*url, "endpoint_url of profile " + profile->name);
  }
  if (!valid_region(region))
    return fail(ErrorKind::invalid, "\"" + region + "\" is not the name of a region");
  return "https://" + std::string(service.host_prefix) + "." + region + "." +
         std::string(partition_row(region).suffix);
}

std::string_view partition_of(std::string_view region) { return partition_row(region).name; }

std::string_view region_of_arn(std::string_view arn) {
  if (!arn.starts_with("arn:")) return {};
  std::size_t begin = 0;
  for (int colon = 0; colon < 3; ++colon) {
    begin = arn.find(':', begin);
    if (begin == std::string_view::npos) return {};
    ++begin;
  }
  const std::size_t end = arn.find(':', begin);
  return end == std::string_view::npos ? std::string_view() : arn.substr(begin, end - begin);
}

}  // namespace millrace
