#include "events/own_names.h"

#include <algorithm>
#include <string>
#include <vector>

namespace millrace {

DecodeOptions with_own_names(DecodeOptions options) {
  const auto add = [](std::vector<std::string>& pointers, const char* own) {
    if (std::find(pointers.begin(), pointers.end(), own) == pointers.end())
      pointers.emplace_back(own);
  };
  EventFields& fields = options.fields;
  add(fields.user_id, "/user_id");
  add(fields.item_id, "/item_id");
  add(fields.timestamp, "/timestamp");
  add(fields.event_type, "/event_type");
  add(fields.event_id, "/event_id");
  add(fields.session_id, "/session_id");
  add(fields.event_value, "/event_value");
  add(fields.properties, "/properties");
  add(fields.impression, "/impression");
  add(fields.recommendation_id, "/recommendation_id");
  options.format = DecodeOptions::Format::automatic;
  return options;
}

}  // namespace millrace
