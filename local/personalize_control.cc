// The control plane: who may be made when, and what Describe and List say about it.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "local/personalize_impl.h"
#include "local/personalize_import.h"

namespace millrace {
namespace {

using json = nlohmann::json;

struct Recipe {
  std::string_view name{};
  std::string_view type{};
  std::string_view description{};
};

constexpr std::array kRecipes = {
    Recipe{"aws-user-personalization-v2", "USER_PERSONALIZATION",
           "Items a user is likely to interact with"},
    Recipe{"aws-user-personalization", "USER_PERSONALIZATION",
           "Items a user is likely to interact with"},
    Recipe{"aws-personalized-ranking-v2", "PERSONALIZED_RANKING",
           "A list of items in a user's order"},
    Recipe{"aws-personalized-ranking", "PERSONALIZED_RANKING", "A list of items in a user's order"},
    Recipe{"aws-popularity-count", "POPULAR_ITEMS", "The items most users interact with"},
    Recipe{"aws-similar-items", "RELATED_ITEMS", "Items found with the same users"},
    Recipe{"aws-sims", "RELATED_ITEMS", "Items found with the same users"},
};

std::string recipe_arn(const Recipe& recipe) {
  return fmt::format("arn:aws:personalize:::recipe/{}", recipe.name);
}

json recipe_body(const Recipe& recipe) {
  // The service's own recipes have no date that matters; this is the start of its API version.
  constexpr double kSince = 1526947200;
  return {{"name", recipe.name},
          {"recipeArn", recipe_arn(recipe)},
          {"status", "ACTIVE"},
          {"creationDateTime", kSince},
          {"lastUpdatedDateTime", kSince}};
}

const Recipe* find_recipe(std::string_view arn) {
  for (const Recipe& recipe : kRecipes) {
    if (arn == recipe_arn(recipe)) return &recipe;
  }
  return nullptr;
}

constexpr std::size_t kImportsMax = 5;  // unfinished ones; all from "Quotas" of the guide
constexpr std::size_t kExportsMax = 5;
constexpr std::size_t kBatchesMax = 5;
constexpr std::size_t kVersionsMax = 20;
constexpr std::size_t kGroupsMax = 5;
constexpr std::size_t kSchemasMax = 500;
constexpr std::size_t kSolutionsMax = 20;  // of a group; the guide's own pages say 10 and 20
constexpr std::size_t kCampaignsMax = 5;
constexpr std::size_t kTagsMax = 50;
constexpr std::size_t kOwnColumnsMax = 5;  // of an Interactions schema
constexpr double kDeletionSeconds = 20;
constexpr double kUpdateSeconds = 300;
constexpr double kStoppingSeconds = 60;

constexpr std::string_view kTooManyUnfinished =
    "More than 5 resources with PENDING or IN_PROGRESS status.";

ApiError already_exists(const std::string& arn) {
  return {"ResourceAlreadyExistsException",
          fmt::format("Another resource with Arn {} already exists.", arn)};
}

std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

std::int64_t scaled_ms(double seconds, double scale) {
  return static_cast<std::int64_t>(seconds * 1000 * scale);
}

void copy_members(const json& from, std::initializer_list<const char*> members, json& to) {
  for (const char* member : members) {
    if (from.contains(member) && !from[member].is_null()) to[member] = from[member];
  }
}

/// What makes a schema unfit for the type; nothing when it fits.
std::optional<std::string> schema_problem(const std::string& text, const std::string& type) {
  if (type == "INTERACTIONS") {
    const auto columns = parse_interactions_schema(text);
    if (!columns) return columns.error().message;
    static constexpr std::array<std::string_view, 8> kReserved = {
        "USER_ID",     "ITEM_ID",    "TIMESTAMP",         "EVENT_TYPE",
        "EVENT_VALUE", "IMPRESSION", "RECOMMENDATION_ID", "EVENT_ATTRIBUTION_SOURCE"};
    const auto own = std::count_if(columns->begin(), columns->end(), [](const Column& column) {
      return std::find(kReserved.begin(), kReserved.end(), column.name) == kReserved.end();
    });
    if (static_cast<std::size_t>(own) > kOwnColumnsMax) {
      return fmt::format("an Interactions schema has at most {} fields of its own, this has {}",
                         kOwnColumnsMax, own);
    }
    return std::nullopt;
  }
  const auto columns = parse_schema(text);
  if (!columns) return columns.error().message;
  const std::string id = type == "ITEMS" ? "ITEM_ID" : "USER_ID";
  const bool found = std::any_of(columns->begin(), columns->end(), [&](const Column& column) {
    return column.name == id && column.type == ColumnType::text && !column.nullable;
  });
  if (!found) return fmt::format("the required field {} (string) is missing", id);
  if (columns->size() < 2) return "at least one metadata field is required";
  return std::nullopt;
}

}  // namespace

std::string PersonalizeService::Impl::arn_of(std::string_view tail) const {
  return fmt::format("arn:aws:personalize:{}:{}:{}", options_.region, options_.account, tail);
}

tl::expected<Resource*, ApiError> PersonalizeService::Impl::present(std::string_view kind,
                                                                    const std::string& arn) {
  Resource* found = book_.find(arn);
  if (found == nullptr || found->kind->name != kind) {
    return refuse("ResourceNotFoundException",
                  fmt::format("The given {} does not exist: {}", resource_kind(kind)->words, arn));
  }
  return found;
}

tl::expected<Resource*, ApiError> PersonalizeService::Impl::active(std::string_view kind,
                                                                   const std::string& arn,
                                                                   std::int64_t now) {
  auto found = present(kind, arn);
  if (found && (*found)->kind->pending_seconds >= 0 && !(*found)->active(now)) {
    return refuse("ResourceInUseException",
                  fmt::format("The given {} is not ACTIVE but {}: {}", resource_kind(kind)->words,
                              (*found)->status(now), arn));
  }
  return found;
}

tl::expected<Resource*, ApiError> PersonalizeService::Impl::active_version(const std::string& arn,
                                                                           std::int64_t now) {
  constexpr std::string_view kLatest = "/$LATEST";
  if (!arn.ends_with(kLatest)) return active("solutionVersion", arn, now);
  const auto solution = present("solution", arn.substr(0, arn.size() - kLatest.size()));
  if (!solution) return solution;
  Resource* latest = nullptr;
  for (Resource* version : book_.all("solutionVersion")) {
    if (version->body["solutionArn"] == (*solution)->arn && version->active(now)) latest = version;
  }
  if (latest == nullptr) {
    return refuse("ResourceInUseException",
                  "The given solution has no ACTIVE solution version: " + (*solution)->arn);
  }
  return latest;
}

std::size_t PersonalizeService::Impl::unfinished(std::string_view kind, std::int64_t now) {
  const auto all = book_.all(kind);
  return static_cast<std::size_t>(std::count_if(
      all.begin(), all.end(), [&](const Resource* one) { return one->unfinished(now); }));
}

Answer PersonalizeService::Impl::created(Resource resource, const json& input, std::int64_t now,
                                         bool has_work) {
  if (book_.find(resource.arn) != nullptr) return tl::unexpected(already_exists(resource.arn));
  if (input.contains("tags") && input["tags"].is_array()) {
    if (input["tags"].size() > kTagsMax) {
      return refuse("TooManyTagsException",
                    fmt::format("A resource has at most {} tags", kTagsMax));
    }
    resource.tags = input["tags"];
  }
  const double scale = options_.time_scale;
  resource.created_ms = now;
  resource.started_ms = now + scaled_ms(std::max(0.0, resource.kind->pending_seconds), scale);
  resource.ready_ms = resource.started_ms + scaled_ms(resource.kind->working_seconds, scale);
  resource.work = has_work ? Work::waiting : Work::none;
  const Resource& added = book_.add(std::move(resource));
  if (!save()) return refuse("InternalFailure", "The state folder cannot be written", 500);
  if (has_work) {
    queue_.push_back(added.arn);
    changed_.notify_all();
  }
  return json{{added.arn_member(), added.arn}};
}

Answer PersonalizeService::Impl::control(std::string_view operation, const json& input,
                                         std::int64_t now) {
  using Handler = Answer (Impl::*)(const json&, std::int64_t);
  static const std::map<std::string_view, Handler> kHandlers = {
      {"CreateSchema", &Impl::create_schema},
      {"CreateDatasetGroup", &Impl::create_dataset_group},
      {"CreateDataset", &Impl::create_dataset},
      {"CreateEventTracker", &Impl::create_event_tracker},
      {"CreateDatasetImportJob", &Impl::create_import_job},
      {"CreateDatasetExportJob", &Impl::create_export_job},
      {"CreateSolution", &Impl::create_solution},
      {"UpdateSolution", &Impl::update_solution},
      {"CreateSolutionVersion", &Impl::create_solution_version},
      {"StopSolutionVersionCreation", &Impl::stop_solution_version},
      {"CreateCampaign", &Impl::create_campaign},
      {"UpdateCampaign", &Impl::update_campaign},
      {"CreateBatchInferenceJob", &Impl::create_batch_inference_job},
      {"GetSolutionMetrics", &Impl::solution_metrics},
  };
  if (const auto found = kHandlers.find(operation); found != kHandlers.end()) {
    return (this->*found->second)(input, now);
  }
  if (operation == "CreateFilter") {
    return invalid_input("The embedded Personalize has no filters: filter the recommendations");
  }
  if (operation == "DescribeFilter" || operation == "DeleteFilter") {
    return refuse("ResourceNotFoundException", fmt::format("The given filter does not exist: {}",
                                                           input["filterArn"].get<std::string>()));
  }
  if (operation == "TagResource" || operation == "UntagResource" ||
      operation == "ListTagsForResource") {
    return tag(operation, input, now);
  }
  const auto kind_of = [](std::string_view name) {
    std::string kind(name);
    kind[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(kind[0])));
    return kind;
  };
  if (operation.starts_with("Describe")) return describe(kind_of(operation.substr(8)), input, now);
  if (operation.starts_with("Delete")) return remove(kind_of(operation.substr(6)), input, now);
  return list(operation, input, now);
}

