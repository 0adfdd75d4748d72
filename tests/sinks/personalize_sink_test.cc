#include "sinks/personalize_sink.h"

#include <gtest/gtest.h>

#include <deque>

#include "tests/fakes/manual_loop.h"
#include "tests/fakes/strict_put_events.h"

namespace millrace {
namespace {

std::vector<Event> events_of(const std::string& user, const std::vector<std::string>& items) {
  std::vector<Event> events;
  for (const auto& item : items) {
    Event event;
    event.user_id = user;
    event.session_id = "s";
    event.item_id = item;
    event.event_type = "view";
    event.event_id = user + ":" + item;
    event.timestamp = 1'700'000'000;
    events.push_back(std::move(event));
  }
  return events;
}

Error error_of(ErrorKind kind, std::string message) { return {kind, std::move(message), {}, {}}; }

struct World {
  explicit World(PersonalizeSinkOptions options = {}) {
    options.personalize.tracking_id = "tracker";
    sink = std::make_unique<PersonalizeSink>(
        loop, [this](const PutEventsRequest& request) { return server.put_events(request); },
        options, 7, metrics, log);
    sink->on_room([this] { send(); });
  }

  void offer(const std::string& user, const std::vector<std::string>& items) {
    queue.emplace_back(events_of(user, items));
    send();
  }
  void send() {
    while (!queue.empty() && sink->can_start()) {
      const auto user = queue.front().at(0).user_id;
      auto events = std::move(queue.front());
      queue.pop_front();
      numbers[user] = sink->deliver(
          std::move(events), [this, user](auto given) { outcomes[user] = std::move(given); });
    }
  }
  /// "a" accepted, "r" refused, "-" not over.
  std::string verdict(const std::string& user) const {
    const auto found = outcomes.find(user);
    if (found == outcomes.end()) return "-";
    std::string text;
    for (const auto& outcome : found->second) text += outcome.accepted ? "a" : "r";
    return text;
  }

