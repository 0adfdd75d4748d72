// One embedded Kinesis stream, a place for positions, and up to two processes that read it, each
// with a loop of its own so that one can freeze while the other goes on.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "aws/base64.h"
#include "ingest/kinesis_source.h"
#include "lake/memory_object_store.h"
#include "local/faulty_service.h"
#include "local/kinesis_service.h"
#include "tests/fakes/local_http_client.h"
#include "tests/fakes/manual_clock.h"
#include "tests/fakes/manual_loop.h"

namespace millrace {

class NoPause final : public Pause {
 public:
  bool wait(Ticks) override { return true; }
};

class KinesisWorld {
 public:
  /// One process: its loop, its client, its source. Destroying it is a crash.
  struct Process {
    Process(KinesisWorld& world, KinesisOptions options, PositionStore& positions, int number)
        : http(*world.front),
          credentials(Credentials{.access_key_id = "millrace",
                                  .secret_access_key = Secret("millrace-local-secret"),
                                  .session_token = {},
                                  .expires_at = {}}),
          client(client_options(), AwsRuntime{.http = http,
                                              .credentials = credentials,
                                              .clock_offset = offset,
                                              .pause = pause,
                                              .log = log,
                                              .wall_time = [&world] { return world.clock.now(); }}),
          api(client) {
      loop.set_wall_start(world.clock.now());
      source = std::make_unique<KinesisSource>(std::move(options), api, positions,
                                               fmt::format("process-{}", number), 7, loop, log,
                                               metrics, world.limits);
    }
    static AwsClient::Options client_options() {
      AwsClient::Options options;
      options.service = kKinesisService;
      options.region = "eu-west-1";
      options.endpoint = "http://127.0.0.1:4567";
      options.attempts_max = 1;
      return options;
    }
    ManualLoop loop{};
    Log log{};
    Metrics metrics{};
    NoPause pause{};
    ClockOffset offset{};
    LocalHttpClient http;
    StaticCredentials credentials;
    AwsClient client;
    KinesisApi api;
    std::unique_ptr<KinesisSource> source{};
    bool frozen = false;
  };

  explicit KinesisWorld(int shards = 1, KinesisServiceOptions service_options = {},
                        FaultyServiceOptions faults = {}) {
    service = std::move(*KinesisService::open(std::move(service_options), clock));
    front = std::make_unique<FaultyService>(std::move(faults), *service);
    front->set_well(true);
    options.stream = "s";
    call("CreateStream", {{"StreamName", "s"}, {"ShardCount", shards}});
  }

  nlohmann::json call(const std::string& operation, const nlohmann::json& arguments) {
    const HttpResponse response =
        service->handle({.method = "POST",
                         .url = "/",
                         .headers = {{"X-Amz-Target", "Kinesis_20131202." + operation},
                                     {"Content-Type", "application/x-amz-json-1.1"}},
                         .body = arguments.dump()});
    EXPECT_EQ(response.status, 200) << operation << " " << response.body;
    return response.body.empty() ? nlohmann::json::object() : nlohmann::json::parse(response.body);
  }
  /// By key; an explicit hash of "0", "1" … chooses a shard by its range.
  std::string put(const std::string& key, const std::string& data, const std::string& hash = "") {
    std::string base64;
    append_base64(data, base64);
    nlohmann::json arguments = {{"StreamName", "s"}, {"PartitionKey", key}, {"Data", base64}};
    if (!hash.empty()) arguments["ExplicitHashKey"] = hash;
    return call("PutRecord", arguments).at("ShardId").get<std::string>();
  }
  void split(const std::string& shard, const std::string& at) {
    call("SplitShard", {{"StreamName", "s"}, {"ShardToSplit", shard}, {"NewStartingHashKey", at}});
  }
  void merge(const std::string& left, const std::string& right) {
    call("MergeShards",
         {{"StreamName", "s"}, {"ShardToMerge", left}, {"AdjacentShardToMerge", right}});
  }

  Process& open(int number) {
    crash(number);
    processes[number] = std::make_unique<Process>(*this, options, positions_of(number), number);
    return *processes[number];
  }
  void crash(int number) {
    processes[number].reset();
    stores[number].reset();
  }

  /// All clocks move on together; a frozen process does nothing and finds out later.
  void step(std::chrono::milliseconds duration = std::chrono::milliseconds(10)) {
    clock.advance(duration);
    for (auto& [number, process] : processes) {
      if (process && !process->frozen) process->loop.advance(duration);
    }
  }

  /// Each process has a store object of its own, as in life; what they store in is shared.
  PositionStore& positions_of(int number) {
    auto& positions = stores[number];
    if (positions_file.empty()) {
      positions = std::make_unique<ObjectPositionStore>(objects, "kinesis/app/s/");
    } else {
      positions = std::make_unique<FilePositionStore>(positions_file);
    }
    return *positions;
  }

  ManualClock clock{};
  std::unique_ptr<KinesisService> service{};
  std::unique_ptr<FaultyService> front{};
  MemoryObjectStore objects{};
  std::string positions_file{};
  KinesisOptions options{};
  KinesisSourceLimits limits{};
  std::map<int, std::unique_ptr<PositionStore>> stores{};
  std::map<int, std::unique_ptr<Process>> processes{};
};

}  // namespace millrace
