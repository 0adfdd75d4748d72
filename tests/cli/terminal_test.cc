#include "cli/terminal.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(Terminal, GroupsDigits) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1,000");
  EXPECT_EQ(grouped(1234567), "1,234,567");
}

TEST(Terminal, BarsStayInsideTheirCells) {
  EXPECT_EQ(bar(5, 10, 4), "██░░");
  EXPECT_EQ(bar(50, 10, 2), "██");
  EXPECT_EQ(bar(1, 0, 2), "░░");
}

}  // namespace
}  // namespace millrace
