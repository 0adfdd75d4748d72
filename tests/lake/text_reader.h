// Bytes in memory as a ByteReader, a few at a time, so that borders fall everywhere.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>

#include "lake/byte_reader.h"

namespace millrace {

class TextReader final : public ByteReader {
 public:
  explicit TextReader(std::string text, bool fails_at_end = false)
      : text_(std::move(text)), fails_at_end_(fails_at_end) {}

  Result<std::size_t> read(char* buffer, std::size_t capacity) override {
    if (at_ == text_.size() && fails_at_end_) return fail(ErrorKind::corrupt, "cut off");
    const std::size_t count = std::min({capacity, text_.size() - at_, step_});
    std::memcpy(buffer, text_.data() + at_, count);
    at_ += count;
    step_ = step_ % 7 + 1;
    return count;
  }

 private:
  std::string text_;
  bool fails_at_end_;
  std::size_t at_ = 0;
  std::size_t step_ = 1;
};

}  // namespace millrace
