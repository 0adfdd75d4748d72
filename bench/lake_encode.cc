// Bytes a second of the archiver's encoder, one MiB chunks, what is left of them and its hash.
// Shape: flat app events with `_source`, as in bench/compactor.cc.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <string>

#include "core/rng.h"
#include "lake/encoder.h"

namespace millrace {
namespace {

std::string chunk_of(std::size_t bytes) {
  Rng rng(1);
  std::string chunk;
  for (int row = 0; chunk.size() < bytes; ++row) {
    chunk += fmt::format(
        "{{\"user_id\":\"u{}\",\"itemId\":\"i{}\",\"eventType\":\"view\",\"sentAt\":{},\"_source\":"
        "{{\"partition\":\"3\",\"position\":\"{}\",\"arrived\":{}}}}}\n",
        rng.below(2000), rng.below(5000), 1'700'000'000 + row / 10, row,
        1'700'000'000'123 + row * 100);
  }
  return chunk;
}

void encode(benchmark::State& bench, Compression compression) {
  const std::string chunk = chunk_of(1u << 20);
  Encoder encoder(compression);
  std::string out;
  for (auto _ : bench) {
    out.clear();
    encoder.encode(chunk, out);
    benchmark::DoNotOptimize(out.data());
  }
  bench.SetBytesProcessed(static_cast<std::int64_t>(bench.iterations()) *
                          static_cast<std::int64_t>(chunk.size()));
  bench.SetLabel(
      fmt::format("{:.1f} % left, {:016x}",
                  100.0 * static_cast<double>(out.size()) / static_cast<double>(chunk.size()),
                  std::hash<std::string>{}(out)));
}

BENCHMARK_CAPTURE(encode, none, Compression::none);
BENCHMARK_CAPTURE(encode, gzip, Compression::gzip);
BENCHMARK_CAPTURE(encode, zstd, Compression::zstd);

}  // namespace
}  // namespace millrace

BENCHMARK_MAIN();
