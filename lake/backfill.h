// History into the lake: one file or object of rows becomes objects of lines, once, however often
// it is started.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/result.h"
#include "events/options.h"
#include "lake/object_store.h"
#include "lake/options.h"
#include "lake/rows.h"

namespace millrace {

/// Where the history lies. The object is read twice: once for its id, once for its rows.
struct BackfillSource {
  ObjectStore* store = nullptr;  // must outlive the call
  std::string key{};
};

struct BackfillOptions {
  LakeOptions lake{};      // prefix, buffer_bytes, compression, annotate
  DecodeOptions decode{};  // the judge of the rows
  RowMap map{};
  std::size_t row_bytes_max = 8u << 20;
  /// Of the rejects file, before compression. Further rejects are counted only; 256 MiB are more
  /// than anyone reads.
  std::size_t rejects_bytes_max = 256u << 20;
};

struct BackfillProgress {
  std::uint64_t rows = 0;
  std::uint64_t bytes_read = 0;   // of the source as it is stored
  std::uint64_t bytes_total = 0;  // its size
};

struct BackfillResult {
  std::string source_id{};
  std::string description{};  // form and mapping that were recognised
  std::uint64_t rows = 0;     // of the source: = stored_before + stored_now + rejected
  std::uint64_t stored_before = 0;
  std::uint64_t stored_now = 0;
  std::uint64_t rejected = 0;
  std::uint64_t rejects_written = 0;
  std::uint64_t events = 0;          // in stored rows (an envelope has several)
  std::uint64_t anonymous = 0;       // of these; they stay out of the CSV
  std::uint64_t events_refused = 0;  // beside good ones in a stored row
  std::uint64_t objects_before = 0;
  std::uint64_t objects_created = 0;
  std::uint64_t bytes_total = 0;
  std::string folder_url{};
  std::string rejects_url{};  // empty: no rejects
  std::vector<std::string> warnings{};
  bool stopped = false;  // by `progress`; the next start goes on
};

/// Called every few thousand rows; false stops at the next object's border.
using BackfillWatch = std::function<bool(const BackfillProgress&)>;

/// Stores the rows that make at least one event, in the source's order, as objects
/// `<fixed head of lake.prefix>backfill/<source id>/<first row>-<last row>.ndjson…`. Each line is
/// the row's JSON object with `"_source":{"source":"<id>","row":N}` at its end (lake.annotate).
///
/// The source id is 16 hexadecimal digits of SHA-256 over the object's size, its first and last
/// 4 MiB, what was recognised of it (RowReader::description) and the writer format: the same file
/// under another name is the same source, another mapping another one.
///
/// An object ends with the line that brings its lines, before compression, to buffer_bytes (8 times
/// as many with compression, about what such lines shrink by). So its borders depend on the input
/// and these settings only, never on time or on a compression library's version. A row range in a
/// name begins behind the range before it; objects are created in order. A start reads the
/// folder's listing first, and begins behind the last row that is there, whatever the settings were
/// then: an interrupted backfill goes on, a finished one creates nothing. Two at once on one source
/// with the same settings are harmless too (objects are created, never replaced); with different
/// ones they are not.
///
/// Rows that cannot be used go to `backfill-rejects/<source id>.ndjson.gz` below `state`, each as
/// {"row":N,"line":N,"reason":"…","raw":"<base64>"}, written anew by each start that reads to the
/// end.
///
/// Errors: `invalid` (columns not found), `corrupt` (source cut off or damaged: the message says
/// how many rows are stored), `refused` when the listing has a gap or an overlap, and those of the
/// stores (a full disk is `transient`; start again when there is room). Blocks; memory is about
/// one object, a row and 1 MiB. Threads: one call, one thread.
Result<BackfillResult> backfill(const BackfillSource& source, ObjectStore& lake, ObjectStore& state,
                                const BackfillOptions& options, const BackfillWatch& watch = {});

}  // namespace millrace
