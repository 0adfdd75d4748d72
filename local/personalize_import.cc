#include "local/personalize_import.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <functional>
#include <set>

#include "events/csv_dialect.h"

namespace millrace {
namespace {

constexpr std::size_t kLineBytesMax = 1u << 20;
constexpr std::int64_t kSecondsMax = 4'000'000'000;  // the year 2096; beyond it are milliseconds

std::size_t characters(std::string_view utf8) {
  std::size_t count = 0;
  for (const char c : utf8) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

template <class Number>
std::optional<Number> parsed(std::string_view text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// Lines of a file, each at most kLineBytesMax; `visit` gets the line and its number from 1.
ImportProblem each_line(const std::filesystem::path& path,
                        const std::function<ImportProblem(std::string_view, std::size_t)>& visit) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return fmt::format(
        "Insufficient privileges for accessing data in Amazon S3. ({} cannot be read)",
        path.string());
  }
  std::string buffer;
  std::string chunk(1u << 20, '\0');
  std::size_t number = 0;
  while (file) {
    file.read(chunk.data(), static_cast<std::streamsize>(chunk.size()));
    buffer.append(chunk.data(), static_cast<std::size_t>(file.gcount()));
    std::size_t begin = 0;
    while (true) {
      const auto end = buffer.find('\n', begin);
      if (end == std::string::npos) break;
      if (auto problem = visit(std::string_view(buffer).substr(begin, end - begin), ++number);
          !problem.empty()) {
        return problem;
      }
      begin = end + 1;
    }
    buffer.erase(0, begin);
    if (buffer.size() > kLineBytesMax) {
      return fmt::format("Line {} of {} is longer than {} bytes.", number + 1,
                         path.filename().string(), kLineBytesMax);
    }
  }
  return buffer.empty() ? ImportProblem{} : visit(buffer, number + 1);
}

ImportProblem check_header(const std::vector<Column>& columns,
                           const std::vector<std::optional<std::string>>& header) {
  std::string missing;
  for (const Column& column : columns) {
    if (std::find(header.begin(), header.end(), column.name) == header.end()) {
      missing += (missing.empty() ? "" : ", ") + column.name;
    }
  }
  if (!missing.empty()) {
    return fmt::format("Input CSV is missing the following columns:[{}].", missing);
  }
  std::string unknown;
  for (const auto& name : header) {
    const bool found = name && std::any_of(columns.begin(), columns.end(),
                                           [&](const Column& one) { return one.name == *name; });
    if (!found) unknown += (unknown.empty() ? "" : ", ") + name.value_or("(empty)");
  }
  if (!unknown.empty()) {
    return fmt::format("Input CSV has columns that are not in the schema:[{}].", unknown);
  }
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (header.size() != columns.size() || *header[i] != columns[i].name) {
      return "The order of the columns in the input CSV differs from the order of the fields in "
             "the "
             "schema.";
    }
  }
  return {};
}

/// Every row of all files with its cells checked and in canonical form; null where a cell is.
ImportProblem each_row(
    const std::vector<std::filesystem::path>& files, const std::vector<Column>& columns,
    const std::function<ImportProblem(const std::vector<std::optional<std::string>>&,
                                      std::size_t line)>& visit) {
  std::vector<std::optional<std::string>> cells;
  for (const auto& path : files) {
    bool headed = false;
    auto problem = each_line(path, [&](std::string_view text, std::size_t line) -> ImportProblem {
      const auto here = [&] {
        return fmt::format(" (line {} of {})", line, path.filename().string());
      };
      if (auto read = read_csv_row(text, cells); !read) {
        return fmt::format("The input CSV cannot be parsed: {}.{}", read.error().message, here());
      }
      if (line == 1) {
        headed = true;
        return check_header(columns, cells);
      }
      if (cells.size() != columns.size()) {
        return fmt::format("A record has {} fields and the header {}.{}", cells.size(),
                           columns.size(), here());
      }
      for (std::size_t i = 0; i < columns.size(); ++i) {
        const Column& column = columns[i];
        if (!cells[i]) {
          if (column.nullable) continue;
          return fmt::format("Missing value for the required field {}.{}", column.name, here());
        }
        const bool id = column.name == "USER_ID" || column.name == "ITEM_ID";
        const std::size_t limit = id                                                  ? 256
                                  : column.categorical || column.name == "IMPRESSION" ? 1000
                                                                                      : 0;
        if (limit > 0 && characters(*cells[i]) > limit) {
          return fmt::format(
              "Length cannot be more than {} characters for {}. See the data formatting "
              "guidelines of the developer guide.{}",
              limit, column.name, here());
        }
        auto value = canonical_value(column, *cells[i]);
        if (!value || (value->empty() && (id || column.name == "EVENT_TYPE"))) {
          return fmt::format("The value of {} is not a valid {}.{}", column.name,
                             name_of(column.type), here());
        }
        cells[i] = std::move(*value);
      }
      return visit(cells, line);
    });
    if (!problem.empty()) return problem;
    if (!headed) return fmt::format("{} is empty.", path.filename().string());
  }
  return {};
}

}  // namespace

