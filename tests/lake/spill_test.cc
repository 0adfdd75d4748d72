#include "lake/spill.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "core/rng.h"

namespace millrace {
namespace {

TEST(EventKey, HexIsItselfAndOthersAreHashed) {
  EXPECT_EQ(event_key("000102030405060708090a0b0c0d0e0f"),
            (EventKey{0x0001020304050607, 0x08090a0b0c0d0e0f}));
  EXPECT_FALSE(event_key("a") == event_key("b"));
  EXPECT_FALSE(event_key("000102030405060708090A0B0C0D0E0F") ==
               event_key("000102030405060708090a0b0c0d0e0f"));
}

TEST(FirstSeen, DecidesTheSameWithAndWithoutMemory) {
  for (const std::size_t memory : {std::size_t{1} << 30, std::size_t{1}, std::size_t{200'000}}) {
    Rng rng(3);
    FirstSeen seen({.memory_bytes = memory, .parts = 4, .buffer_bytes = 100});
    std::set<std::uint64_t> model;
    std::vector<bool> expected;
    std::uint64_t decided = 0;
    for (int i = 0; i < 20'000; ++i) {
      const std::uint64_t id = rng.below(9000);
      const bool first = model.insert(id).second;
      // Zero is the mark of a free slot inside.
      const auto verdict = seen.add(EventKey{id * 0x9E3779B97F4A7C15, id});
      ASSERT_TRUE(verdict.has_value());
      if (*verdict == FirstSeen::Verdict::undecided) {
        expected.push_back(!first);
      } else {
        EXPECT_EQ(*verdict == FirstSeen::Verdict::first, first);
        ++decided;
      }
    }
    EXPECT_EQ(seen.settle().value(), expected);
    EXPECT_EQ(decided == 20'000, memory == std::size_t{1} << 30);
    EXPECT_GT(decided, 0u) << "memory is used as far as it goes";
  }
}

TEST(DistinctCounts, CountTheSameWithAndWithoutMemory) {
  for (const std::size_t memory : {std::size_t{1} << 30, std::size_t{1}}) {
    Rng rng(4);
    DistinctCounts counts({.memory_bytes = memory, .parts = 4, .buffer_bytes = 100});
    std::map<std::uint64_t, int> model;
    for (int i = 0; i < 20'000; ++i) {
      const std::uint64_t hash = (rng.below(15'000) * 0x9E3779B97F4A7C15) & ~1ull;
      ++model[hash];
      ASSERT_TRUE(counts.add(hash));
    }
    std::uint64_t twice = 0;
    for (const auto& [hash, times] : model) twice += times > 1 ? 1 : 0;
    const auto found = counts.finish().value();
    EXPECT_EQ(found.distinct, model.size());
    EXPECT_EQ(found.twice, twice);
  }
}

TEST(SpillFile, NamesTheFolderThatItCannotUse) {
  const auto file = SpillFile::make("/no/such/folder", 100);
  ASSERT_FALSE(file.has_value());
  EXPECT_NE(file.error().message.find("/no/such/folder"), std::string::npos);
}

}  // namespace
}  // namespace millrace
