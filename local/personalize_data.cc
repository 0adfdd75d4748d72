// Events coming in, recommendations going out.
#include <fmt/format.h>
#include <simdjson.h>

#include <cmath>
#include <span>

#include "local/personalize_impl.h"
#include "local/personalize_import.h"

namespace millrace {
namespace {

using json = nlohmann::json;
namespace dom = simdjson::dom;

constexpr std::size_t kEventsMax = 10;
constexpr std::size_t kPropertiesMax = 1024;
constexpr std::int64_t kSecondsMax = 4'000'000'000;
constexpr std::size_t kFreshMax = 2'000;  // newest streamed interactions of a user that count

std::size_t characters(std::string_view utf8) {
  std::size_t count = 0;
  for (const char c : utf8) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

/// Where a member stands; words are made of it only when something is wrong there.
struct Path {
  std::string_view member{};
  std::size_t event = 0;  // from 1; 0: not inside of an event

  [[nodiscard]] std::string text() const {
    return event == 0 ? std::string(member) : fmt::format("eventList.{}.member.{}", event, member);
  }
};

tl::unexpected<ApiError> broken(const Path& path, std::string_view constraint) {
  return invalid_input(
      fmt::format("1 validation error detected: Value at '{}' failed to satisfy constraint: Member "
                  "must {}",
                  path.text(), constraint));
}

/// A text of 1 to `most` characters; `into` stays empty when the member is null.
tl::expected<void, ApiError> read_text(const dom::element& value, const Path& path,
                                       std::size_t most, std::string_view& into) {
  if (value.is_null()) return {};
  if (value.get_string().get(into) != simdjson::SUCCESS) return broken(path, "be a string");
  if (into.empty()) return broken(path, "have length greater than or equal to 1");
  if (into.size() > most && characters(into) > most) {
    return broken(path, fmt::format("have length less than or equal to {}", most));
  }
  return {};
}

struct IncomingEvent {
  std::string_view type{};
  std::string_view id{};
  std::string_view item{};
  std::string_view properties{};
  std::string_view recommendation_id{};
  std::string_view attribution{};
  std::string impression{};
  std::optional<double> value{};
  std::optional<double> sent_at{};
};

tl::expected<void, ApiError> read_impression(const dom::element& value, const Path& path,
                                             std::string& into) {
  dom::array items;
  if (value.is_null()) return {};
  if (value.get_array().get(items) != simdjson::SUCCESS) return broken(path, "be a list");
  std::size_t count = 0;
  for (const dom::element item : items) {
    std::string_view id;
    if (auto good = read_text(item, path, 256, id); !good) return good;
    if (id.empty()) return broken(path, "not be null");
    if (!into.empty()) into += '|';
    into += id;
    ++count;
  }
  if (count < 1) return broken(path, "have length greater than or equal to 1");
  if (count > 25) return broken(path, "have length less than or equal to 25");
  return {};
}

tl::expected<void, ApiError> read_event(const dom::element& value, std::size_t number,
                                        IncomingEvent& event) {
  const auto path = [&](std::string_view member) { return Path{member, number}; };
  dom::object members;
  if (value.get_object().get(members) != simdjson::SUCCESS) {
    return broken(Path{"", number}, "be a structure");
  }
  for (const auto [key, member] : members) {
    tl::expected<void, ApiError> good;
    if (key == "eventType") {
      good = read_text(member, path(key), 256, event.type);
    } else if (key == "eventId") {
      good = read_text(member, path(key), 256, event.id);
    } else if (key == "itemId") {
      good = read_text(member, path(key), 256, event.item);
    } else if (key == "properties") {
      good = read_text(member, path(key), kPropertiesMax, event.properties);
    } else if (key == "recommendationId") {
      good = read_text(member, path(key), 40, event.recommendation_id);
    } else if (key == "impression") {
      event.impression.clear();
      good = read_impression(member, path(key), event.impression);
    } else if (key == "sentAt" || key == "eventValue") {
      double is = 0;
      if (member.is_null()) continue;
      if (member.get_double().get(is) != simdjson::SUCCESS) return broken(path(key), "be a number");
      (key == "sentAt" ? event.sent_at : event.value) = is;
    } else if (key == "metricAttribution") {
      dom::object attribution;
      if (member.is_null()) continue;
      if (member.get_object().get(attribution) != simdjson::SUCCESS) {
        return broken(path(key), "be a structure");
      }
      for (const auto [inner, source] : attribution) {
        if (inner != "eventAttributionSource") {
          return invalid_input(fmt::format("Unknown member '{}.{}'", path(key).text(), inner));
        }
        good = read_text(source, path("metricAttribution.eventAttributionSource"), 1024,
                         event.attribution);
        if (!good) return good;
      }
      if (event.attribution.empty()) {
        return broken(path("metricAttribution.eventAttributionSource"), "not be null");
      }
    } else {
      return invalid_input(fmt::format("Unknown member '{}'", path(key).text()));
    }
    if (!good) return good;
  }
  if (event.type.empty()) return broken(path("eventType"), "not be null");
  if (!event.sent_at) return broken(path("sentAt"), "not be null");
  return {};
}

bool same_without_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](char x, char y) { return lower(x) == lower(y); });
}

