#include "events/csv_dialect.h"

#include "events/utf8.h"

namespace millrace {
namespace {

bool needs_quotes(std::string_view cell) {
  if (cell.empty()) return true;
  const auto blank = [](char c) { return c == ' ' || c == '\t'; };
  return blank(cell.front()) || blank(cell.back()) ||
         cell.find_first_of(",\"\\") != std::string_view::npos;
}

void append_quoted(std::string_view cell, std::string& out) {
  out += '"';
  for (const char c : cell) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  out += '"';
}

}  // namespace

std::optional<std::string_view> csv_problem(std::string_view cell) {
  if (cell.find_first_of("\r\n") != std::string_view::npos) return "line break";
  if (cell.find('\0') != std::string_view::npos) return "control character";
  return std::nullopt;
}

void append_csv_header(std::span<const std::string> names, std::string& out) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0) out += ',';
    out += names[i];
  }
  out += '\n';
}

void append_csv_row(std::span<const std::optional<std::string>> row, std::string& out) {
  for (std::size_t i = 0; i < row.size(); ++i) {
    if (i > 0) out += ',';
    if (!row[i]) continue;
    if (needs_quotes(*row[i])) {
      append_quoted(*row[i], out);
    } else {
      out += *row[i];
    }
  }
  out += '\n';
}

Status read_csv_row(std::string_view line, std::vector<std::optional<std::string>>& out) {
  const auto rejected = [](std::string_view what, std::size_t column) -> Status {
    return fail(ErrorKind::rejected, std::string(what) + " in column " + std::to_string(column));
  };
  std::size_t count = 0;
  std::size_t at = 0;
  if (!valid_utf8(line)) return fail(ErrorKind::rejected, "not UTF-8");
  for (;;) {
    if (count == out.size()) out.emplace_back();
    std::optional<std::string>& cell = out[count++];
    if (at < line.size() && line[at] == '"') {
      if (cell) {
        cell->clear();
      } else {
        cell.emplace();
      }
      for (++at;; ++at) {
        if (at >= line.size()) return rejected("a quote that is not closed", count);
        if (line[at] == '"') break;
        if (line[at] == '\r' || line[at] == '\n') return rejected("a line break", count);
        if (line[at] == '\\') {
          ++at;
          if (at >= line.size() || (line[at] != '"' && line[at] != '\\')) {
            return rejected("a backslash that escapes neither a quote nor a backslash", count);
          }
        }
        *cell += line[at];
      }
      ++at;
      if (at < line.size() && line[at] != ',')
        return rejected("text behind a closing quote", count);
    } else {
      const std::string_view bare = line.substr(at, line.find(',', at) - at);
      if (bare.find('"') != std::string_view::npos) {
        return rejected("a quote in the middle of a cell", count);
      }
      if (bare.find_first_of("\r\n") != std::string_view::npos) {
        return rejected("a line break", count);
      }
      at += bare.size();
      if (bare.empty()) {
        cell.reset();
      } else {
        cell = bare;
      }
    }
    if (at >= line.size()) break;
    ++at;  // the comma
  }
  out.resize(count);
  return {};
}

}  // namespace millrace
