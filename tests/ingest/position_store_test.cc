#include "ingest/position_store.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "ingest/kinesis_entry.h"
#include "lake/memory_object_store.h"

namespace millrace {
namespace {

/// Every put happens, and its reply may be lost.
class LosingStore final : public ObjectStore {
 public:
  Result<std::string> put(const std::string& key, std::string_view bytes,
                          const PutIf& condition) override {
    auto result = inner.put(key, bytes, condition);
    if (!lose) return result;
    return fail(ErrorKind::ambiguous, "the reply was lost");
  }
  Result<ObjectBytes> get(const std::string& key) override { return inner.get(key); }
  Result<ObjectInfo> head(const std::string& key) override { return inner.head(key); }
  Result<std::unique_ptr<ObjectReader>> open(const std::string& key) override {
    return inner.open(key);
  }
  Result<std::unique_ptr<ObjectWriter>> create(const std::string& key) override {
    return inner.create(key);
  }
  Result<ObjectPage> list(const std::string& prefix, const std::string& after,
                          std::size_t objects_max) override {
    return inner.list(prefix, after, objects_max);
  }
  Status remove(const std::string& key) override { return inner.remove(key); }
  std::string url_of(const std::string& key) const override { return inner.url_of(key); }

  MemoryObjectStore inner{};
  bool lose = false;
};

TEST(ObjectPositions, AnOwnerWritesAndItsSuccessorReadsAndFencesIt) {
  MemoryObjectStore objects;
  ObjectPositionStore store(objects, "k/");
  const auto first = store.take(*store.look(), "one");
  ASSERT_TRUE(first);
  const auto tag = store.write(*first, "shards/a", R"({"x":1})", "");
  ASSERT_TRUE(tag);

  const auto second = store.take(*store.look(), "two");
  ASSERT_TRUE(second);
  const auto entries = store.load(*second);
  ASSERT_TRUE(entries);
  ASSERT_EQ(entries->size(), 1u);
  EXPECT_EQ(entries->front().key, "shards/a");
  EXPECT_EQ(entries->front().value, R"({"x":1})");

  const auto late = store.write(*first, "shards/a", R"({"x":2})", *tag);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().kind, ErrorKind::conflict);
  EXPECT_EQ(store.renew(*first).error().kind, ErrorKind::conflict);
  EXPECT_EQ(store.release(*first).error().kind, ErrorKind::conflict);
  EXPECT_TRUE(store.write(*second, "shards/a", R"({"x":3})", entries->front().tag));
}

TEST(ObjectPositions, EqualBytesOfAnotherOwnerAreStillAnotherWrite) {
  MemoryObjectStore objects;
  ObjectPositionStore store(objects, "");
  const auto first = store.take(*store.look(), "one");
  const auto tag = store.write(*first, "a", "{}", "");
  const auto before = objects.get("a.json")->bytes;
  const auto second = store.take(*store.look(), "two");
  ASSERT_TRUE(store.load(*second));
  // A store whose tags are hashes (S3) tells them apart, too: the fence is in the bytes.
  EXPECT_NE(objects.get("a.json")->bytes, before);
  ASSERT_TRUE(tag);
}

TEST(ObjectPositions, ALostReplyIsRecognisedAsSuccess) {
  LosingStore objects;
  ObjectPositionStore store(objects, "");
  objects.lose = true;
  const auto lease = store.take(*store.look(), "one");
  ASSERT_TRUE(lease) << lease.error().message;
  const auto tag = store.write(*lease, "a", R"({"x":1})", "");
  ASSERT_TRUE(tag);
  const auto renewed = store.renew(*lease);
  ASSERT_TRUE(renewed);
  EXPECT_TRUE(store.write(*renewed, "a", R"({"x":2})", *tag));
  EXPECT_TRUE(store.release(*renewed));
  EXPECT_FALSE(store.look()->held);
}

TEST(ObjectPositions, DamagedFilesAreCorruptNotEmpty) {
  for (const char* bytes : {"", "{", "[]", R"({"fence":"x"})", "\xFF"}) {
    MemoryObjectStore objects;
    ObjectPositionStore store(objects, "");
    const auto lease = store.take(*store.look(), "one");
    ASSERT_TRUE(objects.put("shards/a.json", bytes, {}));
    EXPECT_EQ(store.load(*lease).error().kind, ErrorKind::corrupt) << bytes;
    ASSERT_TRUE(objects.put("lease.json", bytes, {}));
    EXPECT_EQ(store.look().error().kind, ErrorKind::corrupt) << bytes;
  }
}

TEST(LeaseWatchTest, OnlyALeaseThatDoesNotChangeExpires) {
  LeaseWatch watch(10s);
  PositionLease lease{.held = true, .owner = "other", .counter = 1};
  EXPECT_FALSE(watch.may_take(lease, "me", 0s));
  EXPECT_FALSE(watch.may_take(lease, "me", 9s));
  lease.counter = 2;
  EXPECT_FALSE(watch.may_take(lease, "me", 10s));
  EXPECT_FALSE(watch.may_take(lease, "me", 19s));
  EXPECT_TRUE(watch.may_take(lease, "me", 20s));
  EXPECT_TRUE(watch.may_take(lease, "other", 0s));
  lease.held = false;
  EXPECT_TRUE(watch.may_take(lease, "me", 0s));
}

class FilePositions : public testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        std::filesystem::path(testing::TempDir()) / ("file-positions-" + std::to_string(getpid()));
    std::filesystem::remove_all(folder_);
    path_ = (folder_ / "deep" / "leases.json").string();
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_{};
  std::string path_{};
};

