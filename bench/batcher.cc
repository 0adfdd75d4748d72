// Events a second through the batcher: in, grouped by user and session, out, returned. Shape: 1,000
// and 100,000 users with Zipf-like popularity (a user's number is the smaller of two draws), one
// session each, ids as apps make them; a millisecond passes for every nine events (9,000 a second);
// each group comes back 30 ms after it was taken.
//
// Beside it the same events appended to one queue and taken off ten at a time: what moving the
// strings costs anybody. Prints a hash of the groups, which is a function of the events alone.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "batcher/batcher.h"
#include "core/check.h"
#include "core/rng.h"

namespace millrace {
namespace {

constexpr int kEvents = 200'000;
constexpr Ticks kCallTime = std::chrono::milliseconds(30);

std::vector<Event> events_of(std::uint64_t users) {
  Rng rng(1);
  std::vector<Event> events(kEvents);
  for (int i = 0; i < kEvents; ++i) {
    Event& event = events[static_cast<std::size_t>(i)];
    const auto user = std::min(rng.below(users), rng.below(users));
    event.user_id = fmt::format("u-{}", user);
    event.session_id = fmt::format("9a4ea0932{:07}", user);
    event.item_id = fmt::format("i-{}", rng.below(5000));
    event.event_type = "view";
    event.event_id = fmt::format("{:032x}", i);
    event.timestamp = 1'700'000'000 + i / 9000;
  }
  return events;
}

std::size_t mixed(std::size_t hash, std::string_view text) {
  return hash * 31 + std::hash<std::string_view>{}(text);
}

void batch(benchmark::State& bench) {
  const auto events = events_of(static_cast<std::uint64_t>(bench.range(0)));
  std::size_t hash = 0;
  std::size_t groups = 0;
  for (auto _ : bench) {
    bench.PauseTiming();
    auto input = events;
    Batcher batcher({});
    std::deque<std::pair<Ticks, std::uint32_t>> out;
    hash = 0;
    groups = 0;
    bench.ResumeTiming();
    Ticks now{};
    const auto drain = [&] {
      while (!out.empty() && out.front().first <= now) {
        batcher.returned(out.front().second, now);
        out.pop_front();
      }
      while (auto group = batcher.take(now)) {
        ++groups;
        hash = mixed(hash, group->events.back().event_id);
        out.emplace_back(now + kCallTime, group->user);
      }
    };
    for (std::size_t i = 0; i < input.size(); ++i) {
      if (i % 9 == 0) {
        now += std::chrono::milliseconds(1);
        drain();
      }
      batcher.add(std::move(input[i]), {1, i}, now);
    }
    while (batcher.events() > 0) {
      now += std::chrono::milliseconds(1);
      drain();
    }
  }
  bench.SetItemsProcessed(bench.iterations() * kEvents);
  bench.counters["events_a_group"] = static_cast<double>(kEvents) / static_cast<double>(groups);
  bench.SetLabel(fmt::format("{:016x}", hash));
}

void one_queue(benchmark::State& bench) {
  const auto events = events_of(static_cast<std::uint64_t>(bench.range(0)));
  std::size_t hash = 0;
  for (auto _ : bench) {
    bench.PauseTiming();
    auto input = events;
    std::deque<Event> queue;
    hash = 0;
    bench.ResumeTiming();
    for (auto& event : input) {
      queue.push_back(std::move(event));
      if (queue.size() < 10) continue;
      std::vector<Event> group(std::make_move_iterator(queue.begin()),
                               std::make_move_iterator(queue.end()));
      queue.clear();
      hash = mixed(hash, group.back().event_id);
    }
  }
  bench.SetItemsProcessed(bench.iterations() * kEvents);
  bench.SetLabel(fmt::format("{:016x}", hash));
}

BENCHMARK(batch)->ArgName("users")->Arg(1000)->Arg(100'000)->Unit(benchmark::kMillisecond);
BENCHMARK(one_queue)->ArgName("users")->Arg(1000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace millrace

BENCHMARK_MAIN();