Answer PersonalizeService::Impl::create_schema(const json& input, std::int64_t now) {
  const auto text = input["schema"].get<std::string>();
  if (input.contains("domain")) {
    return invalid_input("The embedded Personalize has no domain dataset groups: leave domain out");
  }
  const auto columns = parse_schema(text);
  if (!columns) {
    return invalid_input("Input schema is not in valid JSON or not a valid Avro schema: " +
                         columns.error().message);
  }
  const json record = json::parse(text, nullptr, false);
  const auto type = record.is_object() && record.contains("name") && record["name"].is_string()
                        ? upper(record["name"].get<std::string>())
                        : std::string{};
  if (type == "INTERACTIONS") {
    if (auto problem = schema_problem(text, type)) {
      return invalid_input("Input schema is not valid for Interactions: " + *problem);
    }
  }
  if (book_.all("schema").size() >= kSchemasMax) {
    return refuse("LimitExceededException", "More than 500 schemas.");
  }
  Resource schema;
  schema.kind = resource_kind("schema");
  schema.name = input["name"].get<std::string>();
  schema.arn = arn_of("schema/" + schema.name);
  schema.body["schema"] = text;
  return created(std::move(schema), input, now, false);
}

Answer PersonalizeService::Impl::create_dataset_group(const json& input, std::int64_t now) {
  if (input.contains("domain")) {
    return invalid_input("The embedded Personalize has no domain dataset groups: leave domain out");
  }
  if (input.contains("roleArn") != input.contains("kmsKeyArn")) {
    return invalid_input("roleArn and kmsKeyArn must be given together");
  }
  Resource group;
  group.kind = resource_kind("datasetGroup");
  group.name = input["name"].get<std::string>();
  group.arn = group.group = arn_of("dataset-group/" + group.name);
  if (book_.find(group.arn) == nullptr && book_.all("datasetGroup").size() >= kGroupsMax) {
    return refuse("LimitExceededException",
                  "More than 5 resources in ACTIVE state. Please delete "
                  "some and try again.");
  }
  copy_members(input, {"roleArn", "kmsKeyArn"}, group.body);
  return created(std::move(group), input, now, false);
}

