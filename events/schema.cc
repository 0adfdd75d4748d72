#include "events/schema.h"

#include <algorithm>
#include <array>
#include <cfloat>
#include <charconv>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/check.h"
#include "events/csv_dialect.h"
#include "events/json_tape.h"
#include "events/utf8.h"

namespace millrace {
namespace {

constexpr std::size_t kImpressionCharactersMax = 1000;
// A schema has at most some twenty fields; a text beyond this is something else.
constexpr std::size_t kSchemaBytesMax = 1u << 20;

struct TypeWord {
  std::string_view word;
  ColumnType type;
};
constexpr std::array<TypeWord, 6> kTypeWords{{{"string", ColumnType::text},
                                              {"int", ColumnType::int32},
                                              {"long", ColumnType::int64},
                                              {"float", ColumnType::float32},
                                              {"double", ColumnType::float64},
                                              {"boolean", ColumnType::boolean}}};

std::optional<ColumnType> type_of_word(std::string_view word) {
  for (const TypeWord& known : kTypeWords) {
    if (known.word == word) return known.type;
  }
  return std::nullopt;
}

/// Reserved columns of an Interactions dataset, with the types the guide gives them.
struct Reserved {
  std::string_view name;
  ColumnType type;
  bool nullable;
};
constexpr std::array<Reserved, 8> kReserved{{{"USER_ID", ColumnType::text, false},
                                             {"ITEM_ID", ColumnType::text, false},
                                             {"TIMESTAMP", ColumnType::int64, false},
                                             {"EVENT_TYPE", ColumnType::text, false},
                                             {"EVENT_VALUE", ColumnType::float32, true},
                                             {"IMPRESSION", ColumnType::text, true},
                                             {"RECOMMENDATION_ID", ColumnType::text, true},
                                             {"EVENT_ATTRIBUTION_SOURCE", ColumnType::text, true}}};
constexpr std::array<std::string_view, 3> kRequired{"USER_ID", "ITEM_ID", "TIMESTAMP"};

const Reserved* reserved_of(std::string_view name) {
  const auto* found = std::find_if(kReserved.begin(), kReserved.end(),
                                   [&](const Reserved& column) { return column.name == name; });
  return found == kReserved.end() ? nullptr : found;
}

bool sound_name(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
}

std::string without_underscores(std::string name) {
  name.erase(std::remove(name.begin(), name.end(), '_'), name.end());
  return name;
}

Status check_names(const std::vector<Column>& columns) {
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (!sound_name(columns[i].name)) {
      return fail(ErrorKind::invalid, "schema: the name of field " + std::to_string(i + 1) +
                                          " must be letters, digits and underscores");
    }
    for (std::size_t k = 0; k < i; ++k) {
      if (without_underscores(columns[k].name) == without_underscores(columns[i].name)) {
        return fail(ErrorKind::invalid, "schema: fields " + columns[k].name + " and " +
                                            columns[i].name +
                                            " clash (names are compared without underscores)");
      }
    }
  }
  return {};
}

Status check_required(const std::vector<Column>& columns) {
  for (const std::string_view name : kRequired) {
    if (std::none_of(columns.begin(), columns.end(),
                     [&](const Column& column) { return column.name == name; })) {
      return fail(ErrorKind::invalid,
                  "schema: an Interactions dataset needs the field " + std::string(name));
    }
  }
  return {};
}

Result<Column> column_of(const nlohmann::json& field, std::size_t number) {
  const std::string where = "schema: field " + std::to_string(number);
  if (!field.is_object()) return fail(ErrorKind::invalid, where + " is not an object");
  const auto name = field.find("name");
  if (name == field.end() || !name->is_string()) {
    return fail(ErrorKind::invalid, where + " has no name");
  }
  Column column;
  column.name = name->get<std::string>();
  const std::string who = "schema: field " + column.name;
  const auto type = field.find("type");
  if (type == field.end()) return fail(ErrorKind::invalid, who + " has no type");

  std::optional<ColumnType> found;
  const auto take = [&](const nlohmann::json& word) -> Status {
    if (!word.is_string()) {
      return fail(ErrorKind::invalid, who + ": only flat types are allowed");
    }
    const auto text = word.get<std::string>();
    if (text == "null") {
      column.nullable = true;
      return {};
    }
    const auto known = type_of_word(text);
    if (!known) {
      return fail(ErrorKind::invalid,
                  who + ": type \"" + text +
                      "\" is none of string, int, long, float, double, boolean, null");
    }
    if (found) return fail(ErrorKind::invalid, who + ": a union may hold one type and null");
    found = known;
    return {};
  };
  if (type->is_array()) {
    for (const nlohmann::json& word : *type) {
      if (const Status taken = take(word); !taken) return fail(taken.error());
    }
  } else if (const Status taken = take(*type); !taken) {
    return fail(taken.error());
  }
  if (!found) return fail(ErrorKind::invalid, who + " has no type but null");
  column.type = *found;
  if (const auto categorical = field.find("categorical"); categorical != field.end()) {
    if (!categorical->is_boolean()) {
      return fail(ErrorKind::invalid, who + ": categorical must be true or false");
    }
    column.categorical = categorical->get<bool>();
  }
  return column;
}

template <class Number>
bool reads_as(std::string_view text) {
  Number number{};
  const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
  return !text.empty() && read.ec == std::errc{} && read.ptr == text.data() + text.size();
}

bool is_number(std::string_view text, double limit) {
  if (scan_json_number(text, 0) != text.size()) return false;
  double number = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
  return read.ec == std::errc{} && std::abs(number) <= limit;
}

bool is_boolean(std::string_view text) {
  return text == "true" || text == "false" || text == "True" || text == "False" || text == "1" ||
         text == "0";
}

bool fits(std::string_view text, ColumnType type) {
  switch (type) {
    case ColumnType::text:
      return true;
    case ColumnType::int32:
      return reads_as<std::int32_t>(text);
    case ColumnType::int64:
      return reads_as<std::int64_t>(text);
    case ColumnType::float32:
      return is_number(text, FLT_MAX);
    case ColumnType::float64:
      return is_number(text, DBL_MAX);
    case ColumnType::boolean:
      return is_boolean(text);
  }
  return false;
}

}  // namespace

