#include "pipeline/forwarder.h"

#include <algorithm>
#include <span>
#include <utility>

#include "core/check.h"
#include "pipeline/forward_note.h"

namespace millrace {
namespace {

std::size_t limit_of(const ForwarderOptions& options) {
  const std::size_t memory = options.pipeline.memory_bytes;
  // Twice: what the source holds ahead, and what it has just handed out and fetches again.
  const std::size_t ahead = 2 * options.read_ahead_bytes;
  return std::max(memory / 4, memory > ahead ? memory - ahead : 0);
}

}  // namespace

Forwarder::Forwarder(Loop& loop, Source& source, PersonalizeSink::Call call, ObjectStore& store,
                     ForwarderOptions options, std::uint64_t seed, Metrics& metrics, const Log& log)
    : loop_(loop),
      source_(source),
      options_(std::move(options)),
      log_(log),
      bytes_max_(limit_of(options_)),
      decoder_(options_.decoding),
      batcher_({.linger = options_.sink.personalize.linger}),
      sink_(loop, std::move(call), options_.sink, seed, metrics, log),
      dead_letters_(loop, store, options_.dead_letters, seed + 1, metrics, log),
      records_read_(metrics.counter("millrace_forwarder_records_read_total",
                                    "Records that the forwarder took from the source")),
      records_empty_(metrics.counter("millrace_forwarder_records_empty_total",
                                     "Tombstones and blank records, which hold no event")),
      events_read_(metrics.counter("millrace_forwarder_events_read_total",
                                   "Events decoded or refused by the decoder")),
      events_anonymous_(metrics.counter("millrace_forwarder_events_anonymous_total",
                                        "Events of a session without a user")),
      events_skipped_(metrics.counter("millrace_forwarder_events_skipped_total",
                                      "Events older than personalize.skip_older_than")),
      events_dead_lettered_(metrics.counter("millrace_forwarder_events_dead_lettered_total",
                                            "Events that are durable as dead letters")),
      commits_(metrics.counter("millrace_forwarder_commits_total", "Positions committed")),
      events_waiting_(metrics.gauge("millrace_forwarder_events_waiting",
                                    "Events read and neither accepted nor given up")),
      bytes_gauge_(metrics.gauge("millrace_forwarder_bytes_held",
                                 "Memory of events, record texts and dead letters")) {
  sink_.on_room([this] { deliver_ready(); });
}

void Forwarder::start(Finished finished) {
  MILLRACE_CHECK(!finished_);
  finished_ = std::move(finished);
  loop_.post([this, alive = std::weak_ptr<bool>(alive_)] {
    if (!alive.expired()) pump();
  });
}

void Forwarder::stop() {
  if (stopping_ || ended_) return;
  stopping_ = true;
  drain_until_ = loop_.now() + options_.pipeline.drain_deadline;
  batcher_.flush(loop_.now());
  dead_letters_.flush();
}

void Forwarder::pump() {
  if (ended_) return;
  const bool at_end = options_.pipeline.until_end && source_.at_end();
  const bool reading = !stopping_ && !at_end && bytes_held() < bytes_max_;
  auto events = source_.poll(reading ? options_.pipeline.poll_records_max : 0);
  if (!events) {
    end(fail(std::move(events.error())));
    return;
  }
  const bool busy = std::any_of(events->begin(), events->end(), [](const SourceEvent& event) {
    return std::holds_alternative<Records>(event);
  });
  for (auto& event : *events) {
    std::visit([this](auto& one) { handle(std::move(one)); }, event);
  }
  if ((at_end || stopping_) && batcher_.next_ready() > loop_.now()) batcher_.flush(loop_.now());
  deliver_ready();
  look_at_dead_letters();
  look_at_trouble();
  let_leave();
  commit_settled();
  sample_rate();
  events_waiting_.set(static_cast<std::int64_t>(batcher_.events() + sink_.state().events));
  bytes_gauge_.set(static_cast<std::int64_t>(bytes_held()));

  if (at_end && !stopping_ && all_settled_and_committed()) stop();
  if (stopping_ && !closing_ && (all_settled_and_committed() || loop_.now() >= drain_until_)) {
    closing_ = true;
    close_until_ = loop_.now() + options_.close_wait;
    source_.close();
  }
  if (closing_ && (source_.closed() || loop_.now() >= close_until_)) {
    end(outcome_);
    return;
  }
  Ticks next = loop_.now() + options_.pipeline.idle_wait;
  if (busy) next = loop_.now();
  if (const auto ready = batcher_.next_ready(); ready && sink_.can_start()) {
    next = std::min(next, std::max(*ready, loop_.now()));
  }
  loop_.post_at(next, [this, alive = std::weak_ptr<bool>(alive_)] {
    if (!alive.expired()) pump();
  });
}

Forwarder::Partition* Forwarder::find(const PartitionId& id, Tenure tenure) {
  const auto found = partitions_.find(id);
  return found != partitions_.end() && found->second->tenure == tenure ? found->second.get()
                                                                       : nullptr;
}

Forwarder::Partition* Forwarder::find(std::uint32_t stream) {
  const auto found = streams_.find(stream);
  return found == streams_.end() ? nullptr : found->second;
}

std::string Forwarder::where(const PartitionId& id) const {
  return "partition " + id.value + " of " + source_.kind() + " " + source_.log_name();
}

void Forwarder::handle(Assigned event) {
  if (const auto old = partitions_.find(event.partition); old != partitions_.end()) {
    drop(*old->second);
  }
  auto made = std::make_unique<Partition>();
  Partition& partition = *made;
  partition.id = event.partition;
  partition.tenure = event.tenure;
  partition.stream = ++streams_made_;
  streams_[partition.stream] = &partition;
  partitions_[event.partition] = std::move(made);

  const bool nothing = !event.committed || (event.committed->position.offset.digits.empty() &&
                                            event.committed->note.empty());
  if (nothing) {
    partition.committed = event.start;
    anchor(partition);
    return;
  }
  partition.committed = event.committed->position;
  auto books = parse_forward_note(event.committed->note);
  if (!books && options_.pipeline.adopt == Adopt::none) {
    partition.phase = Phase::stuck;
    partition.waiting = books.error().message;
    refuse(where(partition.id) + ": " + books.error().message + ", at position " +
           partition.committed.text() +
           "; use another group or name, or start with --adopt to go on from there with new books");
    return;
  }
  if (!books) {
    log_.warn("position adopted, the books begin anew",
              {{"partition", partition.id.value}, {"position", partition.committed.text()}});
    books = Books{};
  }
  partition.tracker = AckTracker(*books);
  partition.committed_records = books->records;
  partition.phase = Phase::forwarding;
  source_.start(partition.id, partition.tenure, partition.committed);
}

// Committed before the first read: a crash before the first settled record would otherwise resolve
// `start: latest` anew and lose what came in between.
void Forwarder::anchor(Partition& partition) {
  if (partition.committed.offset.digits.empty()) {  // the source remembers its start by itself
    partition.phase = Phase::forwarding;
    source_.start(partition.id, partition.tenure, partition.committed);
    return;
  }
  commit(partition, partition.committed, Books{});
}

void Forwarder::handle(Records event) {
  Partition* partition = find(event.batch.partition, event.batch.tenure);
  if (partition == nullptr || partition->phase != Phase::forwarding) return;
  for (auto& record : event.batch.records) forward(*partition, event.batch, record);
}

void Forwarder::forward(Partition& partition, const RecordBatch& batch, RecordRef& record) {
  records_read_.add();
  const std::string_view text = batch.text_of(record);
  std::uint32_t events = 0;
  std::uint32_t anonymous = 0;
  if (!record.tombstone) {
    decoder_.decode(text, record.arrived_ms, decoded_);
    events = static_cast<std::uint32_t>(decoded_.events.size() + decoded_.refused.size());
    for (const auto& event : decoded_.events) anonymous += event.anonymous() ? 1 : 0;
  }
  const std::uint64_t number =
      partition.tracker.add(std::move(record.at), text, record.arrived_ms, events, anonymous);
  if (events == 0) {
    records_empty_.add();
    return;
  }
  events_read_.add(events);
  events_anonymous_.add(anonymous);
  for (const auto& refusal : decoded_.refused) {
    dead_letter(partition, number, refusal.index, kDecodeFailed, refusal.reason, 1);
  }
  for (auto& event : decoded_.events) {
    const EventTag tag{partition.stream, number};
    if (too_old(event)) {
      settle(tag, Settled::skipped);
    } else {
      batcher_.add(std::move(event), tag, loop_.now());
    }
  }
}

bool Forwarder::too_old(const Event& event) const {
  const auto limit = options_.sink.personalize.skip_older_than;
  return limit.count() > 0 && event.timestamp < unix_seconds(loop_.wall_time()) - limit.count();
}

void Forwarder::dead_letter(Partition& partition, std::uint64_t record,
                            std::optional<std::uint32_t> index, std::string_view code,
                            std::string_view reason, std::uint32_t attempts) {
  const auto waiting = partition.tracker.waiting(record);
  // One line a second: a feed gone bad must not drown the log too. The objects have them all.
  if (loop_.now() - refusal_logged_at_ >= 1s) {
    refusal_logged_at_ = loop_.now();
    log_.warn("event dead-lettered", {{"source", source_.log_name()},
                                      {"partition", partition.id.value},
                                      {"position", waiting.at.text()},
                                      {"step", code},
                                      {"reason", reason}});
  }
  dead_letters_.add(
      {.pipeline = "personalize",
       .partition = partition.id.value,
       .position = waiting.at,
       .index = index,
       .code = code,
       .reason = reason,
       .raw = waiting.text,
       .arrived_ms = waiting.arrived_ms,
       .ended_ms = unix_ms(loop_.wall_time()),
       .attempts = attempts},
      [this, alive = std::weak_ptr<bool>(alive_), tag = EventTag{partition.stream, record}] {
        if (alive.expired()) return;
        events_dead_lettered_.add();
        settle(tag, Settled::dead_lettered);
      });
}

void Forwarder::settle(EventTag tag, Settled how) {
  if (how == Settled::accepted) ++accepted_;
  if (how == Settled::skipped) events_skipped_.add();
  if (Partition* partition = find(tag.stream)) partition->tracker.settle(tag.record, how);
}

void Forwarder::deliver_ready() {
  if (delivering_ready_ || ended_) return;
  delivering_ready_ = true;
  while (sink_.can_start()) {
    auto group = batcher_.take(loop_.now());
    if (!group) break;
    auto delivery = std::make_shared<Delivery>();
    delivery->user = group->user;
    std::vector<Event> events;
    if (options_.sink.personalize.skip_older_than.count() == 0) {
      events = std::move(group->events);
      delivery->tags = std::move(group->tags);
    } else {
      for (std::size_t index = 0; index < group->events.size(); ++index) {
        if (too_old(group->events[index])) {
          settle(group->tags[index], Settled::skipped);
        } else {
          events.push_back(std::move(group->events[index]));
          delivery->tags.push_back(group->tags[index]);
        }
      }
      if (events.empty()) {
        batcher_.returned(delivery->user, loop_.now());
        continue;
      }
    }
    delivery->indexes.reserve(events.size());
    for (const auto& event : events) {
      delivery->indexes.push_back(event.index);
      delivery->bytes += Batcher::bytes_of(event);
    }
    delivering_bytes_ += delivery->bytes;
    delivery->number = sink_.deliver(
        std::move(events),
        [this, delivery](std::vector<EventOutcome> outcomes) { delivered(delivery, outcomes); });
    deliveries_.emplace(delivery->number, delivery);
  }
  delivering_ready_ = false;
}

void Forwarder::delivered(const std::shared_ptr<Delivery>& delivery,
                          const std::vector<EventOutcome>& outcomes) {
  deliveries_.erase(delivery->number);
  delivering_bytes_ -= delivery->bytes;
  for (std::size_t index = 0; index < outcomes.size(); ++index) {
    const EventTag tag = delivery->tags[index];
    Partition* partition = find(tag.stream);
    if (partition == nullptr || partition->dropped) continue;
    if (outcomes[index].accepted) {
      settle(tag, Settled::accepted);
    } else {
      dead_letter(*partition, tag.record, delivery->indexes[index], kRefusedByPersonalize,
                  outcomes[index].reason, outcomes[index].attempts);
    }
  }
  batcher_.returned(delivery->user, loop_.now());
}

void Forwarder::handle(const Revoking& event) {
  Partition* partition = find(event.partition, event.tenure);
  if (partition == nullptr) {
    source_.release(event.partition, event.tenure);
    return;
  }
  partition->phase = Phase::leaving;
  partition->leave_at = closing_ ? loop_.now() : loop_.now() + options_.revoke_wait;
  batcher_.flush(loop_.now());
  dead_letters_.flush();
}

void Forwarder::handle(const Lost& event) {
  Partition* partition = find(event.partition, event.tenure);
  if (partition == nullptr) return;
  log_.warn("partition lost, its unsettled events are left to the next owner",
            {{"partition", event.partition.value}});
  drop(*partition);
}

void Forwarder::handle(const Stuck& event) {
  if (Partition* partition = find(event.partition, event.tenure)) {
    partition->waiting = event.error.message;
    if (partition->phase != Phase::leaving) partition->phase = Phase::stuck;
  }
  if (event.error.kind == ErrorKind::refused) {
    refuse(where(event.partition) + ": " + event.error.message);
  } else {
    log_.error("partition stuck",
               {{"partition", event.partition.value}, {"error", event.error.message}});
  }
}

void Forwarder::refuse(std::string message) {
  log_.error("refused, stopping", {{"why", message}});
  if (outcome_) outcome_ = fail(ErrorKind::refused, std::move(message));
  stop();
}

void Forwarder::commit(Partition& partition, const Position& next, const Books& books) {
  partition.committing = true;
  source_.commit(partition.id, partition.tenure, next, print_forward_note(books),
                 [this, alive = std::weak_ptr<bool>(alive_), id = partition.id,
                  tenure = partition.tenure, next, books](const Status& answer) {
                   if (!alive.expired()) committed(id, tenure, next, books, answer);
                 });
}

void Forwarder::committed(const PartitionId& id, Tenure tenure, const Position& next,
                          const Books& books, const Status& answer) {
  Partition* partition = find(id, tenure);
  if (partition == nullptr) return;
  partition->committing = false;
  partition->commit_at = loop_.now() + options_.commit_interval;
  if (answer) {
    commits_.add();
    partition->committed = next;
    partition->committed_records = books.records;
    if (partition->phase != Phase::stuck) partition->waiting.clear();
    if (partition->phase == Phase::anchoring) {
      partition->phase = Phase::forwarding;
      source_.start(id, tenure, next);
    }
    return;
  }
  if (answer.error().kind == ErrorKind::conflict) {
    log_.warn("partition has another owner", {{"partition", id.value}});
    // When it is leaving, the source still waits for our answer.
    if (partition->phase == Phase::leaving) source_.release(id, tenure);
    drop(*partition);
    return;
  }
  partition->waiting = answer.error().while_doing("committing the position").message;
  partition->commit_at = loop_.now() + options_.pipeline.slow_retry;
  log_.error("position not committed, its events may be sent again",
             {{"partition", id.value}, {"error", answer.error().message}});
}

void Forwarder::commit_settled() {
  for (auto& [id, partition] : partitions_) {
    if (partition->committing || partition->phase == Phase::leaving) continue;
    const bool hurry = stopping_ && partition->waiting.empty();
    if (!hurry && loop_.now() < partition->commit_at) continue;
    if (partition->phase == Phase::anchoring) {
      if (!stopping_) anchor(*partition);
      continue;
    }
    const Books& books = partition->tracker.settled_books();
    if (partition->tracker.settled_to() == nullptr ||
        books.records == partition->committed_records) {
      continue;
    }
    commit(*partition, source_.after(*partition->tracker.settled_to()), books);
  }
}

void Forwarder::let_leave() {
  for (auto next = partitions_.begin(); next != partitions_.end();) {
    Partition& partition = *(next++)->second;
    if (partition.phase != Phase::leaving || partition.committing) continue;
    const bool late = loop_.now() >= partition.leave_at;
    if (!partition.tracker.all_settled() && !late) continue;
    if (!partition.dropped && !partition.tracker.all_settled()) {
      drop_work(partition.stream);
      partition.dropped = true;
    }
    const Books& books = partition.tracker.settled_books();
    const bool settled_more =
        partition.tracker.settled_to() != nullptr && books.records != partition.committed_records;
    if (settled_more && partition.waiting.empty()) {
      commit(partition, source_.after(*partition.tracker.settled_to()), books);
      continue;
    }
    if (const auto left = partition.tracker.records_held(); left > 0 || settled_more) {
      log_.warn("partition left, the next owner reads its uncommitted records again",
                {{"partition", partition.id.value}, {"records", left}});
    }
    source_.release(partition.id, partition.tenure);
    drop(partition);
  }
}

// Forgets what waits of a stream: in groups, and in deliveries that are all of it. (One that also
// carries another partition's events of the same user goes on for those.)
void Forwarder::drop_work(std::uint32_t stream) {
  batcher_.drop(stream, loop_.now());
  for (auto next = deliveries_.begin(); next != deliveries_.end();) {
    const auto delivery = (next++)->second;
    const bool all_of_it =
        std::all_of(delivery->tags.begin(), delivery->tags.end(),
                    [stream](const EventTag& tag) { return tag.stream == stream; });
    if (!all_of_it || !sink_.cancel(delivery->number)) continue;
    delivering_bytes_ -= delivery->bytes;
    batcher_.returned(delivery->user, loop_.now());
    deliveries_.erase(delivery->number);
  }
}

void Forwarder::drop(const Partition& partition) {
  const auto stream = partition.stream;
  const PartitionId id = partition.id;
  streams_.erase(stream);
  partitions_.erase(id);
  drop_work(stream);
}

void Forwarder::look_at_dead_letters() {
  const std::size_t bytes_max = options_.dead_letter_bytes_per_partition_max;
  for (auto& [id, partition] : partitions_) {
    if (partition->phase != Phase::forwarding) continue;
    const std::size_t bytes = dead_letters_.bytes_waiting(id);
    const bool pause = partition->paused ? bytes > bytes_max / 2 : bytes >= bytes_max;
    if (pause == partition->paused) continue;
    partition->paused = pause;
    source_.pause(id, pause);
  }
}

// What only a person can mend: a run that should end by itself must not wait for it for ever, and
// one that is asked to stop not at all.
void Forwarder::look_at_trouble() {
  if (!options_.pipeline.until_end && !stopping_) return;
  const auto sink = sink_.state();
  if (stopping_) {
    if (sink.stuck) drain_until_ = std::min(drain_until_, loop_.now());
    return;
  }
  if (!sink.stuck) {
    stuck_since_.reset();
    return;
  }
  if (!stuck_since_) stuck_since_ = loop_.now();
  if (loop_.now() - *stuck_since_ < options_.stuck_wait_at_end) return;
  log_.error("gave up, stopping", {{"why", sink.trouble}});
  outcome_ = fail(ErrorKind::rejected, sink.trouble);
  stop();
  drain_until_ = loop_.now();  // more time would change nothing
}

bool Forwarder::all_settled_and_committed() const {
  return std::all_of(partitions_.begin(), partitions_.end(), [](const auto& entry) {
    const Partition& partition = *entry.second;
    return partition.phase != Phase::anchoring && !partition.committing &&
           partition.tracker.all_settled() &&
           (partition.tracker.settled_to() == nullptr ||
            partition.tracker.settled_books().records == partition.committed_records);
  });
}

std::size_t Forwarder::bytes_held() const {
  std::size_t bytes = batcher_.bytes() + delivering_bytes_ + dead_letters_.bytes_waiting();
  for (const auto& [id, partition] : partitions_) bytes += partition->tracker.bytes();
  return bytes;
}

void Forwarder::sample_rate() {
  const Ticks now = loop_.now();
  if (!accepted_samples_.empty() && now - accepted_samples_.back().first < 1s) return;
  accepted_samples_.emplace_back(now, accepted_);
  while (now - accepted_samples_.front().first > 10s) accepted_samples_.pop_front();
}

void Forwarder::end(Status status) {
  ended_ = true;
  std::size_t records = 0;
  std::uint64_t events = 0;
  for (const auto& [id, partition] : partitions_) {
    records += partition->tracker.records_held();
    events += partition->tracker.books().waiting();
  }
  log_.info("forwarder stopped", {{"accepted", accepted_},
                                  {"records_left_uncommitted", records},
                                  {"events_left_unsettled", events}});
  if (finished_) finished_(std::move(status));
}

ForwarderStatus Forwarder::status() const {
  ForwarderStatus status;
  for (const auto& [id, partition] : partitions_) {
    ForwarderStatus::Partition one;
    one.partition = id;
    one.committed = partition->committed;
    switch (partition->phase) {
      case Phase::anchoring:
        one.doing = "anchoring";
        break;
      case Phase::forwarding:
        one.doing = "forwarding";
        break;
      case Phase::leaving:
        one.doing = "leaving";
        break;
      case Phase::stuck:
        one.doing = "stuck";
        break;
    }
    one.waiting = partition->waiting;
    if (one.waiting.empty() && partition->paused) one.waiting = "dead letters cannot be written";
    one.books = partition->tracker.books();
    one.records_held = partition->tracker.records_held();
    status.books += one.books;
    status.partitions.push_back(std::move(one));
  }
  const auto sink = sink_.state();
  status.calls_in_flight = sink.calls_in_flight;
  status.deliveries_waiting = sink.waiting;
  status.pace_calls_per_second = sink.calls_per_second;
  status.events_batching = batcher_.events();
  status.bytes_held = bytes_held();
  status.full = status.bytes_held >= bytes_max_;
  if (accepted_samples_.size() >= 2) {
    const auto& [first_at, first] = accepted_samples_.front();
    const auto& [last_at, last] = accepted_samples_.back();
    status.events_accepted_per_second = static_cast<double>(last - first) /
                                        std::chrono::duration<double>(last_at - first_at).count();
  }
  status.trouble = sink.trouble;
  if (dead_letters_.trouble()) {
    if (!status.trouble.empty()) status.trouble += "; ";
    status.trouble += dead_letters_.trouble()->message;
  }
  status.stopping = stopping_;
  return status;
}

}  // namespace millrace
