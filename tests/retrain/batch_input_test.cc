#include "retrain/batch_input.h"

#include <gtest/gtest.h>

#include "lake/memory_object_store.h"

namespace millrace {
namespace {

struct Written {
  Result<std::uint64_t> count = 0;
  std::string text{};
};

Written users_of(const std::string& csv, std::optional<std::int64_t> since = std::nullopt,
                 std::size_t users_max = 100) {
  MemoryObjectStore store;
  EXPECT_TRUE(store.put("in.csv", csv, PutIf{}).has_value());
  auto reader = store.open("in.csv");
  auto writer = store.create("out");
  Written out;
  out.count = write_users(**reader, **writer, since, users_max);
  EXPECT_TRUE((*writer)->publish().has_value());
  out.text = store.get("out")->bytes;
  return out;
}

TEST(BatchInput, WritesEachUserOnceAsAString) {
  const auto out = users_of(
      "USER_ID,ITEM_ID,TIMESTAMP\n"
      "7,a,1\n7,b,2\n\"x,\\\"y\\\\\",c,3\né,d,4");
  EXPECT_EQ(out.count.value(), 3u);
  EXPECT_EQ(out.text, "{\"userId\":\"7\"}\n{\"userId\":\"x,\\\"y\\\\\"}\n{\"userId\":\"é\"}\n");
}

TEST(BatchInput, FindsItsColumnsWhereverTheSchemaPutsThem) {
  EXPECT_EQ(users_of("TIMESTAMP,X,USER_ID\n5,\"q\",u\n").text, "{\"userId\":\"u\"}\n");
}

TEST(BatchInput, LeavesOutUsersWhoWereNotActive) {
  EXPECT_EQ(users_of("USER_ID,TIMESTAMP\na,9\nb,10\na,11\n", 10).text,
            "{\"userId\":\"b\"}\n{\"userId\":\"a\"}\n");
}

TEST(BatchInput, ReadsAcrossChunks) {
  std::string csv = "USER_ID,TIMESTAMP\n";
  for (int i = 0; i < 40'000; ++i) csv += "user" + std::to_string(i) + ",1\n";
  EXPECT_EQ(users_of(csv, std::nullopt, 40'000).count.value(), 40'000u);
}

TEST(BatchInput, RefusesWhatIsNoInteractionsCsvAndTooManyUsers) {
  for (const char* csv : {"", "USER_ID\nx\n", "a,b\n", "USER_ID,TIMESTAMP\nx\n",
                          "USER_ID,TIMESTAMP\nx,1.5\n", "USER_ID,TIMESTAMP\n\"x,1\n"})
    EXPECT_EQ(users_of(csv).count.error().kind, ErrorKind::corrupt) << csv;
  EXPECT_EQ(users_of("USER_ID,TIMESTAMP\na,1\nb,1\n", std::nullopt, 1).count.error().kind,
            ErrorKind::refused);
}

}  // namespace
}  // namespace millrace
