// From the lake to one CSV that Amazon Personalize imports.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/result.h"
#include "events/options.h"
#include "events/schema.h"
#include "lake/object_store.h"
#include "lake/prefix.h"
#include "lake/report.h"

namespace millrace {

/// For a display; called about every quarter of a megabyte read.
struct CompactProgress {
  std::uint64_t objects_done = 0;
  std::uint64_t objects = 0;
  std::uint64_t bytes_done = 0;  // as stored
  std::uint64_t bytes = 0;
  std::uint64_t rows = 0;
};

struct CompactRequest {
  DecodeOptions decode{};
  std::vector<Column> columns = default_interaction_columns();
  Prefix prefix{};                              // lake.prefix: where objects are looked for
  Prefix error_prefix{};                        // lake.error_prefix: what is left out
  std::optional<std::string> state_in_lake{};   // key_below(lake.url, state): left out too
  std::string output_key{};                     // below the output store
  std::optional<std::string> output_in_lake{};  // key_below(lake.url, compact.output): not read
  std::string run_id{};                         // new_run_id()
  bool incremental = false;                     // only objects that no published manifest lists
  std::optional<std::int64_t> from{};           // window of event time, Unix seconds, half-open
  std::optional<std::int64_t> to{};
  std::size_t keep = 7;  // previous CSVs under state; 0: none is kept
  std::size_t memory_bytes = 1u << 30;
  std::string temporary_folder = "/tmp";
  std::size_t objects_max = 2'000'000;         // of one run; about 300 bytes of memory each
  std::size_t rejects_bytes_max = 256u << 20;  // of text; more are counted only
  std::size_t reports_keep = 100;              // and rejects; older ones are removed
  /// False ends the run with an error whose code is "interrupted".
  std::function<bool(const CompactProgress&)> progress{};
};

struct CompactOutcome {
  CompactReport report{};
  std::string report_url{};
  bool published = false;
  std::string why_not{};  // why nothing was published; empty otherwise
  /// An earlier run died between its CSV and its books: what was done about it, in a sentence.
  std::string recovered{};
};

/// Reads every object under the fixed head of the prefix, in the order of keys: ours, backfills,
/// and other writers' (lines or concatenated JSON; plain, gzip, zstd). Of each event id the first
/// stays, in the order of keys and lines. The CSV's rows are in that order too, whatever the
/// memory.
///
/// A damaged object does not stop the run: what is readable is used, and the report lists it.
///
/// Publication: rejects and report are written, the manifest as `prepared`, the previous CSV is
/// copied to `state`, the new one published in one step, the manifest marked `published`. A process
/// that dies anywhere in between leaves the old CSV or the new one, and the next run (or
/// recover_publication) puts the books right. Two runs at a time are for the caller to prevent
/// (a lock in `state`); the second to publish fails with `conflict` rather than mix the books.
///
/// Errors: `refused` when there is no object at all; errors of the stores as they are, after which
/// nothing was published. Memory: memory_bytes and about 30 MiB (zstd windows up to 128 MiB come on
/// top for objects that ask for them); what does not fit goes to nameless files in
/// temporary_folder.
///
/// Blocks for minutes: a command's own thread or Loop::offload. The stores must outlive the call.
Result<CompactOutcome> compact(ObjectStore& lake, ObjectStore& output, ObjectStore& state,
                               const CompactRequest& request);

/// Finishes or discards what a killed run left `prepared`, by comparing the hash of the CSV at the
/// output. Gives a sentence about what was done, or nothing. compact() does this first.
Result<std::string> recover_publication(ObjectStore& output, const std::string& output_key,
                                        ObjectStore& state);

}  // namespace millrace
