// README's table of keys and docs/millrace.schema.json are printed from the table that validates;
// these tests fail when somebody changed that table and not the documents.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>

#include "config/config.h"

namespace millrace {
namespace {

constexpr std::string_view kBegin = "<!-- keys begin: millrace template reference -->\n";
constexpr std::string_view kEnd = "<!-- keys end -->";

constexpr const char* kRefreshTable =
    "README.md's table of keys is not current. After ./dev build:\n"
    "  build/release/millrace template reference | sed -i "
    "-e '/<!-- keys begin/,/<!-- keys end/{//!d}' -e '/<!-- keys begin/r /dev/stdin' README.md\n";
constexpr const char* kRefreshSchema =
    "docs/millrace.schema.json is not current. After ./dev build:\n"
    "  build/release/millrace template schema > docs/millrace.schema.json\n";

std::string file_text(const std::string& path) {
  std::ifstream file(std::string(MILLRACE_SOURCE_DIR) + "/" + path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// Compared as a whole: EXPECT_EQ would print both.
TEST(Documents, TheTableOfKeysIsCurrent) {
  const std::string readme = file_text("README.md");
  const std::size_t begin = readme.find(kBegin);
  ASSERT_NE(begin, std::string::npos) << "README.md has lost its marker " << kBegin;
  const std::size_t from = begin + kBegin.size();
  const std::size_t end = readme.find(kEnd, from);
  ASSERT_NE(end, std::string::npos) << "README.md has lost its marker " << kEnd;
  EXPECT_TRUE(readme.substr(from, end - from) == config_reference_markdown()) << kRefreshTable;
}

TEST(Documents, TheSchemaForEditorsIsCurrent) {
  EXPECT_TRUE(file_text("docs/millrace.schema.json") == config_json_schema()) << kRefreshSchema;
}

}  // namespace
}  // namespace millrace
