#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

#include "config/config.h"
#include "config/keys.h"
#include "config/values.h"
#include "core/edit_distance.h"

namespace millrace {
namespace {

constexpr std::size_t kFileBytesMax = 1u << 20;  // a configuration of a megabyte is a mistake
constexpr std::size_t kProblemsMax = 50;         // as many as fit a screen

std::string joined(std::string_view parent, std::string_view key) {
  return parent.empty() ? std::string(key) : fmt::format("{}.{}", parent, key);
}

bool is_section(std::string_view path) {
  return std::any_of(config_keys().begin(), config_keys().end(), [&](const ConfigKey& key) {
    return key.path.size() > path.size() && key.path.starts_with(path) &&
           key.path[path.size()] == '.';
  });
}

const ConfigKey* find_key(std::string_view path) {
  for (const ConfigKey& key : config_keys()) {
    if (key.path == path) return &key;
  }
  return nullptr;
}

// The names that may stand directly below `parent`, in the table's order.
std::vector<std::string> children_of(std::string_view parent) {
  std::vector<std::string> names;
  for (const ConfigKey& key : config_keys()) {
    std::string_view rest = key.path;
    if (!parent.empty()) {
      if (!rest.starts_with(parent) || rest.size() <= parent.size() || rest[parent.size()] != '.')
        continue;
      rest.remove_prefix(parent.size() + 1);
    }
    const std::string name(rest.substr(0, rest.find('.')));
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

std::string hint_for_unknown(std::string_view parent, std::string_view name) {
  // A right name in a wrong place is the commonest mistake; a typo the next.
  std::string best;
  std::size_t best_distance = 1000;
  for (const ConfigKey& key : config_keys()) {
    for (std::string_view path = key.path;;) {
      const std::size_t dot = path.rfind('.');
      const std::string_view leaf = dot == std::string_view::npos ? path : path.substr(dot + 1);
      const std::string_view folder =
          dot == std::string_view::npos ? std::string_view{} : path.substr(0, dot);
      // Places elsewhere count as one step farther than neighbours.
      const std::size_t distance = 2 * edit_distance(leaf, name) + (folder == parent ? 0 : 1);
      if (distance < best_distance) {
        best_distance = distance;
        best = std::string(path);
      }
      if (dot == std::string_view::npos) break;
      path = folder;
    }
  }
  if (best_distance <= 2 * std::max<std::size_t>(1, name.size() / 2) + 1)
    return fmt::format("did you mean {}?", best);
  return fmt::format("known here: {}", fmt::join(children_of(parent), ", "));
}

class Parser {
 public:
  Parser(Config& config, const Environment& environment)
      : config_(config), environment_(environment) {}

  std::vector<ConfigProblem> problems{};
  std::set<std::string, std::less<>> written{};
  std::map<std::string, YAML::Mark, std::less<>> marks{};

  void section(const YAML::Node& node, const std::string& path) {
    if (node.IsNull()) {
      if (!path.empty()) open(path, node.Mark());
      return;
    }
    if (!node.IsMap()) {
      problem(node.Mark(),
              fmt::format("{} is a section of keys ({}), not {}", path.empty() ? "the file" : path,
                          fmt::join(children_of(path), ", "), shape_name(node)));
      return;
    }
    if (!path.empty()) open(path, node.Mark());
    std::map<std::string, YAML::Mark> seen;
    for (const auto& entry : node) {
      if (!entry.first.IsScalar()) {
        problem(entry.first.Mark(), "a key must be a plain word");
        continue;
      }
      const std::string name = entry.first.Scalar();
      const std::string full = joined(path, name);
      const YAML::Mark mark = entry.first.Mark();
      if (const auto [first, fresh] = seen.emplace(name, mark); !fresh) {
        problem(mark, fmt::format("{} stands twice; it was first written in line {}", full,
                                  first->second.line + 1));
        continue;
      }
      if (const ConfigKey* key = find_key(full)) {
        value(*key, entry.second, mark);
      } else if (is_section(full)) {
        section(entry.second, full);
      } else {
        problem(mark, fmt::format("{} is not a key; {}", full, hint_for_unknown(path, name)));
      }
    }
  }

  void problem(const YAML::Mark& mark, std::string text) {
    problems.push_back({mark.is_null() ? 0 : mark.line + 1, mark.is_null() ? 0 : mark.column + 1,
                        std::move(text)});
  }

 private:
  static std::string_view shape_name(const YAML::Node& node) {
    if (node.IsMap()) return "a map";
    if (node.IsSequence()) return "a list";
    return node.IsNull() ? "nothing" : "a single value";
  }

  void open(const std::string& path, const YAML::Mark& mark) {
    open_section(config_, path);
    written.insert(path);
    marks.emplace(path, mark);
  }

  void value(const ConfigKey& key, const YAML::Node& node, const YAML::Mark& key_mark) {
    written.insert(std::string(key.path));
    marks.emplace(key.path, key_mark);
    if (!key.later.empty()) {
      problem(key_mark, fmt::format("{} has no effect in this release: {}", key.path, key.later));
      return;
    }
    const std::size_t before = problems.size();
    ConfigValue read;
    if (node.IsScalar()) {
      read.shape = ConfigValue::Shape::text;
      read.text = filled(node);
    } else if (node.IsSequence()) {
      read.shape = ConfigValue::Shape::list;
      for (const YAML::Node& entry : node)
        read.list.push_back(entry.IsScalar() ? filled(entry) : not_scalar(key, entry));
    } else if (node.IsMap()) {
      read.shape = ConfigValue::Shape::map;
      for (const auto& entry : node) {
        const std::string name =
            entry.first.IsScalar() ? entry.first.Scalar() : not_scalar(key, entry.first);
        std::string text =
            entry.second.IsScalar() ? filled(entry.second) : not_scalar(key, entry.second);
        if (!read.map.emplace(name, std::move(text)).second) {
          problem(entry.first.Mark(), fmt::format("{}: {} stands twice", key.path, name));
        }
      }
    }
    if (problems.size() != before) return;
    if (const auto expected = unfit(key, read)) {
      problem(node.Mark().is_null() ? key_mark : node.Mark(),
              fmt::format("{} must be {}, not {}", key.path, *expected, shown(key, read)));
    }
  }

  std::optional<std::string> unfit(const ConfigKey& key, const ConfigValue& read) {
    using Shape = ConfigValue::Shape;
    using Type = ConfigKey::Type;
    const bool lists = key.type == Type::texts;
    const bool maps = key.type == Type::properties || key.type == Type::users;
    const bool texts = key.type != Type::properties;
    if (read.shape == Shape::nothing) return std::string("a value (write \"\" for none)");
    if ((read.shape == Shape::list && !lists) || (read.shape == Shape::map && !maps) ||
        (read.shape == Shape::text && !texts)) {
      return lists  ? "a list such as [a, b]"
             : maps ? "a map such as {name: value}"
                    : "a single value";
    }
    if (key.type == Type::boolean && !parse_boolean(read.text)) return std::string("true or false");
    if (key.type == Type::choice && std::find(key.choices.begin(), key.choices.end(),
                                              std::string_view(read.text)) == key.choices.end()) {
      return key.choices.size() == 1 ? std::string(key.choices[0])
                                     : fmt::format("one of {}", fmt::join(key.choices, ", "));
    }
    return key.set(config_, read);
  }

  // Values may be secrets: properties are never shown.
  static std::string shown(const ConfigKey& key, const ConfigValue& read) {
    if (key.type == ConfigKey::Type::properties) return "what stands there";
    if (read.shape == ConfigValue::Shape::text) return json_text(read.text);
    if (read.shape == ConfigValue::Shape::list) return "a list";
    return read.shape == ConfigValue::Shape::map ? "a map" : "nothing";
  }

  static std::string json_text(const std::string& text) {
    return text.size() > 120 ? fmt::format("\"{}…\"", text.substr(0, 120))
                             : fmt::format("\"{}\"", text);
  }

  std::string not_scalar(const ConfigKey& key, const YAML::Node& node) {
    problem(node.Mark(),
            fmt::format("{} may hold plain values only, not {}", key.path, shape_name(node)));
    return {};
  }

  // ${NAME}, ${NAME-default}, ${NAME:-default}; $${ is a literal ${. Filled in after YAML was read,
  // so that a value can never become structure.
  std::string filled(const YAML::Node& node) {
    const std::string& text = node.Scalar();
    std::string out;
    for (std::size_t i = 0; i < text.size();) {
      if (text.compare(i, 3, "$${") == 0) {
        out += "${";
        i += 3;
        continue;
      }
      if (text.compare(i, 2, "${") != 0) {
        out += text[i++];
        continue;
      }
      const std::size_t close = text.find('}', i);
      if (close == std::string::npos) {
        problem(node.Mark(),
                fmt::format("\"{}\": a ${{ without its }}; write $${{ for a literal one", text));
        return {};
      }
      const std::string inside = text.substr(i + 2, close - i - 2);
      const std::size_t name_end = inside.find_first_not_of(
          "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
      const std::string name = inside.substr(0, name_end);
      const std::string rest = name_end == std::string::npos ? "" : inside.substr(name_end);
      const bool when_empty = rest.starts_with(":-");
      const bool when_unset = rest.starts_with("-");
      if (name.empty() || (!rest.empty() && !when_empty && !when_unset)) {
        problem(node.Mark(),
                fmt::format(
                    "\"${{{}}}\" is not one of ${{NAME}}, ${{NAME-default}}, ${{NAME:-default}}",
                    inside));
        return {};
      }
      std::optional<std::string> value = environment_(name);
      if ((when_empty && (!value || value->empty())) || (when_unset && !value))
        value = rest.substr(when_empty ? 2 : 1);
      if (!value) {
        problem(
            node.Mark(),
            fmt::format("the environment variable {} is not set; set it, or write ${{{}:-default}}",
                        name, name));
        return {};
      }
      out += *value;
      i = close + 1;
    }
    return out;
  }

  Config& config_;
  const Environment& environment_;
};

void check_required(Parser& parser) {
  for (const ConfigKey& key : config_keys()) {
    if (!key.required || parser.written.contains(key.path)) continue;
    const std::string parent(key.path.substr(0, key.path.rfind('.')));
    const auto section = parser.marks.find(parent);
    // A section counts as begun when it or anything below it is written.
    if (section == parser.marks.end()) continue;
    parser.problem(section->second, fmt::format("{} is missing: {}", key.path, key.about));
  }
}

void check_combinations(const Config& config, Parser& parser, std::vector<std::string>& warnings) {
  const auto at = [&parser](std::string_view path) {
    const auto found = parser.marks.find(path);
    return found == parser.marks.end() ? YAML::Mark::null_mark() : found->second;
  };
  if (config.source) {
    const int kinds = (config.source->kafka ? 1 : 0) + (config.source->kinesis ? 1 : 0) +
                      (config.source->file ? 1 : 0);
    if (kinds > 1)
      parser.problem(at("source"), "source has more than one of kafka, kinesis, file; keep one");
    if (kinds == 0) parser.problem(at("source"), "source needs one of kafka, kinesis, file");
  }
  if (config.lake && !config.lake->options.annotate && config.events.timestamp_from_arrival) {
    parser.problem(at("lake.annotate"),
                   "lake.annotate: false cannot go with events.defaults.timestamp: arrival (the "
                   "arrival is kept in `_source`)");
  }
  if (config.lake) {
    const LakeOptions& lake = config.lake->options;
    if (!lake.prefix.empty() && !lake.prefix.ends_with("/") && !lake.prefix.ends_with("/}")) {
      warnings.push_back(
          fmt::format("lake.prefix \"{}\" does not end in /: the object's name is glued to it, as "
                      "Firehose does",
                      lake.prefix));
    }
  }
  if (config.retrain) {
    if (!config.compact)
      parser.problem(at("retrain"), "retrain needs compact.output: the CSV that it imports");
    if (!config.lake)
      parser.problem(at("retrain"), "retrain needs lake.url: where the interactions are");
  }
}

}  // namespace

std::string SourceConfig::described() const {
  if (kafka) return fmt::format("kafka topic {}", kafka->topic);
  if (kinesis) return fmt::format("kinesis stream {}", kinesis->stream);
  return fmt::format("file {}", file ? file->path : "");
}

Result<LoadedConfig> parse_config(std::string_view text, const std::string& path,
                                  const Environment& environment) {
  LoadedConfig loaded;
  loaded.config.file = path;
  Parser parser(loaded.config, environment);
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(std::string(text));
    if (!documents.empty()) parser.section(documents.front(), "");
    if (documents.size() > 1) {
      parser.problem(documents[1].Mark(),
                     "a second document begins here (after ---), and only the first would be read: "
                     "keep one");
    }
  } catch (const YAML::Exception& error) {
    parser.problems.clear();
    parser.problem(error.mark, fmt::format("this is not YAML: {}", error.msg));
  }
  if (parser.problems.empty()) {
    check_required(parser);
    check_combinations(loaded.config, parser, loaded.warnings);
  }
  if (!parser.problems.empty()) {
    std::stable_sort(
        parser.problems.begin(), parser.problems.end(),
        [](const ConfigProblem& a, const ConfigProblem& b) { return a.line < b.line; });
    std::string message;
    for (std::size_t i = 0; i < parser.problems.size() && i < kProblemsMax; ++i) {
      const ConfigProblem& p = parser.problems[i];
      if (i > 0) message += "\n";
      message += p.line > 0 ? fmt::format("{}:{}:{}: {}", path, p.line, p.column, p.text)
                            : fmt::format("{}: {}", path, p.text);
    }
    if (parser.problems.size() > kProblemsMax) {
      message += fmt::format("\n{}: and {} more", path, parser.problems.size() - kProblemsMax);
    }
    return fail(ErrorKind::invalid, std::move(message));
  }

  Config& config = loaded.config;
  if (config.source && config.source->kafka && config.source->kafka->group.empty()) {
    config.source->kafka->group = config.name;
  }
  if (config.source && config.source->kinesis) config.source->kinesis->application = config.name;
  const auto inherit = [&config](AwsOptions& section) {
    if (section.region.empty()) section.region = config.aws.region;
    if (section.endpoint.empty()) section.endpoint = config.aws.endpoint;
    section.profile = config.aws.profile;
  };
  if (config.source) inherit(config.source->aws);
  if (config.personalize) inherit(config.personalize->aws);
  if (config.retrain) inherit(config.retrain->aws);
  const auto with_slash = [](const std::string& url) { return url.ends_with("/") ? url : url + "/"; };
  if (config.state.empty() && config.lake) {
    config.state = with_slash(config.lake->options.url) + "_millrace/" + config.name + "/";
  } else if (!config.state.empty()) {
    config.state = with_slash(config.state);
  }
  return loaded;
}

Result<LoadedConfig> load_config(const std::string& path, const Environment& environment) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return fail(ErrorKind::invalid,
                fmt::format("{}: there is no such file, or it cannot be read. Write one with "
                            "`millrace template config > {}`, or name yours with -c FILE",
                            path, path));
  }
  std::string text(kFileBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (file.bad())
    return fail(ErrorKind::invalid, fmt::format("{}: it cannot be read (is it a folder?)", path));
  if (text.size() > kFileBytesMax)
    return fail(ErrorKind::invalid, fmt::format("{}: larger than 1 MiB", path));
  return parse_config(text, path, environment);
}

Status require(const Config& config, std::string_view command, const std::vector<Need>& needs) {
  std::string missing;
  const auto lack = [&](std::string_view key, std::string_view example) {
    if (!missing.empty()) missing += "\n";
    missing += fmt::format("{}: `{}` needs {}, which is not there. For example:\n{}", config.file,
                           command, key, example);
  };
  for (const Need need : needs) {
    switch (need) {
      case Need::source:
        if (!config.source) {
          lack("source",
               "  source:\n    kafka: { brokers: \"localhost:9092\", topic: interactions }");
        }
        break;
      case Need::personalize:
        if (!config.personalize) lack("personalize", "  personalize:\n    tracking_id: \"…\"");
        break;
      case Need::lake:
        if (!config.lake) lack("lake", "  lake:\n    url: file:///var/lib/millrace/lake");
        break;
      case Need::state:
        if (config.state.empty())
          lack("state (or lake.url)", "  state: file:///var/lib/millrace/state/");
        break;
      case Need::compact:
        if (!config.compact)
          lack("compact", "  compact:\n    output: file:///var/lib/millrace/personalize_input.csv");
        break;
      case Need::retrain:
        if (!config.retrain) {
          lack("retrain",
               "  retrain:\n    dataset_arn: "
               "\"arn:aws:personalize:eu-west-1:123456789012:dataset/shop/INTERACTIONS\"\n"
               "    solution_arn: \"arn:aws:personalize:eu-west-1:123456789012:solution/shop\"\n"
               "    role_arn: \"arn:aws:iam::123456789012:role/personalize\"");
        }
        break;
    }
  }
  if (!missing.empty()) return fail(ErrorKind::invalid, std::move(missing));
  return {};
}

}  // namespace millrace
