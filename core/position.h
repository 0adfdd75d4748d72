// Places in a partitioned log, in the words of both logs: Kafka (partition, offset) and Kinesis
// (shard, sequence number, sub-sequence number).
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace millrace {

/// Kafka's partition number in digits, or Kinesis' shard id ("shardId-000000000003"). Opaque, at
/// most 128 bytes.
struct PartitionId {
  std::string value{};
  auto operator<=>(const PartitionId&) const = default;
};

/// Decimal digits of any length without leading zeros, ordered as numbers: a Kafka offset has up to
/// 19, a Kinesis sequence number up to 129 (Kinesis API Reference, "Record": SequenceNumber
/// `0|([1-9]\d{0,128})`). Empty = before everything. Never parsed into an integer on the way
/// through the pipelines.
struct Offset {
  std::string digits{};

  static Offset of(std::int64_t number);
  /// True when `text` has the form above (so not for the empty one).
  static bool valid(std::string_view text);

  std::strong_ordering operator<=>(const Offset& other) const;
  bool operator==(const Offset&) const = default;
};

/// A place within one partition, ordered. What it means is the source's matter and hidden here: for
/// Kafka a committed position is the *next* record to read (cuts are half-open, [C, E)); for
/// Kinesis, whose numbers have no successor, it is the *last* one settled (cuts are (C, E]). `sub`
/// numbers the user records inside one aggregated record. Whoever needs "the position once this
/// record is settled" asks `Source::after`, and never adds one.
struct Position {
  Offset offset{};
  std::uint32_t sub = 0;
  auto operator<=>(const Position&) const = default;

  /// "12345" or, with a sub-number, "12345.7". The form in notes, names and JSON; `parse_position`
  /// reads it back.
  [[nodiscard]] std::string text() const;
};

/// False and `out` untouched unless `text` is what Position::text() writes.
bool parse_position(std::string_view text, Position& out);

/// One ownership of one partition, from Assigned to release or Lost. Numbers grow within a process
/// and are never reused; results of work begun in an older tenure are dropped.
enum class Tenure : std::uint64_t {};

}  // namespace millrace

template <>
struct std::hash<millrace::PartitionId> {
  std::size_t operator()(const millrace::PartitionId& id) const noexcept {
    return std::hash<std::string>{}(id.value);
  }
};
