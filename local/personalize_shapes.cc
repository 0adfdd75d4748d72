#include "local/personalize_shapes.h"

#include <fmt/format.h>

#include <array>
#include <cctype>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

namespace millrace {
namespace {

using json = nlohmann::json;

/// "name! Name": members with their shapes, `!` behind what is required; lists "[Shape]", maps
/// "{Shape}" (keys are names of parameters). Scalars are below.
struct Structure {
  std::string_view name{};
  std::string_view members{};
};

constexpr std::array kOperations = {
    Structure{"CreateSchema", "name! Name, schema! AvroSchema, domain Domain"},
    Structure{"CreateDatasetGroup",
              "name! Name, roleArn RoleArn, kmsKeyArn KmsKeyArn, domain Domain, tags Tags"},
    Structure{"CreateDataset",
              "name! Name, schemaArn! Arn, datasetGroupArn! Arn, datasetType! DatasetType, "
              "tags Tags"},
    Structure{"CreateEventTracker", "name! Name, datasetGroupArn! Arn, tags Tags"},
    Structure{"CreateDatasetImportJob",
              "jobName! Name, datasetArn! Arn, dataSource! DataSource, roleArn! RoleArn, tags "
              "Tags, importMode ImportMode, publishAttributionMetricsToS3 Boolean"},
    Structure{"CreateDatasetExportJob",
              "jobName! Name, datasetArn! Arn, ingestionMode IngestionMode, roleArn! RoleArn, "
              "jobOutput! JobOutput, tags Tags"},
    Structure{"CreateSolution",
              "name! Name, performHPO Boolean, performAutoML Boolean, performAutoTraining "
              "Boolean, performIncrementalUpdate Boolean, recipeArn Arn, datasetGroupArn! Arn, "
              "eventType Text256, solutionConfig SolutionConfig, tags Tags"},
    Structure{"UpdateSolution",
              "solutionArn! Arn, performAutoTraining Boolean, performIncrementalUpdate Boolean, "
              "solutionUpdateConfig SolutionUpdateConfig"},
    Structure{"CreateSolutionVersion",
              "name Name, solutionArn! Arn, trainingMode TrainingMode, tags Tags"},
    Structure{"StopSolutionVersionCreation", "solutionVersionArn! Arn"},
    Structure{"CreateCampaign",
              "name! Name, solutionVersionArn! Arn, minProvisionedTPS Positive, campaignConfig "
              "CampaignConfig, tags Tags"},
    Structure{"UpdateCampaign",
              "campaignArn! Arn, solutionVersionArn Arn, minProvisionedTPS Positive, "
              "campaignConfig CampaignConfig"},
    Structure{"CreateBatchInferenceJob",
              "jobName! Name, solutionVersionArn! Arn, filterArn Arn, numResults Integer, "
              "jobInput! JobInput, jobOutput! JobOutput, roleArn! RoleArn, "
              "batchInferenceJobConfig BatchConfig, tags Tags, batchInferenceJobMode BatchMode, "
              "themeGenerationConfig ThemeConfig"},
    Structure{"CreateFilter",
              "name! Name, datasetGroupArn! Arn, filterExpression! FilterExpression, tags Tags"},
    Structure{"GetSolutionMetrics", "solutionVersionArn! Arn"},
    Structure{"TagResource", "resourceArn! Arn, tags! Tags"},
    Structure{"UntagResource", "resourceArn! Arn, tagKeys! TagKeys"},
    Structure{"ListTagsForResource", "resourceArn! Arn"},
    Structure{"DescribeSchema", "schemaArn! Arn"},
    Structure{"DescribeDatasetGroup", "datasetGroupArn! Arn"},
    Structure{"DescribeDataset", "datasetArn! Arn"},
    Structure{"DescribeEventTracker", "eventTrackerArn! Arn"},
    Structure{"DescribeDatasetImportJob", "datasetImportJobArn! Arn"},
    Structure{"DescribeDatasetExportJob", "datasetExportJobArn! Arn"},
    Structure{"DescribeSolution", "solutionArn! Arn"},
    Structure{"DescribeSolutionVersion", "solutionVersionArn! Arn"},
    Structure{"DescribeCampaign", "campaignArn! Arn"},
    Structure{"DescribeBatchInferenceJob", "batchInferenceJobArn! Arn"},
    Structure{"DescribeRecipe", "recipeArn! Arn"},
    Structure{"DescribeFilter", "filterArn! Arn"},
    Structure{"DeleteSchema", "schemaArn! Arn"},
    Structure{"DeleteDatasetGroup", "datasetGroupArn! Arn"},
    Structure{"DeleteDataset", "datasetArn! Arn"},
    Structure{"DeleteEventTracker", "eventTrackerArn! Arn"},
    Structure{"DeleteSolution", "solutionArn! Arn"},
    Structure{"DeleteCampaign", "campaignArn! Arn"},
    Structure{"DeleteFilter", "filterArn! Arn"},
    Structure{"ListSchemas", "nextToken NextToken, maxResults MaxResults"},
    Structure{"ListDatasetGroups", "nextToken NextToken, maxResults MaxResults"},
    Structure{"ListDatasets", "datasetGroupArn Arn, nextToken NextToken, maxResults MaxResults"},
    Structure{"ListEventTrackers",
              "datasetGroupArn Arn, nextToken NextToken, maxResults MaxResults"},
    Structure{"ListDatasetImportJobs",
              "datasetArn Arn, nextToken NextToken, maxResults MaxResults"},
    Structure{"ListDatasetExportJobs",
              "datasetArn Arn, nextToken NextToken, maxResults MaxResults"},
    Structure{"ListSolutions", "datasetGroupArn Arn, nextToken NextToken, maxResults MaxResults"},
    Structure{"ListSolutionVersions",
              "solutionArn Arn, nextToken NextToken, maxResults MaxResults"},
    Structure{"ListCampaigns", "solutionArn Arn, nextToken NextToken, maxResults MaxResults"},
    Structure{"ListBatchInferenceJobs",
              "solutionVersionArn Arn, nextToken NextToken, maxResults MaxResults"},
    Structure{"ListFilters", "datasetGroupArn Arn, nextToken NextToken, maxResults MaxResults"},
    Structure{"ListRecipes",
              "recipeProvider RecipeProvider, nextToken NextToken, maxResults MaxResults, domain "
              "Domain"},
};

constexpr std::array kStructures = {
    Structure{"Tag", "tagKey! TagKey, tagValue! TagValue"},
    Structure{"DataSource", "dataLocation! Location"},
    Structure{"S3Data", "path! Location, kmsKeyArn KmsKeyArn"},
    Structure{"JobInput", "s3DataSource! S3Data"},
    Structure{"JobOutput", "s3DataDestination! S3Data"},
    Structure{"SolutionConfig",
              "eventValueThreshold Text256, hpoConfig HpoConfig, algorithmHyperParameters "
              "{Text1000}, featureTransformationParameters {Text1000}, autoMLConfig AutoMlConfig, "
              "eventsConfig EventsConfig, optimizationObjective Objective, trainingDataConfig "
              "TrainingDataConfig, autoTrainingConfig AutoTrainingConfig"},
    Structure{"SolutionUpdateConfig",
              "autoTrainingConfig AutoTrainingConfig, eventsConfig EventsConfig"},
    Structure{"HpoConfig",
              "hpoObjective HpoObjective, hpoResourceConfig HpoResources, "
              "algorithmHyperParameterRanges HpoRanges"},
    Structure{"HpoObjective", "type Text256, metricName Text256, metricRegex Text256"},
    Structure{"HpoResources", "maxNumberOfTrainingJobs Text256, maxParallelTrainingJobs Text256"},
    Structure{"HpoRanges",
              "integerHyperParameterRanges [IntegerRange], continuousHyperParameterRanges "
              "[ContinuousRange], categoricalHyperParameterRanges [CategoricalRange]"},
    Structure{"IntegerRange", "name Text256, minValue Integer, maxValue Integer"},
    Structure{"ContinuousRange", "name Text256, minValue Double, maxValue Double"},
    Structure{"CategoricalRange", "name Text256, values [Text1000]"},
    Structure{"AutoMlConfig", "metricName Text256, recipeList [Arn]"},
    Structure{"EventsConfig", "eventParametersList EventParametersList"},
    Structure{"EventParameters", "eventType Text256, eventValueThreshold Double, weight Share"},
    Structure{"Objective", "itemAttribute Text150, objectiveSensitivity Sensitivity"},
    Structure{"TrainingDataConfig",
              "excludedDatasetColumns ColumnsOfDatasets, includedDatasetColumns "
              "ColumnsOfDatasets"},
    Structure{"AutoTrainingConfig", "schedulingExpression Schedule"},
    Structure{"CampaignConfig",
              "itemExplorationConfig {Text1000}, enableMetadataWithRecommendations Boolean, "
              "syncWithLatestSolutionVersion Boolean, rankingInfluence {Share}"},
    Structure{"BatchConfig", "itemExplorationConfig {Text1000}, rankingInfluence {Share}"},
    Structure{"ThemeConfig", "fieldsForThemeGeneration! ThemeFields"},
    Structure{"ThemeFields", "itemName! ColumnName"},
};

bool matches_name(std::string_view text) {
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '-' && c != '_') return false;
  }
  return !text.empty() && std::isalnum(static_cast<unsigned char>(text[0])) != 0;
}

