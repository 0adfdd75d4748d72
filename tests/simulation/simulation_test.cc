// Does the whole of the archiver survive a hostile world? Fixed seeds here and in
// regression_seeds.txt; `simulation_test --seed=N` runs one and tells its story, `--fresh=60s`
// looks for new ones.

#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <iostream>
#include <random>
#include <string_view>

#include "tests/simulation/world.h"

namespace millrace {
namespace {

WorldOptions options_of(std::uint64_t seed) {
  WorldOptions options;
  options.log.successor_positions = seed % 3 != 0;
  return options;
}

std::string problem_of(std::uint64_t seed, const WorldOptions& options) {
  World world(seed, options);
  return world.run();
}

TEST(Simulation, LakeHoldsEachRecordOnceWhateverHappens) {
  std::uint64_t crashes = 0;
  std::uint64_t objects = 0;
  std::uint64_t refused = 0;
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    World world(seed, options_of(seed));
    ASSERT_EQ(world.run(), "") << "--seed=" << seed << ": " << world.story();
    crashes += world.crashes();
    objects += world.objects();
    refused += world.commits_refused();
  }
  // Else the world was too kind to prove anything.
  EXPECT_GT(crashes, 800u);
  EXPECT_GT(objects, 7000u);
  EXPECT_GT(refused, 5u);
}

TEST(Simulation, SeedsThatFoundSomethingOnceFindNothingNow) {
  std::ifstream seeds(std::string(MILLRACE_SOURCE_DIR) + "/tests/simulation/regression_seeds.txt");
  ASSERT_TRUE(seeds);
  std::string line;
  while (std::getline(seeds, line)) {
    if (line.empty() || line[0] == '#') continue;
    const std::uint64_t seed = std::stoull(line);
    EXPECT_EQ(problem_of(seed, options_of(seed)), "") << "--seed=" << seed;
  }
}

TEST(Simulation, IsAFunctionOfItsSeed) {
  World one(5, options_of(5));
  World other(5, options_of(5));
  EXPECT_EQ(one.run(), other.run());
  EXPECT_EQ(one.story(), other.story());
}

// The checks are worth something only if they notice a broken promise of the log or the store.
std::uint64_t problems_of(const WorldOptions& options, std::uint64_t seeds) {
  std::uint64_t problems = 0;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    if (!problem_of(seed, options).empty()) ++problems;
  }
  return problems;
}

TEST(Simulation, NoticesALogThatDoesNotFenceLateCommits) {
  WorldOptions options;
  options.log.fence = false;
  EXPECT_GT(problems_of(options, 60), 0u);
}

TEST(Simulation, NoticesALogThatForgetsIntents) {
  WorldOptions options;
  options.log.keep_notes = false;
  EXPECT_GT(problems_of(options, 10), 0u);
}

TEST(Simulation, NoticesAStoreThatSaysDoneTooEarly) {
  WorldOptions options;
  options.lying_store = true;
  EXPECT_GT(problems_of(options, 3), 0u);
}

int look_at(std::uint64_t seed) {
  World world(seed, options_of(seed));
  const std::string problem = world.run();
  std::cout << "seed " << seed << ": " << (problem.empty() ? "fine" : problem) << "\n  "
            << world.story() << "\n";
  return problem.empty() ? 0 : 1;
}

int look_for_new(std::chrono::seconds limit) {
  std::random_device entropy;
  const auto begin = std::chrono::steady_clock::now();
  std::uint64_t count = 0;
  for (; std::chrono::steady_clock::now() - begin < limit; ++count) {
    const std::uint64_t seed = entropy();
    const std::string problem = problem_of(seed, options_of(seed));
    if (problem.empty()) continue;
    std::cout << "--seed=" << seed << ": " << problem << "\n";
    return 1;
  }
  std::cout << count << " worlds, nothing found\n";
  return 0;
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word.substr(0, 7) == "--seed=") {
      return millrace::look_at(std::stoull(std::string(word.substr(7))));
    }
    if (word.substr(0, 8) == "--fresh=") {
      return millrace::look_for_new(std::chrono::seconds(std::stoll(std::string(word.substr(8)))));
    }
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
