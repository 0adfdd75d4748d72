// A reader whose first bytes can be looked at before they are read: how a file's form is told.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>

#include "core/check.h"
#include "lake/byte_reader.h"

namespace millrace {

/// Not thread-safe.
class PeekReader final : public ByteReader {
 public:
  /// REQUIRES: `source` outlives this.
  explicit PeekReader(ByteReader& source) : source_(source) {}

  /// The next `bytes` bytes, fewer only where the source ends. Good until read(). REQUIRES: nothing
  /// was read yet, or all that was peeked at.
  Result<std::string_view> peek(std::size_t bytes) {
    MILLRACE_CHECK(given_ == 0 || given_ == head_.size());
    if (given_ > 0) {
      head_.clear();
      given_ = 0;
    }
    while (head_.size() < bytes) {
      const std::size_t had = head_.size();
      head_.resize(bytes);
      const auto count = source_.read(head_.data() + had, bytes - had);
      head_.resize(had + (count ? *count : 0));
      if (!count) return fail(count.error());
      if (*count == 0) break;
    }
    return head_;
  }

  Result<std::size_t> read(char* buffer, std::size_t capacity) override {
    if (given_ == head_.size()) return source_.read(buffer, capacity);
    const std::size_t count = std::min(capacity, head_.size() - given_);
    std::memcpy(buffer, head_.data() + given_, count);
    given_ += count;
    return count;
  }

 private:
  ByteReader& source_;
  std::string head_{};
  std::size_t given_ = 0;
};

}  // namespace millrace
