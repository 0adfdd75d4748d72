// Compaction of flat events, gzip, in objects of the size that the archiver writes: rows a second
// on one core. Shape: invented app events as `millrace simulate` sends them, with the archiver's
// `_source` member; 2,000 users, 5,000 items, one in fifty a repeat.
//
// Arguments: rows in thousands. Prints the CSV's hash, which is a function of the rows alone.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <string>

#include "core/check.h"
#include "core/rng.h"
#include "lake/compactor.h"
#include "lake/encoder.h"
#include "lake/memory_object_store.h"

namespace millrace {
namespace {

constexpr std::size_t kChunkBytes = 1u << 20;
constexpr int kRowsPerObject = 100'000;

void fill(MemoryObjectStore& lake, std::int64_t rows) {
  Encoder encoder(Compression::gzip);
  Rng rng(1);
  std::string chunk;
  std::string object;
  std::string last;
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::string event =
        row % 50 == 49 ? last
                       : fmt::format(
                             "{{\"user_id\":\"u{}\",\"itemId\":\"i{}\",\"eventType\":\"view\","
                             "\"sentAt\":{}",
                             rng.below(2000), rng.below(5000), 1'700'000'000 + row / 10);
    last = event;
    chunk +=
        fmt::format("{},\"_source\":{{\"partition\":\"3\",\"position\":\"{}\",\"arrived\":{}}}}}\n",
                    event, row, 1'700'000'000'123 + row * 100);
    const bool closes = row % kRowsPerObject == kRowsPerObject - 1 || row == rows - 1;
    if (chunk.size() >= kChunkBytes || closes) {
      encoder.encode(chunk, object);
      chunk.clear();
    }
    if (closes) {
      MILLRACE_CHECK(lake.put(fmt::format("lake/{:08}.ndjson.gz", row), object, {}).has_value());
      object.clear();
    }
  }
}

void compact_flat_gzip(benchmark::State& bench) {
  MemoryObjectStore lake;
  const std::int64_t rows = bench.range(0) * 1000;
  fill(lake, rows);
  std::string hash;
  for (auto _ : bench) {
    MemoryObjectStore output;
    MemoryObjectStore state;
    const auto outcome =
        compact(lake, output, state,
                {.prefix = Prefix::parse("lake/", Prefix::Role::objects).value(),
                 .error_prefix = Prefix::parse("errors/", Prefix::Role::errors).value(),
                 .output_key = "x.csv",
                 .run_id = "20261121T000000Z-1",
                 .memory_bytes = static_cast<std::size_t>(bench.range(1)) << 20});
    MILLRACE_CHECK(outcome.has_value() && outcome->published);
    hash = outcome->report.csv_sha256;
  }
  bench.SetItemsProcessed(bench.iterations() * rows);
  bench.SetLabel(hash.substr(0, 16));
}

// With memory for all ids, and with so little that they go to temporary files.
BENCHMARK(compact_flat_gzip)
    ->ArgNames({"krows", "memory_mib"})
    ->Args({1000, 1024})
    ->Args({1000, 16})
    ->Args({20, 1024})
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace millrace

BENCHMARK_MAIN();
