// Real interaction sets through RowReader and EventDecoder: the rows that an independent program
// counted, and the same ones byte for byte.
#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include "events/decode_event.h"
#include "lake/decompress.h"
#include "lake/rows.h"
#include "lake/titles.h"
#include "tests/events/shared_data.h"

namespace millrace {
namespace {

class FileReader final : public ByteReader {
 public:
  explicit FileReader(const std::filesystem::path& path) : in_(path, std::ios::binary) {}
  Result<std::size_t> read(char* buffer, std::size_t capacity) override {
    in_.read(buffer, static_cast<std::streamsize>(capacity));
    return static_cast<std::size_t>(in_.gcount());
  }

 private:
  std::ifstream in_;
};

std::string sha256_of(const std::vector<std::string>& lines) {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  EVP_DigestInit_ex(context, EVP_sha256(), nullptr);
  for (const std::string& line : lines) EVP_DigestUpdate(context, line.data(), line.size());
  std::array<unsigned char, 32> digest{};
  EVP_DigestFinal_ex(context, digest.data(), nullptr);
  EVP_MD_CTX_free(context);
  std::string hex;
  for (const unsigned char byte : digest) hex += fmt::format("{:02x}", byte);
  return hex;
}

struct Set {
  const char* file;
  const char* map;  // empty: found by itself
};

class Datasets : public testing::TestWithParam<Set> {};

TEST_P(Datasets, GivesExactlyItsInteractions) {
  SKIP_WITHOUT_SHARED_DATA();
  const auto want = nlohmann::json::parse(
      read_file(shared_data_path("datasets/datasets.json")))["interactions"][GetParam().file];
  FileReader file(shared_data_path("datasets") / GetParam().file);
  Decompressor content(file, GetParam().file);
  RowOptions options;
  if (*GetParam().map != 0) options.map = parse_row_map(GetParam().map).value();
  const auto rows = RowReader::open(content, GetParam().file, options);
  ASSERT_TRUE(rows.has_value()) << rows.error().message;

  EventDecoder decoder{DecodeOptions{}};
  DecodedRecord record;
  std::vector<std::string> lines;
  std::size_t left_out = 0;  // refused by either, or anonymous
  for (;;) {
    const auto step = (*rows)->next();
    ASSERT_TRUE(step.has_value()) << step.error().message;
    if (*step == RowReader::Step::end) break;
    if (*step == RowReader::Step::reject) {
      ++left_out;
      continue;
    }
    decoder.decode((*rows)->json(), -1, record);
    left_out += record.refused.size();
    for (const Event& event : record.events) {
      if (event.anonymous()) {
        ++left_out;
        continue;
      }
      lines.push_back(event.user_id + '\t' + event.item_id + '\t' +
                      std::to_string(event.timestamp) + '\t' + event.event_type + '\n');
    }
  }
  EXPECT_EQ((*rows)->row(), want["rows"].get<std::uint64_t>());
  EXPECT_EQ(left_out, want["refused"].get<std::size_t>());
  std::sort(lines.begin(), lines.end());
  lines.erase(std::unique(lines.begin(), lines.end()), lines.end());
  EXPECT_EQ(lines.size(), want["distinct"].get<std::size_t>());
  EXPECT_EQ(sha256_of(lines), want["canonical_sha256"].get<std::string>());
}

INSTANTIATE_TEST_SUITE_P(
    All, Datasets,
    testing::Values(Set{"ml-100k/u.data.gz", ""}, Set{"ml-latest-small/ratings.csv.zst", ""},
                    Set{"hetrec2011-movielens-tags/user_taggedmovies-timestamps.dat.gz", ""},
                    Set{"hetrec2011-lastfm-tags/user_taggedartists-timestamps.dat.zst", ""},
                    Set{"hetrec2011-shaped-synthetic/user_ratedmovies-timestamps.dat.zst", ""},
                    Set{"rees46-2019-10-sample/2019-Oct.csv.gz", ""},
                    Set{"yoochoose-clicks-100k/clicks.tsv.zst",
                        "user_id=SessionId,item_id=ItemId,timestamp=Time"},
                    Set{"diginetica-purchases/train-purchases.csv.gz", ""}),
    [](const auto& set) {
      std::string name(set.param.file);
      name = name.substr(0, name.find('/'));
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

Titles titles_of(const char* file) {
  FileReader in(shared_data_path("datasets") / file);
  Decompressor content(in, file);
  auto titles = read_titles(content);
  EXPECT_TRUE(titles.has_value()) << file;
  return titles ? *titles : Titles{};
}

TEST(TitlesOfDatasets, AreFound) {
  SKIP_WITHOUT_SHARED_DATA();
  EXPECT_EQ(titles_of("ml-latest-small/movies.csv.zst").at("11"), "American President, The (1995)");
  EXPECT_EQ(titles_of("ml-100k/items.tsv").at("2"), "GoldenEye");
  EXPECT_EQ(titles_of("hetrec2011-movielens-tags/movies-latin1.dat.gz").at("1"), "Toy story");
  EXPECT_EQ(titles_of("hetrec2011-lastfm-tags/artists.dat.zst").at("1"), "MALICE MIZER");
  EXPECT_EQ(titles_of("ml-latest-small/movies.csv.zst").size(), 9742U);
}

}  // namespace
}  // namespace millrace
