#include "events/schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace millrace {
namespace {

using testing::HasSubstr;

std::string schema_with(const std::string& fields) {
  return R"({"type":"record","name":"Interactions","namespace":"x","fields":[)" + fields +
         R"(],"version":"1.0"})";
}
const std::string kBasic =
    R"({"name":"USER_ID","type":"string"},{"name":"ITEM_ID","type":"string"},)"
    R"({"name":"TIMESTAMP","type":"long"})";

TEST(Schema, ReadsColumnsInTheirOrder) {
  const auto columns = parse_interactions_schema(schema_with(
      R"({"name":"TIMESTAMP","type":"long"},{"name":"USER_ID","type":["string"]},)"
      R"({"name":"ITEM_ID","type":"string"},{"name":"EVENT_VALUE","type":["float","null"]},)"
      R"({"name":"PLACE","type":["null","string"],"categorical":true})"));
  ASSERT_TRUE(columns.has_value()) << columns.error().message;
  EXPECT_EQ(*columns, (std::vector<Column>{{"TIMESTAMP", ColumnType::int64, false, false},
                                           {"USER_ID", ColumnType::text, false, false},
                                           {"ITEM_ID", ColumnType::text, false, false},
                                           {"EVENT_VALUE", ColumnType::float32, true, false},
                                           {"PLACE", ColumnType::text, true, true}}));
}

TEST(Schema, SaysWhatIsWrong) {
  const auto message = [](const std::string& text) {
    const auto columns = parse_interactions_schema(text);
    EXPECT_FALSE(columns.has_value()) << text;
    return columns ? "" : columns.error().message;
  };
  EXPECT_THAT(message("{"), HasSubstr("not JSON"));
  EXPECT_THAT(message("[]"), HasSubstr("record"));
  EXPECT_THAT(message(R"({"type":"record"})"), HasSubstr("fields"));
  EXPECT_THAT(message(R"({"type":7,"fields":[]})"), HasSubstr("record"));
  EXPECT_THAT(message(schema_with("7")), HasSubstr("field 1"));
  EXPECT_THAT(message(schema_with(kBasic + R"(,{"name":"A","type":"date"})")),
              HasSubstr("\"date\""));
  EXPECT_THAT(message(schema_with(kBasic + R"(,{"name":"A","type":{"type":"array"}})")),
              HasSubstr("flat"));
  EXPECT_THAT(message(schema_with(kBasic + R"(,{"name":"A","type":["int","string"]})")),
              HasSubstr("union"));
  EXPECT_THAT(message(schema_with(kBasic + R"(,{"name":"A","type":"null"})")),
              HasSubstr("no type but null"));
  EXPECT_THAT(message(schema_with(kBasic + R"(,{"name":"USERID","type":"int"})")),
              HasSubstr("clash"));
  EXPECT_THAT(message(schema_with(kBasic + R"(,{"name":"a b","type":"int"})")),
              HasSubstr("letters"));
  EXPECT_THAT(message(schema_with(R"({"name":"USER_ID","type":"string"})")), HasSubstr("ITEM_ID"));
  EXPECT_THAT(message(schema_with(R"({"name":"USER_ID","type":"int"},)"
                                  R"({"name":"ITEM_ID","type":"string"},)"
                                  R"({"name":"TIMESTAMP","type":"long"})")),
              HasSubstr("USER_ID must be of type string"));
  EXPECT_THAT(message(schema_with(kBasic + R"(,{"name":"EVENT_TYPE","type":["string","null"]})")),
              HasSubstr("may not be null"));
}

TEST(Schema, TakesColumnsByName) {
  const auto columns =
      columns_of_names({"USER_ID", "ITEM_ID", "TIMESTAMP", "EVENT_VALUE", "DEVICE"});
  ASSERT_TRUE(columns.has_value());
  EXPECT_EQ((*columns)[3], (Column{"EVENT_VALUE", ColumnType::float32, true, false}));
  EXPECT_EQ((*columns)[4], (Column{"DEVICE", ColumnType::text, true, false}));
  EXPECT_FALSE(columns_of_names({"USER_ID", "ITEM_ID"}).has_value());
  EXPECT_FALSE(columns_of_names({"USER_ID", "ITEM_ID", "TIMESTAMP", "USER_ID"}).has_value());
}

TEST(Schema, KnowsCamelCase) {
  EXPECT_EQ(camel_case("NUM_RATINGS"), "numRatings");
  EXPECT_EQ(camel_case("GENRES_FIELD_1"), "genresField1");
  EXPECT_EQ(camel_case("DEVICE"), "device");
  EXPECT_EQ(camel_case("EVENT_ATTRIBUTION_SOURCE"), "eventAttributionSource");
}

Event some_event() {
  Event event;
  event.user_id = "u";
  event.session_id = "s";
  event.item_id = "i";
  event.event_type = "view";
  event.timestamp = 1700000000;
  return event;
}

std::vector<Column> with_column(Column column) {
  auto columns = default_interaction_columns();
  columns.push_back(std::move(column));
  return columns;
}

TEST(RowMaker, MakesTheDefaultRow) {
  RowMaker rows(default_interaction_columns());
  std::vector<Cell> row;
  EXPECT_EQ(rows.make(some_event(), row), std::nullopt);
  EXPECT_EQ(row, (std::vector<Cell>{"u", "i", "1700000000", "view"}));
}

TEST(RowMaker, TakesReservedColumnsFromTheEventAndOthersFromProperties) {
  Event event = some_event();
  event.event_value = "4.50";
  event.impression = {"a", "b"};
  event.recommendation_id = "R";
  event.properties =
      R"({"numRatings":12,"DEVICE":"pho\u006ee","tags":["x",2],"ok":true,"eventAttributionSource":"ad","none":null})";
  RowMaker rows({{"EVENT_VALUE", ColumnType::float32, true, false},
                 {"IMPRESSION", ColumnType::text, true, false},
                 {"RECOMMENDATION_ID", ColumnType::text, true, false},
                 {"EVENT_ATTRIBUTION_SOURCE", ColumnType::text, true, false},
                 {"NUM_RATINGS", ColumnType::int32, true, false},
                 {"DEVICE", ColumnType::text, true, false},
                 {"TAGS", ColumnType::text, true, false},
                 {"OK", ColumnType::boolean, true, false},
                 {"NONE", ColumnType::text, true, false},
                 {"ABSENT", ColumnType::int64, true, false}});
  std::vector<Cell> row;
  ASSERT_EQ(rows.make(event, row), std::nullopt);
  EXPECT_EQ(row, (std::vector<Cell>{"4.50", "a|b", "R", "ad", "12", "phone", "x|2", "true",
                                    std::nullopt, std::nullopt}));
}

TEST(RowMaker, RefusesWhatAColumnCannotHold) {
  const auto refusal = [](Column column, std::string properties) {
    Event event = some_event();
    event.properties = std::move(properties);
    std::vector<Cell> row;
    return RowMaker(with_column(std::move(column))).make(event, row).value_or("");
  };
  const Column text{"X", ColumnType::text, false, false};
  const Column whole{"X", ColumnType::int32, true, false};
  EXPECT_EQ(refusal(text, ""), "column X missing");
  EXPECT_EQ(refusal(text, R"({"x":null})"), "column X missing");
  EXPECT_EQ(refusal(text, R"({"x":{}})"), "column X wrong type");
  EXPECT_EQ(refusal(text, R"({"x":"a\nb"})"), "column X line break");
  EXPECT_EQ(refusal(text, R"({"x":"\ud800"})"), "column X wrong type");
  EXPECT_EQ(refusal(text, R"({"x":""})"), "");
  EXPECT_EQ(refusal(whole, R"({"x":"12"})"), "");
  EXPECT_EQ(refusal(whole, R"({"x":""})"), "");
  EXPECT_EQ(refusal(whole, R"({"x":1.5})"), "column X wrong type");
  EXPECT_EQ(refusal(whole, R"({"x":2147483648})"), "column X wrong type");
  EXPECT_EQ(refusal({"X", ColumnType::float32, true, false}, R"({"x":"NaN"})"),
            "column X wrong type");
  EXPECT_EQ(refusal({"X", ColumnType::float32, true, false}, R"({"x":1e39})"),
            "column X wrong type");
  EXPECT_EQ(refusal({"X", ColumnType::boolean, true, false}, R"({"x":"yes"})"),
            "column X wrong type");
  Event anonymous = some_event();
  anonymous.user_id.clear();
  std::vector<Cell> row;
  EXPECT_EQ(RowMaker(default_interaction_columns()).make(anonymous, row), "anonymous");
  Event shown = some_event();
  for (int i = 0; i < 25; ++i) shown.impression.push_back(std::string(40, 'x'));
  EXPECT_EQ(RowMaker(with_column({"IMPRESSION", ColumnType::text, true, false})).make(shown, row),
            "column IMPRESSION too long");
}

}  // namespace
}  // namespace millrace
