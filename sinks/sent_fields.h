// What of an event PutEvents may see: fields the dataset has, in sizes the service takes. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/event.h"

namespace millrace {

/// Limits of PutEvents in characters ("Event" and "PutEvents" in the Amazon Personalize API
/// Reference).
inline constexpr std::size_t kPropertiesCharactersMax = 1024;
inline constexpr std::size_t kSessionIdCharactersMax = 256;
inline constexpr std::size_t kEventIdCharactersMax = 256;
inline constexpr std::size_t kRecommendationIdCharactersMax = 40;
inline constexpr std::size_t kImpressionItemsMax = 25;

/// Prepares events for PutEvents; one for all events of a pipeline.
class SentFields {
 public:
  /// `columns` are the dataset's ("NUM_RATINGS"); empty: not known, every field is sent.
  explicit SentFields(const std::vector<std::string>& columns);

  /// Changes `event` to what is sent, and gives an empty text; or leaves it and gives the reason
  /// why it cannot be sent: "properties too long", "session_id too long", "event_id too long",
  /// "recommendation_id too long", "impression too long".
  ///
  /// Of `properties` these members are left out, names compared without case: userId, sessionId,
  /// eventType, timestamp, recommendationId and impression (the service refuses the whole call for
  /// one of them; what they say stands in fields of their own), itemId (always such a field) and
  /// eventValue (when the event has that field), and, when the columns are known, each member whose
  /// name is no column's in camel case (NUM_RATINGS is numRatings). Of a name written twice the
  /// last is kept. When nothing is left, the field is left out. When the columns are known, event
  /// value, impression and recommendation id are sent only if there is such a column.
  [[nodiscard]] std::string_view prepare(Event& event) const;

 private:
  [[nodiscard]] bool keeps(std::string_view name, const Event& event) const;
  [[nodiscard]] std::string filtered(const Event& event) const;

  bool all_ = true;
  bool event_value_ = true;
  bool impression_ = true;
  bool recommendation_id_ = true;
  std::vector<std::string> names_{};  // camel case, sorted
};

}  // namespace millrace
