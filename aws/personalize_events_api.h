// PutEvents: interactions to the live model (Amazon Personalize API Reference, "PutEvents" and
// "Event" of the Events API). One call is one tracker, user and session.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "aws/aws_client.h"
#include "core/event.h"
#include "core/result.h"

namespace millrace {

inline constexpr std::size_t kPutEventsMax = 10;

struct PutEventsRequest {
  std::string_view tracking_id{};
  std::string_view user_id{};  // empty: anonymous, the member is left out
  std::string_view session_id{};
  std::span<const Event> events{};  // 1–10; their own user and session are not looked at
};

/// The request's JSON body in one string reserved ahead: no document is built, since this runs for
/// every event. `sentAt` is whole seconds, `eventValue` the producer's number, `properties` the
/// producer's object as an escaped string, all in the events' order. Bytes that are not UTF-8
/// become U+FFFD. Pure.
std::string put_events_body(const PutEventsRequest& request);

/// Threads and errors: as AwsClient::call. `rejected` is InvalidInputException: the service answers
/// for the whole call, so one bad event refuses its neighbours too. Repeating a call is harmless:
/// the events carry their ids and times.
class PersonalizeEventsApi {
 public:
  explicit PersonalizeEventsApi(AwsClient& client) : client_(client) {}
  Status put_events(const PutEventsRequest& request);

 private:
  AwsClient& client_;
};

}  // namespace millrace
