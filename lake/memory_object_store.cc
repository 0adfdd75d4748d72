#include "lake/memory_object_store.h"

#include <algorithm>

#include "core/check.h"
#include "lake/object_key.h"

namespace millrace {
namespace {

tl::unexpected<Error> no_object(const std::string& key) {
  return fail(ErrorKind::not_found, "no object memory:///" + key);
}

}  // namespace

class MemoryObjectStore::Reader final : public ObjectReader {
 public:
  explicit Reader(std::shared_ptr<const std::string> bytes) : bytes_(std::move(bytes)) {}
  Result<std::size_t> read(char* buffer, std::size_t capacity) override {
    const std::size_t count = bytes_->copy(buffer, capacity, at_);
    at_ += count;
    return count;
  }

 private:
  std::shared_ptr<const std::string> bytes_;
  std::size_t at_ = 0;
};

class MemoryObjectStore::Writer final : public ObjectWriter {
 public:
  Writer(MemoryObjectStore& store, std::string key) : store_(store), key_(std::move(key)) {}
  Status write(std::string_view bytes) override {
    MILLRACE_CHECK(!published_);
    bytes_ += bytes;
    return {};
  }
  Result<ObjectInfo> publish() override {
    MILLRACE_CHECK(!published_);
    published_ = true;
    if (auto put = store_.put(key_, bytes_, {}); !put) return fail(put.error());
    return store_.head(key_);
  }

 private:
  MemoryObjectStore& store_;
  std::string key_;
  std::string bytes_{};
  bool published_ = false;
};

ObjectInfo MemoryObjectStore::info_of(const std::string& key, const Object& object) {
  return {key, object.bytes->size(), object.etag, object.modified};
}

Result<std::string> MemoryObjectStore::put(const std::string& key, std::string_view bytes,
                                           const PutIf& condition) {
  if (auto status = check_object_key(key); !status) return fail(status.error());
  const std::lock_guard lock(mutex_);
  const auto found = objects_.find(key);
  const bool there = found != objects_.end();
  if (condition.kind == PutIf::Kind::absent && there) {
    return fail(ErrorKind::conflict, "memory:///" + key + " exists already");
  }
  if (condition.kind == PutIf::Kind::unchanged &&
      (!there || found->second.etag != condition.etag)) {
    return fail(ErrorKind::conflict, "memory:///" + key + " has changed since it was read");
  }
  Object object{std::make_shared<const std::string>(bytes), std::to_string(++writes_),
                clock_ != nullptr ? clock_() : WallTime{}};
  const std::string etag = object.etag;
  objects_[key] = std::move(object);
  return etag;
}

Result<ObjectBytes> MemoryObjectStore::get(const std::string& key) {
  if (auto status = check_object_key(key); !status) return fail(status.error());
  const std::lock_guard lock(mutex_);
  const auto found = objects_.find(key);
  if (found == objects_.end()) return no_object(key);
  return ObjectBytes{*found->second.bytes, found->second.etag};
}

Result<ObjectInfo> MemoryObjectStore::head(const std::string& key) {
  if (auto status = check_object_key(key); !status) return fail(status.error());
  const std::lock_guard lock(mutex_);
  const auto found = objects_.find(key);
  if (found == objects_.end()) return no_object(key);
  return info_of(key, found->second);
}

Result<std::unique_ptr<ObjectReader>> MemoryObjectStore::open(const std::string& key) {
  if (auto status = check_object_key(key); !status) return fail(status.error());
  const std::lock_guard lock(mutex_);
  const auto found = objects_.find(key);
  if (found == objects_.end()) return no_object(key);
  return std::make_unique<Reader>(found->second.bytes);
}

Result<std::unique_ptr<ObjectWriter>> MemoryObjectStore::create(const std::string& key) {
  if (auto status = check_object_key(key); !status) return fail(status.error());
  return std::make_unique<Writer>(*this, key);
}

Result<ObjectPage> MemoryObjectStore::list(const std::string& prefix, const std::string& after,
                                           std::size_t objects_max) {
  MILLRACE_CHECK(objects_max >= 1 && objects_max <= 1000);
  const std::lock_guard lock(mutex_);
  ObjectPage page;
  auto at = prefix > after ? objects_.lower_bound(prefix) : objects_.upper_bound(after);
  for (; at != objects_.end() && at->first.compare(0, prefix.size(), prefix) == 0; ++at) {
    if (page.objects.size() == objects_max) {
      page.next = page.objects.back().key;
      break;
    }
    page.objects.push_back(info_of(at->first, at->second));
  }
  return page;
}

Status MemoryObjectStore::remove(const std::string& key) {
  if (auto status = check_object_key(key); !status) return status;
  const std::lock_guard lock(mutex_);
  objects_.erase(key);
  return {};
}

std::string MemoryObjectStore::url_of(const std::string& key) const { return "memory:///" + key; }

}  // namespace millrace
