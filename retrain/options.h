// What the retrain cycle takes from the configuration (keys of `retrain:`).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "core/time.h"

namespace millrace {

struct BatchInferenceOptions {
  enum class Users { all, active, file };
  Users users = Users::all;
  std::chrono::seconds active_within{};  // users: active: 30d
  std::string users_file{};              // users: file: s3://…; read only
  std::string output{};                  // a folder url that ends in /
  std::int32_t results = 25;             // per user, 1–500
  std::string filter_arn{};
  std::optional<double> exploration_weight{};
  std::optional<std::int32_t> exploration_item_age_days{};
};

/// retrain:
struct RetrainOptions {
  std::string schedule{};  // cron, five fields; empty: none
  std::string timezone = "UTC";
  std::int64_t after_new_interactions = 0;  // 0: off
  std::chrono::seconds at_most_every{86'400};
  std::string dataset_arn{};
  std::string solution_arn{};
  std::string role_arn{};
  std::string campaign_arn{};  // empty: none
  std::optional<BatchInferenceOptions> batch_inference{};
  std::chrono::milliseconds poll_interval{
      30'000};  // between two Describe calls: the quota is 1/s per operation
  bool incremental = false;
};

}  // namespace millrace
