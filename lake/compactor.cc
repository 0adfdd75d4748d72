#include "lake/compactor.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <unordered_map>

#include "aws/base64.h"
#include "core/check.h"
#include "core/log.h"
#include "events/csv_dialect.h"
#include "events/decode_event.h"
#include "events/own_names.h"
#include "lake/decompress.h"
#include "lake/encoder.h"
#include "lake/manifest.h"
#include "lake/names.h"
#include "lake/record_reader.h"
#include "lake/spill.h"

namespace millrace {
namespace {

constexpr std::size_t kCopyBytes = 1u << 20;
constexpr std::size_t kRejectChunkBytes = 1u << 20;
constexpr std::size_t kProgressBytes = 256u << 10;

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new()) {
    MILLRACE_CHECK(context_ != nullptr && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr));
  }
  void add(std::string_view bytes) { EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()); }
  std::string hex() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
    unsigned length = 0;
    EVP_DigestFinal_ex(context_.get(), hash.data(), &length);
    std::string text;
    for (unsigned i = 0; i < length; ++i) text += fmt::format("{:02x}", hash[i]);
    return text;
  }

 private:
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context_;
};

/// Counts what passes, for the progress, and asks whether to go on.
class CountingReader final : public ByteReader {
 public:
  CountingReader(std::unique_ptr<ObjectReader> inner, std::function<Status(std::size_t)> passed)
      : inner_(std::move(inner)), passed_(std::move(passed)) {}
  Result<std::size_t> read(char* buffer, std::size_t capacity) override {
    auto got = inner_->read(buffer, capacity);
    if (!got) return got;
    if (auto status = passed_(*got); !status) return fail(status.error());
    return got;
  }

 private:
  std::unique_ptr<ObjectReader> inner_;
  std::function<Status(std::size_t)> passed_;
};

/// The CSV in the making: bytes to the writer, their hash, and what the report says of the rows.
class CsvOutput {
 public:
  CsvOutput(std::unique_ptr<ObjectWriter> writer, CompactReport& report, SpillOptions options)
      : writer_(std::move(writer)), report_(report), users_(options), items_(std::move(options)) {}

  struct Facts {
    std::uint64_t user = 0;  // hashes
    std::uint64_t item = 0;
    std::int64_t second = 0;
  };

  Status header(const std::vector<Column>& columns) {
    std::vector<std::string> names;
    for (const Column& column : columns) names.push_back(column.name);
    append_csv_header(names, buffer_);
    return {};
  }

  Status row(std::string_view text, const Facts& facts) {
    buffer_ += text;
    ++report_.csv_rows;
    if (auto status = users_.add(facts.user); !status) return status;
    if (auto status = items_.add(facts.item); !status) return status;
    report_.first_second = std::min(report_.first_second.value_or(facts.second), facts.second);
    report_.last_second = std::max(report_.last_second.value_or(facts.second), facts.second);
    return buffer_.size() < kCopyBytes ? Status{} : flush();
  }

  Status finish() {
    if (auto status = flush(); !status) return status;
    report_.csv_sha256 = hash_.hex();
    const auto users = users_.finish();
    if (!users) return fail(users.error());
    const auto items = items_.finish();
    if (!items) return fail(items.error());
    report_.users = users->distinct;
    report_.users_with_two = users->twice;
    report_.items = items->distinct;
    return {};
  }

  Result<ObjectInfo> publish() { return writer_->publish(); }

 private:
  Status flush() {
    hash_.add(buffer_);
    report_.csv_bytes += buffer_.size();
    auto status = writer_->write(buffer_);
    buffer_.clear();
    return status;
  }

  std::unique_ptr<ObjectWriter> writer_;
  CompactReport& report_;
  DistinctCounts users_;
  DistinctCounts items_;
  Sha256 hash_{};
  std::string buffer_{};
};

/// The file of refused events: made with the first of them.
class Rejects {
 public:
  Rejects(ObjectStore& state, std::string key, std::size_t bytes_max, CompactReport& report)
      : state_(state), key_(std::move(key)), bytes_max_(bytes_max), report_(report) {}

