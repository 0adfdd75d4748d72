#include "core/base64.h"

#include <gtest/gtest.h>

#include <string>

namespace millrace {
namespace {

TEST(Base64, WritesTheExamplesOfRfc4648) {
  const char* const examples[][2] = {{"", ""},
                                     {"f", "Zg=="},
                                     {"fo", "Zm8="},
                                     {"foo", "Zm9v"},
                                     {"foob", "Zm9vYg=="},
                                     {"fooba", "Zm9vYmE="},
                                     {"foobar", "Zm9vYmFy"}};
  for (const auto& [bytes, text] : examples) {
    EXPECT_EQ(base64_of(bytes), text);
    std::string back = "kept ";
    ASSERT_TRUE(append_from_base64(back, text));
    EXPECT_EQ(back, std::string("kept ") + bytes);
  }
}

TEST(Base64, RoundTripsEveryOctetAtEveryLength) {
  std::string bytes;
  for (int length = 0; length < 600; ++length) {
    std::string back;
    ASSERT_TRUE(append_from_base64(back, base64_of(bytes)));
    ASSERT_EQ(back, bytes);
    bytes.push_back(static_cast<char>(length * 7));
  }
}

TEST(Base64, RefusesWhatIsNotPaddedStandardTextAndLeavesTheTargetAlone) {
  for (const char* bad : {"Z", "Zg", "Zg=", "Zg==Zg==", "Zm9-", "Zm9_", "Zm 9",
                          "====", "Z===", "=m9v", "Zm9v\n", "Zm\xC3\xA9"}) {
    std::string target = "kept";
    EXPECT_FALSE(append_from_base64(target, bad)) << bad;
    EXPECT_EQ(target, "kept") << bad;
  }
}

}  // namespace
}  // namespace millrace
