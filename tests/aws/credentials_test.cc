#include "aws/credentials.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <map>

namespace millrace {
namespace {

namespace fs = std::filesystem;

class AwsFiles : public testing::Test {
 protected:
  AwsFiles() {
    std::string pattern = (fs::temp_directory_path() / "millrace-aws-XXXXXX").string();
    home_ = mkdtemp(pattern.data());
    fs::create_directory(home_ / ".aws");
    set("HOME", home_.string());
  }
  ~AwsFiles() override { fs::remove_all(home_); }

  void set(const std::string& name, const std::string& value) { variables_[name] = value; }
  void write(const std::string& name, const std::string& text) {
    std::ofstream(home_ / ".aws" / name, std::ios::binary) << text;
  }
  Environment environment() {
    return [this](std::string_view name) -> std::optional<std::string> {
      const auto found = variables_.find(std::string(name));
      if (found == variables_.end()) return std::nullopt;
      return found->second;
    };
  }
  std::string chosen(const AwsOptions& options = {}) {
    auto provider = choose_credentials(options, environment());
    if (!provider) return "error: " + provider.error().message;
    const auto keys = (*provider)->credentials();
    if (!keys) return "error: " + keys.error().message;
    return keys->access_key_id + "/" + keys->secret_access_key.reveal() + "/" +
           keys->session_token.reveal() + " from " + (*provider)->name();
  }

