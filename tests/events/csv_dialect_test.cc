#include "events/csv_dialect.h"

#include <gtest/gtest.h>

#include "core/rng.h"

namespace millrace {
namespace {

using Row = std::vector<std::optional<std::string>>;

std::string written(const Row& row) {
  std::string out;
  append_csv_row(row, out);
  return out;
}

TEST(CsvDialect, QuotesOnlyWhatNeedsIt) {
  EXPECT_EQ(written({"u", "i", "1700000000", std::nullopt, "a b"}), "u,i,1700000000,,a b\n");
  EXPECT_EQ(written({"a,b", "say \"x\"", "c\\d", " e", ""}),
            "\"a,b\",\"say \\\"x\\\"\",\"c\\\\d\",\" e\",\"\"\n");
  EXPECT_EQ(written({"=1+1", "a|b", "\xE2\x80\xA8"}), "=1+1,a|b,\xE2\x80\xA8\n");
}

TEST(CsvDialect, WritesTheHeaderBare) {
  std::string out;
  append_csv_header(std::vector<std::string>{"USER_ID", "ITEM_ID"}, out);
  EXPECT_EQ(out, "USER_ID,ITEM_ID\n");
}

TEST(CsvDialect, KnowsWhatItCannotHold) {
  EXPECT_EQ(csv_problem("plain, \"quoted\" \t"), std::nullopt);
  EXPECT_EQ(csv_problem("a\nb"), "line break");
  EXPECT_EQ(csv_problem("a\r"), "line break");
  EXPECT_EQ(csv_problem(std::string_view("a\0b", 3)), "control character");
}

TEST(CsvDialect, ReadsBackWhatItWrites) {
  constexpr std::string_view kAlphabet = "a\",\\ |\t1";
  Rng rng(7);
  Row read;
  for (int round = 0; round < 5'000; ++round) {
    Row row;
    for (std::uint64_t cells = 1 + rng.below(4); cells > 0; --cells) {
      if (rng.chance(0.2)) {
        row.emplace_back();
        continue;
      }
      std::string& cell = row.emplace_back().emplace();
      for (std::uint64_t n = rng.below(5); n > 0; --n)
        cell += kAlphabet[rng.below(kAlphabet.size())];
    }
    std::string line = written(row);
    line.pop_back();
    ASSERT_TRUE(read_csv_row(line, read).has_value()) << line;
    ASSERT_EQ(read, row) << line;
  }
}

TEST(CsvDialect, ReadsStrictly) {
  Row row;
  for (const char* bad : {"\"a", "a\"b", "\"a\"b", "\"a\"\"b\"", "\"a\\n\"", "\"a\\", "a\r", "a\rb",
                          "\"a\nb\"", "\xFF"}) {
    const Status read = read_csv_row(bad, row);
    ASSERT_FALSE(read.has_value()) << bad;
    EXPECT_EQ(read.error().kind, ErrorKind::rejected);
  }
  ASSERT_TRUE(read_csv_row("a\\n,", row).has_value());
  EXPECT_EQ(row, (Row{"a\\n", std::nullopt}));
  ASSERT_TRUE(read_csv_row("", row).has_value());
  EXPECT_EQ(row, (Row{std::nullopt}));
}

}  // namespace
}  // namespace millrace
