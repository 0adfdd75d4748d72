#include "aws/personalize_api.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "aws/json_answer.h"

namespace millrace {
namespace {

using nlohmann::json;

Result<json> ask(AwsClient& client, std::string_view operation, const json& body, bool repeatable) {
  const auto response =
      client.call({.operation = operation,
                   .headers = {{"Content-Type", "application/x-amz-json-1.1"},
                               {"X-Amz-Target", "AmazonPersonalize." + std::string(operation)}},
                   .body = body_of(body),
                   .repeatable = repeatable});
  if (!response) return fail(response.error());
  return answer_object(operation, *response);
}

Result<std::string> required(std::string_view operation, const json& answer, const char* member) {
  auto text = text_of(answer, member);
  if (text.empty())
    return fail(ErrorKind::ambiguous, std::string(operation) + ": the answer has no " + member);
  return text;
}

Result<std::string> create(AwsClient& client, std::string_view operation, const json& body,
                           const char* arn_member) {
  const auto answer = ask(client, operation, body, /*repeatable=*/false);
  if (!answer) return fail(answer.error());
  return required(operation, *answer, arn_member);
}

ResourceState state_of(const json& object) {
  return {.status = text_of(object, "status"),
          .failure_reason = text_of(object, "failureReason"),
          .created = time_of(object, "creationDateTime"),
          .updated = time_of(object, "lastUpdatedDateTime")};
}

// Describe answers wrap the object in its own name.
Result<json> describe(AwsClient& client, std::string_view operation, const char* arn_member,
                      const std::string& arn, const char* wrapper) {
  auto answer = ask(client, operation, {{arn_member, arn}}, /*repeatable=*/true);
  if (!answer) return fail(answer.error());
  const auto found = answer->find(wrapper);
  if (found == answer->end() || !found->is_object())
    return fail(ErrorKind::ambiguous,
                std::string(operation) + ": the answer has no \"" + wrapper + "\"");
  return std::move(*found);
}

struct ListShape {
  std::string_view operation{};
  const char* filter_member = "";
  const char* list_member = "";
  const char* arn_member = "";
  const char* name_member = "";
};

Result<std::vector<ResourceSummary>> list(AwsClient& client, const ListShape& shape,
                                          const std::string& filter) {
  std::vector<ResourceSummary> out;
  std::string next;
  for (std::size_t page = 0; page < PersonalizeApi::kListPagesMax; ++page) {
    json body{{shape.filter_member, filter}, {"maxResults", 100}};
    if (!next.empty()) body["nextToken"] = next;
    const auto answer = ask(client, shape.operation, body, /*repeatable=*/true);
    if (!answer) return fail(answer.error());
    for (const auto& item : list_of(*answer, shape.list_member)) {
      if (!item.is_object()) continue;
      out.push_back({.arn = text_of(item, shape.arn_member),
                     .name = text_of(item, shape.name_member),
                     .state = state_of(item)});
    }
    next = text_of(*answer, "nextToken");
    if (next.empty()) return out;
  }
  return fail(ErrorKind::corrupt, fmt::format("{}: more than {} pages", shape.operation,
                                              PersonalizeApi::kListPagesMax));
}

}  // namespace

ResourcePhase phase_of_status(std::string_view status) {
  std::string folded(status);
  std::replace(folded.begin(), folded.end(), '_', ' ');
  if (folded == "ACTIVE" || folded == "COMPLETED") return ResourcePhase::active;
  if (folded.starts_with("DELETE")) return ResourcePhase::gone;
  // STOPPING is not over yet: its end is STOPPED.
  if (folded.find("FAILED") != std::string::npos || folded.find("STOPPED") != std::string::npos)
    return ResourcePhase::failed;
  return ResourcePhase::running;
}

Result<std::string> PersonalizeApi::create_schema(const std::string& name,
                                                  const std::string& avro) {
  return create(client_, "CreateSchema", {{"name", name}, {"schema", avro}}, "schemaArn");
}

Result<std::string> PersonalizeApi::create_dataset_group(const std::string& name) {
  return create(client_, "CreateDatasetGroup", {{"name", name}}, "datasetGroupArn");
}

Result<std::string> PersonalizeApi::create_dataset(const std::string& name,
                                                   const std::string& dataset_group_arn,
                                                   const std::string& type,
                                                   const std::string& schema_arn) {
  return create(client_, "CreateDataset",
                {{"name", name},
                 {"datasetGroupArn", dataset_group_arn},
                 {"datasetType", type},
                 {"schemaArn", schema_arn}},
                "datasetArn");
}

Result<PersonalizeApi::CreatedEventTracker> PersonalizeApi::create_event_tracker(
    const std::string& name, const std::string& dataset_group_arn) {
  constexpr std::string_view kOperation = "CreateEventTracker";
  const auto answer =
      ask(client_, kOperation, {{"name", name}, {"datasetGroupArn", dataset_group_arn}},
          /*repeatable=*/false);
  if (!answer) return fail(answer.error());
  auto arn = required(kOperation, *answer, "eventTrackerArn");
  if (!arn) return fail(arn.error());
  auto tracking_id = required(kOperation, *answer, "trackingId");
  if (!tracking_id) return fail(tracking_id.error());
  return CreatedEventTracker{std::move(*arn), std::move(*tracking_id)};
}

Result<std::string> PersonalizeApi::create_dataset_import_job(
    const CreateImportJobRequest& request) {
  return create(client_, "CreateDatasetImportJob",
                {{"jobName", request.job_name},
                 {"datasetArn", request.dataset_arn},
                 {"dataSource", {{"dataLocation", request.data_location}}},
                 {"roleArn", request.role_arn},
                 {"importMode", request.incremental ? "INCREMENTAL" : "FULL"}},
                "datasetImportJobArn");
}

Result<std::string> PersonalizeApi::create_solution(const CreateSolutionRequest& request) {
  json body{{"name", request.name},
            {"datasetGroupArn", request.dataset_group_arn},
            {"recipeArn", request.recipe_arn},
            {"performAutoTraining", request.auto_training}};
  if (!request.event_type.empty()) body["eventType"] = request.event_type;
  return create(client_, "CreateSolution", body, "solutionArn");
}

Result<std::string> PersonalizeApi::create_solution_version(const std::string& solution_arn,
                                                            const std::string& name) {
  return create(client_, "CreateSolutionVersion",
                {{"solutionArn", solution_arn}, {"name", name}, {"trainingMode", "FULL"}},
                "solutionVersionArn");
}

Result<std::string> PersonalizeApi::create_campaign(const std::string& name,
                                                    const std::string& solution_version_arn,
                                                    std::int32_t min_provisioned_tps) {
  return create(client_, "CreateCampaign",
                {{"name", name},
                 {"solutionVersionArn", solution_version_arn},
                 {"minProvisionedTPS", min_provisioned_tps}},
                "campaignArn");
}

Status PersonalizeApi::update_campaign(const std::string& campaign_arn,
                                       const std::string& solution_version_arn) {
  const auto answer =
      ask(client_, "UpdateCampaign",
          {{"campaignArn", campaign_arn}, {"solutionVersionArn", solution_version_arn}},
          /*repeatable=*/false);
  if (!answer) return fail(answer.error());
  return {};
}

Result<std::string> PersonalizeApi::create_batch_inference_job(
    const CreateBatchInferenceJobRequest& request) {
  json body{{"jobName", request.job_name},
            {"solutionVersionArn", request.solution_version_arn},
            {"jobInput", {{"s3DataSource", {{"path", request.input_path}}}}},
            {"jobOutput", {{"s3DataDestination", {{"path", request.output_path}}}}},
            {"roleArn", request.role_arn},
            {"numResults", request.results}};
  if (!request.filter_arn.empty()) body["filterArn"] = request.filter_arn;
  // Hyperparameters are strings, also the numeric ones ("BatchInferenceJobConfig").
  json exploration = json::object();
  if (request.exploration_weight)
    exploration["explorationWeight"] = fmt::format("{}", *request.exploration_weight);
  if (request.exploration_item_age_days)
    exploration["explorationItemAgeCutOff"] = fmt::format("{}", *request.exploration_item_age_days);
  if (!exploration.empty())
    body["batchInferenceJobConfig"] = {{"itemExplorationConfig", std::move(exploration)}};
  return create(client_, "CreateBatchInferenceJob", body, "batchInferenceJobArn");
}

Result<SchemaDescription> PersonalizeApi::describe_schema(const std::string& arn) {
  const auto found = describe(client_, "DescribeSchema", "schemaArn", arn, "schema");
  if (!found) return fail(found.error());
  return SchemaDescription{.arn = text_of(*found, "schemaArn"),
                           .name = text_of(*found, "name"),
                           .avro = text_of(*found, "schema")};
}

Result<DatasetGroupDescription> PersonalizeApi::describe_dataset_group(const std::string& arn) {
  const auto found =
      describe(client_, "DescribeDatasetGroup", "datasetGroupArn", arn, "datasetGroup");
  if (!found) return fail(found.error());
  return DatasetGroupDescription{.arn = text_of(*found, "datasetGroupArn"),
                                 .name = text_of(*found, "name"),
                                 .state = state_of(*found)};
}

Result<DatasetDescription> PersonalizeApi::describe_dataset(const std::string& arn) {
  const auto found = describe(client_, "DescribeDataset", "datasetArn", arn, "dataset");
  if (!found) return fail(found.error());
  return DatasetDescription{.arn = text_of(*found, "datasetArn"),
                            .name = text_of(*found, "name"),
                            .dataset_group_arn = text_of(*found, "datasetGroupArn"),
                            .type = text_of(*found, "datasetType"),
                            .schema_arn = text_of(*found, "schemaArn"),
                            .state = state_of(*found)};
}

Result<EventTrackerDescription> PersonalizeApi::describe_event_tracker(const std::string& arn) {
  const auto found =
      describe(client_, "DescribeEventTracker", "eventTrackerArn", arn, "eventTracker");
  if (!found) return fail(found.error());
  return EventTrackerDescription{.arn = text_of(*found, "eventTrackerArn"),
                                 .name = text_of(*found, "name"),
                                 .tracking_id = text_of(*found, "trackingId"),
                                 .dataset_group_arn = text_of(*found, "datasetGroupArn"),
                                 .state = state_of(*found)};
}

Result<ImportJobDescription> PersonalizeApi::describe_dataset_import_job(const std::string& arn) {
  const auto found =
      describe(client_, "DescribeDatasetImportJob", "datasetImportJobArn", arn, "datasetImportJob");
  if (!found) return fail(found.error());
  return ImportJobDescription{
      .arn = text_of(*found, "datasetImportJobArn"),
      .job_name = text_of(*found, "jobName"),
      .dataset_arn = text_of(*found, "datasetArn"),
      .data_location = text_of(object_of(*found, "dataSource"), "dataLocation"),
      .import_mode = text_of(*found, "importMode"),
      .state = state_of(*found)};
}

Result<SolutionDescription> PersonalizeApi::describe_solution(const std::string& arn) {
  const auto found = describe(client_, "DescribeSolution", "solutionArn", arn, "solution");
  if (!found) return fail(found.error());
  return SolutionDescription{.arn = text_of(*found, "solutionArn"),
                             .name = text_of(*found, "name"),
                             .dataset_group_arn = text_of(*found, "datasetGroupArn"),
                             .recipe_arn = text_of(*found, "recipeArn"),
                             .auto_training = flag_of(*found, "performAutoTraining"),
                             .state = state_of(*found)};
}

Result<SolutionVersionDescription> PersonalizeApi::describe_solution_version(
    const std::string& arn) {
  const auto found =
      describe(client_, "DescribeSolutionVersion", "solutionVersionArn", arn, "solutionVersion");
  if (!found) return fail(found.error());
  return SolutionVersionDescription{.arn = text_of(*found, "solutionVersionArn"),
                                    .name = text_of(*found, "name"),
                                    .solution_arn = text_of(*found, "solutionArn"),
                                    .training_type = text_of(*found, "trainingType"),
                                    .state = state_of(*found)};
}

Result<CampaignDescription> PersonalizeApi::describe_campaign(const std::string& arn) {
  const auto found = describe(client_, "DescribeCampaign", "campaignArn", arn, "campaign");
  if (!found) return fail(found.error());
  CampaignDescription out{.arn = text_of(*found, "campaignArn"),
                          .name = text_of(*found, "name"),
                          .solution_version_arn = text_of(*found, "solutionVersionArn"),
                          .state = state_of(*found)};
  const auto& update = object_of(*found, "latestCampaignUpdate");
  if (!update.empty()) {
    out.latest_update = state_of(update);
    out.latest_update_solution_version_arn = text_of(update, "solutionVersionArn");
  }
  return out;
}

Result<BatchInferenceJobDescription> PersonalizeApi::describe_batch_inference_job(
    const std::string& arn) {
  const auto found = describe(client_, "DescribeBatchInferenceJob", "batchInferenceJobArn", arn,
                              "batchInferenceJob");
  if (!found) return fail(found.error());
  return BatchInferenceJobDescription{
      .arn = text_of(*found, "batchInferenceJobArn"),
      .job_name = text_of(*found, "jobName"),
      .solution_version_arn = text_of(*found, "solutionVersionArn"),
      .input_path = text_of(object_of(object_of(*found, "jobInput"), "s3DataSource"), "path"),
      .output_path =
          text_of(object_of(object_of(*found, "jobOutput"), "s3DataDestination"), "path"),
      .state = state_of(*found)};
}

Result<std::vector<ResourceSummary>> PersonalizeApi::list_dataset_import_jobs(
    const std::string& dataset_arn) {
  return list(client_,
              {"ListDatasetImportJobs", "datasetArn", "datasetImportJobs", "datasetImportJobArn",
               "jobName"},
              dataset_arn);
}

Result<std::vector<ResourceSummary>> PersonalizeApi::list_solution_versions(
    const std::string& solution_arn) {
  return list(
      client_,
      {"ListSolutionVersions", "solutionArn", "solutionVersions", "solutionVersionArn", "name"},
      solution_arn);
}

Result<std::vector<ResourceSummary>> PersonalizeApi::list_batch_inference_jobs(
    const std::string& solution_version_arn) {
  return list(client_,
              {"ListBatchInferenceJobs", "solutionVersionArn", "batchInferenceJobs",
               "batchInferenceJobArn", "jobName"},
              solution_version_arn);
}

Result<std::vector<ResourceSummary>> PersonalizeApi::list_event_trackers(
    const std::string& dataset_group_arn) {
  return list(client_,
              {"ListEventTrackers", "datasetGroupArn", "eventTrackers", "eventTrackerArn", "name"},
              dataset_group_arn);
}

Result<std::vector<ResourceSummary>> PersonalizeApi::list_campaigns(
    const std::string& solution_arn) {
  return list(client_, {"ListCampaigns", "solutionArn", "campaigns", "campaignArn", "name"},
              solution_arn);
}

Result<std::map<std::string, double>> PersonalizeApi::get_solution_metrics(
    const std::string& solution_version_arn) {
  const auto answer = ask(client_, "GetSolutionMetrics",
                          {{"solutionVersionArn", solution_version_arn}}, /*repeatable=*/true);
  if (!answer) return fail(answer.error());
  std::map<std::string, double> out;
  for (const auto& [name, value] : object_of(*answer, "metrics").items())
    if (value.is_number()) out[name] = value.get<double>();
  return out;
}

Result<std::vector<std::string>> columns_of_schema(std::string_view avro) {
  const auto schema = json::parse(avro, nullptr, /*allow_exceptions=*/false);
  std::vector<std::string> columns;
  if (schema.is_object())
    for (const auto& field : list_of(schema, "fields"))
      if (field.is_object()) columns.push_back(text_of(field, "name"));
  if (columns.empty() || std::find(columns.begin(), columns.end(), "") != columns.end())
    return fail(ErrorKind::invalid, "the dataset's schema is not an Avro record with named fields");
  return columns;
}

}  // namespace millrace
