// The promises of `millrace run` on a real Kafka broker, kept by the real program: each record once
// in the lake and each event with Personalize, whatever is killed, frozen, moved or away meanwhile.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <iostream>
#include <optional>
#include <thread>

#include "core/rng.h"
#include "tests/end_to_end/kafka_run.h"

namespace millrace {
namespace {

using ::testing::IsEmpty;
using namespace std::chrono_literals;

// A bad day, all the time: one call in ten has some trouble.
StrictPutEventsServer::Options weather(std::uint64_t seed) {
  StrictPutEventsServer::Options options;
  options.faults = {.seed = seed,
                    .throttle = 0.01,
                    .failure = 0.02,
                    .unavailable = 0.02,
                    .reply_lost = 0.03,
                    .late_failure = 0.02,
                    .throttle_code = "ThrottlingException"};
  return options;
}

class KafkaRunTest : public ::testing::Test {
 protected:
  KafkaRunTest()
      : topic_(::testing::UnitTest::GetInstance()->current_test_info()->name()),
        server_(weather(
            ::testing::UnitTest::GetInstance()->random_seed() == 0
                ? 1
                : static_cast<std::uint64_t>(::testing::UnitTest::GetInstance()->random_seed()))) {
    // A test that limits the size of a child's files wants errors, not signals (inherited).
    std::signal(SIGXFSZ, SIG_IGN);
  }

  /// Everything that was sent is in the lake, once.
  void expect_lake(const Feed& feed, const Deployment& deployment) {
    const PlainLake lake = read_lake(deployment.lake(), feed);
    EXPECT_THAT(lake.wrong, IsEmpty());
    EXPECT_EQ(lake.lines, feed.records().size());
    std::cout << "  " << lake.lines << " lines in " << lake.objects << " objects\n";
  }

  /// Everything that was sent has been accepted, in order, with its own id.
  void expect_personalize(const Feed& feed) {
    EXPECT_THAT(server_.objections(), IsEmpty());
    const auto accepted = server_.ids();
    EXPECT_EQ(accepted.size(), feed.ids().size());
    std::size_t other = 0;
    for (const auto& [item, id] : feed.ids()) {
      const auto found = accepted.find(item);
      // Without an id of the producer's: a 128-bit hash.
      const bool good = found != accepted.end() &&
                        (id.empty() ? found->second.size() == 32 : found->second == id);
      if (!good && ++other <= 5)
        ADD_FAILURE() << item << ": accepted as "
                      << (found == accepted.end() ? "nothing" : found->second) << ", sent as "
                      << id;
    }
    EXPECT_EQ(other, 0U);
    std::size_t misordered = 0;
    for (const auto& [user, items] : feed.order())
      misordered += server_.items_of(user) == items ? 0U : 1U;
    EXPECT_EQ(misordered, 0U) << "users whose events were not accepted first in their order";
    std::cout << "  " << accepted.size() << " events accepted in " << server_.calls() << " calls, "
              << server_.repeats() << " of them again\n";
  }

  /// Both positions stand at the end of the log.
  void expect_committed(const Feed& feed, const Deployment& deployment,
                        const std::vector<std::string>& pipelines = {"personalize", "lake"}) {
    for (const std::string& pipeline : pipelines) {
      std::int64_t sum = 0;
      for (int p = 0; p < feed.partitions(); ++p) {
        const auto at = broker_.committed(deployment.group(pipeline), feed.topic(), p);
        sum += at ? at->first : 0;
      }
      EXPECT_EQ(sum, static_cast<std::int64_t>(feed.records().size())) << pipeline;
    }
  }

  bool all_committed(const Feed& feed, const Deployment& deployment, const std::string& pipeline) {
    std::int64_t sum = 0;
    for (int p = 0; p < feed.partitions(); ++p) {
      const auto at = broker_.committed(deployment.group(pipeline), feed.topic(), p);
      sum += at ? at->first : 0;
    }
    return sum == static_cast<std::int64_t>(feed.records().size());
  }

