// The resources of Personalize's control plane, their statuses over time, and the document that
// keeps them across restarts.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace millrace {

/// What all resources of one kind have in common.
struct ResourceKind {
  std::string_view name{};         // "datasetImportJob": the member of Describe's reply
  std::string_view words{};        // "dataset import job": in messages
  std::string_view list_member{};  // "datasetImportJobs": the member of List's reply
  std::string_view name_member{};  // "jobName" or "name"
  std::string_view parent{};       // the member lists filter by; empty: no filter
  std::string_view summary{};      // members of the body that a list shows, joined by ", "
  double pending_seconds = 0;      // at time scale 1; below 0: the kind has no status
  double working_seconds = 0;
  bool taggable = true;
};

/// Nothing for an unknown name.
const ResourceKind* resource_kind(std::string_view name);

enum class Work { none, waiting, done, failed };

struct Resource {
  const ResourceKind* kind = nullptr;
  std::uint64_t sequence = 0;  // order of creation, never used again
  std::string arn{};
  std::string name{};
  std::string group{};  // ARN of the dataset group it belongs to; empty where that has no meaning
  nlohmann::json body = nlohmann::json::object();  // what Describe shows, but name, status, times
  nlohmann::json tags = nlohmann::json::array();
  nlohmann::json own = nlohmann::json::object();  // ours alone, never shown

  // Unix milliseconds; 0: did not happen.
  std::int64_t created_ms = 0;
  std::int64_t started_ms = 0;  // CREATE PENDING ends
  std::int64_t ready_ms = 0;    // CREATE IN_PROGRESS ends, if the work is done
  std::int64_t worked_ms = 0;   // when the work was done
  Work work = Work::none;
  std::string failure{};
  std::int64_t stopping_ms = 0;
  std::int64_t stopped_ms = 0;
  std::int64_t deleting_ms = 0;
  std::int64_t gone_ms = 0;

  // The newest update of a campaign or solution: what it sets, and when it takes effect.
  nlohmann::json update = nullptr;
  std::int64_t updated_ms = 0;
  std::int64_t update_started_ms = 0;
  std::int64_t update_ready_ms = 0;
  bool update_applied = true;

  [[nodiscard]] std::string status(std::int64_t now_ms) const;
  [[nodiscard]] bool active(std::int64_t now_ms) const { return status(now_ms) == "ACTIVE"; }
  [[nodiscard]] bool unfinished(std::int64_t now_ms) const;  // PENDING or IN_PROGRESS
  [[nodiscard]] std::int64_t last_updated_ms(std::int64_t now_ms) const;
  [[nodiscard]] std::string arn_member() const { return std::string(kind->name) + "Arn"; }

  /// As Describe gives it, and as a list does.
  [[nodiscard]] nlohmann::json described(std::int64_t now_ms) const;
  [[nodiscard]] nlohmann::json summarised(std::int64_t now_ms) const;
};

/// Not thread-safe. References to resources stay valid until they are removed.
class ResourceBook {
 public:
  Resource& add(Resource resource);  // gives it its sequence number
  [[nodiscard]] Resource* find(std::string_view arn);
  [[nodiscard]] const Resource* find(std::string_view arn) const;
  void remove(const std::string& arn);

  /// In order of creation.
  [[nodiscard]] std::vector<Resource*> all(std::string_view kind);

  [[nodiscard]] std::uint64_t next_sequence() const { return next_sequence_; }

  [[nodiscard]] std::string to_json() const;
  static Result<ResourceBook> from_json(std::string_view text);

 private:
  std::map<std::string, Resource, std::less<>> by_arn_{};
  std::uint64_t next_sequence_ = 1;
};

}  // namespace millrace
