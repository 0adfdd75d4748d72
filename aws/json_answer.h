// Reading the services' JSON answers off the hot path: members that may be absent, null or of
// another type than documented. Internal to aws/ sources, so that headers stay free of nlohmann.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "aws/http_client.h"
#include "core/result.h"
#include "core/time.h"

namespace millrace {

/// The body as a JSON object; `ambiguous` when it is none (the call has been carried out, but what
/// answered is not the service). An empty body is an empty object.
inline Result<nlohmann::json> answer_object(std::string_view operation,
                                            const HttpResponse& response) {
  if (response.body.empty()) return nlohmann::json::object();
  auto body = nlohmann::json::parse(response.body, nullptr, /*allow_exceptions=*/false);
  if (!body.is_object())
    return fail(ErrorKind::ambiguous,
                std::string(operation) +
                    ": the answer is not a JSON object; is a proxy in between, or the endpoint "
                    "another service's?");
  return body;
}

inline std::string text_of(const nlohmann::json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

/// Epoch seconds with a fraction; 1970 when absent or absurd.
inline WallTime time_of(const nlohmann::json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_number()) return {};
  const double seconds = found->get<double>();
  if (!(seconds >= 0 && seconds < 1e12)) return {};
  return wall_time_of_ms(static_cast<std::int64_t>(seconds * 1000 + 0.5));
}

inline bool flag_of(const nlohmann::json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}

inline std::int64_t integer_of(const nlohmann::json& object, const char* name,
                               std::int64_t absent) {
  const auto found = object.find(name);
  return found != object.end() && found->is_number_integer() ? found->get<std::int64_t>() : absent;
}

/// The member as an object; an empty one when it is absent or something else.
inline const nlohmann::json& object_of(const nlohmann::json& object, const char* name) {
  static const nlohmann::json kEmpty = nlohmann::json::object();
  const auto found = object.find(name);
  return found != object.end() && found->is_object() ? *found : kEmpty;
}

inline const nlohmann::json& list_of(const nlohmann::json& object, const char* name) {
  static const nlohmann::json kEmpty = nlohmann::json::array();
  const auto found = object.find(name);
  return found != object.end() && found->is_array() ? *found : kEmpty;
}

/// A request body; bytes that are not UTF-8 become U+FFFD rather than an exception.
inline std::string body_of(const nlohmann::json& object) {
  return object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace millrace
