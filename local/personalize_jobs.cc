// What takes time: imports, exports, training and batch inference. All of it may be done twice: a
// job that a crash interrupted starts again from the beginning and replaces what it left.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>

#include "events/csv_dialect.h"
#include "local/personalize_impl.h"
#include "local/personalize_import.h"

namespace millrace {
namespace {

using json = nlohmann::json;

constexpr std::size_t kTrainingRowsMin = 1000;
constexpr std::size_t kTrainingUsersMin = 25;
constexpr std::size_t kBatchFilesMax = 1000;
constexpr std::size_t kBatchLineBytesMax = 256u << 10;

json metrics_json(const OfflineMetrics& metrics) {
  return {{"coverage", metrics.coverage},
          {"mean_reciprocal_rank_at_25", metrics.mean_reciprocal_rank_at_25},
          {"normalized_discounted_cumulative_gain_at_5", metrics.ndcg_at_5},
          {"normalized_discounted_cumulative_gain_at_10", metrics.ndcg_at_10},
          {"normalized_discounted_cumulative_gain_at_25", metrics.ndcg_at_25},
          {"precision_at_5", metrics.precision_at_5},
          {"precision_at_10", metrics.precision_at_10},
          {"precision_at_25", metrics.precision_at_25}};
}

RecommenderKind kind_of_recipe(const std::string& arn) {
  if (arn.find("/aws-user-personalization") != std::string::npos) {
    return RecommenderKind::user_personalization;
  }
  if (arn.find("/aws-personalized-ranking") != std::string::npos) {
    return RecommenderKind::personalized_ranking;
  }
  if (arn.find("/aws-popularity-count") != std::string::npos) return RecommenderKind::popularity;
  return RecommenderKind::similar_items;
}

/// Anonymous events belong to the user that the same session named later; those of sessions that
/// never did are not trained on.
void join_anonymous(std::vector<InteractionRow>& rows) {
  std::unordered_map<std::uint32_t, std::uint32_t> user_of_session;
  for (const InteractionRow& row : rows) {
    if (row.user != Interner::kNone && row.session != Interner::kNone) {
      user_of_session[row.session] = row.user;
    }
  }
  for (InteractionRow& row : rows) {
    if (row.user != Interner::kNone || row.session == Interner::kNone) continue;
    const auto found = user_of_session.find(row.session);
    if (found != user_of_session.end()) row.user = found->second;
  }
}

auto identity_of(const InteractionRow& row) {
  // NaN is null here, and one null is like another.
  const float value = std::isnan(row.value) ? -std::numeric_limits<float>::infinity() : row.value;
  return std::tuple(row.user, row.item, row.second, row.event_type, row.others, value);
}

/// Equal rows are one interaction, wherever they came from.
void collapse(std::vector<InteractionRow>& rows) {
  std::sort(rows.begin(), rows.end(), [](const InteractionRow& a, const InteractionRow& b) {
    return identity_of(a) < identity_of(b);
  });
  rows.erase(std::unique(rows.begin(), rows.end(),
                         [](const InteractionRow& a, const InteractionRow& b) {
                           return identity_of(a) == identity_of(b);
                         }),
             rows.end());
}

/// Files whose full name begins with `prefix`, as S3 would list keys.
std::vector<std::filesystem::path> files_with_prefix(const std::string& prefix) {
  namespace fs = std::filesystem;
  std::vector<fs::path> files;
  const auto slash = prefix.rfind('/');
  const fs::path folder = slash == std::string::npos ? "." : prefix.substr(0, slash + 1);
  const std::string head = slash == std::string::npos ? prefix : prefix.substr(slash + 1);
  std::error_code error;
  const auto add = [&](const fs::directory_entry& entry) {
    if (entry.is_regular_file(error) && files.size() <= kBatchFilesMax) {
      files.push_back(entry.path());
    }
  };
  for (fs::directory_iterator entries(folder, error), end; !error && entries != end;
       entries.increment(error)) {
    if (!entries->path().filename().string().starts_with(head)) continue;
    add(*entries);
    std::error_code inner;
    if (!entries->is_directory(inner) || entries->is_symlink(inner)) continue;
    for (fs::recursive_directory_iterator below(entries->path(), inner), done;
         !inner && below != done; below.increment(inner)) {
      add(*below);
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string dumped(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string failed_line(const json& input, std::string_view why) {
  return dumped({{"input", input}, {"output", nullptr}, {"error", why}}) + "\n";
}

std::string answered_line(const json& input, const std::vector<ScoredItem>& items) {
  std::string names;
  std::string scores;
  for (const ScoredItem& item : items) {
    if (!names.empty()) names += ',';
    names += dumped(item.item_id);
    if (!item.known) continue;
    if (!scores.empty()) scores += ',';
    scores += fmt::format("{:.7f}", item.score);
  }
  return fmt::format(
      R"({{"input":{},"output":{{"recommendedItems":[{}],"scores":[{}]}},"error":null}})"
      "\n",
      dumped(input), names, scores);
}

}  // namespace

tl::expected<std::filesystem::path, std::string> PersonalizeService::Impl::local_path(
    const std::string& location) const {
  if (location.find("/../") != std::string::npos || location.ends_with("/..")) {
    return tl::unexpected(location + " steps out of its folder");
  }
  if (location.starts_with("file:///")) return std::filesystem::path(location.substr(7));
  if (location.starts_with("s3://")) {
    const auto rest = location.substr(5);
    const auto slash = rest.find('/');
    const auto bucket = options_.bucket_folders.find(rest.substr(0, slash));
    if (bucket != options_.bucket_folders.end() && slash != std::string::npos) {
      return std::filesystem::path(bucket->second.string() + rest.substr(slash));
    }
    return tl::unexpected(fmt::format("the bucket of {} is not mapped to a folder", location));
  }
  return tl::unexpected(location + " is neither s3:// nor file:///");
}

std::filesystem::path PersonalizeService::Impl::model_path(const Resource& version) const {
  return options_.state_folder / "models" / fmt::format("{}.model", version.sequence);
}

std::shared_ptr<const Recommender> PersonalizeService::Impl::model_of(const Resource& version) {
  if (const auto found = models_.find(version.arn); found != models_.end()) return found->second;
  if (options_.state_folder.empty()) return nullptr;
  const auto bytes = read_file(model_path(version));
  if (!bytes) return nullptr;
  auto model = Recommender::from_bytes(*bytes);
  if (!model) {
    log_.warn("a model of the embedded personalize cannot be used",
              {{"file", model_path(version).string()}, {"reason", model.error().message}});
    return nullptr;
  }
  models_[version.arn] = *model;
  return *model;
}

void PersonalizeService::Impl::forget_idle_models() {
  if (options_.state_folder.empty()) return;  // there is no other copy
  std::vector<std::string> wanted;
  for (const Resource* campaign : book_.all("campaign")) {
    wanted.push_back(campaign->body.value("solutionVersionArn", ""));
  }
  const auto versions = book_.all("solutionVersion");
  if (!versions.empty()) wanted.push_back(versions.back()->arn);
  std::erase_if(models_, [&](const auto& entry) {
    return std::find(wanted.begin(), wanted.end(), entry.first) == wanted.end();
  });
}

void PersonalizeService::Impl::work_until_stopped() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (stopping_) return;
    const std::string arn = queue_.front();
    queue_.pop_front();
    working_ = true;
    lock.unlock();
    work_on(arn);
    lock.lock();
    working_ = false;
    changed_.notify_all();
  }
}

void PersonalizeService::Impl::work_on(const std::string& arn) {
  Resource job;
  {
    const std::lock_guard lock(mutex_);
    const Resource* found = book_.find(arn);
    if (found == nullptr || found->stopping_ms > 0) return;
    job = *found;
  }
  std::string failure;
  if (job.kind->name == "datasetImportJob") {
    failure = run_import(job);
  } else if (job.kind->name == "datasetExportJob") {
    failure = run_export(job);
  } else if (job.kind->name == "solutionVersion") {
    failure = run_training(job);
  } else {
    failure = run_batch(job);
  }
  const std::lock_guard lock(mutex_);
  Resource* found = book_.find(arn);
  // A job that the end of the process broke off stays waiting, and starts again at the next open.
  if (found == nullptr || (stopping_ && !failure.empty())) return;
  found->work = failure.empty() ? Work::done : Work::failed;
  found->failure = failure;
  found->worked_ms = now_ms();
  static_cast<void>(save());  // logged there; without it the job is done again after a restart
  if (failure.empty()) {
    log_.info("the embedded personalize finished a job", {{"arn", arn}});
  } else {
    log_.warn("a job of the embedded personalize failed", {{"arn", arn}, {"reason", failure}});
  }
}

std::string PersonalizeService::Impl::run_import(const Resource& job) {
  std::shared_ptr<Dataset> dataset;
  std::uint64_t dataset_sequence = 0;
  ImportLimits limits;
  {
    const std::lock_guard lock(mutex_);
    const auto found = datasets_.find(job.body["datasetArn"].get<std::string>());
    if (found == datasets_.end()) return "The dataset was deleted.";
    dataset = found->second;
    dataset_sequence = book_.find(found->first)->sequence;
    std::size_t kept = 0;
    for (const auto& [arn, other] : datasets_) {
      kept += other->store->bulk().size() + other->store->streamed().size();
    }
    limits.rows_max = options_.interactions_max - std::min(kept, options_.interactions_max);
    limits.seconds_only = options_.seconds_only;
  }
  const auto failed = [&](const std::string& problem) {
    return fmt::format("Failed to create a data import job for {} dataset. {}", dataset->type,
                       problem);
  };
  const auto location = job.body["dataSource"]["dataLocation"].get<std::string>();
  const auto path = local_path(location);
  if (!path) {
    return failed("Insufficient privileges for accessing data in Amazon S3. (" + path.error() +
                  ")");
  }
  std::vector<std::filesystem::path> files;
  if (auto problem = list_import_files(*path, location.ends_with('/'), files); !problem.empty()) {
    return failed(problem);
  }
  const bool replace = job.body["importMode"] == "FULL";

  if (dataset->type != "INTERACTIONS") {
    std::map<std::string, std::string> records;
    const auto id_column = dataset->type == "ITEMS" ? "ITEM_ID" : "USER_ID";
    if (auto problem = import_records(files, dataset->columns, id_column, records);
        !problem.empty()) {
      return failed(problem);
    }
    const std::lock_guard lock(mutex_);
    for (const auto& [id, value] : records) dataset->records[id] = value;
    if (!dataset->folder.empty()) {
      if (auto status = replace_file(dataset->folder / "records.json", dumped(dataset->records));
          !status) {
        return failed(status.error().message);
      }
    }
    if (Resource* resource = book_.find(dataset->arn)) {
      resource->own["imports"] = resource->own.value("imports", 0) + 1;
    }
    return {};
  }

  InteractionStore rows;
  if (auto problem = import_interactions(files, dataset->columns, limits, rows); !problem.empty()) {
    return failed(problem);
  }
  const auto file_name = fmt::format("bulk-{}.log", job.sequence);
  if (!dataset->folder.empty()) {
    if (auto status = rows.write_bulk(dataset->folder / file_name); !status) {
      return failed(status.error().message);
    }
  }
  const std::lock_guard lock(mutex_);
  Resource* resource = book_.find(dataset->arn);
  if (resource == nullptr || resource->sequence != dataset_sequence) {
    return "The dataset was deleted.";
  }
  dataset->store->take_bulk(rows, replace);
  // The list of files and the job's own end are saved together by the caller.
  auto bulk = resource->own.value("bulk", std::vector<std::string>{});
  if (replace) bulk.clear();
  std::erase(bulk, file_name);
  bulk.push_back(file_name);
  resource->own["bulk"] = bulk;
  resource->own["imports"] = resource->own.value("imports", 0) + 1;
  return {};
}

std::string PersonalizeService::Impl::run_export(const Resource& job) {
  const auto path =
      local_path(job.body["jobOutput"]["s3DataDestination"]["path"].get<std::string>());
  if (!path) return "Invalid S3 output path. (" + path.error() + ")";
  std::string csv;
  {
    const std::lock_guard lock(mutex_);
    const auto found = datasets_.find(job.body["datasetArn"].get<std::string>());
    if (found == datasets_.end()) return "The dataset was deleted.";
    const Dataset& dataset = *found->second;
    const InteractionStore& store = *dataset.store;
    const auto mode = job.body["ingestionMode"].get<std::string>();
    std::vector<InteractionRow> rows;
    if (mode != "PUT") rows = store.bulk();
    if (mode != "BULK") {
      rows.insert(rows.end(), store.streamed().begin(), store.streamed().end());
    }
    join_anonymous(rows);
    std::erase_if(rows, [](const InteractionRow& row) {
      return row.user == Interner::kNone || row.item == Interner::kNone;
    });
    collapse(rows);
    std::vector<std::string> names;
    for (const Column& column : dataset.columns) names.push_back(column.name);
    append_csv_header(names, csv);
    std::vector<std::optional<std::string>> cells(dataset.columns.size());
    for (const InteractionRow& row : rows) {
      const std::string& others =
          row.others == Interner::kNone ? std::string{} : store.others().text_of(row.others);
      for (std::size_t i = 0; i < cells.size(); ++i) {
        const std::string& name = names[i];
        cells[i].reset();
        if (name == "USER_ID") {
          cells[i] = store.people().text_of(row.user);
        } else if (name == "ITEM_ID") {
          cells[i] = store.items().text_of(row.item);
        } else if (name == "TIMESTAMP") {
          cells[i] = fmt::format("{}", row.second);
        } else if (name == "EVENT_TYPE") {
          if (row.event_type != Interner::kNone)
            cells[i] = store.event_types().text_of(row.event_type);
        } else if (name == "EVENT_VALUE") {
          if (!std::isnan(row.value)) cells[i] = fmt::format("{}", row.value);
        } else {
          const auto lines = "\n" + others;
          const auto begin = lines.find("\n" + name + "=");
          if (begin != std::string::npos) {
            const auto value = begin + name.size() + 2;
            cells[i] = lines.substr(value, lines.find('\n', value) - value);
          }
        }
      }
      const bool writable = std::all_of(cells.begin(), cells.end(), [](const auto& cell) {
        return !cell || !csv_problem(*cell);
      });
      if (writable) append_csv_row(cells, csv);
    }
  }
  std::error_code error;
  std::filesystem::create_directories(*path, error);
  if (auto status = replace_file(*path / (job.name + ".csv"), csv); !status) {
    return "Invalid S3 output path. (" + status.error().message + ")";
  }
  return {};
}

std::string PersonalizeService::Impl::run_training(const Resource& version) {
  const auto started = std::chrono::steady_clock::now();
  std::shared_ptr<Dataset> dataset;
  std::vector<InteractionRow> rows;
  std::size_t streamed = 0;
  std::uint64_t dataset_sequence = 0;
  const auto event_type = version.body.value("eventType", "");
  const auto config = version.body.value("solutionConfig", json::object());
  const auto threshold = config.value("eventValueThreshold", "");
  struct Rule {
    std::uint32_t event_type = Interner::kNone;
    double threshold = -1e308;
    float weight = 1;
  };
  std::vector<Rule> rules;
  {
    const std::lock_guard lock(mutex_);
    const Resource* group = book_.find(version.group);
    const auto found = datasets_.find(
        arn_of(fmt::format("dataset/{}/INTERACTIONS", group == nullptr ? "" : group->name)));
    if (found == datasets_.end()) return "The dataset group has no Interactions dataset.";
    dataset = found->second;
    dataset_sequence = book_.find(found->first)->sequence;
    const InteractionStore& store = *dataset->store;
    rows.reserve(store.bulk().size() + store.streamed().size());
    rows = store.bulk();
    rows.insert(rows.end(), store.streamed().begin(), store.streamed().end());
    streamed = store.streamed().size();
    if (!event_type.empty()) {
      Rule rule{store.event_types().find(event_type), -1e308, 1};
      if (!threshold.empty()) rule.threshold = std::stod(threshold);
      rules.push_back(rule);
    }
    const auto weighted = config.value("eventsConfig", json::object());
    for (const json& one : weighted.value("eventParametersList", json::array())) {
      rules.push_back({store.event_types().find(one.value("eventType", "")),
                       one.value("eventValueThreshold", -1e308),
                       static_cast<float>(one.value("weight", 1.0))});
    }
  }
  const auto rule_of = [&](const InteractionRow& row) -> const Rule* {
    for (const Rule& rule : rules) {
      if (rule.event_type == Interner::kNone || rule.event_type != row.event_type) continue;
      const bool enough = std::isnan(row.value) ? rule.threshold <= -1e308
                                                : static_cast<double>(row.value) >= rule.threshold;
      if (enough && rule.weight > 0) return &rule;
    }
    return nullptr;
  };
  join_anonymous(rows);
  std::erase_if(rows, [&](const InteractionRow& row) {
    return row.user == Interner::kNone || row.item == Interner::kNone ||
           (!rules.empty() && rule_of(row) == nullptr);
  });
  collapse(rows);
  if (rows.size() < kTrainingRowsMin) {
    return event_type.empty()
               ? fmt::format("Dataset has fewer than {} interactions", kTrainingRowsMin)
               : fmt::format(
                     "Dataset has fewer than {} interactions after filtering by event "
                     "type: {}",
                     kTrainingRowsMin, event_type);
  }
  // Rows are sorted by user.
  std::size_t users = 0;
  std::size_t users_with_two = 0;
  for (std::size_t i = 0; i < rows.size();) {
    std::size_t end = i;
    while (end < rows.size() && rows[end].user == rows[i].user) ++end;
    ++users;
    if (end - i >= 2) ++users_with_two;
    i = end;
  }
  if (users_with_two < kTrainingUsersMin || users_with_two * 100 < users) {
    return "Dataset has fewer than 25 users with at least 2 interactions each.";
  }

  TrainingData data;
  {
    std::unordered_map<std::uint32_t, std::uint32_t> user_index;
    std::unordered_map<std::uint32_t, std::uint32_t> item_index;
    data.rows.reserve(rows.size());
    const std::lock_guard lock(mutex_);  // only for the texts
    const InteractionStore& store = *dataset->store;
    for (const InteractionRow& row : rows) {
      const auto [user, new_user] =
          user_index.emplace(row.user, static_cast<std::uint32_t>(data.users.size()));
      if (new_user) data.users.push_back(store.people().text_of(row.user));
      const auto [item, new_item] =
          item_index.emplace(row.item, static_cast<std::uint32_t>(data.items.size()));
      if (new_item) data.items.push_back(store.items().text_of(row.item));
      const Rule* rule = rules.empty() ? nullptr : rule_of(row);
      data.rows.push_back(
          {user->second, item->second, row.second, rule == nullptr ? 1.0F : rule->weight});
    }
  }
  rows = {};
  RecommenderOptions training;
  training.seed = options_.seed;
  auto trained = Recommender::train(data, kind_of_recipe(version.body["recipeArn"]), training);
  if (!options_.state_folder.empty()) {
    if (auto status = replace_file(model_path(version), trained.recommender->bytes()); !status) {
      return "The model could not be kept: " + status.error().message;
    }
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - started;
  const std::lock_guard lock(mutex_);
  Resource* resource = book_.find(version.arn);
  if (resource == nullptr || resource->stopping_ms > 0) return {};
  models_[version.arn] = trained.recommender;
  resource->own["metrics"] = metrics_json(trained.metrics.model);
  resource->own["popularity"] = metrics_json(trained.metrics.popularity);
  resource->own["users_measured"] = trained.metrics.model.users;
  resource->own["dataset"] = dataset_sequence;
  resource->own["streamed"] = streamed;
  resource->body["trainingHours"] = took.count() / 3600;
  forget_idle_models();
  return {};
}

std::string PersonalizeService::Impl::run_batch(const Resource& job) {
  std::shared_ptr<const Recommender> model;
  Resource version;
  {
    const std::lock_guard lock(mutex_);
    const Resource* found = book_.find(job.body["solutionVersionArn"].get<std::string>());
    if (found == nullptr) return "The solution version was deleted.";
    version = *found;
    model = model_of(version);
    if (model == nullptr) return "The model of the solution version cannot be read.";
  }
  const auto in = job.body["jobInput"]["s3DataSource"]["path"].get<std::string>();
  const auto out = job.body["jobOutput"]["s3DataDestination"]["path"].get<std::string>();
  const auto from = local_path(in);
  const auto to = local_path(out);
  if (!from) return "Invalid S3 input path (" + from.error() + ")";
  if (!to) return "Invalid S3 output path (" + to.error() + ")";
  const auto files = files_with_prefix(from->string());
  if (files.empty()) return fmt::format("Invalid S3 input path (nothing at {})", in);
  if (files.size() > kBatchFilesMax) return "More than 1000 input files.";
  std::error_code error;
  std::filesystem::create_directories(*to, error);
  if (error) return fmt::format("Invalid S3 output path ({}: {})", out, error.message());
  const auto count = job.body["numResults"].get<std::size_t>();

  const auto answer = [&](const std::string& line) {
    const json input = json::parse(line, nullptr, false);
    if (line.size() > kBatchLineBytesMax || !input.is_object()) {
      return failed_line(line.substr(0, 200), "The line is not a JSON object.");
    }
    const auto text = [&](const char* member) -> std::optional<std::string> {
      if (!input.contains(member) || !input[member].is_string()) return std::nullopt;
      const auto value = input[member].get<std::string>();
      return value.empty() || value.size() > 1024 ? std::nullopt : std::optional(value);
    };
    if (model->kind() == RecommenderKind::similar_items) {
      const auto item = text("itemId");
      if (!item) return failed_line(input, "itemId must be a string of 1 to 256 characters.");
      return answered_line(input, model->similar(*item, count));
    }
    const auto user = text("userId");
    if (!user) return failed_line(input, "userId must be a string of 1 to 256 characters.");
    Fresh fresh;
    if (model->kind() != RecommenderKind::popularity) {
      const std::lock_guard lock(mutex_);
      fresh = fresh_of(version, *user);
    }
    if (model->kind() == RecommenderKind::personalized_ranking) {
      std::vector<std::string> items;
      if (input.contains("itemList") && input["itemList"].is_array()) {
        for (const json& item : input["itemList"]) {
          if (item.is_string()) items.push_back(item.get<std::string>());
        }
      }
      if (items.empty()) return failed_line(input, "itemList must be a list of item ids.");
      auto ranked = model->rank(*user, fresh.interactions, items);
      if (ranked.size() > count) ranked.resize(count);
      return answered_line(input, ranked);
    }
    return answered_line(input, model->recommend(*user, fresh.interactions, count));
  };

  for (const auto& file : files) {
    // Written beside and renamed: a reader never finds half a file.
    const auto target = *to / (file.filename().string() + ".out");
    const auto beside = target.string() + ".new";
    std::ifstream lines(file, std::ios::binary);
    std::ofstream answers(beside, std::ios::binary | std::ios::trunc);
    if (!lines) return fmt::format("Invalid S3 input path ({} cannot be read)", file.string());
    std::string line;
    while (std::getline(lines, line)) {
      if (line.ends_with('\r')) line.pop_back();
      if (line.empty()) continue;
      answers << answer(line);
      const std::lock_guard lock(mutex_);
      if (stopping_) return "The emulator was stopped.";
    }
    answers.close();
    if (!answers) return fmt::format("Invalid S3 output path ({} cannot be written)", beside);
    std::filesystem::rename(beside, target, error);
    if (error) return fmt::format("Invalid S3 output path ({}: {})", out, error.message());
  }
  if (auto status = replace_file(*to / "_CHECK", ""); !status) {
    return "Invalid S3 output path (" + status.error().message + ")";
  }
  return {};
}

}  // namespace millrace
