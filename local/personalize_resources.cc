#include "local/personalize_resources.h"

#include <algorithm>
#include <array>

namespace millrace {
namespace {

using nlohmann::json;

// Durations at time scale 1 are of the order that AWS's own sample notebooks show.
constexpr std::array kKinds = {
    ResourceKind{"schema", "schema", "schemas", "name", "", "domain", -1, 0, false},
    ResourceKind{"datasetGroup", "dataset group", "datasetGroups", "name", "", "domain", 2, 8},
    ResourceKind{"dataset", "dataset", "datasets", "name", "datasetGroupArn", "datasetType", 2, 8},
    ResourceKind{"eventTracker", "event tracker", "eventTrackers", "name", "datasetGroupArn", "", 2,
                 8},
    ResourceKind{"datasetImportJob", "dataset import job", "datasetImportJobs", "jobName",
                 "datasetArn", "importMode", 30, 270},
    ResourceKind{"datasetExportJob", "dataset export job", "datasetExportJobs", "jobName",
                 "datasetArn", "", 30, 270},
    ResourceKind{"solution", "solution", "solutions", "name", "datasetGroupArn", "recipeArn", 2, 4},
    ResourceKind{"solutionVersion", "solution version", "solutionVersions", "name", "solutionArn",
                 "trainingMode, trainingType", 30, 1470},
    ResourceKind{"campaign", "campaign", "campaigns", "name", "solutionArn", "", 30, 450},
    ResourceKind{"batchInferenceJob", "batch inference job", "batchInferenceJobs", "jobName",
                 "solutionVersionArn", "solutionVersionArn, batchInferenceJobMode", 30, 870},
};

double seconds_of(std::int64_t ms) { return static_cast<double>(ms) / 1000.0; }

void add_times(json& reply, const Resource& resource, std::int64_t now_ms) {
  reply["creationDateTime"] = seconds_of(resource.created_ms);
  reply["lastUpdatedDateTime"] = seconds_of(resource.last_updated_ms(now_ms));
}

}  // namespace

const ResourceKind* resource_kind(std::string_view name) {
  for (const ResourceKind& kind : kKinds) {
    if (kind.name == name) return &kind;
  }
  return nullptr;
}

std::string Resource::status(std::int64_t now_ms) const {
  if (deleting_ms > 0) {
    return now_ms < (deleting_ms + gone_ms) / 2 ? "DELETE PENDING" : "DELETE IN_PROGRESS";
  }
  if (stopping_ms > 0) return now_ms < stopped_ms ? "CREATE STOPPING" : "CREATE STOPPED";
  if (now_ms < started_ms) return "CREATE PENDING";
  if (work == Work::waiting || now_ms < ready_ms) return "CREATE IN_PROGRESS";
  return work == Work::failed ? "CREATE FAILED" : "ACTIVE";
}

bool Resource::unfinished(std::int64_t now_ms) const {
  const auto is = status(now_ms);
  return is == "CREATE PENDING" || is == "CREATE IN_PROGRESS";
}

std::int64_t Resource::last_updated_ms(std::int64_t now_ms) const {
  std::int64_t last = created_ms;
  for (const std::int64_t change :
       {started_ms, std::max(ready_ms, worked_ms), stopping_ms, stopped_ms, deleting_ms, updated_ms,
        update_started_ms, update_ready_ms}) {
    if (change <= now_ms) last = std::max(last, change);
  }
  return last;
}

json Resource::described(std::int64_t now_ms) const {
  json reply = body;
  reply[std::string(kind->name_member)] = name;
  reply[arn_member()] = arn;
  add_times(reply, *this, now_ms);
  if (kind->pending_seconds < 0) return reply;
  const auto is = status(now_ms);
  reply["status"] = is;
  if (is == "CREATE FAILED" && kind->name != "solution") reply["failureReason"] = failure;
  if (kind->name == "solutionVersion" && is != "ACTIVE") reply.erase("trainingHours");
  if (!update.is_null()) {
    json latest = update;
    latest["status"] = now_ms < update_started_ms ? "CREATE PENDING"
                       : now_ms < update_ready_ms ? "CREATE IN_PROGRESS"
                                                  : "ACTIVE";
    latest["creationDateTime"] = seconds_of(updated_ms);
    latest["lastUpdatedDateTime"] = seconds_of(now_ms < update_started_ms ? updated_ms
                                               : now_ms < update_ready_ms ? update_started_ms
                                                                          : update_ready_ms);
    reply[kind->name == "campaign" ? "latestCampaignUpdate" : "latestSolutionUpdate"] = latest;
  }
  return reply;
}

json Resource::summarised(std::int64_t now_ms) const {
  const json whole = described(now_ms);
  json reply = json::object();
  for (const auto& member : {arn_member(), std::string("status"), std::string("failureReason"),
                             std::string("creationDateTime"), std::string("lastUpdatedDateTime")}) {
    if (whole.contains(member)) reply[member] = whole[member];
  }
  // Only the summaries of solution versions have no name.
  if (kind->name != "solutionVersion") reply[std::string(kind->name_member)] = name;
  for (std::string_view rest = kind->summary; !rest.empty();) {
    const auto comma = rest.find(", ");
    const std::string member(rest.substr(0, comma));
    rest = comma == std::string_view::npos ? std::string_view{} : rest.substr(comma + 2);
    if (whole.contains(member)) reply[member] = whole[member];
  }
  return reply;
}

Resource& ResourceBook::add(Resource resource) {
  resource.sequence = next_sequence_++;
  const std::string arn = resource.arn;
  return by_arn_.insert_or_assign(arn, std::move(resource)).first->second;
}

Resource* ResourceBook::find(std::string_view arn) {
  const auto found = by_arn_.find(arn);
  return found == by_arn_.end() ? nullptr : &found->second;
}

const Resource* ResourceBook::find(std::string_view arn) const {
  const auto found = by_arn_.find(arn);
  return found == by_arn_.end() ? nullptr : &found->second;
}

void ResourceBook::remove(const std::string& arn) { by_arn_.erase(arn); }

std::vector<Resource*> ResourceBook::all(std::string_view kind) {
  std::vector<Resource*> found;
  for (auto& [arn, resource] : by_arn_) {
    if (resource.kind->name == kind) found.push_back(&resource);
  }
  std::sort(found.begin(), found.end(),
            [](const Resource* a, const Resource* b) { return a->sequence < b->sequence; });
  return found;
}

std::string ResourceBook::to_json() const {
  json list = json::array();
  for (const auto& [arn, one] : by_arn_) {
    list.push_back({{"kind", one.kind->name},
                    {"sequence", one.sequence},
                    {"arn", one.arn},
                    {"name", one.name},
                    {"group", one.group},
                    {"body", one.body},
                    {"tags", one.tags},
                    {"own", one.own},
                    {"work", static_cast<int>(one.work)},
                    {"failure", one.failure},
                    {"times",
                     {one.created_ms, one.started_ms, one.ready_ms, one.worked_ms, one.stopping_ms,
                      one.stopped_ms, one.deleting_ms, one.gone_ms, one.updated_ms,
                      one.update_started_ms, one.update_ready_ms}},
                    {"update", one.update},
                    {"update_applied", one.update_applied}});
  }
  const json document = {
      {"format", "millrace-personalize-1"}, {"next_sequence", next_sequence_}, {"resources", list}};
  return document.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

Result<ResourceBook> ResourceBook::from_json(std::string_view text) {
  try {
    const json document = json::parse(text);
    if (document.at("format") != "millrace-personalize-1") {
      return fail(ErrorKind::corrupt, "the format is not millrace-personalize-1");
    }
    ResourceBook book;
    book.next_sequence_ = document.at("next_sequence").get<std::uint64_t>();
    for (const json& from : document.at("resources")) {
      Resource one;
      one.kind = resource_kind(from.at("kind").get<std::string>());
      const int work = from.at("work").get<int>();
      if (one.kind == nullptr || work < 0 || work > static_cast<int>(Work::failed)) {
        return fail(ErrorKind::corrupt, "a resource of an unknown kind");
      }
      one.work = static_cast<Work>(work);
      one.sequence = from.at("sequence").get<std::uint64_t>();
      one.arn = from.at("arn").get<std::string>();
      one.name = from.at("name").get<std::string>();
      one.group = from.at("group").get<std::string>();
      one.body = from.at("body");
      one.tags = from.at("tags");
      one.own = from.at("own");
      one.failure = from.at("failure").get<std::string>();
      one.update = from.at("update");
      one.update_applied = from.at("update_applied").get<bool>();
      std::size_t i = 0;
      for (std::int64_t* time : {&one.created_ms, &one.started_ms, &one.ready_ms, &one.worked_ms,
                                 &one.stopping_ms, &one.stopped_ms, &one.deleting_ms, &one.gone_ms,
                                 &one.updated_ms, &one.update_started_ms, &one.update_ready_ms}) {
        *time = from.at("times").at(i++).get<std::int64_t>();
      }
      const std::string arn = one.arn;
      book.by_arn_.emplace(arn, std::move(one));
    }
    return book;
  } catch (const json::exception& error) {
    return fail(ErrorKind::corrupt, error.what());
  }
}

}  // namespace millrace
