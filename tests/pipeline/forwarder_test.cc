#include "pipeline/forwarder.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "aws/base64.h"
#include "lake/memory_object_store.h"
#include "pipeline/forward_note.h"
#include "tests/fakes/fake_source.h"
#include "tests/fakes/faulty_object_store.h"
#include "tests/fakes/manual_loop.h"
#include "tests/fakes/strict_put_events.h"

namespace millrace {
namespace {

std::string event_text(const std::string& user, const std::string& item,
                       std::int64_t time = 1'795'000'000) {
  return fmt::format(
      R"({{"user_id":"{}","session_id":"s","itemId":"{}","sentAt":{},"eventType":"view","eventId":"{}:{}"}})",
      user, item, time, user, item);
}

ForwarderOptions options_of_test() {
  ForwarderOptions options{
      .dead_letters = {
          .error_prefix =
              Prefix::parse("errors/!{firehose:error-output-type}/", Prefix::Role::errors).value(),
          .compression = Compression::none,
          .log_name = "events"}};
  options.sink.personalize.tracking_id = "tracker";
  return options;
}

/// What outlives the program, and the program that runs in it now.
struct World {
  ManualLoop manual{};
  StrictPutEvents server{};
  FlightLoop loop{manual, server};
  FakeLog log{};
  MemoryObjectStore memory{};
  FaultyObjectStore store{memory};
  Metrics metrics{};
  Log quiet{};
  ForwarderOptions options = options_of_test();
  std::unique_ptr<FakeSource> source{};
  std::unique_ptr<Forwarder> forwarder{};
  std::optional<Status> ended{};

  void start(const std::vector<std::string>& partitions) {
    ended.reset();
    source = std::make_unique<FakeSource>(loop, log);
    forwarder = std::make_unique<Forwarder>(
        loop, *source,
        [this](const PutEventsRequest& request) { return server.put_events(request); }, store,
        options, 11, metrics, quiet);
    for (const auto& partition : partitions) source->assign(partition);
    forwarder->start([this](Status status) { ended = std::move(status); });
  }
  void crash() {
    forwarder.reset();
    source.reset();
    server.in_flight.clear();
  }
  void run(Ticks duration) { manual.advance(duration); }