std::string_view name_of(ColumnType type) {
  for (const TypeWord& known : kTypeWords) {
    if (known.type == type) return known.word;
  }
  return {};
}

Result<std::vector<Column>> parse_schema(std::string_view avro_json) {
  if (avro_json.size() > kSchemaBytesMax) {
    return fail(ErrorKind::invalid, "schema: longer than 1 MiB");
  }
  const auto document = nlohmann::json::parse(avro_json, nullptr, /*allow_exceptions=*/false);
  if (document.is_discarded()) return fail(ErrorKind::invalid, "schema: not JSON");
  if (!document.is_object() || document.value("type", nlohmann::json()) != "record") {
    return fail(ErrorKind::invalid, "schema: must be an Avro object of \"type\": \"record\"");
  }
  const auto fields = document.find("fields");
  if (fields == document.end() || !fields->is_array() || fields->empty()) {
    return fail(ErrorKind::invalid, "schema: \"fields\" must be a list with at least one field");
  }
  std::vector<Column> columns;
  for (const nlohmann::json& field : *fields) {
    auto column = column_of(field, columns.size() + 1);
    if (!column) return fail(std::move(column.error()));
    columns.push_back(std::move(*column));
  }
  if (const Status names = check_names(columns); !names) return fail(names.error());
  return columns;
}

Result<std::vector<Column>> parse_interactions_schema(std::string_view avro_json) {
  auto columns = parse_schema(avro_json);
  if (!columns) return columns;
  if (const Status required = check_required(*columns); !required) return fail(required.error());
  for (const Column& column : *columns) {
    const Reserved* reserved = reserved_of(column.name);
    if (reserved == nullptr) continue;
    // EVENT_VALUE may be a double as well: old schemas have it.
    const bool wider = reserved->type == ColumnType::float32 && column.type == ColumnType::float64;
    if (column.type != reserved->type && !wider) {
      return fail(ErrorKind::invalid, "schema: field " + column.name + " must be of type " +
                                          std::string(name_of(reserved->type)) + ", not " +
                                          std::string(name_of(column.type)));
    }
    if (column.nullable && !reserved->nullable) {
      return fail(ErrorKind::invalid, "schema: field " + column.name + " may not be null");
    }
  }
  return columns;
}

const std::vector<Column>& default_interaction_columns() {
  static const std::vector<Column> kColumns{{"USER_ID", ColumnType::text, false, false},
                                            {"ITEM_ID", ColumnType::text, false, false},
                                            {"TIMESTAMP", ColumnType::int64, false, false},
                                            {"EVENT_TYPE", ColumnType::text, false, false}};
  return kColumns;
}

Result<std::vector<Column>> columns_of_names(const std::vector<std::string>& names) {
  std::vector<Column> columns;
  for (const std::string& name : names) {
    const Reserved* reserved = reserved_of(name);
    columns.push_back(reserved != nullptr ? Column{name, reserved->type, reserved->nullable, false}
                                          : Column{name, ColumnType::text, true, false});
  }
  if (const Status sound = check_names(columns); !sound) return fail(sound.error());
  if (const Status required = check_required(columns); !required) return fail(required.error());
  return columns;
}

std::string camel_case(std::string_view column) {
  std::string camel;
  bool upper = false;
  for (const char c : column) {
    if (c == '_') {
      upper = !camel.empty();
      continue;
    }
    const bool is_upper = c >= 'A' && c <= 'Z';
    const bool is_lower = c >= 'a' && c <= 'z';
    if (upper && is_lower) {
      camel += static_cast<char>(c - 'a' + 'A');
    } else if (!upper && is_upper) {
      camel += static_cast<char>(c - 'A' + 'a');
    } else {
      camel += c;
    }
    upper = false;
  }
  return camel;
}

