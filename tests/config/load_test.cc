#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "config/config.h"
#include "config/keys.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

std::optional<std::string> no_environment(std::string_view) { return std::nullopt; }

Result<LoadedConfig> parsed(std::string_view text) {
  return parse_config(text, "t.yaml", no_environment);
}

std::string error_of(std::string_view text) {
  const auto result = parsed(text);
  if (result) return "(no error)";
  EXPECT_EQ(result.error().kind, ErrorKind::invalid);
  return result.error().message;
}

constexpr std::string_view kFull = R"(
name: acme
aws: { region: eu-west-1 }
source:
  kafka: { brokers: "localhost:9092", topic: interactions, start: latest, properties: { sasl.username: u, fetch.min.bytes: 5 } }
events:
  fields: { user_id: [/uid], item_id: /iid }
  defaults: { timestamp: arrival }
personalize: { tracking_id: t-1, linger: 1s, endpoint: "http://localhost:1" }
lake:
  url: file:///tmp/lake
  prefix: "x/!{timestamp:yyyy/}"
  buffer: { size: 1MiB, interval: 60s }
  compression: zstd
memory: 64MiB
compact: { output: file:///tmp/out.csv, columns: [USER_ID, ITEM_ID, TIMESTAMP] }
retrain:
  schedule: "0 3 * * *"
  dataset_arn: "arn:aws:personalize:eu-west-1:123456789012:dataset/acme/INTERACTIONS"
  solution_arn: "arn:aws-cn:personalize:eu-west-1:123456789012:solution/acme"
  role_arn: "arn:aws:iam::123456789012:role/p"
  batch_inference: { users: { active: 30d }, output: "s3://b/r/", exploration: { weight: 0.3 } }
)";

TEST(LoadConfig, FillsTheTypedOptions) {
  const auto result = parsed(kFull);
  ASSERT_TRUE(result) << result.error().message;
  const Config& c = result->config;
  EXPECT_EQ(c.source->kafka->group, "acme");
  EXPECT_EQ(c.source->kafka->start.kind, StartAt::Kind::latest);
  EXPECT_EQ(c.source->kafka->properties.at("fetch.min.bytes"), "5");
  EXPECT_EQ(c.events.fields.user_id, std::vector<std::string>{"/uid"});
  EXPECT_EQ(c.events.fields.item_id, std::vector<std::string>{"/iid"});
  EXPECT_EQ(c.events.fields.session_id.size(), 2U);  // untouched default
  EXPECT_TRUE(c.events.timestamp_from_arrival);
  EXPECT_EQ(c.personalize->options.linger, 1s);
  EXPECT_EQ(c.personalize->aws.region, "eu-west-1");
  EXPECT_EQ(c.personalize->aws.endpoint, "http://localhost:1");
  EXPECT_EQ(c.lake->options.buffer_bytes, 1U << 20);
  EXPECT_EQ(c.lake->options.buffer_interval, 60s);
  EXPECT_EQ(c.lake->options.compression, Compression::zstd);
  EXPECT_EQ(c.memory_bytes, 64U << 20);
  EXPECT_EQ(c.state, "file:///tmp/lake/_millrace/acme/");
  EXPECT_EQ(c.compact->columns.size(), 3U);
  EXPECT_EQ(c.retrain->options.batch_inference->active_within, std::chrono::hours(720));
  EXPECT_EQ(c.retrain->options.batch_inference->exploration_weight, 0.3);
  EXPECT_TRUE(result->warnings.empty());
}

TEST(LoadConfig, ReportsEveryProblemWithItsPlaceAtOnce) {
  const std::string message =
      error_of("nmae: x\nlake:\n  url: ftp://x\n  bufer: { size: 5MiB }\nmemory: lots\n");
  EXPECT_THAT(message, HasSubstr("t.yaml:1:1: nmae is not a key; did you mean name?"));
  EXPECT_THAT(message, HasSubstr("t.yaml:3:8: lake.url must be file:///absolute/folder or "
                                 "s3://bucket/folder, not \"ftp://x\""));
  EXPECT_THAT(message, HasSubstr("t.yaml:4:3: lake.bufer is not a key; did you mean lake.buffer?"));
  EXPECT_THAT(message, HasSubstr("t.yaml:5:9: memory must be a size with a unit"));
}

