#include "lake/backfill.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "aws/base64.h"
#include "lake/decompress.h"
#include "lake/encoder.h"
#include "lake/memory_object_store.h"
#include "lake/names.h"
#include "tests/lake/text_reader.h"

namespace millrace {
namespace {

using testing::HasSubstr;

// A store whose puts fail after a number of them: a process that dies, or a disk that is full.
class FailingStore final : public ObjectStore {
 public:
  explicit FailingStore(ObjectStore& inner) : inner_(inner) {}
  int puts_left = -1;       // -1: no limit
  bool reply_lost = false;  // the failing put takes effect all the same
  ErrorKind kind = ErrorKind::transient;

  Result<std::string> put(const std::string& key, std::string_view bytes,
                          const PutIf& condition) override {
    if (puts_left == 0) {
      if (reply_lost) {
        EXPECT_TRUE(inner_.put(key, bytes, condition).has_value());
      }
      return fail(kind, "no space left on device");
    }
    if (puts_left > 0) --puts_left;
    return inner_.put(key, bytes, condition);
  }
  Result<ObjectBytes> get(const std::string& key) override { return inner_.get(key); }
  Result<ObjectInfo> head(const std::string& key) override { return inner_.head(key); }
  Result<std::unique_ptr<ObjectReader>> open(const std::string& key) override {
    return inner_.open(key);
  }
  Result<std::unique_ptr<ObjectWriter>> create(const std::string& key) override {
    if (puts_left == 0) return fail(kind, "no space left on device");
    return inner_.create(key);
  }
  Result<ObjectPage> list(const std::string& prefix, const std::string& after,
                          std::size_t objects_max) override {
    return inner_.list(prefix, after, objects_max);
  }
  Status remove(const std::string& key) override { return inner_.remove(key); }
  std::string url_of(const std::string& key) const override { return inner_.url_of(key); }

 private:
  ObjectStore& inner_;
};

class Backfill : public testing::Test {
 protected:
  Backfill() {
    options.lake.prefix = "crm/!{timestamp:yyyy/MM/dd/HH}/";
    options.lake.buffer_bytes = 1000;
    options.lake.compression = Compression::none;
  }

