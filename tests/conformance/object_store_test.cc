#include "lake/disk_object_store.h"
#include "lake/memory_object_store.h"
#include "tests/conformance/object_store_suite.h"
#include "tests/fakes/temporary_folder.h"

namespace millrace {
namespace {

class MemoryWorld final : public StoreWorld {
 public:
  ObjectStore& store() override { return store_; }
  ObjectStore& second() override { return store_; }

 private:
  MemoryObjectStore store_{};
};

class DiskWorld final : public StoreWorld {
 public:
  explicit DiskWorld(DiskObjectStore::Options options)
      : store_(folder_.path() / "lake", options), second_(folder_.path() / "lake", options) {}
  ObjectStore& store() override { return store_; }
  ObjectStore& second() override { return second_; }

 private:
  TemporaryFolder folder_{};
  DiskObjectStore store_;
  DiskObjectStore second_;
};

INSTANTIATE_TEST_SUITE_P(
    All, ObjectStoreSuite,
    testing::Values(StoreUnderTest{"Memory", [] { return std::make_unique<MemoryWorld>(); }},
                    StoreUnderTest{"Disk",
                                   [] {
                                     return std::make_unique<DiskWorld>(
                                         DiskObjectStore::Options{.nameless_files = true});
                                   }},
                    StoreUnderTest{"DiskWithoutNamelessFiles",
                                   [] {
                                     return std::make_unique<DiskWorld>(
                                         DiskObjectStore::Options{.nameless_files = false});
                                   }}),
    name_of_store);

}  // namespace
}  // namespace millrace
