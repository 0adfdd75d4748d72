#include "lake/rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "lake/delimited.h"
#include "tests/events/shared_data.h"
#include "tests/lake/text_reader.h"

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// "+{json}" for rows, "-line:reason" for rejects.
std::vector<std::string> rows_of(const std::string& text, const std::string& name = "x.csv",
                                 RowOptions options = {}) {
  std::vector<std::string> out;
  TextReader source(text);
  const auto rows = RowReader::open(source, name, std::move(options));
  if (!rows) return {"error: " + rows.error().message};
  std::uint64_t number = 0;
  for (;;) {
    const auto step = (*rows)->next();
    if (!step) {
      out.push_back("error: " + step.error().message);
      return out;
    }
    if (*step == RowReader::Step::end) return out;
    EXPECT_EQ((*rows)->row(), ++number);
    out.push_back(*step == RowReader::Step::row
                      ? "+" + std::string((*rows)->json())
                      : "-" + std::to_string((*rows)->line()) + ":" + (*rows)->reason());
  }
}

RowOptions mapped(std::string_view text) {
  auto map = parse_row_map(text);
  EXPECT_TRUE(map.has_value()) << map.error().message;
  RowOptions options;
  if (map) options.map = *map;
  return options;
}

const std::string kHeader = "userId,movieId,rating,timestamp\n";
const std::string kFirst = R"(+{"user_id":"1","item_id":"2","timestamp":"3","event_value":"4.0"})";

TEST(Rows, FindsColumnsByName) {
  EXPECT_THAT(rows_of(kHeader + "1,2,4.0,3\n"), ElementsAre(kFirst));
  EXPECT_THAT(rows_of("\xEF\xBB\xBF" + kHeader + "1,2,4.0,3"), ElementsAre(kFirst));
  EXPECT_THAT(rows_of("User ID;Product_Id;unixTimeStamp;brand\r\n\"7\";8;9;x\r\n"),
              ElementsAre(R"(+{"user_id":"7","item_id":"8","timestamp":"9"})"));
  EXPECT_THAT(rows_of("user_id:token\titem_id:token\ttimestamp:float\n1\t2\t3\n"),
              ElementsAre(R"(+{"user_id":"1","item_id":"2","timestamp":"3"})"));
}

TEST(Rows, KnowsFilesWithoutHeaderByName) {
  EXPECT_THAT(rows_of("1\t2\t4.0\t3\n", "/data/u.data.gz"), ElementsAre(kFirst));
  EXPECT_THAT(rows_of("1::2::4.0::3\n", "ml-1m/ratings.dat"), ElementsAre(kFirst));
}

TEST(Rows, TakesAMap) {
  const std::string by_name = "a,b,\"c,d\"\n1,2,3\n";
  EXPECT_THAT(rows_of(by_name, "x", mapped(R"(user_id=a,item_id=b,timestamp=c\,d)")),
              ElementsAre(R"(+{"user_id":"1","item_id":"2","timestamp":"3"})"));
  EXPECT_THAT(rows_of(by_name, "x", mapped("user_id=1,item_id=2,timestamp=3")),
              ElementsAre(R"(+{"user_id":"1","item_id":"2","timestamp":"3"})"))
      << "a first line without a time is a header";
  EXPECT_THAT(rows_of("9,8,7\n1,2,3\n", "x", mapped("user_id=1,item_id=2,timestamp=3")).size(), 2U);
  EXPECT_THAT(rows_of(by_name, "x", mapped("user_id=a,item_id=z,timestamp=3")),
              ElementsAre(HasSubstr("no column \"z\" for item_id")));
  EXPECT_THAT(rows_of("9,8,7\n", "x", mapped("user_id=1,item_id=2,timestamp=4")),
              ElementsAre(HasSubstr("no column \"4\" for timestamp")));
}

