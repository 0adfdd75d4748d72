#include "local/kinesis_numbers.h"

#include <gtest/gtest.h>

#include <string>

#include "core/position.h"

namespace millrace {
namespace {

TEST(SequenceNumber, ReadsARealNumberOfTheService) {
  const auto number =
      parse_sequence_number("49670023483232461788730612813735157811693693431491592722");
  ASSERT_TRUE(number);
  EXPECT_EQ(number->shard_index, 33u);
  EXPECT_EQ(number->shard_created_s, 1'766'101'788u);  // 2025-12-18 23:49:48
  EXPECT_EQ(number->time_s, 1'766'140'863u);           // 2025-12-19 10:41:03
  EXPECT_EQ(number->digits(), "49670023483232461788730612813735157811693693431491592722");
}

TEST(SequenceNumber, Has56DigitsAndGrowsWithCreationThenCounter) {
  const SequenceNumber first{1'795'000'000, 5, 1, 1'795'000'009};
  const SequenceNumber later_in_shard{1'795'000'000, 5, 2, 1'795'000'001};
  const SequenceNumber child{1'795'000'001, 6, 1, 1'795'000'001};
  EXPECT_EQ(first.digits().size(), 56u);
  EXPECT_LT(Offset{first.digits()}, Offset{later_in_shard.digits()});
  EXPECT_LT(Offset{later_in_shard.digits()}, Offset{child.digits()});
}

TEST(SequenceNumber, RefusesNumbersThatItDoesNotWrite) {
  for (const char* bad : {"", "0", "1", "49670023483232461788730612813735157811693693431491592723",
                          "99999999999999999999999999999999999999999999999999999999",
                          "4967002348323246178873061281373515781169369343149159272x"}) {
    EXPECT_FALSE(parse_sequence_number(bad)) << bad;
  }
}

TEST(HashKey, KnowsItsDigitsUpToTheLastHash) {
  EXPECT_EQ(HashKey::max().digits(), "340282366920938463463374607431768211455");
  EXPECT_EQ(HashKey{}.digits(), "0");
  EXPECT_EQ(parse_hash_key("340282366920938463463374607431768211455"), HashKey::max());
  EXPECT_EQ(parse_hash_key("18446744073709551616"), (HashKey{1, 0}));
  for (const char* bad : {"", "340282366920938463463374607431768211456", "00", "-1", "1 ", "1e3"}) {
    EXPECT_FALSE(parse_hash_key(bad)) << bad;
  }
}

TEST(HashKey, PartsCoverTheWholeRangeWithoutGap) {
  EXPECT_EQ(HashKey::end_of_part(0, 2).digits(), "170141183460469231731687303715884105727");
  EXPECT_EQ(HashKey::end_of_part(0, 3).digits(), "113427455640312821154458202477256070484");
  for (const std::uint64_t count : {1u, 2u, 3u, 7u, 100u}) {
    HashKey previous;
    for (std::uint64_t i = 0; i < count; ++i) {
      const HashKey end = HashKey::end_of_part(i, count);
      EXPECT_LT(previous, end);
      previous = end;
    }
    EXPECT_EQ(previous, HashKey::max());
  }
}

TEST(HashKey, OfAPartitionKeyIsItsMd5) {
  // RFC 1321, A.5: MD5("abc") = 900150983cd24fb0d6963f7d28e17f72.
  EXPECT_EQ(hash_of_partition_key("abc"), (HashKey{0x900150983cd24fb0, 0xd6963f7d28e17f72}));
}

}  // namespace
}  // namespace millrace
