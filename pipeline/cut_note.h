// The note that the archiver keeps with a partition's committed position: which incarnation of the
// log this is, what was done so far, and where the next cut must end (design: docs/decisions, "Each
// record once in the lake"). Pure.
//
//   mr1 i=7c1f09ab w=1 n=4 r=1200 s=1190 d=4 e=6 c=1900 m=0 l=w1,gzip,arrival,1,crm/,errors/
//
// mr1 the form; i the incarnation; w the writer format; n objects created so far; r s d e the books
// (records read = stored + dead-lettered + empty). Only while a cut is under way: c where it ends,
// l its layout (CutLayout::to_text), m the mapping. Kafka keeps the note as commit metadata, which
// is a string of at most 4,096 bytes (Kafka broker configuration, offset.metadata.max.bytes) that
// does not survive anything but ASCII: so it is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/position.h"
#include "core/result.h"
#include "events/options.h"
#include "lake/names.h"

namespace millrace {

/// Records of one partition since its anchor: read = stored + dead_lettered + empty. A record of
/// which at least one value became a line is stored, even when another value of it was refused.
struct RecordBooks {
  std::uint64_t read = 0;
  std::uint64_t stored = 0;
  std::uint64_t dead_lettered = 0;
  std::uint64_t empty = 0;

  RecordBooks& operator+=(const RecordBooks& other);
  bool operator==(const RecordBooks&) const = default;
};

struct CutNote {
  struct Intent {
    Position end{};  // where the cut ends: what is committed when its objects are durable
    CutLayout layout{};
    /// With PartitionBy::event: which `events:` options place a record (mapping_of), because the
    /// hours depend on them. Otherwise 0.
    std::uint32_t mapping = 0;
    bool operator==(const Intent&) const = default;
  };

  /// Drawn when a partition is met without a committed position, and kept for ever: names of a log
  /// that was deleted and made anew cannot collide with the old ones.
  std::uint32_t incarnation = 0;
  std::uint64_t objects = 0;
  RecordBooks books{};
  std::optional<Intent> intent{};

  bool operator==(const CutNote&) const = default;
};

/// "7c1f09ab": the form in notes and object names.
std::string incarnation_text(std::uint32_t incarnation);

/// At most kNoteBytesMax of printable ASCII. REQUIRES: the intent's layout fits().
std::string print_cut_note(const CutNote& note);

/// `refused` (exit code 3) for an empty or foreign note, one of a newer release, and a garbled one;
/// the message says what that means, and continues a sentence that names the partition. Words it
/// does not know are skipped, so that a later release may add some.
Result<CutNote> parse_cut_note(std::string_view text);

/// A hash of all options that decide by which event's time a record is placed.
std::uint32_t mapping_of(const DecodeOptions& options);

}  // namespace millrace