TEST(LoadConfig, NamesTheRightPlaceOfAKeyInTheWrongOne) {
  EXPECT_THAT(error_of("linger: 1s\n"), HasSubstr("did you mean personalize.linger?"));
  EXPECT_THAT(error_of("lake: { url: file:///x, zzzzqqzzzz: 1 }\n"),
              HasSubstr("known here: url, prefix"));
}

TEST(LoadConfig, RefusesRepeatedKeys) {
  EXPECT_THAT(error_of("memory: 64MiB\nname: a\nmemory: 65MiB\n"),
              HasSubstr("t.yaml:3:1: memory stands twice; it was first written in line 1"));
  EXPECT_THAT(error_of("lake: { url: file:///a, url: file:///b }\n"),
              HasSubstr("lake.url stands twice"));
}

TEST(LoadConfig, SaysThatAKeyOfALaterReleaseHasNoEffect) {
  EXPECT_THAT(error_of("source:\n  kinesis: { stream: s, leases: { table: t } }\n"),
              HasSubstr("no effect in this release"));
  EXPECT_THAT(error_of("compact: { output: file:///x.csv, engine: glue }\n"),
              HasSubstr("compact.engine must be local, not \"glue\""));
  EXPECT_THAT(error_of("lake: { url: file:///x, kms_key: k }\n"),
              HasSubstr("no effect in this release"));
}

TEST(LoadConfig, WantsWhatASectionCannotDoWithout) {
  EXPECT_THAT(error_of("source: { kafka: { topic: t } }\n"),
              HasSubstr("source.kafka.brokers is missing"));
  EXPECT_THAT(error_of("personalize: {}\n"), HasSubstr("personalize.tracking_id is missing"));
  EXPECT_THAT(error_of("lake:\n"), HasSubstr("lake.url is missing"));
  EXPECT_THAT(error_of("source: {}\n"), HasSubstr("source needs one of kafka, kinesis, file"));
}

TEST(LoadConfig, RefusesImpossibleCombinations) {
  EXPECT_THAT(error_of("source: { kafka: { brokers: b, topic: t }, file: { path: p } }\n"),
              HasSubstr("more than one of"));
  EXPECT_THAT(error_of("events: { defaults: { timestamp: arrival } }\nlake: { url: file:///x, "
                       "annotate: false }\n"),
              HasSubstr("annotate: false cannot go with"));
  EXPECT_THAT(
      error_of("retrain: { dataset_arn: \"arn:aws:personalize:r:1:dataset/g/I\", solution_arn: "
               "\"arn:aws:personalize:r:1:solution/s\", role_arn: \"arn:aws:iam::1:role/r\" }\n"),
      HasSubstr("retrain needs compact.output"));
}

TEST(LoadConfig, RefusesWrongShapesAndRanges) {
  EXPECT_THAT(error_of("lake: file:///x\n"), HasSubstr("lake is a section of keys"));
  EXPECT_THAT(error_of("- a\n- b\n"), HasSubstr("the file is a section of keys"));
  EXPECT_THAT(error_of("name: [a]\n"), HasSubstr("name must be a single value"));
  EXPECT_THAT(error_of("memory: 1KiB\n"), HasSubstr("from 32 MiB to"));
  EXPECT_THAT(error_of("server: { listen: nowhere }\n"), HasSubstr("host:port"));
  EXPECT_THAT(error_of("events: { fields: { user_id: uid } }\n"),
              HasSubstr("JSON pointers that begin with /"));
  EXPECT_THAT(error_of("a: [b\n"), HasSubstr("this is not YAML"));
  EXPECT_THAT(error_of("name:\n"), HasSubstr("name must be a value"));
}

TEST(LoadConfig, NeverShowsAProperty) {
  const std::string message =
      error_of("source: { kafka: { brokers: b, topic: t, properties: [hunter2] } }\n");
  EXPECT_THAT(message, ::testing::Not(HasSubstr("hunter2")));
}