/// The text of a property as a CSV cell would have it; nothing for null, lists and objects.
std::optional<std::string> property_text(const dom::element& value) {
  switch (value.type()) {
    case dom::element_type::STRING:
      return std::string(std::string_view(value));
    case dom::element_type::BOOL:
      return bool(value) ? "true" : "false";
    case dom::element_type::INT64:
      return fmt::format("{}", int64_t(value));
    case dom::element_type::UINT64:
      return fmt::format("{}", uint64_t(value));
    case dom::element_type::DOUBLE:
      return fmt::format("{}", double(value));
    default:
      return std::nullopt;
  }
}

/// What GetRecommendations and GetPersonalizedRanking have in common.
std::optional<std::string> unsupported(const json& input) {
  for (const char* member :
       {"filterArn", "filterValues", "promotions", "metadataColumns", "recommenderArn"}) {
    if (input.contains(member) && !input[member].empty()) {
      return fmt::format("The embedded Personalize does not take {}: leave it out", member);
    }
  }
  return std::nullopt;
}

std::optional<std::string> text_of(const json& input, const char* member) {
  if (!input.contains(member) || !input[member].is_string()) return std::nullopt;
  return input[member].get<std::string>();
}

json listed(const std::vector<ScoredItem>& items) {
  json list = json::array();
  for (const ScoredItem& item : items) {
    json one = {{"itemId", item.item_id}};
    if (item.known) one["score"] = std::round(item.score * 1e7) / 1e7;
    list.push_back(std::move(one));
  }
  return list;
}

}  // namespace

