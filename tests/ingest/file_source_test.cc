#include "ingest/file_source.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "lake/memory_object_store.h"
#include "tests/conformance/source_consumer.h"
#include "tests/fakes/manual_loop.h"

namespace millrace {
namespace {

class FileReading : public testing::Test {
 protected:
  void SetUp() override {
    path_ = (std::filesystem::path(testing::TempDir()) /
             fmt::format("file-{}-{}", getpid(),
                         testing::UnitTest::GetInstance()->current_test_info()->name()))
                .string();
    std::filesystem::remove(path_);
  }
  void TearDown() override { std::filesystem::remove(path_); }

  void append(std::string_view bytes) { std::ofstream(path_, std::ios::app) << bytes; }
  std::unique_ptr<FileSource> open(FileSourceLimits limits = {}) {
    return std::make_unique<FileSource>(FileOptions{path_}, positions_, "me", loop_, log_, metrics_,
                                        limits);
  }
  bool run(SourceConsumer& consumer, const std::function<bool()>& condition) {
    for (int i = 0; i < 500 && !condition(); ++i) {
      loop_.advance(20ms);
      consumer.poll();
    }
    return condition();
  }

  std::string path_{};
  MemoryObjectStore objects_{};
  ObjectPositionStore positions_{objects_, "f/"};
  ManualLoop loop_{};
  Log log_{};
  Metrics metrics_{};
};

TEST_F(FileReading, AMissingFileIsWaitedFor) {
  const auto source = open();
  SourceConsumer consumer(*source);
  EXPECT_FALSE(run(consumer, [&] { return consumer.count() > 0; }));
  ASSERT_TRUE(source->status().trouble);
  EXPECT_NE(source->status().trouble->message.find(path_), std::string::npos);
  append("a\n");
  EXPECT_TRUE(run(consumer, [&] { return consumer.count() == 1; }));
  EXPECT_FALSE(source->status().trouble);
}

TEST_F(FileReading, ALastLineWithoutItsEndWaitsUntilTheFileIsQuiet) {
  append("one\ntw");
  const auto source = open();
  SourceConsumer consumer(*source);
  ASSERT_TRUE(run(consumer, [&] { return consumer.count() == 1; }));
  EXPECT_FALSE(source->at_end());
  append("o\nthree");
  ASSERT_TRUE(run(consumer, [&] { return consumer.count() == 3; }));
  EXPECT_EQ(consumer.order, (std::vector<std::string>{"one", "two", "three"}));
  EXPECT_TRUE(source->at_end());
}

TEST_F(FileReading, LongLinesAreCutAndTheNextOneIsWhole) {
  append(std::string(100'000, 'x') + "\nshort\n" + std::string(900, 'y') + "\n\nlast\n");
  FileSourceLimits limits;
  limits.read_bytes = 64;
  limits.line_bytes_max = 1000;
  const auto source = open(limits);
  SourceConsumer consumer(*source);
  ASSERT_TRUE(run(consumer, [&] { return source->at_end(); }));
  EXPECT_EQ(consumer.order, (std::vector<std::string>{std::string(1000, 'x'), "short",
                                                      std::string(900, 'y'), "", "last"}));
  EXPECT_EQ(metrics_.value("millrace_file_long_lines_total"), 1);
}

TEST_F(FileReading, AFileShorterThanItsPositionIsStuck) {
  append("one\ntwo\n");
  {
    const auto source = open();
    SourceConsumer consumer(*source);
    ASSERT_TRUE(run(consumer, [&] { return consumer.count() == 2; }));
    consumer.commit("0");
    ASSERT_TRUE(run(consumer, [&] { return consumer.all_committed(); }));
  }
  std::filesystem::remove(path_);
  append("new\n");
  const auto source = open();
  SourceConsumer consumer(*source);
  ASSERT_TRUE(run(consumer, [&] { return consumer.stuck.has_value(); }));
  EXPECT_EQ(consumer.stuck->kind, ErrorKind::refused);
  EXPECT_EQ(consumer.count(), 0u);
}

}  // namespace
}  // namespace millrace