TEST(Rows, AMapThatIsWrongSaysSo) {
  for (const auto& [text, what] : std::vector<std::pair<std::string, std::string>>{
           {"", "names no column"},
           {"user_id=", "names no column"},
           {"user=a,item_id=b,timestamp=c", "\"user\" is no field"},
           {"user_id=a,user_id=b,item_id=b,timestamp=c", "twice"},
           {"user_id=a,item_id=b", "timestamp is missing"},
           {"item_id=b,timestamp=c", "user_id is missing"}}) {
    const auto map = parse_row_map(text);
    ASSERT_FALSE(map.has_value()) << text;
    EXPECT_THAT(map.error().message, HasSubstr(what));
    EXPECT_EQ(map.error().kind, ErrorKind::invalid);
  }
  const auto map = parse_row_map(R"(user_id=a\,b,item_id=c=d,timestamp=/t)");
  ASSERT_TRUE(map.has_value());
  EXPECT_EQ(map->text(), R"(user_id=a\,b,item_id=c=d,timestamp=/t)");
}

TEST(Rows, AFileThatCannotBeMappedShowsItsHeaderAndAnExample) {
  EXPECT_THAT(
      rows_of("who,movieId,rating\n1,2,3\n", "r.csv"),
      ElementsAre(testing::AllOf(HasSubstr("r.csv: no column for user_id, timestamp"),
                                 HasSubstr(R"("who", "movieId", "rating")"),
                                 HasSubstr("--map user_id=COL,item_id=movieId,timestamp=COL"))));
  EXPECT_THAT(rows_of("{\"who\":1,\"asin\":2,\"unixReviewTime\":3}\n", "r.json"),
              ElementsAre(HasSubstr("--map user_id=COL,item_id=/asin,timestamp=/unixReviewTime")));
  EXPECT_THAT(rows_of("{\n  \"user_id\": 1\n}\n", "r.json"),
              ElementsAre(HasSubstr("one per line")));
}

TEST(Rows, LeavesOutEmptyCells) {
  EXPECT_THAT(rows_of("user_id,item_id,time,rating\nNA,,3,\n\"NA\",\"a\"\"b\",3,\n"),
              ElementsAre(R"(+{"timestamp":"3"})",
                          R"(+{"user_id":"NA","item_id":"a\"b","timestamp":"3"})"));
}

TEST(Rows, ABadRowIsARejectWithItsLine) {
  EXPECT_THAT(rows_of(kHeader + "1,2,4.0,3\n\n1,2\n\"1\"x,2,3,4\n1,\xFF,3,4\n1,2,4.0,3\n\"1,2,3\n"),
              ElementsAre(kFirst, "-4:2 columns instead of 4", "-5:text behind a closing quote",
                          "-6:not UTF-8", kFirst, "-8:quote not closed"));
}

TEST(Rows, AnUnclosedQuoteCostsItsLineOnly) {
  std::string text = kHeader + "\"1,2,4.0,3\n";
  for (int i = 0; i < 1000; ++i) text += "1,2,4.0,3\n";
  const auto rows = rows_of(text);
  ASSERT_EQ(rows.size(), 1001U);
  EXPECT_EQ(rows[0], "-2:quote not closed");
  EXPECT_EQ(rows[1], kFirst);
}