tl::expected<void, ApiError> PersonalizeService::Impl::put_events(const std::string& body) {
  // simdjson wants some bytes behind the text; the buffers stay for the next call of this thread.
  thread_local dom::parser parser;
  thread_local dom::parser properties_parser;
  dom::object members;
  if (parser.parse(body).get_object().get(members) != simdjson::SUCCESS) {
    return refuse("SerializationException", "The body is not a JSON object");
  }
  std::string_view tracking_id;
  std::string_view user_id;
  std::string_view session_id;
  dom::array list;
  bool listed_events = false;
  for (const auto [key, value] : members) {
    tl::expected<void, ApiError> good;
    if (key == "trackingId") {
      good = read_text(value, Path{"trackingId"}, 256, tracking_id);
    } else if (key == "userId") {
      good = read_text(value, Path{"userId"}, 256, user_id);
    } else if (key == "sessionId") {
      good = read_text(value, Path{"sessionId"}, 256, session_id);
    } else if (key == "eventList") {
      if (value.get_array().get(list) != simdjson::SUCCESS)
        return broken(Path{"eventList"}, "be a list");
      listed_events = true;
    } else {
      return invalid_input(fmt::format("Unknown member '{}'", key));
    }
    if (!good) return good;
  }
  if (tracking_id.empty()) return broken(Path{"trackingId"}, "not be null");
  if (session_id.empty()) return broken(Path{"sessionId"}, "not be null");
  if (!listed_events) return broken(Path{"eventList"}, "not be null");

  std::array<IncomingEvent, kEventsMax> events;
  std::size_t count = 0;
  for (const dom::element value : list) {
    if (count == kEventsMax)
      return broken(Path{"eventList"}, "have length less than or equal to 10");
    if (auto good = read_event(value, count + 1, events[count]); !good) return good;
    ++count;
  }
  if (count == 0) return broken(Path{"eventList"}, "have length greater than or equal to 1");

  const std::lock_guard lock(mutex_);
  const std::int64_t now = now_ms();
  const auto tracker = trackers_.find(std::string(tracking_id));
  if (tracker == trackers_.end()) {
    return invalid_input(
        fmt::format("Invalid trackingId: {}. No event tracker has it.", tracking_id));
  }
  const Resource* resource = book_.find(tracker->second.arn);
  if (resource == nullptr || !resource->active(now)) {
    return invalid_input(fmt::format("The event tracker of {} is not ACTIVE.", tracking_id));
  }
  if (!paced(paces_[resource->group], options_.put_events_calls_per_second_max, now)) {
    return refuse("ThrottlingException", "Rate exceeded");
  }
  const auto found = datasets_.find(tracker->second.dataset_arn);
  if (found == datasets_.end()) {
    return invalid_input("The dataset group of the event tracker has no Interactions dataset.");
  }
  Dataset& dataset = *found->second;

  // All events are judged before the first is taken: a call is accepted or refused as one.
  std::array<InteractionFields, kEventsMax> rows;
  std::array<std::string, kEventsMax> others;
  std::array<std::string, kEventsMax> old_items;
  for (std::size_t i = 0; i < count; ++i) {
    IncomingEvent& event = events[i];
    const auto path = [&](std::string_view member) { return Path{member, i + 1}; };
    if (!(*event.sent_at >= 0) ||
        (options_.seconds_only && *event.sent_at > static_cast<double>(kSecondsMax)) ||
        *event.sent_at > 9e15) {
      return invalid_input(fmt::format("Value at '{}' is not a time in seconds since 1970: {}",
                                       path("sentAt").text(), *event.sent_at));
    }
    dom::object properties;
    bool has_properties = false;
    if (!event.properties.empty()) {
      const auto parsed = properties_parser.parse(event.properties.data(), event.properties.size());
      if (parsed.get_object().get(properties) != simdjson::SUCCESS) {
        return invalid_input(
            "Error parsing properties json: a JSON object in a string is expected");
      }
      has_properties = true;
      for (const auto [key, value] : properties) {
        for (const std::string_view reserved :
             {"userId", "sessionId", "eventType", "timestamp", "recommendationId", "impression"}) {
          if (same_without_case(key, reserved)) {
            return invalid_input(
                fmt::format("The reserved key '{}' is not allowed in properties.", key));
          }
        }
      }
    }
    const auto property = [&](std::string_view key) -> std::optional<std::string> {
      std::optional<std::string> text;
      if (has_properties) {
        for (const auto [name, value] : properties) {
          if (name == key) text = property_text(value);
        }
      }
      return text;
    };

    InteractionFields& row = rows[i];
    row.user_id = user_id;
    row.session_id = session_id;
    row.event_id = event.id;
    row.second = static_cast<std::int64_t>(*event.sent_at);
    row.item_id = event.item;
    if (event.item.empty()) {  // where it stood before 2020
      old_items[i] = property("itemId").value_or("");
      if (characters(old_items[i]) > 256) {
        return broken(path("properties.itemId"), "have length less than or equal to 256");
      }
      row.item_id = old_items[i];
    }
    if (dataset.has_event_type) row.event_type = event.type;
    if (dataset.has_event_value) {
      if (!event.value) {
        const Column number{"eventValue", ColumnType::float32};
        if (const auto text = property("eventValue")) {
          const auto value = canonical_value(number, *text);
          if (!value) return invalid_input("eventValue in properties is not a number: " + *text);
          event.value = std::stod(*value);
        }
      }
      if (!event.value && dataset.event_value_required) {
        return broken(path("eventValue"), "not be null: the schema's EVENT_VALUE is not nullable");
      }
      if (event.value) {
        if (std::abs(*event.value) > 3e38) return broken(path("eventValue"), "be a float");
        row.value = static_cast<float>(*event.value);
      }
    }
    for (const PropertyColumn& one : dataset.properties) {
      std::optional<std::string> text;
      if (one.column.name == "IMPRESSION") {
        if (!event.impression.empty()) text = event.impression;
      } else if (one.column.name == "RECOMMENDATION_ID") {
        if (!event.recommendation_id.empty()) text = std::string(event.recommendation_id);
      } else if (one.column.name == "EVENT_ATTRIBUTION_SOURCE") {
        if (!event.attribution.empty()) text = std::string(event.attribution);
      } else {
        text = property(one.key);
      }
      if (!text) {
        if (one.column.nullable) continue;
        return invalid_input(fmt::format(
            "The field {} of the schema is required and missing: give '{}' in properties",
            one.column.name, one.key));
      }
      const auto value = canonical_value(one.column, *text);
      if (!value) {
        return invalid_input(fmt::format("The value of '{}' in properties is not a valid {}",
                                         one.key, name_of(one.column.type)));
      }
      others[i] += one.column.name + "=" + *value + "\n";
    }
    row.others = others[i];
  }

  std::size_t kept = 0;
  for (const auto& [arn, other] : datasets_) {
    kept += other->store->bulk().size() + other->store->streamed().size();
  }
  if (kept + count > options_.interactions_max) {
    return refuse("ServiceUnavailable",
                  fmt::format("The embedded Personalize keeps at most {} interactions",
                              options_.interactions_max),
                  503);
  }
  const auto used = dataset.store->stream(std::span(rows).first(count));
  if (!used) return refuse("ServiceUnavailable", used.error().message, 503);
  counts_.repeated += count - *used;
  ++counts_.calls;
  counts_.events += count;
  return {};
}

