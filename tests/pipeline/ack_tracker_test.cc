#include "pipeline/ack_tracker.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "core/rng.h"

namespace millrace {
namespace {

Position at(std::int64_t offset) { return {Offset::of(offset)}; }

TEST(AckTracker, CommitsNothingBehindAnUnsettledRecord) {
  AckTracker tracker({});
  for (int i = 0; i < 3; ++i) tracker.add(at(i), "x", -1, 1, 0);
  EXPECT_EQ(tracker.settled_to(), nullptr);
  tracker.settle(0, Settled::accepted);
  tracker.settle(2, Settled::accepted);
  ASSERT_NE(tracker.settled_to(), nullptr);
  EXPECT_EQ(*tracker.settled_to(), at(0));
  EXPECT_EQ(tracker.settled_books().accepted, 1u) << "books belong to the position";
  EXPECT_EQ(tracker.books().accepted, 2u);
  EXPECT_EQ(tracker.books().waiting(), 1u);
  tracker.settle(1, Settled::dead_lettered);
  EXPECT_EQ(*tracker.settled_to(), at(2));
  EXPECT_TRUE(tracker.all_settled());
  EXPECT_EQ(tracker.bytes(), 0u);
}

TEST(AckTracker, ARecordIsSettledWhenEachOfItsEventsIs) {
  AckTracker tracker({});
  tracker.add(at(7), "text", 5, 3, 1);
  tracker.settle(0, Settled::accepted);
  tracker.settle(0, Settled::skipped);
  EXPECT_EQ(tracker.settled_to(), nullptr);
  EXPECT_EQ(tracker.waiting(0).text, "text");
  EXPECT_EQ(tracker.waiting(0).arrived_ms, 5);
  tracker.settle(0, Settled::dead_lettered);
  EXPECT_EQ(*tracker.settled_to(), at(7));
  const Books expected{.records = 1,
                       .empty = 0,
                       .read = 3,
                       .accepted = 1,
                       .dead_lettered = 1,
                       .skipped = 1,
                       .anonymous = 1};
  EXPECT_EQ(tracker.settled_books(), expected);
}

TEST(AckTracker, ARecordWithoutEventsMovesThePosition) {
  AckTracker tracker({.records = 10, .empty = 2});
  tracker.add(at(3), "", -1, 0, 0);
  EXPECT_EQ(*tracker.settled_to(), at(3));
  EXPECT_EQ(tracker.settled_books().records, 11u);
  EXPECT_EQ(tracker.settled_books().empty, 3u);
}

// One user whose call is tried for ever holds back the position, and nothing else: what is settled
// behind it costs no memory, so the instance reads on.
TEST(AckTracker, AMillionRecordsPassBehindOneUnsettledInAFewKilobytes) {
  const std::string text(500, 'x');
  AckTracker tracker({});
  const auto stuck = tracker.add(at(0), text, 7, 1, 0);
  std::vector<std::uint64_t> under_way;
  std::size_t most = 0;
  for (int i = 1; i <= 1'000'000; ++i) {
    under_way.push_back(tracker.add(at(i), text, -1, i % 3 == 0 ? 0 : 1, 0));
    if (under_way.size() < 10) continue;
    for (const auto number : under_way) {
      if (number % 3 != 0) tracker.settle(number, Settled::accepted);
    }
    under_way.clear();
    most = std::max(most, tracker.bytes());
  }
  EXPECT_LT(most, 10'000u);
  EXPECT_EQ(tracker.settled_to(), nullptr);
  EXPECT_EQ(tracker.records_held(), 1'000'001u);
  EXPECT_EQ(tracker.waiting(stuck).text, text);
  EXPECT_EQ(tracker.books().waiting(), 1u);
  tracker.settle(stuck, Settled::accepted);
  EXPECT_EQ(*tracker.settled_to(), at(1'000'000));
  EXPECT_EQ(tracker.settled_books(), tracker.books());
  EXPECT_EQ(tracker.bytes(), 0u);
}

// The worst: of the records under way every other one is settled.
TEST(AckTracker, KeepsItsBoundWhenNoTwoSettledRecordsStandSideBySide) {
  constexpr std::size_t kUnsettled = 1000;
  const std::string text(500, 'x');
  AckTracker tracker({});
  for (std::size_t i = 0; i < 2 * kUnsettled; ++i) {
    const auto number = tracker.add({Offset{std::string(56, '9')}}, text, -1, 1, 0);
    if (i % 2 == 1) tracker.settle(number, Settled::skipped);
  }
  EXPECT_LT(tracker.bytes(), kUnsettled * (text.size() + 600));
  EXPECT_GT(tracker.bytes(), kUnsettled * text.size());
}

TEST(AckTracker, SettlesInAnyOrderAndKeepsTheBooks) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    Rng rng(seed);
    AckTracker tracker({});
    std::vector<std::uint64_t> open;
    std::vector<std::uint32_t> left;
    std::int64_t last_position = -1;
    for (int step = 0; step < 2000; ++step) {
      if (rng.chance(0.4)) {
        const auto events = static_cast<std::uint32_t>(rng.below(4));
        const auto number =
            tracker.add(at(static_cast<std::int64_t>(left.size())), "r", -1, events, 0);
        ASSERT_EQ(number, left.size());
        left.push_back(events);
        for (std::uint32_t i = 0; i < events; ++i) open.push_back(number);
      } else if (!open.empty()) {
        const auto pick = rng.below(open.size());
        const auto number = open[pick];
        open[pick] = open.back();
        open.pop_back();
        tracker.settle(number, static_cast<Settled>(rng.below(3)));
        --left[number];
      }
      std::size_t prefix = 0;
      while (prefix < left.size() && left[prefix] == 0) ++prefix;
      if (prefix == 0) {
        ASSERT_EQ(tracker.settled_to(), nullptr);
      } else {
        const auto now = static_cast<std::int64_t>(prefix) - 1;
        ASSERT_EQ(*tracker.settled_to(), at(now));
        ASSERT_GE(now, last_position);
        last_position = now;
      }
      ASSERT_EQ(tracker.books().waiting(), open.size());
      ASSERT_EQ(tracker.settled_books().waiting(), 0u);
      ASSERT_EQ(tracker.settled_books().records, prefix);
    }
  }
}

}  // namespace
}  // namespace millrace