  /// `raw` is the record's text, or empty when it was written with an earlier event of the record.
  Status add(const std::string& object, std::uint64_t line, const Refusal& refusal,
             std::string_view raw) {
    ++report_.refused_by_reason[refusal.reason];
    if (bytes_ >= bytes_max_) {
      ++report_.rejects_left_out;
      return {};
    }
    const std::size_t begin = chunk_.size();
    chunk_ += "{\"object\":" + json_quoted(object) + fmt::format(",\"line\":{}", line);
    if (refusal.index) chunk_ += fmt::format(",\"index\":{}", *refusal.index);
    chunk_ += ",\"reason\":" + json_quoted(refusal.reason);
    if (!raw.empty()) {
      chunk_ += ",\"raw\":\"";
      append_base64(raw, chunk_);
      chunk_ += '"';
    }
    chunk_ += "}\n";
    bytes_ += chunk_.size() - begin;
    return chunk_.size() < kRejectChunkBytes ? Status{} : flush();
  }

  Status publish() {
    if (bytes_ == 0) return {};
    if (auto status = flush(); !status) return status;
    if (auto info = writer_->publish(); !info) return fail(info.error());
    report_.rejects_url = state_.url_of(key_);
    return {};
  }

 private:
  Status flush() {
    if (!writer_) {
      auto writer = state_.create(key_);
      if (!writer) return fail(writer.error().while_doing("writing the rejects"));
      writer_ = std::move(*writer);
    }
    compressed_.clear();
    encoder_.encode(chunk_, compressed_);
    chunk_.clear();
    return writer_->write(compressed_);
  }

  ObjectStore& state_;
  std::string key_;
  std::size_t bytes_max_;
  CompactReport& report_;
  std::size_t bytes_ = 0;
  std::string chunk_{};
  std::string compressed_{};
  Encoder encoder_{Compression::gzip};
  std::unique_ptr<ObjectWriter> writer_{};
};

/// SHA-256 of an object; nothing when there is none.
Result<std::optional<std::string>> hash_of(ObjectStore& store, const std::string& key) {
  auto reader = store.open(key);
  if (!reader && reader.error().kind == ErrorKind::not_found) return std::optional<std::string>{};
  if (!reader) return fail(reader.error());
  Sha256 hash;
  std::string buffer(kCopyBytes, '\0');
  while (true) {
    const auto got = (*reader)->read(buffer.data(), buffer.size());
    if (!got) return fail(got.error());
    if (*got == 0) return std::optional<std::string>(hash.hex());
    hash.add(std::string_view(buffer).substr(0, *got));
  }
}

/// Stands for how events are decoded: the event seconds that a manifest remembers are good for the
/// same decoding only.
std::string mapping_of(const DecodeOptions& decode) {
  Sha256 hash;
  const auto add = [&](std::string_view text) {
    hash.add(fmt::format("{}:", text.size()));
    hash.add(text);
  };
  const EventFields& fields = decode.fields;
  for (const auto* pointers : {&fields.user_id, &fields.item_id, &fields.timestamp,
                               &fields.event_type, &fields.session_id}) {
    add(std::to_string(pointers->size()));
    for (const std::string& pointer : *pointers) add(pointer);
  }
  add(decode.default_event_type);
  add(fmt::format("{} {}", static_cast<int>(decode.format), decode.timestamp_from_arrival));
  return hash.hex().substr(0, 16);
}

Status copy_object(ObjectStore& from, const std::string& from_key, ObjectStore& to,
                   const std::string& to_key) {
  auto reader = from.open(from_key);
  if (!reader && reader.error().kind == ErrorKind::not_found) return {};
  if (!reader) return fail(reader.error());
  auto writer = to.create(to_key);
  if (!writer) return fail(writer.error());
  std::string buffer(kCopyBytes, '\0');
  while (true) {
    const auto got = (*reader)->read(buffer.data(), buffer.size());
    if (!got) return fail(got.error());
    if (*got == 0) break;
    if (auto status = (*writer)->write(std::string_view(buffer).substr(0, *got)); !status) {
      return status;
    }
  }
  if (auto info = (*writer)->publish(); !info) return fail(info.error());
  return {};
}

Result<std::vector<ObjectInfo>> list_all(ObjectStore& store, const std::string& prefix) {
  std::vector<ObjectInfo> objects;
  std::string after;
  do {
    auto page = store.list(prefix, after, 1000);
    if (!page) return fail(page.error());
    std::move(page->objects.begin(), page->objects.end(), std::back_inserter(objects));
    after = page->next;
  } while (!after.empty());
  return objects;
}