  void put_source(const std::string& text, const std::string& key = "ratings.csv") {
    ASSERT_TRUE(files.put(key, text, {}).has_value());
  }
  static std::string csv(int rows) {
    std::string text = "userId,movieId,rating,timestamp\n";
    for (int i = 1; i <= rows; ++i) {
      text += fmt::format("{},{},4.5,{}\n", i % 7, i % 13, 1'700'000'000 + i);
    }
    return text;
  }
  Result<BackfillResult> run() {
    return backfill({&files, "ratings.csv"}, failing_lake, failing_state, options);
  }
  std::vector<std::string> keys(ObjectStore& store) {
    std::vector<std::string> out;
    const auto page = store.list("", "", 1000);
    EXPECT_TRUE(page.has_value());
    for (const ObjectInfo& object : page->objects) out.push_back(object.key);
    return out;
  }
  static std::string content_of(ObjectStore& store, const std::string& key) {
    TextReader packed(store.get(key).value().bytes);
    Decompressor content(packed, key);
    std::string text;
    std::string buffer(10'000, '\0');
    for (;;) {
      const auto count = content.read(buffer.data(), buffer.size());
      EXPECT_TRUE(count.has_value());
      if (!count || *count == 0) return text;
      text.append(buffer, 0, *count);
    }
  }
  std::string lake_text() {
    std::string text;
    for (const std::string& key : keys(lake)) text += content_of(lake, key);
    return text;
  }
  // Every row number of the lake, in the order of the keys.
  std::vector<std::uint64_t> rows_in_lake() {
    std::vector<std::uint64_t> rows;
    std::istringstream lines(lake_text());
    for (std::string line; std::getline(lines, line);) {
      rows.push_back(nlohmann::json::parse(line)["_source"]["row"].get<std::uint64_t>());
    }
    return rows;
  }
  static std::vector<std::uint64_t> one_to(std::uint64_t last) {
    std::vector<std::uint64_t> rows;
    for (std::uint64_t row = 1; row <= last; ++row) rows.push_back(row);
    return rows;
  }

  MemoryObjectStore files;
  MemoryObjectStore lake;
  MemoryObjectStore state;
  FailingStore failing_lake{lake};
  FailingStore failing_state{state};
  BackfillOptions options;
};

TEST_F(Backfill, StoresEachRowOnceInOrder) {
  put_source(csv(100));
  const auto result = run();
  ASSERT_TRUE(result.has_value()) << result.error().message;
  EXPECT_EQ(result->rows, 100U);
  EXPECT_EQ(result->stored_now, 100U);
  EXPECT_EQ(result->events, 100U);
  EXPECT_EQ(result->rejected, 0U);
  EXPECT_EQ(result->objects_created, keys(lake).size());
  EXPECT_GT(keys(lake).size(), 5U);
  EXPECT_TRUE(keys(state).empty());
  EXPECT_EQ(rows_in_lake(), one_to(100));
  EXPECT_THAT(lake_text(),
              testing::StartsWith(fmt::format(
                  R"({{"user_id":"1","item_id":"1","timestamp":"1700000001","event_value":"4.5",)"
                  R"("_source":{{"source":"{}","row":1}}}})"
                  "\n",
                  result->source_id)));
  EXPECT_THAT(keys(lake).front(), testing::StartsWith("crm/backfill/" + result->source_id + "/"));
}

TEST_F(Backfill, TwiceIsOnceUnderAnyNameAndSetting) {
  put_source(csv(100));
  const auto first = run();
  ASSERT_TRUE(first.has_value());
  const auto before = keys(lake);
  options.lake.buffer_bytes = 50;
  options.lake.compression = Compression::gzip;
  put_source(csv(100), "copy.csv");
  const auto again = backfill({&files, "copy.csv"}, lake, state, options);
  ASSERT_TRUE(again.has_value()) << again.error().message;
  EXPECT_EQ(again->source_id, first->source_id);
  EXPECT_EQ(again->objects_created, 0U);
  EXPECT_EQ(again->stored_before, 100U);
  EXPECT_EQ(again->stored_now, 0U);
  EXPECT_EQ(keys(lake), before);
}

TEST_F(Backfill, AnotherMappingIsAnotherSource) {
  put_source(csv(10));
  const auto first = run();
  options.map = parse_row_map("user_id=movieId,item_id=userId,timestamp=timestamp").value();
  const auto other = run();
  ASSERT_TRUE(first.has_value() && other.has_value());
  EXPECT_NE(first->source_id, other->source_id);
}

TEST_F(Backfill, KilledAtAnyObjectItGoesOn) {
  put_source(csv(200));
  ASSERT_TRUE(run().has_value());
  const auto whole = keys(lake);
  const std::string text = lake_text();
  for (const bool reply_lost : {false, true}) {
    for (int puts = 0; puts < static_cast<int>(whole.size()); ++puts) {
      for (const std::string& key : keys(lake)) ASSERT_TRUE(lake.remove(key).has_value());
      failing_lake.puts_left = puts;
      failing_lake.reply_lost = reply_lost;
      const auto broken = run();
      ASSERT_FALSE(broken.has_value());
      EXPECT_EQ(broken.error().kind, ErrorKind::transient);
      EXPECT_THAT(broken.error().message, HasSubstr("no space left on device"));
      EXPECT_EQ(keys(lake).size(), static_cast<std::size_t>(puts + reply_lost));
      failing_lake.puts_left = -1;
      const auto resumed = run();
      ASSERT_TRUE(resumed.has_value());
      EXPECT_EQ(resumed->stored_before + resumed->stored_now, 200U);
      EXPECT_EQ(keys(lake), whole);
      EXPECT_EQ(lake_text(), text);
    }
  }
}

TEST_F(Backfill, ResumingWithOtherSettingsDoublesNothing) {
  put_source(csv(200));
  failing_lake.puts_left = 3;
  ASSERT_FALSE(run().has_value());
  failing_lake.puts_left = -1;
  options.lake.buffer_bytes = 333;
  ASSERT_TRUE(run().has_value());
  EXPECT_EQ(rows_in_lake(), one_to(200));
}

TEST_F(Backfill, RejectsAreKeptWithLineReasonAndBytes) {
  put_source("userId,movieId,timestamp\n1,2,3\n1,2\n,2,3\n1,2,x\n4,5,6\n1,\xFF,3\n");
  const auto result = run();
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->rows, 6U);
  EXPECT_EQ(result->stored_now, 2U);
  EXPECT_EQ(result->rejected, 4U);
  EXPECT_EQ(result->rejects_written, 4U);
  ASSERT_EQ(keys(state),
            (std::vector<std::string>{state_keys::backfill_rejects(result->source_id)}));
  EXPECT_EQ(result->rejects_url, state.url_of(keys(state)[0]));
  EXPECT_EQ(rows_in_lake(), (std::vector<std::uint64_t>{1, 5}));
  std::istringstream lines(content_of(state, keys(state)[0]));
  std::vector<std::string> seen;
  for (std::string line; std::getline(lines, line);) {
    const auto reject = nlohmann::json::parse(line);
    std::string raw;
    ASSERT_TRUE(append_base64_decoded(reject["raw"].get<std::string>(), raw));
    seen.push_back(fmt::format("{}/{}: {}: {}", reject["row"].get<int>(), reject["line"].get<int>(),
                               reject["reason"].get<std::string>(), raw));
  }
  EXPECT_EQ(seen, (std::vector<std::string>{
                      "2/3: 2 columns instead of 3: 1,2", "3/4: user_id missing: ,2,3",
                      "4/5: timestamp unreadable: 1,2,x", "6/7: not UTF-8: 1,\xFF,3"}));
  // The last row was a reject: a second start has nothing to add.
  EXPECT_EQ(run()->objects_created, 0U);
}

TEST_F(Backfill, AFullStateDiskIsAnErrorThatNamesTheFile) {
  put_source("userId,movieId,timestamp\n1,2\n");
  failing_state.puts_left = 0;
  const auto result = run();
  ASSERT_FALSE(result.has_value());
  EXPECT_THAT(result.error().message, HasSubstr("writing memory:///"));
}

TEST_F(Backfill, RejectsBeyondTheLimitAreCounted) {
  std::string text = "userId,movieId,timestamp\n";
  for (int i = 0; i < 100; ++i) text += "1,2\n";
  put_source(text);
  options.rejects_bytes_max = 500;
  const auto result = run();
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->rejected, 100U);
  EXPECT_GT(result->rejects_written, 0U);
  EXPECT_LT(result->rejects_written, 10U);
}

TEST_F(Backfill, AGapInTheFolderIsRefused) {
  put_source(csv(100));
  ASSERT_TRUE(run().has_value());
  ASSERT_TRUE(lake.remove(keys(lake)[2]).has_value());
  const auto result = run();
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().kind, ErrorKind::refused);
}

TEST_F(Backfill, StopsAtAnObjectsBorderAndGoesOn) {
  put_source(csv(20'000));
  int calls = 0;
  const auto stopped = backfill({&files, "ratings.csv"}, lake, state, options,
                                [&](const BackfillProgress& progress) {
                                  ++calls;
                                  EXPECT_GT(progress.bytes_total, 0U);
                                  return progress.rows < 5000;
                                });
  ASSERT_TRUE(stopped.has_value());
  EXPECT_TRUE(stopped->stopped);
  EXPECT_EQ(calls, 2);
  const auto rest = run();
  ASSERT_TRUE(rest.has_value());
  EXPECT_FALSE(rest->stopped);
  EXPECT_EQ(rest->rows, 20'000U);
  EXPECT_EQ(rest->stored_before, stopped->stored_now);
  EXPECT_EQ(rest->stored_now + rest->stored_before, 20'000U);
  std::uint64_t next_row = 1;
  for (const std::string& key : keys(lake)) {
    const auto range = parse_backfill_key(key);
    ASSERT_TRUE(range.has_value());
    if (range->first_row != next_row) break;  // the listing above is one page
    next_row = range->last_row + 1;
  }
  EXPECT_GT(next_row, 5000U);
}

TEST_F(Backfill, ADamagedSourceSaysHowFarItCame) {
  std::string packed;
  Encoder(Compression::gzip).encode(csv(20'000), packed);
  packed.resize(packed.size() / 2);
  put_source(packed);
  const auto result = run();
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().kind, ErrorKind::corrupt);
  EXPECT_THAT(result.error().message, HasSubstr("are stored)"));
}

TEST_F(Backfill, EnvelopesLoseTheirOldAnnotationAndGainOurs) {
  put_source(
      R"({"user_id":"u","_source":{"row":7},"event_list":[{"item_id":"i","timestamp":1},{}]})");
  const auto result = run();
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->events, 1U);
  EXPECT_EQ(result->events_refused, 1U);
  EXPECT_EQ(lake_text(),
            fmt::format(R"({{"user_id":"u","event_list":[{{"item_id":"i","timestamp":1}},)"
                        R"({{}}],"_source":{{"source":"{}","row":1}}}})"
                        "\n",
                        result->source_id));
}

TEST_F(Backfill, LinesStayBareWhenNotAnnotated) {
  put_source("userId,movieId,timestamp\n1,2,3\n");
  options.lake.annotate = false;
  ASSERT_TRUE(run().has_value());
  EXPECT_EQ(lake_text(), "{\"user_id\":\"1\",\"item_id\":\"2\",\"timestamp\":\"3\"}\n");
}

// Rows carry our own names, so they are judged by them too, whatever live records call the fields.
TEST_F(Backfill, FieldNamesOfLiveRecordsRejectNoRow) {
  options.decode.fields.user_id = {"/uid"};
  options.decode.fields.item_id = {"/product/id"};
  options.decode.fields.timestamp = {"/ts"};
  options.decode.fields.event_type = {"/kind"};
  options.decode.format = DecodeOptions::Format::envelope;
  put_source("userId,movieId,timestamp,event_type\n1,2,3,click\n1,2,,click\n");
  const auto result = run();
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->stored_now, 1U);
  EXPECT_EQ(result->rejected, 1U);  // without a time it is no event under any name
}

TEST_F(Backfill, AnEmptySourceStoresNothing) {
  put_source("");
  const auto result = run();
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->rows, 0U);
  EXPECT_TRUE(keys(lake).empty());
}

TEST_F(Backfill, AMissingSourceIsNotFound) {
  const auto result = run();
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().kind, ErrorKind::not_found);
  EXPECT_THAT(result.error().message, HasSubstr("ratings.csv"));
}

}  // namespace
}  // namespace millrace
