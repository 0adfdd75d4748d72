#include "pipeline/cut_note.h"

#include <gtest/gtest.h>

#include <set>

#include "ingest/source.h"

namespace millrace {
namespace {

CutNote some_note() {
  CutNote note;
  note.incarnation = 0x0c1f09ab;
  note.objects = 4;
  note.books = {.read = 1200, .stored = 1190, .dead_lettered = 4, .empty = 6};
  return note;
}

CutNote note_under_way() {
  CutNote note = some_note();
  note.intent = CutNote::Intent{.end = {Offset{"1900"}, 7},
                                .layout = {.prefix = "crm/ü, 100%/!{timestamp:yyyy/MM/dd/HH/}",
                                           .error_prefix = "errors/",
                                           .compression = Compression::zstd,
                                           .partition_by = PartitionBy::event,
                                           .annotate = false},
                                .mapping = 0xbeef};
  return note;
}

TEST(CutNote, IsReadBackAsWritten) {
  EXPECT_EQ(print_cut_note(some_note()), "mr1 i=0c1f09ab w=1 n=4 r=1200 s=1190 d=4 e=6");
  EXPECT_EQ(print_cut_note(note_under_way()),
            "mr1 i=0c1f09ab w=1 n=4 r=1200 s=1190 d=4 e=6 c=1900.7 m=beef l=" +
                note_under_way().intent->layout.to_text());
  for (const CutNote& note : {CutNote{}, some_note(), note_under_way()}) {
    const auto back = parse_cut_note(print_cut_note(note));
    ASSERT_TRUE(back) << back.error().message;
    EXPECT_EQ(*back, note);
  }
}

TEST(CutNote, LeavesRoomForTheLongestOfEverything) {
  CutNote note;
  note.objects = note.books.read = note.books.stored = UINT64_MAX;
  note.books.dead_lettered = note.books.empty = UINT64_MAX;
  note.intent = CutNote::Intent{
      .end = {Offset{std::string(129, '9')}, UINT32_MAX}, .layout = {}, .mapping = UINT32_MAX};
  while (note.intent->layout.fits()) note.intent->layout.prefix += "xxxxx";
  note.intent->layout.prefix.resize(note.intent->layout.prefix.size() - 5);
  ASSERT_TRUE(note.intent->layout.fits());
  const std::string text = print_cut_note(note);
  EXPECT_LE(text.size(), kNoteBytesMax);
  EXPECT_EQ(parse_cut_note(text).value(), note);
}

TEST(CutNote, SkipsWordsOfLaterReleases) {
  EXPECT_EQ(parse_cut_note(print_cut_note(some_note()) + " q=7 later").value(), some_note());
}

TEST(CutNote, MappingChangesWithEveryOptionThatPlacesARecord) {
  const DecodeOptions plain;
  EXPECT_EQ(mapping_of(plain), mapping_of(DecodeOptions{}));
  std::set<std::uint32_t> seen{mapping_of(plain)};
  const auto changed = [&](auto change) {
    DecodeOptions options;
    change(options);
    EXPECT_TRUE(seen.insert(mapping_of(options)).second);
  };
  changed([](auto& o) { o.fields.timestamp = {"/t"}; });
  changed([](auto& o) { o.fields.timestamp = {"/timestamp", "/sentAt"}; });
  changed([](auto& o) { o.fields.user_id.clear(); });
  changed([](auto& o) { o.fields.item_id.push_back("/x"); });
  changed([](auto& o) { o.format = DecodeOptions::Format::flat; });
  changed([](auto& o) { o.timestamp_from_arrival = true; });
}

TEST(CutNote, RefusesWhatItMustNotActOn) {
  const auto refusal = [](std::string_view text) {
    const auto note = parse_cut_note(text);
    EXPECT_FALSE(note) << text;
    if (note) return std::string();
    EXPECT_EQ(note.error().kind, ErrorKind::refused) << text;
    return note.error().message;
  };
  for (const std::string_view text : {"", "hello", "mrx i=1", "mr i=00000000 w=1"})
    EXPECT_NE(refusal(text).find("not millrace's"), std::string::npos) << text;
  EXPECT_NE(refusal("mr2 i=00000000 w=1").find("newer millrace"), std::string::npos);
  EXPECT_NE(refusal("mr1 i=00000000 w=2").find("writer format 2"), std::string::npos);
  EXPECT_NE(refusal("mr1 i=00000000 w=1 c=5 l=w2,gzip,arrival,1,p,e"), "");
  for (const std::string_view text :
       {"mr1", "mr1 w=1", "mr1 i=00000000", "mr1 i=zz w=1", "mr1 i=00000000 w=1 n=x",
        "mr1 i=00000000 w=1 c=5", "mr1 i=00000000 w=1 l=w1,gzip,arrival,1,p,e",
        "mr1 i=00000000 w=1 c=05 l=w1,gzip,arrival,1,p,e", "mr1 i=00000000 w=1 c=5 l=a,q",
        "mr1 i=00000000 w=1 c=5 m=x l=w1,gzip,arrival,1,p,e", "mr1 i=00000000 w=1 s=-1"})
    EXPECT_NE(refusal(text).find("damaged"), std::string::npos) << text;
}

TEST(CutNote, CutShortNeverReachesFurtherThanItDid) {
  const std::string text = print_cut_note(note_under_way());
  for (std::size_t length = 0; length < text.size(); ++length) {
    const auto note = parse_cut_note(text.substr(0, length));
    EXPECT_FALSE(note && note->intent && note->intent->end > note_under_way().intent->end);
  }
}

}  // namespace
}  // namespace millrace