TEST(LoadConfig, FillsInTheEnvironment) {
  const std::map<std::string, std::string> variables{
      {"A", "from-a"}, {"EMPTY", ""}, {"TRICK", "x\nmemory: 1TiB"}};
  const Environment environment = [&](std::string_view name) -> std::optional<std::string> {
    const auto found = variables.find(std::string(name));
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  };
  const auto tracking = [&](const std::string& value) -> std::string {
    const auto result =
        parse_config("personalize: { tracking_id: \"" + value + "\" }\n", "t.yaml", environment);
    return result ? result->config.personalize->options.tracking_id : result.error().message;
  };
  EXPECT_EQ(tracking("<${A}>"), "<from-a>");
  EXPECT_EQ(tracking("x${EMPTY}"), "x");
  EXPECT_EQ(tracking("${EMPTY:-d}"), "d");
  EXPECT_EQ(tracking("x${EMPTY-d}"), "x");
  EXPECT_EQ(tracking("${NONE-d}"), "d");
  EXPECT_EQ(tracking("$${A}"), "${A}");
  EXPECT_EQ(tracking("${TRICK}"), "x\nmemory: 1TiB");  // a value, never structure
  EXPECT_THAT(tracking("${NONE}"), HasSubstr("the environment variable NONE is not set"));
  EXPECT_THAT(tracking("${A"), HasSubstr("without its }"));
  EXPECT_THAT(tracking("${A?b}"), HasSubstr("is not one of"));
}

TEST(LoadConfig, SaysHowToGetAFile) {
  const auto result = load_config("/nowhere/millrace.yaml", no_environment);
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("millrace template config"));
  EXPECT_FALSE(load_config("/tmp", no_environment));
}

TEST(LoadConfig, WarnsOfAPrefixWithoutSlash) {
  const auto result = parsed("lake: { url: file:///x, prefix: crm }\n");
  ASSERT_TRUE(result);
  ASSERT_EQ(result->warnings.size(), 1U);
  EXPECT_THAT(result->warnings[0], HasSubstr("does not end in /"));
}

TEST(Require, NamesTheCommandAndShowsWhatToWrite) {
  const auto result = parsed("name: x\n");
  ASSERT_TRUE(result);
  const Status status = require(result->config, "run", {Need::source, Need::state});
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr("`run` needs source"));
  EXPECT_THAT(status.error().message, HasSubstr("`run` needs state"));
  EXPECT_TRUE(require(
      parsed(kFull)->config, "run",
      {Need::source, Need::personalize, Need::lake, Need::state, Need::compact, Need::retrain}));
}

TEST(Reference, TheSampleIsAValidFile) {
  const auto result = parsed(config_sample());
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_TRUE(result->warnings.empty());
}

TEST(Reference, EveryDefaultThatIsAPlainValueIsAccepted) {
  for (const ConfigKey& key : config_keys()) {
    if (!key.later.empty() || key.required || key.default_text.empty() ||
        key.default_text.front() == '<')
      continue;
    if (key.default_text.front() == '[' || key.default_text.front() == '{') continue;
    Config config;
    ConfigValue value{.shape = ConfigValue::Shape::text, .text = std::string(key.default_text)};
    EXPECT_EQ(key.set(config, value), std::nullopt) << key.path;
  }
}

TEST(Reference, SchemaAndTableNameEveryKeyThatHasAnEffect) {
  const auto schema = nlohmann::json::parse(config_json_schema());
  const std::string table = config_reference_markdown();
  for (const ConfigKey& key : config_keys()) {
    std::string pointer = "/properties/" + std::string(key.path);
    for (std::size_t dot = pointer.find('.'); dot != std::string::npos; dot = pointer.find('.')) {
      pointer.replace(dot, 1, "/properties/");
    }
    const bool shown = key.later.empty();
    EXPECT_EQ(schema.contains(nlohmann::json::json_pointer(pointer)), shown) << key.path;
    EXPECT_EQ(table.find("`" + std::string(key.path) + "`") != std::string::npos, shown)
        << key.path;
  }
}

}  // namespace
}  // namespace millrace
