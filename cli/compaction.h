// Compaction as the configuration says: what `compact` and the cycle's first step share.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/aws_stack.h"
#include "cli/command.h"
#include "config/config.h"
#include "events/schema.h"
#include "lake/compactor.h"

namespace millrace {

struct CompactionArguments {
  std::string run_id{};  // empty: a new one
  bool incremental = false;
  std::optional<std::int64_t> from{};  // event time, Unix seconds, half-open
  std::optional<std::int64_t> to{};
  std::string output{};  // overrides compact.output
  std::function<bool(const CompactProgress&)> progress{};
};

/// The columns to write: compact.columns; else those of the dataset's schema, in its order, when
/// retrain.dataset_arn is there; else the four default ones. Asks Personalize only in the second
/// case.
Result<std::vector<Column>> columns_to_write(const Config& config, AwsStack& aws);

/// REQUIRES: config.lake, config.compact and config.state. Blocks for minutes.
Result<CompactOutcome> run_compaction(const Config& config, const CommandContext& context,
                                      const std::vector<Column>& columns,
                                      const CompactionArguments& arguments);

/// "12,345 of 20,000 …" for the progress line.
std::string progress_line(const CompactProgress& progress);

}  // namespace millrace
