#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

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

INSTANTIATE_TEST_SUITE_P(
    Kinesis, SourceSuite,
    testing::Values(SourceWorldParam{"PositionsInAStore",
                                     [] { return std::make_unique<KinesisSourceWorld>(false); }},
                    SourceWorldParam{"PositionsInAFile",
                                     [] { return std::make_unique<KinesisSourceWorld>(true); }}),
    [](const auto& world) { return world.param.name; });

}  // namespace
}  // namespace millrace
