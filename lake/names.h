// Every key that millrace writes, and how it is read back: objects of the lake, dead letters,
// backfills, and what lies below `state`. docs/formats.md shows them with examples.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/position.h"
#include "core/result.h"
#include "lake/hour.h"
#include "lake/options.h"
#include "lake/prefix.h"

namespace millrace {

/// The number of the way in which object bytes and names are made. It rises when either changes,
/// and a release writes all the older ones too: a cut that is under way is finished as it was
/// begun.
inline constexpr int kWriterFormat = 1;

/// "processing-failed": Firehose's word for a record that could not be used; ours too.
inline constexpr std::string_view kProcessingFailed = "processing-failed";

/// ".ndjson", ".ndjson.gz", ".ndjson.zst".
std::string_view extension_of(Compression compression);

/// "none", "gzip", "zstd", and back.
std::string_view name_of(Compression compression);
std::optional<Compression> parse_compression(std::string_view text);

/// How the objects of a cut are made. It rides in the cut's intent, so that whoever finishes the
/// cut makes the same objects, whatever the configuration says by then.
struct CutLayout {
  std::string prefix{};        // template (Prefix::text())
  std::string error_prefix{};  // template
  Compression compression = Compression::gzip;
  PartitionBy partition_by = PartitionBy::arrival;
  bool annotate = true;
  int writer_format = kWriterFormat;

  bool operator==(const CutLayout&) const = default;

  /// Notes of a commit hold at most 4 KiB in all (ingest/source.h).
  static constexpr std::size_t kTextBytesMax = 3072;

  /// Printable ASCII without blanks: "w1,gzip,arrival,1,<prefix>,<error prefix>", the prefixes
  /// percent-encoded. At most kTextBytesMax bytes, if fits().
  [[nodiscard]] std::string to_text() const;

  /// `invalid` when the text would be longer than kTextBytesMax: to be asked at start.
  [[nodiscard]] Status fits() const;

  /// `corrupt` when the text is not one of ours; `refused` (exit code 3) when a newer release wrote
  /// it.
  static Result<CutLayout> parse(std::string_view text);
};

/// A partition id or the name of a topic, stream or file in the form that stands in object names:
/// [A-Za-z0-9._-], other bytes as ~xx in hexadecimal. A log name of more than 56 bytes keeps its
/// first 39 and gets `~` and 16 hexadecimal digits of its SHA-256 (a disk allows 255 bytes a name).
std::string log_in_names(std::string_view log_name);

/// As log_in_names, without shortening, and with `.` for `-` (so that `-` only separates).
std::string partition_in_names(const PartitionId& partition);

/// Digits that offsets of a kind of source ("kafka", "kinesis", "file") are padded to, so that the
/// order of names is the order of positions: Kafka 20, Kinesis 56 (longer ones are left longer).
std::size_t position_digits(std::string_view source_kind);

/// One object of a cut: everything that its name is computed from, besides prefix and compression.
struct CutObject {
  std::string log{};          // log_in_names()
  std::string incarnation{};  // 8 lower-case hexadecimal digits
  std::string partition{};    // partition_in_names()
  Position from{};            // C
  Position to{};              // E
  LakeHour hour{};
  std::size_t digits = 20;  // position_digits()

  bool operator==(const CutObject&) const = default;
};

/// The key of a cut's object: `<evaluated prefix><log>-<incarnation>-<partition>-<C>-<E>-<hour>`
/// and the extension. An empty position is zeros; a sub-number follows its offset after a dot,
/// padded to ten digits.
std::string cut_key(const Prefix& prefix, Compression compression, const CutObject& object);

/// The key of a cut's dead letters: the same name under the error prefix with ".dead" in front of
/// the extension. One object per cut and hour.
std::string cut_dead_letters_key(const Prefix& error_prefix, Compression compression,
                                 const CutObject& object);

/// The key of dead letters of the forwarder; `first` and `last` are the positions of the records
/// in it, `token` (letters and digits) keeps the objects of different processes apart: these are
/// written at least once, and their lines say which record they are.
struct ForwarderDeadLetters {
  std::string log_name{};
  PartitionId partition{};
  Position first{};
  Position last{};
  LakeHour hour{};
  std::string token{};
  std::size_t digits = 20;
};
std::string forwarder_dead_letters_key(const Prefix& error_prefix, Compression compression,
                                       const ForwarderDeadLetters& letters);

/// A cut's object, read back from its key. All zeros come back as an empty offset when they are as
/// many as Kinesis has, else as offset 0.
struct ParsedCut {
  CutObject object{};
  Compression compression = Compression::none;
  bool dead_letters = false;
};

/// Nothing when the key's last segment is not the name of a cut's object.
std::optional<ParsedCut> parse_cut_key(std::string_view key);

/// Whether the key is of dead letters, a cut's or the forwarder's.
bool is_dead_letters_key(std::string_view key);

/// `<fixed head of lake.prefix>backfill/<source id>/`, and one object's key below it.
std::string backfill_folder(const Prefix& prefix, std::string_view source_id);
std::string backfill_key(const Prefix& prefix, std::string_view source_id, std::uint64_t first_row,
                         std::uint64_t last_row, Compression compression);

struct ParsedBackfill {
  std::string source_id{};
  std::uint64_t first_row = 0;
  std::uint64_t last_row = 0;
};
std::optional<ParsedBackfill> parse_backfill_key(std::string_view key);

/// Below this folder of a lake lie the states of all instances that keep theirs in it.
inline constexpr std::string_view kStateFolder = "_millrace/";

/// Where the object `url` lies below the folder `root_url` ("…/lake" and "…/lake/_millrace/x/" give
/// "_millrace/x/"); nothing when it lies elsewhere.
std::optional<std::string> key_below(std::string_view root_url, std::string_view url);

/// Keys below `state`. Run ids sort by time: see new_run_id().
namespace state_keys {

std::string manifest(std::string_view run_id);             // manifests/<run id>.json
std::string report(std::string_view run_id);               // reports/<run id>.json
std::string rejects(std::string_view run_id);              // rejects/<run id>.ndjson.gz
std::string previous_csv(std::string_view run_id);         // previous/<run id>.csv
std::string batch_input(std::string_view run_id);          // batch-input/<run id>.jsonl
std::string cycle();                                       // cycle.json
std::string past_cycle(std::string_view cycle_id);         // cycles/<id>.json
std::string lock();                                        // lock.json
std::string backfill(std::string_view source_id);          // backfills/<source id>.json
std::string backfill_rejects(std::string_view source_id);  // backfill-rejects/<id>.ndjson.gz
std::string kinesis_positions(std::string_view stream,
                              std::string_view pipeline);  // folder: kinesis/<stream>/<pipeline>/
std::string file_positions(std::string_view path, std::string_view pipeline);  // file/<path>/…/

inline constexpr std::string_view kManifests = "manifests/";
inline constexpr std::string_view kReports = "reports/";
inline constexpr std::string_view kRejects = "rejects/";
inline constexpr std::string_view kPreviousCsvs = "previous/";

}  // namespace state_keys

/// "20261121T095600Z-1f3a09bc": the time, so that text order is time order, and 32 bits of chance.
std::string new_run_id(WallTime now, std::uint64_t chance);

/// The run id in a key "<folder>/<run id>.<ending>".
std::string run_id_of_key(std::string_view key);

}  // namespace millrace