  ManualLoop manual{};
  StrictPutEvents server{};
  FlightLoop loop{manual, server};
  Metrics metrics{};
  std::vector<std::string> lines{};
  Log log{LogLevel::warn, Log::Format::text,
          [this](LogLevel, std::string_view line) { lines.emplace_back(line); }};
  std::unique_ptr<PersonalizeSink> sink{};
  std::deque<std::vector<Event>> queue{};
  std::map<std::string, std::uint64_t> numbers{};
  std::map<std::string, std::vector<EventOutcome>> outcomes{};
};

TEST(PersonalizeSink, DeliversAGroupInOneCall) {
  World world;
  world.offer("ann", {"1", "2", "3"});
  EXPECT_EQ(world.verdict("ann"), "-");
  world.manual.advance(30ms);
  EXPECT_EQ(world.verdict("ann"), "aaa");
  EXPECT_EQ(world.server.calls, 1u);
  EXPECT_EQ(world.server.items_of("ann"), "1 2 3 ");
  EXPECT_EQ(world.sink->state().events, 0u);
}

TEST(PersonalizeSink, IsolatesTheBadEventAmongTenAndDeliversItsNeighbours) {
  for (int bad = 0; bad < 10; ++bad) {
    World world;
    std::vector<std::string> items;
    std::string expected;
    std::string accepted;
    for (int i = 0; i < 10; ++i) {
      items.push_back(i == bad ? "poison" : std::to_string(i));
      expected += i == bad ? "r" : "a";
      if (i != bad) accepted += std::to_string(i) + " ";
    }
    world.offer("ann", items);
    world.manual.advance(10s);
    EXPECT_EQ(world.verdict("ann"), expected);
    EXPECT_EQ(world.server.items_of("ann"), accepted) << "in order";
    for (const auto& [id, times] : world.server.accepted_times) EXPECT_EQ(times, 1u) << id;
    const auto& outcome = world.outcomes.at("ann").at(static_cast<std::size_t>(bad));
    EXPECT_EQ(outcome.reason, "Value of poison is refused");
    EXPECT_GE(outcome.attempts, 2u);
  }
}

TEST(PersonalizeSink, AWholeGroupOfBadEventsIsRefusedOnceAnotherUserIsAccepted) {
  World world;
  world.server.judge = [](const Event& event) {
    return event.item_id[0] == 'p' ? std::string("bad") : std::string();
  };
  world.offer("ann", {"p1", "p2", "p3"});
  world.manual.advance(60s);
  EXPECT_EQ(world.verdict("ann"), "-") << "every call since start was refused with one message";
  EXPECT_NE(world.sink->state().trouble.find("tracking_id"), std::string::npos);
  world.offer("bob", {"1"});
  world.manual.advance(60s);
  EXPECT_EQ(world.verdict("ann"), "rrr");
  EXPECT_EQ(world.verdict("bob"), "a");
  EXPECT_EQ(world.sink->state().trouble, "");
}

TEST(PersonalizeSink, AWrongTrackerIsNotPoison) {
  World world;
  world.server.tracking_id = "another";
  for (int i = 0; i < 300; ++i) world.offer("u" + std::to_string(i), {"1", "2"});
  world.manual.advance(1h);
  EXPECT_TRUE(world.outcomes.empty());
  EXPECT_LT(world.server.calls, 1000u) << "it is asked slowly";
  const auto trouble = world.sink->state().trouble;
  EXPECT_NE(trouble.find("No event tracker was found"), std::string::npos) << trouble;
  EXPECT_NE(trouble.find("personalize.tracking_id"), std::string::npos) << trouble;
  world.server.tracking_id = "tracker";  // somebody made it
  world.manual.advance(60s);
  EXPECT_EQ(world.outcomes.size(), 300u);
  for (const auto& [user, outcomes] : world.outcomes) EXPECT_EQ(world.verdict(user), "aa") << user;
}

TEST(PersonalizeSink, ATrackerDeletedLaterIsNotPoisonEither) {
  World world;
  world.offer("first", {"1"});
  world.manual.advance(1s);
  world.server.tracking_id = "another";
  for (int i = 0; i < 500; ++i) world.offer("u" + std::to_string(i), {"1", "2"});
  world.manual.advance(1h);
  EXPECT_EQ(world.outcomes.size(), 1u);
  EXPECT_NE(world.sink->state().trouble.find("tracking_id"), std::string::npos);
  world.server.tracking_id = "tracker";
  world.manual.advance(120s);
  EXPECT_EQ(world.outcomes.size(), 501u);
  for (const auto& [user, outcomes] : world.outcomes) {
    EXPECT_EQ(world.verdict(user).find('r'), std::string::npos) << user;
  }
}

// A hundred refusals in a row, but all of one user: its app is broken, and nothing else.
TEST(PersonalizeSink, OneUsersBadEventsAreNeverAWrongSettingOnceOthersWereAccepted) {
  World world;
  world.server.judge = [](const Event& event) {
    return event.user_id == "bad" ? std::string("bad") : std::string();
  };
  world.offer("first", {"1"});
  world.manual.advance(1s);
  for (int i = 0; i < 300; ++i) {
    world.outcomes.erase("bad");
    world.offer("bad", {std::to_string(i)});
    world.manual.advance(10s);
    ASSERT_EQ(world.verdict("bad"), "r") << i;
    EXPECT_EQ(world.sink->state().trouble, "");
  }
}

TEST(PersonalizeSink, DeniedSettlesNothingAndSaysWhatIsMissing) {
  World world;
  bool allowed = false;
  world.server.decide = [&](const auto&) -> std::optional<StrictPutEvents::Failure> {
    if (allowed) return std::nullopt;
    return StrictPutEvents::Failure{error_of(ErrorKind::denied, "AccessDeniedException: no")};
  };
  world.offer("ann", {"1"});
  world.manual.advance(1h);
  EXPECT_EQ(world.verdict("ann"), "-");
  EXPECT_NE(world.sink->state().trouble.find("personalize:PutEvents"), std::string::npos);
  EXPECT_TRUE(world.sink->state().stuck);
  allowed = true;
  world.manual.advance(30s);
  EXPECT_EQ(world.verdict("ann"), "a");
  EXPECT_EQ(world.sink->state().trouble, "");
}

TEST(PersonalizeSink, ALostReplyIsRepeatedWithTheSameIdsAndTimes) {
  World world;
  int lost = 3;
  world.server.decide = [&](const auto&) -> std::optional<StrictPutEvents::Failure> {
    if (lost-- <= 0) return std::nullopt;
    return StrictPutEvents::Failure{error_of(ErrorKind::ambiguous, "no reply"), true};
  };
  world.offer("ann", {"1", "2"});
  world.manual.advance(60s);
  EXPECT_EQ(world.verdict("ann"), "aa");
  EXPECT_EQ(world.server.accepted_times.at("ann:1"), 4u);
  EXPECT_EQ(world.server.accepted_times.size(), 2u);
}

TEST(PersonalizeSink, NoUserWaitsBehindAnothersRetry) {
  World world;
  world.server.decide =
      [&](const PutEventsRequest& request) -> std::optional<StrictPutEvents::Failure> {
    if (request.user_id != "ann") return std::nullopt;
    return StrictPutEvents::Failure{error_of(ErrorKind::transient, "500")};
  };
  world.offer("ann", {"1"});
  for (int i = 0; i < 100; ++i) {
    world.offer("u" + std::to_string(i), {"1"});
    world.manual.advance(100ms);
    EXPECT_EQ(world.verdict("u" + std::to_string(i)), "a");
  }
  EXPECT_EQ(world.verdict("ann"), "-");
}

TEST(PersonalizeSink, AnOutageIsProbedSlowlyAndLeftAtOnce) {
  World world;
  bool down = true;
  world.server.decide = [&](const auto&) -> std::optional<StrictPutEvents::Failure> {
    if (!down) return std::nullopt;
    return StrictPutEvents::Failure{error_of(ErrorKind::transient, "503")};
  };
  for (int i = 0; i < 200; ++i) world.offer("u" + std::to_string(i), {"1"});
  world.manual.advance(1h);
  EXPECT_LT(world.server.calls, 1500u);
  EXPECT_TRUE(world.outcomes.empty());
  EXPECT_EQ(world.sink->state().trouble, "503");
  EXPECT_FALSE(world.sink->state().stuck);
  down = false;
  world.manual.advance(25s);
  EXPECT_EQ(world.outcomes.size(), 200u);
}

TEST(PersonalizeSink, CallsThatFailNowAndThenAreOneLineAMinute) {
  World world;
  int call = 0;
  world.server.decide = [&](const PutEventsRequest&) -> std::optional<StrictPutEvents::Failure> {
    if (++call % 2 == 1) return StrictPutEvents::Failure{error_of(ErrorKind::transient, "503")};
    return std::nullopt;
  };
  for (int i = 0; i < 50; ++i) {
    world.offer("user" + std::to_string(i), {"1"});
    world.manual.advance(1s);
  }
  EXPECT_GE(call, 100);
  EXPECT_EQ(world.lines.size(), 1U);
  world.manual.advance(20s);
  world.offer("ann", {"1"});
  world.manual.advance(1s);
  EXPECT_EQ(world.lines.size(), 2U);
}

TEST(PersonalizeSink, KeepsToItsCallsInFlightAndItsPace) {
  PersonalizeSinkOptions options;
  options.personalize.calls_in_flight_max = 4;
  World world(options);
  for (int i = 0; i < 40; ++i) world.offer("u" + std::to_string(i), {"1"});
  world.manual.advance(1s);
  EXPECT_EQ(world.server.in_flight_max, 4u);
  EXPECT_EQ(world.outcomes.size(), 40u);

  PersonalizeSinkOptions slow;
  slow.personalize.calls_per_second_max = 10;
  World paced(slow);
  for (int i = 0; i < 100; ++i) paced.offer("u" + std::to_string(i), {"1"});
  paced.manual.advance(5s);
  EXPECT_NEAR(static_cast<double>(paced.server.calls), 50, 2);
}

TEST(PersonalizeSink, ThrottlingLowersThePaceAndLosesNothing) {
  World world;
  int tokens = 0;
  world.server.decide = [&](const auto&) -> std::optional<StrictPutEvents::Failure> {
    if (tokens-- > 0) return std::nullopt;
    return StrictPutEvents::Failure{error_of(ErrorKind::throttled, "ThrottlingException")};
  };
  for (int i = 0; i < 3000; ++i) world.offer("u" + std::to_string(i), {"1"});
  for (int tenth = 0; tenth < 100; ++tenth) {
    tokens = 10;
    world.manual.advance(100ms);
  }
  EXPECT_LT(world.sink->state().calls_per_second, 200);
  EXPECT_GE(world.outcomes.size(), 850u) << "of the 1,000 that were allowed";
  tokens = 1'000'000;
  world.manual.advance(120s);
  EXPECT_EQ(world.outcomes.size(), 3000u);
}

TEST(PersonalizeSink, RefusesWithoutACallWhatBreaksALimit) {
  World world;
  auto events = events_of("ann", {"1", "2"});
  events[0].properties = "{\"a\":\"" + std::string(2000, 'x') + "\"}";
  world.queue.push_back(std::move(events));
  world.send();
  auto alone = events_of("bob", {"1"});
  alone[0].properties = "{\"a\":\"" + std::string(2000, 'x') + "\"}";
  world.queue.push_back(std::move(alone));
  world.send();
  world.manual.advance(1s);
  EXPECT_EQ(world.verdict("ann"), "ra");
  EXPECT_EQ(world.verdict("bob"), "r");
  EXPECT_EQ(world.outcomes.at("bob").at(0).reason, "properties too long");
  EXPECT_EQ(world.server.calls, 1u);
}

TEST(PersonalizeSink, ACancelledDeliveryIsNotTriedAgain) {
  World world;
  world.server.decide = [&](const auto&) -> std::optional<StrictPutEvents::Failure> {
    return StrictPutEvents::Failure{error_of(ErrorKind::transient, "500")};
  };
  world.offer("ann", {"1"});
  world.offer("bob", {"1"});
  EXPECT_FALSE(world.sink->cancel(world.numbers.at("ann"))) << "its call is under way";
  world.manual.advance(30ms);
  EXPECT_EQ(world.verdict("ann"), "r");
  EXPECT_EQ(world.outcomes.at("ann").at(0).reason, "");
  EXPECT_TRUE(world.sink->cancel(world.numbers.at("bob"))) << "it waits for its next try";
  const auto calls = world.server.calls;
  world.manual.advance(1h);
  EXPECT_EQ(world.server.calls, calls);
  EXPECT_EQ(world.verdict("bob"), "-");
  EXPECT_EQ(world.sink->state().events, 0u);
}

}  // namespace
}  // namespace millrace
