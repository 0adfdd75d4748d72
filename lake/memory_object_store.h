// Objects in memory: for tests, and for commands that only look.
#pragma once

#include <map>
#include <mutex>

#include "lake/object_store.h"

namespace millrace {

/// Threads: any. Holds everything that is put into it; nothing outlives it, and readers and writers
/// must not either.
class MemoryObjectStore final : public ObjectStore {
 public:
  /// `clock` gives the modification times; without one they are 1970.
  using Clock = WallTime (*)();
  explicit MemoryObjectStore(Clock clock = nullptr) : clock_(clock) {}

  Result<std::string> put(const std::string& key, std::string_view bytes,
                          const PutIf& condition) override;
  Result<ObjectBytes> get(const std::string& key) override;
  Result<ObjectInfo> head(const std::string& key) override;
  Result<std::unique_ptr<ObjectReader>> open(const std::string& key) override;
  Result<std::unique_ptr<ObjectWriter>> create(const std::string& key) override;
  Result<ObjectPage> list(const std::string& prefix, const std::string& after,
                          std::size_t objects_max) override;
  Status remove(const std::string& key) override;
  [[nodiscard]] std::string url_of(const std::string& key) const override;

 private:
  struct Object {
    std::shared_ptr<const std::string> bytes{};
    std::string etag{};
    WallTime modified{};
  };
  class Reader;
  class Writer;
  static ObjectInfo info_of(const std::string& key, const Object& object);

  Clock clock_;
  // Stores are called from worker threads: the mutex guards all that follows.
  std::mutex mutex_{};
  std::map<std::string, Object> objects_{};
  std::uint64_t writes_ = 0;
};

}  // namespace millrace