bool is_partition(std::string_view text) {
  for (const char c : text) {
    if (std::islower(static_cast<unsigned char>(c)) == 0 &&
        std::isdigit(static_cast<unsigned char>(c)) == 0 && c != '-') {
      return false;
    }
  }
  return !text.empty();
}

/// `arn:<partition>:<service>:` off the front; false when it does not begin so.
bool take_arn_head(std::string_view& text, std::string_view service) {
  if (!text.starts_with("arn:")) return false;
  text.remove_prefix(4);
  const auto colon = text.find(':');
  if (colon == std::string_view::npos || !is_partition(text.substr(0, colon))) return false;
  text.remove_prefix(colon + 1);
  if (!text.starts_with(service) || !text.substr(service.size()).starts_with(":")) return false;
  text.remove_prefix(service.size() + 1);
  return true;
}

bool matches_arn(std::string_view text) {
  if (!take_arn_head(text, "personalize")) return false;
  const auto region_end = text.find(':');
  if (region_end == std::string_view::npos) return false;
  const auto account_end = text.find(':', region_end + 1);
  return account_end != std::string_view::npos && account_end + 1 < text.size();
}

bool matches_role(std::string_view text) {
  if (!take_arn_head(text, "iam") || !text.starts_with(":") || text.size() < 15) return false;
  for (const char c : text.substr(1, 12)) {
    if (std::isdigit(static_cast<unsigned char>(c)) == 0) return false;
  }
  text.remove_prefix(13);
  if (!text.starts_with(":role") || text.size() < 6) return false;
  for (const char c : text.substr(5)) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 &&
        std::string_view("_+=,.@-/").find(c) == std::string_view::npos) {
      return false;
    }
  }
  return true;
}

