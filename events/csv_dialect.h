// The CSV that Amazon Personalize imports (Developer Guide, "Preparing training data"), written and
// read back.
//
// UTF-8 without byte order mark, LF after every line, the last one too. The header's names are not
// quoted. Null is nothing between commas. A cell that holds a comma, a double quote or a backslash,
// or begins or ends with a blank, is put in double quotes, and inside of them `"` and `\` get a
// backslash in front (not doubled, as RFC 4180 would). An empty text is `""`, so that it is not
// null. A record holds no line break, so a cell with CR or LF cannot be written; neither can NUL.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace millrace {

/// Whether a cell can be written; else why not: "line break", "control character" (NUL).
std::optional<std::string_view> csv_problem(std::string_view cell);

/// Appends the header and its LF. REQUIRES: names of letters, digits and underscores.
void append_csv_header(std::span<const std::string> names, std::string& out);

/// Appends one record and its LF; a cell without value is null. REQUIRES: csv_problem is nothing
/// for every cell.
void append_csv_row(std::span<const std::optional<std::string>> row, std::string& out);

/// Reads one record: `line` without its LF. Strict, as the importer should be: `rejected` when a
/// quote is not closed or stands in the middle of a bare cell, when text follows a closing quote,
/// when a backslash inside quotes is followed by anything but `"` or `\`, when a CR stands in it,
/// or when it is not UTF-8. A backslash outside of quotes is itself. `out` and its strings are
/// reused; on an error it holds nothing of use.
Status read_csv_row(std::string_view line, std::vector<std::optional<std::string>>& out);

}  // namespace millrace
