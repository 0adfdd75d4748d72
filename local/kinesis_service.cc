#include "local/kinesis_service.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <simdjson.h>
#include <sys/file.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <cmath>
#include <cstring>
#include <deque>
#include <fstream>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "aws/base64.h"
#include "core/check.h"
#include "core/log.h"
#include "local/kinesis_numbers.h"
#include "local/kinesis_segment.h"

namespace millrace {
namespace {

using nlohmann::json;

constexpr std::string_view kTargetPrefix = "Kinesis_20131202.";
constexpr std::size_t kIndexBytes = 96;  // of one record in memory, roughly
constexpr std::size_t kAnswerBytesMax = 10u << 20;
constexpr std::size_t kRequestBytesMax = 10u << 20;
constexpr std::int64_t kTokenAgeMaxMs = 300'000;
constexpr std::uint64_t kLastCounter = 0x7FFF'FFFF'FFFF'FFFF;
constexpr std::int64_t kReadBytesPerSecond = 2 << 20;
constexpr std::int64_t kWriteBytesPerSecond = 1 << 20;
constexpr std::int64_t kWriteRecordsPerSecond = 1000;
constexpr std::size_t kCallsPerSecond = 5;  // GetRecords, and GetShardIterator, per shard

/// An answer that is not 200: the service's own code.
struct Refused {
  std::string code{};
  std::string message{};
  int status = 400;
};
template <class T>
using Answer = tl::expected<T, Refused>;

tl::unexpected<Refused> refuse(std::string code, std::string message) {
  return tl::unexpected<Refused>(Refused{std::move(code), std::move(message)});
}
tl::unexpected<Refused> invalid_argument(std::string message) {
  return refuse("InvalidArgumentException", std::move(message));
}
/// The wording of a broken constraint of the service model.
tl::unexpected<Refused> validation(std::string_view value, std::string_view member,
                                   std::string_view constraint) {
  return refuse("ValidationException",
                fmt::format("1 validation error detected: Value '{}' at '{}' failed to satisfy "
                            "constraint: {}",
                            value, member, constraint));
}
tl::unexpected<Refused> required(std::string_view member) {
  return refuse("ValidationException",
                fmt::format("1 validation error detected: Value null at '{}' failed to satisfy "
                            "constraint: Member must not be null",
                            member));
}

bool valid_name(std::string_view name) {
  return !name.empty() && name.size() <= 128 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
  });
}

