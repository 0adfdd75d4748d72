// A small Personalize control plane behind HttpClient: named jobs, solution versions without unique
// names, campaigns; with faults that a test sets. It counts what really took effect.
#pragma once

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "aws/http_client.h"

namespace millrace {

/// One thread. A job is ACTIVE at its `polls_until_active`-th Describe.
class ScriptedPersonalize final : public HttpClient {
 public:
  using Json = nlohmann::json;

  Result<HttpResponse> send(const HttpRequest& request) override {
    std::string operation;
    for (const auto& header : request.headers)
      if (header.name == "X-Amz-Target")
        operation = header.value.substr(header.value.find('.') + 1);
    if (before) {
      if (auto error = before(operation)) return fail(std::move(*error));
    }
    if (auto& left = refusals[operation]; !left.empty()) {
      const std::string code = left.front();
      left.erase(left.begin());
      return refuse(code);
    }
    ++calls[operation];
    const Json answer = handle(operation, Json::parse(request.body));
    if (after) {
      if (auto error = after(operation)) return fail(std::move(*error));
    }
    if (answer.contains("__type")) return HttpResponse{.status = 400, .body = answer.dump()};
    return HttpResponse{.status = 200, .body = answer.dump()};
  }

  /// Versions by ARN, jobs by ARN, and so on: what took effect.
  struct Resource {
    std::string name{};
    Json given{};
    int polls = 0;
    double created = 0;
    bool fails = false;
  };
  std::map<std::string, Resource> imports{};
  std::map<std::string, Resource> versions{};
  std::map<std::string, Resource> batches{};
  std::vector<std::string> campaign_updates{};
  std::string campaign_version = "arn:aws:personalize:eu-west-1:1:solution/s/old";
  int campaign_polls = 0;
  bool campaign_foreign_update = false;

  std::map<std::string, int> calls{};                          // carried out, by operation
  std::map<std::string, std::vector<std::string>> refusals{};  // next error codes, by operation
  std::string fail_next_with{};                                // failureReason of the next create
  int polls_until_active = 3;
  bool tells_version_names = true;
  double now_s = 1'795'000'000;
  std::string schema = R"({"type":"record","fields":[{"name":"USER_ID"},{"name":"ITEM_ID"},
      {"name":"TIMESTAMP"},{"name":"EVENT_TYPE"}]})";
  std::function<std::optional<Error>(const std::string&)> before{};  // the request is lost
  std::function<std::optional<Error>(const std::string&)> after{};   // the reply is lost

 private:
  static HttpResponse refuse(const std::string& code) {
    return {.status = 400, .body = Json{{"__type", code}, {"message", "as told"}}.dump()};
  }
  static Json error(const std::string& code, const std::string& message) {
    return {{"__type", code}, {"message", message}};
  }

  Json create_named(std::map<std::string, Resource>& resources, const std::string& arn,
                    const Json& body, const char* member) {
    if (resources.count(arn) != 0)
      return error("ResourceAlreadyExistsException", "Another resource has the name " + arn);
    resources[arn] = {.name = body.value("jobName", ""),
                      .given = body,
                      .created = now_s,
                      .fails = !fail_next_with.empty()};
    if (!fail_next_with.empty()) reason_ = std::exchange(fail_next_with, "");
    return {{member, arn}};
  }

  Json describe(std::map<std::string, Resource>& resources, const std::string& arn,
                const char* wrapper, const char* member) {
    const auto found = resources.find(arn);
    if (found == resources.end()) return error("ResourceNotFoundException", arn + " not found");
    auto& resource = found->second;
    Json out = resource.given;
    out[member] = arn;
    out["creationDateTime"] = resource.created;
    const bool over = ++resource.polls >= polls_until_active;
    out["status"] = !over ? "CREATE IN_PROGRESS" : resource.fails ? "CREATE FAILED" : "ACTIVE";
    if (over && resource.fails) out["failureReason"] = reason_;
    return {{wrapper, out}};
  }

  Json handle(const std::string& operation, const Json& body) {
    const std::string head = "arn:aws:personalize:eu-west-1:1:";
    if (operation == "DescribeDataset")
      return {{"dataset", {{"datasetArn", body["datasetArn"]}, {"schemaArn", "schema-arn"}}}};
    if (operation == "DescribeSchema") return {{"schema", {{"schema", schema}}}};
    if (operation == "CreateDatasetImportJob")
      return create_named(imports,
                          head + "dataset-import-job/" + body["jobName"].get<std::string>(), body,
                          "datasetImportJobArn");
    if (operation == "DescribeDatasetImportJob")
      return describe(imports, body["datasetImportJobArn"], "datasetImportJob",
                      "datasetImportJobArn");
    if (operation == "CreateBatchInferenceJob")
      return create_named(batches,
                          head + "batch-inference-job/" + body["jobName"].get<std::string>(), body,
                          "batchInferenceJobArn");
    if (operation == "DescribeBatchInferenceJob")
      return describe(batches, body["batchInferenceJobArn"], "batchInferenceJob",
                      "batchInferenceJobArn");
    if (operation == "CreateSolutionVersion") {
      const std::string arn = head + "solution/s/v" + std::to_string(versions.size() + 1);
      versions[arn] = {
          .name = body["name"], .given = body, .created = now_s, .fails = !fail_next_with.empty()};
      if (!fail_next_with.empty()) reason_ = std::exchange(fail_next_with, "");
      return {{"solutionVersionArn", arn}};
    }
    if (operation == "DescribeSolutionVersion") {
      Json out =
          describe(versions, body["solutionVersionArn"], "solutionVersion", "solutionVersionArn");
      if (!tells_version_names && out.contains("solutionVersion"))
        out["solutionVersion"].erase("name");
      return out;
    }
    if (operation == "ListSolutionVersions") {
      Json list = Json::array();
      for (const auto& [arn, version] : versions)
        list.push_back({{"solutionVersionArn", arn},
                        {"status", "CREATE IN_PROGRESS"},
                        {"creationDateTime", version.created}});
      return {{"solutionVersions", list}};
    }
    if (operation == "UpdateCampaign") {
      campaign_updates.push_back(body["solutionVersionArn"]);
      campaign_polls = 0;
      campaign_fails_ = !fail_next_with.empty();
      if (campaign_fails_) reason_ = std::exchange(fail_next_with, "");
      return {{"campaignArn", body["campaignArn"]}};
    }
    if (operation == "DescribeCampaign") {
      Json out{{"campaignArn", body["campaignArn"]}, {"status", "ACTIVE"}};
      if (campaign_foreign_update) {
        out["latestCampaignUpdate"] = {{"status", "CREATE IN_PROGRESS"},
                                       {"solutionVersionArn", "somebody-elses"}};
      } else if (!campaign_updates.empty()) {
        const bool over = ++campaign_polls >= polls_until_active;
        if (over && !campaign_fails_) campaign_version = campaign_updates.back();
        out["latestCampaignUpdate"] = {{"status", !over             ? "CREATE IN_PROGRESS"
                                                  : campaign_fails_ ? "CREATE FAILED"
                                                                    : "ACTIVE"},
                                       {"failureReason", over && campaign_fails_ ? reason_ : ""},
                                       {"creationDateTime", now_s},
                                       {"solutionVersionArn", campaign_updates.back()}};
      }
      out["solutionVersionArn"] = campaign_version;
      return {{"campaign", out}};
    }
    return error("UnknownOperationException", operation);
  }

  std::string reason_{};
  bool campaign_fails_ = false;
};

}  // namespace millrace
