#include "lake/byte_window.h"

#include <algorithm>
#include <cstring>

namespace millrace {
namespace {

constexpr std::size_t kReadBytes = 256u << 10;

}  // namespace

bool ByteWindow::load(std::size_t offset) {
  while (begin_ + offset >= bytes_.size()) {
    if (ended_) return false;
    // What is behind us goes before more comes; that moves each byte once per read at most.
    bytes_.erase(0, begin_);
    begin_ = 0;
    const std::size_t had = bytes_.size();
    bytes_.resize(had + kReadBytes);
    auto count = source_.read(bytes_.data() + had, kReadBytes);
    bytes_.resize(had + (count ? *count : 0));
    if (!count) error_ = std::move(count.error());
    ended_ = bytes_.size() == had;
  }
  return true;
}

std::optional<std::size_t> ByteWindow::find(char wanted, std::size_t offset, std::size_t limit) {
  while (offset < limit && has(offset)) {
    const std::size_t count = std::min(bytes_.size() - begin_, limit) - offset;
    const char* first = bytes_.data() + begin_ + offset;
    if (const void* found = std::memchr(first, wanted, count)) {
      return offset + static_cast<std::size_t>(static_cast<const char*>(found) - first);
    }
    offset += count;
  }
  return std::nullopt;
}

void ByteWindow::advance(std::size_t count) { begin_ += count; }

}  // namespace millrace