/// Leaves the newest `keep` objects of a folder whose names begin with a time.
Status prune(ObjectStore& store, const std::string& folder, std::size_t keep) {
  auto objects = list_all(store, folder);
  if (!objects) return fail(objects.error());
  for (std::size_t i = 0; i + keep < objects->size(); ++i) {
    if (auto status = store.remove((*objects)[i].key); !status) return status;
  }
  return {};
}

class Compaction {
 public:
  Compaction(ObjectStore& lake, ObjectStore& output, ObjectStore& state,
             const CompactRequest& request)
      : lake_(lake),
        output_(output),
        state_(state),
        request_(request),
        decoder_(request.decode),
        backfill_decoder_(with_own_names(request.decode)),
        rows_(request.columns),
        seen_(spill_options(8, 5)),
        rejects_(state, state_keys::rejects(request.run_id), request.rejects_bytes_max,
                 outcome_.report) {}

  Result<CompactOutcome> run() {
    CompactReport& report = outcome_.report;
    report.run_id = request_.run_id;
    report.incremental = request_.incremental;
    report.from = request_.from;
    report.to = request_.to;
    for (const Column& column : request_.columns) report.columns.push_back(column.name);

    auto recovered = recover_publication(output_, request_.output_key, state_);
    if (!recovered) return fail(recovered.error());
    outcome_.recovered = *recovered;
    if (auto status = take_snapshot(); !status) return fail(status.error());
    if (objects_.empty()) {
      outcome_.why_not =
          fmt::format("none of the {} objects is new or in the window; the CSV stays as it is",
                      report.objects_skipped);
      return std::move(outcome_);
    }
    if (auto status = read_objects(); !status) return fail(status.error());
    if (auto status = settle(); !status) return fail(status.error());
    if (auto status = csv_->finish(); !status) return fail(status.error());
    MILLRACE_CHECK(report.adds_up());
    if (auto status = publish(); !status) return fail(status.error());
    return std::move(outcome_);
  }

 private:
  [[nodiscard]] SpillOptions spill_options(std::size_t of, std::size_t share) const {
    return {.memory_bytes = request_.memory_bytes / of * share,
            .folder = request_.temporary_folder};
  }

  [[nodiscard]] bool windowed() const { return request_.from || request_.to; }

  [[nodiscard]] bool in_window(std::int64_t second) const {
    return (!request_.from || second >= *request_.from) && (!request_.to || second < *request_.to);
  }

  [[nodiscard]] bool is_of_the_lake(const std::string& key) const {
    const auto begins_with = [&](std::string_view folder) {
      return !folder.empty() && std::string_view(key).substr(0, folder.size()) == folder;
    };
    if (begins_with(kStateFolder)) return false;
    if (request_.state_in_lake) {
      std::string folder = *request_.state_in_lake;
      if (!folder.empty() && folder.back() != '/') folder += '/';
      if (begins_with(folder)) return false;
    }
    if (key == request_.output_in_lake || key.back() == '/' || is_dead_letters_key(key)) {
      return false;
    }
    // When a key could be of either template, what lies where objects belong is an object.
    return !request_.error_prefix.matches(key) || request_.prefix.matches(key);
  }

