#include "retrain/cycle_lock.h"

#include <gtest/gtest.h>

#include "lake/memory_object_store.h"
#include "lake/names.h"

namespace millrace {
namespace {

class CycleLockTest : public testing::Test {
 protected:
  CycleLock lock(std::string owner) {
    return CycleLock({.owner = std::move(owner), .lease = std::chrono::seconds(60)}, store_,
                     [this] { return now_; });
  }
  MemoryObjectStore store_{};
  WallTime now_ = wall_time_of_ms(1'795'000'000'000);
};

TEST_F(CycleLockTest, OnlyOneHoldsItUntilItIsReleasedOrRunsOut) {
  auto a = lock("a");
  auto b = lock("b");
  ASSERT_TRUE(a.acquire().has_value());
  const auto refused = b.acquire();
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().kind, ErrorKind::refused);
  EXPECT_NE(refused.error().message.find("(a)"), std::string::npos);
  a.release();
  ASSERT_TRUE(b.acquire().has_value());
  now_ += std::chrono::seconds(60);
  ASSERT_TRUE(a.acquire().has_value());
  EXPECT_EQ(b.keep().error().kind, ErrorKind::conflict);
}

TEST_F(CycleLockTest, KeepingProlongsIt) {
  auto a = lock("a");
  auto b = lock("b");
  ASSERT_TRUE(a.acquire().has_value());
  for (int i = 0; i < 10; ++i) {
    now_ += std::chrono::seconds(25);
    ASSERT_TRUE(a.keep().has_value());
    EXPECT_FALSE(b.acquire().has_value());
  }
}

TEST_F(CycleLockTest, TheSameOwnerTakesItBackAtOnce) {
  ASSERT_TRUE(lock("a").acquire().has_value());
  EXPECT_TRUE(lock("a").acquire().has_value());
}

TEST_F(CycleLockTest, BytesThatAreNoLeaseDoNotBlockForever) {
  ASSERT_TRUE(store_.put(state_keys::lock(), "garbage", PutIf{}).has_value());
  EXPECT_TRUE(lock("a").acquire().has_value());
}

TEST_F(CycleLockTest, ReleasingALostLockLeavesTheNewOwnersAlone) {
  auto a = lock("a");
  auto b = lock("b");
  ASSERT_TRUE(a.acquire().has_value());
  now_ += std::chrono::seconds(61);
  ASSERT_TRUE(b.acquire().has_value());
  a.release();
  EXPECT_FALSE(a.acquire().has_value());
}

}  // namespace
}  // namespace millrace
