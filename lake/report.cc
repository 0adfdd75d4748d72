#include "lake/report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/time.h"

namespace millrace {
namespace {

using Json = nlohmann::ordered_json;

Json time_or_null(const std::optional<std::int64_t>& second) {
  // Beyond the year 9999 there is no ISO form that others read.
  if (!second) return nullptr;
  Json json{{"second", *second}};
  if (*second < 253'402'300'800) json["time"] = iso8601(wall_time_of_ms(*second * 1000));
  return json;
}

}  // namespace

std::uint64_t CompactReport::refused() const {
  std::uint64_t sum = 0;
  for (const auto& [reason, count] : refused_by_reason) sum += count;
  return sum;
}

bool CompactReport::adds_up() const {
  return decoded == refused() + anonymous + outside_window + duplicates + csv_rows;
}

std::vector<std::string> CompactReport::minimums_missed() const {
  std::vector<std::string> missed;
  if (csv_rows < kRowsMin) {
    missed.push_back(fmt::format("{} rows, Personalize imports from {} on", csv_rows, kRowsMin));
  }
  if (users_with_two < kUsersWithTwoMin) {
    missed.push_back(
        fmt::format("{} users with two or more interactions, Personalize trains from "
                    "{} on",
                    users_with_two, kUsersWithTwoMin));
  }
  if (users_with_two * 100 < users * kUsersWithTwoPercentMin) {
    missed.push_back(
        fmt::format("{} of {} users have two or more interactions, Personalize trains "
                    "from {} % on",
                    users_with_two, users, kUsersWithTwoPercentMin));
  }
  return missed;
}

std::string CompactReport::to_json() const {
  Json damaged_json = Json::array();
  for (const DamagedObject& object : damaged) {
    damaged_json.push_back({{"object", object.key}, {"reason", object.reason}});
  }
  const auto missed = minimums_missed();
  const Json json{{"format", 1},
                  {"run_id", run_id},
                  {"mode", incremental ? "incremental" : "full"},
                  {"window", {{"from", time_or_null(from)}, {"to", time_or_null(to)}}},
                  {"columns", columns},
                  {"objects",
                   {{"read", objects},
                    {"skipped", objects_skipped},
                    {"bytes", bytes},
                    {"damaged", damaged_json}}},
                  {"records", {{"read", records}, {"blank", blank}}},
                  {"events",
                   {{"decoded", decoded},
                    {"refused", refused()},
                    {"refused_by_reason", refused_by_reason},
                    {"anonymous", anonymous},
                    {"outside_window", outside_window},
                    {"duplicates", duplicates},
                    {"csv_rows", csv_rows},
                    {"adds_up", adds_up()}}},
                  {"time_units",
                   {{"seconds", time_units.seconds},
                    {"millis", time_units.millis},
                    {"micros", time_units.micros},
                    {"nanos", time_units.nanos},
                    {"iso", time_units.iso},
                    {"arrival", time_units.arrival}}},
                  {"csv",
                   {{"url", csv_url},
                    {"rows", csv_rows},
                    {"bytes", csv_bytes},
                    {"sha256", csv_sha256},
                    {"users", users},
                    {"users_with_two", users_with_two},
                    {"items", items},
                    {"first", time_or_null(first_second)},
                    {"last", time_or_null(last_second)}}},
                  {"personalize_minimums", {{"met", missed.empty()}, {"missed", missed}}},
                  {"rejects", {{"url", rejects_url}, {"left_out", rejects_left_out}}},
                  {"warnings", warnings},
                  {"notes", notes}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace millrace
