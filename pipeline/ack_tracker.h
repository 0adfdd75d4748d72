// How far one partition is settled, in one tenure. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "core/position.h"

namespace millrace {

/// What became of records and events; the numbers behind "read = accepted + dead-lettered + skipped
/// + waiting". `records` and `empty` count records, the others events; a record that could not be
/// read as JSON counts as one event, dead-lettered.
struct Books {
  std::uint64_t records = 0;
  std::uint64_t empty = 0;          // of records: tombstones and blanks, which hold no event
  std::uint64_t read = 0;           // events decoded or refused
  std::uint64_t accepted = 0;       // by PutEvents
  std::uint64_t dead_lettered = 0;  // with a reason, durably
  std::uint64_t skipped = 0;        // older than personalize.skip_older_than
  std::uint64_t anonymous = 0;      // of read: events of a session without a user

  [[nodiscard]] std::uint64_t waiting() const { return read - accepted - dead_lettered - skipped; }
  Books& operator+=(const Books& other);
  Books& operator-=(const Books& other);
  bool operator==(const Books&) const = default;
};

/// How one event was settled.
enum class Settled { accepted, dead_lettered, skipped };

/// Records enter in log order, their events settle in any order, and only the prefix of records
/// that are settled completely can ever be committed: the books move with it, record by record, so
/// that a position and its books always belong together (a tracker that committed the highest
/// settled record instead has lost events elsewhere: vector #24215).
///
/// Memory: an entry and the record's own text for each record not settled, and one entry for each
/// run of settled records between those, however long: one slow user costs its own records and
/// little more, so nobody waits behind another's retry. bytes() says how much. The owner stops
/// adding when that is too much; with N unsettled records of B bytes that is about
/// N * (B + 600) bytes at the worst, when no two settled records stand side by side.
class AckTracker {
 public:
  /// `books` are those of the position at which this tenure starts.
  explicit AckTracker(Books books) : books_(books) {}

  /// A record that was read. `text` and `arrived_ms` are kept until it is settled: a refused event
  /// is dead-lettered with its record's own bytes. `events` = 0 settles it at once. Gives the
  /// record's number: 0, 1, 2, …
  std::uint64_t add(Position at, std::string_view text, std::int64_t arrived_ms,
                    std::uint32_t events, std::uint32_t anonymous);

  /// One event of record `number` is settled. REQUIRES: the record has unsettled events.
  void settle(std::uint64_t number, Settled how);

  struct Waiting {
    const Position& at;
    std::string_view text;
    std::int64_t arrived_ms;
  };
  /// A record that has unsettled events. REQUIRES: it has. Good until the next call that changes
  /// anything.
  [[nodiscard]] Waiting waiting(std::uint64_t number) const;

  /// The last record of the settled prefix, its position as it was added; nullptr when no record
  /// has been settled in this tenure. Good until the next call.
  [[nodiscard]] const Position* settled_to() const { return settled_ ? &settled_to_ : nullptr; }

  /// Books up to settled_to() (at first: those of the start).
  [[nodiscard]] const Books& settled_books() const { return books_; }

  /// Books of everything that was read, waiting events included.
  [[nodiscard]] Books books() const;

  /// Every record that was added is settled.
  [[nodiscard]] bool all_settled() const { return entries_.empty(); }

  /// From the first unsettled record on, settled ones behind it included.
  [[nodiscard]] std::uint64_t records_held() const { return behind_.records; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  // A record that is not settled, or a run of settled ones, side by side.
  struct Entry {
    Position at{};  // of the last record
    Books books{};
    std::string text{};  // of an unsettled one
    std::int64_t arrived_ms = -1;

    [[nodiscard]] bool settled() const { return books.waiting() == 0; }
    [[nodiscard]] std::size_t bytes() const;
  };
  using Entries = std::map<std::uint64_t, Entry>;  // by the number of the first record

  void settled(Entries::iterator entry);
  void absorb_next(Entries::iterator entry);
  void erase(Entries::iterator entry);

  Books books_;
  Books behind_{};  // of the entries held
  Position settled_to_{};
  bool settled_ = false;
  Entries entries_{};
  std::uint64_t next_number_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace millrace
