#include "retrain/cycle.h"

#include <gtest/gtest.h>

#include "retrain/decide.h"

namespace millrace {
namespace {

RetrainOptions full_options() {
  RetrainOptions options;
  options.dataset_arn = "d";
  options.solution_arn = "s";
  options.role_arn = "r";
  options.campaign_arn = "c";
  options.batch_inference = BatchInferenceOptions{.users = BatchInferenceOptions::Users::active,
                                                  .active_within = std::chrono::hours(720),
                                                  .output = "file:///o/",
                                                  .exploration_weight = 0.3,
                                                  .exploration_item_age_days = 30};
  return options;
}

TEST(CycleState, ComesBackFromItsJson) {
  CycleState state = new_cycle("20261121T095600Z-1f3a09bc", full_options(), wall_time_of_ms(5));
  state.owner = "me\"\n";
  state.csv = {.url = "u", .columns = {"A", "B"}, .rows = 7, .users = 3, .users_with_two = 2};
  state.step(CycleStep::train) = {.status = StepStatus::running,
                                  .job_name = "n",
                                  .arn = "a",
                                  .service_status = "CREATE PENDING",
                                  .detail = "é",
                                  .attempt = 2,
                                  .intended_at = wall_time_of_ms(9)};
  const std::string text = cycle_to_json(state);
  const auto back = cycle_from_json(text);
  ASSERT_TRUE(back.has_value()) << back.error().message;
  EXPECT_EQ(cycle_to_json(*back), text);
  EXPECT_EQ(back->steps, state.steps);
  EXPECT_EQ(back->csv, state.csv);
  EXPECT_EQ(back->options.batch_inference->exploration_item_age_days, 30);
}

TEST(CycleState, RefusesWhatIsNotOurs) {
  const std::string good = cycle_to_json(new_cycle("id", full_options(), {}));
  for (std::size_t cut = 0; cut + 2 < good.size(); cut += 7)
    EXPECT_EQ(cycle_from_json(good.substr(0, cut)).error().kind, ErrorKind::corrupt) << cut;
  for (const char* text : {"[]", "{}", R"({"version":"1"})", R"({"version":1,"run_id":3})"})
    EXPECT_EQ(cycle_from_json(text).error().kind, ErrorKind::corrupt) << text;
  EXPECT_EQ(cycle_from_json(R"({"version":2})").error().kind, ErrorKind::refused);
  std::string odd = good;
  odd.replace(odd.find("\"pending\""), 9, "\"strange\"");
  EXPECT_EQ(cycle_from_json(odd).error().kind, ErrorKind::corrupt);
}

TEST(JobName, IsAlwaysOneThatPersonalizeTakes) {
  const std::string id = "20261121T095600Z-1f3a09bc";
  EXPECT_EQ(job_name_of("acme", id, 1), "acme-" + id);
  EXPECT_EQ(job_name_of("acme", id, 2), "acme-" + id + "-2");
  for (const std::string& name :
       {std::string(), std::string("_x"), std::string("a.b:c/é"), std::string(300, 'n')}) {
    const std::string job = job_name_of(name, id, 12);
    EXPECT_LE(job.size(), 63u);
    EXPECT_NE(job.find(id + "-12"), std::string::npos);
    EXPECT_TRUE(std::isalnum(static_cast<unsigned char>(job.front())));
    EXPECT_EQ(
        job.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"),
        std::string::npos)
        << job;
  }
}

TEST(Decide, GoesStepByStepAndSkipsWhatIsNotConfigured) {
  RetrainOptions options = full_options();
  options.campaign_arn.clear();
  CycleState state = new_cycle("id", options, {});
  const CycleStep order[] = {CycleStep::compact, CycleStep::import, CycleStep::train,
                             CycleStep::batch_inference};
  for (const CycleStep step : order) {
    EXPECT_EQ(decide(state), (CycleAction{ActionKind::begin, step}));
    state.step(step).status = StepStatus::intended;
    EXPECT_EQ(decide(state), (CycleAction{ActionKind::recover, step}));
    state.step(step).status = StepStatus::running;
    EXPECT_EQ(decide(state), (CycleAction{ActionKind::poll, step}));
    state.step(step).status = StepStatus::failed;
    EXPECT_EQ(decide(state), (CycleAction{ActionKind::stop, step}));
    state.step(step).status = StepStatus::done;
  }
  EXPECT_EQ(decide(state).kind, ActionKind::finish);
}

TEST(CheckCsv, RefusesWhatPersonalizeWouldFail) {
  const std::vector<std::string> schema = {"USER_ID", "ITEM_ID", "TIMESTAMP"};
  const CompactedCsv good{
      .url = "u", .columns = schema, .rows = 1000, .users = 2500, .users_with_two = 25};
  EXPECT_TRUE(check_csv(good, schema, false).has_value());
  const auto refused = [&](CompactedCsv csv, bool incremental) {
    const auto status = check_csv(csv, schema, incremental);
    if (status) return std::string("accepted");
    EXPECT_EQ(status.error().kind, ErrorKind::refused);
    return status.error().message;
  };
  CompactedCsv csv = good;
  csv.rows = 999;
  EXPECT_NE(refused(csv, false).find("999 rows"), std::string::npos);
  EXPECT_NE(refused(csv, true).find("999 rows"), std::string::npos);
  csv = good;
  csv.users_with_two = 24;
  EXPECT_NE(refused(csv, false).find("24 users"), std::string::npos);
  EXPECT_EQ(refused(csv, true), "accepted");
  csv = good;
  csv.users = 2501;
  EXPECT_NE(refused(csv, false).find("1 %"), std::string::npos);
  csv = good;
  csv.columns = {"USER_ID", "TIMESTAMP", "ITEM_ID"};
  EXPECT_NE(refused(csv, true).find("USER_ID,TIMESTAMP,ITEM_ID"), std::string::npos);
}

TEST(FindOurVersion, GoesByNameAndOnlyWithoutNamesByTime) {
  const StepState intent{.job_name = "ours", .intended_at = wall_time_of_ms(10'000'000)};
  const auto version = [](std::string name, std::int64_t created, std::string type = "MANUAL") {
    return SolutionVersionDescription{.arn = name + std::to_string(created),
                                      .name = std::move(name),
                                      .training_type = std::move(type),
                                      .state = {.created = wall_time_of_ms(created)}};
  };
  const std::vector<SolutionVersionDescription> named = {version("other", 10'000'001),
                                                         version("ours", 10'000'002)};
  EXPECT_EQ(find_our_version(named, intent), &named[1]);
  const std::vector<SolutionVersionDescription> others = {version("other", 10'000'001)};
  EXPECT_EQ(find_our_version(others, intent), nullptr);
  const std::vector<SolutionVersionDescription> nameless = {
      version("", 10'000'001, "AUTOMATIC"), version("", 1'000'000), version("", 10'000'001)};
  EXPECT_EQ(find_our_version(nameless, intent), &nameless[2]);
}

TEST(Plan, NamesEveryStep) {
  const std::string plan = plan_text(new_cycle("id", full_options(), {}));
  for (const char* word : {"compact", "FULL into d", "new version of s", "c then serves",
                           "25 items for users of the CSV active within"})
    EXPECT_NE(plan.find(word), std::string::npos) << word << "\n" << plan;
}

}  // namespace
}  // namespace millrace
