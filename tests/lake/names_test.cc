#include "lake/names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/rng.h"

namespace millrace {
namespace {

Prefix prefix_of(std::string_view text, Prefix::Role role = Prefix::Role::objects) {
  return Prefix::parse(text, role).value();
}

CutObject kafka_cut() {
  return {.log = log_in_names("acme-interactions"),
          .incarnation = "7c1f09ab",
          .partition = partition_in_names({"3"}),
          .from = {Offset::of(1200), 0},
          .to = {Offset::of(1900), 0},
          .hour = *parse_hour("2026112107"),
          .digits = position_digits("kafka")};
}

TEST(Names, ACutsKeyIsComputedFromItsParts) {
  EXPECT_EQ(cut_key(prefix_of("crm/!{timestamp:yyyy/MM/dd/HH}/"), Compression::gzip, kafka_cut()),
            "crm/2026/11/21/07/acme-interactions-7c1f09ab-3-00000000000000001200-"
            "00000000000000001900-2026112107.ndjson.gz");
  EXPECT_EQ(cut_dead_letters_key(prefix_of("e/!{error-type}/", Prefix::Role::errors),
                                 Compression::none, kafka_cut()),
            "e/processing-failed/acme-interactions-7c1f09ab-3-00000000000000001200-"
            "00000000000000001900-2026112107.dead.ndjson");
}

TEST(Names, ACutsKeyReadsBack) {
  const Prefix prefix = prefix_of("crm/!{timestamp:yyyy}-");
  for (const Compression compression : {Compression::none, Compression::gzip, Compression::zstd}) {
    const auto cut = parse_cut_key(cut_key(prefix, compression, kafka_cut()));
    ASSERT_TRUE(cut);
    EXPECT_EQ(cut->compression, compression);
    EXPECT_FALSE(cut->dead_letters);
    // The prefix has no slash at its end: what it glues to the name reads as part of the log.
    CutObject expected = kafka_cut();
    expected.log = "2026-acme-interactions";
    EXPECT_EQ(cut->object, expected);
  }
  const auto dead = parse_cut_key(
      cut_dead_letters_key(prefix_of("e/", Prefix::Role::errors), Compression::gzip, kafka_cut()));
  ASSERT_TRUE(dead);
  EXPECT_TRUE(dead->dead_letters);
  EXPECT_EQ(dead->object, kafka_cut());
}

TEST(Names, KinesisPositionsArePaddedByLengthAndKeepSubNumbers) {
  CutObject cut = kafka_cut();
  cut.digits = position_digits("kinesis");
  cut.partition = partition_in_names({"shardId-000000000003"});
  cut.from = {};
  cut.to = {Offset{"49545115243490985018280067714973144582180062593244200961"}, 7};
  const std::string key = cut_key(prefix_of("k/"), Compression::none, cut);
  EXPECT_THAT(key, testing::HasSubstr("-shardId.000000000003-" + std::string(56, '0') +
                                      "-4954511524349098501828006771497314458218006259324420096"
                                      "1.0000000007-"));
  const auto back = parse_cut_key(key);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->object, cut);
  // The longest names that the services give today fit into one segment of a disk.
  cut.log = log_in_names(std::string(249, 't'));
  cut.from = cut.to;
  const std::string longest =
      cut_dead_letters_key(prefix_of("k/", Prefix::Role::errors), Compression::zstd, cut);
  EXPECT_LE(longest.size() - longest.rfind('/') - 1, 255u);
}

TEST(Names, TextOrderIsPositionOrder) {
  const Prefix prefix = prefix_of("x/!{timestamp:'all'}/");
  Rng rng(7);
  const auto drawn = [&] {
    std::string digits;
    const std::uint64_t length = rng.below(20);
    for (std::uint64_t i = 0; i < length; ++i) {
      digits += static_cast<char>((digits.empty() ? '1' : '0') + static_cast<char>(rng.below(9)));
    }
    return Position{Offset{digits.empty() ? "0" : digits},
                    static_cast<std::uint32_t>(rng.below(3))};
  };
  for (int i = 0; i < 2000; ++i) {
    CutObject a = kafka_cut();
    CutObject b = kafka_cut();
    a.from = drawn();
    b.from = drawn();
    const std::string key_a = cut_key(prefix, Compression::none, a);
    const std::string key_b = cut_key(prefix, Compression::none, b);
    EXPECT_EQ(a.from < b.from, key_a < key_b) << key_a << " " << key_b;
    EXPECT_EQ(parse_cut_key(key_a)->object.from, a.from);
  }
}

TEST(Names, DifferentLogsAndPartitionsNeverShareAName) {
  EXPECT_EQ(log_in_names("acme.x_y-1"), "acme.x_y-1");
  EXPECT_EQ(log_in_names("/var/log/a b"), "~2fvar~2flog~2fa~20b");
  EXPECT_NE(log_in_names("a/b"), log_in_names("a~2fb"));
  const std::string one = log_in_names(std::string(200, 'x') + "1");
  const std::string two = log_in_names(std::string(200, 'x') + "2");
  EXPECT_NE(one, two);
  EXPECT_EQ(one.size(), 56u);
  EXPECT_NE(partition_in_names({"a-b"}), partition_in_names({"a.b"}));
  EXPECT_NE(partition_in_names({"a-b"}), partition_in_names({"a~b"}));
}

TEST(Names, OtherPeoplesKeysAreNotCuts) {
  for (const char* key :
       {"", "a", "x.ndjson", "crm/2024/05/01/07/clicks-3-2024-05-01-07-14-58-1b4e28ba.gz",
        "-7c1f09ab-3-00000000000000001200-00000000000000001900-2026112107.ndjson",
        "t-7c1f09aX-3-00000000000000001200-00000000000000001900-2026112107.ndjson",
        "t-7c1f09ab-3-00000000000000001200-1900-2026112107.ndjson",
        "t-7c1f09ab-3-00000000000000001200-00000000000000001900-2026112199.ndjson",
        "t-7c1f09ab-3-00000000000000001200.1-00000000000000001900-2026112107.ndjson",
        "t-7c1f09ab-3-00000000000000001200.9999999999-00000000000000001900-2026112107.ndjson",
        "t-7c1f09ab-3-00000000000000001200-00000000000000001900-2026112107.json"}) {
    EXPECT_FALSE(parse_cut_key(key)) << key;
  }
}

TEST(Names, DeadLettersAreKnownByTheirEnding) {
  const Prefix errors = prefix_of("errors/!{error-type}/", Prefix::Role::errors);
  EXPECT_TRUE(is_dead_letters_key(cut_dead_letters_key(errors, Compression::gzip, kafka_cut())));
  const std::string key = forwarder_dead_letters_key(errors, Compression::gzip,
                                                     {.log_name = "t",
                                                      .partition = {"0"},
                                                      .first = {Offset::of(1), 0},
                                                      .last = {Offset::of(9), 0},
                                                      .hour = *parse_hour("2026112107"),
                                                      .token = "abc1"});
  EXPECT_EQ(key,
            "errors/processing-failed/forwarder-t-0-00000000000000000001-00000000000000000009-"
            "2026112107-abc1.dead.ndjson.gz");
  EXPECT_TRUE(is_dead_letters_key(key));
  EXPECT_FALSE(parse_cut_key(key));
  EXPECT_FALSE(is_dead_letters_key("a/b.ndjson.gz"));
  EXPECT_FALSE(is_dead_letters_key("a.dead.ndjson/b"));
}

TEST(Names, ABackfillsKeyReadsBack) {
  const Prefix prefix = prefix_of("crm/!{timestamp:yyyy}/");
  const std::string key = backfill_key(prefix, "0a1b", 1, 12345, Compression::zstd);
  EXPECT_EQ(key, "crm/backfill/0a1b/00000000000000000001-00000000000000012345.ndjson.zst");
  const auto back = parse_backfill_key(key);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->source_id, "0a1b");
  EXPECT_EQ(back->first_row, 1u);
  EXPECT_EQ(back->last_row, 12345u);
  EXPECT_FALSE(parse_backfill_key("crm/0a1b/00000000000000000001-00000000000000012345.ndjson"));
  EXPECT_FALSE(parse_backfill_key("x.ndjson"));
  EXPECT_FALSE(parse_backfill_key("backfill/a/1-2.ndjson"));
}

