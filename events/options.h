// What decoding takes from the configuration (keys of `events:`).
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "core/time.h"

namespace millrace {

/// RFC 6901 pointers; the first that exists (present and not null) wins, in the event first, then
/// (user and session only) in its envelope.
struct EventFields {
  std::vector<std::string> user_id{"/user_id", "/userId"};
  std::vector<std::string> item_id{"/itemId", "/item_id", "/properties/itemId",
                                   "/properties/item_id"};
  std::vector<std::string> timestamp{"/sentAt", "/sent_at", "/timestamp", "/event_time"};
  std::vector<std::string> event_type{"/eventType", "/event_type"};
  std::vector<std::string> event_id{"/eventId", "/event_id"};
  std::vector<std::string> session_id{"/session_id", "/sessionId"};
  std::vector<std::string> event_value{"/eventValue", "/event_value"};
  std::vector<std::string> properties{"/properties"};
  std::vector<std::string> impression{"/impression"};
  std::vector<std::string> recommendation_id{"/recommendationId", "/recommendation_id"};
};

/// events:
struct DecodeOptions {
  enum class Format { automatic, envelope, flat };  // `auto` in the file
  Format format = Format::automatic;
  EventFields fields{};
  std::string default_event_type = "interaction";
  bool timestamp_from_arrival = false;  // events.defaults.timestamp: arrival
  std::chrono::seconds session_slot{
      1800};  // an event without a usable session gets a hash of user and floor(time / slot)
};

}  // namespace millrace
