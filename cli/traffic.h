// An app's traffic, event by event: from a file of history, or from invented users.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/result.h"
#include "lake/rows.h"
#include "local/crowd.h"

namespace millrace {

struct TrafficEvent {
  std::string
      user{};  // the key it is produced under: its user, else its session; empty if it has neither
  std::string json{};           // one flat event, one line
  std::int64_t timestamp = -1;  // seconds; -1: none that can be read
};

/// Not thread-safe. Memory: one row, or what Crowd takes.
class Traffic {
 public:
  virtual ~Traffic() = default;

  /// The next event in the file's order (the crowd's: by time); false at the end. Rows that cannot
  /// be read as rows are counted and passed over.
  virtual Result<bool> next(TrafficEvent& event) = 0;
  [[nodiscard]] virtual std::uint64_t rejected_rows() const = 0;
  /// "ratings.csv: comma; user_id=userId,…" or "2,000 invented users, 3,000 items".
  [[nodiscard]] virtual std::string description() const = 0;
};

/// `path` is a local path or a file:// URL. Errors: `not_found`, and `invalid` with an example of
/// --map.
Result<std::unique_ptr<Traffic>> open_traffic(const std::string& path, const RowMap& map);
std::unique_ptr<Traffic> invented_traffic(const CrowdOptions& options);

/// Whether there is a file to read at a local path or file:// URL, in plain words: a missing one
/// and a folder are what people type most often.
Status check_input_file(const std::string& path);

/// "file:///…" of a local path as typed on a command line; other URLs are left as they are.
std::string url_of_path(const std::string& path);

}  // namespace millrace
