#include "tests/simulation/forwarder_world.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "pipeline/forward_note.h"

namespace millrace {
namespace {

constexpr char kGroup[] = "g-personalize";
constexpr std::size_t kUsers = 12;

}  // namespace

/// Tells the world of every dead letter that came to be durable.
class ForwarderWorld::WatchedStore final : public ObjectStore {
 public:
  WatchedStore(ObjectStore& inner, ForwarderWorld& world) : inner_(inner), world_(world) {}

  Result<std::string> put(const std::string& key, std::string_view bytes,
                          const PutIf& condition) override {
    auto answer = inner_.put(key, bytes, condition);
    if (answer) world_.dead_letters(std::string(bytes));
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
  Status remove(const std::string& key) override { return inner_.remove(key); }
  std::string url_of(const std::string& key) const override { return inner_.url_of(key); }

 private:
  ObjectStore& inner_;
  ForwarderWorld& world_;
};

/// One process: what a crash takes away. The forwarder goes first, it holds references to the rest.
struct ForwarderWorld::Worker {
  Worker(ForwarderWorld& world, const ForwarderOptions& options)
      : process(world.scheduler_.new_process()),
        memory_max(options.pipeline.memory_bytes),
        calls_max(options.sink.personalize.calls_in_flight_max),
        loop(world.scheduler_, process),
        source(*world.log_, kGroup, loop),
        forwarder(std::make_unique<Forwarder>(
            loop, source,
            [&world](const PutEventsRequest& request) { return world.put_events(request); },
            *world.store_, options, world.scheduler_.rng().next(), metrics, log)) {
    forwarder->start([this, &world](const Status& status) {
      finished = true;
      if (!status) world.complain("a worker ended: " + status.error().message);
    });
  }

