#include "pipeline/forward_note.h"

#include <gtest/gtest.h>

#include "ingest/source.h"

namespace millrace {
namespace {

const Books kBooks{.records = 1200,
                   .empty = 3,
                   .read = 2400,
                   .accepted = 2390,
                   .dead_lettered = 8,
                   .skipped = 2,
                   .anonymous = 31};

TEST(ForwardNote, IsReadBackAsItWasWritten) {
  const auto text = print_forward_note(kBooks);
  EXPECT_EQ(text, "mf1 r=1200 e=3 n=2400 a=2390 d=8 s=2 y=31");
  EXPECT_EQ(parse_forward_note(text).value(), kBooks);
  Books huge;
  huge.records = huge.empty = huge.read = huge.accepted = huge.anonymous = UINT64_MAX;
  EXPECT_LT(print_forward_note(huge).size(), kNoteBytesMax);
  EXPECT_EQ(parse_forward_note(print_forward_note(huge)).value(), huge);
}

TEST(ForwardNote, SkipsWordsOfLaterReleases) {
  EXPECT_EQ(parse_forward_note(print_forward_note(kBooks) + " z=later").value(), kBooks);
}

TEST(ForwardNote, RefusesWhatIsNotItsOwn) {
  for (const auto& [text, says] : std::vector<std::pair<std::string, std::string>>{
           {"", "another program"},
           {"mr1 i=7c1f09ab w=1", "another program or pipeline"},
           {"metadata", "another program"},
           {"mf2 r=1", "newer release"},
           {"mf1", "damaged"},
           {"mf1 r=1200 e=3 n=2400 a=2390 d=8 s=2", "damaged"},
           {"mf1 r=1200 e=3 n=2400 a=2391 d=8 s=2 y=31", "damaged"},
           {"mf1 r=x e=3 n=2400 a=2390 d=8 s=2 y=31", "damaged"},
           {"mf1 r=1 r=1200 e=3 n=2400 a=2390 d=8 s=2 y=31", "damaged"},
           {"mf1 r=99999999999999999999 e=3 n=2400 a=2390 d=8 s=2 y=31", "damaged"},
           {"mf1 r=-1 e=3 n=2400 a=2390 d=8 s=2 y=31", "damaged"},
           {"mf1  ", "damaged"}}) {
    const auto books = parse_forward_note(text);
    ASSERT_FALSE(books) << text;
    EXPECT_EQ(books.error().kind, ErrorKind::refused);
    EXPECT_NE(books.error().message.find(says), std::string::npos)
        << text << ": " << books.error().message;
  }
}

}  // namespace
}  // namespace millrace