bool matches_kms_key(std::string_view text) {
  return text.starts_with("arn:aws") && text.find(":kms:") != std::string_view::npos &&
         text.find(":key/") != std::string_view::npos;
}

/// The model's own pattern takes s3, http and https; `file:///` is ours.
bool matches_location(std::string_view text) {
  for (const std::string_view scheme : {"s3://", "http://", "https://", "file:///"}) {
    if (text.starts_with(scheme) && text.size() > scheme.size()) return true;
  }
  return false;
}

bool matches_dataset_type(std::string_view text) {
  for (const char c : text) {
    if (std::isalpha(static_cast<unsigned char>(c)) == 0 && c != '_') return false;
  }
  return !text.empty();
}

bool matches_schedule(std::string_view text) {
  if (!text.starts_with("rate(") || !text.ends_with(")")) return false;
  text = text.substr(5, text.size() - 6);
  const auto blank = text.find(' ');
  if (blank == 0 || blank == std::string_view::npos) return false;
  for (const char c : text.substr(0, blank)) {
    if (std::isdigit(static_cast<unsigned char>(c)) == 0) return false;
  }
  return text.substr(blank + 1) == "day" || text.substr(blank + 1) == "days";
}

bool matches_column(std::string_view text) {
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '_') return false;
  }
  return !text.empty() && std::isdigit(static_cast<unsigned char>(text[0])) == 0;
}

struct Text {
  std::string_view name{};
  std::size_t length_min = 0;
  std::size_t length_max = 0;
  bool (*matches)(std::string_view) = nullptr;
  std::string_view pattern{};
};

constexpr std::array kTexts = {
    Text{"Name", 1, 63, matches_name, "^[a-zA-Z0-9][a-zA-Z0-9\\-_]*"},
    Text{"Arn", 0, 256, matches_arn, "arn:([a-z\\d-]+):personalize:.*:.*:.+"},
    Text{"RoleArn", 0, 256, matches_role,
         "arn:([a-z\\d-]+):iam::\\d{12}:role/?[a-zA-Z_0-9+=,.@\\-_/]+"},
    Text{"KmsKeyArn", 0, 2048, matches_kms_key, "arn:aws.*:kms:.*:[0-9]{12}:key/.*"},
    Text{"Location", 0, 256, matches_location, "(s3|http|https)://.+"},
    Text{"AvroSchema", 0, 20000},
    Text{"DatasetType", 0, 256, matches_dataset_type, "^[A-Za-z_]+$"},
    Text{"Schedule", 1, 16, matches_schedule, "rate\\(\\d+ days?\\)"},
    Text{"ColumnName", 0, 150, matches_column, "[A-Za-z_][A-Za-z\\d_]*"},
    Text{"FilterExpression", 1, 2500},
    Text{"NextToken", 0, 1500},
    Text{"TagKey", 1, 128},
    Text{"TagValue", 0, 256},
    Text{"Text150", 1, 150},
    Text{"Text256", 0, 256},
    Text{"Text1000", 0, 1000},
};

