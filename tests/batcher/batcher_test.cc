#include "batcher/batcher.h"

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <set>

#include "core/rng.h"

namespace millrace {
namespace {

Event event_of(const std::string& user, const std::string& item, const std::string& session = "s") {
  Event event;
  event.user_id = user;
  event.session_id = session;
  event.item_id = item;
  event.event_type = "view";
  return event;
}

std::string items_of(const EventGroup& group) {
  std::string items;
  for (const auto& event : group.events) items += event.item_id + " ";
  return items;
}

TEST(Batcher, ClosesAGroupOnceItHasLingeredAndNotBefore) {
  Batcher batcher({.linger = 60s});
  batcher.add(event_of("ann", "a"), {}, 0s);
  batcher.add(event_of("ann", "b"), {}, 30s);
  EXPECT_EQ(batcher.next_ready(), Ticks(60s));
  EXPECT_FALSE(batcher.take(59s));
  const auto group = batcher.take(60s);
  ASSERT_TRUE(group);
  EXPECT_EQ(items_of(*group), "a b ");
  EXPECT_EQ(batcher.events(), 0u);
  EXPECT_EQ(batcher.bytes(), 0u);
  batcher.returned(group->user, 61s);
  EXPECT_EQ(batcher.users(), 0u);
}

TEST(Batcher, ClosesAGroupAtTenEventsAtOnce) {
  Batcher batcher({.linger = 60s});
  for (int i = 0; i < 13; ++i) batcher.add(event_of("ann", std::to_string(i)), {}, 1s);
  const auto group = batcher.take(1s);
  ASSERT_TRUE(group);
  EXPECT_EQ(items_of(*group), "0 1 2 3 4 5 6 7 8 9 ");
  EXPECT_FALSE(batcher.take(100s)) << "the user has a call out";
  batcher.returned(group->user, 100s);
  EXPECT_EQ(items_of(batcher.take(100s).value()), "10 11 12 ") << "they have lingered meanwhile";
}

TEST(Batcher, ClosesAGroupByBytes) {
  const auto big = event_of("ann", std::string(1000, 'x'));
  Batcher batcher({.bytes_per_group_max = Batcher::bytes_of(big) * 2, .linger = 60s});
  for (int i = 0; i < 3; ++i) batcher.add(big, {}, 0s);
  EXPECT_EQ(batcher.take(0s).value().events.size(), 2u);
}

TEST(Batcher, LetsAnEventThatIsTooBigForAGroupGoAlone) {
  Batcher batcher({.bytes_per_group_max = 10, .linger = 1s});
  batcher.add(event_of("ann", "a"), {}, 0s);
  EXPECT_EQ(batcher.take(1s).value().events.size(), 1u);
}

TEST(Batcher, KeepsTheOrderOfAUserAcrossSessions) {
  Batcher batcher({.linger = 60s});
  batcher.add(event_of("ann", "1", "x"), {}, 0s);
  batcher.add(event_of("ann", "2", "x"), {}, 0s);
  batcher.add(event_of("ann", "3", "y"), {}, 0s);
  batcher.add(event_of("ann", "4", "x"), {}, 0s);
  std::string seen;
  for (int calls = 0; calls < 3; ++calls) {
    const auto group = batcher.take(60s);
    ASSERT_TRUE(group);
    seen += items_of(*group) + "| ";
    EXPECT_FALSE(batcher.take(60s)) << "one call of a user at a time";
    batcher.returned(group->user, 60s);
  }
  EXPECT_EQ(seen, "1 2 | 3 | 4 | ");
}

TEST(Batcher, AUserWhoseCallIsOutCollectsMeanwhileAndOthersGoOn) {
  Batcher batcher({.linger = 1s});
  batcher.add(event_of("ann", "1"), {}, 0s);
  const auto first = batcher.take(1s);
  ASSERT_TRUE(first);
  batcher.add(event_of("ann", "2"), {}, 2s);
  batcher.add(event_of("bob", "x"), {}, 2s);
  batcher.add(event_of("ann", "3"), {}, 5s);
  EXPECT_EQ(items_of(batcher.take(9s).value()), "x ");
  EXPECT_FALSE(batcher.take(9s));
  EXPECT_FALSE(batcher.next_ready());
  batcher.returned(first->user, 10s);
  EXPECT_EQ(items_of(batcher.take(10s).value()), "2 3 ");
}

TEST(Batcher, AnonymousSessionsAreNotUsersOfTheSameName) {
  Batcher batcher({.linger = 0s});
  batcher.add(event_of("", "1", "ann"), {}, 0s);
  batcher.add(event_of("ann", "2", "ann"), {}, 0s);
  EXPECT_EQ(batcher.users(), 2u);
  EXPECT_EQ(items_of(batcher.take(0s).value()), "1 ");
  EXPECT_EQ(items_of(batcher.take(0s).value()), "2 ");
}

TEST(Batcher, FlushMakesEverythingHeldReadyAndNothingThatComesLater) {
  Batcher batcher({.linger = 60s});
  for (int i = 0; i < 11; ++i) batcher.add(event_of("ann", std::to_string(i)), {}, 0s);
  batcher.add(event_of("bob", "x"), {}, 0s);
  batcher.flush(1s);
  const auto first = batcher.take(1s).value();
  EXPECT_EQ(items_of(batcher.take(1s).value()), "x ");
  batcher.returned(first.user, 2s);
  EXPECT_EQ(items_of(batcher.take(2s).value()), "10 ");
  batcher.add(event_of("cid", "y"), {}, 3s);
  EXPECT_FALSE(batcher.take(4s));
}

TEST(Batcher, DropsAStreamAndKeepsTheOthersInOrder) {
  Batcher batcher({.linger = 1s});
  for (int i = 0; i < 12; ++i) {
    batcher.add(event_of("ann", std::to_string(i)), {.stream = i % 2 == 0 ? 1u : 2u}, 0s);
  }
  batcher.add(event_of("bob", "x"), {.stream = 1}, 0s);
  EXPECT_EQ(batcher.drop(1, 0s), 7u);
  EXPECT_EQ(batcher.events(), 6u);
  EXPECT_EQ(batcher.users(), 1u);
  EXPECT_FALSE(batcher.take(0s)) << "six events are no full group";
  EXPECT_EQ(items_of(batcher.take(1s).value()), "1 3 5 7 9 11 ");
}

// Random traffic against the promises: order per user, one group out, nothing lost or doubled,
// no group before its time without a reason, and deterministic.
std::string run_random(std::uint64_t seed) {
  Rng rng(seed);
  Batcher batcher({.events_per_group_max = 4, .linger = 50ms});
  std::map<std::string, std::deque<std::string>> expected;
  std::vector<EventGroup> out;
  std::set<std::string> users_out;
  std::string trace;
  Ticks now{0};
  int added = 0;
  for (int step = 0; step < 4000 || batcher.users() > 0; ++step) {
    now += std::chrono::milliseconds(rng.below(10));
    if (step < 4000) {
      const auto user = "u" + std::to_string(rng.below(40));
      const auto item = std::to_string(added++);
      batcher.add(event_of(user, item, rng.chance(0.2) ? "x" : "y"), {}, now);
      expected[user].push_back(item);
    }
    while (rng.chance(0.7)) {
      auto group = batcher.take(now);
      if (!group) break;
      const auto& user = group->events.at(0).user_id;
      EXPECT_TRUE(users_out.insert(user).second) << "two calls of one user at once";
      EXPECT_LE(group->events.size(), 4u);
      for (const auto& event : group->events) {
        EXPECT_EQ(event.session_id, group->events.at(0).session_id);
        EXPECT_EQ(event.item_id, expected[user].front());
        expected[user].pop_front();
        trace += event.item_id + ",";
      }
      trace += ";";
      out.push_back(std::move(*group));
    }
    if (!out.empty() && rng.chance(0.6)) {
      const auto at = rng.below(out.size());
      users_out.erase(out[at].events.at(0).user_id);
      batcher.returned(out[at].user, now);
      out.erase(out.begin() + static_cast<std::ptrdiff_t>(at));
    }
  }
  for (const auto& [user, items] : expected) EXPECT_TRUE(items.empty()) << user;
  EXPECT_EQ(batcher.events(), 0u);
  EXPECT_EQ(batcher.bytes(), 0u);
  return trace;
}

TEST(Batcher, KeepsItsPromisesUnderRandomTraffic) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const auto trace = run_random(seed);
    EXPECT_EQ(trace, run_random(seed)) << "seed " << seed << " is not deterministic";
  }
}

TEST(Batcher, HoldsAMillionUsersWithOneEventEach) {
  Batcher batcher({.linger = 1s});
  constexpr int kUsers = 1'000'000;
  for (int i = 0; i < kUsers; ++i) batcher.add(event_of("u" + std::to_string(i), "x"), {}, 0s);
  EXPECT_EQ(batcher.users(), static_cast<std::size_t>(kUsers));
  std::size_t taken = 0;
  while (auto group = batcher.take(1s)) {
    ++taken;
    batcher.returned(group->user, 1s);
  }
  EXPECT_EQ(taken, static_cast<std::size_t>(kUsers));
  EXPECT_EQ(batcher.users(), 0u);
}

}  // namespace
}  // namespace millrace
