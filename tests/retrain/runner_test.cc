#include "retrain/runner.h"

#include <gtest/gtest.h>

#include "lake/memory_object_store.h"
#include "lake/names.h"
#include "tests/fakes/recording_pause.h"
#include "tests/fakes/scripted_personalize.h"

namespace millrace {
namespace {

/// What survives every process: the state, the service, time.
struct World {
  MemoryObjectStore store{};
  ScriptedPersonalize personalize{};
  std::int64_t now_ms = 1'795'000'000'000;
  int compactions = 0;
  CompactedCsv csv{.url = "mem:///out.csv",
                   .columns = {"USER_ID", "ITEM_ID", "TIMESTAMP", "EVENT_TYPE"},
                   .rows = 5000,
                   .users = 100,
                   .users_with_two = 90};
  std::string csv_text = "USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE\nu1,i,1,e\nu2,i,2,e\n";
};

enum class Death { none, before, after };

/// One process: it dies before or after the n-th write or service call, and then nothing of it has
/// any effect.
class Process final {
 public:
  Process(World& world, RetrainOptions options, Death death = Death::none, int steps = 0,
          std::string owner = "one")
      : world_(world),
        death_(death),
        steps_(steps),
        store_(*this),
        http_(*this),
        credentials_({.access_key_id = "K", .secret_access_key = Secret("s")}),
        client_({.service = kPersonalizeService,
                 .region = "eu-west-1",
                 .endpoint = "http://p:1",
                 .attempts_max = 1},
                {.http = http_,
                 .credentials = credentials_,
                 .clock_offset = offset_,
                 .pause = pause_,
                 .log = log_,
                 .wall_time = [this] { return now(); }}),
        api_(client_),
        runner_({.retrain = std::move(options),
                 .name = "acme",
                 .lock = {.owner = std::move(owner), .lease = std::chrono::seconds(60)}},
                {.personalize = api_,
                 .state = store_,
                 .pause = pause_,
                 .log = log_,
                 .wall_time = [this] { return now(); },
                 .compact = [this](const CycleCompaction& request) -> Result<CompactedCsv> {
                   if (auto alive = request.keep_alive(); !alive) return fail(alive.error());
                   seen = request;
                   ++world_.compactions;
                   return world_.csv;
                 },
                 .open_csv =
                     [this](const std::string&) {
                       EXPECT_TRUE(world_.store.put("csv", world_.csv_text, PutIf{}).has_value());
                       return world_.store.open("csv");
                     },
                 .chance = [] { return 7; }}) {
    pause_.owner = this;
  }

  Result<CycleState> run(CycleRunner::Start start = CycleRunner::Start::resume_or_fresh) {
    return runner_.run(start);
  }

  bool dead = false;
  CycleCompaction seen{};

 private:
  WallTime now() const { return wall_time_of_ms(world_.now_ms); }

  template <class T>
  Result<T> step(const std::function<Result<T>()>& act) {
    if (dead) return fail(ErrorKind::transient, "dead");
    const bool dies = death_ != Death::none && steps_-- == 0;
    if (dies) dead = true;
    if (dies && death_ == Death::before) return fail(ErrorKind::transient, "dead");
    auto result = act();
    if (dies) return fail(ErrorKind::ambiguous, "dead");
    return result;
  }

  class Store final : public ObjectStore {
   public:
    explicit Store(Process& process) : process_(process), store_(process.world_.store) {}
    Result<std::string> put(const std::string& key, std::string_view bytes,
                            const PutIf& condition) override {
      return process_.step<std::string>([&] { return store_.put(key, bytes, condition); });
    }
    Result<ObjectBytes> get(const std::string& key) override {
      if (process_.dead) return fail(ErrorKind::transient, "dead");
      return store_.get(key);
    }
    Result<ObjectInfo> head(const std::string& key) override { return store_.head(key); }
    Result<std::unique_ptr<ObjectReader>> open(const std::string& key) override {
      return store_.open(key);
    }
    Result<std::unique_ptr<ObjectWriter>> create(const std::string& key) override {
      return process_.step<std::unique_ptr<ObjectWriter>>([&] { return store_.create(key); });
    }
    Result<ObjectPage> list(const std::string& prefix, const std::string& after,
                            std::size_t objects_max) override {
      return store_.list(prefix, after, objects_max);
    }
    Status remove(const std::string& key) override { return store_.remove(key); }
    std::string url_of(const std::string& key) const override { return "mem:///" + key; }

