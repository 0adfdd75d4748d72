#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "ingest/file_source.h"
#include "tests/conformance/source_suite.h"
#include "tests/ingest/kinesis_world.h"

namespace millrace {
namespace {

class KinesisSourceWorld final : public SourceWorld {
 public:
  explicit KinesisSourceWorld(bool positions_in_a_file)
      : world_(2), in_a_file_(positions_in_a_file) {
    if (!in_a_file_) return;
    folder_ = std::filesystem::path(testing::TempDir()) / fmt::format("positions-{}", getpid());
    std::filesystem::remove_all(folder_);
    world_.positions_file = (folder_ / "leases.json").string();
  }
  ~KinesisSourceWorld() override {
    if (in_a_file_) std::filesystem::remove_all(folder_);
  }

  std::vector<std::string> partitions() const override {
    return {"shardId-000000000000", "shardId-000000000001"};
  }
  void append(const std::string& partition, const std::string& text) override {
    const std::string hash =
        partition.back() == '0' ? "0" : "340282366920938463463374607431768211455";
    ASSERT_EQ(world_.put("k", text, hash), partition);
  }
  Source& open(int member) override { return *world_.open(member).source; }
  void crash(int member) override { world_.crash(member); }
  void freeze(int member, bool frozen) override { world_.processes.at(member)->frozen = frozen; }
  bool frozen_members_expire() const override { return !in_a_file_; }
  void step() override { world_.step(20ms); }
  int steps_max() const override { return 1500; }  // 30 s: three times the lease's age

 private:
  KinesisWorld world_;
  const bool in_a_file_;
  std::filesystem::path folder_{};
};

class FileSourceWorld final : public SourceWorld {
 public:
  FileSourceWorld() {
    folder_ = std::filesystem::path(testing::TempDir()) / fmt::format("file-source-{}", getpid());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    path_ = (folder_ / "events.ndjson").string();
    std::ofstream{path_};
  }
  ~FileSourceWorld() override {
    members_.clear();
    std::filesystem::remove_all(folder_);
  }

  std::vector<std::string> partitions() const override { return {"0"}; }
  void append(const std::string&, const std::string& text) override {
    std::ofstream(path_, std::ios::app) << text << '\n';
  }
  Source& open(int member) override {
    crash(member);
    members_[member] = std::make_unique<Member>(objects_, path_, member);
    return members_[member]->source;
  }
  void crash(int member) override { members_.erase(member); }
  void freeze(int member, bool frozen) override { members_.at(member)->frozen = frozen; }
  void step() override {
    for (auto& [number, member] : members_) {
      if (!member->frozen) member->loop.advance(20ms);
    }
  }
  int steps_max() const override { return 1500; }

 private:
  struct Member {
    Member(ObjectStore& objects, const std::string& path, int number)
        : positions(objects, "file/"),
          source({path}, positions, fmt::format("member-{}", number), loop, log, metrics) {}
    ManualLoop loop{};
    Log log{};
    Metrics metrics{};
    ObjectPositionStore positions;
    FileSource source;
    bool frozen = false;
  };
  std::filesystem::path folder_{};
  std::string path_{};
  MemoryObjectStore objects_{};
  std::map<int, std::unique_ptr<Member>> members_{};
};

INSTANTIATE_TEST_SUITE_P(File, SourceSuite,
                         testing::Values(SourceWorldParam{
                             "OneFile", [] { return std::make_unique<FileSourceWorld>(); }}),
                         [](const auto& world) { return world.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Kinesis, SourceSuite,
    testing::Values(SourceWorldParam{"PositionsInAStore",
                                     [] { return std::make_unique<KinesisSourceWorld>(false); }},
                    SourceWorldParam{"PositionsInAFile",
                                     [] { return std::make_unique<KinesisSourceWorld>(true); }}),
    [](const auto& world) { return world.param.name; });

}  // namespace
}  // namespace millrace
