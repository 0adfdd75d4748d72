// The configuration, typed and validated: what `millrace.yaml` says, with defaults filled in.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "aws/options.h"
#include "core/environment.h"
#include "core/result.h"
#include "events/options.h"
#include "ingest/options.h"
#include "lake/options.h"
#include "retrain/options.h"
#include "sinks/options.h"

namespace millrace {

struct SourceConfig {
  std::optional<KafkaOptions> kafka{};  // `group` as written, without a pipeline's suffix
  std::optional<KinesisOptions> kinesis{};
  std::optional<FileOptions> file{};
  std::string leases_file{};  // source.kinesis.leases.file; empty: positions are kept under `state`
  AwsOptions aws{};           // of Kinesis

  /// "kafka topic X", "kinesis stream X", "file X": for messages.
  [[nodiscard]] std::string described() const;
};

struct PersonalizeConfig {
  PersonalizeOptions options{};
  std::optional<StartAt> start{};  // else the source's
  AwsOptions aws{};
};

struct LakeConfig {
  LakeOptions options{};
  std::optional<StartAt> start{};
};

struct RetrainConfig {
  RetrainOptions options{};
  AwsOptions aws{};
};

struct ServerConfig {
  std::string listen = "127.0.0.1:9464";  // host:port; empty: no server
};

/// Every section that a command may do without is optional; which command needs what is
/// `require()`'s matter.
struct Config {
  std::string file{};  // where it came from, for messages
  std::string name = "millrace";
  AwsOptions aws{};
  std::optional<SourceConfig> source{};
  DecodeOptions events{};
  std::optional<PersonalizeConfig> personalize{};
  std::optional<LakeConfig> lake{};
  std::size_t memory_bytes = 256u << 20;
  std::string state{};  // a folder url that ends in /; filled in from lake.url when not written
  std::optional<CompactOptions> compact{};
  std::optional<RetrainConfig> retrain{};
  ServerConfig server{};
};

/// One thing wrong with a file, in the form `file:line:column: text`.
struct ConfigProblem {
  int line = 0;  // from 1; 0: the file as a whole
  int column = 0;
  std::string text{};
};

struct LoadedConfig {
  Config config{};
  std::vector<std::string> warnings{};  // each one line
};

/// Parses and validates the text of a file. All problems at once: the Error (kind invalid, exit
/// code 2) carries one line per problem. `path` is only for messages.
Result<LoadedConfig> parse_config(std::string_view text, const std::string& path,
                                  const Environment& environment);

/// The same for a file. A missing one is `invalid` and says how to get one.
Result<LoadedConfig> load_config(const std::string& path, const Environment& environment);

/// What a command cannot do without. The error names the key, the command and shows the lines to
/// write.
enum class Need { source, personalize, lake, state, compact, retrain };
Status require(const Config& config, std::string_view command, const std::vector<Need>& needs);

/// The reference of every key as a Markdown table, the JSON Schema for editors, and a commented
/// sample file: all three from the table that validates.
std::string config_reference_markdown();
std::string config_json_schema();
std::string config_sample();

}  // namespace millrace