  Books books(const std::string& partition) {
    return parse_forward_note(log.note(partition)).value();
  }
  std::vector<nlohmann::json> dead_letters() {
    std::vector<nlohmann::json> lines;
    const auto page = memory.list("", "", 1000).value();
    for (const auto& object : page.objects) {
      std::istringstream text(memory.get(object.key).value().bytes);
      for (std::string line; std::getline(text, line);)
        lines.push_back(nlohmann::json::parse(line));
    }
    return lines;
  }
};

std::optional<StrictPutEvents::Failure> failure(ErrorKind kind) {
  return StrictPutEvents::Failure{{kind, "it fails", {}, {}}};
}

TEST(Forwarder, SendsWhatComesInAndCommitsItWithItsBooks) {
  World world;
  for (int i = 0; i < 25; ++i) world.log.append("0", event_text("ann", std::to_string(i)));
  world.log.append_tombstone("0");
  world.log.append("0", "  \n");
  world.start({"0"});
  world.run(2s);
  EXPECT_EQ(world.server.accepted_first.size(), 25u);
  EXPECT_EQ(world.server.sizes, (std::vector<std::size_t>{10, 10, 5}));
  EXPECT_EQ(world.log.committed("0"), 27);
  const Books expected{.records = 27, .empty = 2, .read = 25, .accepted = 25};
  EXPECT_EQ(world.books("0"), expected);
  EXPECT_EQ(world.forwarder->status().books, expected);
  EXPECT_EQ(world.forwarder->status().bytes_held, 0u);
}

TEST(Forwarder, CommitsAnAnchorBeforeTheFirstRead) {
  World world;
  world.log.append("0", event_text("ann", "1"));
  world.start({"0"});
  world.source->set_commit_delay(10s);
  world.run(5s);
  EXPECT_EQ(world.source->records_handed_out(), 0u);
  world.run(6s);
  EXPECT_EQ(world.log.partitions.at(PartitionId{"0"}).commits.at(0).position,
            (Position{Offset::of(0)}));
  EXPECT_EQ(world.log.partitions.at(PartitionId{"0"}).commits.at(0).note,
            "mf1 r=0 e=0 n=0 a=0 d=0 s=0 y=0");
  EXPECT_EQ(world.source->records_handed_out(), 1u);
}

TEST(Forwarder, AnEventWaitsForCompanyAsLongAsLingerAndHardlyLonger) {
  World world;
  world.options.sink.personalize.linger = 200ms;
  world.start({"0"});
  world.run(1s);
  world.log.append("0", event_text("ann", "1"));
  world.run(200ms);
  EXPECT_EQ(world.server.calls, 0u);
  world.run(10ms);
  EXPECT_EQ(world.server.calls, 1u);
}

TEST(Forwarder, KeepsTheOrderOfEachUserThroughFailures) {
  World world;
  Rng rng(5);
  world.server.decide = [&](const auto&) -> std::optional<StrictPutEvents::Failure> {
    if (rng.chance(0.3)) return failure(ErrorKind::transient);
    if (rng.chance(0.2)) {
      return StrictPutEvents::Failure{{ErrorKind::ambiguous, "lost reply", {}, {}}, true};
    }
    return std::nullopt;
  };
  std::map<std::string, std::string> expected;
  for (int i = 0; i < 3000; ++i) {
    const auto user = "u" + std::to_string(rng.below(30));
    const auto item = std::to_string(i);
    world.log.append(std::to_string(std::stoi(user.substr(1)) % 3), event_text(user, item));
    expected[user] += item + " ";
  }
  world.start({"0", "1", "2"});
  world.run(600s);
  for (const auto& [user, items] : expected) EXPECT_EQ(world.server.items_of(user), items) << user;
  std::int64_t committed = 0;
  for (const char* partition : {"0", "1", "2"}) committed += world.log.committed(partition);
  EXPECT_EQ(committed, 3000);
}

// One user's calls fail for ever; ten times what fits into memory passes in other users' names.
TEST(Forwarder, NoUserWaitsBehindAnothersRetry) {
  World world;
  world.options.pipeline.memory_bytes = 2u << 20;
  world.options.read_ahead_bytes = 256u << 10;
  world.server.decide = [&](const PutEventsRequest& request) {
    return request.user_id == "ann" ? failure(ErrorKind::transient) : std::nullopt;
  };
  world.log.append("0", event_text("ann", "1"));
  for (int i = 0; i < 20'000; ++i) {
    world.log.append(
        "0", event_text("u" + std::to_string(i % 1000), std::to_string(i) + std::string(200, 'x')));
  }
  world.start({"0"});
  world.run(60s);
  EXPECT_EQ(world.server.accepted_first.size(), 20'000u);
  EXPECT_EQ(world.log.committed("0"), 0);
  EXPECT_FALSE(world.forwarder->status().full);
  EXPECT_LT(world.forwarder->status().bytes_held, 10'000u);
  world.server.decide = {};
  world.run(60s);
  EXPECT_EQ(world.log.committed("0"), 20'001);
}

// With one user nobody can tell a bad event from a wrong tracker. A service waits; a run to the end
// ends, and says why; neither takes the events for poison.
TEST(Forwarder, ARunToTheEndDoesNotWaitForEverForAPerson) {
  for (const bool until_end : {false, true}) {
    World world;
    world.options.pipeline.until_end = until_end;
    world.server.tracking_id = "another";
    for (int i = 0; i < 5; ++i) world.log.append("0", event_text("ann", std::to_string(i)));
    world.start({"0"});
    world.run(59s);
    EXPECT_FALSE(world.ended);
    world.run(10min);
    EXPECT_EQ(world.log.committed("0"), 0);
    EXPECT_TRUE(world.dead_letters().empty());
    ASSERT_EQ(world.ended.has_value(), until_end);
    if (!until_end) continue;
    ASSERT_FALSE(*world.ended);
    EXPECT_EQ(world.ended->error().kind, ErrorKind::rejected);
    EXPECT_NE(world.ended->error().message.find("tracking_id"), std::string::npos);
    world.server.tracking_id = "tracker";
    world.start({"0"});
    world.run(30s);
    ASSERT_TRUE(world.ended);
    EXPECT_TRUE(*world.ended);
    EXPECT_EQ(world.server.items_of("ann"), "0 1 2 3 4 ");
  }
}

TEST(Forwarder, NothingBehindAnUnsettledRecordIsCommitted) {
  World world;
  bool down = true;
  world.server.decide = [&](const PutEventsRequest& request) {
    return down && request.user_id == "ann" ? failure(ErrorKind::denied) : std::nullopt;
  };
  world.log.append("0", event_text("bob", "1"));
  world.log.append("0", event_text("ann", "1"));
  world.log.append("0", event_text("cid", "1"));
  world.log.append("1", event_text("dan", "1"));
  world.start({"0", "1"});
  world.run(60s);
  EXPECT_EQ(world.log.committed("0"), 1);
  EXPECT_EQ(world.log.committed("1"), 1);
  const auto books = world.forwarder->status().books;
  EXPECT_EQ(books.read, 4u);
  EXPECT_EQ(books.accepted, 3u);
  EXPECT_EQ(books.waiting(), 1u);
  EXPECT_NE(world.forwarder->status().trouble, "");
  down = false;
  world.run(60s);
  EXPECT_EQ(world.log.committed("0"), 3);
}

TEST(Forwarder, WhatCannotBeDecodedAndWhatIsRefusedBecomesADeadLetterWithItsBytes) {
  World world;
  world.log.append("0", "not JSON", 1'700'000'000'000);
  world.log.append(
      "0",
      R"({"user_id":"ann","session_id":"s","event_list":[)"
      R"({"itemId":"1","sentAt":1795000000,"eventId":"a"},{"sentAt":1795000000},)"
      R"({"itemId":"poison","sentAt":1795000000,"eventId":"b"},{"itemId":"2","sentAt":1795000000,"eventId":"c"}]})");
  world.start({"0"});
  world.run(30s);
  EXPECT_EQ(world.server.items_of("ann"), "1 2 ");
  EXPECT_EQ(world.log.committed("0"), 2);
  const Books expected{.records = 2, .empty = 0, .read = 5, .accepted = 2, .dead_lettered = 3};
  EXPECT_EQ(world.books("0"), expected);

  std::map<std::string, nlohmann::json> letters;
  for (const auto& letter : world.dead_letters()) {
    EXPECT_EQ(letter.at("pipeline"), "personalize");
    EXPECT_EQ(letter.at("partition"), "0");
    letters[letter.at("position").get<std::string>() + "/" +
            (letter.contains("index") ? letter.at("index").dump() : "")] = letter;
  }
  ASSERT_EQ(letters.size(), 3u);
  EXPECT_EQ(letters.at("0/").at("errorCode"), "decode-failed");
  EXPECT_EQ(letters.at("0/").at("errorMessage"), "not JSON");
  EXPECT_EQ(letters.at("0/").at("arrivalTimestamp"), 1'700'000'000'000);
  EXPECT_EQ(letters.at("1/1").at("errorMessage"), "item_id missing");
  EXPECT_EQ(letters.at("1/2").at("errorCode"), "refused");
  EXPECT_EQ(letters.at("1/2").at("errorMessage"), "Value of poison is refused");
  for (const auto& [key, letter] : letters) {
    std::string raw;
    ASSERT_TRUE(append_base64_decoded(letter.at("rawData").get<std::string>(), raw));
    const auto index = static_cast<std::size_t>(key[0] - '0');
    EXPECT_EQ(raw, world.log.partitions.at(PartitionId{"0"}).records[index].text);
  }
}

TEST(Forwarder, AWrongTrackerMovesNothing) {
  World world;
  world.server.tracking_id = "another";
  for (int i = 0; i < 50; ++i) world.log.append("0", event_text("u" + std::to_string(i), "1"));
  world.start({"0"});
  world.run(600s);
  EXPECT_EQ(world.log.committed("0"), 0);
  EXPECT_TRUE(world.dead_letters().empty());
  EXPECT_NE(world.forwarder->status().trouble.find("tracking_id"), std::string::npos);
  world.forwarder->stop();
  world.run(60s);
  ASSERT_TRUE(world.ended);
  EXPECT_TRUE(world.ended->has_value());
  EXPECT_EQ(world.log.committed("0"), 0);
}

TEST(Forwarder, WithTheDeadLetterStoreDownOnlyThatPartitionWaits) {
  World world;
  world.store.decide([](const auto&) { return FaultyObjectStore::Fault::before; });
  world.options.dead_letter_bytes_per_partition_max = 10'000;
  for (int i = 0; i < 20'000; ++i) world.log.append("0", "not JSON");
  world.log.append("1", event_text("ann", "1"));
  world.start({"0", "1"});
  world.run(60s);
  EXPECT_EQ(world.log.committed("0"), 0);
  EXPECT_EQ(world.log.committed("1"), 1);
  EXPECT_TRUE(world.source->paused("0"));
  EXPECT_FALSE(world.source->paused("1"));
  EXPECT_LE(world.source->records_handed_out(), 2001u);
  EXPECT_NE(world.forwarder->status().trouble.find("no space left"), std::string::npos);
  world.log.append("1", event_text("ann", "2"));
  world.run(10s);
  EXPECT_EQ(world.log.committed("1"), 2);
  world.store.decide({});
  world.run(120s);
  EXPECT_EQ(world.log.committed("0"), 20'000);
  EXPECT_EQ(world.dead_letters().size(), 20'000u);
}

TEST(Forwarder, AStalledServiceStopsTheReadingAtTheMemoryBound) {
  World world;
  world.options.pipeline.memory_bytes = 1 << 20;
  world.options.read_ahead_bytes = 128 << 10;
  world.options.pipeline.poll_records_max = 100;
  for (int i = 0; i < 20'000; ++i) {
    world.log.append("0", event_text("u" + std::to_string(i % 5000), std::to_string(i)));
  }
  world.loop.stalled = true;
  world.start({"0"});
  world.run(60s);
  const auto status = world.forwarder->status();
  EXPECT_TRUE(status.full);
  EXPECT_LT(status.bytes_held, 1u << 20);
  EXPECT_GT(status.bytes_held, 700u << 10);
  EXPECT_GT(world.source->polls_of_nothing(), 100u) << "the session stays alive";
  const auto handed_out = world.source->records_handed_out();
  world.run(60s);
  EXPECT_EQ(world.source->records_handed_out(), handed_out);
  world.loop.release();
  world.run(120s);
  EXPECT_EQ(world.log.committed("0"), 20'000);
  EXPECT_EQ(world.server.accepted_first.size(), 20'000u);
  EXPECT_EQ(world.forwarder->status().bytes_held, 0u);
}

TEST(Forwarder, RevokingWaitsForTheCallThenCommitsAndReleases) {
  World world;
  world.loop.call_time = 1s;
  world.log.append("0", event_text("ann", "1"));
  world.start({"0"});
  world.run(500ms);
  ASSERT_EQ(world.server.in_flight.size(), 1u);
  world.log.append("0", event_text("ann", "2"));  // never handed out
  world.source->revoke("0");
  world.run(100ms);
  EXPECT_TRUE(world.source->owns("0"));
  world.run(1s);
  EXPECT_FALSE(world.source->owns("0"));
  EXPECT_EQ(world.log.committed("0"), 1);
}

TEST(Forwarder, RevokingDoesNotWaitForEverAndLeavesTheRestUncommitted) {
  World world;
  world.server.decide = [&](const PutEventsRequest& request) {
    return request.user_id == "ann" ? failure(ErrorKind::transient) : std::nullopt;
  };
  world.log.append("0", event_text("bob", "1"));
  world.log.append("0", event_text("ann", "1"));
  world.log.append("0", event_text("ann", "2"));
  world.log.append("1", event_text("cid", "1"));
  world.start({"0", "1"});
  world.run(1s);
  world.source->revoke("0");
  world.run(6s);
  EXPECT_FALSE(world.source->owns("0"));
  EXPECT_EQ(world.log.committed("0"), 1);
  const auto calls = world.server.calls;
  world.run(60s);
  EXPECT_EQ(world.server.calls, calls) << "nothing of it is tried any more";
  EXPECT_EQ(world.forwarder->status().bytes_held, 0u);
  // It comes back: the rest is read again.
  world.server.decide = {};
  world.source->assign("0");
  world.run(5s);
  EXPECT_EQ(world.log.committed("0"), 3);
  EXPECT_EQ(world.server.items_of("ann"), "1 2 ");
  EXPECT_EQ(world.books("0").accepted, 3u);
}

TEST(Forwarder, ALostPartitionIsDroppedAndNothingOfItIsCommitted) {
  World world;
  world.loop.call_time = 1s;
  world.log.append("0", event_text("ann", "1"));
  world.log.append("0", event_text("ann", "2"));
  world.start({"0"});
  world.run(500ms);
  ASSERT_EQ(world.server.in_flight.size(), 1u);
  world.source->lose("0");
  world.run(60s);
  EXPECT_EQ(world.log.committed("0"), 0) << "the anchor";
  EXPECT_TRUE(world.forwarder->status().partitions.empty());
  EXPECT_EQ(world.forwarder->status().bytes_held, 0u);
  // Revoked and assigned again at once: acknowledgements of the old tenure mean nothing now.
  world.source->assign("0");
  world.run(60s);
  EXPECT_EQ(world.log.committed("0"), 2);
}

TEST(Forwarder, ACommitThatConflictsDropsThePartition) {
  World world;
  world.log.append("0", event_text("ann", "1"));
  world.start({"0"});
  world.run(100ms);
  world.source->steal("0");
  world.run(60s);
  EXPECT_EQ(world.log.committed("0"), 0);
  EXPECT_TRUE(world.forwarder->status().partitions.empty());
}

TEST(Forwarder, ACommitThatFailsIsTriedAgainSlowlyAndSaysSo) {
  World world;
  world.log.append("0", event_text("ann", "1"));
  world.start({"0"});
  world.run(100ms);
  world.source->fail_commits(Error{ErrorKind::denied, "group authorization failed", {}, {}});
  world.run(60s);
  EXPECT_EQ(world.log.committed("0"), 0);
  EXPECT_NE(world.forwarder->status().partitions.at(0).waiting.find("authorization"),
            std::string::npos);
  world.source->fail_commits(std::nullopt);
  world.run(60s);
  EXPECT_EQ(world.log.committed("0"), 1);
}

TEST(Forwarder, StopSendsWhatWaitsAtOnceCommitsAndLeaves) {
  World world;
  world.options.sink.personalize.linger = 60s;
  for (int i = 0; i < 25; ++i) world.log.append("0", event_text("ann", std::to_string(i)));
  world.start({"0"});
  world.run(5s);
  EXPECT_EQ(world.server.accepted_first.size(), 20u);
  world.log.append("0", event_text("bob", "1"));
  world.run(1s);
  world.forwarder->stop();
  world.log.append("0", event_text("late", "1"));
  world.run(1s);
  ASSERT_TRUE(world.ended);
  EXPECT_TRUE(world.ended->has_value());
  EXPECT_TRUE(world.source->closed());
  EXPECT_EQ(world.log.committed("0"), 26);
}

TEST(Forwarder, StopEndsAtItsDeadlineAndCommitsTheSettledPrefix) {
  World world;
  world.server.decide = [&](const PutEventsRequest& request) {
    return request.user_id == "ann" ? failure(ErrorKind::transient) : std::nullopt;
  };
  world.log.append("0", event_text("bob", "1"));
  world.log.append("0", event_text("ann", "1"));
  world.log.append("0", event_text("bob", "2"));
  world.start({"0"});
  world.run(50ms);
  world.forwarder->stop();
  world.run(24s);
  EXPECT_FALSE(world.ended);
  world.run(3s);
  ASSERT_TRUE(world.ended);
  EXPECT_TRUE(world.ended->has_value());
  EXPECT_EQ(world.log.committed("0"), 1);
}

TEST(Forwarder, UntilEndStopsByItselfOnceAllIsSettled) {
  World world;
  world.options.pipeline.until_end = true;
  world.options.sink.personalize.linger = 60s;
  for (int i = 0; i < 25; ++i) world.log.append("0", event_text("ann", std::to_string(i)));
  world.log.append("1", event_text("ann", "x"));
  world.start({"0", "1"});
  world.run(10s);
  ASSERT_TRUE(world.ended);
  EXPECT_TRUE(world.ended->has_value());
  EXPECT_EQ(world.log.committed("0"), 25);
  EXPECT_EQ(world.log.committed("1"), 1);
}

TEST(Forwarder, TheBooksGoOnOverCrashesAtAnyMoment) {
  World world;
  for (int i = 0; i < 500; ++i) {
    world.log.append("0", i % 50 == 7
                              ? "not JSON"
                              : event_text("u" + std::to_string(i % 20), std::to_string(i)));
  }
  Rng rng(3);
  for (int lives = 0; lives < 200 && world.log.committed("0") < 500; ++lives) {
    world.start({"0"});
    world.run(std::chrono::milliseconds(rng.below(2500)));
    world.crash();
  }
  world.start({"0"});
  world.run(30s);
  EXPECT_EQ(world.log.committed("0"), 500);
  const Books expected{
      .records = 500, .empty = 0, .read = 500, .accepted = 490, .dead_lettered = 10};
  EXPECT_EQ(world.books("0"), expected);
  EXPECT_EQ(world.server.accepted_first.size(), 490u);
  std::set<std::string> letters;
  for (const auto& letter : world.dead_letters()) letters.insert(letter.at("position"));
  EXPECT_EQ(letters.size(), 10u);
  // Each committed position has the books of exactly its prefix.
  for (const auto& commit : world.log.partitions.at(PartitionId{"0"}).commits) {
    const auto books = parse_forward_note(commit.note).value();
    EXPECT_EQ(std::to_string(books.records), commit.position.offset.digits);
  }
}

TEST(Forwarder, APositionOfAnotherProgramIsRefusedUnlessAdopted) {
  World world;
  for (int i = 0; i < 3; ++i) world.log.append("0", event_text("ann", std::to_string(i)));
  world.log.partitions[PartitionId{"0"}].committed = Committed{{Offset::of(1)}, ""};
  world.start({"0"});
  world.run(60s);
  ASSERT_TRUE(world.ended);
  ASSERT_FALSE(world.ended->has_value());
  EXPECT_EQ(world.ended->error().kind, ErrorKind::refused);
  EXPECT_NE(world.ended->error().message.find("--adopt"), std::string::npos);
  EXPECT_EQ(world.log.committed("0"), 1);
  EXPECT_EQ(world.server.calls, 0u);
  world.crash();

  world.options.pipeline.adopt = Adopt::position;
  world.start({"0"});
  world.run(10s);
  EXPECT_EQ(world.server.items_of("ann"), "1 2 ");
  EXPECT_EQ(world.log.committed("0"), 3);
  EXPECT_EQ(world.books("0").records, 2u);
}

TEST(Forwarder, ARefusalOfTheSourceEndsTheProgramAndAnotherStuckPartitionDoesNot) {
  World world;
  world.log.append("0", event_text("ann", "1"));
  world.log.append("1", event_text("bob", "1"));
  world.start({"0", "1"});
  world.run(1s);
  world.source->stick("0", {ErrorKind::corrupt, "damaged batch at 7", {}, {}});
  world.run(1s);
  EXPECT_FALSE(world.ended);
  EXPECT_EQ(world.forwarder->status().partitions.at(0).doing, "stuck");
  world.log.append("1", event_text("bob", "2"));
  world.run(5s);
  EXPECT_EQ(world.log.committed("1"), 2);
  world.source->stick("0", {ErrorKind::refused, "topic was made anew", {}, {}});
  world.run(5s);
  ASSERT_TRUE(world.ended);
  EXPECT_EQ(world.ended->error().kind, ErrorKind::refused);
}

TEST(Forwarder, AnErrorOfTheWholeSourceEndsIt) {
  World world;
  world.start({"0"});
  world.run(1s);
  world.source->fail_poll({ErrorKind::invalid, "no such topic", {}, {}});
  world.run(1s);
  ASSERT_TRUE(world.ended);
  EXPECT_EQ(world.ended->error().message, "no such topic");
}

TEST(Forwarder, SkipsAndCountsWhatIsOlderThanItShouldBe) {
  World world;
  world.manual.set_wall_start(wall_time_of_ms(1'795'000'000'000));
  world.options.sink.personalize.skip_older_than = 60s;
  world.options.sink.personalize.linger = 200ms;
  world.log.append("0", event_text("ann", "old", 1'794'999'900));
  world.log.append("0", event_text("ann", "new", 1'795'000'000));
  world.start({"0"});
  world.run(5s);
  EXPECT_EQ(world.server.items_of("ann"), "new ");
  const Books expected{
      .records = 2, .empty = 0, .read = 2, .accepted = 1, .dead_lettered = 0, .skipped = 1};
  EXPECT_EQ(world.books("0"), expected);

  // What grows old while the service is away is skipped too.
  world.server.decide = [](const auto&) { return failure(ErrorKind::transient); };
  for (int i = 0; i < 25; ++i) {
    world.log.append("0", event_text("bob", std::to_string(i), 1'795'000'005));
  }
  world.run(120s);
  world.server.decide = {};
  world.run(60s);
  EXPECT_EQ(world.log.committed("0"), 27);
  EXPECT_EQ(world.books("0").skipped, 16u);
  EXPECT_EQ(world.books("0").accepted, 11u) << "the ten whose call was under way are tried on";
}

TEST(Forwarder, AnonymousEventsGoBySessionWithoutAUser) {
  World world;
  world.log.append("0", R"({"session_id":"s1","itemId":"a","sentAt":1795000000,"eventId":"x"})");
  world.start({"0"});
  world.run(5s);
  EXPECT_EQ(world.server.items_of("/s1"), "a ");
  EXPECT_EQ(world.books("0").anonymous, 1u);
}

}  // namespace
}  // namespace millrace
