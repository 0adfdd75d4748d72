#include "aws/base64.h"

#include <gtest/gtest.h>

#include "core/rng.h"

namespace millrace {
namespace {

TEST(Base64, DecodesTheVectorsOfRfc4648) {
  const std::pair<const char*, const char*> rows[] = {{"", ""},
                                                      {"Zg==", "f"},
                                                      {"Zm8=", "fo"},
                                                      {"Zm9v", "foo"},
                                                      {"Zm9vYg==", "foob"},
                                                      {"Zm9vYmE=", "fooba"},
                                                      {"Zm9vYmFy", "foobar"}};
  for (const auto& [text, bytes] : rows) {
    std::string out = "before:";
    ASSERT_TRUE(append_base64_decoded(text, out).has_value()) << text;
    EXPECT_EQ(out, std::string("before:") + bytes);
    std::string encoded;
    append_base64(bytes, encoded);
    EXPECT_EQ(encoded, text);
  }
}

TEST(Base64, RefusesWhatIsNotCanonicalAndLeavesTheOutputAlone) {
  for (const char* text : {"Z", "Zg", "Zg=", "Zg===", "====", "=m9v", "Zm9v\n", "Zm-_",
                           "Zh==", "Zm9=", "Z=9v", "Zg==Zg==", "Zm9\xC3"}) {
    std::string out = "kept";
    EXPECT_FALSE(append_base64_decoded(text, out).has_value()) << text;
    EXPECT_EQ(out, "kept") << text;
  }
}

TEST(Base64, RoundTripsBytesOfAnyKindAndLength) {
  Rng rng(7);
  for (std::size_t bytes = 0; bytes < 200; ++bytes) {
    std::string in;
    for (std::size_t i = 0; i < bytes; ++i) in += static_cast<char>(rng.below(256));
    std::string text;
    append_base64(in, text);
    std::string out;
    ASSERT_EQ(append_base64_decoded(text, out), bytes);
    EXPECT_EQ(out, in);
  }
}

}  // namespace
}  // namespace millrace
