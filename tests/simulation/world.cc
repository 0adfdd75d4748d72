#include "tests/simulation/world.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "lake/byte_reader.h"
#include "lake/decompress.h"

namespace millrace {
namespace {

constexpr char kGroup[] = "g-lake";

std::string content_of(const std::string& bytes) {
  class Reader final : public ByteReader {
   public:
    explicit Reader(std::string_view text) : text_(text) {}
    Result<std::size_t> read(char* buffer, std::size_t capacity) override {
      const std::size_t count = text_.copy(buffer, capacity);
      text_.remove_prefix(count);
      return count;
    }

   private:
    std::string_view text_;
  };
  Reader reader(bytes);
  Decompressor content(reader, "object");
  std::string out;
  char piece[16384];
  for (;;) {
    const auto count = content.read(piece, sizeof piece);
    if (!count) return "unreadable: " + count.error().message;
    if (*count == 0) return out;
    out.append(piece, *count);
  }
}

}  // namespace

// ---- the ledger -------------------------------------------------------------------------------

std::int64_t LakeLedger::number_of(const Position& position) const {
  const std::string& digits = position.offset.digits;
  if (digits.empty()) return -1;
  return std::stoll(log_.options().successor_positions ? digits : digits.substr(3));
}

std::int64_t LakeLedger::first_open(const Position& position) const {
  return log_.options().successor_positions ? number_of(position) : number_of(position) + 1;
}

void LakeLedger::expect(std::size_t partition, std::int64_t number, Expected expected) {
  partitions_.at(partition).expected.emplace(number, std::move(expected));
}

void LakeLedger::created(const std::string& key, const std::string& bytes) {
  ++objects_;
  const auto cut = parse_cut_key(key);
  if (!cut) return complain("an object of no known name: " + key);
  Partition& partition = partitions_.at(std::stoul(cut->object.partition));
  const auto [range, is_new] =
      partition.ranges[cut->object.incarnation].try_emplace(cut->object.from, cut->object.to);
  if (!is_new && range->second != cut->object.to) {
    complain(fmt::format("two cuts begin at {}: up to {} and up to {}", cut->object.from.text(),
                         range->second.text(), cut->object.to.text()));
  }
  const std::string content = content_of(bytes);
  if (content.empty() || content.back() != '\n') return complain("no line feed ends " + key);
  for (std::size_t begin = 0; begin < content.size();) {
    const std::size_t end = content.find('\n', begin);
    const auto line = nlohmann::json::parse(content.substr(begin, end - begin), nullptr, false);
    begin = end + 1;
    if (!line.is_object()) return complain("a line that is no object in " + key);
    const auto& origin = cut->dead_letters ? line : line.at("_source");
    Position position;
    if (!parse_position(origin.at("position").get<std::string>(), position)) {
      return complain("a line without a position in " + key);
    }
    const std::int64_t number = number_of(position);
    const auto expected = partition.expected.find(number);
    if (expected == partition.expected.end() || origin.at("partition") != cut->object.partition) {
      return complain("a line that nobody produced in " + key);
    }
    if (first_open(cut->object.from) > number || first_open(cut->object.to) <= number) {
      complain(fmt::format("record {} lies outside of {}", number, key));
    }
    Seen& seen = partition.seen[number];
    std::size_t& count = cut->dead_letters ? seen.dead : seen.lines;
    ++count;
    if (count > (cut->dead_letters ? expected->second.dead : expected->second.lines)) {
      complain(fmt::format("record {} of partition {} is in the lake twice, again in {}", number,
                           cut->object.partition, key));
    }
    if (cut->object.hour != expected->second.by_arrival &&
        cut->object.hour != expected->second.by_event) {
      complain(fmt::format("record {} lies in the wrong hour: {}", number, key));
    }
    if (!cut->dead_letters && line.contains("n") && expected->second.lines == 1 &&
        expected->second.text.find(fmt::format("\"n\":{},", line.at("n").get<std::int64_t>())) ==
            std::string::npos) {
      complain(fmt::format("record {} has the text of another", number));
    }
  }
}

void LakeLedger::committed(std::size_t index, const std::optional<Committed>& before,
                           const Committed& now) {
  Partition& partition = partitions_.at(index);
  if (before && now.position < before->position) {
    complain(fmt::format("partition {} moved back from {} to {}", index, before->position.text(),
                         now.position.text()));
  }
  const std::int64_t open = first_open(now.position);
  for (auto at = partition.expected.lower_bound(partition.checked_below);
       at != partition.expected.end() && at->first < open; ++at) {
    const Seen seen = partition.seen[at->first];
    if (seen.lines != at->second.lines || seen.dead != at->second.dead) {
      complain(fmt::format("partition {} is committed up to {}, but record {} is not durable",
                           index, now.position.text(), at->first));
    }
  }
  partition.checked_below = std::max(partition.checked_below, open);
}

void LakeLedger::finished(std::size_t index, const std::optional<Committed>& committed) {
  Partition& partition = partitions_.at(index);
  RecordBooks books;
  for (const auto& [number, expected] : partition.expected) {
    const Seen seen = partition.seen[number];
    if (seen.lines != expected.lines || seen.dead != expected.dead) {
      complain(
          fmt::format("record {} of partition {} is in the lake {} and {} times, not {} and {}",
                      number, index, seen.lines, seen.dead, expected.lines, expected.dead));
    }
    ++books.read;
    ++(expected.lines > 0 ? books.stored : expected.dead > 0 ? books.dead_lettered : books.empty);
  }
  if (partition.ranges.size() > 1) complain("one log, more than one incarnation");
  for (const auto& [incarnation, ranges] : partition.ranges) {
    Position end;
    for (const auto& [from, to] : ranges) {
      if (from < end) complain("the cuts at " + from.text() + " overlap");
      // What lies between two cuts' names must be records that leave no object.
      for (auto at = partition.expected.lower_bound(first_open(end));
           at != partition.expected.end() && at->first < first_open(from); ++at) {
        if (at->second.lines + at->second.dead > 0) complain("the names leave a gap");
      }
      end = to;
    }
  }
  if (!committed) return complain("nothing is committed");
  const auto note = parse_cut_note(committed->note);
  if (!note) return complain(note.error().message);
  if (note->intent) complain("a cut is still under way");
  if (note->books != books) {
    complain(fmt::format("books of partition {}: {} read, {} stored, {} dead-lettered, {} empty",
                         index, note->books.read, note->books.stored, note->books.dead_lettered,
                         note->books.empty));
  }
}

// ---- the world --------------------------------------------------------------------------------

/// Tells the ledger of every object that comes to stand in the lake.
class World::WatchedStore final : public ObjectStore {
 public:
  WatchedStore(ObjectStore& inner, LakeLedger& ledger, std::function<bool()> lies)
      : inner_(inner), ledger_(ledger), lies_(std::move(lies)) {}