Answer PersonalizeService::Impl::put_records(const std::string& body, std::string_view type) {
  const json input = json::parse(body, nullptr, false);
  if (!input.is_object()) return refuse("SerializationException", "The body is not a JSON object");
  const bool items = type == "ITEMS";
  const char* list_member = items ? "items" : "users";
  const char* id_member = items ? "itemId" : "userId";
  const std::size_t properties_max = items ? 32'000 : 24'000;
  for (const auto& [member, value] : input.items()) {
    if (member != "datasetArn" && member != list_member) {
      return invalid_input(fmt::format("Unknown member '{}'", member));
    }
  }
  const auto arn = text_of(input, "datasetArn");
  if (!arn) return broken(Path{"datasetArn"}, "not be null");
  if (!input.contains(list_member) || !input[list_member].is_array() ||
      input[list_member].empty() || input[list_member].size() > 10) {
    return broken(Path{list_member}, "have between 1 and 10 entries");
  }

  const std::lock_guard lock(mutex_);
  const std::int64_t now = now_ms();
  const auto resource = active("dataset", *arn, now);
  if (!resource) return tl::unexpected(resource.error());
  const auto found = datasets_.find(*arn);
  if (found == datasets_.end() || found->second->type != type) {
    return invalid_input(fmt::format("The dataset is not of the type {}: {}", type, *arn));
  }
  Dataset& dataset = *found->second;
  std::map<std::string, std::string> accepted;
  for (const json& record : input[list_member]) {
    const auto id = record.is_object() ? text_of(record, id_member) : std::nullopt;
    if (!id || id->empty() || characters(*id) > 256) {
      return broken(Path{id_member}, "be a string of 1 to 256 characters");
    }
    json properties = json::object();
    if (record.contains("properties")) {
      const auto text = text_of(record, "properties");
      if (!text || text->size() > properties_max) {
        return broken(Path{"properties"}, fmt::format("be a string of up to {}", properties_max));
      }
      properties = json::parse(*text, nullptr, false);
      if (!properties.is_object()) {
        return invalid_input(
            "Error parsing properties json: a JSON object in a string is expected");
      }
    }
    std::string& canonical = accepted[*id];
    canonical.clear();
    for (const PropertyColumn& one : dataset.properties) {
      if (!properties.contains(one.key) || properties[one.key].is_null()) {
        if (one.column.nullable) continue;
        return invalid_input(fmt::format(
            "The field {} of the schema is required and missing: give '{}' in properties",
            one.column.name, one.key));
      }
      const json& is = properties[one.key];
      const auto value =
          canonical_value(one.column, is.is_string() ? is.get<std::string>() : is.dump());
      if (!value) {
        return invalid_input(fmt::format("The value of '{}' in properties is not a valid {}",
                                         one.key, name_of(one.column.type)));
      }
      canonical += one.column.name + "=" + *value + "\n";
    }
  }
  for (auto& [id, value] : accepted) dataset.records[id] = std::move(value);
  if (!dataset.folder.empty()) {
    const auto text = json(dataset.records).dump(-1, ' ', false, json::error_handler_t::replace);
    if (auto status = replace_file(dataset.folder / "records.json", text); !status) {
      return refuse("ServiceUnavailable", status.error().message, 503);
    }
  }
  return json(nullptr);
}

