// Titles of items, for showing recommendations to people.
#pragma once

#include <cstddef>
#include <string>
#include <unordered_map>

#include "core/result.h"
#include "lake/byte_reader.h"

namespace millrace {

using Titles = std::unordered_map<std::string, std::string>;

struct TitleOptions {
  std::size_t items_max = 1'000'000;         // further items are not read
  std::size_t title_bytes_max = 200;         // a longer title is cut, between characters
  std::size_t record_bytes_max = 64u << 10;  // a longer line is skipped
};

/// Reads item and title from a file such as lies beside public rating sets: MovieLens' movies.csv,
/// movies.dat (`::`) and u.item (`|`), HetRec's movies.dat and artists.dat, or any CSV or TSV whose
/// header has a title or name. Without such a header (and for `movies.dat` and `u.item`) the first
/// column is the item and the second the title. Lines that are not UTF-8 are taken for ISO 8859-1.
/// What cannot be read is left out: titles are decoration. Errors are the source's own.
Result<Titles> read_titles(ByteReader& source, const TitleOptions& options = {});

}  // namespace millrace