Answer PersonalizeService::Impl::create_dataset(const json& input, std::int64_t now) {
  const auto schema = present("schema", input["schemaArn"].get<std::string>());
  if (!schema) return tl::unexpected(schema.error());
  const auto group = active("datasetGroup", input["datasetGroupArn"].get<std::string>(), now);
  if (!group) return tl::unexpected(group.error());
  const auto type = upper(input["datasetType"].get<std::string>());
  if (type != "INTERACTIONS" && type != "ITEMS" && type != "USERS") {
    return invalid_input(
        fmt::format("The embedded Personalize has no datasets of type {}: it takes "
                    "Interactions, Items and Users",
                    type));
  }
  if (auto problem = schema_problem((*schema)->body["schema"].get<std::string>(), type)) {
    return invalid_input(
        fmt::format("The given schema does not fit the dataset type {}: {}", type, *problem));
  }
  Resource dataset;
  dataset.kind = resource_kind("dataset");
  dataset.name = input["name"].get<std::string>();
  dataset.arn = arn_of(fmt::format("dataset/{}/{}", (*group)->name, type));
  dataset.group = (*group)->arn;
  dataset.body = {
      {"datasetGroupArn", (*group)->arn}, {"datasetType", type}, {"schemaArn", (*schema)->arn}};
  const std::string arn = dataset.arn;
  auto answer = created(std::move(dataset), input, now, false);
  if (!answer) return answer;
  if (auto status = open_dataset(*book_.find(arn)); !status) {
    return refuse("InternalFailure", status.error().message, 500);
  }
  return answer;
}

