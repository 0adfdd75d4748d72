// From one record of the log to its lines in the lake: the producer's JSON text, byte for byte, and
// one member of ours at its end that says where the record stood. Pure.
//
//   {"user":"ann"}  at 12345 of partition 3, arrived at 1700000000123 becomes
//   {"user":"ann","_source":{"partition":"3","position":"12345","arrived":1700000000123}}
//
// The rules are in docs/formats.md, "A line of the lake". In short: line breaks between tokens
// become blanks; a record that holds a list, or several values one after the other, gives a line
// for each, and `_source` then has an "index" from 0; a producer's own `_source` moves into ours as
// "original"; only what has no object to carry the member is refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace millrace {

/// Where the record stood. The views must outlive the call.
struct LineOrigin {
  std::string_view partition{};
  std::string_view position{};   // Position::text()
  std::int64_t arrived_ms = -1;  // negative: the log had no time, "arrived" is left out
};

/// A record (no index), or one value of it, that cannot become a line. `reason` is one of the fixed
/// phrases "not UTF-8", "not JSON" (also: nested too deep), "not an object or list", "event is not
/// an object", given where EventDecoder gives them: what is refused as a whole here is refused
/// there. One exception: a producer's own `_source` may nest one level less than
/// JsonTape::kDepthMax, because it moves one level down.
struct LineRefusal {
  std::optional<std::uint32_t> index{};
  std::string_view reason{};
  bool operator==(const LineRefusal&) const = default;
};

/// Threads: one at a time (it keeps scratch space between calls).
class LineWriter {
 public:
  /// `annotate` false: lines without `_source`; a producer's own stays where it is.
  explicit LineWriter(bool annotate) : annotate_(annotate) {}

  /// Appends the record's lines to `out`, each with its one line feed, and what had to be refused
  /// to `refusals`. Gives the number of lines. No line and no refusal: the record was empty
  /// (nothing, blanks, an empty list). Text that is not JSON anywhere gives one refusal and no
  /// line. Repeated keys, lone surrogates in escapes and numbers of any size are JSON and pass (RFC
  /// 8259); a byte order mark before the record is skipped.
  std::size_t append(std::string_view record, const LineOrigin& origin, std::string& out,
                     std::vector<LineRefusal>& refusals);

 private:
  using Span = std::pair<const char*, const char*>;

  const char* scan_object(const char* at, const char* end, std::size_t depth);
  void write_line(const char* begin, const char* end, const LineOrigin& origin,
                  std::optional<std::uint32_t> index, std::string& out) const;

  bool annotate_;
  bool has_members_ = false;     // of the object scanned last, without its `_source`
  std::vector<Span> cut_out_{};  // its own `_source` members with their commas
  Span original_{};              // the value of the last of them
};

}  // namespace millrace
