#include "lake/spill.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace millrace {
namespace {

constexpr std::size_t kSlotsAtFirst = 1024;

tl::unexpected<Error> failed(std::string_view doing, const std::string& folder, int code) {
  const bool full = code == ENOSPC || code == EDQUOT;
  const bool denied = code == EACCES || code == EPERM || code == EROFS;
  return fail(denied ? ErrorKind::denied : ErrorKind::transient,
              fmt::format("{} a temporary file in {}: {}{}", doing, folder, std::strerror(code),
                          full ? "; make room there, set TMPDIR, or raise compact.memory" : ""));
}

Status make_parts(const SpillOptions& options, std::vector<SpillFile>& parts) {
  parts.reserve(options.parts);
  while (parts.size() < options.parts) {
    auto file = SpillFile::make(options.folder, options.buffer_bytes);
    if (!file) return fail(file.error());
    parts.push_back(std::move(*file));
  }
  return {};
}

/// More slots are taken until two thirds are used; a growing table needs both copies.
template <class Slot>
bool may_grow(std::size_t slots, const SpillOptions& options) {
  return slots * 3 * sizeof(Slot) <= options.memory_bytes;
}

}  // namespace

SpillFile::SpillFile(int descriptor, std::string folder, std::size_t buffer_bytes)
    : descriptor_(descriptor), folder_(std::move(folder)), buffer_(buffer_bytes) {}

SpillFile::SpillFile(SpillFile&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      folder_(std::move(other.folder_)),
      buffer_(std::move(other.buffer_)),
      used_(other.used_),
      taken_(other.taken_) {}

SpillFile::~SpillFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<SpillFile> SpillFile::make(const std::string& folder, std::size_t buffer_bytes) {
  int file = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (file < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
    std::string name = folder + "/millrace-XXXXXX";
    file = ::mkostemp(name.data(), O_CLOEXEC);
    if (file >= 0) ::unlink(name.c_str());
  }
  if (file < 0) return failed("making", folder, errno);
  return SpillFile(file, folder, std::max<std::size_t>(buffer_bytes, 64));
}

Status SpillFile::flush() {
  for (std::size_t at = 0; at < used_;) {
    const ssize_t written = ::write(descriptor_, buffer_.data() + at, used_ - at);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return failed("writing", folder_, errno);
    at += static_cast<std::size_t>(written);
  }
  used_ = 0;
  return {};
}

Status SpillFile::append(const void* bytes, std::size_t count) {
  const char* from = static_cast<const char*>(bytes);
  while (count > 0) {
    if (used_ == buffer_.size()) {
      if (auto status = flush(); !status) return status;
    }
    const std::size_t step = std::min(count, buffer_.size() - used_);
    std::memcpy(buffer_.data() + used_, from, step);
    used_ += step;
    from += step;
    count -= step;
  }
  return {};
}

Status SpillFile::rewind() {
  if (auto status = flush(); !status) return status;
  if (::lseek(descriptor_, 0, SEEK_SET) != 0) return failed("reading", folder_, errno);
  taken_ = 0;
  return {};
}

Result<bool> SpillFile::read(void* bytes, std::size_t count) {
  char* to = static_cast<char*>(bytes);
  const std::size_t wanted = count;
  while (count > 0) {
    if (taken_ == used_) {
      const ssize_t got = ::read(descriptor_, buffer_.data(), buffer_.size());
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return failed("reading", folder_, errno);
      if (got == 0 && count == wanted) return false;
      if (got == 0) return fail(ErrorKind::corrupt, "a temporary file in " + folder_ + " was cut");
      used_ = static_cast<std::size_t>(got);
      taken_ = 0;
    }
    const std::size_t step = std::min(count, used_ - taken_);
    std::memcpy(to, buffer_.data() + taken_, step);
    taken_ += step;
    to += step;
    count -= step;
  }
  return true;
}

EventKey event_key(std::string_view event_id) {
  const auto digit = [](char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
  };
  EventKey key;
  if (event_id.size() == 32) {
    bool is_hex = true;
    for (std::size_t i = 0; i < 32 && is_hex; ++i) {
      const int value = digit(event_id[i]);
      is_hex = value >= 0;
      std::uint64_t& half = i < 16 ? key.high : key.low;
      half = half << 4 | static_cast<std::uint64_t>(value & 15);
    }
    if (is_hex) return key;
  }
  std::array<unsigned char, SHA256_DIGEST_LENGTH> hash{};
  SHA256(reinterpret_cast<const unsigned char*>(event_id.data()), event_id.size(), hash.data());
  std::memcpy(&key.high, hash.data(), sizeof key.high);
  std::memcpy(&key.low, hash.data() + sizeof key.high, sizeof key.low);
  return key;
}

FirstSeen::FirstSeen(SpillOptions options) : options_(std::move(options)), slots_(kSlotsAtFirst) {}

/// False: it was there.
bool FirstSeen::insert(const EventKey& wanted) {
  // {0, 0} marks a free slot; the one id in 2^128 that has this key shares the next one's place.
  const EventKey key = wanted == EventKey{} ? EventKey{0, 1} : wanted;
  if (used_ * 3 >= slots_.size() * 2) {
    std::vector<EventKey> old(slots_.size() * 2);
    std::swap(old, slots_);
    used_ = 0;
    for (const EventKey& each : old) {
      if (!(each == EventKey{})) insert(each);
    }
  }
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t at = key.low & mask;; at = (at + 1) & mask) {
    if (slots_[at] == key) return false;
    if (slots_[at] == EventKey{}) {
      slots_[at] = key;
      ++used_;
      return true;
    }
  }
}

