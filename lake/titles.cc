#include "lake/titles.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "events/utf8.h"
#include "lake/delimited.h"
#include "lake/peek_reader.h"

namespace millrace {
namespace {

constexpr std::size_t kHeadBytes = 4096;

std::string in_utf8(std::string_view bytes) {
  if (valid_utf8(bytes)) return std::string(bytes);
  std::string text;
  append_latin1(bytes, text);
  return text;
}

std::string cut(std::string text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  std::size_t at = bytes_max;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80) --at;
  text.resize(at);
  return text + "…";
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return out;
}

bool is_title(std::string_view name) {
  const std::string plain = lower(name);
  return plain == "title" || plain == "name" || plain == "item_title" || plain == "item_name";
}

}  // namespace

Result<Titles> read_titles(ByteReader& source, const TitleOptions& options) {
  PeekReader peeked(source);
  const auto head = peeked.peek(kHeadBytes);
  if (!head) return fail(head.error());
  const std::string_view first_line = head->substr(0, head->find('\n'));
  // Titles hold commas and colons, so the rarer delimiter wins.
  std::string delimiter = ",";
  for (const char* candidate : {"\t", "::", "|", ";"}) {
    if (first_line.find(candidate) != std::string_view::npos) {
      delimiter = candidate;
      break;
    }
  }
  // movies.csv has bars in its last column.
  if (delimiter == "|" && first_line.find(',') < first_line.find('|')) delimiter = ",";

  Titles titles;
  DelimitedReader reader(peeked, {.delimiter = delimiter,
                                  .quotes = delimiter == ",",
                                  .record_bytes_max = options.record_bytes_max});
  std::size_t title_column = 1;
  bool first = true;
  while (titles.size() < options.items_max) {
    const auto step = reader.next();
    if (!step) return fail(step.error());
    if (*step == DelimitedReader::Step::end) break;
    if (*step == DelimitedReader::Step::reject) continue;
    const auto& cells = reader.cells();
    if (first) {
      first = false;
      const auto title = std::find_if(cells.begin(), cells.end(), is_title);
      if (title != cells.end()) {
        title_column = static_cast<std::size_t>(title - cells.begin());
        continue;
      }
    }
    if (cells.size() <= std::max<std::size_t>(title_column, 1) || cells[0].empty()) continue;
    titles.emplace(in_utf8(cells[0]), cut(in_utf8(cells[title_column]), options.title_bytes_max));
  }
  return titles;
}

}  // namespace millrace