TEST(CutLayout, RidesInANoteAndComesBack) {
  const CutLayout layout{.prefix = "crm/é, %x/!{timestamp:yyyy/MM/dd/HH}/",
                         .error_prefix = "errors/!{error-type}/",
                         .compression = Compression::zstd,
                         .partition_by = PartitionBy::event,
                         .annotate = false};
  const std::string text = layout.to_text();
  for (const char c : text) EXPECT_TRUE(c > ' ' && c < 0x7F) << text;
  EXPECT_EQ(CutLayout::parse(text).value(), layout);
  EXPECT_TRUE(layout.fits());
  EXPECT_FALSE((CutLayout{.prefix = std::string(1100, '\xc3'), .error_prefix = "e"}).fits());
}

TEST(CutLayout, DamageAndTheFutureAreTold) {
  const std::string good = CutLayout{.prefix = "a", .error_prefix = "b"}.to_text();
  EXPECT_EQ(good, "w1,gzip,arrival,1,a,b");
  for (const char* bad : {"", "w", "wx", "w1", "w0,gzip,arrival,1,a,b", "w1,gzip,arrival,1,a",
                          "w1,gzip,arrival,1,a,b,c", "w1,lz4,arrival,1,a,b", "w1,gzip,x,1,a,b",
                          "w1,gzip,arrival,2,a,b", "w1,gzip,arrival,1,%2,b",
                          "w1,gzip,arrival,1,a,%zz", "w99999999999999999999,gzip,arrival,1,a,b"}) {
    const auto layout = CutLayout::parse(bad);
    ASSERT_FALSE(layout) << bad;
    EXPECT_EQ(layout.error().kind, ErrorKind::corrupt) << bad;
  }
  EXPECT_EQ(CutLayout::parse("w2,anything").error().kind, ErrorKind::refused);
}

TEST(Names, KeyBelowARoot) {
  EXPECT_EQ(key_below("s3://b/lake", "s3://b/lake/_millrace/x/"), "_millrace/x/");
  EXPECT_EQ(key_below("s3://b/lake/", "s3://b/lake/y"), "y");
  EXPECT_EQ(key_below("s3://b", "s3://b"), "");
  EXPECT_FALSE(key_below("s3://b/lake", "s3://b/lake2/x"));
  EXPECT_FALSE(key_below("s3://b/lake", "file:///b/lake"));
}

TEST(Names, RunIdsSortByTime) {
  const WallTime now = wall_time_of_ms(1'795'255'000'123);
  EXPECT_LT(new_run_id(now, 0xFFFFFFFF), new_run_id(now + std::chrono::seconds(1), 0));
  EXPECT_EQ(run_id_of_key(state_keys::manifest("r1")), "r1");
  EXPECT_EQ(run_id_of_key(state_keys::rejects("r1")), "r1");
}

}  // namespace
}  // namespace millrace
