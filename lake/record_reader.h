// Records of an object, one after the other: lines, or JSON values with nothing between them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "lake/byte_reader.h"

namespace millrace {

struct RecordReaderOptions {
  std::size_t buffer_bytes = 256u << 10;  // to begin with
  /// A longer line is a record that nobody can judge: it is given as too_long and read over.
  std::size_t record_bytes_max = 16u << 20;
};

struct RawRecord {
  std::string_view text{};  // without its line feed; good until the next call
  std::uint64_t line = 0;   // from 1; several records may stand in one line
  bool too_long = false;    // `text` is its beginning
  bool unfinished = false;  // the object's end, without a line feed: whole, or cut off
};

/// A line feed always ends a record, so that one broken line cannot swallow the next. A line that
/// outgrows the buffer, as Firehose writes them without a delimiter, is cut between two JSON values
/// on its top level (`}{`); a shorter one is given whole, and the decoder tells its values apart.
///
/// After an error of the source, or in the middle of a line, the whole JSON values read so far are
/// given first, then the error: what an object that was cut in half still holds is kept.
///
/// One buffer is reused; it grows to record_bytes_max at most. Not thread-safe.
class RecordReader {
 public:
  explicit RecordReader(ByteReader& source, RecordReaderOptions options = {});

  /// Nothing at the end. An error stays.
  Result<std::optional<RawRecord>> next();

 private:
  [[nodiscard]] std::size_t last_value_end();
  Status fill();
  RawRecord take(std::size_t length, std::size_t skip);
  Status read_over_line();

  ByteReader& source_;
  RecordReaderOptions options_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::size_t searched_ = 0;  // no line feed in [begin_, begin_ + searched_)
  bool ended_ = false;
  bool skipping_ = false;  // a line that was too long
  std::uint64_t line_ = 1;
  std::optional<Error> error_{};
};

}  // namespace millrace
