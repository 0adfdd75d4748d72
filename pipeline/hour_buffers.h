// What a partition has collected since its last cut: lines and dead letters by hour, compressed as
// they come. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/record.h"
#include "events/decode_event.h"
#include "lake/encoder.h"
#include "lake/line.h"
#include "lake/names.h"
#include "pipeline/cut_note.h"

namespace millrace {

/// Raw text is compressed in chunks that end with the first record at or after this many bytes. A
/// part of writer format 1: the bytes of an object depend on it.
inline constexpr std::size_t kChunkBytes = 256u << 10;

/// How records become objects: a layout with the tools for it, shared by all partitions of an
/// archiver that write with it (the compressor's state is megabytes).
///
/// Threads: one at a time.
class ObjectMaker {
 public:
  /// `invalid` when a prefix of the layout cannot be used. `decoding` matters only with
  /// PartitionBy::event.
  static Result<std::unique_ptr<ObjectMaker>> make(const CutLayout& layout,
                                                   const DecodeOptions& decoding);

  [[nodiscard]] const CutLayout& layout() const { return layout_; }
  [[nodiscard]] const Prefix& prefix() const { return prefix_; }
  [[nodiscard]] const Prefix& error_prefix() const { return error_prefix_; }

  /// Arrival, or the time of the record's first valid event; a function of the record alone.
  LakeHour hour_of(std::string_view text, std::int64_t arrived_ms);

 private:
  friend class HourBuffers;
  ObjectMaker(CutLayout layout, Prefix prefix, Prefix error_prefix, const DecodeOptions& decoding);

  CutLayout layout_;
  Prefix prefix_;
  Prefix error_prefix_;
  LineWriter lines_;
  Encoder encoder_;
  std::optional<EventDecoder> decoder_{};
  DecodedRecord decoded_{};
  std::vector<LineRefusal> refused_{};
  // Stored bytes per raw byte, as seen lately: what the chunk not yet compressed will come to. A
  // fifth is usual for interaction events under gzip.
  double ratio_ = 0.2;
};

/// Buffers of one partition. The bytes of the objects are a function of the records since the last
/// cut, in order, and of the layout; of nothing else, least of all of time.
class HourBuffers {
 public:
  /// One object to be created.
  struct Object {
    LakeHour hour{};
    bool dead_letters = false;
    std::shared_ptr<const std::string> bytes{};
  };

  /// `maker` must outlive the buffers.
  explicit HourBuffers(ObjectMaker& maker) : maker_(&maker) {}

  /// Whether a record of this hour would open one hour more.
  [[nodiscard]] bool is_open(LakeHour hour) const { return hours_.count(hour) != 0; }
  [[nodiscard]] std::size_t open_hours() const { return hours_.size(); }

  /// Takes one record, to the hour that hour_of() gave for it.
  void add(const PartitionId& partition, const RecordRef& record, std::string_view text,
           LakeHour hour);

  /// What the largest object would weigh as stored, about.
  [[nodiscard]] std::size_t largest_stored() const { return largest_stored_; }

  /// Memory held.
  [[nodiscard]] std::size_t bytes() const;

  [[nodiscard]] const RecordBooks& books() const { return books_; }

  /// Ends the buffers: their objects, in the order of the hours.
  std::vector<Object> seal() &&;

  [[nodiscard]] ObjectMaker& maker() const { return *maker_; }

 private:
  struct Buffer {
    std::string raw{};
    std::vector<std::string> chunks{};
    std::size_t stored = 0;

    [[nodiscard]] bool empty() const { return raw.empty() && chunks.empty(); }
  };
  struct Hour {
    Buffer lines{};
    Buffer dead{};
  };

  void compress(Buffer& buffer);
  void grown(Buffer& buffer);

  ObjectMaker* maker_;
  std::map<LakeHour, Hour> hours_{};
  RecordBooks books_{};
  std::size_t largest_stored_ = 0;
};

}  // namespace millrace
