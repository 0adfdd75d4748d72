#include "local/personalize_service.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>

#include "core/check.h"
#include "local/personalize_impl.h"
#include "local/personalize_shapes.h"

namespace millrace {
namespace {

using json = nlohmann::json;

constexpr std::string_view kControlType = "application/x-amz-json-1.1";
constexpr std::string_view kDataType = "application/json";
constexpr std::string_view kTargetPrefix = "AmazonPersonalize.";

/// "/events" of "https://host/events?x".
std::string_view path_of(std::string_view url) {
  if (const auto scheme = url.find("://"); scheme != std::string_view::npos) {
    const auto slash = url.find('/', scheme + 3);
    url = slash == std::string_view::npos ? "/" : url.substr(slash);
  }
  return url.substr(0, url.find('?'));
}

std::string_view header_of(const HttpRequest& request, std::string_view name) {
  const auto same = [](char a, char b) {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
    return lower(a) == lower(b);
  };
  for (const HttpHeader& header : request.headers) {
    if (std::equal(header.name.begin(), header.name.end(), name.begin(), name.end(), same)) {
      return header.value;
    }
  }
  return {};
}

/// Deeper than any input of any operation; a library that recurses must not see it.
bool nested_too_deeply(std::string_view text) {
  constexpr int kDepthMax = 32;
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kDepthMax) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

/// A member that is null is one that is not there.
void drop_nulls(json& value) {
  if (value.is_object()) {
    for (auto member = value.begin(); member != value.end();) {
      if (member->is_null()) {
        member = value.erase(member);
      } else {
        drop_nulls(*member++);
      }
    }
  } else if (value.is_array()) {
    for (json& element : value) drop_nulls(element);
  }
}

int status_of(const ApiError& error, bool control) {
  if (error.status != 0) return error.status;
  if (!control && error.type == "ResourceNotFoundException") return 404;
  if (!control && error.type == "ResourceInUseException") return 409;
  return 400;
}

HttpResponse reply_of(const Answer& answer, bool control, const std::string& request_id) {
  HttpResponse response;
  response.headers.push_back({"Content-Type", std::string(control ? kControlType : kDataType)});
  response.headers.push_back({"x-amzn-RequestId", request_id});
  if (answer) {
    response.status = 200;
    if (!answer->is_null()) {
      response.body = answer->dump(-1, ' ', false, json::error_handler_t::replace);
    }
    return response;
  }
  const ApiError& error = answer.error();
  response.status = status_of(error, control);
  response.headers.push_back({"x-amzn-ErrorType", error.type});
  json body = {{"message", error.message}};
  if (control) body["__type"] = error.type;
  response.body = body.dump(-1, ' ', false, json::error_handler_t::replace);
  return response;
}

}  // namespace

PersonalizeService::PersonalizeService(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PersonalizeService::~PersonalizeService() = default;

Result<std::unique_ptr<PersonalizeService>> PersonalizeService::open(
    PersonalizeServiceOptions options, const ServiceClock& clock, const Log& log) {
  auto impl = std::make_unique<Impl>(std::move(options), clock, log);
  if (auto status = impl->start(); !status) return tl::unexpected(status.error());
  return std::unique_ptr<PersonalizeService>(new PersonalizeService(std::move(impl)));
}

HttpResponse PersonalizeService::handle(const HttpRequest& request) {
  return impl_->handle(request);
}
void PersonalizeService::wait_for_work() { impl_->wait_for_work(); }
Result<ComparedMetrics> PersonalizeService::metrics(const std::string& solution_version_arn) const {
  return impl_->metrics(solution_version_arn);
}
PutEventsCounts PersonalizeService::put_events_counts() const { return impl_->counts(); }

PersonalizeService::Impl::Impl(PersonalizeServiceOptions options, const ServiceClock& clock,
                               const Log& log)
    : options_(std::move(options)), clock_(clock), log_(log), rng_(options_.seed) {}

PersonalizeService::Impl::~Impl() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (worker_.joinable()) worker_.join();
  if (lock_file_ >= 0) ::close(lock_file_);
}

Status PersonalizeService::Impl::start() {
  if (!options_.state_folder.empty()) {
    std::error_code error;
    std::filesystem::create_directories(options_.state_folder / "models", error);
    if (error) {
      return fail(ErrorKind::denied,
                  fmt::format("creating {}: {}", options_.state_folder.string(), error.message()));
    }
    const auto lock_path = options_.state_folder / "lock";
    lock_file_ = ::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (lock_file_ < 0) return fail(ErrorKind::denied, "opening " + lock_path.string());
    if (::flock(lock_file_, LOCK_EX | LOCK_NB) != 0) {
      return fail(ErrorKind::conflict, options_.state_folder.string() +
                                           " is in use by another emulator; stop it or choose "
                                           "another folder");
    }
    const auto path = options_.state_folder / "resources.json";
    auto text = read_file(path);
    if (text) {
      auto book = ResourceBook::from_json(*text);
      if (!book) {
        return tl::unexpected(book.error().while_doing(
            "reading " + path.string() + " (start with an empty state folder to go on)"));
      }
      book_ = std::move(*book);
    } else if (text.error().kind != ErrorKind::not_found) {
      return tl::unexpected(text.error());
    }
  }
  // Ids go on where the last run stopped: the same seed must not make the same tracker twice.
  rng_ = Rng(options_.seed * 1'000'003 + book_.next_sequence());

  const std::int64_t now = now_ms();
  settle(now);
  for (const Resource* dataset : book_.all("dataset")) {
    if (auto status = open_dataset(*dataset); !status) return status;
  }
  for (const Resource* tracker : book_.all("eventTracker")) {
    trackers_[tracker->body.value("trackingId", "")] = {
        tracker->arn, arn_of("dataset/" + tracker->own.value("group_name", "") + "/INTERACTIONS")};
  }
  for (const std::string_view kind :
       {"datasetImportJob", "datasetExportJob", "solutionVersion", "batchInferenceJob"}) {
    for (Resource* job : book_.all(kind)) {
      // A model that is gone or cut in half is trained again.
      if (kind == "solutionVersion" && job->work == Work::done && job->stopping_ms == 0 &&
          model_of(*job) == nullptr) {
        job->work = Work::waiting;
      }
      if (job->work == Work::waiting && job->stopping_ms == 0) queue_.push_back(job->arn);
    }
  }
  forget_idle_models();
  if (!queue_.empty()) {
    log_.info("interrupted jobs of the embedded personalize start again",
              {{"jobs", queue_.size()}});
  }
  if (options_.background) {
    worker_ = std::thread([this] { work_until_stopped(); });
  }
  return {};
}

Status PersonalizeService::Impl::open_dataset(const Resource& resource) {
  auto dataset = std::make_shared<Dataset>();
  dataset->arn = resource.arn;
  dataset->type = resource.body.value("datasetType", "");
  const Resource* schema = book_.find(resource.body.value("schemaArn", ""));
  if (schema == nullptr) return fail(ErrorKind::corrupt, resource.arn + " has no schema");
  auto columns = parse_schema(schema->body.value("schema", ""));
  if (!columns) return tl::unexpected(columns.error());
  dataset->columns = std::move(*columns);
  for (const Column& column : dataset->columns) {
    if (column.name == "EVENT_TYPE") {
      dataset->has_event_type = true;
    } else if (column.name == "EVENT_VALUE") {
      dataset->has_event_value = true;
      dataset->event_value_required = !column.nullable;
    } else if (column.name != "USER_ID" && column.name != "ITEM_ID" && column.name != "TIMESTAMP") {
      dataset->properties.push_back({column, camel_case(column.name)});
    }
  }
  if (options_.state_folder.empty()) {
    dataset->store = std::make_unique<InteractionStore>();
  } else {
    dataset->folder = options_.state_folder / "datasets" / fmt::format("{}", resource.sequence);
    auto store = InteractionStore::open(dataset->folder,
                                        resource.own.value("bulk", std::vector<std::string>{}));
    if (!store) return tl::unexpected(store.error());
    dataset->store = std::move(*store);
    if (auto text = read_file(dataset->folder / "records.json")) {
      const json records = json::parse(*text, nullptr, false);
      if (records.is_object()) {
        for (const auto& [id, value] : records.items()) {
          if (value.is_string()) dataset->records[id] = value.get<std::string>();
        }
      }
    }
  }
  datasets_[resource.arn] = std::move(dataset);
  return {};
}

Status PersonalizeService::Impl::save() {
  if (options_.state_folder.empty()) return {};
  auto status = replace_file(options_.state_folder / "resources.json", book_.to_json());
  if (!status) {
    log_.error("the embedded personalize could not keep its state",
               {{"reason", status.error().message}});
  }
  return status;
}

void PersonalizeService::Impl::settle(std::int64_t now) {
  bool changed = false;
  std::vector<std::string> gone;
  for (const std::string_view kind :
       {"datasetGroup", "dataset", "eventTracker", "solution", "solutionVersion", "campaign"}) {
    for (Resource* resource : book_.all(kind)) {
      if (resource->deleting_ms > 0 && now >= resource->gone_ms) gone.push_back(resource->arn);
      if (!resource->update_applied && now >= resource->update_ready_ms) {
        for (const auto& [member, value] : resource->own["updating"].items()) {
          resource->body[member] = value;
        }
        resource->own.erase("updating");
        resource->update_applied = true;
        changed = true;
      }
    }
  }
  std::error_code ignored;
  for (const std::string& arn : gone) {
    const Resource& resource = *book_.find(arn);
    if (resource.kind->name == "eventTracker") {
      trackers_.erase(resource.body.value("trackingId", ""));
    } else if (resource.kind->name == "dataset") {
      if (const auto found = datasets_.find(arn); found != datasets_.end()) {
        if (!found->second->folder.empty()) {
          std::filesystem::remove_all(found->second->folder, ignored);
        }
        datasets_.erase(found);
      }
    } else if (resource.kind->name == "solutionVersion") {
      models_.erase(arn);
      if (!options_.state_folder.empty()) std::filesystem::remove(model_path(resource), ignored);
    }
    book_.remove(arn);
    changed = true;
  }
  if (changed) static_cast<void>(save());  // logged there; the next change saves again
}

bool PersonalizeService::Impl::paced(Pace& pace, double per_second, std::int64_t now) const {
  if (per_second <= 0) return true;
  const double depth = std::max(1.0, per_second);
  if (pace.at_ms == 0) {
    pace.tokens = depth;
  } else if (now > pace.at_ms) {
    const double elapsed = static_cast<double>(now - pace.at_ms) / 1000.0;
    pace.tokens = std::min(depth, pace.tokens + elapsed * per_second);
  }
  pace.at_ms = std::max(pace.at_ms, now);
  if (pace.tokens < 1) return false;
  pace.tokens -= 1;
  return true;
}

std::string PersonalizeService::Impl::hex(std::size_t digits) {
  std::string text;
  while (text.size() < digits) text += "0123456789abcdef"[rng_.below(16)];
  return text;
}

std::string PersonalizeService::Impl::uuid() {
  return fmt::format("{}-{}-4{}-{}{}-{}", hex(8), hex(4), hex(3), "89ab"[rng_.below(4)], hex(3),
                     hex(12));
}

HttpResponse PersonalizeService::Impl::handle(const HttpRequest& request) {
  const auto path = path_of(request.url);
  HttpResponse response;
  if (path == "/" && request.method == "POST") {
    response = handle_control(request);
  } else {
    response = handle_data(request, path);
  }
  if (!options_.background) {
    while (true) {
      std::string arn;
      {
        const std::lock_guard lock(mutex_);
        if (queue_.empty()) break;
        arn = queue_.front();
        queue_.pop_front();
      }
      work_on(arn);
    }
  }
  return response;
}

HttpResponse PersonalizeService::Impl::handle_control(const HttpRequest& request) {
  auto operation = header_of(request, "x-amz-target");
  const bool ours = operation.starts_with(kTargetPrefix);
  if (ours) operation.remove_prefix(kTargetPrefix.size());

  const std::lock_guard lock(mutex_);
  const auto request_id = uuid();
  const auto answer = [&]() -> Answer {
    if (!ours || !personalize_operation_known(operation)) {
      return refuse("UnknownOperationException",
                    fmt::format("The embedded Personalize has no operation '{}'", operation));
    }
    if (request.body.size() > options_.body_bytes_max) {
      return refuse("RequestEntityTooLarge",
                    fmt::format("The body is larger than {} bytes", options_.body_bytes_max), 413);
    }
    json input = nested_too_deeply(request.body) ? json(json::value_t::discarded)
                                                 : json::parse(request.body, nullptr, false);
    if (!input.is_object()) {
      return refuse("SerializationException", "The body is not a JSON object");
    }
    const std::int64_t now = now_ms();
    if (!paced(paces_[std::string(operation)], options_.control_calls_per_second_max, now)) {
      return refuse("ThrottlingException", "Rate exceeded");
    }
    if (auto problem = personalize_input_problem(operation, input)) return invalid_input(*problem);
    drop_nulls(input);
    settle(now);
    return control(operation, input, now);
  }();
  return reply_of(answer, true, request_id);
}

HttpResponse PersonalizeService::Impl::handle_data(const HttpRequest& request,
                                                   std::string_view path) {
  const bool events = path == "/events";
  const auto answer = [&]() -> Answer {
    if (request.method != "POST") {
      return refuse("UnknownOperationException",
                    fmt::format("{} {} is no operation of Personalize", request.method, path), 404);
    }
    if (request.body.size() > options_.body_bytes_max) {
      return refuse("RequestEntityTooLarge",
                    fmt::format("The body is larger than {} bytes", options_.body_bytes_max), 413);
    }
    if (nested_too_deeply(request.body)) {
      return refuse("SerializationException", "The body is not a JSON object");
    }
    if (events) {
      if (auto done = put_events(request.body); !done) return tl::unexpected(done.error());
      return json(nullptr);
    }
    if (path == "/items") return put_records(request.body, "ITEMS");
    if (path == "/users") return put_records(request.body, "USERS");
    if (path == "/recommendations") return recommendations(request.body);
    if (path == "/personalize-ranking") return ranking(request.body);
    return refuse("UnknownOperationException",
                  fmt::format("The embedded Personalize has nothing at {}", path), 404);
  }();
  const std::lock_guard lock(mutex_);
  if (events && !answer) ++counts_.refused;
  return reply_of(answer, false, uuid());
}

void PersonalizeService::Impl::wait_for_work() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return (queue_.empty() && !working_) || stopping_; });
}