  Status take_snapshot() {
    CompactReport& report = outcome_.report;
    auto listed = list_all(lake_, request_.prefix.fixed_head());
    if (!listed) return fail(listed.error().while_doing("listing the lake"));
    auto manifests = load_manifests(state_);
    if (!manifests) return fail(manifests.error());

    // By key: what earlier runs say of an object. A run over a window took a part of its objects
    // only, so that they are still new to an incremental one.
    const std::string mapping = mapping_of(request_.decode);
    std::unordered_map<std::string, const ManifestObject*> known;
    std::unordered_map<std::string, const ManifestObject*> taken;
    for (const StoredManifest& stored : *manifests) {
      if (stored.manifest.state != Manifest::State::published) continue;
      last_published_ = stored.manifest.run_id;
      for (const ManifestObject& object : stored.manifest.objects) {
        if (stored.manifest.mapping == mapping) known[object.key] = &object;
        if (!stored.manifest.windowed) taken[object.key] = &object;
      }
    }
    std::size_t in_lake = 0;
    for (ObjectInfo& object : *listed) {
      if (!is_of_the_lake(object.key)) continue;
      ++in_lake;
      const auto find = [&](const auto& objects) -> const ManifestObject* {
        const auto found = objects.find(object.key);
        return found != objects.end() && found->second->etag == object.etag ? found->second
                                                                            : nullptr;
      };
      const ManifestObject* before = find(known);
      const bool outside = windowed() && before != nullptr && !before->damaged &&
                           (!before->first_second || !before->last_second ||
                            (request_.from && *before->last_second < *request_.from) ||
                            (request_.to && *before->first_second >= *request_.to));
      if (outside || (request_.incremental && find(taken) != nullptr)) {
        ++report.objects_skipped;
        continue;
      }
      bytes_ += object.bytes;
      objects_.push_back(
          {.key = std::move(object.key), .etag = std::move(object.etag), .bytes = object.bytes});
    }
    if (in_lake == 0) {
      return fail(ErrorKind::refused,
                  "nothing to compact: there is no object under " +
                      lake_.url_of(request_.prefix.fixed_head()) +
                      "; check lake.url and lake.prefix, or fill the lake with `millrace run` or "
                      "`millrace backfill`");
    }
    if (objects_.size() > request_.objects_max) {
      return fail(ErrorKind::refused,
                  fmt::format("{} objects are too many for one run (at most {}); compact a window "
                              "with --from and --to, or take compact.engine: glue",
                              objects_.size(), request_.objects_max));
    }
    return {};
  }

  Status read_objects() {
    auto writer = output_.create(request_.output_key);
    if (!writer) return fail(writer.error().while_doing("writing the CSV"));
    csv_ = std::make_unique<CsvOutput>(std::move(*writer), outcome_.report, spill_options(8, 1));
    if (auto status = csv_->header(request_.columns); !status) return status;
    for (ManifestObject& object : objects_) {
      if (auto status = read_object(object); !status) {
        return fail(status.error().while_doing("compacting " + lake_.url_of(object.key)));
      }
      ++progress_.objects_done;
    }
    return report_progress();
  }

  Status report_progress() {
    if (!request_.progress) return {};
    progress_.objects = objects_.size();
    progress_.bytes = bytes_;
    progress_.rows = outcome_.report.csv_rows + seen_.undecided();
    if (request_.progress(progress_)) return {};
    return fail(ErrorKind::transient, "interrupted; nothing was published", "interrupted");
  }

  Status read_object(ManifestObject& object) {
    CompactReport& report = outcome_.report;
    auto opened = lake_.open(object.key);
    if (!opened) return fail(opened.error());
    ++report.objects;
    CountingReader stored(std::move(*opened), [this](std::size_t count) -> Status {
      progress_.bytes_done += count;
      outcome_.report.bytes += count;
      since_progress_ += count;
      if (since_progress_ < kProgressBytes) return {};
      since_progress_ = 0;
      return report_progress();
    });
    Decompressor content(stored, object.key);
    RecordReader records(content);
    EventDecoder& decoder = parse_backfill_key(object.key) ? backfill_decoder_ : decoder_;
    while (true) {
      const auto record = records.next();
      if (!record && record.error().kind == ErrorKind::corrupt) {
        object.damaged = true;
        report.damaged.push_back({object.key, record.error().message});
        break;
      }
      if (!record) return fail(record.error());
      if (!*record) break;
      if (auto status = judge(object, **record, decoder); !status) return status;
    }
    if (content.warning()) report.warnings.push_back(*content.warning());
    return {};
  }

