// What every object store promises (lake/object_store.h). A store joins with one line:
//
//   INSTANTIATE_TEST_SUITE_P(Disk, ObjectStoreSuite, testing::Values(StoreUnderTest{…}));
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "lake/object_store.h"

namespace millrace {

/// A store and whatever it needs to live (a folder, a server); `second()` opens the same objects
/// once more, as another process would.
class StoreWorld {
 public:
  virtual ~StoreWorld() = default;
  virtual ObjectStore& store() = 0;
  virtual ObjectStore& second() = 0;
};

struct StoreUnderTest {
  std::string name{};
  std::function<std::unique_ptr<StoreWorld>()> make{};
};

class ObjectStoreSuite : public testing::TestWithParam<StoreUnderTest> {
 protected:
  ObjectStoreSuite() : world_(GetParam().make()), store_(world_->store()) {}

  std::string bytes_of(const std::string& key) {
    const auto object = store_.get(key);
    EXPECT_TRUE(object.has_value()) << object.error().message;
    return object ? object->bytes : std::string();
  }

  std::vector<std::string> keys(const std::string& prefix, std::size_t objects_max = 1000) {
    std::vector<std::string> all;
    std::string after;
    do {
      const auto page = store_.list(prefix, after, objects_max);
      EXPECT_TRUE(page.has_value()) << page.error().message;
      if (!page) return all;
      EXPECT_LE(page->objects.size(), objects_max);
      for (const ObjectInfo& object : page->objects) all.push_back(object.key);
      after = page->next;
    } while (!after.empty());
    return all;
  }

  std::unique_ptr<StoreWorld> world_;
  ObjectStore& store_;
};

TEST_P(ObjectStoreSuite, GivesBackWhatWasPut) {
  const std::string bytes("a\0b\n\xff", 5);
  const auto etag = store_.put("x/y.ndjson", bytes, {});
  ASSERT_TRUE(etag.has_value()) << etag.error().message;
  const auto object = store_.get("x/y.ndjson");
  ASSERT_TRUE(object.has_value());
  EXPECT_EQ(object->bytes, bytes);
  EXPECT_EQ(object->etag, *etag);
  const auto info = store_.head("x/y.ndjson");
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->key, "x/y.ndjson");
  EXPECT_EQ(info->bytes, 5u);
  EXPECT_EQ(info->etag, *etag);
}

TEST_P(ObjectStoreSuite, AnEmptyObjectIsAnObject) {
  ASSERT_TRUE(store_.put("empty", "", PutIf::absent()));
  EXPECT_EQ(bytes_of("empty"), "");
  EXPECT_EQ(keys(""), std::vector<std::string>{"empty"});
  auto reader = store_.open("empty");
  ASSERT_TRUE(reader.has_value());
  char buffer[4];
  EXPECT_EQ((*reader)->read(buffer, 4).value(), 0u);
}

TEST_P(ObjectStoreSuite, WhatIsNotThereIsNotFound) {
  EXPECT_EQ(store_.get("no").error().kind, ErrorKind::not_found);
  EXPECT_EQ(store_.head("no/such").error().kind, ErrorKind::not_found);
  EXPECT_EQ(store_.open("no").error().kind, ErrorKind::not_found);
  EXPECT_TRUE(store_.remove("no/such"));
  EXPECT_TRUE(keys("").empty());
  // A prefix of keys is no object.
  ASSERT_TRUE(store_.put("a/b", "1", {}));
  EXPECT_EQ(store_.get("a").error().kind, ErrorKind::not_found);
  EXPECT_EQ(store_.head("a").error().kind, ErrorKind::not_found);
  EXPECT_TRUE(store_.remove("a"));
  EXPECT_EQ(bytes_of("a/b"), "1");
}

TEST_P(ObjectStoreSuite, CreateOnlyNeverReplaces) {
  ASSERT_TRUE(store_.put("k", "first", PutIf::absent()));
  const auto again = world_->second().put("k", "second", PutIf::absent());
  ASSERT_FALSE(again.has_value());
  EXPECT_EQ(again.error().kind, ErrorKind::conflict);
  EXPECT_EQ(bytes_of("k"), "first");
  ASSERT_TRUE(store_.remove("k"));
  EXPECT_TRUE(store_.put("k", "third", PutIf::absent()));
}