  Result<std::string> put(const std::string& key, std::string_view bytes,
                          const PutIf& condition) override {
    if (condition.kind != PutIf::Kind::absent) ledger_.complain("a put that may replace " + key);
    if (lies_()) return std::string("etag");
    auto answer = inner_.put(key, bytes, condition);
    if (answer) ledger_.created(key, std::string(bytes));
    return answer;
  }
  Result<ObjectBytes> get(const std::string& key) override { return inner_.get(key); }
  Result<ObjectInfo> head(const std::string& key) override { return inner_.head(key); }
  Result<std::unique_ptr<ObjectReader>> open(const std::string& key) override {
    return inner_.open(key);
  }
  Result<std::unique_ptr<ObjectWriter>> create(const std::string& key) override {
    return inner_.create(key);
  }
  Result<ObjectPage> list(const std::string& prefix, const std::string& after,
                          std::size_t objects_max) override {
    return inner_.list(prefix, after, objects_max);
  }
  Status remove(const std::string& key) override {
    ledger_.complain("the archiver removed " + key);
    return inner_.remove(key);
  }
  std::string url_of(const std::string& key) const override { return inner_.url_of(key); }

 private:
  ObjectStore& inner_;
  LakeLedger& ledger_;
  std::function<bool()> lies_;
};

/// One process: what a crash takes away. The archiver goes first, it holds references to the rest.
struct World::Worker {
  Worker(World& world, const LakeOptions& lake, const PipelineOptions& pipeline)
      : process(world.scheduler_.new_process()),
        memory_max(pipeline.memory_bytes),
        uploads_max(pipeline.uploads_max),
        loop(world.scheduler_, process),
        rng(world.scheduler_.rng().next()),
        source(*world.log_, kGroup, loop) {
    auto made = Archiver::make(loop, source, *world.store_, lake, DecodeOptions{}, pipeline, rng,
                               log, metrics);
    if (!made) {
      world.ledger_.complain(made.error().message);
      return;
    }
    archiver = std::move(*made);
    archiver->start([this, &world](const Status& status) {
      finished = true;
      if (!status) world.ledger_.complain("a worker ended: " + status.error().message);
    });
  }

