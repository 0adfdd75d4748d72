// What a compaction did, in numbers that add up.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "events/decode_event.h"

namespace millrace {

/// Amazon Personalize's minimums (Developer Guide, "Amazon Personalize endpoints and quotas"):
/// fewer make an import or a training fail.
inline constexpr std::uint64_t kRowsMin = 1000;
inline constexpr std::uint64_t kUsersWithTwoMin = 25;
inline constexpr std::uint64_t kUsersWithTwoPercentMin = 1;

struct DamagedObject {
  std::string key{};
  std::string reason{};
  bool operator==(const DamagedObject&) const = default;
};

/// `reports/<run id>.json` below `state`. The books: decoded = refused + anonymous + outside_window
/// + duplicates + csv_rows; adds_up() says so.
struct CompactReport {
  std::string run_id{};
  bool incremental = false;
  std::optional<std::int64_t> from{};  // window of event time, Unix seconds, half-open
  std::optional<std::int64_t> to{};
  std::vector<std::string> columns{};

  std::uint64_t objects = 0;          // read
  std::uint64_t objects_skipped = 0;  // by remembered event seconds, or listed by an earlier run
  std::uint64_t bytes = 0;            // of the objects as stored
  std::vector<DamagedObject> damaged{};
  std::vector<std::string> warnings{};

  std::uint64_t records = 0;
  std::uint64_t blank = 0;
  std::uint64_t decoded = 0;
  std::map<std::string, std::uint64_t> refused_by_reason{};
  std::uint64_t anonymous = 0;
  std::uint64_t outside_window = 0;
  std::uint64_t duplicates = 0;
  TimeUnitCounts time_units{};

  std::uint64_t csv_rows = 0;
  std::uint64_t csv_bytes = 0;
  std::string csv_sha256{};
  std::string csv_url{};
  std::uint64_t users = 0;
  std::uint64_t users_with_two = 0;  // with at least two interactions
  std::uint64_t items = 0;
  std::optional<std::int64_t> first_second{};  // of the CSV's rows
  std::optional<std::int64_t> last_second{};

  std::string rejects_url{};  // empty: nothing was refused
  std::uint64_t rejects_left_out = 0;
  std::vector<std::string> notes{};  // what a reader should know, in sentences

  [[nodiscard]] std::uint64_t refused() const;
  [[nodiscard]] bool adds_up() const;

  /// What of Personalize's minimums is not met, one sentence with the numbers each; empty: all are.
  [[nodiscard]] std::vector<std::string> minimums_missed() const;

  [[nodiscard]] std::string to_json() const;
};

}  // namespace millrace