PersonalizeService::Impl::Fresh PersonalizeService::Impl::fresh_of(const Resource& version,
                                                                   std::string_view user_id) {
  Fresh fresh;
  std::string group_name =
      book_.find(version.group) != nullptr ? book_.find(version.group)->name : std::string{};
  const auto found = datasets_.find(arn_of(fmt::format("dataset/{}/INTERACTIONS", group_name)));
  if (found == datasets_.end()) return fresh;
  const Resource* dataset = book_.find(found->first);
  // Rows before this one were there at the training; a dataset made anew has no such row.
  const std::size_t since =
      dataset != nullptr && version.own.value("dataset", std::uint64_t{0}) == dataset->sequence
          ? version.own.value("streamed", std::size_t{0})
          : 0;
  const InteractionStore& store = *found->second->store;
  const auto& rows = store.streamed_of(user_id);
  const std::size_t first = rows.size() > kFreshMax ? rows.size() - kFreshMax : 0;
  std::vector<const InteractionRow*> used;
  for (std::size_t i = first; i < rows.size(); ++i) {
    const InteractionRow& row = store.streamed()[rows[i]];
    if (rows[i] >= since && row.item != Interner::kNone) used.push_back(&row);
  }
  fresh.items.reserve(used.size());  // the views below point into it
  for (const InteractionRow* row : used) {
    fresh.items.push_back(store.items().text_of(row->item));
    fresh.interactions.push_back({fresh.items.back(), row->second, 1});
  }
  return fresh;
}