Answer PersonalizeService::Impl::create_event_tracker(const json& input, std::int64_t now) {
  const auto group = active("datasetGroup", input["datasetGroupArn"].get<std::string>(), now);
  if (!group) return tl::unexpected(group.error());
  for (const Resource* other : book_.all("eventTracker")) {
    if (other->group == (*group)->arn) {
      return refuse("ResourceAlreadyExistsException",
                    fmt::format("Only one event tracker can be associated with a dataset group; it "
                                "has {}",
                                other->arn));
    }
  }
  Resource tracker;
  tracker.kind = resource_kind("eventTracker");
  tracker.name = input["name"].get<std::string>();
  tracker.arn = arn_of("event-tracker/" + hex(8));
  tracker.group = (*group)->arn;
  const std::string id = uuid();
  tracker.body = {
      {"accountId", options_.account}, {"trackingId", id}, {"datasetGroupArn", (*group)->arn}};
  tracker.own["group_name"] = (*group)->name;
  trackers_[id] = {tracker.arn, arn_of(fmt::format("dataset/{}/INTERACTIONS", (*group)->name))};
  auto answer = created(std::move(tracker), input, now, false);
  if (answer) (*answer)["trackingId"] = id;
  return answer;
}

Answer PersonalizeService::Impl::create_import_job(const json& input, std::int64_t now) {
  const auto dataset = active("dataset", input["datasetArn"].get<std::string>(), now);
  if (!dataset) return tl::unexpected(dataset.error());
  const auto location = input["dataSource"]["dataLocation"].get<std::string>();
  if (!location.starts_with("s3://") && !location.starts_with("file:///")) {
    return invalid_input("Invalid Data location.");
  }
  const auto mode = input.value("importMode", "FULL");
  if (mode == "INCREMENTAL" && (*dataset)->own.value("imports", 0) == 0) {
    return invalid_input("An INCREMENTAL import needs a FULL import of the dataset before it");
  }
  Resource job;
  job.kind = resource_kind("datasetImportJob");
  job.name = input["jobName"].get<std::string>();
  job.arn = arn_of("dataset-import-job/" + job.name);
  job.group = (*dataset)->group;
  if (book_.find(job.arn) != nullptr) return tl::unexpected(already_exists(job.arn));
  if (unfinished("datasetImportJob", now) >= kImportsMax) {
    return refuse("LimitExceededException", std::string(kTooManyUnfinished));
  }
  copy_members(input, {"datasetArn", "dataSource", "roleArn", "publishAttributionMetricsToS3"},
               job.body);
  job.body["importMode"] = mode;
  return created(std::move(job), input, now, true);
}

Answer PersonalizeService::Impl::create_export_job(const json& input, std::int64_t now) {
  const auto dataset = active("dataset", input["datasetArn"].get<std::string>(), now);
  if (!dataset) return tl::unexpected(dataset.error());
  if ((*dataset)->body["datasetType"] != "INTERACTIONS") {
    return invalid_input("The embedded Personalize exports Interactions datasets only");
  }
  Resource job;
  job.kind = resource_kind("datasetExportJob");
  job.name = input["jobName"].get<std::string>();
  job.arn = arn_of("dataset-export-job/" + job.name);
  job.group = (*dataset)->group;
  if (book_.find(job.arn) != nullptr) return tl::unexpected(already_exists(job.arn));
  if (unfinished("datasetExportJob", now) >= kExportsMax) {
    return refuse("LimitExceededException", std::string(kTooManyUnfinished));
  }
  if (!local_path(input["jobOutput"]["s3DataDestination"]["path"].get<std::string>())) {
    return invalid_input("Invalid S3 output path");
  }
  copy_members(input, {"datasetArn", "roleArn", "jobOutput"}, job.body);
  job.body["ingestionMode"] = input.value("ingestionMode", "PUT");
  return created(std::move(job), input, now, true);
}

