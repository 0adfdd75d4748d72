#include "pipeline/ack_tracker.h"

#include <iterator>
#include <utility>

#include "core/check.h"

namespace millrace {

Books& Books::operator+=(const Books& other) {
  records += other.records;
  empty += other.empty;
  read += other.read;
  accepted += other.accepted;
  dead_lettered += other.dead_lettered;
  skipped += other.skipped;
  anonymous += other.anonymous;
  return *this;
}

Books& Books::operator-=(const Books& other) {
  records -= other.records;
  empty -= other.empty;
  read -= other.read;
  accepted -= other.accepted;
  dead_lettered -= other.dead_lettered;
  skipped -= other.skipped;
  anonymous -= other.anonymous;
  return *this;
}

std::size_t AckTracker::Entry::bytes() const {
  // Of a red-black tree's node besides its value, and a block of the heap for a long number.
  constexpr std::size_t kNodeBytes = 48;
  const std::size_t digits = at.offset.digits.size();
  return sizeof(Entries::value_type) + kNodeBytes + text.size() + (digits > 15 ? digits + 16 : 0);
}

std::uint64_t AckTracker::add(Position at, std::string_view text, std::int64_t arrived_ms,
                              std::uint32_t events, std::uint32_t anonymous) {
  const auto entry = entries_.emplace_hint(entries_.end(), next_number_, Entry{});
  Entry& made = entry->second;
  made.at = std::move(at);
  made.books = {.records = 1, .empty = events == 0 ? 1U : 0U, .read = events};
  made.books.anonymous = anonymous;
  if (events > 0) {
    made.text = text;
    made.arrived_ms = arrived_ms;
  }
  behind_ += made.books;
  bytes_ += made.bytes();
  if (made.settled()) settled(entry);
  return next_number_++;
}

void AckTracker::settle(std::uint64_t number, Settled how) {
  const auto entry = entries_.find(number);
  MILLRACE_CHECK(entry != entries_.end() && !entry->second.settled());
  Books settling;
  switch (how) {
    case Settled::accepted:
      settling.accepted = 1;
      break;
    case Settled::dead_lettered:
      settling.dead_lettered = 1;
      break;
    case Settled::skipped:
      settling.skipped = 1;
      break;
  }
  entry->second.books += settling;
  behind_ += settling;
  if (entry->second.settled()) settled(entry);
}

void AckTracker::settled(Entries::iterator entry) {
  bytes_ -= entry->second.bytes();
  std::string().swap(entry->second.text);  // an assignment would keep the memory
  bytes_ += entry->second.bytes();
  if (const auto next = std::next(entry); next != entries_.end() && next->second.settled()) {
    absorb_next(entry);
  }
  if (entry != entries_.begin()) {
    const auto before = std::prev(entry);
    if (before->second.settled()) absorb_next(before);
    return;
  }
  books_ += entry->second.books;
  behind_ -= entry->second.books;
  settled_to_ = entry->second.at;
  settled_ = true;
  erase(entry);
}

// Two runs side by side become one.
void AckTracker::absorb_next(Entries::iterator entry) {
  const auto next = std::next(entry);
  bytes_ -= entry->second.bytes();
  entry->second.at = next->second.at;
  entry->second.books += next->second.books;
  bytes_ += entry->second.bytes();
  erase(next);
}

void AckTracker::erase(Entries::iterator entry) {
  bytes_ -= entry->second.bytes();
  entries_.erase(entry);
}

AckTracker::Waiting AckTracker::waiting(std::uint64_t number) const {
  const auto found = entries_.find(number);
  MILLRACE_CHECK(found != entries_.end() && !found->second.settled());
  return {found->second.at, found->second.text, found->second.arrived_ms};
}

Books AckTracker::books() const {
  Books all = books_;
  all += behind_;
  return all;
}

}  // namespace millrace
