#include "sinks/sent_fields.h"

#include <algorithm>
#include <array>
#include <cstddef>

#include "events/utf8.h"

namespace millrace {
namespace {

constexpr std::array<std::string_view, 7> kReserved = {
    "userid", "sessionid", "eventtype", "timestamp", "recommendationid", "impression", "itemid"};

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool equal_without_case(std::string_view name, std::string_view lower_name) {
  return name.size() == lower_name.size() &&
         std::equal(name.begin(), name.end(), lower_name.begin(),
                    [](char a, char b) { return lower(a) == b; });
}

std::string camel_case(std::string_view column) {
  std::string name;
  bool upper = false;
  for (const char c : column) {
    if (c == '_') {
      upper = true;
    } else {
      name += upper ? c : lower(c);
      upper = false;
    }
  }
  return name;
}

bool longer_than(std::string_view text, std::size_t characters_max) {
  return text.size() > characters_max && code_points(text) > characters_max;
}

bool blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

// The end of a JSON string that begins at `at`, its quotes included. The text was judged to be
// JSON; a cut one ends where it ends.
std::size_t end_of_string(std::string_view text, std::size_t at) {
  for (++at; at < text.size() && text[at] != '"'; ++at) {
    if (text[at] == '\\') ++at;
  }
  return std::min(text.size(), at + 1);
}

// The end of the value at `at`: the comma or closing brace of the object it stands in.
std::size_t end_of_value(std::string_view text, std::size_t at) {
  std::size_t depth = 0;
  while (at < text.size()) {
    const char c = text[at];
    if (c == '"') {
      at = end_of_string(text, at);
      continue;
    }
    if (depth == 0 && (c == ',' || c == '}')) return at;
    if (c == '{' || c == '[') ++depth;
    if (c == '}' || c == ']') --depth;
    ++at;
  }
  return at;
}

}  // namespace

SentFields::SentFields(const std::vector<std::string>& columns) : all_(columns.empty()) {
  if (all_) return;
  for (const auto& column : columns) names_.push_back(camel_case(column));
  std::sort(names_.begin(), names_.end());
  const auto has = [&](std::string_view name) {
    return std::binary_search(names_.begin(), names_.end(), name);
  };
  event_value_ = has("eventValue");
  impression_ = has("impression");
  recommendation_id_ = has("recommendationId");
}

bool SentFields::keeps(std::string_view name, const Event& event) const {
  for (const auto reserved : kReserved) {
    if (equal_without_case(name, reserved)) return false;
  }
  if (!event.event_value.empty() && equal_without_case(name, "eventvalue")) return false;
  return all_ || std::binary_search(names_.begin(), names_.end(), name);
}

std::string SentFields::filtered(const Event& event) const {
  const std::string_view text = event.properties;
  struct Member {
    std::string_view name{};
    std::string_view text{};  // name, colon and value
  };
  std::vector<Member> kept;
  std::size_t bytes = 0;
  std::size_t at = text.find('{');
  if (at == std::string_view::npos) return {};
  ++at;
  while (at < text.size()) {
    while (at < text.size() && (blank(text[at]) || text[at] == ',')) ++at;
    if (at >= text.size() || text[at] != '"') break;
    const std::size_t begin = at;
    at = end_of_string(text, at);
    const std::string_view name = text.substr(begin + 1, at - begin - 2);
    at = end_of_value(text, at);
    std::size_t end = at;
    while (end > begin && blank(text[end - 1])) --end;
    if (!keeps(name, event)) continue;
    std::erase_if(kept, [&](const Member& member) { return member.name == name; });
    kept.push_back({name, text.substr(begin, end - begin)});
    bytes += end - begin + 1;
    // Too long whatever follows, and a quadratic search for repeated names otherwise.
    if (kept.size() > kPropertiesCharactersMax / 4) break;
  }
  if (kept.empty()) return {};
  std::string out;
  out.reserve(bytes + 1);
  for (const auto& member : kept) {
    out += out.empty() ? '{' : ',';
    out += member.text;
  }
  out += '}';
  return out;
}

std::string_view SentFields::prepare(Event& event) const {
  if (longer_than(event.session_id, kSessionIdCharactersMax)) return "session_id too long";
  if (longer_than(event.event_id, kEventIdCharactersMax)) return "event_id too long";
  if (recommendation_id_ && longer_than(event.recommendation_id, kRecommendationIdCharactersMax)) {
    return "recommendation_id too long";
  }
  if (impression_ && event.impression.size() > kImpressionItemsMax) return "impression too long";
  if (!event.properties.empty()) {
    auto properties = filtered(event);
    if (longer_than(properties, kPropertiesCharactersMax)) return "properties too long";
    event.properties = std::move(properties);
  }
  if (!event_value_) event.event_value.clear();
  if (!impression_) event.impression.clear();
  if (!recommendation_id_) event.recommendation_id.clear();
  return {};
}

}  // namespace millrace
