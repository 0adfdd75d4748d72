#include "local/personalize_service.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "personalize_harness.h"

namespace millrace {
namespace {

using PersonalizeServiceTest = PersonalizeTest;

TEST_F(PersonalizeServiceTest, WalksTheWholeLoop) {
  Folder folder;
  open(plain());
  make_shop();
  ASSERT_EQ(import("first", folder.write("in.csv", crowd_csv())).status, 200);
  EXPECT_EQ(import_job("first").value("status", ""), "ACTIVE") << import_job("first");

  const auto arn = train("taste", "aws-user-personalization-v2");
  ASSERT_EQ(version(arn).value("status", ""), "ACTIVE") << version(arn);
  EXPECT_GT(version(arn).value("trainingHours", 0.0), 0);
  const json metrics = done("GetSolutionMetrics", {{"solutionVersionArn", arn}})["metrics"];
  ASSERT_EQ(metrics.size(), 8U) << metrics;
  const auto compared = service_->metrics(arn);
  ASSERT_TRUE(compared);
  EXPECT_EQ(metrics["precision_at_10"], compared->model.precision_at_10);
  EXPECT_EQ(compared->model.users, 20U);
  EXPECT_GT(compared->model.ndcg_at_25, 1.5 * compared->popularity.ndcg_at_25);

  done("CreateCampaign", {{"name", "live"}, {"solutionVersionArn", arn}});
  EXPECT_EQ(recommended("live", "user-00001", 7).size(), 7U);
  EXPECT_EQ(recommended("live", "nobody", 500).size(), 150U) << "no more than there are items";

  const auto in = folder.write("in/users.json",
                               "{\"userId\":\"user-00001\"}\nnot json\n{\"userId\":7}\n"
                               "{\"userId\": \"user-00002\"}\n");
  const auto out = "file://" + (folder.path / "out").string() + "/";
  done("CreateBatchInferenceJob", {{"jobName", "night"},
                                   {"solutionVersionArn", arn},
                                   {"numResults", 5},
                                   {"jobInput", {{"s3DataSource", {{"path", in}}}}},
                                   {"jobOutput", {{"s3DataDestination", {{"path", out}}}}},
                                   {"roleArn", kRole}});
  const json job =
      done("DescribeBatchInferenceJob",
           {{"batchInferenceJobArn", kArn + "batch-inference-job/night"}})["batchInferenceJob"];
  ASSERT_EQ(job.value("status", ""), "ACTIVE") << job;
  std::istringstream lines(folder.read("out/users.json.out"));
  std::vector<json> answers;
  for (std::string line; std::getline(lines, line);) answers.push_back(json::parse(line));
  ASSERT_EQ(answers.size(), 4U);
  EXPECT_EQ(answers[0]["input"]["userId"], "user-00001");
  EXPECT_EQ(answers[0]["output"]["recommendedItems"].size(), 5U);
  EXPECT_EQ(answers[0]["output"]["scores"].size(), 5U);
  EXPECT_TRUE(answers[0]["error"].is_null());
  EXPECT_TRUE(answers[1]["error"].is_string());
  EXPECT_TRUE(answers[1]["output"].is_null());
  EXPECT_TRUE(answers[2]["error"].is_string());
  EXPECT_EQ(answers[0]["output"]["recommendedItems"], json(recommended("live", "user-00001", 5)))
      << "batch and campaign ask the same model";
  EXPECT_TRUE(std::filesystem::exists(folder.path / "out/_CHECK"));
}

TEST_F(PersonalizeServiceTest, ThreeEventsMoveAUsersRecommendationsAtOnce) {
  Folder folder;
  open(plain());
  make_shop();
  import("first", folder.write("in.csv", crowd_csv()));
  const auto arn = train("taste", "aws-user-personalization");
  done("CreateCampaign", {{"name", "live"}, {"solutionVersionArn", arn}});
  Crowd crowd({.users = 200, .items = 150, .interactions = 8'000});
  const auto of_genre = [&](const std::vector<std::string>& items, std::size_t genre) {
    std::size_t count = 0;
    for (std::size_t i = 0; i < crowd.item_count(); ++i) {
      if (crowd.item_genre(i) != genre) continue;
      count += static_cast<std::size_t>(std::count(items.begin(), items.end(), crowd.item_id(i)));
    }
    return count;
  };
  const auto popular = recommended("live", "newcomer");
  json events = json::array();
  for (std::size_t i = 0, taken = 0; taken < 3; ++i) {
    if (crowd.item_genre(i) != 3) continue;
    ++taken;
    events.push_back(
        {{"eventType", "view"}, {"sentAt", 1'760'000'000}, {"itemId", crowd.item_id(i)}});
  }
  ASSERT_EQ(put("newcomer", "s1", events).status, 200);
  const auto moved = recommended("live", "newcomer");
  EXPECT_NE(popular, moved);
  EXPECT_GT(of_genre(moved, 3), of_genre(popular, 3) + 3);
  for (const json& event : events) {
    EXPECT_EQ(std::count(moved.begin(), moved.end(), event["itemId"].get<std::string>()), 0)
        << "what he has had comes after what he has not";
  }
  EXPECT_EQ(recommended("live", "somebody else"), popular) << "nobody else is moved";
}

TEST_F(PersonalizeServiceTest, AnonymousSessionsAreServedByTheirIdAndJoinTheirUserAtTraining) {
  Folder folder;
  open(plain());
  make_shop();
  import("first", folder.write("in.csv", crowd_csv()));
  const auto arn = train("taste", "aws-user-personalization");
  done("CreateCampaign", {{"name", "live"}, {"solutionVersionArn", arn}});
  const auto popular = recommended("live", "visit-x");
  const json event = {{"eventType", "view"}, {"sentAt", 1'760'000'000}, {"itemId", "item-00090"}};
  ASSERT_EQ(data("/events", {{"trackingId", tracking_id_},
                             {"sessionId", "visit-x"},
                             {"eventList", json::array({event})}})
                .status,
            200);
  EXPECT_NE(recommended("live", "visit-x"), popular);

  const auto exported = [&](const std::string& name) {
    done("CreateDatasetExportJob",
         {{"jobName", name},
          {"datasetArn", kArn + "dataset/shop/INTERACTIONS"},
          {"roleArn", kRole},
          {"jobOutput", {{"s3DataDestination", {{"path", "file://" + folder.path.string()}}}}}});
    return folder.read(name + ".csv");
  };
  EXPECT_EQ(exported("before"), "USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE\n");
  ASSERT_EQ(put("ann", "visit-x",
                json::array({{{"eventType", "view"}, {"sentAt", 1'760'000'001}, {"itemId", "i"}}}))
                .status,
            200);
  EXPECT_EQ(exported("after"),
            "USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE\nann,item-00090,1760000000,view\n"
            "ann,i,1760000001,view\n");
}

TEST_F(PersonalizeServiceTest, TheSameEventByCsvAndByPutEventsIsOneInteraction) {
  Folder folder;
  open(plain());
  make_shop();
  std::string csv = "USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE\n";
  for (int i = 0; i < 1000; ++i) csv += fmt::format("u{},i{},{},view\n", i % 50, i, 1000 + i);
  import("first", folder.write("in.csv", csv));
  const auto event = [](const char* item, double at, const char* id) {
    return json{{"eventType", "view"}, {"sentAt", at}, {"itemId", item}, {"eventId", id}};
  };
  ASSERT_EQ(put("u7", "s", json::array({event("i7", 1007.9, "a"), event("i7", 2000, "b")})).status,
            200);
  ASSERT_EQ(put("u7", "s", json::array({event("i7", 2000, "b"), event("i7", 3000, "b")})).status,
            200);
  EXPECT_EQ(service_->put_events_counts().events, 4U);
  EXPECT_EQ(service_->put_events_counts().repeated, 2U);
  const auto rows = [&](const std::string& mode) {
    done("CreateDatasetExportJob",
         {{"jobName", "x" + mode},
          {"datasetArn", kArn + "dataset/shop/INTERACTIONS"},
          {"roleArn", kRole},
          {"ingestionMode", mode},
          {"jobOutput", {{"s3DataDestination", {{"path", "file://" + folder.path.string()}}}}}});
    const auto text = folder.read("x" + mode + ".csv");
    return std::count(text.begin(), text.end(), '\n') - 1;
  };
  EXPECT_EQ(rows("BULK"), 1000);
  EXPECT_EQ(rows("PUT"), 2);
  EXPECT_EQ(rows("ALL"), 1001) << "one of the streamed ones equals a row of the file";
}

TEST_F(PersonalizeServiceTest, FullImportsReplaceBulkRowsIncrementalOnesAppend) {
  Folder folder;
  open(plain());
  make_shop();
  const auto file = [&](const std::string& name, int from, int count) {
    std::string csv = "USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE\n";
    for (int i = from; i < from + count; ++i) {
      csv += fmt::format("u{},i{},{},view\n", i % 50, i % 90, 1000 + i);
    }
    return folder.write(name, csv);
  };
  EXPECT_EQ(import("early", file("a.csv", 0, 1000), "INCREMENTAL").error, "InvalidInputException");
  import("one", file("b.csv", 0, 1000));
  import("two", file("c.csv", 500, 1500), "INCREMENTAL");
  ASSERT_EQ(
      put("u1", "s", json::array({{{"eventType", "buy"}, {"sentAt", 9999}, {"itemId", "i1"}}}))
          .status,
      200);
  const auto rows = [&](const std::string& name) {
    done("CreateDatasetExportJob",
         {{"jobName", name},
          {"datasetArn", kArn + "dataset/shop/INTERACTIONS"},
          {"roleArn", kRole},
          {"ingestionMode", "ALL"},
          {"jobOutput", {{"s3DataDestination", {{"path", "file://" + folder.path.string()}}}}}});
    const auto text = folder.read(name + ".csv");
    return std::count(text.begin(), text.end(), '\n') - 1;
  };
  EXPECT_EQ(rows("after-two"), 2001);
  import("three", file("d.csv", 5000, 1000));
  EXPECT_EQ(rows("after-three"), 1001) << "the streamed one stays";
}

TEST_F(PersonalizeServiceTest, StatusesTakeTheirTimeAndNeverComeBeforeTheWork) {
  auto options = plain();
  options.time_scale = 1;
  open(options);
  done("CreateDatasetGroup", {{"name", "shop"}});
  const json ask = {{"datasetGroupArn", kArn + "dataset-group/shop"}};
  const auto status = [&] { return done("DescribeDatasetGroup", ask)["datasetGroup"]; };
  EXPECT_EQ(status()["status"], "CREATE PENDING");
  done("CreateSchema", {{"name", "shop"}, {"schema", kSchema}});
  const json dataset = {{"name", "shop"},
                        {"schemaArn", kArn + "schema/shop"},
                        {"datasetGroupArn", kArn + "dataset-group/shop"},
                        {"datasetType", "INTERACTIONS"}};
  EXPECT_EQ(control("CreateDataset", dataset).error, "ResourceInUseException");
  clock_.step(3s);
  EXPECT_EQ(status()["status"], "CREATE IN_PROGRESS");
  clock_.step(10s);
  EXPECT_EQ(status()["status"], "ACTIVE");
  EXPECT_GT(status()["lastUpdatedDateTime"], status()["creationDateTime"]);
  EXPECT_EQ(control("CreateDataset", dataset).status, 200);
}

TEST_F(PersonalizeServiceTest, ImportsFailInTheServicesWords) {
  Folder folder;
  open(plain());
  make_shop();
  std::string rows;
  for (int i = 0; i < 1000; ++i) rows += fmt::format("u{},i{},{},view\n", i % 50, i, 1000 + i);
  const std::string head = "USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE\n";
  struct Case {
    std::string text;
    std::string reason;
  };
  const std::vector<Case> cases = {
      {"USER_ID,ITEM_ID,EVENT_TYPE\n", "Input CSV is missing the following columns:[TIMESTAMP]."},
      {"\xEF\xBB\xBF" + head + rows, "Input CSV is missing the following columns:[USER_ID]."},
      {"USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE,X\n", "not in the schema:[X]"},
      {"ITEM_ID,USER_ID,TIMESTAMP,EVENT_TYPE\n", "order of the columns"},
      {head + std::string(257, 'u') + ",i,1,view\n",
       "Length cannot be more than 256 characters for USER_ID."},
      {head + "u,i,12.0,view\n", "TIMESTAMP is not a valid long"},
      {head + "u,i,1700000000000,view\n", "milliseconds"},
      {head + "u,i,-1,view\n", "negative"},
      {head + "u,i,1,\n", "Missing value for the required field EVENT_TYPE"},
      {head + "u,i,1\n", "has 3 fields and the header 4"},
      {head + "u,i,1,\"view\n", "cannot be parsed"},
      {head + "u,i,1,view\r\n", "cannot be parsed"},
      {head + rows.substr(0, rows.rfind("u49")), "fewer than 1000 interactions"},
      {"", "is empty"},
  };
  int number = 0;
  for (const Case& one : cases) {
    const auto name = fmt::format("job-{}", number++);
    ASSERT_EQ(import(name, folder.write(name + ".csv", one.text)).status, 200);
    const json job = import_job(name);
    EXPECT_EQ(job["status"], "CREATE FAILED") << one.reason;
    const auto reason = job.value("failureReason", "");
    EXPECT_TRUE(reason.starts_with("Failed to create a data import job for INTERACTIONS dataset."));
    EXPECT_NE(reason.find(one.reason), std::string::npos) << reason << "\n wanted " << one.reason;
  }
  import("gone", "file:///no/such/file.csv");
  EXPECT_NE(import_job("gone").value("failureReason", "").find("Insufficient privileges"),
            std::string::npos);
  import("bucket", "s3://unknown/file.csv");
  EXPECT_EQ(import_job("bucket")["status"], "CREATE FAILED");
  folder.write("many/a.csv", head + rows);
  folder.write("many/b.csv", head + rows);
  folder.write("many/deep/c.csv", "not a csv at all");
  import("many", "file://" + (folder.path / "many").string() + "/");
  EXPECT_EQ(import_job("many")["status"], "ACTIVE") << "files in sub-folders are skipped";
}

TEST_F(PersonalizeServiceTest, RefusesWhatTheRealServiceRefuses) {
  open(plain());
  make_shop();
  const json import_ok = {{"jobName", "a"},
                          {"datasetArn", kArn + "dataset/shop/INTERACTIONS"},
                          {"dataSource", {{"dataLocation", "s3://b/k.csv"}}},
                          {"roleArn", kRole}};
  const auto with = [](json input, const char* member, json value) {
    input[member] = std::move(value);
    return input;
  };
  struct Case {
    std::string operation;
    json input;
    std::string error;
    std::string message;
  };
  const std::vector<Case> cases = {
      {"MakeCoffee", json::object(), "UnknownOperationException", ""},
      {"CreateSchema", {{"schema", kSchema}}, "InvalidInputException", "'name'"},
      {"CreateSchema",
       {{"name", ""}, {"schema", kSchema}},
       "InvalidInputException",
       "length greater"},
      {"CreateSchema",
       {{"name", std::string(64, 'a')}, {"schema", kSchema}},
       "InvalidInputException",
       "length less"},
      {"CreateSchema", {{"name", "a:b"}, {"schema", kSchema}}, "InvalidInputException", "pattern"},
      {"CreateSchema", {{"name", "-a"}, {"schema", kSchema}}, "InvalidInputException", "pattern"},
      {"CreateSchema",
       {{"name", "shop"}, {"schema", kSchema}},
       "ResourceAlreadyExistsException",
       "schema/shop"},
      {"CreateSchema", {{"name", "b"}, {"schema", "{"}}, "InvalidInputException", "schema"},
      {"CreateSchema",
       {{"name", "b"}, {"schema", kSchema}, {"colour", "red"}},
       "InvalidInputException",
       "colour"},
      {"CreateSchema", {{"name", 7}, {"schema", kSchema}}, "InvalidInputException", "be a string"},
      {"CreateEventTracker",
       {{"name", "second"}, {"datasetGroupArn", kArn + "dataset-group/shop"}},
       "ResourceAlreadyExistsException",
       "Only one"},
      {"CreateEventTracker",
       {{"name", "x"}, {"datasetGroupArn", kArn + "dataset-group/none"}},
       "ResourceNotFoundException",
       "The given dataset group does not exist: " + kArn + "dataset-group/none"},
      {"CreateDatasetImportJob", with(import_ok, "roleArn", nullptr), "InvalidInputException",
       "'roleArn'"},
      {"CreateDatasetImportJob", with(import_ok, "roleArn", "arn:aws:iam::1:role/x"),
       "InvalidInputException", "pattern"},
      {"CreateDatasetImportJob", with(import_ok, "importMode", "SOME"), "InvalidInputException",
       "[FULL, INCREMENTAL]"},
      {"CreateDatasetImportJob", with(import_ok, "dataSource", {{"dataLocation", "ftp://x/y"}}),
       "InvalidInputException", "pattern"},
      {"CreateDatasetImportJob", with(import_ok, "dataSource", {{"dataLocation", "https://x/y"}}),
       "InvalidInputException", "Invalid Data location."},
      {"CreateDatasetImportJob", with(import_ok, "tags", {{{"tagKey", "a"}}}),
       "InvalidInputException", "tags.1.member.tagValue"},
      {"CreateSolution",
       {{"name", "s"}, {"datasetGroupArn", kArn + "dataset-group/shop"}},
       "InvalidInputException",
       "recipeArn"},
      {"CreateSolution",
       {{"name", "s"},
        {"datasetGroupArn", kArn + "dataset-group/shop"},
        {"recipeArn", "arn:aws:personalize:::recipe/aws-hrnn"}},
       "ResourceNotFoundException",
       "aws-hrnn"},
      {"CreateSolutionVersion",
       {{"solutionArn", kArn + "solution/none"}},
       "ResourceNotFoundException",
       "solution/none"},
      {"CreateCampaign",
       {{"name", "c"}, {"solutionVersionArn", kArn + "solution/none/00000000"}},
       "ResourceNotFoundException",
       ""},
      {"CreateFilter",
       {{"name", "f"},
        {"datasetGroupArn", kArn + "dataset-group/shop"},
        {"filterExpression", "EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN (\"a\")"}},
       "InvalidInputException",
       "no filters"},
      {"DescribeSchema", {{"schemaArn", "not an arn"}}, "InvalidInputException", "pattern"},
      {"DescribeSchema", {{"schemaArn", kArn + "schema/none"}}, "ResourceNotFoundException", ""},
      {"ListSchemas", {{"maxResults", 0}}, "InvalidInputException", "greater than or equal to 1"},
      {"ListSchemas", {{"maxResults", 101}}, "InvalidInputException", "less than or equal to 100"},
      {"ListSchemas", {{"nextToken", "made up"}}, "InvalidNextTokenException", ""},
      {"DeleteSchema", {{"schemaArn", kArn + "schema/shop"}}, "ResourceInUseException", "uses it"},
      {"DeleteDatasetGroup",
       {{"datasetGroupArn", kArn + "dataset-group/shop"}},
       "ResourceInUseException",
       "belongs to it"},
      {"TagResource",
       {{"resourceArn", kArn + "schema/shop"}, {"tags", json::array()}},
       "ResourceNotFoundException",
       ""},
  };
  for (const Case& one : cases) {
    const Reply reply = control(one.operation, one.input);
    EXPECT_EQ(reply.status, 400) << one.operation << one.input;
    EXPECT_EQ(reply.error, one.error) << one.operation << one.input << reply.message;
    EXPECT_EQ(reply.body["__type"], one.error);
    EXPECT_NE(reply.message.find(one.message), std::string::npos)
        << one.operation << ": " << reply.message << "\n wanted " << one.message;
  }
  EXPECT_EQ(control_raw("ListSchemas", "[]").error, "SerializationException");
  EXPECT_EQ(control_raw("ListSchemas", "{\"a\":" + std::string(100'000, '[')).error,
            "SerializationException");
  EXPECT_EQ(control_raw("ListSchemas", "").error, "SerializationException");
}

TEST_F(PersonalizeServiceTest, PutEventsChecksEveryField) {
  open(plain());
  const std::string schema =
      R"({"type":"record","name":"Interactions","fields":[{"name":"USER_ID","type":"string"},)"
      R"({"name":"ITEM_ID","type":"string"},{"name":"TIMESTAMP","type":"long"},)"
      R"({"name":"EVENT_TYPE","type":"string"},{"name":"EVENT_VALUE","type":["float","null"]},)"
      R"({"name":"NUM_RATINGS","type":"int"}]})";
  make_shop(schema);
  const json event = {{"eventType", "view"},
                      {"sentAt", 1'700'000'000.5},
                      {"itemId", "i"},
                      {"properties", R"({"numRatings":"12"})"}};
  const auto call = [&](const json& changed) {
    return data("/events", {{"trackingId", tracking_id_},
                            {"userId", "u"},
                            {"sessionId", "s"},
                            {"eventList", json::array({changed})}});
  };
  const auto with = [&](const char* member, json value) {
    json changed = event;
    changed[member] = std::move(value);
    return changed;
  };
  EXPECT_EQ(call(event).status, 200);
  EXPECT_EQ(call(with("properties", R"({"numRatings":12})")).status, 200);
  EXPECT_EQ(call(with("itemId", nullptr)).status, 200) << "an event about no item";
  struct Case {
    json event;
    std::string message;
  };
  const std::vector<Case> cases = {
      {with("eventType", nullptr), "eventType"},
      {with("eventType", ""), "length greater"},
      {with("eventType", std::string(257, 'x')), "length less than or equal to 256"},
      {with("sentAt", nullptr), "sentAt"},
      {with("sentAt", "2026-01-01"), "be a number"},
      {with("sentAt", 1'700'000'000'000), "seconds"},
      {with("sentAt", -1), "seconds"},
      {with("itemId", 7), "be a string"},
      {with("eventValue", "1"), "be a number"},
      {with("recommendationId", std::string(41, 'r')), "less than or equal to 40"},
      {with("impression", json::array()), "greater than or equal to 1"},
      {with("impression", json(26, "x")), "impression"},
      {with("properties", json{{"numRatings", 12}}), "be a string"},
      {with("properties", "no json"), "Error parsing properties json"},
      {with("properties", "\"twice\""), "Error parsing properties json"},
      {with("properties", "{}"), "NUM_RATINGS"},
      {with("properties", R"({"numRatings":"many"})"), "not a valid int"},
      {with("properties", R"({"numRatings":1,"TimeStamp":3})"), "reserved key"},
      {with("properties", R"({"numRatings":1,"x":")" + std::string(1024, 'x') + "\"}"), "1024"},
      {with("metricAttribution", json::object()), "eventAttributionSource"},
      {with("colour", "red"), "Unknown member"},
  };
  for (const Case& one : cases) {
    const Reply reply = call(one.event);
    EXPECT_EQ(reply.status, 400) << one.event;
    EXPECT_EQ(reply.error, "InvalidInputException") << one.event;
    EXPECT_NE(reply.message.find(one.message), std::string::npos) << one.event << reply.message;
  }
  const Reply unknown = data(
      "/events", {{"trackingId", "none"}, {"sessionId", "s"}, {"eventList", json::array({event})}});
  EXPECT_EQ(unknown.error, "InvalidInputException");
  EXPECT_EQ(unknown.status, 400);
  EXPECT_EQ(put("", "s", json::array({event})).status, 400) << "an empty user is not an absent one";
  EXPECT_EQ(put("u", "s", json(11, event)).status, 400);
  EXPECT_EQ(put("u", "s", json::array()).status, 400);
  EXPECT_EQ(data_raw("/events", "}{").error, "SerializationException");
  EXPECT_EQ(data_raw("/events", std::string(5'000'000, 'x')).status, 413);
  EXPECT_EQ(service_->put_events_counts().calls, 3U);
  EXPECT_EQ(service_->put_events_counts().refused, cases.size() + 6);

  // A bad event refuses its whole call: its good neighbour is not kept.
  EXPECT_EQ(put("u", "s", json::array({with("eventId", "new"), with("itemId", 7)})).status, 400);
  EXPECT_EQ(call(with("eventId", "new")).status, 200);
  EXPECT_EQ(service_->put_events_counts().repeated, 0U);
}

TEST_F(PersonalizeServiceTest, ThrottlesAboveTheQuotas) {
  auto options = plain();
  options.put_events_calls_per_second_max = 3;
  open(options);
  make_shop();
  const json events = json::array({{{"eventType", "v"}, {"sentAt", 1}, {"itemId", "i"}}});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(put("u", "s", events).status, 200);
  const Reply refused = put("u", "s", events);
  EXPECT_EQ(refused.status, 400);
  EXPECT_EQ(refused.error, "ThrottlingException");
  clock_.step(400ms);
  EXPECT_EQ(put("u", "s", events).status, 200);
  EXPECT_EQ(put("u", "s", events).error, "ThrottlingException");
}

TEST_F(PersonalizeServiceTest, ListsPageAndFilter) {
  open(plain());
  make_shop();
  for (int i = 0; i < 5; ++i) {
    import(fmt::format("job-{}", i), "s3://nowhere/x.csv");
  }
  const json all = {{"datasetArn", kArn + "dataset/shop/INTERACTIONS"}};
  std::vector<std::string> names;
  json ask = all;
  ask["maxResults"] = 2;
  int pages = 0;
  while (true) {
    const json page = done("ListDatasetImportJobs", ask);
    ++pages;
    for (const json& job : page["datasetImportJobs"]) {
      names.push_back(job["jobName"]);
      EXPECT_FALSE(job.contains("datasetArn")) << "summaries lack it";
      EXPECT_TRUE(job.contains("failureReason"));
    }
    if (!page.contains("nextToken")) break;
    ask["nextToken"] = page["nextToken"];
  }
  EXPECT_EQ(pages, 3);
  EXPECT_EQ(names, (std::vector<std::string>{"job-0", "job-1", "job-2", "job-3", "job-4"}));
  EXPECT_TRUE(done("ListDatasetImportJobs",
                   {{"datasetArn", kArn + "dataset/other/INTERACTIONS"}})["datasetImportJobs"]
                  .empty());
  EXPECT_TRUE(done("ListFilters", json::object()).contains("Filters"));
  EXPECT_EQ(done("ListRecipes", {{"recipeProvider", "SERVICE"}})["recipes"].size(), 7U);
  EXPECT_EQ(control("ListSolutionVersions", {{"solutionArn", kArn + "solution/none"}}).error,
            "ResourceNotFoundException");
  const json summary = done("ListEventTrackers", json::object())["eventTrackers"][0];
  EXPECT_FALSE(summary.contains("trackingId"));
}

TEST_F(PersonalizeServiceTest, AJobNameIsUsedOnce) {
  open(plain());
  make_shop();
  import("one", "s3://nowhere/x.csv");
  EXPECT_EQ(import("one", "s3://nowhere/x.csv").error, "ResourceAlreadyExistsException");
}

TEST_F(PersonalizeServiceTest, ImportsInFlightAreLimitedToFive) {
  Folder folder;
  auto options = plain();
  options.state_folder = folder.path / "state";
  open(options);
  make_shop();
  options.time_scale = 1;
  open(options);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(import(fmt::format("job-{}", i), "s3://b/x").status, 200);
  const Reply sixth = import("job-6", "s3://b/x");
  EXPECT_EQ(sixth.error, "LimitExceededException");
  EXPECT_EQ(sixth.message, "More than 5 resources with PENDING or IN_PROGRESS status.");
  clock_.step(10min);
  EXPECT_EQ(import("job-6", "s3://b/x").status, 200);
}

TEST_F(PersonalizeServiceTest, TrainingFailsInTheServicesWords) {
  Folder folder;
  open(plain());
  make_shop();
  std::string csv = "USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE\n";
  for (int i = 0; i < 2000; ++i) {
    csv += fmt::format("u{},i{},{},{}\n", i < 1980 ? i % 20 : i, i % 300, i,
                       i % 10 == 0 ? "buy" : "view");
  }
  import("first", folder.write("in.csv", csv));
  EXPECT_EQ(version(train("few", "aws-user-personalization"))["failureReason"],
            "Dataset has fewer than 25 users with at least 2 interactions each.");
  EXPECT_EQ(
      version(train("buy", "aws-user-personalization", {{"eventType", "buy"}}))["failureReason"],
      "Dataset has fewer than 1000 interactions after filtering by event type: buy");
}

TEST_F(PersonalizeServiceTest, SimilarItemsAndRankingAnswerTheirOwnQuestions) {
  Folder folder;
  open(plain());
  make_shop();
  import("first", folder.write("in.csv", crowd_csv()));
  Crowd crowd({.users = 200, .items = 150, .interactions = 8'000});
  done("CreateCampaign",
       {{"name", "near"}, {"solutionVersionArn", train("near", "aws-similar-items")}});
  const Reply near = data(
      "/recommendations",
      {{"campaignArn", kArn + "campaign/near"}, {"itemId", crowd.item_id(1)}, {"numResults", 5}});
  ASSERT_EQ(near.status, 200) << near.message;
  int same = 0;
  for (const json& item : near.body["itemList"]) {
    EXPECT_NE(item["itemId"], crowd.item_id(1));
    const auto index = std::stoul(item["itemId"].get<std::string>().substr(5));
    same += crowd.item_genre(index) == crowd.item_genre(1);
  }
  EXPECT_GE(same, 4);
  EXPECT_EQ(
      data("/recommendations", {{"campaignArn", kArn + "campaign/near"}, {"userId", "u"}}).error,
      "InvalidInputException");

  done("CreateCampaign",
       {{"name", "rank"}, {"solutionVersionArn", train("rank", "aws-personalized-ranking-v2")}});
  const Reply ranked =
      data("/personalize-ranking", {{"campaignArn", kArn + "campaign/rank"},
                                    {"userId", "user-00003"},
                                    {"inputList", {"unheard-of", "item-00001", "item-00002"}}});
  ASSERT_EQ(ranked.status, 200) << ranked.message;
  ASSERT_EQ(ranked.body["personalizedRanking"].size(), 3U);
  EXPECT_EQ(ranked.body["personalizedRanking"][2]["itemId"], "unheard-of");
  EXPECT_FALSE(ranked.body["personalizedRanking"][2].contains("score"));
  EXPECT_EQ(
      data("/recommendations", {{"campaignArn", kArn + "campaign/none"}, {"userId", "u"}}).status,
      404);
}

TEST_F(PersonalizeServiceTest, CampaignsServeTheOldVersionUntilTheUpdateIsDone) {
  Folder folder;
  auto options = plain();
  options.state_folder = folder.path / "state";
  open(options);
  make_shop();
  import("first", folder.write("in.csv", crowd_csv()));
  const auto first = train("taste", "aws-user-personalization");
  done("CreateCampaign", {{"name", "live"}, {"solutionVersionArn", first}});
  const auto second = done("CreateSolutionVersion", {{"solutionArn", kArn + "solution/taste"}})
                          .value("solutionVersionArn", "");
  service_->wait_for_work();
  options.time_scale = 1;
  open(options);
  const json ask = {{"campaignArn", kArn + "campaign/live"}};
  done("UpdateCampaign", {{"campaignArn", kArn + "campaign/live"}, {"solutionVersionArn", second}});
  json campaign = done("DescribeCampaign", ask)["campaign"];
  EXPECT_EQ(campaign["status"], "ACTIVE");
  EXPECT_EQ(campaign["solutionVersionArn"], first);
  EXPECT_EQ(campaign["latestCampaignUpdate"]["status"], "CREATE PENDING");
  EXPECT_EQ(campaign["latestCampaignUpdate"]["solutionVersionArn"], second);
  EXPECT_EQ(
      control("UpdateCampaign", {{"campaignArn", kArn + "campaign/live"}, {"minProvisionedTPS", 2}})
          .error,
      "ResourceInUseException");
  clock_.step(10min);
  campaign = done("DescribeCampaign", ask)["campaign"];
  EXPECT_EQ(campaign["solutionVersionArn"], second);
  EXPECT_EQ(campaign["latestCampaignUpdate"]["status"], "ACTIVE");
  EXPECT_EQ(control("DeleteSolution", {{"solutionArn", kArn + "solution/taste"}}).error,
            "ResourceInUseException");
  done("DeleteCampaign", ask);
  EXPECT_EQ(done("DescribeCampaign", ask)["campaign"]["status"], "DELETE PENDING");
  clock_.step(1min);
  EXPECT_EQ(control("DescribeCampaign", ask).error, "ResourceNotFoundException");
  EXPECT_EQ(control("DeleteSolution", {{"solutionArn", kArn + "solution/taste"}}).status, 200);
  clock_.step(1min);
  EXPECT_TRUE(done("ListSolutionVersions", json::object())["solutionVersions"].empty());
  EXPECT_TRUE(std::filesystem::is_empty(folder.path / "state/models"));
}

TEST_F(PersonalizeServiceTest, TagsAreKeptApartFromDescribe) {
  open(plain());
  make_shop();
  const auto arn = kArn + "dataset-group/shop";
  EXPECT_EQ(done("TagResource",
                 {{"resourceArn", arn}, {"tags", {{{"tagKey", "team"}, {"tagValue", "ml"}}}}}),
            json::object());
  EXPECT_EQ(done("ListTagsForResource", {{"resourceArn", arn}})["tags"][0]["tagValue"], "ml");
  done("UntagResource", {{"resourceArn", arn}, {"tagKeys", {"team"}}});
  EXPECT_TRUE(done("ListTagsForResource", {{"resourceArn", arn}})["tags"].empty());
}

TEST_F(PersonalizeServiceTest, EverythingIsThereAfterARestart) {
  Folder folder;
  auto options = plain();
  options.state_folder = folder.path / "state";
  open(options);
  make_shop();
  import("first", folder.write("in.csv", crowd_csv()));
  const auto arn = train("taste", "aws-user-personalization");
  done("CreateCampaign", {{"name", "live"}, {"solutionVersionArn", arn}});
  const json event = {{"eventType", "view"},
                      {"sentAt", 1'760'000'000},
                      {"itemId", "item-00090"},
                      {"eventId", "e1"}};
  put("user-00004", "s", json::array({event}));
  const auto before = recommended("live", "user-00004");
  const auto metrics = done("GetSolutionMetrics", {{"solutionVersionArn", arn}});
  {
    auto second = PersonalizeService::open(options, clock_, log_);
    ASSERT_FALSE(second) << "one process at a time";
    EXPECT_EQ(second.error().kind, ErrorKind::conflict);
  }
  // A crash in the middle of an append leaves half a record.
  std::filesystem::path log;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(options.state_folder)) {
    if (entry.path().filename() == "streamed.log") log = entry.path();
  }
  service_.reset();
  std::ofstream(log, std::ios::app | std::ios::binary) << std::string("\x40\0\0\0half", 8);
  open(options);
  EXPECT_EQ(recommended("live", "user-00004"), before);
  EXPECT_EQ(done("GetSolutionMetrics", {{"solutionVersionArn", arn}}), metrics);
  put("user-00004", "s", json::array({event}));
  EXPECT_EQ(service_->put_events_counts().repeated, 1U) << "the event id is remembered";
  EXPECT_EQ(recommended("live", "user-00004"), before);

  // A model cut in half is trained again at the next start.
  service_.reset();
  for (const auto& entry : std::filesystem::directory_iterator(options.state_folder / "models")) {
    std::filesystem::resize_file(entry.path(), 1000);
  }
  open(options);
  control("ListSchemas", json::object());  // without a thread of its own the work waits for a call
  EXPECT_EQ(version(arn)["status"], "ACTIVE");
  EXPECT_EQ(recommended("live", "user-00004").size(), 10U);
}

TEST_F(PersonalizeServiceTest, JobsThatACrashInterruptedAreDoneAgain) {
  Folder folder;
  auto options = plain();
  options.state_folder = folder.path / "state";
  open(options);
  make_shop();
  import("first", folder.write("in.csv", crowd_csv()));
  // As if the process had died inside of the work: the document says that it waits.
  service_.reset();
  json document = json::parse(folder.read("state/resources.json"));
  for (json& resource : document["resources"]) {
    if (resource["kind"] == "datasetImportJob") resource["work"] = 1;
    if (resource["kind"] == "dataset") resource["own"] = json::object();
  }
  folder.write("state/resources.json", document.dump());
  open(options);
  control("ListSchemas", json::object());
  EXPECT_EQ(import_job("first")["status"], "ACTIVE");
  EXPECT_EQ(version(train("taste", "aws-popularity-count"))["status"], "ACTIVE");
  EXPECT_EQ(json::parse(folder.read("state/resources.json"))["format"], "millrace-personalize-1");
}

TEST_F(PersonalizeServiceTest, AStateFolderOfSomethingElseIsRefused) {
  Folder folder;
  folder.write("state/resources.json", "{\"format\":\"other\"}");
  auto options = plain();
  options.state_folder = folder.path / "state";
  const auto opened = PersonalizeService::open(options, clock_, log_);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().kind, ErrorKind::corrupt);
}

TEST_F(PersonalizeServiceTest, StoppedVersionsStayStopped) {
  Folder folder;
  auto options = plain();
  options.state_folder = folder.path / "state";
  open(options);
  make_shop();
  import("first", folder.write("in.csv", crowd_csv()));
  done("CreateSolution", {{"name", "s"},
                          {"datasetGroupArn", kArn + "dataset-group/shop"},
                          {"recipeArn", "arn:aws:personalize:::recipe/aws-popularity-count"}});
  options.time_scale = 1;
  open(options);
  const auto create = [&] {
    return done("CreateSolutionVersion", {{"solutionArn", kArn + "solution/s"}})
        .value("solutionVersionArn", "");
  };
  const auto pending = create();
  EXPECT_EQ(version(pending)["status"], "CREATE PENDING");
  done("StopSolutionVersionCreation", {{"solutionVersionArn", pending}});
  EXPECT_EQ(version(pending)["status"], "CREATE STOPPED");
  const auto running = create();
  clock_.step(60s);
  EXPECT_EQ(version(running)["status"], "CREATE IN_PROGRESS");
  EXPECT_EQ(control("GetSolutionMetrics", {{"solutionVersionArn", running}}).error,
            "ResourceInUseException");
  done("StopSolutionVersionCreation", {{"solutionVersionArn", running}});
  EXPECT_EQ(version(running)["status"], "CREATE STOPPING");
  clock_.step(2min);
  EXPECT_EQ(version(running)["status"], "CREATE STOPPED");
  EXPECT_EQ(control("StopSolutionVersionCreation", {{"solutionVersionArn", running}}).error,
            "ResourceInUseException");
}

TEST_F(PersonalizeServiceTest, WorksOnItsOwnThreadWhileItAnswers) {
  Folder folder;
  auto options = plain();
  options.background = true;
  open(options);
  make_shop();
  import("first", folder.write("in.csv", crowd_csv()));
  const auto arn = train("taste", "aws-user-personalization");
  EXPECT_EQ(version(arn)["status"], "ACTIVE");
  EXPECT_TRUE(service_->metrics(arn));
}

TEST_F(PersonalizeServiceTest, ItemsAndUsersAreTakenToo) {
  Folder folder;
  open(plain());
  make_shop();
  done(
      "CreateSchema",
      {{"name", "items"},
       {"schema",
        R"({"type":"record","name":"Items","fields":[{"name":"ITEM_ID","type":"string"},{"name":"PRICE","type":"float"}]})"}});
  done("CreateDataset", {{"name", "items"},
                         {"schemaArn", kArn + "schema/items"},
                         {"datasetGroupArn", kArn + "dataset-group/shop"},
                         {"datasetType", "items"}});
  const auto arn = kArn + "dataset/shop/ITEMS";
  const auto put_item = [&](const std::string& properties) {
    return data("/items",
                {{"datasetArn", arn}, {"items", {{{"itemId", "i1"}, {"properties", properties}}}}});
  };
  EXPECT_EQ(put_item(R"({"price":"1.5"})").status, 200);
  EXPECT_EQ(put_item(R"({"price":"cheap"})").error, "InvalidInputException");
  EXPECT_EQ(put_item("{}").error, "InvalidInputException");
  EXPECT_EQ(
      data("/items", {{"datasetArn", kArn + "dataset/none/ITEMS"}, {"items", {{{"itemId", "i"}}}}})
          .status,
      404);
  EXPECT_EQ(data("/users", {{"datasetArn", arn}, {"users", {{{"userId", "i"}}}}}).status, 400);
}

}  // namespace
}  // namespace millrace