Answer PersonalizeService::Impl::create_solution(const json& input, std::int64_t now) {
  const auto group = active("datasetGroup", input["datasetGroupArn"].get<std::string>(), now);
  if (!group) return tl::unexpected(group.error());
  if (input.value("performAutoML", false) || !input.contains("recipeArn")) {
    return invalid_input("The embedded Personalize has no AutoML: give a recipeArn");
  }
  if (input.value("performHPO", false)) {
    return invalid_input(
        "The embedded Personalize does not search hyperparameters: leave "
        "performHPO out");
  }
  const auto recipe_name = input["recipeArn"].get<std::string>();
  if (find_recipe(recipe_name) == nullptr) {
    return refuse("ResourceNotFoundException",
                  fmt::format("The given recipe does not exist here: {}; ListRecipes shows those "
                              "that the embedded Personalize has",
                              recipe_name));
  }
  const auto config = input.value("solutionConfig", json::object());
  if (config.contains("eventValueThreshold")) {
    const auto text = config["eventValueThreshold"].get<std::string>();
    const Column number{"eventValueThreshold", ColumnType::float64};
    if (!canonical_value(number, text)) {
      return invalid_input("eventValueThreshold is not a number: " + text);
    }
  }
  for (const char* ignored :
       {"hpoConfig", "algorithmHyperParameters", "featureTransformationParameters",
        "optimizationObjective", "trainingDataConfig"}) {
    if (config.contains(ignored) && !config[ignored].empty()) {
      return invalid_input(fmt::format(
          "The embedded Personalize does not use solutionConfig.{}: leave it out", ignored));
    }
  }
  const auto all = book_.all("solution");
  Resource solution;
  solution.kind = resource_kind("solution");
  solution.name = input["name"].get<std::string>();
  solution.arn = arn_of("solution/" + solution.name);
  solution.group = (*group)->arn;
  if (book_.find(solution.arn) == nullptr &&
      static_cast<std::size_t>(std::count_if(all.begin(), all.end(), [&](const Resource* one) {
        return one->group == (*group)->arn;
      })) >= kSolutionsMax) {
    return refuse("LimitExceededException", "More than 20 solutions in the dataset group.");
  }
  copy_members(input, {"recipeArn", "datasetGroupArn", "eventType", "solutionConfig"},
               solution.body);
  solution.body["performHPO"] = false;
  solution.body["performAutoML"] = false;
  solution.body["performAutoTraining"] = input.value("performAutoTraining", true);
  solution.body["performIncrementalUpdate"] = input.value("performIncrementalUpdate", false);
  if (solution.body["performAutoTraining"] == true) {
    log_.warn("the embedded personalize trains nothing by itself, the real one would",
              {{"solution", solution.name}});
  }
  return created(std::move(solution), input, now, false);
}

Answer PersonalizeService::Impl::update_solution(const json& input, std::int64_t now) {
  const auto solution = active("solution", input["solutionArn"].get<std::string>(), now);
  if (!solution) return tl::unexpected(solution.error());
  Resource& one = **solution;
  if (!one.update_applied) {
    return refuse("ResourceInUseException", "The solution is being updated: " + one.arn);
  }
  json changes = json::object();
  copy_members(input, {"performAutoTraining", "performIncrementalUpdate"}, changes);
  if (input.contains("solutionUpdateConfig")) {
    auto config = one.body.value("solutionConfig", json::object());
    config.update(input["solutionUpdateConfig"]);
    changes["solutionConfig"] = config;
  }
  if (changes.empty()) return invalid_input("The update changes nothing");
  one.update = json::object();
  copy_members(input, {"performAutoTraining", "performIncrementalUpdate", "solutionUpdateConfig"},
               one.update);
  one.own["updating"] = changes;
  one.updated_ms = now;
  one.update_started_ms = now + scaled_ms(1, options_.time_scale);
  one.update_ready_ms = now + scaled_ms(5, options_.time_scale);
  one.update_applied = false;
  if (!save()) return refuse("InternalFailure", "The state folder cannot be written", 500);
  return json{{"solutionArn", one.arn}};
}

Answer PersonalizeService::Impl::create_solution_version(const json& input, std::int64_t now) {
  const auto found = active("solution", input["solutionArn"].get<std::string>(), now);
  if (!found) return tl::unexpected(found.error());
  const Resource& solution = **found;
  const auto mode = input.value("trainingMode", "FULL");
  bool trained_before = false;
  for (const Resource* other : book_.all("solutionVersion")) {
    if (other->body["solutionArn"] != solution.arn) continue;
    if (input.contains("name") && other->name == input["name"].get<std::string>()) {
      return tl::unexpected(already_exists(other->arn));
    }
    trained_before =
        trained_before || (other->active(now) && other->body["trainingMode"] == "FULL");
  }
  if (mode == "AUTOTRAIN") {
    return invalid_input("trainingMode AUTOTRAIN is for versions the service makes by itself");
  }
  if (mode == "UPDATE") {
    if (solution.body["recipeArn"] != "arn:aws:personalize:::recipe/aws-user-personalization") {
      return invalid_input("trainingMode UPDATE is supported by User-Personalization only");
    }
    if (!trained_before) {
      return invalid_input(
          "trainingMode UPDATE needs an ACTIVE solution version trained with FULL");
    }
  }
  if (unfinished("solutionVersion", now) >= kVersionsMax) {
    return refuse("LimitExceededException",
                  "More than 20 resources with PENDING or IN_PROGRESS status.");
  }
  const auto id = hex(8);
  Resource version;
  version.kind = resource_kind("solutionVersion");
  version.name = input.contains("name") ? input["name"].get<std::string>()
                                        : fmt::format("{}/{}", solution.name, id);
  version.arn = fmt::format("{}/{}", solution.arn, id);
  version.group = solution.group;
  copy_members(solution.body,
               {"performHPO", "performAutoML", "performIncrementalUpdate", "recipeArn", "eventType",
                "datasetGroupArn", "solutionConfig"},
               version.body);
  version.body["solutionArn"] = solution.arn;
  version.body["trainingMode"] = mode;
  version.body["trainingType"] = "MANUAL";
  return created(std::move(version), input, now, true);
}

