// The demo's data: history and live traffic, cut from one set by time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/result.h"
#include "lake/rows.h"
#include "lake/titles.h"

namespace millrace {

struct DemoDataOptions {
  std::string file{};  // empty: invented users
  RowMap map{};
  std::uint64_t limit = 0;  // rows; 0: all
};

/// What the demo knows of its data before anything has gone through the product.
struct DemoData {
  std::string description{};
  std::uint64_t history_rows = 0;
  std::uint64_t live_rows = 0;             // each is one record of the stream
  std::uint64_t live_events = 0;           // that the judge accepts in them
  std::uint64_t live_distinct_events = 0;  // by event id
  std::uint64_t rows_rejected = 0;         // could not be read as rows; left out of both files
  Titles titles{};
  /// Users with the most live events, and the newest items of each: for the pictures at the end.
  std::vector<std::string> users{};
  std::unordered_map<std::string, std::vector<std::string>>
      newest_items{};  // newest first, at most 6

  [[nodiscard]] std::string title_of(const std::string& item) const;
};

/// Reads the set twice and writes the older nine tenths to `history` in their own order, the newest
/// tenth to `live` by time, both as flat NDJSON. Memory: 8 bytes a row, and the live tenth's text.
Result<DemoData> prepare_demo_data(const DemoDataOptions& options,
                                   const std::filesystem::path& history,
                                   const std::filesystem::path& live);

}  // namespace millrace