TEST(Rows, ALongRowIsARejectAndMemoryStaysFlat) {
  RowOptions options;
  options.row_bytes_max = 100;
  const std::string longer(100'000, 'x');
  EXPECT_THAT(rows_of(kHeader + longer + "\n1,2,4.0,3\n" + longer, "x.csv", options),
              ElementsAre("-2:row too long", kFirst, "-4:row too long"));
  EXPECT_THAT(rows_of("{\"user\":1,\"item\":2,\"time\":3}\n" + longer + "\n", "x", options),
              ElementsAre(R"(+{"user_id":1,"item_id":2,"timestamp":3})", "-2:row too long"));
  EXPECT_THAT(rows_of("[{\"user\":1,\"item\":2,\"time\":3},\n{\"x\":\"" + longer +
                          "\"},\n{\"user\":1,\"item\":2,\"time\":4}]",
                      "x", options),
              ElementsAre(R"(+{"user_id":1,"item_id":2,"timestamp":3})", "-2:row too long",
                          R"(+{"user_id":1,"item_id":2,"timestamp":4})"));
}

TEST(Rows, JsonKeepsItsValues) {
  const std::string one =
      R"({"reviewerID":"A\u00e9","asin":12345678901234567890,"unixReviewTime":1.5e9,"overall":5.0,"x":[]})";
  const std::string row =
      R"(+{"user_id":"A\u00e9","item_id":12345678901234567890,"timestamp":1.5e9,"event_value":5.0})";
  EXPECT_THAT(rows_of(one + "\n" + one + one + "\nnope\n7\n", "x"),
              ElementsAre(row, row, row, "-3:not JSON", "-4:not an object"));
  EXPECT_THAT(rows_of(" [ " + one + "\n , 7,,\n{\"a\":,\"b\"}," + one + "]\n", "x"),
              ElementsAre(row, "-2:not an object", "-2:not JSON", "-3:not JSON", row));
  EXPECT_THAT(rows_of("[" + one, "x"), ElementsAre("-1:list not closed"));
  EXPECT_THAT(rows_of("[]", "x"), ElementsAre());
}

TEST(Rows, JsonIsReadByPointersToo) {
  EXPECT_THAT(rows_of(R"({"u":{"id":1},"i":["x","y"],"t":5,"user_id":"no"})", "x",
                      mapped("user_id=/u/id,item_id=/i/1,timestamp=t")),
              ElementsAre(R"(+{"user_id":1,"item_id":"y","timestamp":5})"));
}

TEST(Rows, EnvelopesGoThroughAsTheyAre) {
  EXPECT_THAT(rows_of("[{\"user_id\":\"u\",\n\"event_list\":[]}]", "x"),
              ElementsAre("+{\"user_id\":\"u\", \"event_list\":[]}"));
}

TEST(Rows, AnEmptyFileHasNoRows) {
  EXPECT_TRUE(rows_of("").empty());
  EXPECT_TRUE(rows_of(" \n\n").empty());
  EXPECT_TRUE(rows_of(kHeader).empty());
}

TEST(Rows, BlankLinesInFrontHideNothing) {
  const std::string blank(200'000, '\n');
  EXPECT_THAT(rows_of("\xEF\xBB\xBF" + blank + kHeader + "1,2,4.0,3\n1,2\n"),
              ElementsAre(kFirst, "-200003:2 columns instead of 4"));
  EXPECT_TRUE(rows_of(blank).empty());
}

TEST(Rows, AnErrorOfTheSourceIsPassedOn) {
  for (const std::string& text :
       {kHeader + "1,2,4.0,3\n1,2", std::string("[{\"user\":1,\"item\":2,\"time\":3},{\"us")}) {
    TextReader source(text, /*fails_at_end=*/true);
    const auto rows = RowReader::open(source, "x", {});
    if (!rows) {
      EXPECT_EQ(rows.error().kind, ErrorKind::corrupt);
      continue;
    }
    Result<RowReader::Step> step = (*rows)->next();
    while (step && *step != RowReader::Step::end) step = (*rows)->next();
    ASSERT_FALSE(step.has_value());
    EXPECT_EQ(step.error().kind, ErrorKind::corrupt);
  }
}

TEST(Delimited, AgreesWithCsvSpectrum) {
  SKIP_WITHOUT_SHARED_DATA();
  std::size_t count = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(shared_data_path("vectors/csv-spectrum/csvs"))) {
    ++count;
    const std::string name = entry.path().stem().string();
    TextReader source(read_file(entry.path()));
    DelimitedReader reader(source, {});
    std::vector<std::string> header;
    nlohmann::json rows = nlohmann::json::array();
    for (;;) {
      const auto step = reader.next();
      ASSERT_TRUE(step.has_value());
      if (*step == DelimitedReader::Step::end) break;
      ASSERT_EQ(*step, DelimitedReader::Step::record) << name << ": " << reader.reason();
      if (header.empty()) {
        header.assign(reader.cells().begin(), reader.cells().end());
        continue;
      }
      nlohmann::json row;
      for (std::size_t i = 0; i < header.size(); ++i) row[header[i]] = reader.cells().at(i);
      rows.push_back(row);
    }
    const auto want = nlohmann::json::parse(
        read_file(shared_data_path("vectors/csv-spectrum/json/" + name + ".json")));
    if (name == "location_coordinates") {
      // Its two files hold different telephone numbers; the quotes inside a bare cell are the
      // point.
      EXPECT_EQ(rows[0]["Location Coordinates"], want["Location Coordinates"]);
      continue;
    }
    EXPECT_EQ(rows, want) << name;
  }
  EXPECT_EQ(count, 12U);
}

}  // namespace
}  // namespace millrace