Answer PersonalizeService::Impl::recommendations(const std::string& body) {
  const json input = json::parse(body, nullptr, false);
  if (!input.is_object()) return refuse("SerializationException", "The body is not a JSON object");
  if (auto problem = unsupported(input)) return invalid_input(*problem);
  const auto campaign_arn = text_of(input, "campaignArn");
  if (!campaign_arn) return invalid_input("A campaignArn must be provided");
  std::int64_t count = 25;
  if (input.contains("numResults") && !input["numResults"].is_null()) {
    if (!input["numResults"].is_number_integer())
      return broken(Path{"numResults"}, "be an integer");
    count = input["numResults"].get<std::int64_t>();
    if (count < 0 || count > 500)
      return broken(Path{"numResults"}, "have a value between 0 and 500");
  }
  if (count == 0) count = 25;
  const auto user_id = text_of(input, "userId");
  const auto item_id = text_of(input, "itemId");
  if (user_id && characters(*user_id) > 256) {
    return broken(Path{"userId"}, "have length less than or equal to 256");
  }

  std::shared_ptr<const Recommender> model;
  Fresh fresh;
  std::string recommendation_id;
  {
    const std::lock_guard lock(mutex_);
    const std::int64_t now = now_ms();
    settle(now);
    const auto campaign = active("campaign", *campaign_arn, now);
    if (!campaign) {
      if (campaign.error().type == "ResourceInUseException") {
        return invalid_input(campaign.error().message);  // the runtime has no such exception
      }
      return tl::unexpected(campaign.error());
    }
    const auto version =
        active_version((*campaign)->body["solutionVersionArn"].get<std::string>(), now);
    if (!version) return invalid_input(version.error().message);
    model = model_of(**version);
    if (model == nullptr) return refuse("InternalFailure", "The model cannot be read", 500);
    if (model->kind() == RecommenderKind::personalized_ranking) {
      return invalid_input("The campaign ranks lists: use GetPersonalizedRanking");
    }
    if (model->kind() == RecommenderKind::similar_items) {
      if (!item_id) return invalid_input("An itemId must be provided for this recipe");
    } else if (!user_id) {
      return invalid_input("A userId must be provided for this recipe");
    } else {
      fresh = fresh_of(**version, *user_id);
    }
    recommendation_id = "RID-" + uuid();
  }
  const auto items =
      model->kind() == RecommenderKind::similar_items
          ? model->similar(*item_id, static_cast<std::size_t>(count))
          : model->recommend(*user_id, fresh.interactions, static_cast<std::size_t>(count));
  return json{{"itemList", listed(items)}, {"recommendationId", recommendation_id}};
}

Answer PersonalizeService::Impl::ranking(const std::string& body) {
  const json input = json::parse(body, nullptr, false);
  if (!input.is_object()) return refuse("SerializationException", "The body is not a JSON object");
  if (auto problem = unsupported(input)) return invalid_input(*problem);
  const auto campaign_arn = text_of(input, "campaignArn");
  const auto user_id = text_of(input, "userId");
  if (!campaign_arn) return broken(Path{"campaignArn"}, "not be null");
  if (!user_id) return broken(Path{"userId"}, "not be null");
  if (!input.contains("inputList") || !input["inputList"].is_array()) {
    return broken(Path{"inputList"}, "not be null");
  }
  if (input["inputList"].size() > 500) {
    return broken(Path{"inputList"}, "have length less than or equal to 500");
  }
  std::vector<std::string> items;
  for (const json& item : input["inputList"]) {
    if (!item.is_string()) return broken(Path{"inputList"}, "hold strings only");
    items.push_back(item.get<std::string>());
  }
  std::shared_ptr<const Recommender> model;
  Fresh fresh;
  std::string recommendation_id;
  {
    const std::lock_guard lock(mutex_);
    const std::int64_t now = now_ms();
    settle(now);
    const auto campaign = active("campaign", *campaign_arn, now);
    if (!campaign) {
      if (campaign.error().type == "ResourceInUseException") {
        return invalid_input(campaign.error().message);
      }
      return tl::unexpected(campaign.error());
    }
    const auto version =
        active_version((*campaign)->body["solutionVersionArn"].get<std::string>(), now);
    if (!version) return invalid_input(version.error().message);
    model = model_of(**version);
    if (model == nullptr) return refuse("InternalFailure", "The model cannot be read", 500);
    if (model->kind() != RecommenderKind::personalized_ranking) {
      return invalid_input("The campaign does not rank lists: use GetRecommendations");
    }
    fresh = fresh_of(**version, *user_id);
    recommendation_id = "RID-" + uuid();
  }
  return json{{"personalizedRanking", listed(model->rank(*user_id, fresh.interactions, items))},
              {"recommendationId", recommendation_id}};
}

}  // namespace millrace
