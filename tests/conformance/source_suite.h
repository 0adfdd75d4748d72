// What every Source promises (ingest/source.h), as one suite. A log and its world come from a
// factory, so that a real broker, an embedded service, a file and a simulated log all run it.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ingest/source.h"
#include "tests/conformance/source_consumer.h"

namespace millrace {

/// A log with partitions, and members of one group that read it. Members are numbered from 0; each
/// is like a process of its own.
class SourceWorld {
 public:
  virtual ~SourceWorld() = default;

  [[nodiscard]] virtual std::vector<std::string> partitions() const = 0;
  virtual void append(const std::string& partition, const std::string& text) = 0;

  /// Opens the member anew; its earlier self must be gone. The source lives until crash().
  virtual Source& open(int member) = 0;
  /// The member is gone without a word: kill -9.
  virtual void crash(int member) = 0;
  /// The member stands still (SIGSTOP) or goes on.
  virtual void freeze(int member, bool frozen) = 0;
  /// Whether a second member can take over from one that is frozen (not where a lock is held).
  [[nodiscard]] virtual bool frozen_members_expire() const { return true; }

  /// Lets a little time pass for everybody who is not frozen.
  virtual void step() = 0;
  /// How many steps anything here may take, take-over after a freeze included.
  [[nodiscard]] virtual int steps_max() const = 0;
};

using SourceWorldFactory = std::function<std::unique_ptr<SourceWorld>()>;
struct SourceWorldParam {
  std::string name{};
  SourceWorldFactory make{};
};

class SourceSuite : public testing::TestWithParam<SourceWorldParam> {
 protected:
  void SetUp() override {
    world_ = GetParam().make();
    ASSERT_GE(world_->partitions().size(), 1u);
    first_ = world_->partitions().front();
  }

  /// Runs until the condition holds, polling these consumers all along.
  bool run(const std::vector<SourceConsumer*>& consumers, const std::function<bool()>& condition) {
    for (int i = 0; i < world_->steps_max(); ++i) {
      if (condition()) return true;
      world_->step();
      for (SourceConsumer* consumer : consumers) consumer->poll();
    }
    return condition();
  }
  void run_steps(SourceConsumer& consumer, int steps, std::size_t records_max = 1000) {
    for (int i = 0; i < steps; ++i) {
      world_->step();
      consumer.poll(records_max);
    }
  }
  void append(int from, int to) {
    for (int i = from; i < to; ++i) world_->append(first_, "r" + std::to_string(i));
  }
  static std::vector<std::string> texts(int from, int to) {
    std::vector<std::string> out;
    for (int i = from; i < to; ++i) out.push_back("r" + std::to_string(i));
    return out;
  }

