// An append-only file of small records, each with its length and checksum. A record that a crash
// cut in half is dropped at the next open, with everything behind it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "core/result.h"

namespace millrace {

/// Not thread-safe. append() hands the bytes to the operating system before it returns: they
/// survive the death of this process, but only after sync() the loss of power.
class RecordLog {
 public:
  static constexpr std::size_t kRecordBytesMax = 1u << 20;

  /// Opens or makes the file and gives every whole record to `visit`, oldest first. Bytes behind
  /// the last whole record are cut off.
  static Result<RecordLog> open(const std::filesystem::path& path,
                                const std::function<void(std::string_view record)>& visit);
  RecordLog(RecordLog&& other) noexcept;
  RecordLog& operator=(RecordLog&& other) noexcept;
  ~RecordLog();

  /// REQUIRES: at most kRecordBytesMax. On an error (`transient`: a full disk) nothing of the
  /// record stays in the file.
  Status append(std::string_view record);

  /// For many records at once: append_later() collects, flush() writes.
  Status append_later(std::string_view record);
  Status flush();

  Status sync();

 private:
  RecordLog(int file, std::filesystem::path path, std::uint64_t bytes);
  int file_ = -1;
  std::filesystem::path path_{};
  std::uint64_t bytes_ = 0;
  std::string pending_{};
};

/// Replaces a file in one step: a reader sees the old bytes or the new ones, also after a loss of
/// power.
Status replace_file(const std::filesystem::path& path, std::string_view bytes);

/// A whole file. `not_found` when it is not there.
Result<std::string> read_file(const std::filesystem::path& path);

}  // namespace millrace
