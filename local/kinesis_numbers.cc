#include "local/kinesis_numbers.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>

#include "core/check.h"

namespace millrace {
namespace {

__extension__ using Wide = unsigned __int128;

Wide wide_of(const HashKey& key) { return static_cast<Wide>(key.high) << 64 | key.low; }
HashKey hash_key_of(Wide value) {
  return {static_cast<std::uint64_t>(value >> 64), static_cast<std::uint64_t>(value)};
}

// 192 bits, most significant first: enough for the 188 of a sequence number.
using Limbs = std::array<std::uint64_t, 3>;

constexpr std::uint64_t kTenTo19 = 10'000'000'000'000'000'000u;

std::string digits_of(Limbs limbs) {
  std::string reversed;
  while (limbs != Limbs{}) {
    Wide rest = 0;
    for (std::uint64_t& limb : limbs) {
      const Wide value = rest << 64 | limb;
      limb = static_cast<std::uint64_t>(value / kTenTo19);
      rest = value % kTenTo19;
    }
    auto part = static_cast<std::uint64_t>(rest);
    for (int i = 0; i < 19 && (part != 0 || limbs != Limbs{}); ++i, part /= 10) {
      reversed.push_back(static_cast<char>('0' + part % 10));
    }
  }
  if (reversed.empty()) reversed = "0";
  std::reverse(reversed.begin(), reversed.end());
  return reversed;
}

bool plain_digits(std::string_view text, std::size_t length_max) {
  if (text.empty() || text.size() > length_max) return false;
  if (text.size() > 1 && text.front() == '0') return false;
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// REQUIRES: at most 57 digits, so that nothing leaves the 192 bits.
Limbs limbs_of(std::string_view digits) {
  Limbs limbs{};
  for (const char digit : digits) {
    Wide carry = static_cast<Wide>(digit - '0');
    for (auto limb = limbs.rbegin(); limb != limbs.rend(); ++limb) {
      const Wide value = static_cast<Wide>(*limb) * 10 + carry;
      *limb = static_cast<std::uint64_t>(value);
      carry = value >> 64;
    }
  }
  return limbs;
}

// Bits of the 47 hexadecimal digits, from the least significant: version, index, time, zero,
// counter, low digit of the index, shard creation, and the leading 2.
constexpr unsigned kIndexAt = 4, kTimeAt = 36, kCounterAt = 80, kLowIndexAt = 144, kCreatedAt = 148,
                   kLeadAt = 184;
constexpr std::uint64_t kVersion = 2, kLead = 2;

void put_bits(Limbs& limbs, unsigned at, std::uint64_t value) {
  const unsigned limb = 2 - at / 64, shift = at % 64;
  limbs[limb] |= value << shift;
  if (shift != 0 && limb > 0) limbs[limb - 1] |= value >> (64 - shift);
}

std::uint64_t get_bits(const Limbs& limbs, unsigned at, unsigned count) {
  const unsigned limb = 2 - at / 64, shift = at % 64;
  std::uint64_t value = limbs[limb] >> shift;
  if (shift != 0 && limb > 0) value |= limbs[limb - 1] << (64 - shift);
  return count == 64 ? value : value & ((std::uint64_t{1} << count) - 1);
}

Limbs limbs_of(const SequenceNumber& number) {
  Limbs limbs{};
  put_bits(limbs, 0, kVersion);
  put_bits(limbs, kIndexAt, number.shard_index);
  put_bits(limbs, kTimeAt, number.time_s & 0xF'FFFF'FFFF);
  put_bits(limbs, kCounterAt, number.counter);
  put_bits(limbs, kLowIndexAt, number.shard_index & 15);
  put_bits(limbs, kCreatedAt, number.shard_created_s & 0xF'FFFF'FFFF);
  put_bits(limbs, kLeadAt, kLead);
  return limbs;
}

}  // namespace

HashKey HashKey::end_of_part(std::uint64_t index, std::uint64_t count) {
  MILLRACE_CHECK(index < count);
  if (index + 1 == count) return max();
  const Wide all = ~Wide{0};
  const Wide part = all / count + (all % count + 1 == count ? 1 : 0);
  return hash_key_of(part * (index + 1) - 1);
}

HashKey HashKey::middle(const HashKey& low, const HashKey& high) {
  const Wide width = wide_of(high) - wide_of(low);
  return hash_key_of(wide_of(low) + width / 2 + width % 2);
}

HashKey HashKey::plus_one() const { return hash_key_of(wide_of(*this) + 1); }
HashKey HashKey::minus_one() const { return hash_key_of(wide_of(*this) - 1); }
std::string HashKey::digits() const { return digits_of({0, high, low}); }

std::optional<HashKey> parse_hash_key(std::string_view digits) {
  if (!plain_digits(digits, 39)) return std::nullopt;
  const Limbs limbs = limbs_of(digits);
  if (limbs[0] != 0) return std::nullopt;
  return HashKey{limbs[1], limbs[2]};
}

HashKey hash_of_partition_key(std::string_view key) {
  std::array<unsigned char, 16> digest{};
  unsigned length = 0;
  MILLRACE_CHECK(EVP_Digest(key.data(), key.size(), digest.data(), &length, EVP_md5(), nullptr) ==
                     1 &&
                 length == digest.size());
  HashKey hash;
  for (std::size_t i = 0; i < 8; ++i) {
    hash.high = hash.high << 8 | digest[i];
    hash.low = hash.low << 8 | digest[i + 8];
  }
  return hash;
}

std::string SequenceNumber::digits() const { return digits_of(limbs_of(*this)); }

std::optional<SequenceNumber> parse_sequence_number(std::string_view digits) {
  if (digits.size() != 56 || !plain_digits(digits, 56)) return std::nullopt;
  const Limbs limbs = limbs_of(digits);
  const SequenceNumber number{
      .shard_created_s = get_bits(limbs, kCreatedAt, 36),
      .shard_index = static_cast<std::uint32_t>(get_bits(limbs, kIndexAt, 32)),
      .counter = get_bits(limbs, kCounterAt, 64),
      .time_s = get_bits(limbs, kTimeAt, 36),
  };
  if (limbs != limbs_of(number)) return std::nullopt;
  return number;
}

}  // namespace millrace
