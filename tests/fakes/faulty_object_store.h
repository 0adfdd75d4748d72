// An object store in a hostile world: replies that get lost, calls that fail, a full disk, a
// process that dies between two calls.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "lake/object_store.h"

namespace millrace {

/// Counts every call (of readers and writers too) and asks `fault` what to do with it. Threads:
/// any, if `fault` is.
class FaultyObjectStore final : public ObjectStore {
 public:
  enum class Fault {
    none,
    before,      // fails, nothing was done: `error`
    lost_reply,  // is done, and then `ambiguous`
  };
  struct Call {
    std::uint64_t number = 0;  // from 0
    std::string what{};        // "put", "get", "head", "open", "create", "list", "remove", "read",
                               // "write", "publish"
    std::string key{};
  };
  using Decide = std::function<Fault(const Call&)>;

  explicit FaultyObjectStore(ObjectStore& inner, Decide decide = {})
      : inner_(inner), decide_(std::move(decide)) {}

  /// What `before` gives; a full disk unless told otherwise.
  Error error{ErrorKind::transient, "no space left on device; make room on that disk", "errno 28",
              std::nullopt};

  void decide(Decide decide) { decide_ = std::move(decide); }

  /// The process dies at call number `at`: that call is done or not, and none after it is.
  static Decide dies_at(std::uint64_t at, bool done) {
    return [=](const Call& call) {
      if (call.number < at) return Fault::none;
      return call.number == at && done ? Fault::lost_reply : Fault::before;
    };
  }

  [[nodiscard]] std::uint64_t calls() const { return calls_; }

  Result<std::string> put(const std::string& key, std::string_view bytes,
                          const PutIf& condition) override {
    return through<Result<std::string>>("put", key,
                                        [&] { return inner_.put(key, bytes, condition); });
  }
  Result<ObjectBytes> get(const std::string& key) override {
    return through<Result<ObjectBytes>>("get", key, [&] { return inner_.get(key); });
  }
  Result<ObjectInfo> head(const std::string& key) override {
    return through<Result<ObjectInfo>>("head", key, [&] { return inner_.head(key); });
  }
  Result<std::unique_ptr<ObjectReader>> open(const std::string& key) override {
    using Opened = Result<std::unique_ptr<ObjectReader>>;
    return through<Opened>("open", key, [&]() -> Opened {
      auto reader = inner_.open(key);
      if (!reader) return reader;
      return std::make_unique<Reader>(*this, key, std::move(*reader));
    });
  }
  Result<std::unique_ptr<ObjectWriter>> create(const std::string& key) override {
    using Created = Result<std::unique_ptr<ObjectWriter>>;
    return through<Created>("create", key, [&]() -> Created {
      auto writer = inner_.create(key);
      if (!writer) return writer;
      return std::make_unique<Writer>(*this, key, std::move(*writer));
    });
  }
  Result<ObjectPage> list(const std::string& prefix, const std::string& after,
                          std::size_t objects_max) override {
    return through<Result<ObjectPage>>("list", prefix,
                                       [&] { return inner_.list(prefix, after, objects_max); });
  }
  Status remove(const std::string& key) override {
    return through<Status>("remove", key, [&] { return inner_.remove(key); });
  }
  [[nodiscard]] std::string url_of(const std::string& key) const override {
    return inner_.url_of(key);
  }

 private:
  class Reader final : public ObjectReader {
   public:
    Reader(FaultyObjectStore& store, std::string key, std::unique_ptr<ObjectReader> inner)
        : store_(store), key_(std::move(key)), inner_(std::move(inner)) {}
    Result<std::size_t> read(char* buffer, std::size_t capacity) override {
      return store_.through<Result<std::size_t>>("read", key_,
                                                 [&] { return inner_->read(buffer, capacity); });
    }

   private:
    FaultyObjectStore& store_;
    std::string key_;
    std::unique_ptr<ObjectReader> inner_;
  };

  class Writer final : public ObjectWriter {
   public:
    Writer(FaultyObjectStore& store, std::string key, std::unique_ptr<ObjectWriter> inner)
        : store_(store), key_(std::move(key)), inner_(std::move(inner)) {}
    Status write(std::string_view bytes) override {
      return store_.through<Status>("write", key_, [&] { return inner_->write(bytes); });
    }
    Result<ObjectInfo> publish() override {
      return store_.through<Result<ObjectInfo>>("publish", key_, [&] { return inner_->publish(); });
    }

   private:
    FaultyObjectStore& store_;
    std::string key_;
    std::unique_ptr<ObjectWriter> inner_;
  };

  template <class Answer, class Perform>
  Answer through(std::string_view what, const std::string& key, Perform perform) {
    const Call call{calls_++, std::string(what), key};
    const Fault fault = decide_ ? decide_(call) : Fault::none;
    if (fault == Fault::before) return fail(error);
    Answer answer = perform();
    if (fault == Fault::lost_reply) {
      return fail(ErrorKind::ambiguous, "the reply to " + call.what + " " + key + " was lost");
    }
    return answer;
  }

  ObjectStore& inner_;
  Decide decide_;
  std::atomic<std::uint64_t> calls_{0};
};

}  // namespace millrace
