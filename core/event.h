// An interaction, decoded: one user (or an anonymous session) did one thing with one item at one
// second.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace millrace {

/// What `events/` makes of one event of a record. Every field has been judged: sizes, characters
/// and ranges are those that Amazon Personalize takes (Personalize API Reference, "Event" of
/// PutEvents), so nobody downstream checks again.
struct Event {
  std::string user_id{};     // empty: anonymous, known by its session only (not in the CSV)
  std::string session_id{};  // the producer's, or one derived from user and time slot; never empty
  std::string item_id{};
  std::string event_type{};
  std::int64_t timestamp = 0;  // whole Unix seconds, fraction cut, never negative
  std::string
      event_id{};  // the producer's, or 32 hex digits derived from user, item, second and type
  bool event_id_given = false;      // whether the producer gave it
  std::string event_value{};        // a JSON number as the producer wrote it; empty: none
  std::string properties{};         // a JSON object as the producer wrote it; empty: none
  std::string recommendation_id{};  // empty: none
  std::vector<std::string> impression{};
  std::uint32_t index = 0;  // which event of its record, from 0, refused ones counted

  [[nodiscard]] bool anonymous() const { return user_id.empty(); }
  bool operator==(const Event&) const = default;
};

/// An event (or a whole record: no index) that cannot be an interaction, and why. The reason is one
/// of the fixed phrases of docs/formats.md ("user_id missing", "timestamp negative", "not JSON",
/// …), so that reports can count by it.
struct Refusal {
  std::optional<std::uint32_t> index{};
  std::string reason{};
  bool operator==(const Refusal&) const = default;
};

}  // namespace millrace
