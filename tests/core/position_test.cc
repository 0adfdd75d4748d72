#include "core/position.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(Offset, ComparesAsNumbersNotAsText) {
  EXPECT_LT(Offset{"999900"}, Offset{"1000000"});
  EXPECT_LT(Offset{}, Offset{"0"});
  EXPECT_LT(Offset{std::string(128, '9')}, Offset{"1" + std::string(128, '0')});
  EXPECT_EQ(Offset::of(42), Offset{"42"});
}

TEST(Offset, KnowsItsOwnForm) {
  EXPECT_TRUE(Offset::valid("0"));
  EXPECT_TRUE(Offset::valid(std::string(129, '9')));
  EXPECT_FALSE(Offset::valid(std::string(130, '9')));
  for (const char* bad : {"", "01", "-1", "1a", " 1"}) EXPECT_FALSE(Offset::valid(bad)) << bad;
}

TEST(Position, TextRoundTrips) {
  for (const Position& position :
       {Position{Offset{"7"}, 0},
        Position{Offset{"49590338271490256608559692538361571095921575989136588898"}, 12}}) {
    Position read;
    ASSERT_TRUE(parse_position(position.text(), read)) << position.text();
    EXPECT_EQ(read, position);
  }
}

TEST(Position, RefusesOtherText) {
  Position untouched{Offset{"5"}, 1};
  for (const char* bad : {"", ".", "5.", "5.0", "5.01", "5.-1", "x", "5.4294967296", "05"}) {
    EXPECT_FALSE(parse_position(bad, untouched)) << bad;
  }
  EXPECT_EQ(untouched, (Position{Offset{"5"}, 1}));
}

TEST(Position, OrdersByOffsetThenSub) {
  EXPECT_LT((Position{Offset{"9"}, 5}), (Position{Offset{"10"}, 0}));
  EXPECT_LT((Position{Offset{"9"}, 5}), (Position{Offset{"9"}, 6}));
}

}  // namespace
}  // namespace millrace