  Status judge(ManifestObject& object, const RawRecord& record, EventDecoder& decoder) {
    CompactReport& report = outcome_.report;
    ++report.records;
    if (record.too_long) {
      ++report.decoded;
      return rejects_.add(object.key, record.line, {std::nullopt, "too long"},
                          record.text.substr(0, 4096));
    }
    decoder.decode(record.text, -1, decoded_);
    if (decoded_.blank) {
      ++report.blank;
      return {};
    }
    // Nobody ends an object in the middle of a record on purpose: half of a plain object shows
    // here.
    if (record.unfinished && !decoded_.refused.empty() && !decoded_.refused.back().index &&
        record.text.find_first_of("{[") == record.text.find_first_not_of(" \t\r")) {
      object.damaged = true;
      report.damaged.push_back(
          {object.key, fmt::format("it ends in the middle of line {}: cut off?", record.line)});
    }
    report.time_units += decoded_.units;
    report.decoded += decoded_.events.size() + decoded_.refused.size();
    // The bytes of a record stand with its first refusal only: a list of a thousand bad events must
    // not become a thousand copies of itself.
    std::string_view raw = record.text;
    for (const Refusal& refusal : decoded_.refused) {
      if (auto status = rejects_.add(object.key, record.line, refusal, raw); !status) return status;
      raw = {};
    }
    for (const Event& event : decoded_.events) {
      object.first_second =
          std::min(object.first_second.value_or(event.timestamp), event.timestamp);
      object.last_second = std::max(object.last_second.value_or(event.timestamp), event.timestamp);
      if (event.anonymous()) {
        ++report.anonymous;
        continue;
      }
      if (!in_window(event.timestamp)) {
        ++report.outside_window;
        continue;
      }
      if (auto reason = rows_.make(event, cells_)) {
        if (auto status = rejects_.add(object.key, record.line, {event.index, *reason}, raw);
            !status) {
          return status;
        }
        raw = {};
        continue;
      }
      if (auto status = keep(event); !status) return status;
    }
    return {};
  }

  /// The event is a row, unless it was there before.
  Status keep(const Event& event) {
    const auto verdict = seen_.add(event_key(event.event_id));
    if (!verdict) return fail(verdict.error());
    if (*verdict == FirstSeen::Verdict::duplicate) {
      ++outcome_.report.duplicates;
      return {};
    }
    row_.clear();
    append_csv_row(cells_, row_);
    const CsvOutput::Facts facts{std::hash<std::string_view>{}(event.user_id),
                                 std::hash<std::string_view>{}(event.item_id), event.timestamp};
    if (*verdict == FirstSeen::Verdict::first) return csv_->row(row_, facts);
    return set_aside(row_, facts);
  }

  /// Rows that may still turn out to be duplicates wait in a file, in their order.
  Status set_aside(std::string_view row, const CsvOutput::Facts& facts) {
    if (!waiting_) {
      auto file = SpillFile::make(request_.temporary_folder, kCopyBytes);
      if (!file) return fail(file.error());
      waiting_ = std::make_unique<SpillFile>(std::move(*file));
    }
    const std::uint64_t length = row.size();
    if (auto status = waiting_->append(&facts, sizeof facts); !status) return status;
    if (auto status = waiting_->append(&length, sizeof length); !status) return status;
    return waiting_->append(row.data(), row.size());
  }

  Status settle() {
    if (!waiting_) return {};
    const auto duplicate = seen_.settle();
    if (!duplicate) return fail(duplicate.error());
    if (auto status = waiting_->rewind(); !status) return status;
    for (const bool drop : *duplicate) {
      CsvOutput::Facts facts;
      std::uint64_t length = 0;
      auto more = waiting_->read(&facts, sizeof facts);
      if (more) more = waiting_->read(&length, sizeof length);
      if (!more) return fail(more.error());
      row_.resize(length);
      more = waiting_->read(row_.data(), length);
      if (!more) return fail(more.error());
      if (drop) {
        ++outcome_.report.duplicates;
      } else if (auto status = csv_->row(row_, facts); !status) {
        return status;
      }
    }
    return {};
  }

  Status publish() {
    CompactReport& report = outcome_.report;
    report.csv_url = output_.url_of(request_.output_key);
    if (request_.incremental) {
      report.notes.push_back(
          "this CSV holds the new objects' events only; duplicates of events "
          "that earlier runs took remain until the next full compaction");
    }
    if (report.csv_rows == 0) {
      outcome_.why_not = fmt::format(
          "no event became a row (decoded {}, refused {}, anonymous {}, "
          "outside the window {}); the CSV stays as it is",
          report.decoded, report.refused(), report.anonymous, report.outside_window);
      report.notes.push_back(outcome_.why_not);
    }
    if (auto status = rejects_.publish(); !status) return status;
    const std::string report_key = state_keys::report(request_.run_id);
    if (auto put = state_.put(report_key, report.to_json(), {}); !put) {
      return fail(put.error().while_doing("writing the report"));
    }
    outcome_.report_url = state_.url_of(report_key);
    if (report.csv_rows == 0) return {};

    if (request_.keep > 0) {
      const std::string name =
          last_published_.empty() ? request_.run_id + "-before" : last_published_;
      if (auto status =
              copy_object(output_, request_.output_key, state_, state_keys::previous_csv(name));
          !status) {
        return fail(status.error().while_doing("keeping the previous CSV"));
      }
    }
    StoredManifest stored;
    stored.manifest = {.run_id = request_.run_id,
                       .state = Manifest::State::prepared,
                       .incremental = request_.incremental,
                       .windowed = windowed(),
                       .mapping = mapping_of(request_.decode),
                       .csv_url = report.csv_url,
                       .csv_sha256 = report.csv_sha256,
                       .csv_bytes = report.csv_bytes,
                       .csv_rows = report.csv_rows,
                       .objects = std::move(objects_)};
    auto prepared = state_.put(state_keys::manifest(request_.run_id), stored.manifest.to_json(),
                               PutIf::absent());
    if (!prepared) return fail(prepared.error().while_doing("writing the manifest"));
    stored.etag = *prepared;
    if (auto info = csv_->publish(); !info) {
      return fail(info.error().while_doing("publishing " + report.csv_url));
    }
    if (auto status = change_state(state_, stored, Manifest::State::published); !status) {
      return status;
    }
    outcome_.published = true;
    return tidy_up();
  }

