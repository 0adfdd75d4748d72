// Lines of columns: CSV by RFC 4180, and what goes by the same name with semicolons, tabs, bars or
// `::` between the columns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "lake/byte_window.h"

namespace millrace {

struct DelimitedOptions {
  std::string delimiter = ",";
  /// Quotes may hold delimiters and line breaks (RFC 4180). False: columns split at every
  /// delimiter, and only a cell that is quoted as a whole loses its quotes (so R writes tabs).
  bool quotes = true;
  /// A longer record is a reject. 8 MiB: no sound row is near it, and it bounds the memory.
  std::size_t record_bytes_max = 8u << 20;
};

/// Reads record by record with flat memory. Empty lines are skipped; LF or CRLF end a line. A quote
/// in the middle of a bare cell is itself. Not thread-safe.
class DelimitedReader {
 public:
  enum class Step {
    record,  // cells()
    reject,  // reason(): this one line is of no use, the next may be
    end
  };

  /// REQUIRES: `source` outlives this; a delimiter of at least one byte.
  DelimitedReader(ByteReader& source, DelimitedOptions options);

  /// The next record. An error is the source's own (cut-off compression, a disk) and final. A
  /// quote that is not closed costs the line it stands in: reading goes on with the next line.
  Result<Step> next();

  /// Good until next().
  [[nodiscard]] const std::vector<std::string_view>& cells() const { return cells_; }
  /// Whether the cell was written in quotes. REQUIRES: cell < cells().size().
  [[nodiscard]] bool quoted(std::size_t cell) const { return spans_[cell].quoted; }
  /// The bytes of the record or reject without its line end; of a reject that is too long the first
  /// 64 KiB.
  [[nodiscard]] std::string_view raw() const { return raw_; }
  [[nodiscard]] std::string_view reason() const { return reason_; }
  /// The line where the record begins, from 1.
  [[nodiscard]] std::uint64_t line() const { return line_; }

 private:
  struct Span {
    std::size_t begin = 0;
    std::size_t count = 0;
    bool quoted = false;
    bool doubled = false;  // holds "" for "
  };

  Step skip_overlong();
  Step reject(std::string_view reason);
  Step read_quoted_record();
  Step read_plain_record();
  bool at_delimiter(std::size_t offset);
  void make_cells();
  void finish(std::size_t record_bytes, std::size_t consumed);

  ByteWindow window_;
  DelimitedOptions options_;
  std::vector<Span> spans_{};
  std::vector<std::string_view> cells_{};
  std::vector<std::string> undoubled_{};
  std::string raw_{};
  std::string_view reason_{};
  std::uint64_t line_ = 0;
  std::uint64_t next_line_ = 1;
};

}  // namespace millrace