TEST_F(FilePositions, SurviveTheirProcessAndAreHeldByOneAtATime) {
  {
    FilePositionStore store(path_);
    const auto lease = store.take(*store.look(), "one");
    ASSERT_TRUE(lease) << lease.error().message;
    const auto tag = store.write(*lease, "0", R"({"x":1})", "");
    ASSERT_TRUE(tag) << tag.error().message;
    EXPECT_FALSE(store.write(*lease, "0", R"({"x":2})", ""));  // it is there already
    EXPECT_TRUE(store.write(*lease, "0", R"({"x":2})", *tag));
    FilePositionStore other(path_);
    const auto refused = other.take(*other.look(), "two");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind, ErrorKind::conflict);
    EXPECT_NE(refused.error().message.find(std::to_string(getpid())), std::string::npos);
  }
  FilePositionStore store(path_);
  const auto lease = store.take(*store.look(), "three");
  ASSERT_TRUE(lease);
  const auto entries = store.load(*lease);
  ASSERT_TRUE(entries);
  ASSERT_EQ(entries->size(), 1u);
  EXPECT_EQ(entries->front().value, R"({"x":2})");
}

TEST_F(FilePositions, ADamagedFileIsCorruptAndKept) {
  std::filesystem::create_directories(folder_ / "deep");
  std::ofstream(path_) << "half of a";
  FilePositionStore store(path_);
  EXPECT_EQ(store.take(*store.look(), "one").error().kind, ErrorKind::corrupt);
  EXPECT_EQ(std::filesystem::file_size(path_), 9u);
}

TEST(KinesisEntries, RoundTripAndRefuseDamage) {
  KinesisShardEntry shard;
  shard.committed = Committed{{Offset{std::string(129, '9')}, 7}, "a \"note\"\n"};
  shard.start = {StartAt::Kind::latest, wall_time_of_ms(123)};
  shard.settled_arrived_ms = 5;
  shard.ended = true;
  const auto back = parse_kinesis_shard_entry(text_of(shard));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->committed->position, shard.committed->position);
  EXPECT_EQ(back->committed->note, shard.committed->note);
  EXPECT_EQ(back->start.kind, StartAt::Kind::latest);
  EXPECT_EQ(unix_ms(back->start.time), 123);
  EXPECT_EQ(back->settled_arrived_ms, 5);
  EXPECT_TRUE(back->ended);

  KinesisShardEntry anchored;
  anchored.committed = Committed{};  // a note at the very start
  EXPECT_TRUE(parse_kinesis_shard_entry(text_of(anchored))->committed);
  EXPECT_FALSE(parse_kinesis_shard_entry(text_of(KinesisShardEntry{}))->committed);
  for (const char* bad :
       {"", "{}", "[]", R"({"start":{"at":"nowhere"},"ended":false})",
        R"({"start":{"at":"trim_horizon"},"ended":false,"position":"1x","note":""})"}) {
    EXPECT_EQ(parse_kinesis_shard_entry(bad).error().kind, ErrorKind::corrupt) << bad;
  }
  EXPECT_FALSE(parse_kinesis_stream_entry("{}"));
}

}  // namespace
}  // namespace millrace
