#include "tests/end_to_end/put_events_server.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <thread>

#include "aws/sigv4.h"

namespace millrace {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kObjectionsMax = 20;

WallTime now() {
  return std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
}

std::string header_of(const HttpRequest& request, std::string_view name) {
  for (const HttpHeader& header : request.headers) {
    std::string lower = header.name;
    std::transform(lower.begin(), lower.end(), lower.begin(), ::tolower);
    if (lower == name) return header.value;
  }
  return {};
}

// A member that must be there, a text of `least` to `most` bytes.
std::string wrong_text(const Json& object, const char* name, std::size_t least, std::size_t most) {
  if (!object.contains(name) || !object[name].is_string())
    return fmt::format("{} is missing or no text", name);
  const auto& text = object[name].get_ref<const std::string&>();
  if (text.size() < least || text.size() > most)
    return fmt::format("{} has {} bytes", name, text.size());
  return {};
}

}  // namespace

StrictPutEventsServer::StrictPutEventsServer(Options options)
    : options_(std::move(options)), checked_(*this), faulty_(options_.faults, checked_) {
  up();
}

StrictPutEventsServer::~StrictPutEventsServer() = default;

std::string StrictPutEventsServer::new_key() {
  const std::lock_guard guard(mutex_);
  return *keys_.insert(fmt::format("AKIDPROCESS{:04}", keys_.size() + 1)).first;
}

std::string StrictPutEventsServer::url() const { return fmt::format("http://127.0.0.1:{}", port_); }

void StrictPutEventsServer::down() { server_.reset(); }

void StrictPutEventsServer::up() {
  if (server_) return;
  LoopbackServerOptions options;
  options.port = port_;
  options.idle_max = std::chrono::milliseconds(1000);
  auto started = LoopbackServer::start(options, faulty_);
  if (!started) throw std::runtime_error(started.error().message);
  server_ = std::move(*started);
  port_ = server_->port();
}

std::vector<std::string> StrictPutEventsServer::objections() const {
  const std::lock_guard guard(mutex_);
  return objections_;
}

std::size_t StrictPutEventsServer::calls() const {
  const std::lock_guard guard(mutex_);
  return calls_;
}

std::size_t StrictPutEventsServer::accepted() const {
  const std::lock_guard guard(mutex_);
  return ids_.size();
}

std::vector<std::string> StrictPutEventsServer::items_of(const std::string& user) const {
  const std::lock_guard guard(mutex_);
  const auto found = order_.find(user);
  return found == order_.end() ? std::vector<std::string>() : found->second;
}

std::map<std::string, std::string> StrictPutEventsServer::ids() const {
  const std::lock_guard guard(mutex_);
  return ids_;
}

std::size_t StrictPutEventsServer::repeats() const {
  const std::lock_guard guard(mutex_);
  return repeats_;
}

void StrictPutEventsServer::object(const std::string& what) {
  if (objections_.size() < kObjectionsMax) objections_.push_back(what);
}

// Against the model: https://docs.aws.amazon.com/personalize/latest/dg/API_UBS_Event.html
void StrictPutEventsServer::check_event(const std::string& who, const std::string& event_json) {
  const Json event = Json::parse(event_json);
  static const std::set<std::string> kMembers = {"eventType",  "sentAt",          "eventId",
                                                 "eventValue", "itemId",          "properties",
                                                 "impression", "recommendationId"};
  for (const auto& [name, value] : event.items()) {
    if (!kMembers.contains(name)) object(who + ": unknown member " + name);
  }
  for (const std::string& wrong :
       {wrong_text(event, "eventType", 1, 256), wrong_text(event, "eventId", 1, 256),
        wrong_text(event, "itemId", 1, 256)}) {
    if (!wrong.empty()) object(who + ": " + wrong);
  }
  if (!event.contains("sentAt") || !event["sentAt"].is_number_integer())
    object(who + ": sentAt is no whole number");
  if (event.contains("eventValue") && !event["eventValue"].is_number())
    object(who + ": eventValue is no number");
  if (event.contains("properties")) {
    const std::string wrong = wrong_text(event, "properties", 1, 1024);
    if (!wrong.empty()) return object(who + ": " + wrong);
    if (!Json::parse(event["properties"].get<std::string>(), nullptr, false).is_object())
      object(who + ": properties are no JSON object in a text");
  }
}

HttpResponse StrictPutEventsServer::judge(const HttpRequest& request) {
  const HttpResponse refused{400,
                             {{"x-amzn-errortype", "InvalidInputException"}},
                             R"({"message":"the stand-in objects"})"};
  const auto caller = verify_signature(request,
                                       [this](std::string_view id) -> std::optional<Secret> {
                                         const std::lock_guard guard(mutex_);
                                         if (!keys_.contains(std::string(id))) return std::nullopt;
                                         return Secret(secret());
                                       },
                                       {.now = now()});
  const Json body = Json::parse(request.body, nullptr, false);
  std::string user;
  {
    const std::lock_guard guard(mutex_);
    ++calls_;
    if (!caller) {
      object("signature: " + caller.error().message);
      return refused;
    }
    if (caller->region != options_.region || caller->service != "personalize")
      object("signed for " + caller->region + " and " + caller->service);
    if (request.method != "POST" || request.url != "/events")
      object("called " + request.method + " " + request.url);
    if (header_of(request, "content-type") != "application/json")
      object("content-type " + header_of(request, "content-type"));
    if (!body.is_object()) {
      object("the body is no JSON object: " + request.body.substr(0, 200));
      return refused;
    }
    for (const auto& [name, value] : body.items()) {
      if (name != "trackingId" && name != "userId" && name != "sessionId" && name != "eventList")
        object("unknown member " + name);
    }
    for (const std::string& wrong :
         {wrong_text(body, "trackingId", 1, 256), wrong_text(body, "userId", 1, 256),
          wrong_text(body, "sessionId", 1, 256)}) {
      if (wrong.empty()) continue;
      object(wrong);
      return refused;
    }
    if (body["trackingId"] != options_.tracking_id) object("tracked by another tracker");
    if (!body.contains("eventList") || !body["eventList"].is_array() || body["eventList"].empty() ||
        body["eventList"].size() > 10) {
      object("eventList is not a list of 1 to 10");
      return refused;
    }
    user = body["userId"].get<std::string>();
    if (!in_flight_.emplace(caller->access_key_id, user).second)
      object("two calls of " + user + " under way from " + caller->access_key_id);
  }
  std::this_thread::sleep_for(options_.call_time);
  const std::lock_guard guard(mutex_);
  in_flight_.erase({caller->access_key_id, user});
  for (const Json& event : body["eventList"]) {
    check_event(user, event.dump());
    const std::string item = event.value("itemId", "");
    const auto [first, fresh] =
        seen_.emplace(item, user + " " + body["sessionId"].dump() + event.dump());
    if (first->second != user + " " + body["sessionId"].dump() + event.dump())
      object("changed between two tries: " + first->second + " is now " + event.dump());
    if (!ids_.emplace(item, event.value("eventId", "")).second) {
      ++repeats_;
      continue;
    }
    order_[user].push_back(item);
  }
  return {200, {}, "{}"};
}

}  // namespace millrace
