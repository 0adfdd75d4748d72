#include "events/utf8.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/events/shared_data.h"

namespace millrace {
namespace {

TEST(Utf8, FindsWhereItBreaks) {
  EXPECT_EQ(first_invalid_utf8("plain"), std::nullopt);
  EXPECT_EQ(first_invalid_utf8(std::string_view("a\0b", 3)), std::nullopt);
  EXPECT_EQ(first_invalid_utf8("ab\xC0\x80"), 2U) << "overlong";
  EXPECT_EQ(first_invalid_utf8("a\xED\xA0\x80"), 1U) << "surrogate";
  EXPECT_EQ(first_invalid_utf8("\xF4\x90\x80\x80"), 0U) << "beyond U+10FFFF";
  EXPECT_EQ(first_invalid_utf8("x\xF0\x9F\x98"), 1U) << "cut";
  EXPECT_EQ(first_invalid_utf8("\xEF\xBF\xBF"), std::nullopt) << "a noncharacter is a character";
}

TEST(Utf8, CountsAndWritesCodePoints) {
  std::string text;
  for (const std::uint32_t code_point : {0x24U, 0xA2U, 0x20ACU, 0x1F600U}) {
    append_utf8(code_point, text);
  }
  EXPECT_EQ(text, "$\xC2\xA2\xE2\x82\xAC\xF0\x9F\x98\x80");
  EXPECT_EQ(code_points(text), 4U);
}

TEST(Utf8, TakesLatin1) {
  std::string text;
  append_latin1("caf\xE9 \xFF", text);
  EXPECT_EQ(text, "caf\xC3\xA9 \xC3\xBF");
}

TEST(Utf8, AgreesWithTheVectors) {
  SKIP_WITHOUT_SHARED_DATA();
  std::istringstream lines(read_file(shared_data_path("vectors/utf8/utf8.jsonl")));
  std::size_t count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const auto want = nlohmann::json::parse(line);
    const auto hex = want["bytes_hex"].get<std::string>();
    std::string bytes;
    for (std::size_t i = 0; i < hex.size(); i += 2) {
      bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
    }
    const auto bad = first_invalid_utf8(bytes);
    EXPECT_EQ(!bad, want["valid"].get<bool>()) << line;
    if (bad) {
      EXPECT_EQ(*bad, want["first_bad_offset"].get<std::size_t>()) << line;
    } else {
      EXPECT_EQ(code_points(bytes), want["code_points"].get<std::size_t>()) << line;
    }
  }
  EXPECT_EQ(count, 102U);
}

}  // namespace
}  // namespace millrace