Answer PersonalizeService::Impl::stop_solution_version(const json& input, std::int64_t now) {
  const auto found = present("solutionVersion", input["solutionVersionArn"].get<std::string>());
  if (!found) return tl::unexpected(found.error());
  Resource& version = **found;
  if (!version.unfinished(now)) {
    return refuse("ResourceInUseException",
                  fmt::format("The solution version is not in creation but {}: {}",
                              version.status(now), version.arn));
  }
  const bool pending = version.status(now) == "CREATE PENDING";
  version.stopping_ms = now;
  version.stopped_ms = pending ? now : now + scaled_ms(kStoppingSeconds, options_.time_scale);
  std::erase(queue_, version.arn);
  if (!save()) return refuse("InternalFailure", "The state folder cannot be written", 500);
  return json(nullptr);
}

Answer PersonalizeService::Impl::create_campaign(const json& input, std::int64_t now) {
  const auto version_arn = input["solutionVersionArn"].get<std::string>();
  const bool sync =
      input.value("campaignConfig", json::object()).value("syncWithLatestSolutionVersion", false);
  if (version_arn.ends_with("/$LATEST") != sync) {
    return invalid_input("$LATEST and syncWithLatestSolutionVersion must be used together");
  }
  const auto version = active_version(version_arn, now);
  if (!version) return tl::unexpected(version.error());
  Resource campaign;
  campaign.kind = resource_kind("campaign");
  campaign.name = input["name"].get<std::string>();
  campaign.arn = arn_of("campaign/" + campaign.name);
  campaign.group = (*version)->group;
  const auto all = book_.all("campaign");
  if (book_.find(campaign.arn) == nullptr &&
      static_cast<std::size_t>(std::count_if(all.begin(), all.end(), [&](const Resource* one) {
        return one->group == campaign.group;
      })) >= kCampaignsMax) {
    return refuse("LimitExceededException",
                  "Cannot create a campaign. More than 5 resources in "
                  "ACTIVE state. Please delete some and try again.");
  }
  campaign.body["solutionVersionArn"] = version_arn;
  campaign.body["minProvisionedTPS"] = input.value("minProvisionedTPS", 1);
  copy_members(input, {"campaignConfig"}, campaign.body);
  campaign.own["solutionArn"] = (*version)->body["solutionArn"];
  return created(std::move(campaign), input, now, false);
}

Answer PersonalizeService::Impl::update_campaign(const json& input, std::int64_t now) {
  const auto found = present("campaign", input["campaignArn"].get<std::string>());
  if (!found) return tl::unexpected(found.error());
  Resource& campaign = **found;
  const auto status = campaign.status(now);
  if ((status != "ACTIVE" && status != "CREATE FAILED") || !campaign.update_applied) {
    return refuse("ResourceInUseException",
                  fmt::format("The campaign is {} or being updated: {}", status, campaign.arn));
  }
  json changes = json::object();
  copy_members(input, {"solutionVersionArn", "minProvisionedTPS", "campaignConfig"}, changes);
  if (changes.empty()) return invalid_input("The update changes nothing");
  if (changes.contains("solutionVersionArn")) {
    const auto version = active_version(changes["solutionVersionArn"].get<std::string>(), now);
    if (!version) return tl::unexpected(version.error());
    if ((*version)->body["solutionArn"] != campaign.own["solutionArn"]) {
      return invalid_input("The solution version belongs to another solution than the campaign's");
    }
  }
  campaign.update = {{"solutionVersionArn", campaign.body["solutionVersionArn"]},
                     {"minProvisionedTPS", campaign.body["minProvisionedTPS"]}};
  campaign.update.update(changes);
  campaign.own["updating"] = changes;
  campaign.updated_ms = now;
  campaign.update_started_ms = now + scaled_ms(10, options_.time_scale);
  campaign.update_ready_ms = now + scaled_ms(kUpdateSeconds, options_.time_scale);
  campaign.update_applied = false;
  if (!save()) return refuse("InternalFailure", "The state folder cannot be written", 500);
  return json{{"campaignArn", campaign.arn}};
}

