// Sets that may outgrow memory: which event ids were seen before, and how many users and items
// there are. What does not fit goes to nameless temporary files, cut up by hash.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace millrace {

/// A nameless temporary file, written once and then read once. Gone with its process.
class SpillFile {
 public:
  /// `transient` when the disk is full, `denied` when the folder may not be written to; both name
  /// the folder.
  static Result<SpillFile> make(const std::string& folder, std::size_t buffer_bytes);

  SpillFile(SpillFile&& other) noexcept;
  SpillFile& operator=(SpillFile&&) = delete;
  ~SpillFile();

  Status append(const void* bytes, std::size_t count);
  /// Ends writing; reading begins at the start.
  Status rewind();
  /// Exactly `count` bytes, or none at the end (false).
  Result<bool> read(void* bytes, std::size_t count);

 private:
  SpillFile(int descriptor, std::string folder, std::size_t buffer_bytes);
  Status flush();

  int descriptor_;
  std::string folder_;
  std::vector<char> buffer_;
  std::size_t used_ = 0;   // written: bytes waiting; read: bytes in the buffer
  std::size_t taken_ = 0;  // read: bytes of it handed out
};

/// 128 bits that stand for an event id: 32 hexadecimal digits are themselves, other ids the
/// beginning of their SHA-256.
struct EventKey {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  bool operator==(const EventKey&) const = default;
};
EventKey event_key(std::string_view event_id);

struct SpillOptions {
  std::size_t memory_bytes = 512u << 20;
  std::string folder = "/tmp";
  std::size_t parts = 256;  // each part is looked at alone, in memory: up to `parts` times
                            // memory_bytes can be told apart
  std::size_t buffer_bytes = 8u << 10;  // for each part
};

/// The first of each event id, in the order of asking.
class FirstSeen {
 public:
  explicit FirstSeen(SpillOptions options);

  enum class Verdict {
    first,
    duplicate,
    undecided,  // no memory left: settle() tells, once all were asked
  };
  Result<Verdict> add(const EventKey& key);

  /// For each `undecided` in its order: whether it was a duplicate. Once, and last.
  Result<std::vector<bool>> settle();

  [[nodiscard]] std::uint64_t undecided() const { return undecided_; }

 private:
  struct Entry {
    EventKey key{};
    std::uint64_t number = 0;  // 0: was decided in memory; else which undecided, from 1
  };
  bool insert(const EventKey& key);
  Status spill();
  Status append(const Entry& entry);

  SpillOptions options_;
  std::vector<EventKey> slots_;  // open addressing; {0, 0} is free
  std::size_t used_ = 0;
  std::vector<SpillFile> parts_{};
  std::uint64_t undecided_ = 0;
};

/// How many different hashes there are, and how many came at least twice.
class DistinctCounts {
 public:
  explicit DistinctCounts(SpillOptions options);

  Status add(std::uint64_t hash);

  struct Counts {
    std::uint64_t distinct = 0;
    std::uint64_t twice = 0;
  };
  /// Once, and last.
  Result<Counts> finish();

 private:
  void insert(std::uint64_t hash);
  void count(Counts& counts) const;

  SpillOptions options_;
  std::vector<std::uint64_t> slots_;  // bit 0: came twice; 0 is free
  std::size_t used_ = 0;
  std::vector<SpillFile> parts_{};
};

}  // namespace millrace