Result<ComparedMetrics> PersonalizeService::Impl::metrics(const std::string& arn) {
  const std::lock_guard lock(mutex_);
  const Resource* version = book_.find(arn);
  if (version == nullptr || version->kind->name != "solutionVersion") {
    return fail(ErrorKind::not_found, "there is no solution version " + arn);
  }
  if (!version->active(now_ms())) {
    return fail(ErrorKind::conflict, arn + " is " + version->status(now_ms()) + ", not ACTIVE");
  }
  const auto read = [](const json& from) {
    OfflineMetrics metrics;
    metrics.coverage = from.value("coverage", 0.0);
    metrics.mean_reciprocal_rank_at_25 = from.value("mean_reciprocal_rank_at_25", 0.0);
    metrics.ndcg_at_5 = from.value("normalized_discounted_cumulative_gain_at_5", 0.0);
    metrics.ndcg_at_10 = from.value("normalized_discounted_cumulative_gain_at_10", 0.0);
    metrics.ndcg_at_25 = from.value("normalized_discounted_cumulative_gain_at_25", 0.0);
    metrics.precision_at_5 = from.value("precision_at_5", 0.0);
    metrics.precision_at_10 = from.value("precision_at_10", 0.0);
    metrics.precision_at_25 = from.value("precision_at_25", 0.0);
    return metrics;
  };
  ComparedMetrics both{read(version->own["metrics"]), read(version->own["popularity"])};
  both.model.users = both.popularity.users = version->own.value("users_measured", std::size_t{0});
  return both;
}

PutEventsCounts PersonalizeService::Impl::counts() {
  const std::lock_guard lock(mutex_);
  return counts_;
}

}  // namespace millrace
