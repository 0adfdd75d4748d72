// The one judge: what a record's bytes mean, which of its events are interactions, and why the
// others are not. Forwarder, compaction, backfill and the emulator's imports all ask here, so what
// reaches the live model and what reaches the CSV cannot differ.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/event.h"
#include "events/options.h"

namespace millrace {

/// How many time values were of each kind; judged one by one, so a mix is normal after a change of
/// an app's SDK. `arrival`: the log's own time stood in (events.defaults.timestamp: arrival).
struct TimeUnitCounts {
  std::uint64_t seconds = 0;
  std::uint64_t millis = 0;
  std::uint64_t micros = 0;
  std::uint64_t nanos = 0;
  std::uint64_t iso = 0;
  std::uint64_t arrival = 0;

  TimeUnitCounts& operator+=(const TimeUnitCounts& other);
  bool operator==(const TimeUnitCounts&) const = default;
};

/// What one record holds. Hand the same object in again: its strings are reused.
struct DecodedRecord {
  std::vector<Event> events{};  // in the order of the text, anonymous ones included
  std::vector<Refusal> refused{};
  bool blank = false;  // nothing but blanks (or a byte order mark): counted as empty, no refusal
  TimeUnitCounts units{};  // of the accepted events
};

/// Decodes records by RFC 6901 pointers (DecodeOptions). The rules, in order:
///
/// - A byte order mark in front is skipped, blanks around are skipped. A whole record is refused as
///   "not UTF-8", "not JSON" (RFC 8259; nesting deeper than JsonTape::kDepthMax counts as this) or
///   "not an object or list". Several JSON values behind each other (`}{`) are several records.
/// - An object with `event_list` or `eventList` (not null) is an envelope; its list's entries are
///   events ("event_list is not a list"). A list on top holds events or envelopes; no deeper
///   ("event is not an object"). User and session are looked for in the event, then in its
///   envelope; all else in the event only. `format: flat` takes every object as an event,
///   `format: envelope` refuses an object without a list ("event_list missing").
/// - A field exists when it is present and not null; of a key written twice the last counts. A
///   pointer that steps into a text reads it as a JSON object, or does not exist.
/// - Judged in the order user, item, time, type; the first failure is the reason, "<field>
///   <problem>". Ids are text or whole numbers of 64 bits: "wrong type", "empty" (nothing or only
///   white space), "lone surrogate", "control character", "too long" (over 256 code points),
///   "placeholder" (null, undefined, none, nan in any case; not for types). Absent: "user_id
///   missing" (unless there is a session: anonymous), "item_id missing", "timestamp missing"; an
///   absent type is the default. Times: events/time_value.h, else "wrong type".
/// - Optional fields never refuse an event; one that is unusable is left out: an event id or
///   session id that is no sound id as above (a number is its digits; an event id may be a
///   placeholder word), an event value that is neither a number within a float's range nor text
///   of one, properties that are neither an object nor text of one, an impression that is neither
///   a list of sound ids nor such ids joined by `|` (an entry that is unusable is left out; the
///   first 25 are kept), a recommendation id of more than 40 code points.
/// - Other members, `_source` of our own lake lines among them, are read over.
///
/// Memory: about 16 bytes for each JSON value of the record besides a copy of its bytes. Not
/// thread-safe: one decoder per thread. Throws nothing.
class EventDecoder {
 public:
  /// REQUIRES: pointers that are empty or begin with `/` (config/ has checked them); session_slot >
  /// 0.
  explicit EventDecoder(DecodeOptions options);
  ~EventDecoder();
  EventDecoder(EventDecoder&&) noexcept;
  EventDecoder& operator=(EventDecoder&&) noexcept;

  /// Replaces what `out` held. `arrived_ms` is the log's own time in Unix milliseconds; below 0 it
  /// has none, and then `arrived` of the line's own `_source` stands in, if it is there.
  void decode(std::string_view record, std::int64_t arrived_ms, DecodedRecord& out);

 private:
  struct Inside;
  std::unique_ptr<Inside> inside_;
};

}  // namespace millrace