  ProcessId process;
  std::size_t memory_max;
  std::size_t uploads_max;
  SimLoop loop;
  Rng rng;
  Log log{};
  Metrics metrics{};
  SimSource source;
  std::unique_ptr<Archiver> archiver{};
  bool finished = false;
};

World::World(std::uint64_t seed, const WorldOptions& options)
    : options_(options),
      scheduler_(seed),
      log_(std::make_unique<SimLog>(scheduler_, 1 + scheduler_.rng().below(3), options.log)),
      ledger_(*log_) {
  Rng& rng = scheduler_.rng();
  fault_rate_ = rng.chance(0.3) ? 0 : 0.25 * rng.unit();
  produce_limit_ = 50 + rng.below(500);
  watched_ = std::make_unique<WatchedStore>(
      memory_, ledger_, [this] { return options_.lying_store && scheduler_.rng().chance(0.05); });
  store_ = std::make_unique<FaultyObjectStore>(
      *watched_, [this](const FaultyObjectStore::Call&) -> FaultyObjectStore::Fault {
        Rng& chance = scheduler_.rng();
        if (!chaos_ || !chance.chance(fault_rate_)) return FaultyObjectStore::Fault::none;
        return chance.chance(0.5) ? FaultyObjectStore::Fault::before
                                  : FaultyObjectStore::Fault::lost_reply;
      });
  log_->on_commit([this](const std::string&, std::size_t partition,
                         const std::optional<Committed>& before,
                         const Committed& now) { ledger_.committed(partition, before, now); });
  workers_.resize(1 + rng.below(3));
  for (std::size_t i = 0; i < workers_.size(); ++i) start_worker(i);
  scheduler_.post_at(kWorldItself, 0ms, [this] { produce(); });
  scheduler_.post_at(kWorldItself, scheduler_.between(0ms, 500ms), [this] { meddle(); });
}

World::~World() {
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    if (workers_[i]) crash(i);
  }
}

void World::start_worker(std::size_t index) {
  Rng& rng = scheduler_.rng();
  LakeOptions lake;
  // A restart may come with another configuration; a cut under way is finished in the old one.
  lake.prefix = rng.chance(0.5) ? "lake/!{timestamp:yyyy/MM/dd/HH/}" : "other/!{timestamp:HH/}x-";
  lake.error_prefix = "errors/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd/HH/}";
  lake.compression = static_cast<Compression>(rng.below(3));
  lake.partition_by = rng.chance(0.3) ? PartitionBy::event : PartitionBy::arrival;
  lake.buffer_bytes = 500 + rng.below(20'000);
  lake.buffer_interval = std::chrono::milliseconds(100 + rng.below(3000));
  PipelineOptions pipeline;
  pipeline.memory_bytes = 20'000 + rng.below(400'000);
  pipeline.poll_records_max = 1 + rng.below(40);
  pipeline.idle_wait = 20ms;
  pipeline.drain_deadline = 4s;
  pipeline.open_hours_max = 1 + rng.below(4);
  pipeline.uploads_max = 1 + rng.below(3);
  workers_[index] = std::make_unique<Worker>(*this, lake, pipeline);
}

void World::crash(std::size_t index) {
  scheduler_.kill(workers_[index]->process);
  workers_[index].reset();
}

void World::produce() {
  Rng& rng = scheduler_.rng();
  for (std::uint64_t n = rng.below(8); n > 0 && produced_ < produce_limit_; --n, ++produced_) {
    const std::size_t partition = rng.below(log_->partition_count());
    const std::int64_t hour_ms = 3'600'000;
    const std::int64_t arrived_ms =
        1'795'000'000'000 +
        (rng.chance(0.9) ? 0 : static_cast<std::int64_t>(rng.below(5)) * hour_ms);
    const std::int64_t happened = 1'700'000'000 + static_cast<std::int64_t>(rng.below(3)) * 3600;
    const std::string event = fmt::format(
        R"({{"n":{},"user_id":"u","item_id":"i","timestamp":{},"pad":"{}"}})", produced_, happened,
        std::string(rng.below(rng.chance(0.02) ? 5000 : 100), 'x'));
    LakeLedger::Expected expected{.lines = 1,
                                  .dead = 0,
                                  .by_arrival = LakeHour::of_ms(arrived_ms),
                                  .by_event = LakeHour::of_seconds(happened),
                                  .text = event};
    std::string text = event;
    bool tombstone = false;
    switch (rng.below(12)) {
      case 0:  // two lines and one entry that is none
        text = "[" + event + ",\n7," + event + "]";
        expected.lines = 2;
        expected.dead = 1;
        break;
      case 1:
        text = "not JSON \xff";
        expected.lines = 0;
        expected.dead = 1;
        break;
      case 2:
        tombstone = rng.chance(0.5);
        text = tombstone ? "" : " ";
        expected.lines = 0;
        break;
      default:
        break;
    }
    const std::int64_t number =
        log_->records(partition).empty() ? -1 : log_->records(partition).back().number;
    log_->append(partition, text, arrived_ms, tombstone,
                 rng.chance(0.1) ? static_cast<std::int64_t>(rng.below(3)) : 0);
    MILLRACE_CHECK(log_->records(partition).back().number > number);
    ledger_.expect(partition, log_->records(partition).back().number, std::move(expected));
  }
  if (produced_ < produce_limit_) {
    scheduler_.post_at(kWorldItself, scheduler_.now() + scheduler_.between(1ms, 300ms),
                       [this] { produce(); });
  }
}