std::size_t characters_of(std::string_view utf8) {
  return static_cast<std::size_t>(std::count_if(utf8.begin(), utf8.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

/// Epoch seconds with exactly three decimals: the JSON protocol's timestamps.
std::string seconds_of_ms(std::int64_t ms) { return fmt::format("{}.{:03}", ms / 1000, ms % 1000); }

/// The members of a request, typed. Absent and null are the same.
class Arguments {
 public:
  explicit Arguments(simdjson::dom::object object) : object_(object) {}

  Answer<std::optional<std::string_view>> text(std::string_view name) const {
    simdjson::dom::element element;
    if (!find(name, element)) return std::optional<std::string_view>{};
    std::string_view value;
    if (element.get_string().get(value) != simdjson::SUCCESS) return wrong_type(name, "a string");
    return std::optional<std::string_view>(value);
  }
  Answer<std::string_view> text_required(std::string_view name, std::string_view path) const {
    const auto value = text(name);
    if (!value) return tl::unexpected(value.error());
    if (!*value) return required(path);
    return **value;
  }
  /// A whole number within [least, most].
  Answer<std::optional<std::int64_t>> number(std::string_view name, std::string_view path,
                                             std::int64_t least, std::int64_t most) const {
    simdjson::dom::element element;
    if (!find(name, element)) return std::optional<std::int64_t>{};
    std::int64_t value = 0;
    if (element.get_int64().get(value) != simdjson::SUCCESS) {
      return wrong_type(name, "an integer");
    }
    if (value < least) {
      return validation(std::to_string(value), path,
                        fmt::format("Member must have value greater than or equal to {}", least));
    }
    if (value > most) {
      return validation(std::to_string(value), path,
                        fmt::format("Member must have value less than or equal to {}", most));
    }
    return std::optional<std::int64_t>(value);
  }
  /// Epoch seconds as a JSON number, in milliseconds.
  Answer<std::optional<std::int64_t>> time_ms(std::string_view name) const {
    simdjson::dom::element element;
    if (!find(name, element)) return std::optional<std::int64_t>{};
    double seconds = 0;
    if (element.get_double().get(seconds) != simdjson::SUCCESS) {
      return wrong_type(name, "a number of seconds");
    }
    if (!(std::abs(seconds) < 1e12)) return wrong_type(name, "a time");
    return std::optional<std::int64_t>(std::llround(seconds * 1000));
  }
  bool find(std::string_view name, simdjson::dom::element& out) const {
    return object_[name].get(out) == simdjson::SUCCESS && !out.is_null();
  }
  static tl::unexpected<Refused> wrong_type(std::string_view name, std::string_view expected) {
    return refuse("SerializationException", fmt::format("{} must be {}", name, expected));
  }

 private:
  simdjson::dom::object object_;
};

/// Takes care that `rate` a second, with one second's worth of burst, is kept. A large take may
/// overdraw: then nothing passes until the debt is gone (the service after an answer of 10 MB).
class Bucket {
 public:
  bool ready(std::int64_t now_ms, std::int64_t rate) {
    refill(now_ms, rate);
    return level_ > 0;
  }
  bool take_all_or_nothing(std::int64_t now_ms, std::int64_t rate, std::int64_t amount) {
    refill(now_ms, rate);
    if (level_ < amount * 1000) return false;
    level_ -= amount * 1000;
    return true;
  }
  void overdraw(std::int64_t amount) { level_ -= amount * 1000; }

 private:
  void refill(std::int64_t now_ms, std::int64_t rate) {
    const std::int64_t full = rate * 1000;
    const std::int64_t passed = std::clamp<std::int64_t>(now_ms - at_ms_, 0, 60'000);
    level_ = fresh_ ? full : std::min(full, level_ + passed * rate);
    fresh_ = false;
    at_ms_ = now_ms;
  }
  std::int64_t level_ = 0;  // in thousandths
  std::int64_t at_ms_ = 0;
  bool fresh_ = true;
};

/// The last five calls: a sixth within a second is one too many.
class CallWindow {
 public:
  bool take(std::int64_t now_ms) {
    if (calls_.size() == kCallsPerSecond && now_ms - calls_.front() < 1000) return false;
    if (calls_.size() == kCallsPerSecond) calls_.pop_front();
    calls_.push_back(now_ms);
    return true;
  }

 private:
  std::deque<std::int64_t> calls_{};
};

struct StoredRecord {
  std::string bytes{};   // key and data; empty when they are on disk
  std::uint64_t at = 0;  // place in the segment
  std::uint32_t key_bytes = 0;
  std::uint32_t data_bytes = 0;
  std::int64_t arrived_ms = 0;

  [[nodiscard]] std::size_t cost() const { return key_bytes + data_bytes + kIndexBytes; }
};

struct Shard {
  std::string id{};
  std::uint32_t index = 0;
  std::int64_t created_ms = 0;
  std::uint64_t created_s = 0;  // in its sequence numbers; always above its parents'
  HashKey first_hash{};
  HashKey last_hash{};
  std::string parent{};
  std::string adjacent_parent{};
  std::int64_t closed_ms = -1;

  std::deque<StoredRecord> records{};
  std::uint64_t next_counter = 1;
  KinesisSegment segment{};

  CallWindow read_calls{};
  CallWindow iterator_calls{};
  Bucket read_bytes{};
  Bucket write_bytes{};
  Bucket write_records{};

  [[nodiscard]] bool open() const { return closed_ms < 0; }
  [[nodiscard]] std::uint64_t first_counter() const { return next_counter - records.size(); }
  [[nodiscard]] std::string sequence_of(std::uint64_t counter, std::int64_t time_ms) const {
    return SequenceNumber{created_s, index, counter, static_cast<std::uint64_t>(time_ms / 1000)}
        .digits();
  }
};

struct Stream {
  std::string name{};
  std::int64_t created_ms = 0;
  std::int64_t retention_hours = 24;
  std::int64_t record_kib_max = 1024;
  bool on_demand = false;
  std::int64_t busy_until_ms = 0;
  std::string busy_status{};  // CREATING, UPDATING or DELETING until then
  std::map<std::string, std::string> tags{};
  std::vector<std::unique_ptr<Shard>> shards{};  // by index; expired ones are gone
  std::uint32_t next_index = 0;
  std::filesystem::path folder{};  // empty: in memory
};

std::string shard_id_of(std::uint32_t index) { return fmt::format("shardId-{:012}", index); }

json json_of(const Shard& shard) {
  json range = {{"StartingSequenceNumber", shard.sequence_of(0, shard.created_ms)}};
  if (!shard.open()) {
    range["EndingSequenceNumber"] = shard.sequence_of(kLastCounter, shard.closed_ms);
  }
  json out = {{"ShardId", shard.id},
              {"HashKeyRange",
               {{"StartingHashKey", shard.first_hash.digits()},
                {"EndingHashKey", shard.last_hash.digits()}}},
              {"SequenceNumberRange", std::move(range)}};
  if (!shard.parent.empty()) out["ParentShardId"] = shard.parent;
  if (!shard.adjacent_parent.empty()) out["AdjacentParentShardId"] = shard.adjacent_parent;
  return out;
}

std::uint32_t crc_of(std::string_view text) {
  return static_cast<std::uint32_t>(
      crc32_z(0, reinterpret_cast<const unsigned char*>(text.data()), text.size()));
}

/// Opaque to clients, checked when it comes back: fields joined by '|' and their CRC, in base64.
std::string token_of(std::string fields) {
  fields += fmt::format("|{:08x}", crc_of(fields));
  std::string token;
  append_base64(fields, token);
  return token;
}
std::optional<std::vector<std::string>> fields_of_token(std::string_view token) {
  std::string text;
  if (!append_base64_decoded(token, text)) return std::nullopt;
  const std::size_t cut = text.rfind('|');
  if (cut == std::string::npos) return std::nullopt;
  const std::string_view fields = std::string_view(text).substr(0, cut);
  if (std::string_view(text).substr(cut + 1) != fmt::format("{:08x}", crc_of(fields))) {
    return std::nullopt;
  }
  std::vector<std::string> out{""};
  for (const char c : fields) {
    if (c == '|') {
      out.emplace_back();
    } else {
      out.back().push_back(c);
    }
  }
  return out;
}
std::optional<std::int64_t> whole_number(const std::string& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

struct Iterator {
  std::string stream{};
  std::int64_t stream_created_ms = 0;
  std::uint32_t shard_index = 0;
  std::uint64_t counter = 0;  // of the next record
  std::int64_t issued_ms = 0;

  [[nodiscard]] std::string token() const {
    return token_of(fmt::format("i1|{}|{}|{}|{}|{}", stream, stream_created_ms, shard_index,
                                counter, issued_ms));
  }
};
std::optional<Iterator> parse_iterator(std::string_view token) {
  const auto fields = fields_of_token(token);
  if (!fields || fields->size() != 6 || (*fields)[0] != "i1") return std::nullopt;
  std::array<std::int64_t, 4> numbers{};
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const auto number = whole_number((*fields)[i + 2]);
    if (!number) return std::nullopt;
    numbers[i] = *number;
  }
  return Iterator{(*fields)[1], numbers[0], static_cast<std::uint32_t>(numbers[1]),
                  static_cast<std::uint64_t>(numbers[2]), numbers[3]};
}

/// One record of a put, checked, with its bytes decoded.
struct Put {
  std::string key{};
  std::string data{};
  HashKey hash{};
};
struct PutOutcome {
  std::string shard_id{};
  std::string sequence_number{};
  std::string error_code{};
  std::string error_message{};
};

/// A record that was found for a reader, its bytes copied out of the lock.
struct Found {
  std::string bytes{};
  std::uint32_t key_bytes = 0;
  std::uint64_t counter = 0;
  std::int64_t arrived_ms = 0;
};

Status write_file(const std::filesystem::path& path, std::string_view bytes) {
  const std::string fresh = path.string() + ".new";
  const int fd = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  bool written = fd >= 0;
  for (std::string_view rest = bytes; written && !rest.empty();) {
    const ssize_t count = ::write(fd, rest.data(), rest.size());
    if (count < 0 && errno == EINTR) continue;
    written = count >= 0;
    if (written) rest.remove_prefix(static_cast<std::size_t>(count));
  }
  written = written && ::fsync(fd) == 0;
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (!written || ::rename(fresh.c_str(), path.c_str()) != 0) {
    return fail(ErrorKind::transient, fmt::format("writing {}: {}", path.string(),
                                                  std::strerror(written ? errno : error)));
  }
  return {};
}

}  // namespace

class KinesisService::Streams {
 public:
  Streams(KinesisServiceOptions options, const ServiceClock& clock)
      : options_(std::move(options)), clock_(clock) {}
  ~Streams() {
    if (lock_ >= 0) ::close(lock_);
  }
  Streams(const Streams&) = delete;
  Streams& operator=(const Streams&) = delete;

  Status load();
  HttpResponse handle(const HttpRequest& request);
  [[nodiscard]] std::uint64_t records_accepted() const { return records_accepted_; }

 private:
  using Guard = std::lock_guard<std::mutex>;

  Answer<std::string> perform(std::string_view operation, const Arguments& in);
  Answer<std::string> create_stream(const Arguments& in);
  Answer<std::string> delete_stream(const Arguments& in);
  Answer<std::string> describe_stream(const Arguments& in);
  Answer<std::string> describe_stream_summary(const Arguments& in);
  Answer<std::string> list_streams(const Arguments& in);
  Answer<std::string> list_shards(const Arguments& in);
  Answer<std::string> put_record(const Arguments& in);
  Answer<std::string> put_records(const Arguments& in);
  Answer<std::string> get_shard_iterator(const Arguments& in);
  Answer<std::string> get_records(const Arguments& in);
  Answer<std::string> split_shard(const Arguments& in);
  Answer<std::string> merge_shards(const Arguments& in);
  Answer<std::string> update_shard_count(const Arguments& in);
  Answer<std::string> change_retention(const Arguments& in, bool increase);
  Answer<std::string> add_tags(const Arguments& in);
  Answer<std::string> remove_tags(const Arguments& in);
  Answer<std::string> list_tags(const Arguments& in);

  // What follows expects the lock to be held.
  [[nodiscard]] std::int64_t now_ms() const { return unix_ms(clock_.now()); }
  Answer<std::string> name_in(const Arguments& in) const;
  Answer<Stream*> find(const std::string& name);
  Answer<Stream*> find_active(const Arguments& in);
  static Answer<Shard*> find_shard(Stream& stream, std::string_view id);
  [[nodiscard]] std::string status_of(const Stream& stream) const;
  [[nodiscard]] std::string arn_of(const Stream& stream) const;
  [[nodiscard]] json summary_of(const Stream& stream) const;
  void trim(Stream& stream);
  void drop(const std::string& name);
  Answer<Shard*> add_shard(Stream& stream, HashKey first, HashKey last,
                           const std::vector<Shard*>& parents);
  Answer<std::pair<Shard*, Shard*>> split(Stream& stream, Shard& parent, HashKey high_starts);
  Answer<Shard*> merge(Stream& stream, Shard& left, Shard& right);
  Answer<bool> save(Stream* changed = nullptr);
  Answer<bool> begin_update(Stream& stream);
  Answer<std::uint64_t> position_for(const Stream& stream, Shard& shard, std::string_view type,
                                     std::optional<std::string_view> sequence,
                                     std::optional<std::int64_t> time);
  static Answer<Put> checked_put(const Arguments& in, std::string_view path);
  std::vector<PutOutcome> store(Stream& stream, std::vector<Put>& puts);
  Answer<bool> check_size(const Stream& stream, const Put& put) const;
  json children_of(const Stream& stream, const Shard& shard) const;

  const KinesisServiceOptions options_;
  const ServiceClock& clock_;
  mutable std::mutex mutex_{};  // guards all below: handle() comes on many threads
  std::map<std::string, std::unique_ptr<Stream>> streams_{};
  std::size_t records_bytes_ = 0;
  int lock_ = -1;
  std::atomic<std::uint64_t> records_accepted_{0};
  std::atomic<std::uint64_t> requests_{0};
};

// ---- what is kept across restarts -----------------------------------------------------------

Status KinesisService::Streams::load() {
  if (options_.folder.empty()) return {};
  std::error_code trouble;
  std::filesystem::create_directories(options_.folder, trouble);
  const std::filesystem::path lock_path = options_.folder / "lock";
  lock_ = ::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (lock_ < 0) {
    return fail(errno == EACCES || errno == EROFS ? ErrorKind::denied : ErrorKind::transient,
                fmt::format("the Kinesis folder {} cannot be used: {}", options_.folder.string(),
                            std::strerror(errno)));
  }
  if (::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    return fail(ErrorKind::conflict,
                fmt::format("the Kinesis folder {} is in use by another process; stop that one or "
                            "choose another folder",
                            options_.folder.string()));
  }
  const std::filesystem::path path = options_.folder / "streams.json";
  std::ifstream file(path, std::ios::binary);
  if (!file) return {};
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const auto corrupt = [&](std::string_view why) {
    return fail(ErrorKind::corrupt, fmt::format("{} is not a list of emulated streams ({}); move "
                                                "it away or choose another folder",
                                                path.string(), why));
  };
  try {
    const json root = json::parse(text);
    if (root.at("version") != 1) return corrupt("another version");
    for (const json& entry : root.at("streams")) {
      auto stream = std::make_unique<Stream>();
      stream->name = entry.at("name").get<std::string>();
      if (!valid_name(stream->name)) return corrupt("a stream's name");
      stream->created_ms = entry.at("created_ms").get<std::int64_t>();
      stream->retention_hours = entry.at("retention_hours").get<std::int64_t>();
      stream->record_kib_max = entry.at("record_kib_max").get<std::int64_t>();
      stream->on_demand = entry.at("on_demand").get<bool>();
      stream->next_index = entry.at("next_index").get<std::uint32_t>();
      stream->tags = entry.at("tags").get<std::map<std::string, std::string>>();
      stream->folder = options_.folder / fmt::format("{}@{}", stream->name, stream->created_ms);
      for (const json& one : entry.at("shards")) {
        auto shard = std::make_unique<Shard>();
        shard->index = one.at("index").get<std::uint32_t>();
        shard->id = shard_id_of(shard->index);
        shard->created_ms = one.at("created_ms").get<std::int64_t>();
        shard->created_s = one.at("created_s").get<std::uint64_t>();
        shard->closed_ms = one.at("closed_ms").get<std::int64_t>();
        shard->parent = one.at("parent").get<std::string>();
        shard->adjacent_parent = one.at("adjacent_parent").get<std::string>();
        const auto first = parse_hash_key(one.at("first_hash").get<std::string>());
        const auto last = parse_hash_key(one.at("last_hash").get<std::string>());
        if (!first || !last) return corrupt("a hash key");
        shard->first_hash = *first;
        shard->last_hash = *last;
        shard->next_counter = one.at("next_counter").get<std::uint64_t>();
        bool in_order = true;
        const Status opened = shard->segment.open(
            stream->folder / (shard->id + ".log"), [&](const SegmentRecord& record) {
              in_order =
                  in_order && (shard->records.empty() || record.counter == shard->next_counter);
              shard->next_counter = record.counter + 1;
              shard->records.push_back(StoredRecord{.bytes = {},
                                                    .at = record.at,
                                                    .key_bytes = record.key_bytes,
                                                    .data_bytes = record.data_bytes,
                                                    .arrived_ms = record.arrived_ms});
              records_bytes_ += shard->records.back().cost();
            });
        if (!opened) return opened;
        if (!in_order) return corrupt("the records of " + shard->id);
        stream->shards.push_back(std::move(shard));
      }
      streams_[stream->name] = std::move(stream);
    }
  } catch (const json::exception& error) {
    return corrupt(error.what());
  }
  return {};
}

// The list is written before a call that changes it is answered. `next_counter` in it is only the
// floor for shards whose records have all been trimmed: segments know better.
Answer<bool> KinesisService::Streams::save(Stream* changed) {
  if (options_.folder.empty()) return true;
  const auto failed = [](const std::string& message) {
    return tl::unexpected<Refused>(Refused{"InternalFailure", message, 500});
  };
  if (changed != nullptr) {
    std::error_code trouble;
    std::filesystem::create_directories(changed->folder, trouble);
    for (const auto& shard : changed->shards) {
      if (shard->segment.is_open()) continue;
      const Status opened =
          shard->segment.open(changed->folder / (shard->id + ".log"), [](const SegmentRecord&) {});
      if (!opened) return failed(opened.error().message);
    }
  }
  json list = json::array();
  for (const auto& [name, stream] : streams_) {
    json shards = json::array();
    for (const auto& shard : stream->shards) {
      shards.push_back({{"index", shard->index},
                        {"created_ms", shard->created_ms},
                        {"created_s", shard->created_s},
                        {"closed_ms", shard->closed_ms},
                        {"parent", shard->parent},
                        {"adjacent_parent", shard->adjacent_parent},
                        {"first_hash", shard->first_hash.digits()},
                        {"last_hash", shard->last_hash.digits()},
                        {"next_counter", shard->next_counter}});
    }
    list.push_back({{"name", name},
                    {"created_ms", stream->created_ms},
                    {"retention_hours", stream->retention_hours},
                    {"record_kib_max", stream->record_kib_max},
                    {"on_demand", stream->on_demand},
                    {"next_index", stream->next_index},
                    {"tags", stream->tags},
                    {"shards", std::move(shards)}});
  }
  const Status written =
      write_file(options_.folder / "streams.json",
                 json{{"version", 1}, {"streams", std::move(list)}}.dump(1) + "\n");
  if (!written) return failed(written.error().message);
  return true;
}

// ---- finding things --------------------------------------------------------------------------

Answer<std::string> KinesisService::Streams::name_in(const Arguments& in) const {
  const auto name = in.text("StreamName");
  if (!name) return tl::unexpected(name.error());
  const auto arn = in.text("StreamARN");
  if (!arn) return tl::unexpected(arn.error());
  std::string_view found;
  if (*name) {
    found = **name;
    if (!valid_name(found)) {
      return validation(found, "streamName",
                        "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]{1,128}");
    }
  }
  if (*arn) {
    const std::size_t at = (*arn)->find(":stream/");
    const std::string_view named =
        at == std::string_view::npos ? std::string_view{} : (*arn)->substr(at + 8);
    if (!(*arn)->starts_with("arn:") || !valid_name(named)) {
      return validation(**arn, "streamARN",
                        "Member must satisfy regular expression pattern: "
                        "arn:aws.*:kinesis:.*:\\d{12}:stream/\\S+");
    }
    if (*name && named != found) {
      return invalid_argument("StreamName and StreamARN name different streams.");
    }
    found = named;
  }
  if (found.empty()) {
    return invalid_argument("Either StreamName or StreamARN must be provided.");
  }
  return std::string(found);
}

Answer<Stream*> KinesisService::Streams::find(const std::string& name) {
  const auto found = streams_.find(name);
  if (found != streams_.end()) {
    Stream& stream = *found->second;
    if (stream.busy_status != "DELETING" || now_ms() < stream.busy_until_ms) {
      trim(stream);
      return &stream;
    }
    drop(name);
    if (const auto saved = save(); !saved) return tl::unexpected(saved.error());
  }
  return refuse("ResourceNotFoundException",
                fmt::format("Stream {} under account {} not found.", name, options_.account));
}

std::string KinesisService::Streams::status_of(const Stream& stream) const {
  return now_ms() < stream.busy_until_ms ? stream.busy_status : "ACTIVE";
}

Answer<Stream*> KinesisService::Streams::find_active(const Arguments& in) {
  const auto name = name_in(in);
  if (!name) return tl::unexpected(name.error());
  const auto stream = find(*name);
  if (!stream) return stream;
  if (status_of(**stream) != "ACTIVE") {
    return refuse("ResourceInUseException",
                  fmt::format("Stream {} under account {} not ACTIVE, instead in state {}", *name,
                              options_.account, status_of(**stream)));
  }
  return stream;
}

Answer<Shard*> KinesisService::Streams::find_shard(Stream& stream, std::string_view id) {
  for (const auto& shard : stream.shards) {
    if (shard->id == id) return shard.get();
  }
  return refuse("ResourceNotFoundException",
                fmt::format("Could not find shard {} in stream {}", id, stream.name));
}

std::string KinesisService::Streams::arn_of(const Stream& stream) const {
  return fmt::format("arn:aws:kinesis:{}:{}:stream/{}", options_.region, options_.account,
                     stream.name);
}

json KinesisService::Streams::summary_of(const Stream& stream) const {
  return {{"StreamName", stream.name},
          {"StreamARN", arn_of(stream)},
          {"StreamStatus", status_of(stream)},
          {"StreamModeDetails", {{"StreamMode", stream.on_demand ? "ON_DEMAND" : "PROVISIONED"}}},
          {"RetentionPeriodHours", stream.retention_hours},
          {"StreamCreationTimestamp", static_cast<double>(stream.created_ms) / 1000},
          {"EnhancedMonitoring", json::array({{{"ShardLevelMetrics", json::array()}}})},
          {"EncryptionType", "NONE"}};
}

void KinesisService::Streams::drop(const std::string& name) {
  const auto found = streams_.find(name);
  for (const auto& shard : found->second->shards) {
    for (const StoredRecord& record : shard->records) records_bytes_ -= record.cost();
    shard->segment.remove();
  }
  std::error_code trouble;  // a folder that stays is only disk: its name is never used again
  if (!found->second->folder.empty()) {
    std::filesystem::remove_all(found->second->folder, trouble);
  }
  streams_.erase(found);
}

// Forgets what retention has passed over: records, then closed shards that hold nothing.
void KinesisService::Streams::trim(Stream& stream) {
  const std::int64_t horizon = now_ms() - stream.retention_hours * 3'600'000;
  bool expired = false;
  for (auto& shard : stream.shards) {
    bool trimmed = false;
    while (!shard->records.empty() && shard->records.front().arrived_ms < horizon) {
      records_bytes_ -= shard->records.front().cost();
      shard->records.pop_front();
      trimmed = true;
    }
    // An error leaves the file longer than it need be, and is met again at the next append.
    if (trimmed && shard->segment.is_open() && !shard->records.empty()) {
      static_cast<void>(shard->segment.trim(shard->records.front().at));
    }
    if (!shard->open() && shard->records.empty() && shard->closed_ms < horizon) {
      shard->segment.remove();
      shard = nullptr;
      expired = true;
    }
  }
  if (!expired) return;
  std::erase(stream.shards, nullptr);
  // When this fails the shards come back at the next start, empty, and go again.
  static_cast<void>(save());
}

// ---- control calls ---------------------------------------------------------------------------

Answer<Shard*> KinesisService::Streams::add_shard(Stream& stream, HashKey first, HashKey last,
                                                  const std::vector<Shard*>& parents) {
  if (stream.shards.size() >= options_.shards_max) {
    return refuse("LimitExceededException",
                  fmt::format("This request would exceed the shard limit for the account {} in {}. "
                              "Limit: {}.",
                              options_.account, options_.region, options_.shards_max));
  }
  auto shard = std::make_unique<Shard>();
  shard->index = stream.next_index++;
  shard->id = shard_id_of(shard->index);
  shard->created_ms = parents.empty() ? stream.created_ms : now_ms();
  shard->first_hash = first;
  shard->last_hash = last;
  for (const Shard* parent : parents) {
    // Strictly later than the parent, so that at any instant one of them is the open one.
    shard->created_ms = std::max(shard->created_ms, parent->created_ms + 1);
    shard->created_s = std::max(shard->created_s, parent->created_s + 1);
  }
  shard->created_s =
      std::max(shard->created_s, static_cast<std::uint64_t>(shard->created_ms / 1000));
  if (!parents.empty()) shard->parent = parents[0]->id;
  if (parents.size() > 1) shard->adjacent_parent = parents[1]->id;
  stream.shards.push_back(std::move(shard));
  return stream.shards.back().get();
}

Answer<std::pair<Shard*, Shard*>> KinesisService::Streams::split(Stream& stream, Shard& parent,
                                                                 HashKey high_starts) {
  if (stream.shards.size() + 2 > options_.shards_max) {
    return tl::unexpected(
        Refused{"LimitExceededException", "The stream has too many shards.", 400});
  }
  const auto low = add_shard(stream, parent.first_hash, high_starts.minus_one(), {&parent});
  const auto high = add_shard(stream, high_starts, parent.last_hash, {&parent});
  MILLRACE_CHECK(low && high);
  parent.closed_ms = (*low)->created_ms;
  return std::pair{*low, *high};
}

Answer<Shard*> KinesisService::Streams::merge(Stream& stream, Shard& left, Shard& right) {
  const auto child = add_shard(stream, std::min(left.first_hash, right.first_hash),
                               std::max(left.last_hash, right.last_hash), {&left, &right});
  if (!child) return child;
  left.closed_ms = right.closed_ms = (*child)->created_ms;
  return child;
}

Answer<bool> KinesisService::Streams::begin_update(Stream& stream) {
  stream.busy_status = "UPDATING";
  stream.busy_until_ms = now_ms() + options_.status_duration.count();
  return save(&stream);
}

Answer<std::string> KinesisService::Streams::create_stream(const Arguments& in) {
  const auto name = in.text_required("StreamName", "streamName");
  if (!name) return tl::unexpected(name.error());
  if (!valid_name(*name)) {
    return validation(*name, "streamName",
                      "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]{1,128}");
  }
  bool on_demand = false;
  simdjson::dom::element mode;
  if (in.find("StreamModeDetails", mode)) {
    std::string_view word;
    if (mode["StreamMode"].get_string().get(word) != simdjson::SUCCESS ||
        (word != "ON_DEMAND" && word != "PROVISIONED")) {
      return validation(word, "streamModeDetails.streamMode",
                        "Member must satisfy enum value set: [PROVISIONED, ON_DEMAND]");
    }
    on_demand = word == "ON_DEMAND";
  }
  const auto count = in.number("ShardCount", "shardCount", 1, 100'000);
  if (!count) return tl::unexpected(count.error());
  if (!*count && !on_demand) return required("shardCount");
  const auto kib = in.number("MaxRecordSizeInKiB", "maxRecordSizeInKiB", 1024, 10'240);
  if (!kib) return tl::unexpected(kib.error());
  const std::int64_t shards = count->value_or(4);

  const Guard guard(mutex_);
  if (find(std::string(*name))) {
    return refuse(
        "ResourceInUseException",
        fmt::format("Stream {} under account {} already exists.", *name, options_.account));
  }
  if (streams_.size() >= options_.streams_max ||
      static_cast<std::size_t>(shards) > options_.shards_max) {
    return refuse("LimitExceededException",
                  fmt::format("This request would exceed the limit of {} streams or {} shards.",
                              options_.streams_max, options_.shards_max));
  }
  auto stream = std::make_unique<Stream>();
  stream->name = std::string(*name);
  stream->created_ms = now_ms();
  stream->on_demand = on_demand;
  stream->record_kib_max = kib->value_or(1024);
  simdjson::dom::object tags;
  simdjson::dom::element tags_element;
  if (in.find("Tags", tags_element) && tags_element.get_object().get(tags) == simdjson::SUCCESS) {
    for (const auto& [key, value] : tags) {
      std::string_view text;
      if (value.get_string().get(text) == simdjson::SUCCESS) {
        stream->tags[std::string(key)] = std::string(text);
      }
    }
  }
  if (!options_.folder.empty()) {
    stream->folder = options_.folder / fmt::format("{}@{}", stream->name, stream->created_ms);
  }
  const auto parts = static_cast<std::uint64_t>(shards);
  HashKey first;
  for (std::uint64_t i = 0; i < parts; ++i) {
    const HashKey last = HashKey::end_of_part(i, parts);
    const auto added = add_shard(*stream, first, last, {});
    if (!added) return tl::unexpected(added.error());
    first = last.plus_one();
  }
  stream->busy_status = "CREATING";
  stream->busy_until_ms = stream->created_ms + options_.status_duration.count();
  Stream& made = *(streams_[stream->name] = std::move(stream));
  if (const auto saved = save(&made); !saved) {
    drop(made.name);
    return tl::unexpected(saved.error());
  }
  return std::string();
}

Answer<std::string> KinesisService::Streams::delete_stream(const Arguments& in) {
  const Guard guard(mutex_);
  const auto name = name_in(in);
  if (!name) return tl::unexpected(name.error());
  const auto stream = find(*name);
  if (!stream) return tl::unexpected(stream.error());
  if (options_.status_duration.count() > 0) {
    (*stream)->busy_status = "DELETING";
    (*stream)->busy_until_ms = now_ms() + options_.status_duration.count();
    return std::string();
  }
  drop(*name);
  if (const auto saved = save(); !saved) return tl::unexpected(saved.error());
  return std::string();
}

Answer<std::string> KinesisService::Streams::describe_stream(const Arguments& in) {
  const auto limit = in.number("Limit", "limit", 1, 10'000);
  if (!limit) return tl::unexpected(limit.error());
  const auto after = in.text("ExclusiveStartShardId");
  if (!after) return tl::unexpected(after.error());
  const Guard guard(mutex_);
  const auto name = name_in(in);
  if (!name) return tl::unexpected(name.error());
  const auto stream = find(*name);
  if (!stream) return tl::unexpected(stream.error());
  json description = summary_of(**stream);
  json shards = json::array();
  const auto most = static_cast<std::size_t>(std::min<std::int64_t>(limit->value_or(100), 100));
  bool more = false;
  if (status_of(**stream) != "CREATING") {
    for (const auto& shard : (*stream)->shards) {
      if (*after && shard->id <= **after) continue;
      more = shards.size() == most;
      if (more) break;
      shards.push_back(json_of(*shard));
    }
  }
  description["Shards"] = std::move(shards);
  description["HasMoreShards"] = more;
  return json{{"StreamDescription", std::move(description)}}.dump();
}

Answer<std::string> KinesisService::Streams::describe_stream_summary(const Arguments& in) {
  const Guard guard(mutex_);
  const auto name = name_in(in);
  if (!name) return tl::unexpected(name.error());
  const auto stream = find(*name);
  if (!stream) return tl::unexpected(stream.error());
  json summary = summary_of(**stream);
  const auto& shards = (*stream)->shards;
  summary["OpenShardCount"] =
      std::count_if(shards.begin(), shards.end(), [](const auto& shard) { return shard->open(); });
  summary["ConsumerCount"] = 0;
  summary["MaxRecordSizeInKiB"] = (*stream)->record_kib_max;
  return json{{"StreamDescriptionSummary", std::move(summary)}}.dump();
}

Answer<std::string> KinesisService::Streams::list_streams(const Arguments& in) {
  const auto limit = in.number("Limit", "limit", 1, 10'000);
  if (!limit) return tl::unexpected(limit.error());
  const auto after = in.text("ExclusiveStartStreamName");
  if (!after) return tl::unexpected(after.error());
  const auto token = in.text("NextToken");
  if (!token) return tl::unexpected(token.error());
  std::string from = *after ? std::string(**after) : std::string();
  if (*token) {
    const auto fields = fields_of_token(**token);
    if (!fields || fields->size() != 2 || (*fields)[0] != "n1") {
      return invalid_argument("NextToken is not valid.");
    }
    from = (*fields)[1];
  }
  const Guard guard(mutex_);
  const auto most = static_cast<std::size_t>(std::min<std::int64_t>(limit->value_or(100), 100));
  json names = json::array();
  json summaries = json::array();
  bool more = false;
  std::string last;
  for (const auto& [name, stream] : streams_) {
    if (!from.empty() && name <= from) continue;
    more = names.size() == most;
    if (more) break;
    if (stream->busy_status == "DELETING" && now_ms() >= stream->busy_until_ms) continue;
    names.push_back(name);
    const json summary = summary_of(*stream);
    summaries.push_back({{"StreamName", name},
                         {"StreamARN", summary["StreamARN"]},
                         {"StreamStatus", summary["StreamStatus"]},
                         {"StreamModeDetails", summary["StreamModeDetails"]},
                         {"StreamCreationTimestamp", summary["StreamCreationTimestamp"]}});
    last = name;
  }
  json out = {{"StreamNames", std::move(names)},
              {"HasMoreStreams", more},
              {"StreamSummaries", std::move(summaries)}};
  if (more) out["NextToken"] = token_of("n1|" + last);
  return out.dump();
}

Answer<std::string> KinesisService::Streams::list_shards(const Arguments& in) {
  const auto most = in.number("MaxResults", "maxResults", 1, 10'000);
  if (!most) return tl::unexpected(most.error());
  const auto token = in.text("NextToken");
  if (!token) return tl::unexpected(token.error());
  const auto exclusive = in.text("ExclusiveStartShardId");
  if (!exclusive) return tl::unexpected(exclusive.error());
  std::string filter = "FROM_TRIM_HORIZON";
  std::int64_t filter_ms = 0;
  std::string after = *exclusive ? std::string(**exclusive) : std::string();
  simdjson::dom::element filter_element;
  simdjson::dom::object filter_object;
  if (in.find("ShardFilter", filter_element)) {
    if (filter_element.get_object().get(filter_object) != simdjson::SUCCESS) {
      return Arguments::wrong_type("ShardFilter", "an object");
    }
    const Arguments members(filter_object);
    const auto type = members.text_required("Type", "shardFilter.type");
    if (!type) return tl::unexpected(type.error());
    filter = std::string(*type);
    constexpr std::array kTypes = {"AFTER_SHARD_ID", "AT_TRIM_HORIZON", "FROM_TRIM_HORIZON",
                                   "AT_LATEST",      "AT_TIMESTAMP",    "FROM_TIMESTAMP"};
    if (std::find(kTypes.begin(), kTypes.end(), filter) == kTypes.end()) {
      return validation(filter, "shardFilter.type",
                        "Member must satisfy enum value set: [AFTER_SHARD_ID, AT_TRIM_HORIZON, "
                        "FROM_TRIM_HORIZON, AT_LATEST, AT_TIMESTAMP, FROM_TIMESTAMP]");
    }
    const auto time = members.time_ms("Timestamp");
    if (!time) return tl::unexpected(time.error());
    if (filter.ends_with("TIMESTAMP") != time->has_value()) {
      return invalid_argument("Timestamp must be given with AT_TIMESTAMP and FROM_TIMESTAMP only.");
    }
    filter_ms = time->value_or(0);
    const auto shard_id = members.text("ShardId");
    if (!shard_id) return tl::unexpected(shard_id.error());
    if ((filter == "AFTER_SHARD_ID") != shard_id->has_value()) {
      return invalid_argument("ShardId must be given with AFTER_SHARD_ID only.");
    }
    if (*shard_id) after = std::string(**shard_id);
  }

  const Guard guard(mutex_);
  std::string name;
  std::int64_t expected_created_ms = -1;
  if (*token) {
    if (*exclusive) {
      return invalid_argument("NextToken and ExclusiveStartShardId cannot be provided together.");
    }
    const auto fields = fields_of_token(**token);
    if (!fields || fields->size() != 7 || (*fields)[0] != "s1") {
      return invalid_argument("NextToken is not valid.");
    }
    name = (*fields)[1];
    // The API Reference forbids a stream beside the token, and boto3's own paginator sends one: it
    // passes when it is the token's.
    if (*in.text("StreamName") || *in.text("StreamARN")) {
      const auto named = name_in(in);
      if (!named) return tl::unexpected(named.error());
      if (*named != name) return invalid_argument("NextToken is of another stream.");
    }
    expected_created_ms = whole_number((*fields)[2]).value_or(0);
    after = (*fields)[3];
    filter = (*fields)[4];
    filter_ms = whole_number((*fields)[5]).value_or(0);
    if (now_ms() - whole_number((*fields)[6]).value_or(0) > kTokenAgeMaxMs) {
      return refuse("ExpiredNextTokenException",
                    "The pagination token passed to the operation is expired.");
    }
  } else {
    const auto named = name_in(in);
    if (!named) return tl::unexpected(named.error());
    name = *named;
  }
  const auto stream = find(name);
  if (!stream) return tl::unexpected(stream.error());
  if (expected_created_ms >= 0 && expected_created_ms != (*stream)->created_ms) {
    return invalid_argument("NextToken is of a stream that was deleted.");
  }
  const std::string status = status_of(**stream);
  if (status == "CREATING" || status == "DELETING") {
    return refuse("ResourceInUseException",
                  fmt::format("Stream {} under account {} not ACTIVE, instead in state {}", name,
                              options_.account, status));
  }
  const std::int64_t horizon =
      std::max(now_ms() - (*stream)->retention_hours * 3'600'000, (*stream)->created_ms);
  const std::int64_t time = std::max(filter_ms, horizon);
  const auto wanted = [&](const Shard& shard) {
    const auto open_at = [&](std::int64_t t) {
      return shard.created_ms <= t && (shard.open() || shard.closed_ms > t);
    };
    if (filter == "AT_TRIM_HORIZON") return open_at(horizon);
    if (filter == "AT_LATEST") return shard.open();
    if (filter == "AT_TIMESTAMP") return open_at(time);
    if (filter == "FROM_TIMESTAMP") return shard.open() || shard.closed_ms >= time;
    return true;
  };
  const auto page = static_cast<std::size_t>(std::min<std::int64_t>(most->value_or(1000), 1000));
  json shards = json::array();
  std::string last;
  bool more = false;
  for (const auto& shard : (*stream)->shards) {
    if ((!after.empty() && shard->id <= after) || !wanted(*shard)) continue;
    more = shards.size() == page;
    if (more) break;
    shards.push_back(json_of(*shard));
    last = shard->id;
  }
  json out = {{"Shards", std::move(shards)}};
  if (more) {
    out["NextToken"] =
        token_of(fmt::format("s1|{}|{}|{}|{}|{}|{}", name, (*stream)->created_ms, last, filter,
                             std::max<std::int64_t>(filter_ms, 0), now_ms()));
  }
  return out.dump();
}

Answer<std::string> KinesisService::Streams::split_shard(const Arguments& in) {
  const auto id = in.text_required("ShardToSplit", "shardToSplit");
  if (!id) return tl::unexpected(id.error());
  const auto key_text = in.text_required("NewStartingHashKey", "newStartingHashKey");
  if (!key_text) return tl::unexpected(key_text.error());
  const auto key = parse_hash_key(*key_text);
  if (!key) {
    return validation(*key_text, "newStartingHashKey",
                      "Member must satisfy regular expression pattern: 0|([1-9]\\d{0,38})");
  }
  const Guard guard(mutex_);
  const auto stream = find_active(in);
  if (!stream) return tl::unexpected(stream.error());
  const auto shard = find_shard(**stream, *id);
  if (!shard) return tl::unexpected(shard.error());
  if (!(*shard)->open()) {
    return invalid_argument(
        fmt::format("Shard {} in stream {} under account {} has already been "
                    "merged or split, and thus is not eligible for merging or "
                    "splitting.",
                    *id, (*stream)->name, options_.account));
  }
  if (*key <= (*shard)->first_hash || *key > (*shard)->last_hash) {
    return invalid_argument(
        fmt::format("NewStartingHashKey {} used in SplitShard() on shard {} in "
                    "stream {} under account {} is not both greater than one "
                    "plus the shard's StartingHashKey {} and less than the "
                    "shard's EndingHashKey {}.",
                    *key_text, *id, (*stream)->name, options_.account,
                    (*shard)->first_hash.digits(), (*shard)->last_hash.digits()));
  }
  if (const auto done = split(**stream, **shard, *key); !done) return tl::unexpected(done.error());
  if (const auto saved = begin_update(**stream); !saved) return tl::unexpected(saved.error());
  return std::string();
}

Answer<std::string> KinesisService::Streams::merge_shards(const Arguments& in) {
  const auto first_id = in.text_required("ShardToMerge", "shardToMerge");
  if (!first_id) return tl::unexpected(first_id.error());
  const auto second_id = in.text_required("AdjacentShardToMerge", "adjacentShardToMerge");
  if (!second_id) return tl::unexpected(second_id.error());
  const Guard guard(mutex_);
  const auto stream = find_active(in);
  if (!stream) return tl::unexpected(stream.error());
  const auto first = find_shard(**stream, *first_id);
  if (!first) return tl::unexpected(first.error());
  const auto second = find_shard(**stream, *second_id);
  if (!second) return tl::unexpected(second.error());
  for (const Shard* shard : {*first, *second}) {
    if (shard->open()) continue;
    return invalid_argument(
        fmt::format("Shard {} in stream {} under account {} has already been "
                    "merged or split, and thus is not eligible for merging or "
                    "splitting.",
                    shard->id, (*stream)->name, options_.account));
  }
  const bool touch = (*first)->last_hash.plus_one() == (*second)->first_hash ||
                     (*second)->last_hash.plus_one() == (*first)->first_hash;
  if (*first == *second || !touch || (*first)->last_hash == (*second)->last_hash) {
    return invalid_argument(
        fmt::format("Shards {} and {} in stream {} under account {} are not "
                    "an adjacent pair of shards eligible for merging",
                    *first_id, *second_id, (*stream)->name, options_.account));
  }
  if (const auto child = merge(**stream, **first, **second); !child) {
    return tl::unexpected(child.error());
  }
  if (const auto saved = begin_update(**stream); !saved) return tl::unexpected(saved.error());
  return std::string();
}

// As the service does it: splits at each new border, then merges of what lies between two borders,
// so short-lived shards without records appear and close.
Answer<std::string> KinesisService::Streams::update_shard_count(const Arguments& in) {
  const auto target = in.number("TargetShardCount", "targetShardCount", 1, 100'000);
  if (!target) return tl::unexpected(target.error());
  if (!*target) return required("targetShardCount");
  const auto scaling = in.text_required("ScalingType", "scalingType");
  if (!scaling) return tl::unexpected(scaling.error());
  if (*scaling != "UNIFORM_SCALING") {
    return validation(*scaling, "scalingType",
                      "Member must satisfy enum value set: [UNIFORM_SCALING]");
  }
  const Guard guard(mutex_);
  const auto found = find_active(in);
  if (!found) return tl::unexpected(found.error());
  Stream& stream = **found;
  const auto open_by_hash = [&stream] {
    std::vector<Shard*> open;
    for (const auto& shard : stream.shards) {
      if (shard->open()) open.push_back(shard.get());
    }
    std::sort(open.begin(), open.end(),
              [](const Shard* a, const Shard* b) { return a->first_hash < b->first_hash; });
    return open;
  };
  const auto current = static_cast<std::int64_t>(open_by_hash().size());
  if (**target > current * 2 || **target * 2 < current) {
    return refuse("LimitExceededException",
                  fmt::format("UpdateShardCount cannot scale {} from {} to {} shards: at most "
                              "double, at least half.",
                              stream.name, current, **target));
  }
  const auto parts = static_cast<std::uint64_t>(**target);
  // Each border makes at most two shards by a split and one by a merge.
  if (stream.shards.size() + 3 * (parts + static_cast<std::size_t>(current)) >
      options_.shards_max) {
    return refuse("LimitExceededException", "The stream has too many shards.");
  }
  HashKey first;
  for (std::uint64_t i = 0; i < parts; ++i) {
    const HashKey last = HashKey::end_of_part(i, parts);
    Shard* whole = nullptr;
    for (Shard* shard : open_by_hash()) {
      if (shard->first_hash < first) continue;
      if (shard->first_hash > last) break;
      if (shard->last_hash > last) shard = split(stream, *shard, last.plus_one())->first;
      whole = whole == nullptr ? shard : *merge(stream, *whole, *shard);
    }
    first = last.plus_one();
  }
  if (const auto saved = begin_update(stream); !saved) return tl::unexpected(saved.error());
  return json{{"StreamName", stream.name},
              {"StreamARN", arn_of(stream)},
              {"CurrentShardCount", current},
              {"TargetShardCount", **target}}
      .dump();
}

Answer<std::string> KinesisService::Streams::change_retention(const Arguments& in, bool increase) {
  const auto hours = in.number("RetentionPeriodHours", "retentionPeriodHours", 1, 100'000);
  if (!hours) return tl::unexpected(hours.error());
  if (!*hours) return required("retentionPeriodHours");
  if (**hours < 24 || **hours > 8760) {
    return invalid_argument(
        fmt::format("Retention period must be between 24 and 8760 hours; "
                    "requested {} hours.",
                    **hours));
  }
  const Guard guard(mutex_);
  const auto stream = find_active(in);
  if (!stream) return tl::unexpected(stream.error());
  const std::int64_t before = (*stream)->retention_hours;
  if (increase ? **hours < before : **hours > before) {
    return invalid_argument(
        fmt::format("Requested retention period ({} hours) for stream {} can "
                    "not be {} than existing retention period ({} hours).",
                    **hours, (*stream)->name, increase ? "shorter" : "longer", before));
  }
  (*stream)->retention_hours = **hours;
  trim(**stream);
  if (const auto saved = begin_update(**stream); !saved) return tl::unexpected(saved.error());
  return std::string();
}

Answer<std::string> KinesisService::Streams::add_tags(const Arguments& in) {
  simdjson::dom::element element;
  simdjson::dom::object members;
  if (!in.find("Tags", element)) return required("tags");
  if (element.get_object().get(members) != simdjson::SUCCESS) {
    return Arguments::wrong_type("Tags", "an object");
  }
  const Guard guard(mutex_);
  const auto name = name_in(in);
  if (!name) return tl::unexpected(name.error());
  const auto stream = find(*name);
  if (!stream) return tl::unexpected(stream.error());
  auto tags = (*stream)->tags;
  for (const auto& [key, value] : members) {
    std::string_view text;
    if (value.get_string().get(text) != simdjson::SUCCESS) {
      return Arguments::wrong_type("Tags", "an object of strings");
    }
    if (key.empty() || characters_of(key) > 128 || characters_of(text) > 256) {
      return validation(key, "tags",
                        "Member must have keys of 1 to 128 and values of at most 256 "
                        "characters");
    }
    tags[std::string(key)] = std::string(text);
  }
  if (tags.size() > 50) return invalid_argument("A stream has at most 50 tags.");
  (*stream)->tags = std::move(tags);
  if (const auto saved = save(); !saved) return tl::unexpected(saved.error());
  return std::string();
}

Answer<std::string> KinesisService::Streams::remove_tags(const Arguments& in) {
  simdjson::dom::element element;
  simdjson::dom::array keys;
  if (!in.find("TagKeys", element)) return required("tagKeys");
  if (element.get_array().get(keys) != simdjson::SUCCESS) {
    return Arguments::wrong_type("TagKeys", "a list");
  }
  const Guard guard(mutex_);
  const auto name = name_in(in);
  if (!name) return tl::unexpected(name.error());
  const auto stream = find(*name);
  if (!stream) return tl::unexpected(stream.error());
  for (const auto key : keys) {
    std::string_view text;
    if (key.get_string().get(text) != simdjson::SUCCESS) {
      return Arguments::wrong_type("TagKeys", "a list of strings");
    }
    (*stream)->tags.erase(std::string(text));
  }
  if (const auto saved = save(); !saved) return tl::unexpected(saved.error());
  return std::string();
}

Answer<std::string> KinesisService::Streams::list_tags(const Arguments& in) {
  const auto limit = in.number("Limit", "limit", 1, 50);
  if (!limit) return tl::unexpected(limit.error());
  const auto after = in.text("ExclusiveStartTagKey");
  if (!after) return tl::unexpected(after.error());
  const Guard guard(mutex_);
  const auto name = name_in(in);
  if (!name) return tl::unexpected(name.error());
  const auto stream = find(*name);
  if (!stream) return tl::unexpected(stream.error());
  json tags = json::array();
  bool more = false;
  for (const auto& [key, value] : (*stream)->tags) {
    if (*after && key <= **after) continue;
    more = tags.size() == static_cast<std::size_t>(limit->value_or(50));
    if (more) break;
    tags.push_back({{"Key", key}, {"Value", value}});
  }
  return json{{"Tags", std::move(tags)}, {"HasMoreTags", more}}.dump();
}

// ---- writing ---------------------------------------------------------------------------------

Answer<Put> KinesisService::Streams::checked_put(const Arguments& in, std::string_view path) {
  const auto data = in.text_required("Data", fmt::format("{}data", path));
  if (!data) return tl::unexpected(data.error());
  const auto key = in.text_required("PartitionKey", fmt::format("{}partitionKey", path));
  if (!key) return tl::unexpected(key.error());
  const auto explicit_hash = in.text("ExplicitHashKey");
  if (!explicit_hash) return tl::unexpected(explicit_hash.error());
  Put put;
  if (!append_base64_decoded(*data, put.data)) {
    return refuse("SerializationException", fmt::format("{}data is not base64", path));
  }
  const std::size_t characters = characters_of(*key);
  if (characters == 0 || characters > 256) {
    return validation(*key, fmt::format("{}partitionKey", path),
                      characters == 0 ? "Member must have length greater than or equal to 1"
                                      : "Member must have length less than or equal to 256");
  }
  put.key = std::string(*key);
  if (*explicit_hash) {
    const auto hash = parse_hash_key(**explicit_hash);
    if (!hash) {
      return invalid_argument(fmt::format(
          "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified "
          "value was {}",
          **explicit_hash));
    }
    put.hash = *hash;
  } else {
    put.hash = hash_of_partition_key(put.key);
  }
  return put;
}

Answer<bool> KinesisService::Streams::check_size(const Stream& stream, const Put& put) const {
  const auto most = static_cast<std::size_t>(stream.record_kib_max) * 1024;
  if (put.data.size() + put.key.size() <= most) return true;
  return invalid_argument(
      fmt::format("A record of {} bytes is larger than the {} KiB that stream "
                  "{} takes.",
                  put.data.size() + put.key.size(), stream.record_kib_max, stream.name));
}

std::vector<PutOutcome> KinesisService::Streams::store(Stream& stream, std::vector<Put>& puts) {
  std::vector<Shard*> open;
  for (const auto& shard : stream.shards) {
    if (shard->open()) open.push_back(shard.get());
  }
  std::sort(open.begin(), open.end(),
            [](const Shard* a, const Shard* b) { return a->first_hash < b->first_hash; });
  struct Written {
    std::string encoded{};
    std::vector<std::size_t> outcomes{};  // of the records in `encoded`
    std::vector<StoredRecord> records{};
  };
  std::map<Shard*, Written> to_disk;
  std::vector<PutOutcome> outcomes(puts.size());
  const std::int64_t now = now_ms();
  for (std::size_t i = 0; i < puts.size(); ++i) {
    Put& put = puts[i];
    PutOutcome& outcome = outcomes[i];
    const auto after = std::upper_bound(
        open.begin(), open.end(), put.hash,
        [](const HashKey& hash, const Shard* shard) { return hash < shard->first_hash; });
    Shard& shard = **std::prev(after);  // the open shards cover every hash from 0 on
    const auto bytes = static_cast<std::int64_t>(put.key.size() + put.data.size());
    const std::size_t cost = put.key.size() + put.data.size() + kIndexBytes;
    if (records_bytes_ + cost > options_.records_bytes_max) {
      outcome.error_code = "ProvisionedThroughputExceededException";
      outcome.error_message = fmt::format(
          "This emulator keeps at most {} bytes of records (records_bytes_max), and they are full "
          "until retention passes.",
          options_.records_bytes_max);
      continue;
    }
    if (options_.limits &&
        (!shard.write_records.take_all_or_nothing(now, kWriteRecordsPerSecond, 1) ||
         !(bytes > kWriteBytesPerSecond
               ? shard.write_bytes.ready(now, kWriteBytesPerSecond)
               : shard.write_bytes.take_all_or_nothing(now, kWriteBytesPerSecond, bytes)))) {
      outcome.error_code = "ProvisionedThroughputExceededException";
      outcome.error_message = fmt::format(
          "Rate exceeded for shard {} in stream {} under account "
          "{}.",
          shard.id, stream.name, options_.account);
      continue;
    }
    if (options_.limits && bytes > kWriteBytesPerSecond) shard.write_bytes.overdraw(bytes);
    StoredRecord record{.bytes = {},
                        .at = 0,
                        .key_bytes = static_cast<std::uint32_t>(put.key.size()),
                        .data_bytes = static_cast<std::uint32_t>(put.data.size()),
                        .arrived_ms = now};
    if (!shard.records.empty()) {
      record.arrived_ms = std::max(now, shard.records.back().arrived_ms);
    }
    const std::uint64_t counter = shard.next_counter;
    outcome.shard_id = shard.id;
    outcome.sequence_number = shard.sequence_of(counter, record.arrived_ms);
    if (shard.segment.is_open()) {
      Written& written = to_disk[&shard];
      record.at =
          KinesisSegment::encode(written.encoded, counter, record.arrived_ms, put.key, put.data);
      written.outcomes.push_back(i);
    } else {
      record.bytes = std::move(put.key) + put.data;
    }
    shard.records.push_back(std::move(record));
    ++shard.next_counter;
    records_bytes_ += cost;
  }
  for (auto& [shard, written] : to_disk) {
    const auto at = shard->segment.append(written.encoded);
    const std::size_t count = written.outcomes.size();
    for (std::size_t i = 0; i < count; ++i) {
      StoredRecord& record = shard->records[shard->records.size() - count + i];
      if (at) {
        record.at += *at;
      } else {
        records_bytes_ -= record.cost();
        outcomes[written.outcomes[i]] = {{}, {}, "InternalFailure", at.error().message};
      }
    }
    if (!at) {
      shard->records.erase(shard->records.end() - static_cast<std::ptrdiff_t>(count),
                           shard->records.end());
      shard->next_counter -= count;
    }
  }
  for (const PutOutcome& outcome : outcomes) records_accepted_ += outcome.error_code.empty();
  return outcomes;
}

Answer<std::string> KinesisService::Streams::put_record(const Arguments& in) {
  auto put = checked_put(in, "");
  if (!put) return tl::unexpected(put.error());
  const auto name = name_in(in);
  if (!name) return tl::unexpected(name.error());
  std::vector<Put> puts;
  puts.push_back(std::move(*put));
  const Guard guard(mutex_);
  const auto stream = find(*name);
  if (!stream) return tl::unexpected(stream.error());
  if (const auto fits = check_size(**stream, puts[0]); !fits) return tl::unexpected(fits.error());
  if (status_of(**stream) == "CREATING") {
    return refuse("ResourceNotFoundException",
                  fmt::format("Stream {} under account {} not found.", *name, options_.account));
  }
  const PutOutcome outcome = store(**stream, puts)[0];
  if (!outcome.error_code.empty()) {
    return tl::unexpected<Refused>(Refused{outcome.error_code, outcome.error_message,
                                           outcome.error_code == "InternalFailure" ? 500 : 400});
  }
  return fmt::format(R"({{"ShardId":"{}","SequenceNumber":"{}"}})", outcome.shard_id,
                     outcome.sequence_number);
}

Answer<std::string> KinesisService::Streams::put_records(const Arguments& in) {
  simdjson::dom::element element;
  simdjson::dom::array entries;
  if (!in.find("Records", element)) return required("records");
  if (element.get_array().get(entries) != simdjson::SUCCESS) {
    return Arguments::wrong_type("Records", "a list");
  }
  const std::size_t count = entries.size();
  if (count == 0 || count > 500) {
    return validation(fmt::format("[{} entries]", count), "records",
                      count == 0 ? "Member must have length greater than or equal to 1"
                                 : "Member must have length less than or equal to 500");
  }
  std::vector<Put> puts;
  puts.reserve(count);
  std::size_t bytes = 0;
  for (const auto entry : entries) {
    simdjson::dom::object members;
    if (entry.get_object().get(members) != simdjson::SUCCESS) {
      return Arguments::wrong_type("Records", "a list of objects");
    }
    auto put = checked_put(Arguments(members), fmt::format("records.{}.member.", puts.size() + 1));
    if (!put) return tl::unexpected(put.error());
    bytes += put->data.size() + put->key.size();
    puts.push_back(std::move(*put));
  }
  if (bytes > kRequestBytesMax) {
    return invalid_argument(
        fmt::format("Records size exceeds 10 MB limit: {} bytes in one request.", bytes));
  }
  const auto name = name_in(in);
  if (!name) return tl::unexpected(name.error());
  std::vector<PutOutcome> outcomes;
  {
    const Guard guard(mutex_);
    const auto stream = find(*name);
    if (!stream) return tl::unexpected(stream.error());
    for (const Put& put : puts) {
      if (const auto fits = check_size(**stream, put); !fits) {
        return tl::unexpected(fits.error());
      }
    }
    if (status_of(**stream) == "CREATING") {
      return refuse("ResourceNotFoundException",
                    fmt::format("Stream {} under account {} not found.", *name, options_.account));
    }
    outcomes = store(**stream, puts);
  }
  const auto failed = std::count_if(outcomes.begin(), outcomes.end(),
                                    [](const PutOutcome& o) { return !o.error_code.empty(); });
  std::string out = fmt::format(R"({{"FailedRecordCount":{},"Records":[)", failed);
  out.reserve(out.size() + outcomes.size() * 128);
  for (const PutOutcome& outcome : outcomes) {
    if (out.back() != '[') out += ',';
    if (outcome.error_code.empty()) {
      fmt::format_to(std::back_inserter(out), R"({{"SequenceNumber":"{}","ShardId":"{}"}})",
                     outcome.sequence_number, outcome.shard_id);
    } else {
      fmt::format_to(std::back_inserter(out), R"({{"ErrorCode":"{}","ErrorMessage":{}}})",
                     outcome.error_code, json_quoted(outcome.error_message));
    }
  }
  out += "]}";
  return out;
}

// ---- reading ---------------------------------------------------------------------------------

Answer<std::uint64_t> KinesisService::Streams::position_for(
    const Stream& stream, Shard& shard, std::string_view type,
    std::optional<std::string_view> sequence, std::optional<std::int64_t> time) {
  if (type == "TRIM_HORIZON") return std::uint64_t{0};
  if (type == "LATEST") return shard.next_counter;
  if (type == "AT_TIMESTAMP") {
    if (!time)
      return invalid_argument(
          "Must specify timestampInMillis parameter for iterator of "
          "type AT_TIMESTAMP. Current request has no timestamp "
          "parameter.");
    if (*time > now_ms()) {
      return invalid_argument(
          fmt::format("The timestampInMillis parameter cannot be greater than "
                      "the currentTimestampInMillis. timestampInMillis: {}, "
                      "currentTimestampInMillis: {}",
                      *time, now_ms()));
    }
    const auto found =
        std::partition_point(shard.records.begin(), shard.records.end(),
                             [&](const StoredRecord& record) { return record.arrived_ms < *time; });
    return shard.first_counter() + static_cast<std::uint64_t>(found - shard.records.begin());
  }
  if (type != "AT_SEQUENCE_NUMBER" && type != "AFTER_SEQUENCE_NUMBER") {
    return validation(type, "shardIteratorType",
                      "Member must satisfy enum value set: [AFTER_SEQUENCE_NUMBER, LATEST, "
                      "AT_TIMESTAMP, AT_SEQUENCE_NUMBER, TRIM_HORIZON]");
  }
  if (!sequence) {
    return invalid_argument(
        fmt::format("Must either specify (1) AT_SEQUENCE_NUMBER or "
                    "AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or (2) "
                    "TRIM_HORIZON or LATEST and no StartingSequenceNumber. "
                    "Request specified {} and no StartingSequenceNumber.",
                    type));
  }
  if (*sequence == "0") return std::uint64_t{0};
  const auto number = parse_sequence_number(*sequence);
  const auto foreign = [&] {
    return invalid_argument(
        fmt::format("StartingSequenceNumber {} used in GetShardIterator on shard {} in stream {} "
                    "under account {} is invalid because it did not come from this stream.",
                    *sequence, shard.id, stream.name, options_.account));
  };
  if (!number) return foreign();
  if (number->shard_index != shard.index) {
    return invalid_argument(
        fmt::format("Invalid StartingSequenceNumber. It encodes {}, while it "
                    "was used in a call to a shard with {}",
                    shard_id_of(number->shard_index), shard.id));
  }
  if (number->shard_created_s != shard.created_s) return foreign();
  return type == "AT_SEQUENCE_NUMBER" ? number->counter : number->counter + 1;
}

Answer<std::string> KinesisService::Streams::get_shard_iterator(const Arguments& in) {
  const auto id = in.text_required("ShardId", "shardId");
  if (!id) return tl::unexpected(id.error());
  const auto type = in.text_required("ShardIteratorType", "shardIteratorType");
  if (!type) return tl::unexpected(type.error());
  const auto sequence = in.text("StartingSequenceNumber");
  if (!sequence) return tl::unexpected(sequence.error());
  const auto time = in.time_ms("Timestamp");
  if (!time) return tl::unexpected(time.error());
  const auto name = name_in(in);
  if (!name) return tl::unexpected(name.error());
  const Guard guard(mutex_);
  const auto stream = find(*name);
  if (!stream) return tl::unexpected(stream.error());
  const auto shard = find_shard(**stream, *id);
  if (!shard) return tl::unexpected(shard.error());
  if (options_.limits && !(*shard)->iterator_calls.take(now_ms())) {
    return refuse("ProvisionedThroughputExceededException",
                  fmt::format("Rate exceeded for shard {} in stream {} under account {}.", *id,
                              *name, options_.account));
  }
  const auto counter = position_for(**stream, **shard, *type, *sequence, *time);
  if (!counter) return tl::unexpected(counter.error());
  // As a signed number in the token; counters end far below.
  const Iterator iterator{*name, (*stream)->created_ms, (*shard)->index,
                          std::min(*counter, kLastCounter), now_ms()};
  return fmt::format(R"({{"ShardIterator":"{}"}})", iterator.token());
}

json KinesisService::Streams::children_of(const Stream& stream, const Shard& shard) const {
  json children = json::array();
  for (const auto& child : stream.shards) {
    if (child->parent != shard.id && child->adjacent_parent != shard.id) continue;
    json parents = json::array({child->parent});
    if (!child->adjacent_parent.empty()) parents.push_back(child->adjacent_parent);
    children.push_back({{"ShardId", child->id},
                        {"ParentShards", std::move(parents)},
                        {"HashKeyRange",
                         {{"StartingHashKey", child->first_hash.digits()},
                          {"EndingHashKey", child->last_hash.digits()}}}});
  }
  return children;
}

Answer<std::string> KinesisService::Streams::get_records(const Arguments& in) {
  const auto token = in.text_required("ShardIterator", "shardIterator");
  if (!token) return tl::unexpected(token.error());
  const auto limit = in.number("Limit", "limit", 1, INT32_MAX);
  if (!limit) return tl::unexpected(limit.error());
  if (limit->value_or(1) > 10'000) {
    return invalid_argument(
        fmt::format("Limit {} is greater than the 10000 that GetRecords allows.", **limit));
  }
  const auto parsed = parse_iterator(*token);
  if (!parsed) return invalid_argument("Invalid ShardIterator.");

  std::vector<Found> found;
  std::string next;
  std::string children;
  std::int64_t behind_ms = 0;
  SequenceNumber numbering;
  {
    const Guard guard(mutex_);
    const std::int64_t now = now_ms();
    const auto stream = find(parsed->stream);
    if (!stream) return tl::unexpected(stream.error());
    if ((*stream)->created_ms != parsed->stream_created_ms) {
      return refuse(
          "ResourceNotFoundException",
          fmt::format("The iterator is of a stream {} that was deleted.", parsed->stream));
    }
    const auto shard_found = find_shard(**stream, shard_id_of(parsed->shard_index));
    if (!shard_found) return tl::unexpected(shard_found.error());
    Shard& shard = **shard_found;
    if (now - parsed->issued_ms > options_.iterator_age_max.count()) {
      return refuse("ExpiredIteratorException",
                    fmt::format("Iterator expired. The iterator was created at time {} while right "
                                "now it is {} which is further in the future than the tolerated "
                                "delay of {} milliseconds.",
                                iso8601(wall_time_of_ms(parsed->issued_ms)),
                                iso8601(wall_time_of_ms(now)), options_.iterator_age_max.count()));
    }
    if (options_.limits &&
        (!shard.read_calls.take(now) || !shard.read_bytes.ready(now, kReadBytesPerSecond))) {
      return refuse("ProvisionedThroughputExceededException",
                    fmt::format("Rate exceeded for shard {} in stream {} under account {}.",
                                shard.id, parsed->stream, options_.account));
    }
    numbering = {shard.created_s, shard.index, 0, 0};
    std::uint64_t counter = std::max(parsed->counter, shard.first_counter());
    const auto most = static_cast<std::size_t>(limit->value_or(10'000));
    std::size_t bytes = 0;
    while (counter < shard.next_counter && found.size() < most) {
      const StoredRecord& record = shard.records[counter - shard.first_counter()];
      const std::size_t more = record.key_bytes + record.data_bytes;
      if (!found.empty() && bytes + more > kAnswerBytesMax) break;
      Found& one = found.emplace_back();
      one.key_bytes = record.key_bytes;
      one.counter = counter;
      one.arrived_ms = record.arrived_ms;
      if (shard.segment.is_open()) {
        const Status read = shard.segment.read(record.at, more, one.bytes);
        if (!read) {
          return tl::unexpected<Refused>(Refused{"InternalFailure", read.error().message, 500});
        }
      } else {
        one.bytes = record.bytes;
      }
      bytes += more;
      ++counter;
    }
    if (options_.limits) shard.read_bytes.overdraw(static_cast<std::int64_t>(bytes));
    const bool at_tip = counter >= shard.next_counter;
    if (!at_tip) {
      behind_ms = std::max<std::int64_t>(
          1, now - shard.records[counter - shard.first_counter()].arrived_ms);
    }
    if (at_tip && !shard.open()) {
      children = children_of(**stream, shard).dump();
    } else {
      next = Iterator{parsed->stream, parsed->stream_created_ms, shard.index,
                      std::max(parsed->counter, counter), now}
                 .token();
    }
  }
  std::string out = R"({"Records":[)";
  std::size_t expected = 256;
  for (const Found& record : found) expected += record.bytes.size() * 4 / 3 + 192;
  out.reserve(expected);
  for (const Found& record : found) {
    if (out.back() != '[') out += ',';
    const std::string_view key = std::string_view(record.bytes).substr(0, record.key_bytes);
    numbering.counter = record.counter;
    numbering.time_s = static_cast<std::uint64_t>(record.arrived_ms / 1000);
    fmt::format_to(std::back_inserter(out),
                   R"({{"SequenceNumber":"{}","ApproximateArrivalTimestamp":{},"PartitionKey":{},)"
                   R"("Data":")",
                   numbering.digits(), seconds_of_ms(record.arrived_ms), json_quoted(key));
    append_base64(std::string_view(record.bytes).substr(record.key_bytes), out);
    out += R"("})";
  }
  out += ']';
  if (next.empty()) {
    out += R"(,"NextShardIterator":null,"ChildShards":)" + children;
  } else {
    out += R"(,"NextShardIterator":")" + next + '"';
  }
  out += fmt::format(R"(,"MillisBehindLatest":{}}})", behind_ms);
  return out;
}

// ---- the protocol ----------------------------------------------------------------------------

Answer<std::string> KinesisService::Streams::perform(std::string_view operation,
                                                     const Arguments& in) {
  if (operation == "PutRecords") return put_records(in);
  if (operation == "GetRecords") return get_records(in);
  if (operation == "PutRecord") return put_record(in);
  if (operation == "GetShardIterator") return get_shard_iterator(in);
  if (operation == "ListShards") return list_shards(in);
  if (operation == "DescribeStreamSummary") return describe_stream_summary(in);
  if (operation == "DescribeStream") return describe_stream(in);
  if (operation == "CreateStream") return create_stream(in);
  if (operation == "DeleteStream") return delete_stream(in);
  if (operation == "ListStreams") return list_streams(in);
  if (operation == "SplitShard") return split_shard(in);
  if (operation == "MergeShards") return merge_shards(in);
  if (operation == "UpdateShardCount") return update_shard_count(in);
  if (operation == "IncreaseStreamRetentionPeriod") return change_retention(in, true);
  if (operation == "DecreaseStreamRetentionPeriod") return change_retention(in, false);
  if (operation == "AddTagsToStream") return add_tags(in);
  if (operation == "RemoveTagsFromStream") return remove_tags(in);
  if (operation == "ListTagsForStream") return list_tags(in);
  return refuse("UnknownOperationException",
                fmt::format("This emulator does not have the operation {}.", operation));
}

HttpResponse KinesisService::Streams::handle(const HttpRequest& request) {
  std::string_view target;
  std::string_view type;
  for (const HttpHeader& header : request.headers) {
    const auto is = [&header](std::string_view name) {
      return std::equal(header.name.begin(), header.name.end(), name.begin(), name.end(),
                        [](char a, char b) { return (a | 0x20) == (b | 0x20); });
    };
    if (is("x-amz-target")) target = header.value;
    if (is("content-type")) type = header.value;
  }
  const auto answer = [&]() -> Answer<std::string> {
    if (!target.starts_with(kTargetPrefix) || request.method != "POST") {
      return refuse("UnknownOperationException",
                    "Kinesis takes POST / with X-Amz-Target Kinesis_20131202.<Operation>.");
    }
    if (!type.starts_with("application/x-amz-json-1.1")) {
      return refuse("UnknownOperationException",
                    "This emulator speaks application/x-amz-json-1.1. Java: set "
                    "aws.cborEnabled=false.");
    }
    simdjson::dom::parser parser;
    simdjson::dom::object object;
    // Pads a copy: the body belongs to the caller.
    if (parser.parse(request.body).get_object().get(object) != simdjson::SUCCESS) {
      return refuse("SerializationException", "The body is not a JSON object.");
    }
    return perform(target.substr(kTargetPrefix.size()), Arguments(object));
  }();
  HttpResponse response;
  response.headers = {
      {"Content-Type", "application/x-amz-json-1.1"},
      {"x-amzn-RequestId", fmt::format("00000000-0000-4000-8000-{:012x}",
                                       requests_.fetch_add(1, std::memory_order_relaxed))}};
  if (answer) {
    response.status = 200;
    response.body = *answer;
  } else {
    response.status = answer.error().status;
    response.body = fmt::format(R"({{"__type":"{}","message":{}}})", answer.error().code,
                                json_quoted(answer.error().message));
  }
  return response;
}

KinesisService::KinesisService(std::unique_ptr<Streams> streams) : streams_(std::move(streams)) {}
KinesisService::~KinesisService() = default;

Result<std::unique_ptr<KinesisService>> KinesisService::open(KinesisServiceOptions options,
                                                             const ServiceClock& clock) {
  auto streams = std::make_unique<Streams>(std::move(options), clock);
  if (const Status loaded = streams->load(); !loaded) return fail(loaded.error());
  return std::unique_ptr<KinesisService>(new KinesisService(std::move(streams)));
}

HttpResponse KinesisService::handle(const HttpRequest& request) {
  return streams_->handle(request);
}

std::uint64_t KinesisService::records_accepted() const { return streams_->records_accepted(); }

}  // namespace millrace
