#include "local/kinesis_segment.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace millrace {
namespace {

class Segment : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) /
              ("segment-" + std::to_string(getpid()) + "-" +
               testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(folder_);
    path_ = folder_ / "shard.log";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::vector<SegmentRecord> open(KinesisSegment& segment) const {
    std::vector<SegmentRecord> records;
    const Status opened =
        segment.open(path_, [&](const SegmentRecord& record) { records.push_back(record); });
    EXPECT_TRUE(opened) << opened.error().message;
    return records;
  }
  static void put(KinesisSegment& segment, std::uint64_t counter, const std::string& data) {
    std::string encoded;
    KinesisSegment::encode(encoded, counter, 1000 + static_cast<std::int64_t>(counter), "key",
                           data);
    ASSERT_TRUE(segment.append(encoded));
  }
  static std::string data_of(const KinesisSegment& segment, const SegmentRecord& record) {
    std::string bytes;
    EXPECT_TRUE(segment.read(record.at, record.key_bytes + record.data_bytes, bytes));
    return bytes.substr(record.key_bytes);
  }

  std::filesystem::path folder_{};
  std::filesystem::path path_{};
};

TEST_F(Segment, GivesBackWhatAnEarlierProcessAppended) {
  {
    KinesisSegment segment;
    EXPECT_TRUE(open(segment).empty());
    put(segment, 1, "one");
    put(segment, 2, "");
    put(segment, 3, std::string(100'000, 'x'));
  }
  KinesisSegment segment;
  const auto records = open(segment);
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[2].counter, 3u);
  EXPECT_EQ(records[2].arrived_ms, 1003);
  EXPECT_EQ(data_of(segment, records[0]), "one");
  EXPECT_EQ(data_of(segment, records[2]), std::string(100'000, 'x'));
}

TEST_F(Segment, CutsATornTailAtEveryLengthAndGoesOnWriting) {
  std::uintmax_t two_records = 0;
  {
    KinesisSegment segment;
    open(segment);
    put(segment, 1, "one");
    put(segment, 2, "two");
    two_records = std::filesystem::file_size(path_);
    put(segment, 3, "three");
  }
  const auto three_records = std::filesystem::file_size(path_);
  for (auto length = two_records; length < three_records; ++length) {
    std::filesystem::copy_file(path_, folder_ / "whole.log",
                               std::filesystem::copy_options::overwrite_existing);
    std::filesystem::resize_file(path_, length);
    {
      KinesisSegment segment;
      ASSERT_EQ(open(segment).size(), 2u) << length;
      put(segment, 3, "again");
    }
    KinesisSegment segment;
    const auto records = open(segment);
    ASSERT_EQ(records.size(), 3u) << length;
    ASSERT_EQ(data_of(segment, records[2]), "again");
    std::filesystem::rename(folder_ / "whole.log", path_);
  }
}

TEST_F(Segment, CutsFromARecordWhoseBytesChanged) {
  {
    KinesisSegment segment;
    open(segment);
    put(segment, 1, "one");
    put(segment, 2, "two");
  }
  std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-1, std::ios::end);
  file.put('X');
  file.close();
  KinesisSegment segment;
  EXPECT_EQ(open(segment).size(), 1u);
}

TEST_F(Segment, RefusesAFileThatIsNotOurs) {
  std::ofstream(path_) << "user_id,item_id\nann,42\n";
  KinesisSegment segment;
  const Status opened = segment.open(path_, [](const SegmentRecord&) { FAIL(); });
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().kind, ErrorKind::corrupt);
  EXPECT_EQ(std::filesystem::file_size(path_), 23u);
}

TEST_F(Segment, TrimmingFreesTheDiskAndKeepsThePlaces) {
  const std::string data(1u << 20, 'd');
  {
    KinesisSegment segment;
    open(segment);
    for (std::uint64_t counter = 1; counter <= 10; ++counter) put(segment, counter, data);
  }
  KinesisSegment segment;
  const auto records = open(segment);
  ASSERT_EQ(records.size(), 10u);
  ASSERT_TRUE(segment.trim(records[1].at));  // too little to be worth a copy
  EXPECT_GT(std::filesystem::file_size(path_), 10u << 20);
  ASSERT_TRUE(segment.trim(records[8].at));
  EXPECT_LT(std::filesystem::file_size(path_), 3u << 20);
  EXPECT_EQ(data_of(segment, records[9]), data);
  put(segment, 11, "after");
  KinesisSegment again;
  const auto kept = open(again);
  ASSERT_EQ(kept.size(), 3u);
  EXPECT_EQ(kept[0].at, records[8].at);
  EXPECT_EQ(data_of(again, kept[2]), "after");
}

}  // namespace
}  // namespace millrace
