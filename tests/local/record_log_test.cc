#include "local/record_log.h"

#include <gtest/gtest.h>

#include <fstream>
#include <vector>

#include "personalize_harness.h"

namespace millrace {
namespace {

std::vector<std::string> records_of(const std::filesystem::path& path) {
  std::vector<std::string> records;
  const auto log =
      RecordLog::open(path, [&](std::string_view record) { records.emplace_back(record); });
  EXPECT_TRUE(log);
  return records;
}

TEST(RecordLog, GivesBackWhatWasAppendedAcrossRestarts) {
  Folder folder;
  const auto path = folder.path / "log";
  const std::string large(700'000, 'x');
  {
    auto log = RecordLog::open(path, [](std::string_view) { FAIL(); });
    ASSERT_TRUE(log);
    ASSERT_TRUE(log->append("one"));
    ASSERT_TRUE(log->append(""));
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(log->append_later(large));
    ASSERT_TRUE(log->flush());
    ASSERT_TRUE(log->sync());
  }
  const auto records = records_of(path);
  ASSERT_EQ(records.size(), 12U);
  EXPECT_EQ(records[0], "one");
  EXPECT_EQ(records[1], "");
  EXPECT_EQ(records[11], large);
}

TEST(RecordLog, DropsATailThatACrashCutAnywhere) {
  Folder folder;
  const auto path = folder.path / "log";
  {
    auto log = RecordLog::open(path, [](std::string_view) {});
    ASSERT_TRUE(log->append("first"));
    ASSERT_TRUE(log->append("second"));
  }
  const auto whole = folder.read("log");
  for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) {
    folder.write("log", whole.substr(0, bytes));
    const auto records = records_of(path);
    EXPECT_EQ(records.size(), bytes < 13 ? 0U : 1U) << bytes;
    auto log = RecordLog::open(path, [](std::string_view) {});
    ASSERT_TRUE(log->append("third"));
    EXPECT_EQ(records_of(path).back(), "third") << bytes;
  }
}

TEST(RecordLog, DropsEverythingBehindAFlippedBit) {
  Folder folder;
  {
    auto log = RecordLog::open(folder.path / "log", [](std::string_view) {});
    ASSERT_TRUE(log->append("first"));
    ASSERT_TRUE(log->append("second"));
    ASSERT_TRUE(log->append("third"));
  }
  auto bytes = folder.read("log");
  bytes[13 + 8] = static_cast<char>(bytes[13 + 8] ^ 1);
  folder.write("log", bytes);
  EXPECT_EQ(records_of(folder.path / "log"), std::vector<std::string>{"first"});
}

TEST(ReplaceFile, ReplacesInOneStepAndLeavesNothingBeside) {
  Folder folder;
  ASSERT_TRUE(replace_file(folder.path / "f", "one"));
  ASSERT_TRUE(replace_file(folder.path / "f", "two"));
  EXPECT_EQ(folder.read("f"), "two");
  EXPECT_FALSE(std::filesystem::exists(folder.path / "f.new"));
  EXPECT_EQ(replace_file(folder.path / "none/f", "x").error().kind, ErrorKind::not_found);
  EXPECT_EQ(read_file(folder.path / "none").error().kind, ErrorKind::not_found);
}

}  // namespace
}  // namespace millrace
