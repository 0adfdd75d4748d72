// A file of lines as a Source, for trying things out: one partition "0", one record per line.
//
// - A position is the byte after the line's end: the last place settled, so after(at) is `at`.
// - The file is followed as it grows. A last line without a line end is handed out once the file
// has
//   not grown for `quiet_wait`; what is then appended to it counts as a line of its own.
// - A line longer than line_bytes_max is handed out cut to that length (it will be refused as "not
//   JSON") and counted (millrace_file_long_lines_total); its rest is skipped.
// - Positions lie in a PositionStore. One process owns the file's positions; a second waits.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include "core/log.h"
#include "core/loop.h"
#include "core/metrics.h"
#include "ingest/options.h"
#include "ingest/position_store.h"
#include "ingest/source.h"

namespace millrace {

struct FileSourceLimits {
  std::size_t read_bytes = 1u << 20;      // of one read; at most two are held
  std::size_t line_bytes_max = 8u << 20;  // the most that a read may hold for one line
  std::chrono::milliseconds quiet_wait{1'000};
  std::chrono::milliseconds poll_interval{200};  // at the end of the file
  std::chrono::milliseconds retry_delay{1'000};
  std::chrono::milliseconds lease_age_max{10'000};
  std::chrono::milliseconds lease_renew_interval{3'000};
  std::chrono::milliseconds close_wait{5'000};
};

/// `positions`, `loop`, `log` and `metrics` must outlive the source and the loop's workers. Records
/// have no arrival time. The only final error of poll() is `corrupt` (damaged positions): a missing
/// file is waited for with the reason in status().trouble; a file shorter than the committed
/// position is Stuck (it was replaced).
class FileSource final : public Source {
 public:
  FileSource(FileOptions options, PositionStore& positions, std::string owner, Loop& loop,
             const Log& log, Metrics& metrics, FileSourceLimits limits = {});
  ~FileSource() override;
  FileSource(const FileSource&) = delete;
  FileSource& operator=(const FileSource&) = delete;

  [[nodiscard]] std::string kind() const override { return "file"; }
  [[nodiscard]] std::string log_name() const override;
  Result<std::vector<SourceEvent>> poll(std::size_t records_max) override;
  void start(const PartitionId& partition, Tenure tenure, const Position& from) override;
  void pause(const PartitionId& partition, bool paused) override;
  [[nodiscard]] Position after(const Position& at) const override { return at; }
  void commit(const PartitionId& partition, Tenure tenure, const Position& next, std::string note,
              Done done) override;
  void release(const PartitionId& partition, Tenure tenure) override;
  void close() override;
  [[nodiscard]] bool closed() const override;
  [[nodiscard]] bool at_end() const override;
  [[nodiscard]] SourceStatus status() const override;

 private:
  class State;
  std::shared_ptr<State> state_;
};

}  // namespace millrace
