#include "events/event_id.h"

#include <gtest/gtest.h>

#include <set>

namespace millrace {
namespace {

std::string id_of(bool anonymous, std::string_view who, std::string_view item, std::int64_t second,
                  std::string_view type) {
  std::string id;
  IdHasher().event_id(anonymous, who, item, second, type, id);
  return id;
}

// Computed with another program over the bytes that event_id.h writes down: a change here would
// double every event of every lake.
TEST(IdHasher, WritesTheIdsThatLakesHold) {
  EXPECT_EQ(id_of(false, "u1", "i1", 1700000000, "view"), "8c01c5b28dc39a1e04cd1a5b946ce984");
  EXPECT_EQ(id_of(true, "s1", "i1", 1700000000, "view"), "477686d38bcb5f51923b0929bfe54a7d");
  std::string session;
  IdHasher().session_id("u1", 1700000000, 1800, session);
  EXPECT_EQ(session, "49df8c84d30ae4630a7e81c625463114");
}

TEST(IdHasher, EachPartCounts) {
  const std::set<std::string> ids{id_of(false, "ab", "c", 5, "t"), id_of(false, "a", "bc", 5, "t"),
                                  id_of(true, "ab", "c", 5, "t"),  id_of(false, "ab", "c", 6, "t"),
                                  id_of(false, "ab", "c", 5, "u"), id_of(false, "ab", "", 5, "ct")};
  EXPECT_EQ(ids.size(), 6U);
}

TEST(IdHasher, ASessionLastsItsSlot) {
  IdHasher hasher;
  std::string first, last, next, other;
  hasher.session_id("u", 1800, 1800, first);
  hasher.session_id("u", 3599, 1800, last);
  hasher.session_id("u", 3600, 1800, next);
  hasher.session_id("v", 1800, 1800, other);
  EXPECT_EQ(first, last);
  EXPECT_NE(first, next);
  EXPECT_NE(first, other);
}

}  // namespace
}  // namespace millrace