std::optional<std::string> canonical_value(const Column& column, std::string_view text) {
  switch (column.type) {
    case ColumnType::text:
      return std::string(text);
    case ColumnType::int32:
      if (const auto value = parsed<std::int32_t>(text)) return fmt::format("{}", *value);
      return std::nullopt;
    case ColumnType::int64:
      if (const auto value = parsed<std::int64_t>(text)) return fmt::format("{}", *value);
      return std::nullopt;
    case ColumnType::float32:
      if (const auto value = parsed<float>(text); value && std::isfinite(*value)) {
        return fmt::format("{}", *value);
      }
      return std::nullopt;
    case ColumnType::float64:
      if (const auto value = parsed<double>(text); value && std::isfinite(*value)) {
        return fmt::format("{}", *value);
      }
      return std::nullopt;
    case ColumnType::boolean:
      for (const std::string_view yes : {"true", "True", "TRUE", "1"}) {
        if (text == yes) return "true";
      }
      for (const std::string_view no : {"false", "False", "FALSE", "0"}) {
        if (text == no) return "false";
      }
      return std::nullopt;
  }
  return std::nullopt;
}

ImportProblem list_import_files(const std::filesystem::path& path, bool folder,
                                std::vector<std::filesystem::path>& files) {
  std::error_code error;
  if (!folder) {
    if (std::filesystem::is_regular_file(path, error)) files.push_back(path);
  } else {
    for (std::filesystem::directory_iterator entries(path, error), end; !error && entries != end;
         entries.increment(error)) {
      if (entries->is_regular_file(error)) files.push_back(entries->path());
    }
    std::sort(files.begin(), files.end());
  }
  if (!files.empty()) return {};
  return fmt::format("Insufficient privileges for accessing data in Amazon S3. ({} {})",
                     path.string(), folder ? "holds no file" : "is no file");
}

ImportProblem import_interactions(const std::vector<std::filesystem::path>& files,
                                  const std::vector<Column>& columns, const ImportLimits& limits,
                                  InteractionStore& rows) {
  std::string others;
  std::set<std::string, std::less<>> event_types;
  auto problem = each_row(files, columns, [&](const auto& cells, std::size_t) -> ImportProblem {
    InteractionFields fields;
    others.clear();
    for (std::size_t i = 0; i < columns.size(); ++i) {
      if (!cells[i]) continue;
      const std::string& name = columns[i].name;
      const std::string& value = *cells[i];
      if (name == "USER_ID") {
        fields.user_id = value;
      } else if (name == "ITEM_ID") {
        fields.item_id = value;
      } else if (name == "TIMESTAMP") {
        fields.second = *parsed<std::int64_t>(value);
        if (fields.second < 0) return "TIMESTAMP is negative: " + value + ".";
        if (limits.seconds_only && fields.second > kSecondsMax) {
          return "TIMESTAMP must be in seconds since 1970, this looks like milliseconds: " + value +
                 ".";
        }
      } else if (name == "EVENT_TYPE") {
        fields.event_type = value;
        if (event_types.size() <= 10 && !event_types.contains(value)) event_types.insert(value);
      } else if (name == "EVENT_VALUE") {
        fields.value = *parsed<float>(value);
      } else {
        others += name;
        others += '=';
        others += value;
        others += '\n';
      }
    }
    fields.others = others;
    if (rows.bulk().size() >= limits.rows_max) {
      return fmt::format("More than {} interactions, the limit of this emulator.", limits.rows_max);
    }
    rows.add_bulk(fields);
    return {};
  });
  if (!problem.empty()) return problem;
  // Besides the three required columns; the guide counts distinct event types with them.
  if (event_types.size() + columns.size() - 3 > 10) {
    return fmt::format(
        "The total number of optional columns and distinct event types is more than 10.");
  }
  if (rows.bulk().size() < limits.rows_min) {
    return fmt::format("Dataset has fewer than {} interactions: {}.", limits.rows_min,
                       rows.bulk().size());
  }
  return {};
}

ImportProblem import_records(const std::vector<std::filesystem::path>& files,
                             const std::vector<Column>& columns, std::string_view id_column,
                             std::map<std::string, std::string>& records) {
  return each_row(files, columns, [&](const auto& cells, std::size_t) -> ImportProblem {
    std::string id;
    std::string others;
    for (std::size_t i = 0; i < columns.size(); ++i) {
      if (!cells[i]) continue;
      if (columns[i].name == id_column) {
        id = *cells[i];
      } else {
        others += columns[i].name + "=" + *cells[i] + "\n";
      }
    }
    records[id] = others;
    return {};
  });
}

}  // namespace millrace
