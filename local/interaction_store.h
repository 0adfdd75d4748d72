// The interactions of one dataset: bulk rows from imports, streamed rows from PutEvents, each kept
// apart as the real service does (a FULL import replaces the bulk rows and never a streamed one).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/result.h"
#include "local/record_log.h"

namespace millrace {

/// Texts and their numbers, 0 upwards. Views stay valid as long as the object.
class Interner {
 public:
  static constexpr std::uint32_t kNone = UINT32_MAX;
  std::uint32_t number_of(std::string_view text);                 // adds it
  [[nodiscard]] std::uint32_t find(std::string_view text) const;  // kNone when it is not there
  [[nodiscard]] const std::string& text_of(std::uint32_t number) const { return texts_[number]; }
  [[nodiscard]] std::size_t count() const { return texts_.size(); }

 private:
  std::deque<std::string> texts_{};
  std::unordered_map<std::string_view, std::uint32_t> numbers_{};
};

/// An interaction in words. Views: valid for the call.
struct InteractionFields {
  std::string_view user_id{};     // empty: anonymous
  std::string_view session_id{};  // empty for bulk rows
  std::string_view item_id{};     // empty: an event about no item
  std::string_view event_type{};  // empty: null
  std::string_view event_id{};    // empty: none
  std::string_view others{};      // all other columns in a canonical form; equal values, equal text
  std::int64_t second = 0;
  std::optional<float> value{};  // EVENT_VALUE
};

/// The same in numbers of the store's interners. 32 bytes.
struct InteractionRow {
  std::uint32_t user = Interner::kNone;
  std::uint32_t session = Interner::kNone;
  std::uint32_t item = Interner::kNone;
  std::uint32_t event_type = Interner::kNone;
  std::uint32_t others = Interner::kNone;
  float value = 0;  // NaN: null
  std::int64_t second = 0;
};

/// Not thread-safe. Texts are never forgotten while it lives.
class InteractionStore {
 public:
  /// In memory only.
  InteractionStore() = default;

  /// Reads `folder`/streamed.log and the bulk files named in `bulk_files`, oldest first. What
  /// others files there are in the folder are leftovers of interrupted imports and removed.
  static Result<std::unique_ptr<InteractionStore>> open(const std::filesystem::path& folder,
                                                        const std::vector<std::string>& bulk_files);

  /// Streamed events, all or none; how many of them are used: not those whose event id was there
  /// before. An error (full disk) leaves the store as it was.
  Result<std::size_t> stream(std::span<const InteractionFields> events);

  void add_bulk(const InteractionFields& fields);

  /// All bulk rows of `other` become bulk rows here. `replace` first forgets our own.
  void take_bulk(const InteractionStore& other, bool replace);

  /// Writes the bulk rows into a file that open() reads. `transient` on a full disk.
  [[nodiscard]] Status write_bulk(const std::filesystem::path& path) const;

  [[nodiscard]] const std::vector<InteractionRow>& bulk() const { return bulk_; }
  [[nodiscard]] const std::vector<InteractionRow>& streamed() const { return streamed_; }
  /// Of a user, or of an anonymous session by its id: indexes into streamed(), oldest first.
  [[nodiscard]] const std::vector<std::uint32_t>& streamed_of(std::string_view person) const;
  /// How often the rows changed: two equal numbers, the same rows.
  [[nodiscard]] std::uint64_t changes() const { return changes_; }

  [[nodiscard]] const Interner& people() const { return people_; }  // users and sessions
  [[nodiscard]] const Interner& items() const { return items_; }
  [[nodiscard]] const Interner& event_types() const { return event_types_; }
  [[nodiscard]] const Interner& others() const { return others_; }

  Status sync();

 private:
  /// Event ids seen, as 128-bit hashes in open addressing: 32 bytes per id at worst.
  class SeenIds {
   public:
    bool insert(std::string_view id);  // false: it was there
    [[nodiscard]] bool contains(std::string_view id) const;

   private:
    struct Hash {
      std::uint64_t high = 0;
      std::uint64_t low = 0;
      bool operator==(const Hash&) const = default;
    };
    static Hash hash_of(std::string_view id);
    [[nodiscard]] std::size_t slot_of(const Hash& hash) const;
    std::vector<Hash> slots_{};
    std::size_t count_ = 0;
  };

  InteractionRow row_of(const InteractionFields& fields);
  void add_streamed(const InteractionFields& fields);
  [[nodiscard]] InteractionFields fields_of(const InteractionRow& row) const;

  Interner people_{};
  Interner items_{};
  Interner event_types_{};
  Interner others_{};
  std::vector<InteractionRow> bulk_{};
  std::vector<InteractionRow> streamed_{};
  std::vector<std::vector<std::uint32_t>> streamed_of_{};  // by person
  SeenIds seen_ids_{};
  std::optional<RecordLog> log_{};
  std::uint64_t changes_ = 0;
  std::string scratch_{};
};

}  // namespace millrace
