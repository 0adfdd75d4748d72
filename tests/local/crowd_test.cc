#include "local/crowd.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

namespace millrace {
namespace {

TEST(Crowd, MakesExactlyTheEventsAskedForInOrderOfTimeAndInsideTheirSpan) {
  const CrowdOptions options{.users = 50, .items = 40, .interactions = 3'001};
  Crowd crowd(options);
  CrowdEvent event;
  std::size_t count = 0;
  std::int64_t last = unix_ms(options.start);
  std::set<std::string> users;
  while (crowd.next(event)) {
    ++count;
    EXPECT_GE(event.timestamp_ms, last);
    EXPECT_LT(event.timestamp_ms, unix_ms(options.end));
    last = event.timestamp_ms;
    users.insert(event.user_id);
    EXPECT_TRUE(event.event_type == "view" || event.event_type == "click" ||
                event.event_type == "purchase");
  }
  EXPECT_EQ(count, 3'001U);
  EXPECT_EQ(users.size(), 50U);
}

TEST(Crowd, IsAFunctionOfItsSeed) {
  const auto text = [](std::uint64_t seed) {
    Crowd crowd({.users = 20, .items = 30, .interactions = 500, .seed = seed});
    std::string all;
    CrowdEvent event;
    while (crowd.next(event)) {
      all += event.user_id + event.item_id + event.session_id + event.event_type +
             std::to_string(event.timestamp_ms);
    }
    return all;
  };
  EXPECT_EQ(text(3), text(3));
  EXPECT_NE(text(3), text(4));
}

TEST(Crowd, AVisitBelongsToOneUser) {
  Crowd crowd({.users = 100, .items = 60, .interactions = 5'000});
  CrowdEvent event;
  std::map<std::string, std::string> user_of_visit;
  while (crowd.next(event)) {
    EXPECT_EQ(user_of_visit.emplace(event.session_id, event.user_id).first->second, event.user_id);
  }
  EXPECT_GT(user_of_visit.size(), 300U);
}

TEST(Crowd, GivesEveryItemATitleOfItsOwn) {
  Crowd crowd({.users = 1, .items = 5'000, .interactions = 0});
  std::set<std::string> titles;
  for (std::size_t i = 0; i < crowd.item_count(); ++i) titles.insert(crowd.item_title(i));
  EXPECT_EQ(titles.size(), 5'000U);
}

TEST(Crowd, TheSmallestOneWorks) {
  Crowd crowd({.users = 1,
               .items = 10,
               .interactions = 200,
               .start = wall_time_of_ms(0),
               .end = wall_time_of_ms(1)});
  CrowdEvent event;
  std::size_t count = 0;
  while (crowd.next(event)) {
    ++count;
    EXPECT_EQ(event.timestamp_ms, 0);
  }
  EXPECT_EQ(count, 200U);
}

}  // namespace
}  // namespace millrace
