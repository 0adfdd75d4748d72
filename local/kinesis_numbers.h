// The numbers of Kinesis: sequence numbers of 56 digits, hash keys below 2^128, and which hash a
// partition key has.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace millrace {

/// A number below 2^128 (hash keys).
struct HashKey {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  auto operator<=>(const HashKey&) const = default;

  static constexpr HashKey max() { return {UINT64_MAX, UINT64_MAX}; }
  /// The last hash of part `index` when the whole range is cut into `count` equal parts.
  static HashKey end_of_part(std::uint64_t index, std::uint64_t count);
  /// In the middle of [low, high], never `low` itself unless they are equal.
  static HashKey middle(const HashKey& low, const HashKey& high);

  [[nodiscard]] HashKey plus_one() const;   // wraps at the end
  [[nodiscard]] HashKey minus_one() const;  // wraps at 0
  [[nodiscard]] std::string digits() const;
};

/// Nothing unless `digits` is 0 or up to 39 digits without leading zero, below 2^128.
std::optional<HashKey> parse_hash_key(std::string_view digits);

/// MD5 of the partition key's bytes as a big-endian number (API Reference, PutRecord).
HashKey hash_of_partition_key(std::string_view key);

/// What a sequence number is made of. The real service's numbers are opaque by contract; this is
/// the shape that kinesalite (github.com/mhart/kinesalite) found in them, so clients meet numbers
/// of the usual length and order: 47 hexadecimal digits written as 56 decimal ones.
struct SequenceNumber {
  std::uint64_t shard_created_s = 0;  // 36 bits
  std::uint32_t shard_index = 0;
  std::uint64_t counter = 0;  // of the shard, from 1; dense in this service
  std::uint64_t time_s = 0;   // 36 bits

  [[nodiscard]] std::string digits() const;
};

/// Nothing unless `digits` is a number that SequenceNumber::digits() writes.
std::optional<SequenceNumber> parse_sequence_number(std::string_view digits);

}  // namespace millrace
