#include "lake/disk_object_store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "lake/store_of_url.h"
#include "tests/fakes/temporary_folder.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::vector<std::string> files_below(const fs::path& root) {
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    names.push_back(fs::relative(entry.path(), root).string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

TEST(DiskObjectStore, NothingOfOursLiesBesideTheObjects) {
  for (const bool nameless_files : {true, false}) {
    const TemporaryFolder folder;
    DiskObjectStore store(folder.path().string(), {.nameless_files = nameless_files});
    ASSERT_TRUE(store.put("a/new", "1", PutIf::absent()));
    ASSERT_TRUE(store.put("a/replaced", "1", {}));
    ASSERT_TRUE(store.put("a/replaced", "2", {}));
    ASSERT_TRUE(store.create("a/written").value()->publish());
    store.create("a/dropped").value().reset();
    EXPECT_EQ(files_below(folder.path()),
              (std::vector<std::string>{"a", "a/new", "a/replaced", "a/written"}));
  }
}

TEST(DiskObjectStore, WhileWritingPlainReadersOfTheFolderSeeNothing) {
  const TemporaryFolder folder;
  DiskObjectStore store(folder.path().string());
  auto writer = store.create("out/x.csv").value();
  ASSERT_TRUE(writer->write("half"));
  EXPECT_TRUE(fs::is_empty(folder.path() / "out"));
  EXPECT_TRUE(store.list("", "", 10)->objects.empty());
}

TEST(DiskObjectStore, RemovesWhatAKilledProcessLeftAndNothingElse) {
  const TemporaryFolder folder;
  const fs::path temporary = folder.path() / ".millrace-tmp";
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    DiskObjectStore store(folder.path().string());
    auto writer = store.create("x.csv").value();
    ::_exit(writer->write("half") ? 0 : 1);  // as kill -9 would: no destructor runs
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  ASSERT_FALSE(fs::is_empty(temporary));

  DiskObjectStore living(folder.path().string());
  auto writer = living.create("y.csv").value();
  ASSERT_TRUE(writer->write("y"));
  DiskObjectStore next(folder.path().string());
  ASSERT_TRUE(next.put("z", "z", {}));
  ASSERT_TRUE(writer->publish());
  writer.reset();
  EXPECT_EQ(files_below(folder.path()), (std::vector<std::string>{"y.csv", "z"}));
}

TEST(DiskObjectStore, AnotherProcessMayReplaceBetweenReadAndPut) {
  const TemporaryFolder folder;
  DiskObjectStore store(folder.path().string());
  std::string etag = store.put("counter", "0", {}).value();
  std::vector<pid_t> children;
  for (int i = 0; i < 3; ++i) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child != 0) {
      children.push_back(child);
      continue;
    }
    DiskObjectStore own(folder.path().string());
    for (int done = 0; done < 20;) {
      const auto seen = own.get("counter");
      if (!seen) ::_exit(1);
      if (own.put("counter", std::to_string(std::stoi(seen->bytes) + 1),
                  PutIf::unchanged(seen->etag))) {
        ++done;
      }
    }
    ::_exit(0);
  }
  for (const pid_t child : children) {
    int status = 1;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(store.get("counter")->bytes, "60");
}

TEST(DiskObjectStore, AFolderAtTheObjectsPlaceIsNoSuccess) {
  const TemporaryFolder folder;
  DiskObjectStore store(folder.path().string());
  ASSERT_TRUE(store.put("a/b", "1", {}));
  EXPECT_EQ(store.put("a", "1", PutIf::absent()).error().kind, ErrorKind::invalid);
  EXPECT_EQ(store.put("a", "1", {}).error().kind, ErrorKind::invalid);
  EXPECT_EQ(store.put("a/b/c", "1", {}).error().kind, ErrorKind::invalid);
}