Status FirstSeen::append(const Entry& entry) {
  return parts_[entry.key.high % parts_.size()].append(&entry, sizeof entry);
}

/// From memory to the parts: these come first in their files, so they stay the first of their id.
Status FirstSeen::spill() {
  if (auto status = make_parts(options_, parts_); !status) return status;
  for (const EventKey& key : slots_) {
    if (key == EventKey{}) continue;
    if (auto status = append({key, 0}); !status) return status;
  }
  slots_ = {};
  used_ = 0;
  return {};
}

Result<FirstSeen::Verdict> FirstSeen::add(const EventKey& key) {
  if (parts_.empty()) {
    const bool full = used_ * 3 >= slots_.size() * 2;
    if (!full || may_grow<EventKey>(slots_.size(), options_)) {
      return insert(key) ? Verdict::first : Verdict::duplicate;
    }
    if (auto status = spill(); !status) return fail(status.error());
  }
  if (auto status = append({key == EventKey{} ? EventKey{0, 1} : key, ++undecided_}); !status) {
    return fail(status.error());
  }
  return Verdict::undecided;
}

Result<std::vector<bool>> FirstSeen::settle() {
  std::vector<bool> duplicate(undecided_, false);
  for (SpillFile& part : parts_) {
    slots_.assign(kSlotsAtFirst, EventKey{});
    used_ = 0;
    if (auto status = part.rewind(); !status) return fail(status.error());
    Entry entry;
    while (true) {
      const auto more = part.read(&entry, sizeof entry);
      if (!more) return fail(more.error());
      if (!*more) break;
      const bool first = insert(entry.key);
      if (!first && entry.number > 0) duplicate[entry.number - 1] = true;
    }
  }
  slots_ = {};
  return duplicate;
}

DistinctCounts::DistinctCounts(SpillOptions options)
    : options_(std::move(options)), slots_(kSlotsAtFirst) {}

void DistinctCounts::insert(std::uint64_t hash) {
  if (used_ * 3 >= slots_.size() * 2) {
    std::vector<std::uint64_t> old(slots_.size() * 2);
    std::swap(old, slots_);
    used_ = 0;
    for (const std::uint64_t slot : old) {
      if (slot == 0) continue;
      insert(slot & ~1ull);
      if ((slot & 1) != 0) insert(slot & ~1ull);
    }
  }
  const std::uint64_t key = std::max<std::uint64_t>(hash & ~1ull, 2);
  const std::size_t mask = slots_.size() - 1;
  // The low bits are taken by the flag; the high ones choose the part.
  for (std::size_t at = (key >> 1) & mask;; at = (at + 1) & mask) {
    if ((slots_[at] & ~1ull) == key) {
      slots_[at] |= 1;
      return;
    }
    if (slots_[at] == 0) {
      slots_[at] = key;
      ++used_;
      return;
    }
  }
}

Status DistinctCounts::add(std::uint64_t hash) {
  const auto append = [&](std::uint64_t each) {
    return parts_[(each >> 40) % parts_.size()].append(&each, sizeof each);
  };
  if (parts_.empty()) {
    const bool full = used_ * 3 >= slots_.size() * 2;
    if (!full || may_grow<std::uint64_t>(slots_.size(), options_)) {
      insert(hash);
      return {};
    }
    if (auto status = make_parts(options_, parts_); !status) return status;
    for (const std::uint64_t slot : slots_) {
      for (std::uint64_t times = slot == 0 ? 0 : 1 + (slot & 1); times > 0; --times) {
        if (auto status = append(slot & ~1ull); !status) return status;
      }
    }
    slots_ = {};
    used_ = 0;
  }
  return append(hash & ~1ull);
}

void DistinctCounts::count(Counts& counts) const {
  for (const std::uint64_t slot : slots_) {
    if (slot == 0) continue;
    ++counts.distinct;
    counts.twice += slot & 1;
  }
}

Result<DistinctCounts::Counts> DistinctCounts::finish() {
  Counts counts;
  if (parts_.empty()) {
    count(counts);
    return counts;
  }
  for (SpillFile& part : parts_) {
    slots_.assign(kSlotsAtFirst, 0);
    used_ = 0;
    if (auto status = part.rewind(); !status) return fail(status.error());
    std::uint64_t hash = 0;
    while (true) {
      const auto more = part.read(&hash, sizeof hash);
      if (!more) return fail(more.error());
      if (!*more) break;
      insert(hash);
    }
    count(counts);
  }
  return counts;
}

}  // namespace millrace
