#include "pipeline/ack_tracker.h"

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

void AckTracker::Entry::add_to(Books& books) const {
  ++books.records;
  books.empty += events == 0 ? 1 : 0;
  books.read += events;
  books.accepted += accepted;
  books.dead_lettered += dead_lettered;
  books.skipped += skipped;
  books.anonymous += anonymous;
}

std::size_t AckTracker::index_of(std::uint64_t number) const {
  MILLRACE_CHECK(number >= first_number_ && number - first_number_ < entries_.size());
  return static_cast<std::size_t>(number - first_number_);
}

std::uint64_t AckTracker::add(Position at, std::string_view text, std::int64_t arrived_ms,
                              std::uint32_t events, std::uint32_t anonymous) {
  const std::uint64_t number = first_number_ + entries_.size();
  Entry made;
  made.at = std::move(at);
  made.arrived_ms = arrived_ms;
  made.events = events;
  made.anonymous = anonymous;
  if (events > 0) {
    made.text = text;
    text_bytes_ += made.text.size();
  }
  ++behind_.records;
  behind_.empty += events == 0 ? 1 : 0;
  behind_.read += events;
  behind_.anonymous += anonymous;
  entries_.push_back(std::move(made));
  if (events == 0) advance();
  return number;
}

void AckTracker::settle(std::uint64_t number, Settled how) {
  Entry& settling = entries_[index_of(number)];
  MILLRACE_CHECK(!settling.settled());
  switch (how) {
    case Settled::accepted:
      ++settling.accepted;
      ++behind_.accepted;
      break;
    case Settled::dead_lettered:
      ++settling.dead_lettered;
      ++behind_.dead_lettered;
      break;
    case Settled::skipped:
      ++settling.skipped;
      ++behind_.skipped;
      break;
  }
  if (!settling.settled()) return;
  text_bytes_ -= settling.text.size();
  settling.text = {};
  advance();
}

void AckTracker::advance() {
  while (!entries_.empty() && entries_.front().settled()) {
    Entry& first = entries_.front();
    Books moved;
    first.add_to(moved);
    books_ += moved;
    behind_.records -= moved.records;
    behind_.empty -= moved.empty;
    behind_.read -= moved.read;
    behind_.accepted -= moved.accepted;
    behind_.dead_lettered -= moved.dead_lettered;
    behind_.skipped -= moved.skipped;
    behind_.anonymous -= moved.anonymous;
    settled_to_ = std::move(first.at);
    settled_ = true;
    entries_.pop_front();
    ++first_number_;
  }
}

AckTracker::Waiting AckTracker::waiting(std::uint64_t number) const {
  const Entry& found = entries_[index_of(number)];
  MILLRACE_CHECK(!found.settled());
  return {found.at, found.text, found.arrived_ms};
}

Books AckTracker::books() const {
  Books all = books_;
  all += behind_;
  return all;
}

}  // namespace millrace