  ProcessId process;
  std::size_t memory_max;
  std::size_t calls_max;
  SimLoop loop;
  Log log{};
  Metrics metrics{};
  SimSource source;
  std::unique_ptr<Forwarder> forwarder;
  bool finished = false;
};

ForwarderWorld::ForwarderWorld(std::uint64_t seed, const ForwarderWorldOptions& options)
    : options_(options),
      scheduler_(seed),
      log_(std::make_unique<SimLog>(scheduler_, 1 + scheduler_.rng().below(3), options.log)) {
  Rng& rng = scheduler_.rng();
  expected_.resize(log_->partition_count());
  dead_.resize(log_->partition_count());
  fault_rate_ = rng.chance(0.3) ? 0 : 0.4 * rng.unit();
  produce_limit_ = 50 + rng.below(500);
  watched_ = std::make_unique<WatchedStore>(memory_, *this);
  store_ = std::make_unique<FaultyObjectStore>(
      *watched_, [this](const FaultyObjectStore::Call&) -> FaultyObjectStore::Fault {
        Rng& chance = scheduler_.rng();
        if (!chaos_ || !chance.chance(fault_rate_)) return FaultyObjectStore::Fault::none;
        return chance.chance(0.5) ? FaultyObjectStore::Fault::before
                                  : FaultyObjectStore::Fault::lost_reply;
      });
  log_->on_commit([this](const std::string&, std::size_t partition,
                         const std::optional<Committed>& before,
                         const Committed& now) { committed(partition, before, now); });
  workers_.resize(1 + rng.below(3));
  for (std::size_t i = 0; i < workers_.size(); ++i) start_worker(i);
  scheduler_.post_at(kWorldItself, 0ms, [this] { produce(); });
  scheduler_.post_at(kWorldItself, scheduler_.between(0ms, 500ms), [this] { meddle(); });
}

ForwarderWorld::~ForwarderWorld() {
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    if (workers_[i]) crash(i);
  }
}

void ForwarderWorld::start_worker(std::size_t index) {
  Rng& rng = scheduler_.rng();
  ForwarderOptions options{
      .dead_letters = {
          .error_prefix =
              Prefix::parse("errors/!{firehose:error-output-type}/", Prefix::Role::errors).value(),
          .compression = Compression::none,
          .log_name = "interactions",
          .age_max = std::chrono::milliseconds(rng.below(1000))}};
  options.pipeline.memory_bytes = 20'000 + rng.below(400'000);
  options.pipeline.poll_records_max = 1 + rng.below(40);
  options.pipeline.idle_wait = 20ms;
  options.pipeline.drain_deadline = 4s;
  options.read_ahead_bytes = 1000;
  options.commit_interval = std::chrono::milliseconds(rng.below(400));
  options.revoke_wait = std::chrono::milliseconds(rng.below(5000));
  options.close_wait = 3s;
  options.dead_letter_bytes_per_partition_max = 300 + rng.below(20'000);
  options.sink.personalize.tracking_id = "tracker";
  options.sink.personalize.linger = std::chrono::milliseconds(rng.below(500));
  options.sink.personalize.calls_in_flight_max = 1 + rng.below(8);
  options.sink.personalize.calls_per_second_max = 20 + static_cast<double>(rng.below(1000));
  options.sink.failures_before_probing = 4 + rng.below(30);
  workers_[index] = std::make_unique<Worker>(*this, options);
}

void ForwarderWorld::crash(std::size_t index) {
  scheduler_.kill(workers_[index]->process);
  workers_[index].reset();
}

Status ForwarderWorld::put_events(const PutEventsRequest& request) {
  ++calls_;
  Rng& rng = scheduler_.rng();
  if (request.events.empty() || request.events.size() > kPutEventsMax) {
    complain(fmt::format("a call of {} events", request.events.size()));
  }
  if (chaos_ && scheduler_.now() < refuses_all_until_) {
    users_[std::string(request.user_id)].exempt = true;
    return fail(ErrorKind::rejected, "no such tracker");
  }
  if (chaos_ && rng.chance(fault_rate_)) {
    switch (rng.below(5)) {
      case 0:
        return fail(ErrorKind::throttled, "slow down");
      case 1:
        return fail(ErrorKind::ambiguous, "no reply, no effect");
      case 2:
        accept(request);
        return fail(ErrorKind::ambiguous, "no reply");
      case 3:
        return fail(ErrorKind::denied, "not allowed");
      default:
        return fail(ErrorKind::transient, "503");
    }
  }
  for (const auto& event : request.events) {
    if (event.item_id == "poison") return fail(ErrorKind::rejected, "poison in " + event.event_id);
  }
  if (options_.lying_service && rng.chance(0.05)) return {};
  accept(request);
  return {};
}

void ForwarderWorld::accept(const PutEventsRequest& request) {
  const auto has_poison = [](const Event& event) { return event.item_id == "poison"; };
  if (std::any_of(request.events.begin(), request.events.end(), has_poison)) return;
  for (const auto& event : request.events) {
    const auto found = sent_.find(event.event_id);
    if (found == sent_.end()) return complain("an event that nobody produced: " + event.event_id);
    Sent& sent = found->second;
    if (sent.user != request.user_id || sent.item != event.item_id ||
        sent.timestamp != event.timestamp) {
      return complain("another event than was produced: " + event.event_id);
    }
    if (std::exchange(sent.accepted, true)) {
      ++repeated_;
      continue;
    }
    User& user = users_[sent.user];
    if (sent.place > user.next && !user.exempt) {
      complain(fmt::format("event {} of {} was accepted first, {} is still missing", event.event_id,
                           sent.user, user.events[user.next]));
    }
    while (user.next < user.events.size() && sent_.at(user.events[user.next]).accepted) {
      ++user.next;
    }
  }
}

void ForwarderWorld::dead_letters(const std::string& bytes) {
  std::istringstream lines(bytes);
  for (std::string text; std::getline(lines, text);) {
    const auto line = nlohmann::json::parse(text, nullptr, false);
    Position position;
    if (!line.is_object() || !parse_position(line.at("position").get<std::string>(), position)) {
      return complain("a dead letter that cannot be read: " + text);
    }
    const std::size_t partition = std::stoul(line.at("partition").get<std::string>());
    const std::string index = line.contains("index") ? line.at("index").dump() : "";
    const std::string& digits = position.offset.digits;
    const std::int64_t number =
        std::stoll(log_->options().successor_positions ? digits : digits.substr(3));
    const auto expected = expected_.at(partition).find(number);
    if (expected == expected_.at(partition).end() || !expected->second.dead.contains(index)) {
      return complain("a sound event was dead-lettered: " + text);
    }
    dead_.at(partition)[number].insert(index);
  }
}

std::int64_t ForwarderWorld::first_open(const Position& position) const {
  const std::string& digits = position.offset.digits;
  if (digits.empty()) return 0;
  return log_->options().successor_positions ? std::stoll(digits)
                                             : std::stoll(digits.substr(3)) + 1;
}

void ForwarderWorld::committed(std::size_t partition, const std::optional<Committed>& before,
                               const Committed& now) {
  if (before && now.position < before->position) {
    complain(fmt::format("partition {} moved back", partition));
  }
  const auto note = parse_forward_note(now.note);
  if (!note) return complain(note.error().message);
  const std::int64_t open = first_open(now.position);
  Books books;
  for (const auto& [number, expected] : expected_.at(partition)) {
    if (number >= open) break;
    ++books.records;
    books.empty += expected.accepted.empty() && expected.dead.empty() ? 1 : 0;
    books.accepted += expected.accepted.size();
    books.dead_lettered += expected.dead.size();
    books.read += expected.accepted.size() + expected.dead.size();
    for (const auto& id : expected.accepted) {
      if (!sent_.at(id).accepted) complain("committed, but not accepted: " + id);
    }
    if (!expected.dead.empty() && dead_.at(partition)[number] != expected.dead) {
      complain(fmt::format("committed, but the dead letters of record {} are not there", number));
    }
  }
  if (*note != books) complain("the books do not add up: " + now.note);
}

void ForwarderWorld::produce() {
  Rng& rng = scheduler_.rng();
  for (std::uint64_t n = rng.below(8); n > 0 && produced_ < produce_limit_; --n, ++produced_) {
    const std::size_t number_of_user = rng.below(kUsers);
    const std::string name = fmt::format("u{}", number_of_user);
    const std::size_t partition = number_of_user % log_->partition_count();
    Expected expected;
    std::string text;
    bool tombstone = false;
    switch (rng.below(12)) {
      case 0:
        text = "not JSON";
        expected.dead.insert("");
        break;
      case 1:
        tombstone = rng.chance(0.5);
        text = tombstone ? "" : "  ";
        break;
      default: {
        const std::uint64_t count = 1 + (rng.chance(0.3) ? rng.below(14) : 0);
        for (std::uint64_t index = 0; index < count; ++index) {
          const std::string id = fmt::format("e{}", events_++);
          const std::int64_t time = 1'795'000'000 + static_cast<std::int64_t>(rng.below(100));
          const bool poison = rng.chance(0.03);
          const std::string item = poison ? "poison" : fmt::format("i{}", rng.below(50));
          if (poison) {
            expected.dead.insert(std::to_string(index));
          } else {
            expected.accepted.push_back(id);
            User& user = users_[name];
            sent_[id] = {user.events.size(), name, item, time, false};
            user.events.push_back(id);
          }
          text += fmt::format(
              R"({}{{"item_id":"{}","timestamp":{},"event_id":"{}","session_id":"s{}"}})",
              index == 0 ? "" : ",", item, time, id, rng.below(2));
        }
        text = fmt::format(R"({{"user_id":"{}","event_list":[{}]}})", name, text);
      }
    }
    log_->append(partition, text, 1'795'000'000'000, tombstone,
                 rng.chance(0.1) ? static_cast<std::int64_t>(rng.below(3)) : 0);
    expected_.at(partition).emplace(log_->records(partition).back().number, std::move(expected));
  }
  if (produced_ < produce_limit_) {
    scheduler_.post_at(kWorldItself, scheduler_.now() + scheduler_.between(1ms, 300ms),
                       [this] { produce(); });
  }
}

// Now and then something happens to a worker, or the service refuses everybody for a while.
void ForwarderWorld::meddle() {
  if (!chaos_) return;
  Rng& rng = scheduler_.rng();
  const std::size_t index = rng.below(workers_.size());
  auto& worker = workers_[index];
  switch (rng.below(8)) {
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
        worker->forwarder->stop();
      }
      break;
    case 4:
      log_->shuffle(kGroup);
      break;
    default:
      break;
  }
  if (!worker || worker->finished) {
    worker.reset();
    start_worker(index);
  }
  scheduler_.post_at(kWorldItself, scheduler_.now() + scheduler_.between(1ms, 800ms),
                     [this] { meddle(); });
}

