// One flat event of 231 bytes, the shape that app SDKs send (snake case, ISO time, a session and
// properties), and an envelope of ten of them; made by hand. Beside them simdjson's DOM parse
// alone, without any judging, of the same bytes.
#include <benchmark/benchmark.h>
#include <simdjson.h>

#include <functional>
#include <iostream>
#include <string>

#include "events/decode_event.h"

namespace millrace {
namespace {

const std::string kBody =
    R"("item_id":"B07J6B1BHK","event_type":"click","timestamp":"2026-11-21T09:56:00.123Z",)"
    R"("session_id":"9a4ea09320ad","properties":{"page":"/search?q=mill","position":3,"price":91.37,)"
    R"("list":"search"}})";
const std::string kFlat = R"({"user_id":"u-1042","app_version":"4.12.0",)" + kBody;

std::string envelope_of(int events) {
  std::string text = R"({"user_id":"u-1042","session_id":"9a4ea09320ad","event_list":[)";
  for (int i = 0; i < events; ++i) text += std::string(i > 0 ? "," : "") + '{' + kBody;
  return text + "]}";
}

std::size_t hash_of(const DecodedRecord& record) {
  std::size_t hash = record.events.size();
  for (const Event& event : record.events) {
    hash =
        hash * 31 + std::hash<std::string>{}(event.event_id + event.session_id + event.properties);
  }
  return hash;
}

void decode(benchmark::State& state, const std::string& text, std::size_t events) {
  EventDecoder decoder{DecodeOptions{}};
  DecodedRecord record;
  for (auto _ : state) {
    decoder.decode(text, 1'700'000'000'000, record);
    benchmark::DoNotOptimize(record.events.data());
  }
  if (record.events.size() != events) state.SkipWithError("not every event was accepted");
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * text.size()));
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations() * events));
  std::cerr << "result " << hash_of(record) << '\n';
}

void parse_only(benchmark::State& state, const std::string& text) {
  simdjson::dom::parser parser;
  const simdjson::padded_string padded(text);
  for (auto _ : state) {
    auto document = parser.parse(padded);
    benchmark::DoNotOptimize(document.error());
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * text.size()));
}

void BM_DecodeFlat(benchmark::State& state) { decode(state, kFlat, 1); }
void BM_DecodeEnvelopeOfTen(benchmark::State& state) { decode(state, envelope_of(10), 10); }
void BM_SimdjsonDomFlat(benchmark::State& state) { parse_only(state, kFlat); }
void BM_SimdjsonDomEnvelopeOfTen(benchmark::State& state) { parse_only(state, envelope_of(10)); }
BENCHMARK(BM_DecodeFlat);
BENCHMARK(BM_DecodeEnvelopeOfTen);
BENCHMARK(BM_SimdjsonDomFlat);
BENCHMARK(BM_SimdjsonDomEnvelopeOfTen);

}  // namespace
}  // namespace millrace

BENCHMARK_MAIN();