Answer PersonalizeService::Impl::create_batch_inference_job(const json& input, std::int64_t now) {
  const auto version = active_version(input["solutionVersionArn"].get<std::string>(), now);
  if (!version) return tl::unexpected(version.error());
  if (input.contains("filterArn")) {
    return refuse("ResourceNotFoundException", fmt::format("The given filter does not exist: {}",
                                                           input["filterArn"].get<std::string>()));
  }
  if (input.value("batchInferenceJobMode", "BATCH_INFERENCE") != "BATCH_INFERENCE" ||
      input.contains("themeGenerationConfig")) {
    return invalid_input("The embedded Personalize generates no themes");
  }
  const auto results = input.value("numResults", 25);
  if (results < 1 || results > 500) {
    return invalid_input("numResults must be between 1 and 500");
  }
  const auto in = input["jobInput"]["s3DataSource"]["path"].get<std::string>();
  const auto out = input["jobOutput"]["s3DataDestination"]["path"].get<std::string>();
  if (!local_path(in)) return invalid_input("Invalid S3 input path");
  if (!local_path(out) || in == out) return invalid_input("Invalid S3 output path");
  Resource job;
  job.kind = resource_kind("batchInferenceJob");
  job.name = input["jobName"].get<std::string>();
  job.arn = arn_of("batch-inference-job/" + job.name);
  job.group = (*version)->group;
  if (book_.find(job.arn) != nullptr) return tl::unexpected(already_exists(job.arn));
  if (unfinished("batchInferenceJob", now) >= kBatchesMax) {
    return refuse("LimitExceededException", std::string(kTooManyUnfinished));
  }
  copy_members(input, {"jobInput", "jobOutput", "roleArn", "batchInferenceJobConfig"}, job.body);
  job.body["solutionVersionArn"] = (*version)->arn;
  job.body["numResults"] = results;
  job.body["batchInferenceJobMode"] = "BATCH_INFERENCE";
  return created(std::move(job), input, now, true);
}

Answer PersonalizeService::Impl::describe(std::string_view kind, const json& input,
                                          std::int64_t now) {
  if (kind == "recipe") {
    const auto arn = input["recipeArn"].get<std::string>();
    const Recipe* recipe = find_recipe(arn);
    if (recipe == nullptr) {
      return refuse("ResourceNotFoundException", "The given recipe does not exist: " + arn);
    }
    json body = recipe_body(*recipe);
    body["algorithmArn"] = fmt::format("arn:aws:personalize:::algorithm/{}", recipe->name);
    body["featureTransformationArn"] =
        fmt::format("arn:aws:personalize:::feature-transformation/{}", recipe->name);
    body["description"] = recipe->description;
    body["recipeType"] = recipe->type;
    return json{{"recipe", body}};
  }
  const auto found = present(kind, input[std::string(kind) + "Arn"].get<std::string>());
  if (!found) return tl::unexpected(found.error());
  json body = (*found)->described(now);
  if (kind == "solution") {
    for (const Resource* version : book_.all("solutionVersion")) {
      if (version->body["solutionArn"] == (*found)->arn) {
        body["latestSolutionVersion"] = version->summarised(now);
      }
    }
  }
  return json{{std::string(kind), body}};
}

Answer PersonalizeService::Impl::list(std::string_view operation, const json& input,
                                      std::int64_t now) {
  const auto what = operation.substr(4);
  std::vector<json> all;
  std::string member;
  if (what == "Recipes") {
    member = "recipes";
    if (!input.contains("domain")) {
      for (const Recipe& recipe : kRecipes) all.push_back(recipe_body(recipe));
    }
  } else if (what == "Filters") {
    member = "Filters";  // so spelt in the service's model
  } else {
    std::string kind_name(what.substr(0, what.size() - 1));
    kind_name[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(kind_name[0])));
    const ResourceKind& kind = *resource_kind(kind_name);
    member = kind.list_member;
    const std::string filter(kind.parent);
    const bool filtered = !filter.empty() && input.contains(filter) && !input[filter].is_null();
    if (filtered && kind_name == "solutionVersion") {
      const auto solution = present("solution", input[filter].get<std::string>());
      if (!solution) return tl::unexpected(solution.error());
    }
    for (const Resource* one : book_.all(kind_name)) {
      if (filtered) {
        const json& is = one->body.contains(filter) ? one->body[filter] : one->own[filter];
        if (is != input[filter]) continue;
      }
      all.push_back(one->summarised(now));
    }
  }
  // The token is the operation and how many entries came before; entries never move, and one that
  // was deleted meanwhile only shortens the rest.
  const auto prefix = fmt::format("{}:", what);
  std::size_t from = 0;
  if (input.contains("nextToken") && input["nextToken"].is_string()) {
    const auto token = input["nextToken"].get<std::string>();
    const auto digits = token.starts_with(prefix) ? token.substr(prefix.size()) : std::string{};
    if (digits.empty() || digits.size() > 9 ||
        digits.find_first_not_of("0123456789") != std::string::npos) {
      return refuse("InvalidNextTokenException", "The token is not valid: " + token);
    }
    from = std::stoul(digits);
  }
  const auto count = input.value("maxResults", std::size_t{100});
  const std::size_t begin = std::min(from, all.size());
  const std::size_t end = std::min(begin + count, all.size());
  json reply = {{member, json::array()}};
  for (std::size_t i = begin; i < end; ++i) reply[member].push_back(all[i]);
  if (end < all.size()) reply["nextToken"] = fmt::format("{}{}", prefix, end);
  return reply;
}

