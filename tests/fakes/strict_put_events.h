// A stand-in for PutEvents that believes nothing: every field of every call is checked against the
// service's model, ids and times must repeat, users must not overlap, and the test says what fails.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "aws/personalize_events_api.h"
#include "core/loop.h"

namespace millrace {

class StrictPutEvents {
 public:
  struct Failure {
    Error error{};
    bool had_effect = false;  // a lost reply
  };
  /// Asked before each call; nothing: the call is judged by its events.
  using Decide = std::function<std::optional<Failure>(const PutEventsRequest&)>;

  std::string tracking_id = "tracker";
  std::string wrong_tracker_message = "No event tracker was found for the tracking id";
  Decide decide{};

  /// Refused because of the event itself; empty: it is fine.
  std::function<std::string(const Event&)> judge = [](const Event& event) -> std::string {
    return event.item_id.rfind("poison", 0) == 0 ? "Value of " + event.item_id + " is refused" : "";
  };

  Status put_events(const PutEventsRequest& request) {
    ++calls;
    const std::string user = std::string(request.user_id) + "/" +
                             (request.user_id.empty() ? std::string(request.session_id) : "");
    EXPECT_TRUE(in_flight.insert(user).second) << "two calls of one user at once: " << user;
    in_flight_max = std::max(in_flight_max, in_flight.size());
    started = user;
    check(request);
    if (decide) {
      if (auto failure = decide(request)) {
        if (failure->had_effect) accept(request);
        return tl::unexpected(failure->error);
      }
    }
    if (request.tracking_id != tracking_id) {
      return fail(ErrorKind::rejected, wrong_tracker_message, "InvalidInputException");
    }
    for (const auto& event : request.events) {
      if (auto reason = judge(event); !reason.empty()) {
        return fail(ErrorKind::rejected, reason, "InvalidInputException");
      }
    }
    accept(request);
    sizes.push_back(request.events.size());
    return {};
  }

  /// Items of a user (or of a session, for anonymous ones: "/session") in order of first
  /// acceptance.
  std::string items_of(const std::string& user) const {
    std::string items;
    for (const auto& [who, item] : accepted_first) {
      if (who == user) items += item + " ";
    }
    return items;
  }

  std::size_t calls = 0;
  std::size_t in_flight_max = 0;
  std::set<std::string> in_flight{};
  std::string started{};             // by the last call: FlightLoop takes it
  std::vector<std::size_t> sizes{};  // of accepted calls
  std::vector<std::pair<std::string, std::string>> accepted_first{};
  std::map<std::string, std::size_t> accepted_times{};  // by event id
  std::map<std::string, std::string> seen{};            // event id -> what it carried at first

 private:
  void accept(const PutEventsRequest& request) {
    for (const auto& event : request.events) {
      if (++accepted_times[event.event_id] > 1) continue;
      accepted_first.emplace_back(request.user_id.empty() ? "/" + std::string(request.session_id)
                                                          : std::string(request.user_id),
                                  event.item_id);
    }
  }

  void check(const PutEventsRequest& request) {
    ASSERT_FALSE(request.session_id.empty());
    ASSERT_LE(request.session_id.size(), 256u);
    ASSERT_GE(request.events.size(), 1u);
    ASSERT_LE(request.events.size(), 10u);
    // The bytes that would go out, in the model's own words.
    const auto body = nlohmann::json::parse(put_events_body(request), nullptr, false);
    ASSERT_TRUE(body.is_object());
    ASSERT_EQ(body.contains("userId"), !request.user_id.empty());
    static const std::set<std::string> kMembers = {"eventType",  "sentAt",          "eventId",
                                                   "eventValue", "itemId",          "properties",
                                                   "impression", "recommendationId"};
    for (const auto& event : body.at("eventList")) {
      for (const auto& [name, value] : event.items()) ASSERT_TRUE(kMembers.contains(name)) << name;
      ASSERT_TRUE(event.at("sentAt").is_number_integer());
      ASSERT_FALSE(event.at("eventType").get<std::string>().empty());
      ASSERT_FALSE(event.at("eventId").get<std::string>().empty());
      if (event.contains("properties")) {
        const auto text = event.at("properties").get<std::string>();
        ASSERT_LE(text.size(), 1024u);
        const auto properties = nlohmann::json::parse(text, nullptr, false);
        ASSERT_TRUE(properties.is_object()) << text;
        for (const auto& [name, value] : properties.items()) {
          std::string lower = name;
          std::transform(lower.begin(), lower.end(), lower.begin(), ::tolower);
          static const std::set<std::string> kForbidden = {
              "userid", "sessionid", "eventtype", "timestamp", "recommendationid", "impression"};
          ASSERT_FALSE(kForbidden.contains(lower)) << name;
        }
      }
      if (event.contains("impression")) {
        ASSERT_LE(event.at("impression").size(), 25u);
      }
      const auto id = event.at("eventId").get<std::string>();
      const auto text =
          body.value("userId", "") + body.at("sessionId").get<std::string>() + event.dump();
      const auto [first, fresh] = seen.emplace(id, text);
      ASSERT_EQ(first->second, text) << "an event changed between two tries";
    }
  }
};

/// A loop on which calls take time: what offload() runs takes effect at once and is over after
/// `call_time`. Time and tasks are those of `inner`.
class FlightLoop final : public Loop {
 public:
  FlightLoop(Loop& inner, StrictPutEvents& server) : inner_(inner), server_(server) {}

  Ticks call_time = 30ms;
  /// When set: calls end no more until release() (a service that hangs).
  bool stalled = false;

  Ticks now() const override { return inner_.now(); }
  WallTime wall_time() const override { return inner_.wall_time(); }
  void post_at(Ticks when, Task task) override { inner_.post_at(when, std::move(task)); }
  void offload(Task work, Task done) override {
    server_.started.clear();
    work();
    Task ends = [&server = server_, user = std::exchange(server_.started, {}),
                 done = std::move(done)] {
      if (!user.empty()) server.in_flight.erase(user);
      done();
    };
    if (stalled) {
      hanging_.push_back(std::move(ends));
    } else {
      inner_.post_at(inner_.now() + call_time, std::move(ends));
    }
  }
  void release() {
    stalled = false;
    for (auto& ends : std::exchange(hanging_, {})) inner_.post_at(inner_.now(), std::move(ends));
  }

 private:
  Loop& inner_;
  StrictPutEvents& server_;
  std::vector<Task> hanging_{};
};

}  // namespace millrace
