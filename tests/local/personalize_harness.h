// A service, a clock and the calls of an AWS client, for the tests of the embedded Personalize.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "local/crowd.h"
#include "local/personalize_service.h"

namespace millrace {

using nlohmann::json;

class SteppedClock final : public ServiceClock {
 public:
  [[nodiscard]] WallTime now() const override { return wall_time_of_ms(ms_); }
  void step(std::chrono::milliseconds by) { ms_ += by.count(); }

 private:
  std::int64_t ms_ = 1'760'000'000'000;
};

/// A folder that is gone at the end of the test.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "personalize-XXXXXX").string();
    path = mkdtemp(name.data());
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((path / name).parent_path());
    std::ofstream(path / name, std::ios::binary) << text;
    return "file://" + (path / name).string();
  }
  [[nodiscard]] std::string read(const std::string& name) const {
    std::ifstream file(path / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  std::filesystem::path path{};
};

struct Reply {
  int status = 0;
  std::string error{};    // from x-amzn-ErrorType
  std::string message{};  // of the error
  json body = json::object();
};

inline const std::string kSchema =
    R"({"type":"record","name":"Interactions","namespace":"com.amazonaws.personalize.schema",)"
    R"("fields":[{"name":"USER_ID","type":"string"},{"name":"ITEM_ID","type":"string"},)"
    R"({"name":"TIMESTAMP","type":"long"},{"name":"EVENT_TYPE","type":"string"}],"version":"1.0"})";
inline const std::string kRole = "arn:aws:iam::123456789012:role/PersonalizeRole";
inline const std::string kArn = "arn:aws:personalize:us-east-1:123456789012:";

class PersonalizeTest : public testing::Test {
 protected:
  void open(PersonalizeServiceOptions options) {
    service_.reset();
    auto opened = PersonalizeService::open(std::move(options), clock_, log_);
    ASSERT_TRUE(opened) << opened.error().message;
    service_ = std::move(*opened);
  }
  /// Everything inside the call, statuses at once.
  static PersonalizeServiceOptions plain() {
    PersonalizeServiceOptions options;
    options.time_scale = 0;
    options.background = false;
    return options;
  }

  static Reply reply_of(const HttpResponse& response) {
    Reply reply;
    reply.status = response.status;
    reply.error = response.header("x-amzn-errortype");
    if (!response.body.empty()) reply.body = json::parse(response.body);
    reply.message = reply.body.is_object() ? reply.body.value("message", "") : "";
    EXPECT_FALSE(response.header("x-amzn-requestid").empty());
    return reply;
  }
  Reply control_raw(const std::string& operation, const std::string& body) {
    HttpRequest request;
    request.method = "POST";
    request.url = "/";
    request.headers = {{"X-Amz-Target", "AmazonPersonalize." + operation},
                       {"Content-Type", "application/x-amz-json-1.1"}};
    request.body = body;
    return reply_of(service_->handle(request));
  }
  Reply control(const std::string& operation, const json& input) {
    return control_raw(operation, input.dump());
  }
  /// A control-plane call that must succeed.
  json done(const std::string& operation, const json& input) {
    const Reply reply = control(operation, input);
    EXPECT_EQ(reply.status, 200) << operation << ": " << reply.error << ": " << reply.message;
    return reply.body;
  }
  Reply data_raw(const std::string& path, const std::string& body) {
    HttpRequest request;
    request.method = "POST";
    request.url = "https://personalize.local" + path;
    request.body = body;
    return reply_of(service_->handle(request));
  }
  Reply data(const std::string& path, const json& input) { return data_raw(path, input.dump()); }

  /// Schema, group, dataset and tracker named "shop".
  void make_shop(const std::string& schema = kSchema) {
    done("CreateSchema", {{"name", "shop"}, {"schema", schema}});
    done("CreateDatasetGroup", {{"name", "shop"}});
    done("CreateDataset", {{"name", "shop"},
                           {"schemaArn", kArn + "schema/shop"},
                           {"datasetGroupArn", kArn + "dataset-group/shop"},
                           {"datasetType", "Interactions"}});
    tracking_id_ = done("CreateEventTracker",
                        {{"name", "shop"}, {"datasetGroupArn", kArn + "dataset-group/shop"}})
                       .value("trackingId", "");
  }
  Reply import(const std::string& name, const std::string& location,
               const std::string& mode = "FULL") {
    const Reply made =
        control("CreateDatasetImportJob", {{"jobName", name},
                                           {"datasetArn", kArn + "dataset/shop/INTERACTIONS"},
                                           {"dataSource", {{"dataLocation", location}}},
                                           {"roleArn", kRole},
                                           {"importMode", mode}});
    service_->wait_for_work();
    return made;
  }
  json import_job(const std::string& name) {
    return done("DescribeDatasetImportJob",
                {{"datasetImportJobArn", kArn + "dataset-import-job/" + name}})
        .value("datasetImportJob", json::object());
  }
  /// Solution `name` and one trained version of it; the version's ARN.
  std::string train(const std::string& name, const std::string& recipe, json more = {}) {
    json input = {{"name", name},
                  {"datasetGroupArn", kArn + "dataset-group/shop"},
                  {"recipeArn", "arn:aws:personalize:::recipe/" + recipe},
                  {"performAutoTraining", false}};
    if (more.is_object()) input.update(more);
    done("CreateSolution", input);
    const auto arn = done("CreateSolutionVersion", {{"solutionArn", kArn + "solution/" + name}})
                         .value("solutionVersionArn", "");
    service_->wait_for_work();
    return arn;
  }
  json version(const std::string& arn) {
    return done("DescribeSolutionVersion", {{"solutionVersionArn", arn}})
        .value("solutionVersion", json::object());
  }
  Reply put(const std::string& user, const std::string& session, const json& events) {
    return data("/events", {{"trackingId", tracking_id_},
                            {"userId", user},
                            {"sessionId", session},
                            {"eventList", events}});
  }
  std::vector<std::string> recommended(const std::string& campaign, const std::string& user,
                                       int count = 10) {
    const Reply reply = data(
        "/recommendations",
        {{"campaignArn", kArn + "campaign/" + campaign}, {"userId", user}, {"numResults", count}});
    EXPECT_EQ(reply.status, 200) << reply.message;
    std::vector<std::string> items;
    for (const json& item : reply.body.value("itemList", json::array())) {
      items.push_back(item.value("itemId", ""));
    }
    return items;
  }

  SteppedClock clock_{};
  Log log_{};
  std::unique_ptr<PersonalizeService> service_{};
  std::string tracking_id_{};
};

/// What a crowd did, as Personalize's CSV.
inline std::string crowd_csv(CrowdOptions options = {
                                 .users = 200, .items = 150, .interactions = 8'000}) {
  Crowd crowd(options);
  std::string csv = "USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE\n";
  CrowdEvent event;
  while (crowd.next(event)) {
    csv += event.user_id + "," + event.item_id + "," + std::to_string(event.timestamp_ms / 1000) +
           "," + event.event_type + "\n";
  }
  return csv;
}

}  // namespace millrace
