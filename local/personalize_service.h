// Amazon Personalize in one process: the control plane, PutEvents and the campaigns, with models
// that are really trained on what was imported and streamed.
//
// It speaks the service's own protocols (Amazon Personalize API Reference; awsJson 1.1 at POST /
// with X-Amz-Target AmazonPersonalize.<Operation>, rest-json at /events, /users, /items,
// /recommendations and /personalize-ranking), so unmodified AWS clients work against it. What it
// does not imitate it refuses by name; docs/emulator.md lists it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "core/log.h"
#include "core/result.h"
#include "local/http_service.h"

namespace millrace {

struct PersonalizeServiceOptions {
  std::string region = "us-east-1";      // of the ARNs it makes
  std::string account = "123456789012";  // the same: 12 digits

  /// Everything is kept here across restarts: resources, interactions, models. Empty: in memory
  /// only. One process at a time (a lock file says so).
  std::filesystem::path state_folder{};

  /// Where `s3://bucket/key` of imports and batch jobs lies on this machine. A bucket that is not
  /// named here does not exist. `file:///` locations are taken as they are, which the real service
  /// does not do.
  std::map<std::string, std::filesystem::path> bucket_folders{};

  /// How long the asynchronous steps take beside the real service's: 1.0 is minutes to half an
  /// hour, 0 is as long as the work itself needs. A status is never ACTIVE before its work is done.
  double time_scale = 1.0;

  /// Imports, trainings and batch jobs run on one background thread; false: inside the call that
  /// starts them, for simulations and tests that want no thread.
  bool background = true;

  /// Interactions kept in memory, all datasets together (32 bytes each, ids extra). An import
  /// beyond it fails with that reason, PutEvents beyond it is refused as ServiceUnavailable.
  std::size_t interactions_max = 30'000'000;

  std::size_t body_bytes_max = 2u << 20;  // of one request; more is refused

  /// PutEvents calls a second of one dataset group (the real quota is 1,000); 0 is no limit. Above
  /// it: ThrottlingException, status 400.
  double put_events_calls_per_second_max = 0;
  /// Calls a second of each control-plane operation (the real quota is 1); 0 is no limit.
  double control_calls_per_second_max = 0;

  /// Times in CSV cells and `sentAt` that can only be milliseconds (above 4·10⁹) are refused.
  /// What the real service does with them is not documented; false accepts them with a warning.
  bool seconds_only = true;

  std::uint64_t seed = 1;  // of ids, held-out users and training; the same seed, the same models
};

/// What a model does on interactions it was not trained on, by the definitions of the developer
/// guide's page "Evaluating a solution version with metrics".
struct OfflineMetrics {
  double coverage = 0;  // share of all items that appear in anybody's first 25
  double mean_reciprocal_rank_at_25 = 0;
  double ndcg_at_5 = 0;
  double ndcg_at_10 = 0;
  double ndcg_at_25 = 0;
  double precision_at_5 = 0;
  double precision_at_10 = 0;
  double precision_at_25 = 0;
  std::size_t users = 0;  // whose newest interactions were held out
};

/// A model beside "the most popular items for everybody", measured on the same held-out
/// interactions, with the same candidates, by the same code.
struct ComparedMetrics {
  OfflineMetrics model{};
  OfflineMetrics popularity{};
};

/// What PutEvents has taken since open(): for tests and for the books of `demo`.
struct PutEventsCounts {
  std::uint64_t calls = 0;     // answered 200
  std::uint64_t events = 0;    // in those calls
  std::uint64_t repeated = 0;  // of these, with an eventId seen before: not used again
  std::uint64_t refused = 0;   // calls answered 4xx or 5xx
};

/// Threads: handle() and everything else may be called from any; handle() never waits for
/// background work. One object owns its state folder.
class PersonalizeService final : public HttpService {
 public:
  /// Opens or makes the state folder; jobs that a crash interrupted are started again. `clock` and
  /// `log` must outlive the service. `conflict` when another process has the folder, `corrupt`
  /// when its documents cannot be read.
  static Result<std::unique_ptr<PersonalizeService>> open(PersonalizeServiceOptions options,
                                                          const ServiceClock& clock,
                                                          const Log& log);
  ~PersonalizeService() override;
  PersonalizeService(const PersonalizeService&) = delete;
  PersonalizeService& operator=(const PersonalizeService&) = delete;

  HttpResponse handle(const HttpRequest& request) override;

  /// Blocks until no import, training or batch job waits or runs. Statuses may still wait for time.
  void wait_for_work();

  /// Of an ACTIVE solution version. GetSolutionMetrics gives only the model's half.
  [[nodiscard]] Result<ComparedMetrics> metrics(const std::string& solution_version_arn) const;

  [[nodiscard]] PutEventsCounts put_events_counts() const;

 private:
  class Impl;
  explicit PersonalizeService(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace
