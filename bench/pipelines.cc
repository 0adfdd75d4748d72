// Records to the end of each pipeline, on one core, with sinks in memory that answer at once: what
// the program itself costs. Shape: 100,000 flat events of 1,000 users as in bench/decode_event.cc,
// fixed seed, in four partitions; a log in memory that hands out 2,000 records a poll.
//
// Beside each pipeline its floor: decoding the same records and nothing else; making lines of them,
// compressing those and nothing else. Prints a hash of what arrived: of the accepted event ids, of
// the objects' bytes.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <memory>
#include <optional>
#include <string>

#include "core/check.h"
#include "core/rng.h"
#include "events/decode_event.h"
#include "lake/encoder.h"
#include "lake/line.h"
#include "lake/memory_object_store.h"
#include "pipeline/archiver.h"
#include "pipeline/forwarder.h"
#include "tests/fakes/fake_source.h"
#include "tests/fakes/manual_loop.h"

namespace millrace {
namespace {

constexpr int kRecords = 100'000;
constexpr int kPartitions = 4;
constexpr std::size_t kChunk = 256u << 10;

FakeLog log_of_records() {
  FakeLog log;
  Rng rng(1);
  for (int i = 0; i < kRecords; ++i) {
    const auto user = rng.below(1000);
    log.append(
        std::to_string(user % kPartitions),
        fmt::format(R"({{"user_id":"u-{}","item_id":"B07J6B{:04}","event_type":"click",)"
                    R"("timestamp":"2026-11-21T09:{:02}:{:02}.123Z","session_id":"9a4ea{:07}",)"
                    R"("properties":{{"page":"/search?q=mill","position":3,"price":91.37}}}})",
                    user, rng.below(5000), i / 60 % 60, i % 60, user),
        1'795'000'000'000 + i);
  }
  return log;
}

void forget_commits(FakeLog& log) {
  for (auto& [id, partition] : log.partitions) {
    partition.committed.reset();
    partition.commits.clear();
  }
}

void finish(benchmark::State& bench, std::size_t hash) {
  bench.SetItemsProcessed(bench.iterations() * kRecords);
  bench.SetLabel(fmt::format("{:016x}", hash));
}

void forward(benchmark::State& bench) {
  FakeLog log = log_of_records();
  std::size_t hash = 0;
  std::size_t calls = 0;
  for (auto _ : bench) {
    forget_commits(log);
    hash = 0;
    calls = 0;
    ManualLoop loop;
    FakeSource source(loop, log);
    MemoryObjectStore store;
    Metrics metrics;
    const Log quiet;
    ForwarderOptions options{
        .dead_letters = {
            .error_prefix = Prefix::parse("errors/!{error-type}/", Prefix::Role::errors).value(),
            .log_name = "events"}};
    options.pipeline.until_end = true;
    options.sink.personalize.tracking_id = "tracker";
    options.sink.personalize.calls_per_second_max = 1e6;
    std::optional<Status> ended;
    Forwarder forwarder(
        loop, source,
        [&](const PutEventsRequest& request) -> Status {
          ++calls;
          for (const Event& event : request.events)
            hash += std::hash<std::string>{}(event.event_id);
          return {};
        },
        store, options, 1, metrics, quiet);
    for (int i = 0; i < kPartitions; ++i) source.assign(std::to_string(i));
    forwarder.start([&](Status status) { ended = std::move(status); });
    MILLRACE_CHECK(loop.run_until([&] { return ended.has_value(); }));
    MILLRACE_CHECK(ended->has_value());
    MILLRACE_CHECK(log.committed("0") > 0);
  }
  bench.counters["events_a_call"] = static_cast<double>(kRecords) / static_cast<double>(calls);
  finish(bench, hash);
}

void only_decode(benchmark::State& bench) {
  const FakeLog log = log_of_records();
  EventDecoder decoder{DecodeOptions{}};
  DecodedRecord decoded;
  std::size_t hash = 0;
  for (auto _ : bench) {
    hash = 0;
    for (const auto& [id, partition] : log.partitions) {
      for (const auto& record : partition.records) {
        decoder.decode(record.text, record.arrived_ms, decoded);
        for (const Event& event : decoded.events) hash += std::hash<std::string>{}(event.event_id);
      }
    }
  }
  finish(bench, hash);
}

void archive(benchmark::State& bench, Compression compression) {
  FakeLog log = log_of_records();
  std::size_t hash = 0;
  std::size_t objects = 0;
  for (auto _ : bench) {
    forget_commits(log);
    ManualLoop loop;
    FakeSource source(loop, log);
    MemoryObjectStore store;
    Metrics metrics;
    const Log quiet;
    LakeOptions lake;
    lake.prefix = "lake/!{timestamp:yyyy/MM/dd/HH}/";
    lake.error_prefix = "errors/!{error-type}/!{timestamp:yyyy/MM/dd/HH}/";
    lake.compression = compression;
    PipelineOptions options;
    options.until_end = true;
    Rng rng(1);
    std::optional<Status> ended;
    auto archiver =
        Archiver::make(loop, source, store, lake, DecodeOptions{}, options, rng, quiet, metrics);
    MILLRACE_CHECK(archiver.has_value());
    for (int i = 0; i < kPartitions; ++i) source.assign(std::to_string(i));
    (*archiver)->start([&](Status status) { ended = std::move(status); });
    MILLRACE_CHECK(loop.run_until([&] { return ended.has_value(); }));
    MILLRACE_CHECK(ended->has_value());
    hash = 0;
    const ObjectPage page = store.list("lake/", "", 1000).value();
    objects = page.objects.size();
    for (const ObjectInfo& object : page.objects) {
      hash = hash * 31 + std::hash<std::string>{}(store.get(object.key)->bytes);
    }
  }
  bench.counters["objects"] = static_cast<double>(objects);
  finish(bench, hash);
}

void only_lines(benchmark::State& bench, Compression compression) {
  const FakeLog log = log_of_records();
  Encoder encoder(compression);
  std::size_t hash = 0;
  for (auto _ : bench) {
    LineWriter writer(true);
    std::vector<LineRefusal> refused;
    std::string chunk;
    std::string packed;
    for (const auto& [id, partition] : log.partitions) {
      for (const auto& record : partition.records) {
        writer.append(record.text, {id.value, "12345", record.arrived_ms}, chunk, refused);
        if (chunk.size() < kChunk) continue;
        encoder.encode(chunk, packed);
        chunk.clear();
      }
    }
    encoder.encode(chunk, packed);
    hash = std::hash<std::string>{}(packed);
  }
  finish(bench, hash);
}

BENCHMARK(forward)->Unit(benchmark::kMillisecond);
BENCHMARK(only_decode)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(archive, gzip, Compression::gzip)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(only_lines, gzip, Compression::gzip)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(archive, zstd, Compression::zstd)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(only_lines, zstd, Compression::zstd)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace millrace

BENCHMARK_MAIN();
