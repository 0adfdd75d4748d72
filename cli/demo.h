// The whole loop on one machine, told as a story: what `millrace demo` does, stage by stage.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "aws/personalize_api.h"
#include "aws/personalize_runtime_api.h"
#include "cli/aws_stack.h"
#include "cli/child_process.h"
#include "cli/command.h"
#include "cli/demo_data.h"
#include "cli/local_services.h"
#include "cli/terminal.h"

namespace millrace {

struct DemoOptions {
  std::filesystem::path folder = "millrace-demo";
  DemoDataOptions data{};
};

/// Each stage does its part for real: the product's own commands run as child processes, with the
/// configuration that a user could run them with, against the embedded services over loopback HTTP.
/// One thread. A stage that fails ends the story.
class Demo {
 public:
  Demo(DemoOptions options, CommandContext& context);
  Demo(const Demo&) = delete;
  Demo& operator=(const Demo&) = delete;

  Status tell();
  /// The document of --json. REQUIRES: tell() succeeded.
  [[nodiscard]] std::string json() const;
  /// The closing page for people. REQUIRES: tell() succeeded.
  void print_ending() const;

 private:
  struct Kill {
    std::uint64_t at = 0;  // events accepted by then
    double back_after_s = 0;
    std::uint64_t lost = 0;
    std::uint64_t doubled = 0;
  };
  struct LakeCount {
    std::uint64_t lines = 0;
    std::uint64_t distinct = 0;  // by partition, position and index
    std::uint64_t objects = 0;
  };
  struct Step {
    std::string what{};
    std::string status{};
    double seconds = 0;
  };

  Status make_folder();
  Status start_services();
  Status make_resources();
  Status write_configuration();
  Status prepare();
  Status backfill();
  Status train_once();
  Status feed();
  Status live_effect();
  Status settle();
  Status retrain();
  Status look_back();

  // One stage: its name, what runs, and a line when it is done. Seconds are kept by name.
  Status stage(const std::string& name, const std::string& title, Status (Demo::*work)());
  void done(std::string line) { done_ = std::move(line); }
  // A command of this program with the demo's configuration; its one JSON document.
  Result<std::string> command(const std::vector<std::string>& words, const std::string& log);
  [[nodiscard]] ChildProcess::Options child(const std::vector<std::string>& words,
                                            const std::string& log) const;
  Status wait_for_active(const std::string& what,
                         const std::function<Result<ResourceState>()>& describe);
  Result<std::vector<std::string>> recommended(const std::string& user, std::int32_t results);
  Result<LakeCount> count_lake();
  Status start_run();
  [[nodiscard]] std::uint64_t distinct_in_model() const;
  [[nodiscard]] std::string path(const std::string& name) const {
    return (folder_ / name).string();
  }
  void saw_rss(std::int64_t kib) { rss_kib_max_ = std::max(rss_kib_max_, kib); }

  DemoOptions options_;
  CommandContext& context_;
  Progress progress_;
  std::filesystem::path folder_;
  std::string done_{};
  std::vector<std::pair<std::string, double>> seconds_{};
  std::int64_t rss_kib_max_ = 0;

  Log services_log_;  // of the embedded services: only what is wrong
  std::unique_ptr<LocalServices> services_{};
  CommandContext local_context_;  // ours, with the demo's keys in its environment
  std::unique_ptr<AwsStack> aws_{};
  std::unique_ptr<AwsClient> control_client_{};
  std::unique_ptr<AwsClient> runtime_client_{};
  std::unique_ptr<PersonalizeApi> personalize_{};
  std::unique_ptr<PersonalizeRuntimeApi> runtime_{};

  DemoData data_{};
  std::string dataset_arn_{};
  std::string solution_arn_{};
  std::string solution_version_arn_{};
  std::string campaign_arn_{};
  std::string tracking_id_{};
  std::uint16_t status_port_ = 0;

  std::optional<ChildProcess> run_{};  // the service, from `feed` to `settle`
  std::uint64_t rows_backfilled_ = 0;
  std::uint64_t rows_rejected_ = 0;
  std::uint64_t produced_ = 0;
  std::uint64_t live_effect_events_ = 0;
  std::uint64_t dead_lettered_ = 0;
  Kill kill_{};
  LakeCount lake_{};
  std::uint64_t in_model_ = 0;  // distinct live events that PutEvents has taken
  std::vector<std::string> before_{};
  std::vector<std::string> after_{};
  std::vector<std::string> three_items_{};
  std::string effect_user_{};
  double effect_seconds_ = 0;
  std::uint64_t csv_rows_ = 0;
  std::vector<Step> timeline_{};
  std::string import_status_{};
  std::string version_status_{};
  std::string batch_status_{};
  std::string batch_line_{};
  std::map<std::string, std::vector<std::string>> recommendations_{};
  ComparedMetrics metrics_{};
};

}  // namespace millrace