// Now and then something happens to a worker.
void World::meddle() {
  if (!chaos_) return;
  Rng& rng = scheduler_.rng();
  const std::size_t index = rng.below(workers_.size());
  auto& worker = workers_[index];
  switch (rng.below(6)) {
    case 0:
    case 1:
      if (worker) {
        ++crashes_;
        crash(index);
      }
      break;
    case 2:
      if (worker) {
        ++freezes_;
        scheduler_.freeze(worker->process, scheduler_.now() + scheduler_.between(0ms, 6s));
      }
      break;
    case 3:
      if (worker && !scheduler_.frozen(worker->process)) {
        ++stops_;
        worker->archiver->stop();
      }
      break;
    case 4:
      log_->shuffle(kGroup);
      break;
    default:
      break;
  }
  if (!worker || worker->finished) {
    if (worker) crash(index);
    start_worker(index);
  }
  scheduler_.post_at(kWorldItself, scheduler_.now() + scheduler_.between(1ms, 800ms),
                     [this] { meddle(); });
}

void World::check_step() {
  for (const auto& worker : workers_) {
    if (!worker || !worker->archiver) continue;
    const ArchiverStatus status = worker->archiver->status();
    if (status.uploads_in_flight > worker->uploads_max) {
      ledger_.complain(fmt::format("{} uploads at a time", status.uploads_in_flight));
    }
    // One poll of 40 records of 10 KB at the most; strings double as they grow.
    const bool replaying =
        std::any_of(status.partitions.begin(), status.partitions.end(),
                    [](const auto& partition) { return partition.doing == "replaying"; });
    if (!replaying && status.bytes_held > 2 * worker->memory_max + 1'000'000) {
      ledger_.complain(
          fmt::format("{} bytes held where {} are allowed", status.bytes_held, worker->memory_max));
    }
  }
}

bool World::drained() const {
  if (produced_ < produce_limit_) return false;
  for (std::size_t i = 0; i < log_->partition_count(); ++i) {
    const auto committed = log_->committed(kGroup, i);
    if (!committed || committed->note.find(" c=") != std::string::npos) return false;
    if (log_->records(i).empty()) continue;
    if (committed->position < log_->after(log_->at(log_->records(i).back().number))) return false;
  }
  return true;
}

std::string World::run() {
  std::uint64_t steps = 0;
  while (ledger_.problem().empty()) {
    if (scheduler_.now() > options_.chaos) {
      chaos_ = false;  // faults stop; whoever is dead or has left comes back
      for (std::size_t i = 0; i < workers_.size(); ++i) {
        if (workers_[i] && !workers_[i]->finished) continue;
        if (workers_[i]) crash(i);
        start_worker(i);
      }
    }
    if (!chaos_ && drained()) break;
    if (!chaos_ && scheduler_.now() > options_.chaos + options_.drain_limit) {
      ledger_.complain("it does not drain: " + story());
    }
    if (!scheduler_.step()) ledger_.complain("nothing happens any more");
    if (++steps % 16 == 0) check_step();
  }
  for (std::size_t i = 0; i < log_->partition_count() && ledger_.problem().empty(); ++i) {
    ledger_.finished(i, log_->committed(kGroup, i));
  }
  return ledger_.problem();
}

std::string World::story() const {
  return fmt::format(
      "{} partitions, {} workers, {} records, {} objects, {} crashes, {} freezes, {} stops, {} "
      "commits refused, {:.1f} s",
      log_->partition_count(), workers_.size(), produced_, ledger_.objects(), crashes_, freezes_,
      stops_, log_->commits_refused(), std::chrono::duration<double>(scheduler_.now()).count());
}

}  // namespace millrace