struct Choice {
  std::string_view name{};
  std::string_view values{};  // joined by ", "
};

constexpr std::array kChoices = {
    Choice{"Domain", "ECOMMERCE, VIDEO_ON_DEMAND"},
    Choice{"ImportMode", "FULL, INCREMENTAL"},
    Choice{"IngestionMode", "BULK, PUT, ALL"},
    Choice{"TrainingMode", "FULL, UPDATE, AUTOTRAIN"},
    Choice{"Sensitivity", "LOW, MEDIUM, HIGH, OFF"},
    Choice{"BatchMode", "BATCH_INFERENCE, THEME_GENERATION"},
    Choice{"RecipeProvider", "SERVICE"},
};

struct List {
  std::string_view name{};
  std::string_view element{};
  std::size_t count_max = 0;
};

constexpr std::array kLists = {
    List{"Tags", "Tag", 200},
    List{"TagKeys", "TagKey", 200},
    List{"EventParametersList", "EventParameters", 10},
};

std::string problem(std::string_view value, std::string_view path, std::string_view constraint) {
  return fmt::format(
      "1 validation error detected: Value {} at '{}' failed to satisfy constraint: Member must {}",
      value, path, constraint);
}

std::string shown(const json& value) {
  if (!value.is_string()) return fmt::format("'{}'", value.dump());
  auto text = value.get<std::string>();
  if (text.size() > 100) text = text.substr(0, 100) + "…";
  return fmt::format("'{}'", text);
}

