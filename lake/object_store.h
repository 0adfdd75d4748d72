// Objects under keys, the way S3 has them, on a disk, in memory, and (next) in S3 itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "core/time.h"

namespace millrace {

struct ObjectInfo {
  std::string key{};
  std::uint64_t bytes = 0;
  std::string etag{};  // opaque; changes with every write; equal bytes need not give equal tags
  WallTime modified{};
};

struct ObjectPage {
  std::vector<ObjectInfo> objects{};  // in byte order of the keys
  std::string next{};  // pass it as `after` for the next page; empty: this was the last
};

struct ObjectBytes {
  std::string bytes{};
  std::string etag{};
};

/// Bytes of one object in order. Not thread-safe; one reader, one thread.
class ObjectReader {
 public:
  virtual ~ObjectReader() = default;
  /// Fills up to `capacity` bytes; 0 is the end. `corrupt` when the object ended before its length.
  virtual Result<std::size_t> read(char* buffer, std::size_t capacity) = 0;
};

/// A large object in the making: nothing is visible before publish(). Destroying it unpublished
/// leaves nothing behind.
class ObjectWriter {
 public:
  virtual ~ObjectWriter() = default;
  virtual Status write(std::string_view bytes) = 0;
  /// Makes it visible in one step, replacing what stood there, durable on return. At most once, and
  /// last.
  virtual Result<ObjectInfo> publish() = 0;
};

/// When a put may happen.
struct PutIf {
  enum class Kind { always, absent, unchanged };
  Kind kind = Kind::always;
  std::string etag{};  // only for unchanged

  static PutIf absent() { return {Kind::absent, {}}; }
  static PutIf unchanged(std::string tag) { return {Kind::unchanged, std::move(tag)}; }
};

/// Threads: any; every call blocks, so only inside Loop::offload or a command's own thread. Keys
/// are relative to the root the store was made with ("crm/2026/11/21/09/x.ndjson.gz"): UTF-8, at
/// most 1,024 bytes, no leading slash, no empty, "." or ".." segment. Every put and publish is
/// durable (fsync of file and folder, or the service's 200) before it returns. Errors: `not_found`;
/// `conflict` when a PutIf does not hold; `ambiguous` when the reply was lost; `denied`;
/// `transient` (a full disk is transient: the message says which disk). The promises are tested by
/// tests/conformance/object_store_suite.h.
class ObjectStore {
 public:
  virtual ~ObjectStore() = default;

  /// Writes a whole object in one step and gives its etag. A reader sees the old object or the new
  /// one.
  virtual Result<std::string> put(const std::string& key, std::string_view bytes,
                                  const PutIf& condition) = 0;

  virtual Result<ObjectBytes> get(const std::string& key) = 0;
  virtual Result<ObjectInfo> head(const std::string& key) = 0;
  virtual Result<std::unique_ptr<ObjectReader>> open(const std::string& key) = 0;
  virtual Result<std::unique_ptr<ObjectWriter>> create(const std::string& key) = 0;

  /// Keys that begin with `prefix` (any text, not only whole segments) and come after `after`, at
  /// most `objects_max` (1–1000).
  virtual Result<ObjectPage> list(const std::string& prefix, const std::string& after,
                                  std::size_t objects_max) = 0;

  /// Succeeds when there is nothing.
  virtual Status remove(const std::string& key) = 0;

  /// "file:///var/lib/lake/crm/x" or "s3://bucket/crm/x": for messages and for Personalize.
  [[nodiscard]] virtual std::string url_of(const std::string& key) const = 0;
};

}  // namespace millrace
