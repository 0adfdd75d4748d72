// The part of a stream that one record of it needs, in one piece. Grows to the longest record that
// is allowed, never with the file.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "core/result.h"
#include "lake/byte_reader.h"

namespace millrace {

/// Offsets count from the record's beginning. Not thread-safe.
class ByteWindow {
 public:
  /// REQUIRES: `source` outlives this.
  explicit ByteWindow(ByteReader& source) : source_(source) {}

  /// Whether there is a byte at `offset`, reading on as needed. False at the end, and after an
  /// error of the source, which error() keeps.
  bool has(std::size_t offset) { return begin_ + offset < bytes_.size() || load(offset); }

  /// REQUIRES: has(offset).
  [[nodiscard]] char at(std::size_t offset) const { return bytes_[begin_ + offset]; }

  /// The first `wanted` in [offset, limit), or nothing when it is not there, or the bytes end
  /// before.
  std::optional<std::size_t> find(char wanted, std::size_t offset, std::size_t limit);

  /// Good until the next call of anything but this. REQUIRES: the bytes are there.
  [[nodiscard]] std::string_view view(std::size_t offset, std::size_t count) const {
    return std::string_view(bytes_).substr(begin_ + offset, count);
  }

  /// The record begins `count` bytes further on. REQUIRES: the bytes are there.
  void advance(std::size_t count);

  [[nodiscard]] const std::optional<Error>& error() const { return error_; }

 private:
  bool load(std::size_t offset);

  ByteReader& source_;
  std::string bytes_{};
  std::size_t begin_ = 0;
  bool ended_ = false;
  std::optional<Error> error_{};
};

}  // namespace millrace
