// Does the whole of the forwarder survive a hostile world? `forwarder_simulation_test --seed=N`
// runs one seed and tells its story, `--fresh=60` looks for new failures for so many seconds.

#include <gtest/gtest.h>

#include <chrono>
#include <iostream>
#include <random>
#include <string_view>

#include "tests/simulation/forwarder_world.h"

namespace millrace {
namespace {

ForwarderWorldOptions options_of(std::uint64_t seed) {
  ForwarderWorldOptions options;
  options.log.successor_positions = seed % 3 != 0;
  return options;
}

std::string problem_of(std::uint64_t seed, const ForwarderWorldOptions& options) {
  ForwarderWorld world(seed, options);
  return world.run();
}

TEST(ForwarderSimulation, EachEventIsAcceptedOrADeadLetterBeforeItIsCommitted) {
  std::uint64_t crashes = 0;
  std::uint64_t repeated = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    ForwarderWorld world(seed, options_of(seed));
    ASSERT_EQ(world.run(), "") << "--seed=" << seed << ": " << world.story();
    crashes += world.crashes();
    repeated += world.repeated();
  }
  EXPECT_GT(crashes, 200u);  // else the world was too kind to prove anything
  EXPECT_GT(repeated, 1000u);
}

TEST(ForwarderSimulation, IsAFunctionOfItsSeed) {
  ForwarderWorld one(5, options_of(5));
  ForwarderWorld other(5, options_of(5));
  EXPECT_EQ(one.run(), other.run());
  EXPECT_EQ(one.story(), other.story());
}

// The checks are worth something only if they notice a broken promise of the service or the log.
TEST(ForwarderSimulation, NoticesAServiceThatSaysYesAndForgets) {
  auto options = options_of(1);
  options.lying_service = true;
  EXPECT_NE(problem_of(1, options), "");
}

int look_at(std::uint64_t seed) {
  ForwarderWorld world(seed, options_of(seed));
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