Answer PersonalizeService::Impl::remove(std::string_view kind, const json& input,
                                        std::int64_t now) {
  const auto found = present(kind, input[std::string(kind) + "Arn"].get<std::string>());
  if (!found) return tl::unexpected(found.error());
  Resource& one = **found;
  const auto in_use = [&](std::string_view why) {
    return refuse("ResourceInUseException",
                  fmt::format("The {} cannot be deleted: {}", one.kind->words, why));
  };
  if (kind == "schema") {
    for (const Resource* dataset : book_.all("dataset")) {
      if (dataset->body["schemaArn"] == one.arn) return in_use(dataset->arn + " uses it");
    }
    book_.remove(one.arn);
    if (!save()) return refuse("InternalFailure", "The state folder cannot be written", 500);
    return json(nullptr);
  }
  if (one.deleting_ms > 0) return json(nullptr);
  if (one.unfinished(now) || !one.update_applied) return in_use("it is " + one.status(now));
  if (kind == "datasetGroup") {
    for (const std::string_view child : {"dataset", "eventTracker", "solution"}) {
      for (const Resource* other : book_.all(child)) {
        if (other->group == one.arn) return in_use(other->arn + " belongs to it");
      }
    }
  }
  for (const std::string_view job : {"datasetImportJob", "datasetExportJob", "solutionVersion"}) {
    if (kind != "dataset") break;
    for (const Resource* other : book_.all(job)) {
      if (other->group == one.group && other->unfinished(now)) {
        return in_use(fmt::format("{} is {}", other->arn, other->status(now)));
      }
    }
  }
  std::vector<Resource*> with;
  if (kind == "solution") {
    for (const Resource* campaign : book_.all("campaign")) {
      if (campaign->own["solutionArn"] == one.arn) return in_use(campaign->arn + " uses it");
    }
    for (Resource* version : book_.all("solutionVersion")) {
      if (version->body["solutionArn"] != one.arn) continue;
      if (version->unfinished(now)) return in_use(version->arn + " is in creation");
      with.push_back(version);
    }
  }
  with.push_back(&one);
  for (Resource* resource : with) {
    resource->deleting_ms = now;
    resource->gone_ms = now + scaled_ms(kDeletionSeconds, options_.time_scale);
  }
  if (!save()) return refuse("InternalFailure", "The state folder cannot be written", 500);
  return json(nullptr);
}

Answer PersonalizeService::Impl::solution_metrics(const json& input, std::int64_t now) {
  const auto version =
      active("solutionVersion", input["solutionVersionArn"].get<std::string>(), now);
  if (!version) return tl::unexpected(version.error());
  return json{{"solutionVersionArn", (*version)->arn}, {"metrics", (*version)->own["metrics"]}};
}

Answer PersonalizeService::Impl::tag(std::string_view operation, const json& input,
                                     std::int64_t /*now*/) {
  const auto arn = input["resourceArn"].get<std::string>();
  Resource* found = book_.find(arn);
  if (found == nullptr || !found->kind->taggable) {
    return refuse("ResourceNotFoundException", "There is no resource that can have tags: " + arn);
  }
  if (operation == "ListTagsForResource") return json{{"tags", found->tags}};
  std::map<std::string, std::string> tags;
  for (const json& one : found->tags) {
    tags[one["tagKey"].get<std::string>()] = one["tagValue"].get<std::string>();
  }
  if (operation == "TagResource") {
    for (const json& one : input["tags"]) {
      tags[one["tagKey"].get<std::string>()] = one["tagValue"].get<std::string>();
    }
    if (tags.size() > kTagsMax) {
      return refuse("TooManyTagsException",
                    fmt::format("A resource has at most {} tags", kTagsMax));
    }
  } else {
    for (const json& key : input["tagKeys"]) tags.erase(key.get<std::string>());
  }
  found->tags = json::array();
  for (const auto& [key, value] : tags)
    found->tags.push_back({{"tagKey", key}, {"tagValue", value}});
  if (!save()) return refuse("InternalFailure", "The state folder cannot be written", 500);
  return json::object();
}

}  // namespace millrace
