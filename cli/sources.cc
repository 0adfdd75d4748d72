#include "cli/sources.h"

#include <fmt/format.h>
#include <unistd.h>

#include <random>

#include "aws/kinesis_api.h"
#include "ingest/file_source.h"
#include "ingest/kafka_producer.h"
#include "ingest/kafka_source.h"
#include "ingest/kinesis_producer.h"
#include "ingest/kinesis_source.h"
#include "ingest/position_store.h"
#include "lake/names.h"
#include "lake/store_of_url.h"

namespace millrace {
namespace {

// Unique per process start: two processes of one host, and one pid used twice, stay apart.
std::string owner_name() {
  std::string host(256, '\0');
  if (gethostname(host.data(), host.size() - 1) != 0) host = "host";
  return fmt::format("{}-{}-{:08x}", host.c_str(), getpid(), std::random_device{}());
}

std::uint64_t jitter_seed() { return std::random_device{}(); }

}  // namespace

Result<SourceWithParts> make_source(const Config& config, std::string_view pipeline,
                                    const std::optional<StartAt>& start,
                                    std::size_t fetch_bytes_max, Loop& loop,
                                    CommandContext& context, AwsStack& aws, Metrics& metrics) {
  const SourceConfig& source = *config.source;
  SourceWithParts made;
  if (source.kafka) {
    KafkaOptions options = *source.kafka;
    options.group = fmt::format("{}-{}", options.group, pipeline);
    if (start) options.start = *start;
    options.fetch_bytes_max = fetch_bytes_max;
    made.source = std::make_unique<KafkaSource>(std::move(options), loop, *context.log, metrics);
    return made;
  }

  // Kinesis and files have no books of their own for readers' positions.
  if (!source.leases_file.empty()) {
    made.positions =
        std::make_unique<FilePositionStore>(fmt::format("{}-{}", source.leases_file, pipeline));
  } else {
    auto store = make_store(config.state);
    if (!store) return tl::unexpected(store.error());
    made.state = std::move(*store);
    made.positions = std::make_unique<ObjectPositionStore>(
        *made.state, source.kinesis
                         ? state_keys::kinesis_positions(source.kinesis->stream, pipeline)
                         : state_keys::file_positions(source.file->path, pipeline));
  }
  if (source.kinesis) {
    KinesisOptions options = *source.kinesis;
    options.application = fmt::format("{}-{}", config.name, pipeline);
    if (start) options.start = *start;
    options.fetch_bytes_max = fetch_bytes_max;
    auto client = aws.client(kKinesisService, source.aws, 1);
    if (!client) return fail(client.error().while_doing("source.kinesis"));
    made.client = std::move(*client);
    made.kinesis = std::make_unique<KinesisApi>(*made.client);
    made.source =
        std::make_unique<KinesisSource>(std::move(options), *made.kinesis, *made.positions,
                                        owner_name(), jitter_seed(), loop, *context.log, metrics);
    return made;
  }
  made.source = std::make_unique<FileSource>(*source.file, *made.positions, owner_name(), loop,
                                             *context.log, metrics);
  return made;
}

Result<ProducerWithParts> make_producer(const Config& config, CommandContext& context,
                                        AwsStack& aws) {
  const SourceConfig& source = *config.source;
  ProducerWithParts made;
  if (source.kafka) {
    auto producer = KafkaProducer::make({.brokers = source.kafka->brokers,
                                         .topic = source.kafka->topic,
                                         .properties = source.kafka->properties},
                                        *context.log);
    if (!producer) return tl::unexpected(producer.error());
    made.producer = std::move(*producer);
    return made;
  }
  if (source.kinesis) {
    auto client = aws.client(kKinesisService, source.aws);
    if (!client) return fail(client.error().while_doing("source.kinesis"));
    made.client = std::move(*client);
    made.kinesis = std::make_unique<KinesisApi>(*made.client);
    made.producer = std::make_unique<KinesisProducer>(
        KinesisProducerOptions{.stream = source.kinesis->stream, .seed = jitter_seed()},
        *made.kinesis, *context.pause, *context.log);
    return made;
  }
  return fail(
      ErrorKind::invalid,
      fmt::format("{}: source.file is read, not written; append lines to {} with any program",
                  config.file, source.file->path));
}

}  // namespace millrace
