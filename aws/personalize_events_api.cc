#include "aws/personalize_events_api.h"

#include <charconv>

#include "aws/json_text.h"
#include "core/check.h"

namespace millrace {
namespace {

void append_member(std::string_view name, std::string_view text, std::string& out) {
  out += ',';
  out += '"';
  out += name;
  out += "\":";
  append_json_string(text, out);
}

void append_number(std::int64_t number, std::string& out) {
  char digits[24];
  const auto written = std::to_chars(digits, digits + sizeof digits, number);
  out.append(digits, written.ptr);
}

void append_event(const Event& event, std::string& out) {
  out += "{\"eventType\":";
  append_json_string(event.event_type, out);
  out += ",\"sentAt\":";
  append_number(event.timestamp, out);
  append_member("eventId", event.event_id, out);
  if (!event.item_id.empty()) append_member("itemId", event.item_id, out);
  if (!event.event_value.empty()) {
    out += ",\"eventValue\":";
    out += event.event_value;  // a JSON number, judged by the decoder
  }
  if (!event.properties.empty()) append_member("properties", event.properties, out);
  if (!event.recommendation_id.empty())
    append_member("recommendationId", event.recommendation_id, out);
  if (!event.impression.empty()) {
    out += ",\"impression\":[";
    for (std::size_t i = 0; i < event.impression.size(); ++i) {
      if (i != 0) out += ',';
      append_json_string(event.impression[i], out);
    }
    out += ']';
  }
  out += '}';
}

// Enough for names and quotes, plus room for some escapes; more than that grows the string once.
std::size_t expected_bytes(const PutEventsRequest& request) {
  std::size_t bytes =
      96 + request.tracking_id.size() + request.user_id.size() + request.session_id.size();
  for (const auto& event : request.events) {
    bytes += 160 + event.event_type.size() + event.event_id.size() + event.item_id.size() +
             event.event_value.size() + event.properties.size() * 5 / 4 +
             event.recommendation_id.size();
    for (const auto& item : event.impression) bytes += item.size() + 3;
  }
  return bytes;
}

}  // namespace

std::string put_events_body(const PutEventsRequest& request) {
  std::string out;
  out.reserve(expected_bytes(request));
  out += "{\"trackingId\":";
  append_json_string(request.tracking_id, out);
  if (!request.user_id.empty()) append_member("userId", request.user_id, out);
  append_member("sessionId", request.session_id, out);
  out += ",\"eventList\":[";
  for (std::size_t i = 0; i < request.events.size(); ++i) {
    if (i != 0) out += ',';
    append_event(request.events[i], out);
  }
  out += "]}";
  return out;
}

Status PersonalizeEventsApi::put_events(const PutEventsRequest& request) {
  MILLRACE_CHECK(!request.events.empty() && request.events.size() <= kPutEventsMax);
  auto response = client_.call({.operation = "PutEvents",
                                .target = "/events",
                                .headers = {{"Content-Type", "application/json"}},
                                .body = put_events_body(request),
                                .timeout = std::chrono::milliseconds(5'000)});
  if (!response) return fail(std::move(response.error()));
  return {};
}

}  // namespace millrace
