#include "cli/real_loop.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>

namespace millrace {
namespace {

TEST(RealLoop, RunsTiesInPostingOrderAndTimersInTheirs) {
  RealLoop loop({.workers = 1});
  std::string order;
  loop.post_after(5ms, [&] {
    order += "c";
    loop.stop();
  });
  loop.post([&] { order += "a"; });
  loop.post([&] { order += "b"; });
  loop.run();
  EXPECT_EQ(order, "abc");
}

TEST(RealLoop, BringsOffloadedWorkBackToItsOwnThread) {
  RealLoop loop({.workers = 4});
  const auto home = std::this_thread::get_id();
  std::atomic<int> worked{0};
  int done = 0;
  for (int i = 0; i < 100; ++i) {
    loop.offload(
        [&] {
          EXPECT_NE(std::this_thread::get_id(), home);
          ++worked;
        },
        [&] {
          EXPECT_EQ(std::this_thread::get_id(), home);
          if (++done == 100) loop.stop();
        });
  }
  loop.run();
  EXPECT_EQ(worked, 100);
}

TEST(RealLoop, ATaskThatPostsItselfDoesNotStarveTheOutside) {
  RealLoop loop({.workers = 1});
  std::function<void()> again = [&] { loop.post(again); };
  loop.post(again);
  std::thread outside([&] { loop.post_from_outside([&] { loop.stop(); }); });
  loop.run();  // ends, or the test runs into its time limit
  outside.join();
}

TEST(RealLoop, DropsWorkNotBegunWhenItGoes) {
  std::atomic<int> ran{0};
  {
    RealLoop loop({.workers = 1});
    for (int i = 0; i < 1000; ++i) {
      loop.offload([&] { ++ran; }, [] { FAIL() << "done ran without a loop"; });
    }
  }
  EXPECT_LE(ran, 1000);
}

}  // namespace
}  // namespace millrace
