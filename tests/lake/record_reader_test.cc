#include "lake/record_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace millrace {
namespace {

class TextReader final : public ByteReader {
 public:
  TextReader(std::string text, std::size_t piece, bool broken = false)
      : text_(std::move(text)), piece_(piece), broken_(broken) {}
  Result<std::size_t> read(char* buffer, std::size_t capacity) override {
    const std::size_t count = std::min({capacity, piece_, text_.size() - at_});
    if (count == 0 && broken_) return fail(ErrorKind::corrupt, "cut off");
    text_.copy(buffer, count, at_);
    at_ += count;
    return count;
  }

 private:
  std::string text_;
  std::size_t piece_;
  bool broken_;
  std::size_t at_ = 0;
};

struct Records {
  std::vector<std::string> texts{};
  std::vector<std::uint64_t> lines{};
  std::size_t too_long = 0;
  std::optional<Error> error{};
};

Records read_all(const std::string& text, std::size_t piece, bool broken = false,
                 RecordReaderOptions options = {.buffer_bytes = 16, .record_bytes_max = 64}) {
  TextReader source(text, piece, broken);
  RecordReader reader(source, options);
  Records records;
  while (true) {
    const auto record = reader.next();
    if (!record) {
      records.error = record.error();
      return records;
    }
    if (!*record) return records;
    if ((*record)->too_long) {
      ++records.too_long;
      continue;
    }
    records.texts.emplace_back((*record)->text);
    records.lines.push_back((*record)->line);
  }
}

TEST(RecordReader, ALineFeedEndsARecord) {
  for (const std::size_t piece : {1u, 3u, 1000u}) {
    const Records records = read_all("{\"a\":1}\n\n{\"b\":\"}{\n{\"c\":3}", piece);
    EXPECT_EQ(records.texts,
              (std::vector<std::string>{"{\"a\":1}", "", "{\"b\":\"}{", "{\"c\":3}"}));
    EXPECT_EQ(records.lines, (std::vector<std::uint64_t>{1, 2, 3, 4}));
  }
}

TEST(RecordReader, AnEndlessLineIsCutBetweenValues) {
  std::string line;
  for (int i = 100; i < 200; ++i) line += "{\"a\":\"}{\\\"" + std::to_string(i) + "\"}";
  for (const std::size_t piece : {1u, 7u, 1000u}) {
    const Records records = read_all(line + "\n{}", piece);
    std::string joined;
    for (std::size_t i = 0; i + 1 < records.texts.size(); ++i) {
      EXPECT_LE(records.texts[i].size(), 64u);
      EXPECT_TRUE(records.texts[i].empty() || records.texts[i].back() == '}');
      joined += records.texts[i];
    }
    EXPECT_EQ(joined, line);
    EXPECT_EQ(records.texts.back(), "{}");
    EXPECT_EQ(records.lines.back(), 2u);
  }
}

TEST(RecordReader, AGiantIsToldAndReadOver) {
  for (const std::size_t piece : {1u, 9u, 1000u}) {
    const Records records =
        read_all("{}\n{\"a\":\"" + std::string(500, 'x') + "\"}\n{\"b\":2}\n", piece);
    EXPECT_EQ(records.too_long, 1u);
    EXPECT_EQ(records.texts, (std::vector<std::string>{"{}", "{\"b\":2}"}));
    EXPECT_EQ(records.lines, (std::vector<std::uint64_t>{1, 3}));
    EXPECT_EQ(read_all("{\"a\":\"" + std::string(500, 'x'), piece).too_long, 1u);
  }
}

TEST(RecordReader, BeforeAnErrorGivesWhatIsWhole) {
  const Records lines = read_all("{\"a\":1}\n{\"b\":", 5, true);
  EXPECT_EQ(lines.texts, std::vector<std::string>{"{\"a\":1}"});
  ASSERT_TRUE(lines.error);
  EXPECT_EQ(lines.error->kind, ErrorKind::corrupt);
  const Records joined = read_all("{\"a\":1}{\"b\":2}{\"c\":", 5, true);
  EXPECT_EQ(joined.texts, std::vector<std::string>{"{\"a\":1}{\"b\":2}"});
  EXPECT_TRUE(joined.error);
  EXPECT_TRUE(read_all("", 5, true).error);
}

}  // namespace
}  // namespace millrace
