#include "lake/record_reader.h"

#include <algorithm>
#include <cstring>

namespace millrace {

RecordReader::RecordReader(ByteReader& source, RecordReaderOptions options)
    : source_(source),
      options_(options),
      buffer_(std::max<std::size_t>(options.buffer_bytes, 16)) {}

/// Where the last JSON value on the top level of the unread text ends, from begin_; 0: there is no
/// whole one. Only brackets and texts are told apart: the decoder judges the rest.
std::size_t RecordReader::last_value_end() {
  std::size_t depth = 0;
  std::size_t found = 0;
  bool in_text = false;
  for (std::size_t at = begin_; at < end_; ++at) {
    const char c = buffer_[at];
    if (in_text) {
      if (c == '\\') {
        ++at;
      } else if (c == '"') {
        in_text = false;
      }
      continue;
    }
    if (c == '"') {
      in_text = true;
    } else if (c == '{' || c == '[') {
      ++depth;
    } else if (c == '}' || c == ']') {
      if (depth == 0) return found;
      if (--depth == 0) found = at + 1 - begin_;
    }
  }
  return found;
}

Status RecordReader::fill() {
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  const auto got = source_.read(buffer_.data() + end_, buffer_.size() - end_);
  if (!got) return fail(got.error());
  ended_ = *got == 0;
  end_ += *got;
  return {};
}

/// Gives the next `length` bytes and passes over `skip` more.
RawRecord RecordReader::take(std::size_t length, std::size_t skip) {
  RawRecord record{{buffer_.data() + begin_, length}, line_};
  begin_ += length + skip;
  searched_ = 0;
  return record;
}

/// Passes over the rest of a line that was too long.
Status RecordReader::read_over_line() {
  while (skipping_) {
    const void* feed = std::memchr(buffer_.data() + begin_, '\n', end_ - begin_);
    if (feed != nullptr) {
      begin_ = static_cast<std::size_t>(static_cast<const char*>(feed) - buffer_.data()) + 1;
      skipping_ = false;
      ++line_;
      return {};
    }
    begin_ = end_;
    if (ended_) {
      skipping_ = false;
      return {};
    }
    if (auto status = fill(); !status) return status;
  }
  return {};
}

Result<std::optional<RawRecord>> RecordReader::next() {
  if (skipping_ && !error_) {
    if (auto status = read_over_line(); !status) {
      error_ = status.error();
      begin_ = end_;
    }
    searched_ = 0;
  }
  while (true) {
    const char* from = buffer_.data() + begin_ + searched_;
    const void* feed = std::memchr(from, '\n', end_ - begin_ - searched_);
    if (feed != nullptr) {
      const auto at = static_cast<std::size_t>(static_cast<const char*>(feed) - buffer_.data());
      RawRecord record = take(at - begin_, 1);
      ++line_;
      return record;
    }
    searched_ = end_ - begin_;
    if (error_) {
      const std::size_t length = last_value_end();
      if (length == 0) return fail(*error_);
      RawRecord record = take(length, end_ - begin_ - length);
      return record;
    }
    if (ended_) {
      if (begin_ == end_) return std::nullopt;
      RawRecord record = take(end_ - begin_, 0);
      record.unfinished = true;
      return record;
    }
    if (searched_ == buffer_.size()) {  // full, and no line feed in it
      if (const std::size_t length = last_value_end(); length > 0) return take(length, 0);
      if (buffer_.size() >= options_.record_bytes_max) {
        RawRecord record = take(searched_, 0);
        record.too_long = true;
        skipping_ = true;
        return record;
      }
      const std::size_t unread = end_ - begin_;
      buffer_.resize(std::min(buffer_.size() * 2, options_.record_bytes_max));
      end_ = begin_ + unread;
    }
    if (auto status = fill(); !status) error_ = status.error();
  }
}

}  // namespace millrace
