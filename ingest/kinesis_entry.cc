#include "ingest/kinesis_entry.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace millrace {
namespace {

using nlohmann::json;

std::string dump(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

json json_of(const StartAt& start) {
  switch (start.kind) {
    case StartAt::Kind::earliest:
      return {{"at", "trim_horizon"}};
    case StartAt::Kind::latest:
      return {{"at", "latest"}, {"since_ms", unix_ms(start.time)}};
    case StartAt::Kind::time:
      return {{"at", "timestamp"}, {"since_ms", unix_ms(start.time)}};
  }
  return {};
}

// Throws json::exception, as `at` and `get` do: the callers are one level up.
bool read_start(const json& value, StartAt& out) {
  const auto at = value.at("at").get<std::string>();
  if (at == "trim_horizon") {
    out = {};
    return true;
  }
  out.kind = at == "latest" ? StartAt::Kind::latest : StartAt::Kind::time;
  out.time = wall_time_of_ms(value.at("since_ms").get<std::int64_t>());
  return at == "latest" || at == "timestamp";
}

tl::unexpected<Error> damaged(std::string_view what, std::string_view why) {
  return fail(ErrorKind::corrupt, fmt::format("the remembered {} is damaged: {}", what, why));
}

}  // namespace

std::string text_of(const KinesisStreamEntry& entry) {
  return dump({{"created_ms", entry.created_ms},
               {"started_ms", entry.started_ms},
               {"start", json_of(entry.start)},
               {"initial", entry.initial},
               {"skipped", entry.skipped}});
}

std::string text_of(const KinesisShardEntry& entry) {
  json out = {{"start", json_of(entry.start)}, {"ended", entry.ended}};
  if (entry.committed) {
    out["position"] =
        entry.committed->position.offset.digits.empty() ? "" : entry.committed->position.text();
    out["note"] = entry.committed->note;
  }
  if (entry.settled_arrived_ms >= 0) out["settled_arrived_ms"] = entry.settled_arrived_ms;
  if (entry.tip_ms >= 0) out["tip_ms"] = entry.tip_ms;
  return dump(out);
}

Result<KinesisStreamEntry> parse_kinesis_stream_entry(const std::string& text) {
  try {
    const json root = json::parse(text);
    KinesisStreamEntry entry;
    entry.created_ms = root.at("created_ms").get<std::int64_t>();
    entry.started_ms = root.at("started_ms").get<std::int64_t>();
    if (!read_start(root.at("start"), entry.start)) return damaged("stream", "its start");
    entry.initial = root.at("initial").get<std::vector<std::string>>();
    entry.skipped = root.at("skipped").get<std::vector<std::string>>();
    return entry;
  } catch (const json::exception& error) {
    return damaged("stream", error.what());
  }
}

Result<KinesisShardEntry> parse_kinesis_shard_entry(const std::string& text) {
  try {
    const json root = json::parse(text);
    KinesisShardEntry entry;
    if (!read_start(root.at("start"), entry.start)) return damaged("shard", "its start");
    entry.ended = root.at("ended").get<bool>();
    if (root.contains("position")) {
      Committed committed;
      const auto position = root.at("position").get<std::string>();
      if (!position.empty() && !parse_position(position, committed.position)) {
        return damaged("shard", "its position");
      }
      committed.note = root.at("note").get<std::string>();
      entry.committed = std::move(committed);
    }
    entry.settled_arrived_ms = root.value("settled_arrived_ms", std::int64_t{-1});
    entry.tip_ms = root.value("tip_ms", std::int64_t{-1});
    return entry;
  } catch (const json::exception& error) {
    return damaged("shard", error.what());
  }
}

}  // namespace millrace
