// What a compaction read and made: the record that lets publication survive a kill at any step.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "lake/object_store.h"

namespace millrace {

/// One object that a compaction read.
struct ManifestObject {
  std::string key{};
  std::string etag{};
  std::uint64_t bytes = 0;
  /// Of the accepted events in it, Unix seconds; nothing when there are none. A window skips an
  /// object by these, so they are those of the whole object, not of a window.
  std::optional<std::int64_t> first_second{};
  std::optional<std::int64_t> last_second{};
  bool damaged = false;
  bool operator==(const ManifestObject&) const = default;
};

/// `manifests/<run id>.json` below `state`. Its life: `prepared` before the CSV is published,
/// `published` after; a `prepared` one found later is finished when the CSV at the output is its
/// own, else `discarded`.
struct Manifest {
  enum class State { prepared, published, discarded };

  std::string run_id{};
  State state = State::prepared;
  bool incremental = false;
  bool windowed = false;
  std::string mapping{};  // of the decoding: remembered event seconds are good for the same only
  std::string csv_url{};
  std::string csv_sha256{};  // lower-case hexadecimal
  std::uint64_t csv_bytes = 0;
  std::uint64_t csv_rows = 0;
  std::vector<ManifestObject> objects{};

  bool operator==(const Manifest&) const = default;

  /// It lists every object of the lake at its time: older ones are not needed any more to tell what
  /// is new.
  [[nodiscard]] bool covers_the_lake() const { return !incremental && !windowed; }

  [[nodiscard]] std::string to_json() const;
  /// `corrupt` when it is not one of ours; `name` is for the message.
  static Result<Manifest> parse(std::string_view json, const std::string& name);
};

std::string_view name_of(Manifest::State state);

struct StoredManifest {
  Manifest manifest{};
  std::string etag{};
};

/// Those of `state` that still matter, oldest first: from the newest published one that covers the
/// lake on, and all that are prepared.
Result<std::vector<StoredManifest>> load_manifests(ObjectStore& state);

/// Writes it in its new state if nobody else did meanwhile (`conflict`).
Status change_state(ObjectStore& state, StoredManifest& stored, Manifest::State to);

}  // namespace millrace