TEST(DiskObjectStore, ReservesItsFolderAndLongNames) {
  const TemporaryFolder folder;
  DiskObjectStore store(folder.path().string());
  EXPECT_EQ(store.put(".millrace-tmp/x", "1", {}).error().kind, ErrorKind::invalid);
  EXPECT_EQ(store.put("a/" + std::string(256, 'x'), "1", {}).error().kind, ErrorKind::invalid);
  EXPECT_TRUE(store.list(".millrace-tmp/", "", 10)->objects.empty());
}

TEST(DiskObjectStore, AnObjectThatShrinksWhileItIsReadIsDamaged) {
  const TemporaryFolder folder;
  DiskObjectStore store(folder.path().string());
  ASSERT_TRUE(store.put("k", std::string(1000, 'x'), {}));
  auto reader = store.open("k").value();
  fs::resize_file(folder.path() / "k", 10);
  std::string buffer(2000, '\0');
  ASSERT_EQ(reader->read(buffer.data(), buffer.size()).value(), 10u);
  EXPECT_EQ(reader->read(buffer.data(), buffer.size()).error().kind, ErrorKind::corrupt);
}

TEST(DiskObjectStore, AMissingRightIsDenied) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write everywhere";
  const TemporaryFolder folder;
  ::chmod(folder.path().c_str(), 0500);
  DiskObjectStore store(folder.path().string());
  const auto put = store.put("x", "1", {});
  EXPECT_EQ(put.error().kind, ErrorKind::denied);
  EXPECT_THAT(put.error().message, HasSubstr(folder.path().string()));
  ::chmod(folder.path().c_str(), 0700);
}

TEST(DiskObjectStore, AFullDiskIsWeatherAndNamesThePlace) {
  const TemporaryFolder folder;
  if (::mount("tmpfs", folder.path().c_str(), "tmpfs", 0, "size=64k") != 0) {
    GTEST_SKIP() << "may not mount a small tmpfs here";
  }
  {
    DiskObjectStore store(folder.path().string());
    ASSERT_TRUE(store.put("small", "1", {}));
    for (const PutIf& condition : {PutIf{}, PutIf::absent()}) {
      const auto put = store.put("big", std::string(200'000, 'x'), condition);
      ASSERT_FALSE(put.has_value());
      EXPECT_EQ(put.error().kind, ErrorKind::transient);
      EXPECT_THAT(put.error().message, HasSubstr(folder.path().string()));
    }
    EXPECT_EQ(files_below(folder.path()), std::vector<std::string>{"small"});
  }
  ::umount(folder.path().c_str());
}

TEST(StoreOfUrl, KnowsFoldersAndSaysWhatItDoesNot) {
  const TemporaryFolder folder;
  auto store = make_store("file://" + folder.path().string() + "/lake/");
  ASSERT_TRUE(store.has_value());
  ASSERT_TRUE((*store)->put("a/b", "1", {}));
  EXPECT_TRUE(fs::exists(folder.path() / "lake/a/b"));
  EXPECT_EQ((*store)->url_of("a/b"), "file://" + folder.path().string() + "/lake/a/b");
  for (const char* bad : {"", "lake", "/lake", "file://lake", "file:lake", "http://x/y"}) {
    EXPECT_EQ(make_store(bad).error().kind, ErrorKind::invalid) << bad;
  }
  EXPECT_THAT(make_store("s3://b").error().message, HasSubstr("not in this release"));
}

TEST(StoreOfUrl, SplitsAnObjectsUrl) {
  const auto file = split_object_url("file:///data/out/x.csv").value();
  EXPECT_EQ(file.store_url, "file:///data/out");
  EXPECT_EQ(file.key, "x.csv");
  EXPECT_EQ(split_object_url("file:///x.csv")->store_url, "file:///");
  const auto s3 = split_object_url("s3://bucket/out/x.csv").value();
  EXPECT_EQ(s3.store_url, "s3://bucket");
  EXPECT_EQ(s3.key, "out/x.csv");
  for (const char* bad :
       {"", "x.csv", "file:///", "file:///out/", "s3://b", "s3://b/", "s3:///x"}) {
    EXPECT_EQ(split_object_url(bad).error().kind, ErrorKind::invalid) << bad;
  }
}

}  // namespace
}  // namespace millrace
