// Sources and producers, from the configuration.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "aws/kinesis_api.h"
#include "cli/aws_stack.h"
#include "config/config.h"
#include "core/loop.h"
#include "core/metrics.h"
#include "ingest/position_store.h"
#include "ingest/producer.h"
#include "ingest/source.h"
#include "lake/object_store.h"

namespace millrace {

/// A source with the clients and stores that only it uses, in the order in which they must go.
struct SourceWithParts {
  std::unique_ptr<AwsClient> client{};
  std::unique_ptr<KinesisApi> kinesis{};
  std::unique_ptr<ObjectStore> state{};
  std::unique_ptr<PositionStore> positions{};
  std::unique_ptr<Source> source{};
};

/// `pipeline` is "personalize" or "lake": its group or position name ends in it. `start` overrides
/// the source's own.
Result<SourceWithParts> make_source(const Config& config, std::string_view pipeline,
                                    const std::optional<StartAt>& start,
                                    std::size_t fetch_bytes_max, Loop& loop,
                                    CommandContext& context, AwsStack& aws, Metrics& metrics);

struct ProducerWithParts {
  std::unique_ptr<AwsClient> client{};
  std::unique_ptr<KinesisApi> kinesis{};
  std::unique_ptr<Producer> producer{};
};

/// A producer into the configured topic, stream or file.
Result<ProducerWithParts> make_producer(const Config& config, CommandContext& context,
                                        AwsStack& aws);

}  // namespace millrace
