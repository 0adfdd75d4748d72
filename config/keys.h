// The one table of configuration keys: it validates files, and the reference, the JSON Schema and
// the sample are printed from it.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"

namespace millrace {

/// What stood behind a key, after `${…}` was filled in.
struct ConfigValue {
  enum class Shape { text, list, map, nothing };
  Shape shape = Shape::nothing;
  std::string text{};
  std::vector<std::string> list{};
  std::map<std::string, std::string> map{};
};

struct ConfigKey {
  enum class Type {
    text,
    boolean,
    number,
    size,
    duration,
    start,
    choice,
    texts,
    properties,
    users
  };
  std::string_view path{};  // "lake.buffer.size"
  Type type = Type::text;
  std::string_view
      default_text{};  // as one would write it; "" shows as "(none)" and `required` as "(required)"
  std::string_view about{};  // one sentence for the reference
  std::vector<std::string_view> choices{};
  /// Puts the value into the Config. What it returns is what was expected instead: "a size such as
  /// 5MiB, at least 64KiB".
  std::function<std::optional<std::string>(Config&, const ConfigValue&)> set{};
  /// Why the key has no effect in this release; writing it is an error then.
  std::string_view later{};
  bool required = false;  // within its section
};

/// In the order of the reference.
const std::vector<ConfigKey>& config_keys();

/// Sections that exist without a key of their own being written (`source.kafka: {}` is still a
/// source).
void open_section(Config& config, std::string_view path);

std::string_view name_of(ConfigKey::Type type);

}  // namespace millrace
