#include "lake/decompress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "lake/encoder.h"

namespace millrace {
namespace {

using testing::HasSubstr;

/// Bytes in pieces of a chosen size, so that every border is met; may fail at the end.
class PiecesReader final : public ByteReader {
 public:
  PiecesReader(std::string bytes, std::size_t piece, std::optional<Error> at_end = {})
      : bytes_(std::move(bytes)), piece_(piece), at_end_(std::move(at_end)) {}
  Result<std::size_t> read(char* buffer, std::size_t capacity) override {
    const std::size_t count = std::min({capacity, piece_, bytes_.size() - at_});
    if (count == 0 && at_end_) return fail(*at_end_);
    bytes_.copy(buffer, count, at_);
    at_ += count;
    return count;
  }

 private:
  std::string bytes_;
  std::size_t piece_;
  std::optional<Error> at_end_;
  std::size_t at_ = 0;
};

struct Outcome {
  std::string content{};
  std::uint64_t lines = 0;
  std::uint64_t bytes = 0;
  std::optional<Error> error{};
  std::optional<std::string> warning{};
};

Outcome read_all(const std::string& bytes, std::size_t piece, std::size_t capacity) {
  PiecesReader source(bytes, piece);
  Decompressor content(source, "lake/x.gz");
  Outcome outcome;
  std::string buffer(capacity, '\0');
  while (true) {
    const auto got = content.read(buffer.data(), buffer.size());
    if (!got) {
      outcome.error = got.error();
      // An error stays.
      EXPECT_EQ(content.read(buffer.data(), buffer.size()).error().message, got.error().message);
      break;
    }
    if (*got == 0) break;
    if (outcome.bytes < (1u << 20)) outcome.content.append(buffer.data(), *got);
    outcome.bytes += *got;
    outcome.lines +=
        static_cast<std::uint64_t>(std::count(buffer.data(), buffer.data() + *got, '\n'));
  }
  outcome.warning = content.warning();
  return outcome;
}

std::string encoded(Compression compression, std::string_view text) {
  std::string out;
  Encoder(compression).encode(text, out);
  return out;
}

TEST(Decompressor, ReadsWhatTheEncoderWroteInPiecesOfAnySize) {
  const std::string a = "{\"a\":1}\n{\"b\":";
  const std::string b = "2}\n";
  for (const Compression compression : {Compression::none, Compression::gzip, Compression::zstd}) {
    const std::string bytes = encoded(compression, a) + encoded(compression, b);
    for (const std::size_t piece : {1u, 2u, 7u, 1000u}) {
      for (const std::size_t capacity : {1u, 3u, 1000u}) {
        const Outcome outcome = read_all(bytes, piece, capacity);
        EXPECT_FALSE(outcome.error) << outcome.error->message;
        EXPECT_EQ(outcome.content, a + b);
      }
    }
  }
}

TEST(Decompressor, CutAnywhereIsDamageAndNamesTheObject) {
  for (const Compression compression : {Compression::gzip, Compression::zstd}) {
    const std::string whole = encoded(compression, "{\"a\":1}\n{\"b\":2}\n{\"c\":3}\n");
    // From four bytes on: fewer are no magic number.
    for (std::size_t length = 4; length < whole.size(); ++length) {
      const Outcome outcome = read_all(whole.substr(0, length), 3, 100);
      ASSERT_TRUE(outcome.error) << length;
      EXPECT_EQ(outcome.error->kind, ErrorKind::corrupt);
      EXPECT_THAT(outcome.error->message, HasSubstr("lake/x.gz"));
    }
  }
}

TEST(Decompressor, EveryFlippedBitOfAZstdFrameIsNoticed) {
  const std::string text = "{\"a\":1}\n{\"b\":2}\n";
  const std::string whole = encoded(Compression::zstd, text);
  for (std::size_t at = 4; at < whole.size(); ++at) {
    std::string broken = whole;
    broken[at] = static_cast<char>(broken[at] ^ 0x10);
    const Outcome outcome = read_all(broken, 1000, 1000);
    EXPECT_TRUE(outcome.error || outcome.content == text) << at;
  }
}

TEST(Decompressor, GivesTheWholeMembersBeforeTheDamage) {
  const std::string first = encoded(Compression::gzip, "first\n");
  const std::string second = encoded(Compression::gzip, "second\n");
  const Outcome outcome = read_all(first + second.substr(0, second.size() - 3), 1000, 1000);
  EXPECT_EQ(outcome.content, "first\nsecond\n");
  ASSERT_TRUE(outcome.error);
  EXPECT_THAT(outcome.error->message, HasSubstr("cut off"));
}

TEST(Decompressor, PaddingIsSilentGarbageIsReported) {
  const std::string member = encoded(Compression::gzip, "x\n");
  const Outcome padded = read_all(member + std::string(5000, '\0'), 7, 100);
  EXPECT_FALSE(padded.error);
  EXPECT_FALSE(padded.warning);
  const Outcome padded_between = read_all(member + std::string(3, '\0') + member, 7, 100);
  EXPECT_EQ(padded_between.content, "x\nx\n");
  const Outcome garbage = read_all(member + "garbage", 7, 100);
  EXPECT_FALSE(garbage.error);
  ASSERT_TRUE(garbage.warning);
  EXPECT_THAT(*garbage.warning, HasSubstr("lake/x.gz"));
  EXPECT_EQ(garbage.content, "x\n");
  EXPECT_TRUE(read_all(encoded(Compression::zstd, "x\n") + "garbage", 7, 100).error);
}

TEST(Decompressor, OtherFormsAreRefusedByName) {
  using namespace std::string_literals;
  EXPECT_THAT(read_all("PK\x03\x04zip", 100, 100).error->message, HasSubstr("ZIP"));
  EXPECT_THAT(read_all("\x78\x9c\x00"s, 100, 100).error->message, HasSubstr("zlib"));
  EXPECT_THAT(read_all("\xff\x06\0\0sNaPpY"s, 100, 100).error->message, HasSubstr("Snappy"));
  EXPECT_THAT(read_all("PAR1xxxx", 100, 100).error->message, HasSubstr("Parquet"));
  const std::string twice = encoded(Compression::gzip, encoded(Compression::gzip, "x\n"));
  for (const std::size_t capacity : {1u, 100u}) {
    EXPECT_THAT(read_all(twice, 100, capacity).error->message, HasSubstr("once more"));
  }
  EXPECT_FALSE(read_all("x", 100, 100).error);
  EXPECT_FALSE(read_all("", 100, 100).error);
}

TEST(Decompressor, ErrorsOfTheSourceKeepTheirKind) {
  const std::string member = encoded(Compression::gzip, "x\n");
  PiecesReader source(member.substr(0, 12), 100, Error{ErrorKind::transient, "gone"});
  Decompressor content(source, "k");
  char buffer[10];
  auto got = content.read(buffer, sizeof buffer);
  while (got && *got > 0) got = content.read(buffer, sizeof buffer);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().kind, ErrorKind::transient);
}

// Every case of a folder of vectors that others made (Python's zlib, the zstd program).
TEST(Decompressor, AgreesWithTheVectors) {
  const std::filesystem::path folder =
      std::filesystem::path(MILLRACE_SOURCE_DIR) / "../shared/data/vectors/compression";
  std::ifstream cases(folder / "cases.jsonl");
  if (!cases) GTEST_SKIP() << "no vectors at " << folder;
  int read = 0;
  for (std::string line; std::getline(cases, line); ++read) {
    const auto expected = nlohmann::json::parse(line);
    const std::string file = expected["file"];
    SCOPED_TRACE(file);
    std::ifstream in(folder / file, std::ios::binary);
    std::stringstream bytes;
    bytes << in.rdbuf();
    const Outcome outcome = read_all(bytes.str(), 4096, 65536);
    const std::string verdict = expected["expect"];
    if (verdict == "error") {
      EXPECT_TRUE(outcome.error);
      if (expected.contains("lines_readable_before_the_damage")) {
        // Whole members before the damage; what else could be read of a cut one may come on top.
        EXPECT_GE(outcome.lines, expected["lines_readable_before_the_damage"]);
      }
      continue;
    }
    EXPECT_FALSE(outcome.error) << outcome.error->message;
    EXPECT_EQ(outcome.warning.has_value(), verdict == "warn");
    if (expected.contains("content_bytes")) {
      EXPECT_EQ(outcome.bytes, expected["content_bytes"]);
    }
    if (expected.contains("lines") && file != "no-final-newline.gz" && file != "no-separator.gz") {
      EXPECT_EQ(outcome.lines, expected["lines"]);
    }
  }
  EXPECT_GT(read, 40);
}

}  // namespace
}  // namespace millrace
