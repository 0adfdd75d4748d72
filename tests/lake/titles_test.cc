#include "lake/titles.h"

#include <gtest/gtest.h>

#include "tests/lake/text_reader.h"

namespace millrace {
namespace {

Titles titles_of(const std::string& text, const TitleOptions& options = {}) {
  TextReader source(text);
  const auto titles = read_titles(source, options);
  EXPECT_TRUE(titles.has_value());
  return titles.value_or(Titles{});
}

TEST(Titles, ReadsTheUsualFiles) {
  EXPECT_EQ(titles_of("movieId,title,genres\n11,\"President, The\",A|B\n"),
            (Titles{{"11", "President, The"}}));
  EXPECT_EQ(titles_of("1::Toy Story (1995)::Animation\n"), (Titles{{"1", "Toy Story (1995)"}}));
  EXPECT_EQ(titles_of("1|Toy Story (1995)|01-Jan-1995||x\n"), (Titles{{"1", "Toy Story (1995)"}}));
  EXPECT_EQ(titles_of("id\timdb\ttitle\n1\tx\tCaf\xE9\n2\tx\tCaf\xC3\xA9\n"),
            (Titles{{"1", "Caf\xC3\xA9"}, {"2", "Caf\xC3\xA9"}}));
}

TEST(Titles, StaysWithinItsLimits) {
  EXPECT_EQ(titles_of("1,a\n2,b\n3,c\n", {.items_max = 2}).size(), 2U);
  EXPECT_EQ(titles_of("1,\xC3\xA9\xC3\xA9\n", {.title_bytes_max = 3}),
            (Titles{{"1", "\xC3\xA9…"}}));
  EXPECT_EQ(titles_of("1,\"open\nx\n2,b\n"), (Titles{{"2", "b"}}));
}

TEST(Titles, PassesOnAnErrorOfTheSource) {
  TextReader source("1,a\n", /*fails_at_end=*/true);
  EXPECT_FALSE(read_titles(source).has_value());
}

}  // namespace
}  // namespace millrace