struct RowMaker::Inside {
  enum class From {
    user_id,
    item_id,
    timestamp,
    event_type,
    event_value,
    impression,
    recommendation_id,
    properties
  };

  struct Plan {
    From from = From::properties;
    std::string camel{};
  };

  static From from_of(std::string_view name) {
    if (name == "USER_ID") return From::user_id;
    if (name == "ITEM_ID") return From::item_id;
    if (name == "TIMESTAMP") return From::timestamp;
    if (name == "EVENT_TYPE") return From::event_type;
    if (name == "EVENT_VALUE") return From::event_value;
    if (name == "IMPRESSION") return From::impression;
    if (name == "RECOMMENDATION_ID") return From::recommendation_id;
    return From::properties;
  }

  explicit Inside(std::vector<Column> given) : columns(std::move(given)) {
    for (const Column& column : columns) {
      plans.push_back({from_of(column.name), camel_case(column.name)});
      reads_properties |= plans.back().from == From::properties;
    }
  }

  // The text of a property, or false when its kind fits no column.
  bool take_property(std::uint32_t node, Cell& cell) {
    using Kind = JsonNode::Kind;
    switch (tape.node(node).kind) {
      case Kind::null_value:
        return true;
      case Kind::true_value:
      case Kind::false_value:
      case Kind::number:
        cell = tape.raw(node);
        return true;
      case Kind::text:
        cell = tape.text(node, scratch);
        return true;
      case Kind::object:
        return false;
      case Kind::list:
        break;
    }
    std::string joined;
    for (std::uint32_t at = node + 1; at < tape.node(node).next; at = tape.node(at).next) {
      if (at != node + 1) joined += '|';
      if (tape.node(at).kind == Kind::text) {
        joined += tape.text(at, scratch);
      } else if (tape.node(at).kind == Kind::number) {
        joined += tape.raw(at);
      } else {
        return false;
      }
    }
    if (!joined.empty()) cell = std::move(joined);
    return true;
  }

  bool take(const Plan& plan, const Column& column, const Event& event, Cell& cell) {
    const auto take_text = [&](const std::string& text) {
      if (!text.empty()) cell = text;
      return true;
    };
    switch (plan.from) {
      case From::user_id:
        return take_text(event.user_id);
      case From::item_id:
        return take_text(event.item_id);
      case From::timestamp:
        cell = std::to_string(event.timestamp);
        return true;
      case From::event_type:
        return take_text(event.event_type);
      case From::event_value:
        return take_text(event.event_value);
      case From::recommendation_id:
        return take_text(event.recommendation_id);
      case From::impression: {
        std::string joined;
        for (const std::string& item : event.impression) {
          if (!joined.empty()) joined += '|';
          joined += item;
        }
        return take_text(joined);
      }
      case From::properties:
        break;
    }
    if (!has_properties) return true;
    for (const std::string* name : {&plan.camel, &column.name}) {
      const auto node = tape.member(tape.roots().front(), *name, scratch);
      if (!node) continue;
      if (!take_property(*node, cell)) return false;
      if (cell) return true;
    }
    return true;
  }

  std::optional<std::string> make(const Event& event, std::vector<Cell>& row) {
    if (event.anonymous()) return "anonymous";
    has_properties = reads_properties && !event.properties.empty() &&
                     tape.read_one(event.properties) &&
                     tape.node(tape.roots().front()).kind == JsonNode::Kind::object;
    row.resize(columns.size());
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const Column& column = columns[i];
      const auto refused = [&](std::string_view problem) {
        return "column " + column.name + ' ' + std::string(problem);
      };
      Cell& cell = row[i];
      cell.reset();
      if (!take(plans[i], column, event, cell)) return refused("wrong type");
      // In a column of numbers an empty text is how forms and exports write "none".
      if (cell && cell->empty() && column.type != ColumnType::text) cell.reset();
      if (!cell) {
        if (!column.nullable) return refused("missing");
        continue;
      }
      if (!fits(*cell, column.type) || !valid_utf8(*cell)) return refused("wrong type");
      if (const auto problem = csv_problem(*cell)) return refused(*problem);
      if (plans[i].from == From::impression && cell->size() > kImpressionCharactersMax &&
          code_points(*cell) > kImpressionCharactersMax) {
        return refused("too long");
      }
    }
    return std::nullopt;
  }

  std::vector<Column> columns;
  std::vector<Plan> plans{};
  bool reads_properties = false;
  bool has_properties = false;
  JsonTape tape{};
  std::string scratch{};
};

RowMaker::RowMaker(std::vector<Column> columns)
    : inside_(std::make_unique<Inside>(std::move(columns))) {}
RowMaker::~RowMaker() = default;
RowMaker::RowMaker(RowMaker&&) noexcept = default;
RowMaker& RowMaker::operator=(RowMaker&&) noexcept = default;

std::optional<std::string> RowMaker::make(const Event& event, std::vector<Cell>& row) {
  return inside_->make(event, row);
}

const std::vector<Column>& RowMaker::columns() const { return inside_->columns; }

}  // namespace millrace