  std::unique_ptr<SourceWorld> world_{};
  std::string first_{};
};

TEST_P(SourceSuite, HandsOutEveryPartitionInItsOrderAndThenTheEnd) {
  for (const std::string& partition : world_->partitions()) {
    for (int i = 0; i < 20; ++i) world_->append(partition, partition + "/" + std::to_string(i));
  }
  Source& source = world_->open(0);
  SourceConsumer consumer(source);
  EXPECT_FALSE(source.at_end());
  ASSERT_TRUE(run({&consumer}, [&] { return source.at_end(); }));
  for (const std::string& partition : world_->partitions()) {
    ASSERT_EQ(consumer.texts[partition].size(), 20u);
    for (int i = 0; i < 20; ++i) {
      EXPECT_EQ(consumer.texts[partition][static_cast<std::size_t>(i)],
                partition + "/" + std::to_string(i));
    }
    EXPECT_GE(consumer.owned.at(partition).at_end, 1);
  }
  append(0, 3);
  ASSERT_TRUE(run({&consumer}, [&] { return consumer.texts[first_].size() == 23; }));
  EXPECT_TRUE(run({&consumer}, [&] { return consumer.owned.at(first_).at_end >= 2; }));
}

TEST_P(SourceSuite, NothingFlowsBeforeStartWhilePausedOrWithoutRoom) {
  append(0, 10);
  Source& source = world_->open(0);
  SourceConsumer consumer(source);
  consumer.start_at_once = false;
  ASSERT_TRUE(run({&consumer}, [&] { return consumer.owned.contains(first_); }));
  run_steps(consumer, 50);
  EXPECT_EQ(consumer.count(), 0u);
  source.pause({first_}, true);
  consumer.start(first_);
  source.pause({first_}, true);
  run_steps(consumer, 50);
  EXPECT_EQ(consumer.count(), 0u);
  source.pause({first_}, false);
  run_steps(consumer, 50, 0);
  EXPECT_EQ(consumer.count(), 0u);
  ASSERT_TRUE(run({&consumer}, [&] { return consumer.count() == 10; }));
  EXPECT_EQ(consumer.texts[first_], texts(0, 10));
}

TEST_P(SourceSuite, AnAnchorWithItsNoteIsCommittedBeforeTheFirstRead) {
  append(0, 2);
  Source& source = world_->open(0);
  SourceConsumer consumer(source);
  consumer.start_at_once = false;
  ASSERT_TRUE(run({&consumer}, [&] { return consumer.owned.contains(first_); }));
  std::optional<Status> answer;
  consumer.commit(first_, "anchor", &answer);
  EXPECT_FALSE(answer) << "answered inside commit()";
  ASSERT_TRUE(run({&consumer}, [&] { return answer.has_value(); }));
  ASSERT_TRUE(*answer) << answer->error().message;
  world_->crash(0);

  Source& next = world_->open(0);
  SourceConsumer successor(next);
  ASSERT_TRUE(run({&successor}, [&] { return successor.owned.contains(first_); }));
  ASSERT_TRUE(successor.owned[first_].committed);
  EXPECT_EQ(successor.owned[first_].committed->note, "anchor");
  EXPECT_TRUE(run({&successor}, [&] { return successor.texts[first_] == texts(0, 2); }));
}

TEST_P(SourceSuite, AKillRepeatsNothingCommittedAndLosesNothing) {
  append(0, 10);
  {
    SourceConsumer consumer(world_->open(0));
    ASSERT_TRUE(run({&consumer}, [&] { return consumer.count() == 10; }));
    std::optional<Status> answer;
    consumer.commit(first_, std::string("n\"\\\n~", 5), &answer);
    ASSERT_TRUE(run({&consumer}, [&] { return answer.has_value(); }));
    ASSERT_TRUE(*answer);
    append(10, 15);
    ASSERT_TRUE(run({&consumer}, [&] { return consumer.count() == 15; }));
  }
  world_->crash(0);
  append(15, 20);
  SourceConsumer successor(world_->open(0));
  ASSERT_TRUE(run({&successor}, [&] { return successor.count() == 10; }));
  EXPECT_EQ(successor.texts[first_], texts(10, 20));
  EXPECT_EQ(successor.owned[first_].committed->note, std::string("n\"\\\n~", 5));
}

TEST_P(SourceSuite, LeavesAfterEveryPartitionIsReleasedAndTheSuccessorGoesOn) {
  append(0, 5);
  {
    Source& source = world_->open(0);
    SourceConsumer consumer(source);
    ASSERT_TRUE(run({&consumer}, [&] { return consumer.count() == 5; }));
    consumer.release_at_once = false;
    source.close();
    ASSERT_TRUE(run({&consumer}, [&] { return consumer.owned[first_].leaving; }));
    run_steps(consumer, 20);
    EXPECT_FALSE(source.closed()) << "closed before the release";
    for (auto& [partition, owned] : consumer.owned) {
      std::optional<Status> answer;
      consumer.commit(partition, "", &answer);
      ASSERT_TRUE(run({&consumer}, [&] { return answer.has_value(); }));
      ASSERT_TRUE(*answer) << answer->error().message;
      source.release({partition}, owned.tenure);
    }
    ASSERT_TRUE(run({}, [&] { return source.closed(); }));
  }
  world_->crash(0);
  append(5, 8);
  SourceConsumer successor(world_->open(1));
  ASSERT_TRUE(run({&successor}, [&] { return successor.count() == 3; }));
  EXPECT_EQ(successor.texts[first_], texts(5, 8));
}

TEST_P(SourceSuite, AFrozenMemberThatWakesUpCannotCommit) {
  append(0, 5);
  Source& frozen_source = world_->open(0);
  SourceConsumer frozen(frozen_source);
  ASSERT_TRUE(run({&frozen}, [&] { return frozen.count() == 5; }));
  world_->freeze(0, true);
  SourceConsumer successor(world_->open(1));
  if (!world_->frozen_members_expire()) {
    EXPECT_FALSE(run({&successor}, [&] { return !successor.owned.empty(); }));
    world_->crash(0);
    ASSERT_TRUE(run({&successor}, [&] { return successor.count() == 5; }));
    return;
  }
  ASSERT_TRUE(run({&successor}, [&] { return successor.count() == 5; }));
  std::optional<Status> good;
  successor.commit(first_, "mine", &good);
  ASSERT_TRUE(run({&successor}, [&] { return good.has_value(); }));
  ASSERT_TRUE(*good) << good->error().message;

  std::optional<Status> bad;
  frozen.commit(first_, "zombie", &bad);
  world_->freeze(0, false);
  ASSERT_TRUE(run({&frozen, &successor}, [&] { return bad.has_value(); }));
  ASSERT_FALSE(*bad);
  EXPECT_EQ(bad->error().kind, ErrorKind::conflict);
  EXPECT_TRUE(run({&frozen, &successor}, [&] { return !frozen.lost.empty(); }));
  world_->crash(0);
  world_->crash(1);
  SourceConsumer third(world_->open(0));
  ASSERT_TRUE(run({&third}, [&] { return third.owned.contains(first_); }));
  EXPECT_EQ(third.owned[first_].committed->note, "mine");
}

TEST_P(SourceSuite, ACommitOfATenureThatIsOverIsAConflict) {
  append(0, 1);
  Source& source = world_->open(0);
  SourceConsumer consumer(source);
  ASSERT_TRUE(run({&consumer}, [&] { return consumer.count() == 1; }));
  std::optional<Status> answer;
  source.commit({first_}, Tenure{999'999}, consumer.owned[first_].next, "",
                [&](Status status) { answer = status; });
  EXPECT_FALSE(answer);
  ASSERT_TRUE(run({&consumer}, [&] { return answer.has_value(); }));
  ASSERT_FALSE(*answer);
  EXPECT_EQ(answer->error().kind, ErrorKind::conflict);
}

}  // namespace millrace
