#include "core/edit_distance.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(EditDistance, CountsLettersAddedLostReplacedAndSwapped) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("", "run"), 3u);
  EXPECT_EQ(edit_distance("run", ""), 3u);
  EXPECT_EQ(edit_distance("run", "run"), 0u);
  EXPECT_EQ(edit_distance("bufer", "buffer"), 1u);
  EXPECT_EQ(edit_distance("bufffer", "buffer"), 1u);
  EXPECT_EQ(edit_distance("bugfer", "buffer"), 1u);
  EXPECT_EQ(edit_distance("rnu", "run"), 1u);
  EXPECT_EQ(edit_distance("ulr", "url"), 1u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
}

}  // namespace
}  // namespace millrace
