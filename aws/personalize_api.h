// Personalize's control plane, as far as the cycle, `check` and the demo need it (Amazon
// Personalize API Reference; each method's page has its name in CamelCase). JSON 1.1 over
// AwsClient.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "aws/aws_client.h"
#include "core/result.h"
#include "core/time.h"

namespace millrace {

/// Where a resource is in its life. The service writes some words two ways ("CREATE STOPPED",
/// "CREATE_STOPPED"; "PENDING" for batch jobs).
enum class ResourcePhase { running, active, failed, gone };
ResourcePhase phase_of_status(std::string_view status);

/// What every Describe answer of a resource with a status has.
struct ResourceState {
  std::string status{};          // the service's own word, e.g. "CREATE IN_PROGRESS"
  std::string failure_reason{};  // the service's own text; empty unless it failed
  WallTime created{};
  WallTime updated{};
  [[nodiscard]] ResourcePhase phase() const { return phase_of_status(status); }
};

struct SchemaDescription {
  std::string arn{};
  std::string name{};
  std::string avro{};  // the Avro JSON as text
};
struct DatasetGroupDescription {
  std::string arn{};
  std::string name{};
  ResourceState state{};
};
struct DatasetDescription {
  std::string arn{};
  std::string name{};
  std::string dataset_group_arn{};
  std::string type{};  // "INTERACTIONS"
  std::string schema_arn{};
  ResourceState state{};
};
struct EventTrackerDescription {
  std::string arn{};
  std::string name{};
  std::string tracking_id{};
  std::string dataset_group_arn{};
  ResourceState state{};
};
struct ImportJobDescription {
  std::string arn{};
  std::string job_name{};
  std::string dataset_arn{};
  std::string data_location{};
  std::string import_mode{};  // FULL or INCREMENTAL
  ResourceState state{};
};
struct SolutionDescription {
  std::string arn{};
  std::string name{};
  std::string dataset_group_arn{};
  std::string recipe_arn{};
  bool auto_training = false;  // performAutoTraining: the service trains by itself, and bills it
  ResourceState state{};
};
struct SolutionVersionDescription {
  std::string arn{};
  std::string name{};  // absent in lists
  std::string solution_arn{};
  std::string training_type{};  // AUTOMATIC or MANUAL
  ResourceState state{};
};
struct CampaignDescription {
  std::string arn{};
  std::string name{};
  std::string solution_version_arn{};  // what it serves now
  ResourceState state{};
  /// latestCampaignUpdate; nothing before the first update.
  std::optional<ResourceState> latest_update{};
  std::string latest_update_solution_version_arn{};
};
struct BatchInferenceJobDescription {
  std::string arn{};
  std::string job_name{};
  std::string solution_version_arn{};
  std::string input_path{};
  std::string output_path{};
  ResourceState state{};
};

struct CreateImportJobRequest {
  std::string job_name{};
  std::string dataset_arn{};
  std::string data_location{};
  std::string role_arn{};
  bool incremental = false;  // default FULL replaces all bulk rows
};
struct CreateSolutionRequest {
  std::string name{};
  std::string dataset_group_arn{};
  std::string recipe_arn{};
  std::string event_type{};    // empty: all
  bool auto_training = false;  // ours trains when the cycle says so (the service's default: true)
};
struct CreateBatchInferenceJobRequest {
  std::string job_name{};
  std::string solution_version_arn{};
  std::string input_path{};
  std::string output_path{};
  std::string role_arn{};
  std::string filter_arn{};  // empty: none
  std::int32_t results = 25;
  std::optional<double> exploration_weight{};
  std::optional<std::int32_t> exploration_item_age_days{};
};

/// A resource of a list: what the summaries have in common.
struct ResourceSummary {
  std::string arn{};
  std::string name{};  // empty for solution versions
  ResourceState state{};
};

/// Threads and errors: as AwsClient::call. `conflict` is ResourceAlreadyExistsException or
/// ResourceInUseException, `throttled` ThrottlingException or LimitExceededException (which is both
/// "too many calls a second" and "too many resources"): Error::code tells which. Create calls that
/// end `ambiguous` are not repeated here: the caller describes or lists what came of them. Lists
/// read all pages, at most kListPagesMax.
class PersonalizeApi {
 public:
  explicit PersonalizeApi(AwsClient& client) : client_(client) {}

  static constexpr std::size_t kListPagesMax = 100;  // 100 a page

  // Each returns the new resource's ARN.
  Result<std::string> create_schema(const std::string& name, const std::string& avro);
  Result<std::string> create_dataset_group(const std::string& name);
  Result<std::string> create_dataset(const std::string& name, const std::string& dataset_group_arn,
                                     const std::string& type, const std::string& schema_arn);
  struct CreatedEventTracker {
    std::string arn{};
    std::string tracking_id{};
  };
  Result<CreatedEventTracker> create_event_tracker(const std::string& name,
                                                   const std::string& dataset_group_arn);
  Result<std::string> create_dataset_import_job(const CreateImportJobRequest& request);
  Result<std::string> create_solution(const CreateSolutionRequest& request);
  Result<std::string> create_solution_version(const std::string& solution_arn,
                                              const std::string& name);
  Result<std::string> create_campaign(const std::string& name,
                                      const std::string& solution_version_arn,
                                      std::int32_t min_provisioned_tps = 1);
  Status update_campaign(const std::string& campaign_arn, const std::string& solution_version_arn);
  Result<std::string> create_batch_inference_job(const CreateBatchInferenceJobRequest& request);

  Result<SchemaDescription> describe_schema(const std::string& arn);
  Result<DatasetGroupDescription> describe_dataset_group(const std::string& arn);
  Result<DatasetDescription> describe_dataset(const std::string& arn);
  Result<EventTrackerDescription> describe_event_tracker(const std::string& arn);
  Result<ImportJobDescription> describe_dataset_import_job(const std::string& arn);
  Result<SolutionDescription> describe_solution(const std::string& arn);
  Result<SolutionVersionDescription> describe_solution_version(const std::string& arn);
  Result<CampaignDescription> describe_campaign(const std::string& arn);
  Result<BatchInferenceJobDescription> describe_batch_inference_job(const std::string& arn);

  Result<std::vector<ResourceSummary>> list_dataset_import_jobs(const std::string& dataset_arn);
  Result<std::vector<ResourceSummary>> list_solution_versions(const std::string& solution_arn);
  Result<std::vector<ResourceSummary>> list_batch_inference_jobs(
      const std::string& solution_version_arn);
  Result<std::vector<ResourceSummary>> list_event_trackers(const std::string& dataset_group_arn);
  Result<std::vector<ResourceSummary>> list_campaigns(const std::string& solution_arn);

  /// Offline metrics by name, e.g. "precision_at_5".
  Result<std::map<std::string, double>> get_solution_metrics(
      const std::string& solution_version_arn);

 private:
  AwsClient& client_;
};

/// Column names of an Avro record schema in its order; `invalid` when the text is not one.
Result<std::vector<std::string>> columns_of_schema(std::string_view avro);

}  // namespace millrace