  /// What no restart needs any more. Incremental runs ask every manifest since the last one that
  /// covers the lake, so only older ones go.
  Status tidy_up() {
    if (auto status = prune(state_, std::string(state_keys::kPreviousCsvs), request_.keep);
        !status) {
      return fail(status.error().while_doing("removing old CSVs"));
    }
    for (const std::string_view folder : {state_keys::kReports, state_keys::kRejects}) {
      if (auto status = prune(state_, std::string(folder), request_.reports_keep); !status) {
        return fail(status.error().while_doing("removing old reports"));
      }
    }
    if (request_.incremental || windowed()) return {};
    auto manifests = list_all(state_, std::string(state_keys::kManifests));
    if (!manifests) return fail(manifests.error());
    for (const ObjectInfo& object : *manifests) {
      if (run_id_of_key(object.key) >= request_.run_id) continue;
      if (auto status = state_.remove(object.key); !status) {
        return fail(status.error().while_doing("removing old manifests"));
      }
    }
    return {};
  }

  ObjectStore& lake_;
  ObjectStore& output_;
  ObjectStore& state_;
  const CompactRequest& request_;
  CompactOutcome outcome_{};
  EventDecoder decoder_;           // of live records
  EventDecoder backfill_decoder_;  // of lines that backfill wrote in our own names
  RowMaker rows_;
  FirstSeen seen_;
  Rejects rejects_;
  std::unique_ptr<CsvOutput> csv_{};
  std::unique_ptr<SpillFile> waiting_{};
  std::vector<ManifestObject> objects_{};
  std::uint64_t bytes_ = 0;
  std::string last_published_{};
  CompactProgress progress_{};
  std::size_t since_progress_ = 0;
  DecodedRecord decoded_{};  // reused for every record, as are the next two
  std::vector<Cell> cells_{};
  std::string row_{};
};

}  // namespace

Result<CompactOutcome> compact(ObjectStore& lake, ObjectStore& output, ObjectStore& state,
                               const CompactRequest& request) {
  return Compaction(lake, output, state, request).run();
}

Result<std::string> recover_publication(ObjectStore& output, const std::string& output_key,
                                        ObjectStore& state) {
  auto manifests = load_manifests(state);
  if (!manifests) return fail(manifests.error());
  std::string done;
  std::optional<std::string> hash;
  for (StoredManifest& stored : *manifests) {
    if (stored.manifest.state != Manifest::State::prepared) continue;
    if (!hash) {
      auto found = hash_of(output, output_key);
      if (!found) return fail(found.error().while_doing("reading the published CSV"));
      hash = found->value_or("");
    }
    const bool ours =
        *hash == stored.manifest.csv_sha256 && stored.manifest.csv_url == output.url_of(output_key);
    if (auto status = change_state(state, stored,
                                   ours ? Manifest::State::published : Manifest::State::discarded);
        !status) {
      return fail(status.error());
    }
    done += fmt::format("{}run {} died while it published: {}", done.empty() ? "" : "; ",
                        stored.manifest.run_id,
                        ours ? "its CSV is in place, and its manifest says so now"
                             : "its CSV never appeared, and its manifest is discarded");
  }
  return done;
}

}  // namespace millrace