   private:
    Process& process_;
    ObjectStore& store_;
  };

  class Http final : public HttpClient {
   public:
    explicit Http(Process& process) : process_(process) {}
    Result<HttpResponse> send(const HttpRequest& request) override {
      return process_.step<HttpResponse>([&] { return process_.world_.personalize.send(request); });
    }

   private:
    Process& process_;
  };

  class Waiting final : public Pause {
   public:
    bool wait(Ticks duration) override {
      if (owner->dead || ++waits > 20'000) return false;
      const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
      owner->world_.now_ms += ms;
      owner->world_.personalize.now_s = static_cast<double>(owner->world_.now_ms) / 1000;
      return true;
    }
    Process* owner = nullptr;
    int waits = 0;
  };

  World& world_;
  Death death_;
  int steps_;
  Store store_;
  Http http_;
  StaticCredentials credentials_;
  ClockOffset offset_{};
  Waiting pause_{};
  Log log_{};
  AwsClient client_;
  PersonalizeApi api_;
  CycleRunner runner_;
};

RetrainOptions full_options() {
  RetrainOptions options;
  options.dataset_arn = "arn:aws:personalize:eu-west-1:1:dataset/g/INTERACTIONS";
  options.solution_arn = "arn:aws:personalize:eu-west-1:1:solution/s";
  options.role_arn = "role";
  options.campaign_arn = "arn:aws:personalize:eu-west-1:1:campaign/c";
  options.batch_inference = BatchInferenceOptions{.output = "mem:///recommendations/"};
  return options;
}

void expect_each_call_once(const World& world) {
  EXPECT_EQ(world.personalize.imports.size(), 1u);
  EXPECT_EQ(world.personalize.versions.size(), 1u);
  EXPECT_EQ(world.personalize.campaign_updates.size(), 1u);
  EXPECT_EQ(world.personalize.batches.size(), 1u);
}

TEST(CycleRunner, GoesThroughAllStepsAndNamesJobsFromTheRunId) {
  World world;
  Process process(world, full_options());
  const auto state = process.run();
  ASSERT_TRUE(state.has_value()) << state.error().message;
  EXPECT_EQ(state->outcome, CycleOutcome::done);
  for (const auto& step : state->steps) EXPECT_EQ(step.status, StepStatus::done);
  expect_each_call_once(world);
  const auto& import = world.personalize.imports.begin()->second;
  EXPECT_EQ(import.name, "acme-" + state->run_id);
  EXPECT_EQ(import.given["dataSource"]["dataLocation"], world.csv.url);
  EXPECT_EQ(import.given["importMode"], "FULL");
  EXPECT_EQ(world.personalize.versions.begin()->second.name, "acme-" + state->run_id);
  EXPECT_EQ(world.personalize.campaign_version, state->step(CycleStep::train).arn);
  const auto& batch = world.personalize.batches.begin()->second;
  const std::string input = state_keys::batch_input(state->run_id);
  EXPECT_EQ(batch.given["jobInput"]["s3DataSource"]["path"], "mem:///" + input);
  EXPECT_EQ(world.store.get(input)->bytes, "{\"userId\":\"u1\"}\n{\"userId\":\"u2\"}\n");
  EXPECT_EQ(process.seen.schema_columns, world.csv.columns);
  EXPECT_EQ(CycleRunner::load(world.store)->run_id, state->run_id);
}

TEST(CycleRunner, OnlyReadsAUsersOwnBatchInput) {
  World world;
  RetrainOptions options = full_options();
  options.batch_inference->users = BatchInferenceOptions::Users::file;
  options.batch_inference->users_file = "s3://mine/users.json";
  const auto state = Process(world, options).run();
  ASSERT_TRUE(state.has_value());
  EXPECT_EQ(world.personalize.batches.begin()->second.given["jobInput"]["s3DataSource"]["path"],
            "s3://mine/users.json");
  EXPECT_FALSE(world.store.head(state_keys::batch_input(state->run_id)).has_value());
}

TEST(CycleRunner, DoesNothingTwiceWhereverItIsKilled) {
  for (const bool names_told : {true, false}) {
    for (const Death death : {Death::before, Death::after}) {
      int kills = 0;
      for (int n = 0;; ++n) {
        SCOPED_TRACE(testing::Message() << (death == Death::before ? "before" : "after")
                                        << " operation " << n << " names " << names_told);
        World world;
        world.personalize.tells_version_names = names_told;
        Process first(world, full_options(), death, n);
        const auto ended = first.run();
        if (!first.dead) break;
        ++kills;
        EXPECT_TRUE(ended.has_value() || ended.error().kind != ErrorKind::rejected);
        world.now_ms += 61'000;
        // Killed while it let the lock go, or after the very last save: nothing is left to do.
        const auto saved = CycleRunner::load(world.store);
        if (!saved || saved->outcome != CycleOutcome::done) {
          Process second(world, full_options(), Death::none, 0, "two");
          const auto state = second.run();
          ASSERT_TRUE(state.has_value()) << state.error().message;
          EXPECT_EQ(state->outcome, CycleOutcome::done);
        }
        expect_each_call_once(world);
      }
      EXPECT_GT(kills, 40);
    }
  }
}

TEST(CycleRunner, ALostReplyOfEachCreateIsFoundAgain) {
  for (const char* operation : {"CreateDatasetImportJob", "CreateSolutionVersion", "UpdateCampaign",
                                "CreateBatchInferenceJob"}) {
    SCOPED_TRACE(operation);
    World world;
    bool lost = false;
    world.personalize.after = [&](const std::string& called) -> std::optional<Error> {
      if (called != operation || std::exchange(lost, true)) return std::nullopt;
      return Error{ErrorKind::ambiguous, "reply lost"};
    };
    const auto state = Process(world, full_options()).run();
    ASSERT_TRUE(state.has_value()) << state.error().message;
    EXPECT_TRUE(lost);
    expect_each_call_once(world);
    EXPECT_EQ(world.personalize.calls[operation], 1);
  }
}

TEST(CycleRunner, WaitsWhileTheServiceIsBusyAndSaysWhy) {
  for (const char* code :
       {"ResourceInUseException", "LimitExceededException", "ThrottlingException"}) {
    for (const char* operation : {"CreateDatasetImportJob", "CreateSolutionVersion",
                                  "UpdateCampaign", "CreateBatchInferenceJob"}) {
      SCOPED_TRACE(std::string(code) + " " + operation);
      World world;
      world.personalize.refusals[operation] = {code, code, code};
      std::string detail;
      world.personalize.before = [&](const std::string&) -> std::optional<Error> {
        const auto saved = CycleRunner::load(world.store);
        for (const auto& step : saved.value().steps)
          if (step.detail.find(code) != std::string::npos) detail = step.detail;
        return std::nullopt;
      };
      const auto before = world.now_ms;
      const auto state = Process(world, full_options()).run();
      ASSERT_TRUE(state.has_value()) << state.error().message;
      EXPECT_GE(world.now_ms - before, 90'000);
      EXPECT_NE(detail.find("as told"), std::string::npos);
      expect_each_call_once(world);
    }
  }
}

TEST(CycleRunner, WaitsForSomebodyElsesCampaignUpdate) {
  World world;
  world.personalize.campaign_foreign_update = true;
  int asked = 0;
  world.personalize.before = [&](const std::string& operation) -> std::optional<Error> {
    if (operation == "DescribeCampaign" && ++asked == 4)
      world.personalize.campaign_foreign_update = false;
    return std::nullopt;
  };
  ASSERT_TRUE(Process(world, full_options()).run().has_value());
  EXPECT_EQ(world.personalize.campaign_updates.size(), 1u);
}

TEST(CycleRunner, StopsWithTheServicesOwnWordsAndResumesUnderANewName) {
  const std::pair<const char*, CycleStep> rows[] = {
      {"CreateDatasetImportJob", CycleStep::import},
      {"CreateSolutionVersion", CycleStep::train},
      {"UpdateCampaign", CycleStep::campaign},
      {"CreateBatchInferenceJob", CycleStep::batch_inference}};
  for (const auto& [operation, step] : rows) {
    SCOPED_TRACE(operation);
    World world;
    bool once = false;
    world.personalize.before =
        [&, name = std::string(operation)](const std::string& called) -> std::optional<Error> {
      if (called == name && !std::exchange(once, true))
        world.personalize.fail_next_with = "Input CSV is missing the following columns:[X].";
      return std::nullopt;
    };
    const auto failed = Process(world, full_options()).run();
    ASSERT_FALSE(failed.has_value());
    EXPECT_EQ(failed.error().kind, ErrorKind::rejected);
    EXPECT_NE(failed.error().message.find("missing the following columns:[X]"), std::string::npos);
    const auto saved = CycleRunner::load(world.store);
    EXPECT_EQ(saved->outcome, CycleOutcome::failed);
    EXPECT_EQ(saved->step(step).status, StepStatus::failed);

    const auto resumed = Process(world, full_options()).run(CycleRunner::Start::resume);
    ASSERT_TRUE(resumed.has_value()) << resumed.error().message;
    EXPECT_EQ(resumed->run_id, saved->run_id);
    EXPECT_EQ(resumed->step(step).attempt, 2);
    EXPECT_EQ(world.compactions, 1);
  }
}

TEST(CycleRunner, RefusesToImportWhatPersonalizeWouldFail) {
  World world;
  world.csv.rows = 999;
  const auto refused = Process(world, full_options()).run();
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().kind, ErrorKind::refused);
  EXPECT_TRUE(world.personalize.imports.empty());
  EXPECT_EQ(CycleRunner::load(world.store)->outcome, CycleOutcome::refused);
  world.csv.rows = 5000;
  EXPECT_TRUE(Process(world, full_options()).run().has_value());

  World other;
  other.csv.columns.pop_back();
  EXPECT_EQ(Process(other, full_options()).run().error().kind, ErrorKind::refused);
  EXPECT_TRUE(other.personalize.imports.empty());
}

TEST(CycleRunner, AJobOfOurNameThatIsNotOursIsNotAdopted) {
  World world;
  world.personalize.after = [&](const std::string& called) -> std::optional<Error> {
    if (called == "DescribeSchema") {
      const std::string arn = "arn:aws:personalize:eu-west-1:1:dataset-import-job/acme-" +
                              CycleRunner::load(world.store)->run_id;
      world.personalize.imports[arn] = {
          .given = {{"datasetArn", full_options().dataset_arn},
                    {"dataSource", {{"dataLocation", "s3://somebody/elses.csv"}}}}};
    }
    return std::nullopt;
  };
  const auto state = Process(world, full_options()).run();
  ASSERT_FALSE(state.has_value());
  EXPECT_EQ(state.error().kind, ErrorKind::refused);
  EXPECT_NE(state.error().message.find("somebody else made it"), std::string::npos);
}

TEST(CycleRunner, AJobThatExistsButCannotBeSeenYetIsWaitedFor) {
  World world;
  bool lost = false;
  world.personalize.after = [&](const std::string& called) -> std::optional<Error> {
    if (called != "CreateDatasetImportJob" || std::exchange(lost, true)) return std::nullopt;
    world.personalize.refusals["DescribeDatasetImportJob"] = {
        "ResourceNotFoundException", "ResourceNotFoundException", "ResourceNotFoundException"};
    return Error{ErrorKind::ambiguous, "reply lost"};
  };
  ASSERT_TRUE(Process(world, full_options()).run().has_value());
  expect_each_call_once(world);
}

TEST(CycleRunner, AMissingPermissionStopsAndCanBeResumed) {
  World world;
  world.personalize.refusals["CreateSolutionVersion"] = {"AccessDeniedException"};
  EXPECT_EQ(Process(world, full_options()).run().error().kind, ErrorKind::denied);
  const auto state = Process(world, full_options()).run(CycleRunner::Start::resume);
  ASSERT_TRUE(state.has_value()) << state.error().message;
  expect_each_call_once(world);
}

TEST(CycleRunner, StartsOnlyWhatItWasAskedFor) {
  World world;
  EXPECT_EQ(Process(world, full_options()).run(CycleRunner::Start::resume).error().kind,
            ErrorKind::refused);
  Process(world, full_options(), Death::before, 12).run();
  world.now_ms += 61'000;
  const auto fresh = Process(world, full_options()).run(CycleRunner::Start::fresh);
  ASSERT_FALSE(fresh.has_value());
  EXPECT_NE(fresh.error().message.find("--resume"), std::string::npos);
  EXPECT_TRUE(Process(world, full_options()).run(CycleRunner::Start::resume).has_value());
  EXPECT_EQ(Process(world, full_options()).run(CycleRunner::Start::resume).error().kind,
            ErrorKind::refused);
}

TEST(CycleRunner, KeepsTheLastCyclesStateWhenANewOneBegins) {
  World world;
  const auto first = Process(world, full_options()).run();
  world.now_ms += 1000;
  ASSERT_TRUE(Process(world, full_options()).run(CycleRunner::Start::fresh).has_value());
  const auto kept = world.store.get(state_keys::past_cycle(first->run_id));
  ASSERT_TRUE(kept.has_value());
  EXPECT_EQ(cycle_from_json(kept->bytes)->run_id, first->run_id);
}

TEST(CycleRunner, AnOlderLeaderStopsAtItsNextSave) {
  World world;
  bool taken_over = false;
  world.personalize.before = [&](const std::string& operation) -> std::optional<Error> {
    if (operation == "DescribeSolutionVersion" && !std::exchange(taken_over, true)) {
      world.now_ms += 3'600'000;  // frozen for an hour in the middle of a call
      Process second(world, full_options(), Death::none, 0, "two");
      EXPECT_TRUE(second.run().has_value());
    }
    return std::nullopt;
  };
  const auto first = Process(world, full_options()).run();
  ASSERT_FALSE(first.has_value());
  EXPECT_EQ(first.error().kind, ErrorKind::conflict);
  expect_each_call_once(world);
}

TEST(CycleRunner, ASecondInstanceIsRefusedWhileTheFirstWorks) {
  World world;
  std::optional<ErrorKind> second_kind;
  world.personalize.before = [&](const std::string& operation) -> std::optional<Error> {
    if (operation == "CreateSolutionVersion" && !second_kind) {
      Process second(world, full_options(), Death::none, 0, "two");
      second_kind = second.run().error().kind;
    }
    return std::nullopt;
  };
  EXPECT_TRUE(Process(world, full_options()).run().has_value());
  EXPECT_EQ(second_kind, ErrorKind::refused);
}

TEST(CycleRunner, DoesNotPollForEver) {
  World world;
  world.personalize.polls_until_active = 1'000'000;
  RetrainOptions options = full_options();
  options.poll_interval = std::chrono::minutes(5);
  const auto state = Process(world, options).run();
  ASSERT_FALSE(state.has_value());
  EXPECT_NE(state.error().message.find("not done after"), std::string::npos)
      << state.error().message;
  EXPECT_EQ(CycleRunner::load(world.store)->outcome, CycleOutcome::failed);
}

}  // namespace
}  // namespace millrace