  fs::path home_{};
  std::map<std::string, std::string> variables_{};
};

TEST_F(AwsFiles, EnvironmentKeysComeBeforeTheDefaultProfile) {
  write("credentials", "[default]\naws_access_key_id = P\naws_secret_access_key = ps\n");
  EXPECT_EQ(chosen(), "P/ps/ from profile default");
  set("AWS_ACCESS_KEY_ID", "E");
  set("AWS_SECRET_ACCESS_KEY", "es");
  set("AWS_SESSION_TOKEN", "et");
  EXPECT_EQ(chosen(), "E/es/et from environment");
  set("AWS_PROFILE", "default");
  EXPECT_EQ(chosen(), "E/es/et from environment");
  EXPECT_EQ(chosen({.profile = "default"}), "P/ps/ from profile default");
  set("AWS_ACCESS_KEY_ID", "");
  EXPECT_EQ(chosen(), "P/ps/ from profile default");
}

TEST_F(AwsFiles, HalfAPairIsAnErrorAndNotSkipped) {
  write("credentials", "[default]\naws_access_key_id = P\n");
  EXPECT_NE(chosen().find("no aws_secret_access_key"), std::string::npos);
  set("AWS_ACCESS_KEY_ID", "E");
  EXPECT_NE(chosen().find("AWS_SECRET_ACCESS_KEY is not"), std::string::npos);
}

TEST_F(AwsFiles, ProfilesThatNeedAnotherProviderAreNamed) {
  for (const char* key : {"role_arn", "sso_session", "credential_process",
                          "web_identity_token_file", "login_session"}) {
    write("config", std::string("[profile x]\n") + key + " = something\n");
    const std::string error = chosen({.profile = "x"});
    EXPECT_NE(error.find(std::string("profile x uses ") + key), std::string::npos) << error;
  }
  set("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/token");
  EXPECT_NE(chosen().find("AWS_WEB_IDENTITY_TOKEN_FILE is set"), std::string::npos);
}

TEST_F(AwsFiles, AMissingProfileNamesTheKnownOnes) {
  write("config", "[default]\nregion = eu-west-1\n[profile beta]\nregion = x-1\n");
  write("credentials", "[alpha]\naws_access_key_id = A\n");
  const std::string error = chosen({.profile = "gamma"});
  EXPECT_NE(error.find("\"gamma\""), std::string::npos);
  EXPECT_NE(error.find("beta, default, alpha"), std::string::npos) << error;
}

TEST_F(AwsFiles, WithoutAnythingTheErrorSaysWhereItLooked) {
  EXPECT_NE(chosen().find("no AWS credentials"), std::string::npos);
}

TEST_F(AwsFiles, ReplacedKeysAreReadOnceTheOldOnesWereRefused) {
  write("credentials", "[default]\naws_access_key_id = OLD\naws_secret_access_key = s\n");
  const auto provider = choose_credentials({}, environment());
  ASSERT_TRUE(provider.has_value());
  const Credentials old = (*provider)->credentials().value();
  write("credentials", "[default]\naws_access_key_id = NEW\naws_secret_access_key = s2\n");
  EXPECT_EQ((*provider)->credentials()->access_key_id, "OLD");
  (*provider)->forget(old);
  EXPECT_EQ((*provider)->credentials()->access_key_id, "NEW");
  (*provider)->forget(old);  // refused long ago: the new ones stay
  write("credentials", "");
  EXPECT_EQ((*provider)->credentials()->access_key_id, "NEW");
}

TEST(ProfileFile, ReadsTheFormsThatOccur) {
  const auto sections = parse_profile_file(
      "\xEF\xBB\xBF# a comment\r\n"
      "[default]\r\n"
      "REGION = eu-west-1 # trailing\r\n"
      "aws_secret_access_key = a#b;c=d\r\n"
      "s3 =\r\n"
      "  addressing_style = path\r\n"
      "output = json\r\n"
      "\r\n"
      "[profile \"with blank\"]\n"
      "region=us-east-1\n"
      "[sso-session corp]\n"
      "sso_region = eu-west-1\n"
      "[plain]\n"
      "region = passed-over-1\n",
      true, "config");
  ASSERT_TRUE(sections.has_value()) << sections.error().message;
  ASSERT_EQ(sections->size(), 2u);
  const auto& settings = sections->at("default");
  EXPECT_EQ(settings.at("region"), "eu-west-1");
  EXPECT_EQ(settings.at("aws_secret_access_key"), "a#b;c=d");
  EXPECT_EQ(settings.at("s3.addressing_style"), "path");
  EXPECT_EQ(settings.at("output"), "json");
  EXPECT_EQ(sections->at("with blank").at("region"), "us-east-1");
}

TEST(ProfileFile, NamesFileAndLineOfWhatItCannotRead) {
  const std::pair<const char*, const char*> rows[] = {{"[default\n", "f:1: "},
                                                      {"[default]\nnonsense\n", "f:2: "},
                                                      {"a = b\n", "f:1: "},
                                                      {"[default]\n\n= x\n", "f:3: "}};
  for (const auto& [text, place] : rows) {
    const auto sections = parse_profile_file(text, false, "f");
    ASSERT_FALSE(sections.has_value()) << text;
    EXPECT_EQ(sections.error().kind, ErrorKind::invalid);
    EXPECT_TRUE(sections.error().message.starts_with(place)) << sections.error().message;
  }
}

TEST_F(AwsFiles, CredentialsFileWinsOverTheConfigFile) {
  write("config", "[default]\naws_access_key_id = C\naws_secret_access_key = cs\nregion = r-1\n");
  write("credentials", "[default]\naws_access_key_id = K\naws_secret_access_key = ks\n");
  EXPECT_EQ(chosen(), "K/ks/ from profile default");
  EXPECT_EQ(resolve_region({}, environment()).value(), "r-1");
}

TEST_F(AwsFiles, RegionComesFromTheFirstPlaceThatHasOne) {
  const auto none = resolve_region({}, environment());
  ASSERT_FALSE(none.has_value());
  EXPECT_NE(none.error().message.find("AWS_REGION"), std::string::npos);
  write("config", "[default]\nregion = from-profile-1\n");
  EXPECT_EQ(resolve_region({}, environment()).value(), "from-profile-1");
  set("AWS_DEFAULT_REGION", "from-default-1");
  EXPECT_EQ(resolve_region({}, environment()).value(), "from-default-1");
  set("AWS_REGION", "from-region-1");
  EXPECT_EQ(resolve_region({}, environment()).value(), "from-region-1");
  EXPECT_EQ(resolve_region({.region = "eu-west-1"}, environment()).value(), "eu-west-1");
  for (const char* bad : {"evil.example/", "EU-WEST-1", "-a", "a b"})
    EXPECT_FALSE(resolve_region({.region = bad}, environment()).has_value()) << bad;
}

TEST_F(AwsFiles, EndpointComesFromTheFirstPlaceThatHasOne) {
  const auto of = [&](const AwsOptions& options = {}) {
    const auto url =
        resolve_endpoint(kPersonalizeEventsService, "eu-west-1", options, environment());
    return url ? *url : "error: " + url.error().message;
  };
  EXPECT_EQ(of(), "https://personalize-events.eu-west-1.amazonaws.com");
  write("config", "[default]\nendpoint_url = http://profile:1/\n");
  EXPECT_EQ(of(), "http://profile:1");
  set("AWS_ENDPOINT_URL", "http://all:2/base/");
  EXPECT_EQ(of(), "http://all:2/base");
  set("AWS_ENDPOINT_URL_PERSONALIZE_EVENTS", "http://own:3");
  EXPECT_EQ(of(), "http://own:3");
  EXPECT_EQ(of({.endpoint = "http://127.0.0.1:4566"}), "http://127.0.0.1:4566");
  set("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true");
  EXPECT_EQ(of(), "https://personalize-events.eu-west-1.amazonaws.com");
  EXPECT_EQ(of({.endpoint = "http://127.0.0.1:4566"}), "http://127.0.0.1:4566");
  for (const char* bad :
       {"localhost:4566", "ftp://x", "http://", "http:///x", "http://a?b", "http://user@host"})
    EXPECT_NE(of({.endpoint = bad}).find("is not an endpoint"), std::string::npos) << bad;
}

TEST_F(AwsFiles, EachPartitionHasItsOwnHosts) {
  const std::tuple<const char*, const char*, const char*> rows[] = {
      {"us-east-1", "aws", "https://kinesis.us-east-1.amazonaws.com"},
      {"cn-north-1", "aws-cn", "https://kinesis.cn-north-1.amazonaws.com.cn"},
      {"us-gov-west-1", "aws-us-gov", "https://kinesis.us-gov-west-1.amazonaws.com"},
      {"eusc-de-east-1", "aws-eusc", "https://kinesis.eusc-de-east-1.amazonaws.eu"},
      {"us-iso-east-1", "aws-iso", "https://kinesis.us-iso-east-1.c2s.ic.gov"},
      {"us-isob-east-1", "aws-iso-b", "https://kinesis.us-isob-east-1.sc2s.sgov.gov"}};
  for (const auto& [region, partition, endpoint] : rows) {
    EXPECT_EQ(partition_of(region), partition);
    EXPECT_EQ(resolve_endpoint(kKinesisService, region, {}, environment()).value(), endpoint);
  }
}

TEST(Arn, HoldsItsRegion) {
  EXPECT_EQ(region_of_arn("arn:aws:personalize:eu-west-1:123456789012:solution/x"), "eu-west-1");
  EXPECT_EQ(region_of_arn("arn:aws:personalize:::recipe/aws-sims"), "");
  EXPECT_EQ(region_of_arn("arn:aws:personalize"), "");
  EXPECT_EQ(region_of_arn(""), "");
}

}  // namespace
}  // namespace millrace