TEST_P(ObjectStoreSuite, OfManyWhoCreateExactlyOneSucceeds) {
  for (int round = 0; round < 10; ++round) {
    const std::string key = "race/" + std::to_string(round);
    std::atomic<int> created{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&, i] {
        ObjectStore& store = i % 2 == 0 ? store_ : world_->second();
        const auto put = store.put(key, std::to_string(i), PutIf::absent());
        if (put) {
          ++created;
        } else {
          EXPECT_EQ(put.error().kind, ErrorKind::conflict) << put.error().message;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(created, 1);
  }
}

TEST_P(ObjectStoreSuite, ReplacesOnlyWhatItHasSeen) {
  const std::string first = store_.put("k", "same", {}).value();
  const std::string second = store_.put("k", "same", PutIf::unchanged(first)).value();
  EXPECT_NE(first, second) << "equal bytes, but another write";
  EXPECT_EQ(store_.put("k", "late", PutIf::unchanged(first)).error().kind, ErrorKind::conflict);
  EXPECT_EQ(store_.put("other", "x", PutIf::unchanged(first)).error().kind, ErrorKind::conflict);
  EXPECT_EQ(bytes_of("k"), "same");
}

TEST_P(ObjectStoreSuite, CountingByConditionLosesNoIncrement) {
  ASSERT_TRUE(store_.put("counter", "0", {}));
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      ObjectStore& store = i % 2 == 0 ? store_ : world_->second();
      for (int done = 0; done < 10;) {
        const auto seen = store.get("counter");
        ASSERT_TRUE(seen.has_value()) << seen.error().message;
        const auto put = store.put("counter", std::to_string(std::stoi(seen->bytes) + 1),
                                   PutIf::unchanged(seen->etag));
        if (put) ++done;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(bytes_of("counter"), "40");
}

TEST_P(ObjectStoreSuite, AWriterShowsNothingBeforeItPublishes) {
  ASSERT_TRUE(store_.put("out.csv", "old", {}));
  {
    auto writer = store_.create("out.csv");
    ASSERT_TRUE(writer.has_value()) << writer.error().message;
    ASSERT_TRUE((*writer)->write("ne"));
    ASSERT_TRUE((*writer)->write("w"));
    EXPECT_EQ(bytes_of("out.csv"), "old");
    EXPECT_EQ(keys(""), std::vector<std::string>{"out.csv"});
    const auto info = (*writer)->publish();
    ASSERT_TRUE(info.has_value()) << info.error().message;
    EXPECT_EQ(info->bytes, 3u);
    EXPECT_EQ(info->etag, store_.head("out.csv")->etag);
  }
  EXPECT_EQ(bytes_of("out.csv"), "new");
  {
    auto writer = store_.create("new/never.csv");
    ASSERT_TRUE(writer.has_value());
    ASSERT_TRUE((*writer)->write("x"));
  }
  EXPECT_EQ(keys(""), std::vector<std::string>{"out.csv"});
}

TEST_P(ObjectStoreSuite, AReaderKeepsTheObjectItOpened) {
  const std::string text(300'000, 'a');
  ASSERT_TRUE(store_.put("k", text, {}));
  auto reader = store_.open("k");
  ASSERT_TRUE(reader.has_value());
  std::string read;
  std::string buffer(1000, '\0');
  while (true) {
    const auto got = (*reader)->read(buffer.data(), buffer.size());
    ASSERT_TRUE(got.has_value()) << got.error().message;
    if (*got == 0) break;
    if (read.empty()) {
      ASSERT_TRUE(store_.put("k", std::string(300'000, 'b'), {}));
    }
    read.append(buffer.data(), *got);
  }
  EXPECT_EQ(read, text);
}

TEST_P(ObjectStoreSuite, ListsInByteOrderWhateverTheFolders) {
  // '.' < '/' < '0': a folder's keys stand between names that begin like it.
  const std::vector<std::string> all{"a",     "a.txt", "a/b",  "a/b/c.x",     "a/b0",    "a0",
                                     "b/1/2", "b/1/3", "b/10", "z e+=%~'(1)", "\xc3\xa9"};
  std::vector<std::string> put;
  for (const std::string& key : all) {
    // On a disk no object can be at the place of a folder.
    if (key == "a" || key == "a/b") continue;
    const auto etag = store_.put(key, key, {});
    ASSERT_TRUE(etag.has_value()) << etag.error().message;
    put.push_back(key);
  }
  EXPECT_EQ(keys(""), put);
  for (const std::size_t objects_max : {1u, 2u, 3u, 8u, 9u, 10u}) {
    EXPECT_EQ(keys("", objects_max), put) << objects_max;
  }
  EXPECT_EQ(keys("a"), (std::vector<std::string>{"a.txt", "a/b/c.x", "a/b0", "a0"}));
  EXPECT_EQ(keys("a/b"), (std::vector<std::string>{"a/b/c.x", "a/b0"}));
  EXPECT_EQ(keys("a/b/"), (std::vector<std::string>{"a/b/c.x"}));
  EXPECT_EQ(keys("b/1"), (std::vector<std::string>{"b/1/2", "b/1/3", "b/10"}));
  EXPECT_EQ(keys("b/1/"), (std::vector<std::string>{"b/1/2", "b/1/3"}));
  EXPECT_EQ(keys("z e"), (std::vector<std::string>{"z e+=%~'(1)"}));
  EXPECT_TRUE(keys("c").empty());
  EXPECT_TRUE(keys("a//").empty());
  EXPECT_TRUE(keys("../").empty());
  // `after` need not be a key, nor begin with the prefix.
  EXPECT_EQ(store_.list("b/", "a/zzz", 1000)->objects.size(), 3u);
  EXPECT_EQ(store_.list("b/", "b/1/2", 1000)->objects.size(), 2u);
  EXPECT_EQ(store_.list("b/", "b/1/22", 1000)->objects.size(), 2u);
  EXPECT_EQ(store_.list("b/", "c", 1000)->objects.size(), 0u);
  for (const std::string& key : put) {
    EXPECT_EQ(bytes_of(key), key);
    EXPECT_TRUE(store_.remove(key));
  }
  EXPECT_TRUE(keys("").empty());
}

TEST_P(ObjectStoreSuite, ListsMoreThanAPage) {
  for (int i = 0; i < 250; ++i) {
    ASSERT_TRUE(store_.put("h/" + std::to_string(1000 + i), "x", PutIf::absent()));
  }
  const std::vector<std::string> all = keys("h/", 100);
  ASSERT_EQ(all.size(), 250u);
  EXPECT_TRUE(std::is_sorted(all.begin(), all.end()));
  EXPECT_EQ(store_.list("h/", "", 250)->next, "");
  EXPECT_EQ(store_.list("h/", "", 249)->next, "h/1248");
}

TEST_P(ObjectStoreSuite, RefusesWhatIsNoKey) {
  for (const std::string& key :
       {std::string(), std::string("/a"), std::string("a//b"), std::string("a/"),
        std::string("../a"), std::string("a/../b"), std::string("."), std::string("a/./b"),
        std::string("a\0b", 3), std::string("\xff"), std::string(1025, 'x')}) {
    EXPECT_EQ(store_.put(key, "x", {}).error().kind, ErrorKind::invalid) << key;
    EXPECT_EQ(store_.get(key).error().kind, ErrorKind::invalid) << key;
    EXPECT_EQ(store_.head(key).error().kind, ErrorKind::invalid) << key;
    EXPECT_EQ(store_.open(key).error().kind, ErrorKind::invalid) << key;
    EXPECT_EQ(store_.create(key).error().kind, ErrorKind::invalid) << key;
    EXPECT_EQ(store_.remove(key).error().kind, ErrorKind::invalid) << key;
  }
  EXPECT_TRUE(keys("").empty());
}

inline std::string name_of_store(const testing::TestParamInfo<StoreUnderTest>& info) {
  return info.param.name;
}

}  // namespace millrace
