// Any bytes as a line of CSV, and any cells (cut at byte 0x1F, null where 0x1E stands alone)
// written and read back.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/check.h"
#include "events/csv_dialect.h"
#include "events/utf8.h"

namespace millrace {
namespace {

using Row = std::vector<std::optional<std::string>>;

void check_round_trip(const Row& row) {
  std::string text;
  append_csv_row(row, text);
  MILLRACE_CHECK(text.find('\n') == text.size() - 1);
  text.pop_back();
  Row read;
  MILLRACE_CHECK(read_csv_row(text, read).has_value());
  MILLRACE_CHECK(read == row);
}

}  // namespace
}  // namespace millrace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace millrace;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  Row row;
  if (read_csv_row(text, row)) {
    bool writable = true;
    for (const auto& cell : row) writable = writable && (!cell || !csv_problem(*cell));
    if (writable) check_round_trip(row);
  }
  row.clear();
  for (std::size_t begin = 0; begin <= size;) {
    const std::size_t end = std::min(text.find('\x1F', begin), size);
    const std::string_view cell = text.substr(begin, end - begin);
    begin = end + 1;
    if (csv_problem(cell) || !valid_utf8(cell)) return 0;
    row.push_back(cell == "\x1E" ? std::nullopt : std::optional<std::string>(cell));
  }
  check_round_trip(row);
  return 0;
}
