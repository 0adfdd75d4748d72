#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "config/config.h"
#include "config/keys.h"

namespace millrace {
namespace {

using Json = nlohmann::ordered_json;
using Type = ConfigKey::Type;

Json schema_of(const ConfigKey& key) {
  Json schema;
  switch (key.type) {
    case Type::boolean:
      schema["type"] = "boolean";
      break;
    case Type::number:
      schema["type"] = {"number", "string"};
      break;  // a string: "${CALLS:-1000}"
    case Type::size:
    case Type::duration:
    case Type::text:
    case Type::start:
      schema["type"] = {"string", "number"};
      break;
    case Type::choice:
      schema["enum"] = key.choices;
      break;
    case Type::texts:
      schema["oneOf"] = {{{"type", "array"}, {"items", {{"type", "string"}}}},
                         {{"type", "string"}}};
      break;
    case Type::properties:
      schema["type"] = "object";
      schema["additionalProperties"] = {{"type", {"string", "number", "boolean"}}};
      break;
    case Type::users:
      schema["type"] = {"string", "object"};
      break;
  }
  schema["description"] = key.about;
  if (!key.default_text.empty()) schema["default"] = key.default_text;
  return schema;
}

std::string shown_default(const ConfigKey& key) {
  if (key.required) return "(required)";
  if (key.default_text.empty()) return "(none)";
  return fmt::format("`{}`", key.default_text);
}

// Outside of code, Markdown takes <group> for a tag and | for the next cell.
std::string escaped(std::string_view text) {
  std::string out;
  bool code = false;
  for (const char c : text) {
    if (c == '`') code = !code;
    if (c == '|' || (c == '<' && !code)) out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

std::string config_reference_markdown() {
  std::string out =
      "| key | what it takes | default | what it does |\n"
      "|---|---|---|---|\n";
  for (const ConfigKey& key : config_keys()) {
    if (!key.later.empty()) continue;
    const std::string takes = key.type == Type::choice
                                  ? fmt::format("`{}`", fmt::join(key.choices, "` `"))
                                  : std::string(name_of(key.type));
    out += fmt::format("| `{}` | {} | {} | {} |\n", key.path, takes, shown_default(key),
                       escaped(key.about));
  }
  return out;
}

std::string config_json_schema() {
  Json root;
  root["$schema"] = "https://json-schema.org/draft/2020-12/schema";
  root["title"] = "millrace.yaml";
  root["type"] = "object";
  root["additionalProperties"] = false;
  root["properties"] = Json::object();
  for (const ConfigKey& key : config_keys()) {
    if (!key.later.empty()) continue;
    Json* node = &root;
    std::string_view rest = key.path;
    for (std::size_t dot = rest.find('.'); dot != std::string_view::npos; dot = rest.find('.')) {
      Json& child = (*node)["properties"][std::string(rest.substr(0, dot))];
      if (child.is_null())
        child = {
            {"type", "object"}, {"additionalProperties", false}, {"properties", Json::object()}};
      node = &child;
      rest.remove_prefix(dot + 1);
    }
    (*node)["properties"][std::string(rest)] = schema_of(key);
    if (key.required) (*node)["required"].push_back(std::string(rest));
  }
  return root.dump(2) + "\n";
}

std::string config_sample() {
  return R"(# millrace.yaml: the smallest useful file. Every key: README, "Configuration"; check it with `millrace check`.
name: shop
aws: { region: eu-west-1 }

source:
  kafka: { brokers: "localhost:9092", topic: interactions }
  # kinesis: { stream: interactions, leases: { file: /var/lib/millrace/shop.leases } }
  # file: { path: events.ndjson }

personalize:
  tracking_id: "${TRACKING_ID:-00000000-0000-0000-0000-000000000000}"

lake:
  url: file:///var/lib/millrace/lake
  prefix: "interactions/!{timestamp:yyyy/MM/dd/HH/}"

compact:
  output: file:///var/lib/millrace/out/personalize_input.csv

# retrain:                       # on a schedule, and with `millrace retrain`
#   schedule: "0 3 * * *"
#   dataset_arn: "arn:aws:personalize:eu-west-1:123456789012:dataset/shop/INTERACTIONS"
#   solution_arn: "arn:aws:personalize:eu-west-1:123456789012:solution/shop"
#   role_arn: "arn:aws:iam::123456789012:role/personalize"
#   batch_inference: { users: all, output: "file:///var/lib/millrace/recommendations/" }
)";
}

}  // namespace millrace
