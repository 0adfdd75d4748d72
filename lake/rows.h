// History files row by row, for `backfill` and `simulate`: CSV, TSV, semicolons, `::`, newline-
// delimited JSON and JSON lists, with columns found by name or by `--map`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/result.h"
#include "lake/byte_reader.h"

namespace millrace {

/// `--map user_id=COL,item_id=COL,timestamp=COL[,event_type=COL…]`: our field's name and where it
/// comes from: a column's name, its number from 1, or a JSON pointer (RFC 6901).
struct RowMap {
  std::vector<std::pair<std::string, std::string>> columns{};

  [[nodiscard]] bool empty() const { return columns.empty(); }
  /// Back to the form of the command line.
  [[nodiscard]] std::string text() const;
};

/// `invalid` names the part that is wrong: an unknown field, a field twice, no column, or user_id
/// (or session_id), item_id or timestamp missing. A comma or backslash inside a column's name is
/// written with a backslash in front.
Result<RowMap> parse_row_map(std::string_view text);

struct RowOptions {
  RowMap map{};  // empty: by the file's name and header
  /// A longer row is a reject.
  std::size_t row_bytes_max = 8u << 20;
};

/// Reads rows with flat memory. The form is told by name and content:
///
/// - `[` or `{` as first byte (blanks and a byte order mark apart): a JSON list, or an object per
///   line. An object with `event_list` or `eventList` goes through as it is; of others the mapped
///   members are taken with their JSON values, and properties, impression and recommendation_id
///   with them.
/// - Else columns. Known by name: `u.data` (tab, no header: user, item, rating, time) and
///   `ratings.dat` (`::`, the same). All others have a header, whose names are compared without
///   case, blanks and punctuation with what such columns are called (userId, customer, movieID,
///   product_id, unixTimestamp, …); the delimiter is the one of tab, `;`, `,`, `::` and `|` that
///   the first line has most of. With `--map` by numbers alone the first line is a header only when
///   its time column is no time.
///
/// Each row becomes the text of one JSON object of our field names (user_id, item_id, timestamp,
/// event_type, event_value, session_id, event_id), values as written; an empty cell, or a bare NA
/// as R writes it, is left out. Whether the values make an event is EventDecoder's matter.
///
/// A row with another number of columns than the first line, with broken quotes or that is not
/// UTF-8 is a reject, not an error. Not thread-safe.
class RowReader {
 public:
  enum class Step { row, reject, end };

  /// Looks at 64 KiB from the first byte that is not blank. `name` is the file's, for known shapes
  /// and messages. `invalid` when columns cannot be found: the message shows the header and an
  /// example of --map. REQUIRES: `source` (decompressed) outlives the reader.
  static Result<std::unique_ptr<RowReader>> open(ByteReader& source, std::string name,
                                                 RowOptions options = {});
  virtual ~RowReader() = default;

  /// An error is the source's own, and final; rows before it were given.
  virtual Result<Step> next() = 0;

  /// The row's JSON object, one line without its end. Good until next().
  [[nodiscard]] std::string_view json() const { return json_; }
  /// Why the row is a reject: "not UTF-8", "not JSON", "not an object", "8 columns instead of 9",
  /// "quote not closed", "text behind a closing quote", "row too long".
  [[nodiscard]] const std::string& reason() const { return reason_; }
  /// The row's own bytes; of one that is too long the first 64 KiB.
  [[nodiscard]] std::string_view raw() const { return raw_; }
  /// Data rows from 1, rejects counted, and the line where it begins, from 1.
  [[nodiscard]] std::uint64_t row() const { return row_; }
  [[nodiscard]] std::uint64_t line() const { return lines_before_ + line_; }

  /// What was recognised and which column became which field, as one line of text: for people, and
  /// as part of a backfill's source id ("tab; user_id=userID,item_id=movieID,…").
  [[nodiscard]] const std::string& description() const { return description_; }

 protected:
  RowReader() = default;

  std::string json_{};
  std::string reason_{};
  std::string raw_{};
  std::string description_{};
  std::uint64_t row_ = 0;
  std::uint64_t line_ = 0;

 private:
  std::uint64_t lines_before_ = 0;  // blank ones that open() passed over
};

}  // namespace millrace
