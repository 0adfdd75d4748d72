// The inside of PersonalizeService, shared by its sources: personalize_service.cc (the door, the
// state folder), personalize_control.cc (control plane), personalize_data.cc (events and runtime),
// personalize_jobs.cc (imports, exports, training, batch inference).
#pragma once

#include <condition_variable>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <thread>
#include <tl/expected.hpp>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/rng.h"
#include "events/schema.h"
#include "local/interaction_store.h"
#include "local/personalize_resources.h"
#include "local/personalize_service.h"
#include "local/recommender.h"

namespace millrace {

/// What a client gets instead of a reply. Status 0 stands for the protocol's own: 400 for the
/// control plane whatever the type, 404 and 409 for the data plane's modelled ones.
struct ApiError {
  std::string type{};
  std::string message{};
  int status = 0;
};
using Answer = tl::expected<nlohmann::json, ApiError>;

inline tl::unexpected<ApiError> refuse(std::string type, std::string message, int status = 0) {
  return tl::unexpected(ApiError{std::move(type), std::move(message), status});
}
inline tl::unexpected<ApiError> invalid_input(std::string message) {
  return refuse("InvalidInputException", std::move(message));
}

class PersonalizeService::Impl {
 public:
  Impl(PersonalizeServiceOptions options, const ServiceClock& clock, const Log& log);
  ~Impl();

  Status start();  // reads the state folder, queues what a crash interrupted
  HttpResponse handle(const HttpRequest& request);
  void wait_for_work();
  [[nodiscard]] Result<ComparedMetrics> metrics(const std::string& solution_version_arn);
  [[nodiscard]] PutEventsCounts counts();

 private:
  using json = nlohmann::json;

  /// A column that PutEvents fills from `properties`.
  struct PropertyColumn {
    Column column{};
    std::string key{};  // in camel case
  };
  struct Dataset {
    std::string arn{};
    std::string type{};  // "INTERACTIONS"
    std::vector<Column> columns{};
    std::vector<PropertyColumn> properties{};
    bool has_event_type = false;
    bool has_event_value = false;
    bool event_value_required = false;
    std::filesystem::path folder{};  // empty: in memory
    std::unique_ptr<InteractionStore> store{};
    std::map<std::string, std::string> records{};  // of Items and Users: id to canonical text
  };
  struct Tracker {
    std::string arn{};
    std::string dataset_arn{};
  };
  /// A token bucket of one second's depth.
  struct Pace {
    double tokens = 0;
    std::int64_t at_ms = 0;
  };
  struct Fresh {
    std::vector<std::string> items{};
    std::vector<FreshInteraction> interactions{};
  };

  // --- the door (personalize_service.cc)
  HttpResponse handle_control(const HttpRequest& request);
  HttpResponse handle_data(const HttpRequest& request, std::string_view path);
  [[nodiscard]] std::int64_t now_ms() const { return unix_ms(clock_.now()); }
  [[nodiscard]] bool paced(Pace& pace, double per_second, std::int64_t now) const;
  std::string uuid();
  std::string hex(std::size_t digits);
  Status save();  // under the lock
  Status open_dataset(const Resource& resource);
  void settle(std::int64_t now);  // deletions and updates whose time has come

  // --- control plane (personalize_control.cc), all under the lock
  Answer control(std::string_view operation, const json& input, std::int64_t now);
  Answer create_schema(const json& input, std::int64_t now);
  Answer create_dataset_group(const json& input, std::int64_t now);
  Answer create_dataset(const json& input, std::int64_t now);
  Answer create_event_tracker(const json& input, std::int64_t now);
  Answer create_import_job(const json& input, std::int64_t now);
  Answer create_export_job(const json& input, std::int64_t now);
  Answer create_solution(const json& input, std::int64_t now);
  Answer update_solution(const json& input, std::int64_t now);
  Answer create_solution_version(const json& input, std::int64_t now);
  Answer stop_solution_version(const json& input, std::int64_t now);
  Answer create_campaign(const json& input, std::int64_t now);
  Answer update_campaign(const json& input, std::int64_t now);
  Answer create_batch_inference_job(const json& input, std::int64_t now);
  Answer describe(std::string_view kind, const json& input, std::int64_t now);
  Answer list(std::string_view operation, const json& input, std::int64_t now);
  Answer remove(std::string_view kind, const json& input, std::int64_t now);
  Answer solution_metrics(const json& input, std::int64_t now);
  Answer tag(std::string_view operation, const json& input, std::int64_t now);
  /// The resource of that ARN, of that kind, there and ACTIVE; else the error.
  tl::expected<Resource*, ApiError> active(std::string_view kind, const std::string& arn,
                                           std::int64_t now);
  tl::expected<Resource*, ApiError> present(std::string_view kind, const std::string& arn);
  /// A solution version, also as `<solution>/$LATEST`.
  tl::expected<Resource*, ApiError> active_version(const std::string& arn, std::int64_t now);
  [[nodiscard]] std::string arn_of(std::string_view tail) const;
  [[nodiscard]] std::size_t unfinished(std::string_view kind, std::int64_t now);
  /// Adds, saves, queues its work, and gives `{"<kind>Arn": …}`.
  Answer created(Resource resource, const json& input, std::int64_t now, bool has_work);

  // --- events and runtime (personalize_data.cc)
  tl::expected<void, ApiError> put_events(const std::string& body);
  Answer put_records(const std::string& body, std::string_view type);
  Answer recommendations(const std::string& body);
  Answer ranking(const std::string& body);
  Fresh fresh_of(const Resource& version, std::string_view user_id);  // under the lock

  // --- jobs (personalize_jobs.cc), on the worker's thread, without the lock
  void work_until_stopped();
  void work_on(const std::string& arn);
  std::string run_import(const Resource& job);
  std::string run_export(const Resource& job);
  std::string run_training(const Resource& version);
  std::string run_batch(const Resource& job);
  tl::expected<std::filesystem::path, std::string> local_path(const std::string& location) const;
  /// Null when it cannot be read. Under the lock.
  std::shared_ptr<const Recommender> model_of(const Resource& version);
  void forget_idle_models();  // under the lock
  [[nodiscard]] std::filesystem::path model_path(const Resource& version) const;

  PersonalizeServiceOptions options_;
  const ServiceClock& clock_;
  const Log& log_;

  std::mutex mutex_;  // guards all below
  std::condition_variable changed_;
  ResourceBook book_{};
  std::map<std::string, std::shared_ptr<Dataset>, std::less<>> datasets_{};
  std::unordered_map<std::string, Tracker> trackers_{};                 // by tracking id
  std::map<std::string, std::shared_ptr<const Recommender>> models_{};  // by version ARN
  std::map<std::string, Pace, std::less<>> paces_{};  // by operation or dataset group
  PutEventsCounts counts_{};
  Rng rng_;
  std::deque<std::string> queue_{};  // ARNs; bounded by the quotas of unfinished jobs
  bool working_ = false;
  bool stopping_ = false;
  int lock_file_ = -1;
  std::thread worker_{};
};

}  // namespace millrace