void ForwarderWorld::check_step() {
  for (const auto& worker : workers_) {
    if (!worker) continue;
    const ForwarderStatus status = worker->forwarder->status();
    if (status.calls_in_flight > worker->calls_max) {
      complain(fmt::format("{} calls at a time", status.calls_in_flight));
    }
    // One poll of 40 records of 14 events at the most, each some 600 bytes of memory.
    if (status.bytes_held > worker->memory_max + 500'000) {
      complain(
          fmt::format("{} bytes held where {} are allowed", status.bytes_held, worker->memory_max));
    }
    if (status.books.read < status.books.accepted + status.books.dead_lettered) {
      complain("more settled than read");
    }
  }
}

bool ForwarderWorld::drained() const {
  if (produced_ < produce_limit_) return false;
  for (std::size_t i = 0; i < log_->partition_count(); ++i) {
    const auto committed = log_->committed(kGroup, i);
    if (log_->records(i).empty()) continue;
    if (!committed || committed->position < log_->after(log_->at(log_->records(i).back().number))) {
      return false;
    }
  }
  return true;
}

std::string ForwarderWorld::run() {
  std::uint64_t steps = 0;
  if (scheduler_.rng().chance(0.2)) refuses_all_until_ = scheduler_.between(0s, 8s);
  while (problem_.empty()) {
    if (scheduler_.now() > options_.chaos) {
      chaos_ = false;  // faults stop; whoever is dead or has left comes back
      for (std::size_t i = 0; i < workers_.size(); ++i) {
        if (workers_[i] && !workers_[i]->finished) continue;
        workers_[i].reset();
        start_worker(i);
      }
    }
    if (!chaos_ && drained()) break;
    if (!chaos_ && scheduler_.now() > options_.chaos + options_.drain_limit) {
      complain("it does not drain: " + story());
    }
    if (!scheduler_.step()) complain("nothing happens any more");
    if (++steps % 16 == 0) check_step();
  }
  return problem_;
}

std::string ForwarderWorld::story() const {
  return fmt::format(
      "{} partitions, {} workers, {} records, {} events, {} calls, {} repeated, {} crashes, {} "
      "freezes, {} stops, {} commits refused, {:.1f} s",
      log_->partition_count(), workers_.size(), produced_, events_, calls_, repeated_, crashes_,
      freezes_, stops_, log_->commits_refused(),
      std::chrono::duration<double>(scheduler_.now()).count());
}

}  // namespace millrace
