// Texts of the configuration that carry units: "5MiB", "300s", "2026-11-21T00:00:00Z". Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "ingest/options.h"

namespace millrace {

/// "512", "5MiB", "1 GB", "1.5GiB": bytes. KiB/MiB/GiB/TiB are powers of 1024, kB/MB/GB/TB of 1000.
/// Empty when it is none of these, negative, or above 2^62.
std::optional<std::uint64_t> parse_size(std::string_view text);

/// "200ms", "5m", "300s", "24h", "30d", "1h30m", "0": empty when it is none of these or above 10
/// years. A bare number other than 0 has no unit and is refused.
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);

/// "earliest" (or Kinesis' "trim_horizon"), "latest", a Unix time in seconds, or ISO 8601 with
/// offset.
std::optional<StartAt> parse_start(std::string_view text);

/// "true", "false" and YAML 1.1's other spellings of them, in any case.
std::optional<bool> parse_boolean(std::string_view text);

/// "5 MiB", "1.5 GiB", "700 B": for people.
std::string human_size(std::uint64_t bytes);

}  // namespace millrace
