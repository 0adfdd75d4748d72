#include "cli/compaction.h"

#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <random>

#include "aws/personalize_api.h"
#include "cli/terminal.h"
#include "config/values.h"
#include "lake/names.h"
#include "lake/store_of_url.h"

namespace millrace {

Result<std::vector<Column>> columns_to_write(const Config& config, AwsStack& aws) {
  if (config.compact && !config.compact->columns.empty())
    return columns_of_names(config.compact->columns);
  if (!config.retrain) return default_interaction_columns();
  auto client = aws.client(kPersonalizeService, config.retrain->aws);
  if (!client) return tl::unexpected(client.error());
  PersonalizeApi api(**client);
  const auto dataset = api.describe_dataset(config.retrain->options.dataset_arn);
  if (!dataset)
    return fail(dataset.error().while_doing(
        "reading the dataset's schema (compact.columns names columns without it)"));
  const auto schema = api.describe_schema(dataset->schema_arn);
  if (!schema) return fail(schema.error().while_doing("reading the dataset's schema"));
  return parse_interactions_schema(schema->avro);
}

Result<CompactOutcome> run_compaction(const Config& config, const CommandContext& context,
                                      const std::vector<Column>& columns,
                                      const CompactionArguments& arguments) {
  const std::string output_url =
      arguments.output.empty() ? config.compact->output : arguments.output;
  auto lake = make_store(config.lake->options.url);
  if (!lake) return tl::unexpected(lake.error());
  auto state = make_store(config.state);
  if (!state) return tl::unexpected(state.error());
  const auto output = split_object_url(output_url);
  if (!output) return fail(output.error().while_doing("compact.output"));
  auto output_store = make_store(output->store_url);
  if (!output_store) return tl::unexpected(output_store.error());

  auto prefix = Prefix::parse(config.lake->options.prefix, Prefix::Role::objects);
  if (!prefix) return fail(prefix.error().while_doing("lake.prefix"));
  auto error_prefix = Prefix::parse(config.lake->options.error_prefix, Prefix::Role::errors);
  if (!error_prefix) return fail(error_prefix.error().while_doing("lake.error_prefix"));

  CompactRequest request;
  request.decode = config.events;
  request.columns = columns;
  request.prefix = std::move(*prefix);
  request.error_prefix = std::move(*error_prefix);
  request.state_in_lake = key_below(config.lake->options.url, config.state);
  request.output_key = output->key;
  request.output_in_lake = key_below(config.lake->options.url, output_url);
  if (arguments.run_id.empty()) {
    std::random_device chance;
    request.run_id = new_run_id(
        std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now()), chance());
  } else {
    request.run_id = arguments.run_id;
  }
  request.incremental = arguments.incremental;
  request.from = arguments.from;
  request.to = arguments.to;
  request.keep = config.compact->keep;
  request.memory_bytes = config.compact->memory_bytes;
  if (const auto folder = context.environment("TMPDIR"); folder && !folder->empty())
    request.temporary_folder = *folder;
  request.progress = arguments.progress;
  return compact(**lake, **output_store, **state, request);
}

std::string progress_line(const CompactProgress& progress) {
  return fmt::format(
      "compacting {} {}/{} objects, {} of {}, {} rows",
      bar(static_cast<double>(progress.bytes_done), static_cast<double>(progress.bytes), 24),
      grouped(progress.objects_done), grouped(progress.objects), human_size(progress.bytes_done),
      human_size(progress.bytes), grouped(progress.rows));
}

}  // namespace millrace
