#include "sinks/dead_letters.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "lake/memory_object_store.h"
#include "tests/fakes/faulty_object_store.h"
#include "tests/fakes/manual_loop.h"

namespace millrace {
namespace {

DeadLettersOptions options() {
  return {.error_prefix =
              Prefix::parse("errors/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd/HH}/",
                            Prefix::Role::errors)
                  .value(),
          .compression = Compression::none,
          .log_name = "clicks"};
}

DeadLetter letter_at(std::int64_t offset, const std::string& partition = "3") {
  static std::string kept;
  kept = partition;
  return {.pipeline = "personalize",
          .partition = kept,
          .position = {Offset::of(offset)},
          .index = 2,
          .code = kRefusedByPersonalize,
          .reason = "says \"no\"",
          .raw = "{\"a\":1}",
          .arrived_ms = 1'700'000'000'123,
          .ended_ms = 1'700'000'001'000,
          .attempts = 4};
}

struct World {
  ManualLoop loop{};
  MemoryObjectStore memory{};
  FaultyObjectStore store{memory};
  Metrics metrics{};
  Log log{};

  std::vector<std::string> keys() {
    std::vector<std::string> keys;
    const auto page = memory.list("", "", 1000).value();
    for (const auto& object : page.objects) keys.push_back(object.key);
    return keys;
  }
};

TEST(DeadLetters, ALineHasFirehosesMembersAndOurKey) {
  std::string line;
  append_dead_letter(line, letter_at(7));
  EXPECT_EQ(line,
            R"({"attemptsMade":4,"arrivalTimestamp":1700000000123,"errorCode":"refused",)"
            R"("errorMessage":"says \"no\"","attemptEndingTimestamp":1700000001000,)"
            R"("rawData":"eyJhIjoxfQ==","pipeline":"personalize","partition":"3","position":"7",)"
            R"("index":2})"
            "\n");
  auto whole = letter_at(7);
  whole.index.reset();
  whole.arrived_ms = -1;
  whole.raw = std::string_view("\xff\x00", 2);
  line.clear();
  append_dead_letter(line, whole);
  const auto parsed = nlohmann::json::parse(line);
  EXPECT_FALSE(parsed.contains("index"));
  EXPECT_EQ(parsed.at("rawData"), "/wA=");
  EXPECT_EQ(parsed.at("arrivalTimestamp"), 0);
}

TEST(DeadLetters, CollectsForASecondAndSettlesOnceDurable) {
  World world;
  DeadLetters letters(world.loop, world.store, options(), 1, world.metrics, world.log);
  int done = 0;
  letters.add(letter_at(7), [&] { ++done; });
  letters.add(letter_at(9), [&] { ++done; });
  EXPECT_GT(letters.bytes_waiting(PartitionId{"3"}), 0u);
  world.loop.advance(999ms);
  EXPECT_EQ(done, 0);
  EXPECT_TRUE(world.keys().empty());
  world.loop.advance(1ms);
  EXPECT_EQ(done, 2);
  EXPECT_EQ(letters.bytes_waiting(), 0u);
  ASSERT_EQ(world.keys().size(), 1u);
  EXPECT_EQ(world.keys()[0].rfind("errors/processing-failed/2023/11/14/22/", 0), 0u)
      << world.keys()[0];
  const auto object = world.memory.get(world.keys()[0]).value().bytes;
  EXPECT_EQ(std::count(object.begin(), object.end(), '\n'), 2);
}

TEST(DeadLetters, WritesAtOnceWhenFullOrTold) {
  World world;
  auto small = options();
  small.bytes_max = 10;
  DeadLetters letters(world.loop, world.store, small, 1, world.metrics, world.log);
  letters.add(letter_at(7), [] {});
  world.loop.advance(0s);
  EXPECT_EQ(world.keys().size(), 1u);

  DeadLetters told(world.loop, world.store, options(), 1, world.metrics, world.log);
  told.add(letter_at(8), [] {});
  told.flush();
  world.loop.advance(0s);
  EXPECT_EQ(world.keys().size(), 2u);
}

TEST(DeadLetters, RepeatsForeverAndOtherPartitionsGoOn) {
  World world;
  world.store.decide([](const FaultyObjectStore::Call& call) {
    return call.key.find("-3-") != std::string::npos ? FaultyObjectStore::Fault::before
                                                     : FaultyObjectStore::Fault::none;
  });
  DeadLetters letters(world.loop, world.store, options(), 1, world.metrics, world.log);
  int done3 = 0;
  int done4 = 0;
  letters.add(letter_at(7, "3"), [&] { ++done3; });
  letters.add(letter_at(7, "4"), [&] { ++done4; });
  world.loop.advance(60s);
  EXPECT_EQ(done3, 0);
  EXPECT_EQ(done4, 1);
  ASSERT_EQ(world.keys().size(), 1u) << world.keys()[0];
  letters.add(letter_at(8, "3"), [&] { ++done3; });
  EXPECT_GT(letters.bytes_waiting(PartitionId{"3"}), 0u);
  EXPECT_EQ(letters.bytes_waiting(PartitionId{"4"}), 0u);
  world.loop.advance(600s);
  EXPECT_EQ(done3, 0);
  ASSERT_TRUE(letters.trouble());
  EXPECT_NE(letters.trouble()->message.find("no space left"), std::string::npos);
  world.store.decide({});
  world.loop.advance(30s);
  EXPECT_EQ(done3, 2);
  EXPECT_FALSE(letters.trouble());
}

TEST(DeadLetters, ALostReplyLeavesOneObject) {
  World world;
  world.store.decide([](const FaultyObjectStore::Call& call) {
    return call.number == 0 ? FaultyObjectStore::Fault::lost_reply : FaultyObjectStore::Fault::none;
  });
  DeadLetters letters(world.loop, world.store, options(), 1, world.metrics, world.log);
  int done = 0;
  letters.add(letter_at(7), [&] { ++done; });
  world.loop.advance(60s);
  EXPECT_EQ(done, 1);
  EXPECT_EQ(world.keys().size(), 1u);
}

}  // namespace
}  // namespace millrace