std::size_t characters(std::string_view utf8) {
  std::size_t count = 0;
  for (const char c : utf8) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

std::optional<std::string> wrong_type(const json& value, std::string_view path,
                                      std::string_view wanted) {
  return problem(shown(value), path, fmt::format("be {}", wanted));
}

std::optional<std::string> check_members(std::string_view members, const json& value,
                                         const std::string& path);

std::optional<std::string> check_number(std::string_view shape, const json& value,
                                        const std::string& path, bool& handled) {
  struct Number {
    std::string_view name;
    bool whole;
    double least;
    double most;
  };
  static constexpr std::array<Number, 5> kNumbers = {
      Number{"Integer", true, -2147483648.0, 2147483647.0},
      Number{"Positive", true, 1, 2147483647.0}, Number{"MaxResults", true, 1, 100},
      Number{"Share", false, 0, 1}, Number{"Double", false, -1e308, 1e308}};
  for (const Number& number : kNumbers) {
    if (shape != number.name) continue;
    handled = true;
    if (!(number.whole ? value.is_number_integer() : value.is_number())) {
      return wrong_type(value, path, number.whole ? "an integer" : "a number");
    }
    const double is = value.get<double>();
    if (is < number.least) {
      return problem(shown(value), path,
                     fmt::format("have value greater than or equal to {}", number.least));
    }
    if (is > number.most) {
      return problem(shown(value), path,
                     fmt::format("have value less than or equal to {}", number.most));
    }
  }
  return std::nullopt;
}

std::optional<std::string> check(std::string_view shape, const json& value,
                                 const std::string& path) {
  if (shape.starts_with('[')) {
    if (!value.is_array()) return wrong_type(value, path, "a list");
    if (value.size() > 100) {
      return problem(shown(value), path, "have length less than or equal to 100");
    }
    const auto element = shape.substr(1, shape.size() - 2);
    for (std::size_t i = 0; i < value.size(); ++i) {
      if (auto found = check(element, value[i], fmt::format("{}.{}.member", path, i + 1))) {
        return found;
      }
    }
    return std::nullopt;
  }
  if (shape.starts_with('{')) {
    if (!value.is_object()) return wrong_type(value, path, "a map");
    if (value.size() > 100) {
      return problem(shown(value), path, "have length less than or equal to 100");
    }
    const auto element = shape.substr(1, shape.size() - 2);
    for (const auto& [key, member] : value.items()) {
      if (auto found = check("Text256", key, path + ".key")) return found;
      if (auto found = check(element, member, path + "." + key)) return found;
    }
    return std::nullopt;
  }
  if (shape == "ColumnsOfDatasets") {
    if (!value.is_object()) return wrong_type(value, path, "a map");
    for (const auto& [key, columns] : value.items()) {
      if (auto found = check("DatasetType", key, path + ".key")) return found;
      if (auto found = check("[ColumnName]", columns, path + "." + key)) return found;
    }
    return std::nullopt;
  }
  if (shape == "Boolean") {
    return value.is_boolean() ? std::nullopt : wrong_type(value, path, "a boolean");
  }
  bool handled = false;
  if (auto found = check_number(shape, value, path, handled); handled) return found;
  for (const List& list : kLists) {
    if (shape != list.name) continue;
    if (!value.is_array()) return wrong_type(value, path, "a list");
    if (value.size() > list.count_max) {
      return problem(shown(value), path,
                     fmt::format("have length less than or equal to {}", list.count_max));
    }
    for (std::size_t i = 0; i < value.size(); ++i) {
      if (auto found = check(list.element, value[i], fmt::format("{}.{}.member", path, i + 1))) {
        return found;
      }
    }
    return std::nullopt;
  }
  for (const Choice& choice : kChoices) {
    if (shape != choice.name) continue;
    if (!value.is_string()) return wrong_type(value, path, "a string");
    const std::string list = fmt::format(", {},", choice.values);
    const auto& text = value.get_ref<const std::string&>();
    if (text.find(',') == std::string::npos && list.find(", " + text + ",") != std::string::npos) {
      return std::nullopt;
    }
    return problem(shown(value), path, fmt::format("satisfy enum value set: [{}]", choice.values));
  }
  for (const Text& text : kTexts) {
    if (shape != text.name) continue;
    if (!value.is_string()) return wrong_type(value, path, "a string");
    const auto& is = value.get_ref<const std::string&>();
    const std::size_t length = characters(is);
    if (length < text.length_min) {
      return problem(shown(value), path,
                     fmt::format("have length greater than or equal to {}", text.length_min));
    }
    if (length > text.length_max) {
      return problem(shown(value), path,
                     fmt::format("have length less than or equal to {}", text.length_max));
    }
    if (text.matches != nullptr && !text.matches(is)) {
      return problem(shown(value), path,
                     fmt::format("satisfy regular expression pattern: {}", text.pattern));
    }
    return std::nullopt;
  }
  for (const Structure& structure : kStructures) {
    if (shape == structure.name) return check_members(structure.members, value, path);
  }
  return fmt::format("'{}' has a shape that this service does not know: {}", path, shape);
}

std::optional<std::string> check_members(std::string_view members, const json& value,
                                         const std::string& path) {
  if (!value.is_object()) return wrong_type(value, path.empty() ? "input" : path, "a structure");
  std::map<std::string_view, std::string_view> shapes;
  while (!members.empty()) {
    const auto comma = members.find(", ");
    const auto member = members.substr(0, comma);
    members = comma == std::string_view::npos ? std::string_view{} : members.substr(comma + 2);
    const auto blank = member.find(' ');
    auto name = member.substr(0, blank);
    const bool required = name.ends_with('!');
    if (required) name.remove_suffix(1);
    shapes.emplace(name, member.substr(blank + 1));
    const auto found = value.find(std::string(name));
    if (required && (found == value.end() || found->is_null())) {
      return problem("null", path.empty() ? std::string(name) : fmt::format("{}.{}", path, name),
                     "not be null");
    }
  }
  for (const auto& [name, member] : value.items()) {
    const auto shape = shapes.find(name);
    const std::string here = path.empty() ? name : path + "." + name;
    if (shape == shapes.end()) {
      return fmt::format("Unknown member '{}'; this operation does not have it", here);
    }
    if (member.is_null()) continue;
    if (auto found = check(shape->second, member, here)) return found;
  }
  return std::nullopt;
}

const Structure* find_operation(std::string_view operation) {
  for (const Structure& known : kOperations) {
    if (known.name == operation) return &known;
  }
  return nullptr;
}

}  // namespace

bool personalize_operation_known(std::string_view operation) {
  return find_operation(operation) != nullptr;
}

std::optional<std::string> personalize_input_problem(std::string_view operation,
                                                     const nlohmann::json& input) {
  return check_members(find_operation(operation)->members, input, "");
}

}  // namespace millrace
