// A stand-in for Personalize's PutEvents behind a real port, that believes nothing: what it objects
// to is kept as sentences for the test to expect none of.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "local/faulty_service.h"
#include "local/http_service.h"
#include "local/loopback_server.h"

namespace millrace {

/// Checks of each call: Signature Version 4 with a known key, region and service; path and content
/// type; each member against the service's model (Personalize Developer Guide, "PutEvents"); that
/// an event carries the same bytes each time it is seen; and that no process (each has a key of its
/// own) has two calls of one user under way. Items are taken for the names of events: a test gives
/// each event an item of its own. Threads: any.
class StrictPutEventsServer {
 public:
  struct Options {
    std::string region = "eu-west-1";
    std::string tracking_id = "tracker";
    std::chrono::milliseconds call_time{2};  // long enough for overlapping calls to meet
    FaultyServiceOptions faults{};           // in front of the checks
  };

  explicit StrictPutEventsServer(Options options);
  ~StrictPutEventsServer();
  StrictPutEventsServer(const StrictPutEventsServer&) = delete;
  StrictPutEventsServer& operator=(const StrictPutEventsServer&) = delete;

  /// A key id for one more process; its secret is `secret()`.
  std::string new_key();
  static constexpr const char* secret() { return "end-to-end-secret"; }
  [[nodiscard]] std::string url() const;

  /// Refuses connections until up(); what is under way is answered first.
  void down();
  void up();
  /// No more faults, or again.
  void set_well(bool well) { faulty_.set_well(well); }

  /// What was wrong, at most the first 20 sentences.
  [[nodiscard]] std::vector<std::string> objections() const;
  [[nodiscard]] std::size_t calls() const;
  /// Events accepted for the first time.
  [[nodiscard]] std::size_t accepted() const;
  /// Of one user, in the order of their first acceptance.
  [[nodiscard]] std::vector<std::string> items_of(const std::string& user) const;
  /// Item and event id of everything accepted.
  [[nodiscard]] std::map<std::string, std::string> ids() const;
  /// Acceptances beyond the first, of all events.
  [[nodiscard]] std::size_t repeats() const;

 private:
  // What the faults stand in front of.
  class Checked final : public HttpService {
   public:
    explicit Checked(StrictPutEventsServer& server) : server_(server) {}
    HttpResponse handle(const HttpRequest& request) override { return server_.judge(request); }

   private:
    StrictPutEventsServer& server_;
  };

  HttpResponse judge(const HttpRequest& request);
  void object(const std::string& what);  // REQUIRES: the lock
  void check_event(const std::string& who, const std::string& event_json);

  const Options options_;
  Checked checked_;
  FaultyService faulty_;
  mutable std::mutex mutex_{};  // guards everything below but the server
  std::set<std::string> keys_{};
  std::vector<std::string> objections_{};
  std::set<std::pair<std::string, std::string>> in_flight_{};  // key id, user
  std::map<std::string, std::string> seen_{};                  // item -> what it carried at first
  std::map<std::string, std::string> ids_{};                   // item -> event id, once accepted
  std::map<std::string, std::vector<std::string>> order_{};
  std::size_t calls_ = 0;
  std::size_t repeats_ = 0;
  std::uint16_t port_ = 0;
  std::unique_ptr<LoopbackServer> server_{};
};

}  // namespace millrace
