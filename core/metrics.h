// Counters and gauges: written where things happen, read by /metrics and `status`. One Metrics per
// program.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace millrace {

/// Only grows. Threads: any; one relaxed atomic add.
class Counter {
 public:
  void add(std::uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

/// Goes up and down. Threads: any.
class Gauge {
 public:
  void set(std::int64_t value) { value_.store(value, std::memory_order_relaxed); }
  void add(std::int64_t n) { value_.fetch_add(n, std::memory_order_relaxed); }
  [[nodiscard]] std::int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::int64_t> value_{0};
};

/// Label pairs in the order they are printed, e.g. {{"pipeline","lake"},{"reason","age"}}.
using Labels = std::vector<std::pair<std::string, std::string>>;

/// All metrics of the program. Ask once for a counter and keep the reference (it lives as long as
/// the Metrics); asking again with the same name and labels gives the same one. Names follow
/// Prometheus: millrace_<what>_<unit>_total. Threads: any. The number of label sets is the callers'
/// to bound (partitions, reasons; never users or items).
class Metrics {
 public:
  Counter& counter(std::string_view name, std::string_view help, Labels labels = {});
  Gauge& gauge(std::string_view name, std::string_view help, Labels labels = {});

  /// Prometheus' text format 0.0.4.
  [[nodiscard]] std::string render() const;

  /// The value of one series; 0 if nobody made it. For `status` and tests.
  [[nodiscard]] std::int64_t value(std::string_view name, const Labels& labels = {}) const;

 private:
  struct Series {
    Labels labels{};
    Counter counter{};
    Gauge gauge{};
  };
  struct Family {
    std::string help{};
    bool is_counter = true;
    std::deque<Series> series{};  // a deque: references stay good
  };
  Series& series(std::string_view name, std::string_view help, bool is_counter, Labels labels);

  // The mutex guards the maps, never a value: the pipelines' threads register at start, the status
  // server reads.
  mutable std::mutex mutex_{};
  std::map<std::string, Family, std::less<>> families_{};
};

}  // namespace millrace