  void finish(const Feed& feed, Deployment& deployment) {
    ChildProcess last = deployment.run({"--until-end"});
    const bool ended = wait_until([&] { return last.poll().has_value(); }, 60s);
    EXPECT_TRUE(ended) << deployment.logs();
    if (ended) {
      EXPECT_EQ(last.wait().exit_code, 0) << deployment.logs();
    }
    expect_lake(feed, deployment);
    expect_personalize(feed);
    expect_committed(feed, deployment);
    if (HasFailure()) std::cout << deployment.logs(20000);
  }

  KafkaBroker& broker_ = KafkaBroker::shared();
  const std::string topic_;
  StrictPutEventsServer server_;
};

TEST_F(KafkaRunTest, KilledAtTwentyFourRandomMoments) {
  Feed feed(broker_, topic_, 4, 150);
  // Cuts all the time, so that many kills meet one.
  Deployment deployment(broker_, topic_, server_,
                        {.buffer = "{ size: 20KiB, interval: 100ms }",
                         .properties = {{"session.timeout.ms", "1000"}}});
  Rng rng(static_cast<std::uint64_t>(::testing::UnitTest::GetInstance()->random_seed()) + 11);
  const auto trickle = [&] { feed.send(6); };
  int at_work = 0;
  for (int kill = 0; kill < 24; ++kill) {
    ChildProcess worker = deployment.run();
    if (kill % 2 == 0) {
      // While it works: both pipelines are in the middle of something.
      const std::size_t before = server_.accepted();
      at_work += wait_until([&] { return server_.accepted() > before + 20; }, 8s, trickle) ? 1 : 0;
      const auto until =
          std::chrono::steady_clock::now() + std::chrono::milliseconds(rng.below(500));
      wait_until([&] { return std::chrono::steady_clock::now() > until; }, 1s, trickle);
    } else {
      // Any time: while it starts, joins, reads positions, finishes the cut of the one before.
      const auto until =
          std::chrono::steady_clock::now() + std::chrono::milliseconds(rng.below(2500));
      wait_until([&] { return std::chrono::steady_clock::now() > until; }, 3s, trickle);
    }
    ASSERT_FALSE(worker.poll()) << "it ended by itself: " << deployment.logs();
    worker.signal(SIGKILL);
    worker.wait();
  }
  EXPECT_GE(at_work, 8);
  const std::string logs = deployment.logs(std::string::npos);
  std::size_t replays = 0;
  for (std::size_t at = 0; (at = logs.find("finishing a cut of an earlier owner", at)) != logs.npos;
       ++at)
    ++replays;
  std::cout << "  " << replays << " cuts were finished by a later process\n";
  EXPECT_GE(replays, 1U) << "no kill met a cut: the test has shown little";
  // A quick machine kills before much has been sent.
  while (feed.records().size() < 3000) feed.send(100);
  finish(feed, deployment);
}

TEST_F(KafkaRunTest, AFrozenWorkerWakesUpAndDoublesNothing) {
  Feed feed(broker_, topic_, 4, 100);
  Deployment deployment(broker_, topic_, server_, {});
  const auto trickle = [&] { feed.send(10); };
  ChildProcess first = deployment.run();
  ASSERT_TRUE(wait_until([&] { return server_.accepted() > 100; }, 20s, trickle))
      << deployment.logs();
  ChildProcess second = deployment.run();
  wait_until([] { return false; }, 2s, trickle);
  first.signal(SIGSTOP);
  wait_until([] { return false; }, 9s, trickle);  // its session ends after 6 s
  const std::size_t before = server_.accepted();
  EXPECT_TRUE(wait_until([&] { return server_.accepted() > before + 200; }, 15s, trickle))
      << "nobody took over: " << deployment.logs();
  first.signal(SIGCONT);
  wait_until([] { return false; }, 3s, trickle);
  EXPECT_FALSE(first.poll()) << deployment.logs();
  EXPECT_FALSE(second.poll()) << deployment.logs();
  first.signal(SIGTERM);
  second.signal(SIGTERM);
  EXPECT_EQ(first.wait().exit_code, 0) << deployment.logs();
  EXPECT_EQ(second.wait().exit_code, 0) << deployment.logs();
  finish(feed, deployment);
}

TEST_F(KafkaRunTest, AWorkerThatJoinsAndLeavesMidStream) {
  Feed feed(broker_, topic_, 4, 100);
  Deployment deployment(broker_, topic_, server_, {});
  const auto trickle = [&] { feed.send(15); };
  ChildProcess steady = deployment.run();
  ASSERT_TRUE(wait_until([&] { return server_.accepted() > 50; }, 20s, trickle))
      << deployment.logs();
  for (int round = 0; round < 4; ++round) {
    ChildProcess guest = deployment.run();
    wait_until([] { return false; }, 3s, trickle);
    ASSERT_FALSE(guest.poll()) << deployment.logs();
    guest.signal(SIGTERM);
    ASSERT_TRUE(wait_until([&] { return guest.poll().has_value(); }, 30s, trickle))
        << "it does not leave: " << deployment.logs();
    EXPECT_EQ(guest.wait().exit_code, 0) << deployment.logs();
  }
  steady.signal(SIGTERM);
  EXPECT_EQ(steady.wait().exit_code, 0) << deployment.logs();
  finish(feed, deployment);
}

TEST_F(KafkaRunTest, ABrokerThatStopsAndOneThatIsKilled) {
  Feed feed(broker_, topic_, 3, 100);
  Deployment deployment(broker_, topic_, server_, {});
  ChildProcess worker = deployment.run();
  for (const bool hard : {false, true, true}) {
    const std::size_t before = server_.accepted();
    feed.send(1500);
    ASSERT_TRUE(wait_until([&] { return server_.accepted() > before + 50; }, 30s))
        << deployment.logs();
    hard ? broker_.kill() : broker_.stop();
    std::this_thread::sleep_for(500ms);
    broker_.start();
  }
  feed.send(500);
  EXPECT_TRUE(wait_until([&] { return server_.accepted() == feed.events(); }, 40s))
      << deployment.logs();
  EXPECT_FALSE(worker.poll()) << deployment.logs();
  worker.signal(SIGTERM);
  EXPECT_EQ(worker.wait().exit_code, 0) << deployment.logs();
  finish(feed, deployment);
}

TEST_F(KafkaRunTest, SigtermDrainsCommitsAndLeavesWithZero) {
  Feed feed(broker_, topic_, 3, 100);
  // The lake's buffers would stay open for minutes: only the stop closes them.
  Deployment deployment(broker_, topic_, server_, {.buffer = "{ size: 5MiB, interval: 300s }"});
  ChildProcess worker = deployment.run();
  feed.send(2000);
  ASSERT_TRUE(wait_until([&] { return server_.accepted() == feed.events(); }, 30s))
      << deployment.logs();
  const auto asked = std::chrono::steady_clock::now();
  worker.signal(SIGTERM);
  ASSERT_TRUE(wait_until([&] { return worker.poll().has_value(); }, 28s)) << deployment.logs();
  EXPECT_EQ(worker.wait().exit_code, 0) << deployment.logs();
  EXPECT_LT(std::chrono::steady_clock::now() - asked, 10s);
  expect_committed(feed, deployment);
  expect_lake(feed, deployment);
  expect_personalize(feed);
}

TEST_F(KafkaRunTest, UntilEndAndOnlyDoTheirPart) {
  Feed feed(broker_, topic_, 3, 100);
  Deployment deployment(broker_, topic_, server_, {});
  feed.send(1000);
  const auto run_to_end = [&](const std::vector<std::string>& words) {
    ChildProcess worker = deployment.run(words);
    EXPECT_TRUE(wait_until([&] { return worker.poll().has_value(); }, 40s)) << deployment.logs();
    EXPECT_EQ(worker.poll() ? worker.wait().exit_code : -1, 0) << deployment.logs();
  };
  run_to_end({"--until-end", "--only", "lake"});
  EXPECT_EQ(server_.calls(), 0U);
  expect_lake(feed, deployment);
  expect_committed(feed, deployment, {"lake"});

  feed.send(500);
  run_to_end({"--until-end", "--only", "personalize"});
  expect_personalize(feed);
  expect_committed(feed, deployment, {"personalize"});
  EXPECT_FALSE(all_committed(feed, deployment, "lake"));

  run_to_end({"--until-end"});
  expect_lake(feed, deployment);
  expect_personalize(feed);
  EXPECT_EQ(feed.events(), server_.accepted());
}

TEST_F(KafkaRunTest, NeitherSinkWaitsForTheOther) {
  Feed feed(broker_, topic_, 3, 100);
  Deployment deployment(broker_, topic_, server_, {});
  ChildProcess worker = deployment.run();
  feed.send(500);
  ASSERT_TRUE(wait_until([&] { return server_.accepted() == feed.events(); }, 30s))
      << deployment.logs();

  // Nobody listens where Personalize should be: the lake goes on.
  server_.down();
  const std::size_t accepted = server_.accepted();
  feed.send(1500);
  EXPECT_TRUE(wait_until([&] { return all_committed(feed, deployment, "lake"); }, 10s))
      << deployment.logs();
  EXPECT_EQ(server_.accepted(), accepted);
  expect_lake(feed, deployment);
  server_.up();
  EXPECT_TRUE(wait_until([&] { return server_.accepted() == feed.events(); }, 40s))
      << deployment.logs();

  // Not a byte more into any file: PutEvents goes on.
  const auto lines = read_lake(deployment.lake(), feed).lines;
  rlimit before{};
  ASSERT_EQ(prlimit(worker.pid(), RLIMIT_FSIZE, nullptr, &before), 0);
  const rlimit nothing{.rlim_cur = 0, .rlim_max = before.rlim_max};
  ASSERT_EQ(prlimit(worker.pid(), RLIMIT_FSIZE, &nothing, nullptr), 0);
  feed.send(1500);
  EXPECT_TRUE(wait_until([&] { return server_.accepted() == feed.events(); }, 20s))
      << deployment.logs();
  EXPECT_TRUE(wait_until([&] { return all_committed(feed, deployment, "personalize"); }, 10s));
  EXPECT_EQ(read_lake(deployment.lake(), feed).lines, lines);
  ASSERT_EQ(prlimit(worker.pid(), RLIMIT_FSIZE, &before, nullptr), 0);
  EXPECT_TRUE(wait_until([&] { return all_committed(feed, deployment, "lake"); }, 30s))
      << deployment.logs();
  worker.signal(SIGTERM);
  EXPECT_EQ(worker.wait().exit_code, 0) << deployment.logs();
  finish(feed, deployment);
}

struct Backlog {
  std::size_t padding;  // bytes more in each record
  int partitions;
};

class KafkaRunMemoryTest : public KafkaRunTest, public ::testing::WithParamInterface<Backlog> {};

// memory × 1.1 + 48 MiB, with a backlog of more than twice `memory` and a Personalize that refuses.
TEST_P(KafkaRunMemoryTest, StaysInsideItsBound) {
  const auto [padding, partitions] = GetParam();
  const std::string topic = fmt::format("memory-{}-{}", padding, partitions);
  Feed feed(broker_, topic, partitions, 500);
  const int count = static_cast<int>(150'000'000 / (padding + 220));
  for (int sent = 0; sent < count; sent += 20'000)
    feed.send(std::min(20'000, count - sent), padding);
  Deployment deployment(broker_, topic, server_,
                        {.memory = "64MiB", .buffer = "{ size: 5MiB, interval: 2s }"});
  server_.down();
  ChildProcess worker = deployment.run();
  // The lake takes it all; the forwarder fills up and waits.
  EXPECT_TRUE(wait_until([&] { return all_committed(feed, deployment, "lake"); }, 90s))
      << deployment.logs();
  ASSERT_FALSE(worker.poll()) << deployment.logs();
  const std::size_t peak = peak_memory(worker.pid());
  std::cout << "  peak of `run` at 64 MiB, " << count << " records of " << padding + 220
            << " bytes, " << partitions << " partitions: " << peak / 1024 << " KiB\n";
#ifndef __SANITIZE_ADDRESS__  // whose shadow, red zones and quarantine count too
  EXPECT_LE(peak, (std::size_t{64} << 20) * 11 / 10 + (std::size_t{48} << 20)) << deployment.logs();
#endif
  EXPECT_EQ(server_.accepted(), 0U);
}

INSTANTIATE_TEST_SUITE_P(Backlogs, KafkaRunMemoryTest,
                         ::testing::Values(Backlog{300, 16}, Backlog{4000, 4}), [](const auto& at) {
                           return fmt::format("{}BytesMoreOn{}Partitions", at.param.padding,
                                              at.param.partitions);
                         });

}  // namespace
}  // namespace millrace
