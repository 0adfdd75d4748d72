#include "ingest/kafka_source.h"

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "ingest/kafka_errors.h"
#include "ingest/kafka_probe.h"
#include "ingest/kafka_properties.h"

namespace millrace {
namespace {

struct QueueCloser {
  void operator()(rd_kafka_queue_t* queue) const { rd_kafka_queue_destroy(queue); }
};
struct EventCloser {
  void operator()(rd_kafka_event_t* event) const { rd_kafka_event_destroy(event); }
};
struct ListCloser {
  void operator()(rd_kafka_topic_partition_list_t* list) const {
    rd_kafka_topic_partition_list_destroy(list);
  }
};
struct MessageCloser {
  void operator()(rd_kafka_message_t* message) const { rd_kafka_message_destroy(message); }
};
using Queue = std::unique_ptr<rd_kafka_queue_t, QueueCloser>;
using Event = std::unique_ptr<rd_kafka_event_t, EventCloser>;
using List = std::unique_ptr<rd_kafka_topic_partition_list_t, ListCloser>;
using Message = std::unique_ptr<rd_kafka_message_t, MessageCloser>;

List list_of(const std::string& topic, const std::vector<std::int32_t>& numbers,
             std::int64_t offset) {
  List list(rd_kafka_topic_partition_list_new(static_cast<int>(numbers.size())));
  for (const std::int32_t number : numbers)
    rd_kafka_topic_partition_list_add(list.get(), topic.c_str(), number)->offset = offset;
  return list;
}

std::optional<std::int64_t> offset_of(const Position& position) {
  const std::string& digits = position.offset.digits;
  std::int64_t number = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size() || number < 0)
    return std::nullopt;
  return number;
}

PartitionId id_of(std::int32_t number) { return PartitionId{std::to_string(number)}; }

std::int32_t number_of(const PartitionId& partition) {
  std::int32_t number = -1;
  std::from_chars(partition.value.data(), partition.value.data() + partition.value.size(), number);
  return number;
}

// What a worker asks the cluster about some partitions.
struct Question {
  std::vector<std::int32_t> partitions{};
  bool committed = false;
  bool log_ends = false;
  std::optional<std::int64_t> first_at_or_after_ms{};
};

struct PartitionAnswer {
  std::optional<KafkaFault> fault{};
  std::optional<Committed> committed{};
  std::int64_t low = -1;
  std::int64_t end = -1;
  std::int64_t first_at_or_after = -1;  // -1: no record is that late
};

struct Answer {
  std::optional<KafkaFault> fault{};  // of the question as a whole
  std::map<std::int32_t, PartitionAnswer> partitions{};
};

std::optional<KafkaFault> fault_of(rd_kafka_resp_err_t err) {
  if (err == RD_KAFKA_RESP_ERR_NO_ERROR) return std::nullopt;
  return KafkaFault{.code = err, .reason = rd_kafka_err2str(err)};
}

// The log's own numbers: with one request per broker for all partitions, where
// rd_kafka_query_watermark_offsets would make one each. -2 and -1 are the protocol's "earliest" and
// "latest" (ListOffsets request; under read_committed "latest" is the last stable offset).
std::optional<KafkaFault> ask_offsets(const KafkaHandle& handle, const std::string& topic,
                                      const Question& question, std::int64_t timestamp, int wait_ms,
                                      std::int64_t PartitionAnswer::*field, Answer& answer) {
  const List list = list_of(topic, question.partitions, timestamp);
  const rd_kafka_resp_err_t err = rd_kafka_offsets_for_times(handle.get(), list.get(), wait_ms);
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR) return fault_of(err);
  for (int i = 0; i < list->cnt; ++i) {
    PartitionAnswer& of = answer.partitions[list->elems[i].partition];
    if (list->elems[i].err != RD_KAFKA_RESP_ERR_NO_ERROR) of.fault = fault_of(list->elems[i].err);
    of.*field = list->elems[i].offset;
  }
  return std::nullopt;
}

std::optional<KafkaFault> ask_committed(const KafkaHandle& handle, const std::string& topic,
                                        const Question& question, int wait_ms, Answer& answer) {
  const List list = list_of(topic, question.partitions, RD_KAFKA_OFFSET_INVALID);
  const rd_kafka_resp_err_t err = rd_kafka_committed(handle.get(), list.get(), wait_ms);
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR) return fault_of(err);
  for (int i = 0; i < list->cnt; ++i) {
    const rd_kafka_topic_partition_t& found = list->elems[i];
    PartitionAnswer& of = answer.partitions[found.partition];
    if (found.err != RD_KAFKA_RESP_ERR_NO_ERROR) {
      of.fault = fault_of(found.err);
    } else if (found.offset >= 0) {
      Committed committed{.position = Position{Offset::of(found.offset)}};
      // Not NUL-terminated.
      if (found.metadata != nullptr)
        committed.note.assign(static_cast<const char*>(found.metadata), found.metadata_size);
      of.committed = std::move(committed);
    }
  }
  return std::nullopt;
}

// Without partitions there is still something to learn: whether the cluster answers and the topic
// exists.
std::optional<KafkaFault> ask_topic(const KafkaHandle& handle, const std::string& topic,
                                    int wait_ms) {
  rd_kafka_topic_t* asked = rd_kafka_topic_new(handle.get(), topic.c_str(), nullptr);
  const rd_kafka_metadata_t* metadata = nullptr;
  const rd_kafka_resp_err_t err = rd_kafka_metadata(handle.get(), 0, asked, &metadata, wait_ms);
  rd_kafka_topic_destroy(asked);
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR) return fault_of(err);
  const rd_kafka_resp_err_t topic_err =
      metadata->topic_cnt == 1 ? metadata->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
  rd_kafka_metadata_destroy(metadata);
  return fault_of(topic_err);
}

// `member` knows the group; `observer` has connections of its own, because a broker answers one
// request of a connection at a time, and on the member's a question would wait behind each fetch
// that waits for records (fetch.wait.max.ms).
Answer ask(const KafkaHandle& member, const KafkaHandle& observer, const std::string& topic,
           const Question& question, std::chrono::milliseconds wait) {
  const int wait_ms = static_cast<int>(wait.count());
  Answer answer;
  if (question.partitions.empty()) {
    answer.fault = ask_topic(observer, topic, wait_ms);
    return answer;
  }
  for (const std::int32_t number : question.partitions) answer.partitions[number];
  if (question.committed) answer.fault = ask_committed(member, topic, question, wait_ms, answer);
  if (question.log_ends && !answer.fault)
    answer.fault = ask_offsets(observer, topic, question, RD_KAFKA_OFFSET_BEGINNING, wait_ms,
                               &PartitionAnswer::low, answer);
  if (question.log_ends && !answer.fault)
    answer.fault = ask_offsets(observer, topic, question, RD_KAFKA_OFFSET_END, wait_ms,
                               &PartitionAnswer::end, answer);
  if (question.first_at_or_after_ms && !answer.fault)
    answer.fault = ask_offsets(observer, topic, question, *question.first_at_or_after_ms, wait_ms,
                               &PartitionAnswer::first_at_or_after, answer);
  return answer;
}

}  // namespace

struct KafkaSource::State : std::enable_shared_from_this<State> {
  enum class Phase {
    sizing,  // asking how many partitions the topic has
    member,
    closing,
    closed,
  };

  struct Commit {
    std::int64_t offset = 0;
    std::string note{};
    Done done{};
    std::uint64_t sent_as = 0;  // 0: not under way
    Ticks since{0};             // when it could first have been sent
    Ticks not_before{0};
  };

  struct Partition {
    enum class Stage {
      asking,     // committed position and log ends are not known yet: nobody outside knows of it
      announced,  // Assigned was handed out
      started,
      revoking,
      released,
      over,  // the tenure has ended but the group has not said so yet
    };
    std::int32_t number = -1;
    Tenure tenure{};
    Stage stage = Stage::asking;
    Queue queue{};
    bool fetching = false;  // librdkafka has it in its assignment
    bool paused = false;
    bool stuck = false;
    bool vanished = false;      // our committed position is gone: no commit may hide that
    bool was_at_end = false;    // up to end_at_assignment
    bool out_of_range = false;  // librdkafka says so; log ends are being asked
    std::int64_t next = -1;     // to hand out
    std::int64_t end_at_assignment = -1;
    std::int64_t end = -1;
    std::optional<Committed> committed{};
    std::deque<Commit> commits{};  // in order; only the first is under way
    std::optional<Ticks> fetch_again_at{};
    std::uint32_t damaged_tries = 0;
    std::int64_t damaged_at = -1;
    std::size_t record_bytes_usual = 256;
    // End of each batch handed out and the arrival of its first record, for "how old is the first
    // record that is not settled".
    std::deque<std::pair<std::int64_t, std::int64_t>> arrivals{};

    [[nodiscard]] PartitionId id() const { return id_of(number); }
    [[nodiscard]] bool known_outside() const {
      return stage == Stage::announced || stage == Stage::started || stage == Stage::revoking;
    }
    [[nodiscard]] bool readable() const {
      return stage == Stage::started && fetching && !paused && !stuck && !out_of_range;
    }
  };
  using Stage = Partition::Stage;

  struct Trouble {
    Error error{};
    int rank = 0;
    Ticks since{0};
  };

  enum class Purpose { assignment, range, watch, others };

  KafkaOptions options;
  Loop& loop;
  const Log& log;
  KafkaSourceLimits limits;
  Counter& rebalances;
  Counter& partitions_lost;
  Counter& commit_retries;
  Counter& gap_records;
  Counter& damaged_batches;

  std::shared_ptr<KafkaHandle> handle{};    // the member of the group
  std::shared_ptr<KafkaHandle> observer{};  // for questions
  Queue observer_queue{};
  Queue consumer_queue{};
  Queue commit_queue{};
  Queue close_queue{};

  Phase phase = Phase::sizing;
  std::optional<Error> final_error{};
  std::optional<Trouble> trouble{};
  std::optional<Error>
      commit_denied{};  // reading goes on meanwhile: only a commit that is written clears it
  std::optional<Ticks> trouble_logged_at{};
  int trouble_logged_rank = 0;
  bool trouble_told = false;
  bool connected_once = false;
  bool sizing_asked = false;
  Ticks sizing_not_before{0};
  std::size_t partitions_at_start = 0;
  std::int64_t retention_ms = -1;

  std::map<std::int32_t, Partition> partitions{};
  // The last committed position of each partition that was ever ours: one that has none when it is
  // ours again belongs to another topic of the same name.
  std::map<std::int32_t, Position> positions_known{};
  bool assigned_once = false;
  std::uint64_t tenures = 0;
  std::uint64_t commits_sent = 0;
  std::map<std::uint64_t, std::pair<std::int32_t, Tenure>> commits_under_way{};
  std::optional<Ticks> revoke_deadline{};  // set while the group waits for us
  std::vector<std::int32_t> revoked{};
  std::optional<Ticks> leave_by{};  // close() was called
  Ticks close_deadline{0};
  std::uint64_t heard = 0;  // answers of the cluster, while closing
  Ticks heard_at{0};

  // Whether librdkafka may be about to join its group again: see watch_group().
  GroupTraffic::Seen group_seen{};
  Ticks joined_at{0};
  bool join_due = false;         // we have let partitions go: librdkafka joins to tell the group
  bool backoff_suspect = false;  // it may be waiting to join until its backoff is over
  Ticks fence_not_before{0};
  std::uint64_t fence = 0;                 // under way, 0: none
  std::optional<Ticks> safe_at{Ticks{0}};  // commits may go from then on; nothing: not known yet

  bool asking[4] = {false, false, false, false};
  Ticks assignment_not_before{0};
  Ticks range_not_before{0};
  Ticks watch_not_before{0};
  Ticks recheck_not_before{0};
  Ticks others_not_before{0};

  // For at_end(), once it has been asked: where the logs of partitions that others of the group own
  // ended at first sight, and which of them are committed up to there.
  bool end_wanted = false;
  std::map<std::int32_t, std::int64_t> others_end{};
  std::set<std::int32_t> others_done{};

  std::vector<SourceEvent> events{};  // for the next poll() to hand out
  std::size_t first_to_read = 0;
  std::vector<rd_kafka_message_t*> messages{};

  State(KafkaOptions given, Loop& where, const Log& lines, Metrics& metrics,
        KafkaSourceLimits bounds)
      : options(std::move(given)),
        loop(where),
        log(lines),
        limits(bounds),
        rebalances(metrics.counter("millrace_kafka_rebalances_total",
                                   "Times the group gave or took partitions.",
                                   {{"group", options.group}})),
        partitions_lost(metrics.counter("millrace_kafka_partitions_lost_total",
                                        "Partitions that went without asking (session over).",
                                        {{"group", options.group}})),
        commit_retries(metrics.counter("millrace_kafka_commit_retries_total",
                                       "Commits that had to be sent again.",
                                       {{"group", options.group}})),
        gap_records(metrics.counter("millrace_kafka_gap_records_total",
                                    "Records that retention deleted before they were read.",
                                    {{"group", options.group}})),
        damaged_batches(metrics.counter("millrace_kafka_damaged_batches_total",
                                        "Damaged batches met, repeats counted.",
                                        {{"group", options.group}})) {}

  [[nodiscard]] KafkaPlace place() const {
    return {.brokers = options.brokers, .topic = options.topic, .group = options.group};
  }
  [[nodiscard]] std::string named(const Partition& partition) const {
    return "partition " + std::to_string(partition.number) + " of topic " + options.topic;
  }

  // ---- trouble ----

  void report(const KafkaFault& fault) {
    if (const int rank = telling_rank(fault); rank > 0) report(explain_kafka(fault, place()), rank);
  }

  void report(Error error, int rank) {
    if (trouble && trouble->rank > rank) return;
    const Ticks since = trouble ? trouble->since : loop.now();
    trouble = Trouble{.error = std::move(error), .rank = rank, .since = since};
  }

  // Brokers close idle connections and coordinators move: only what lasts is worth a line.
  [[nodiscard]] bool worth_telling(const Trouble& t) const {
    return t.rank == 3 || !connected_once || loop.now() - t.since >= limits.trouble_patience;
  }

  // At most one line in a while, also when trouble comes and goes, but at once when it names a
  // better cause.
  void log_trouble() {
    if (!trouble || !worth_telling(*trouble)) return;
    const bool recent =
        trouble_logged_at && loop.now() - *trouble_logged_at < limits.trouble_log_interval;
    if (recent && trouble->rank <= trouble_logged_rank) return;
    trouble_logged_at = loop.now();
    trouble_logged_rank = trouble->rank;
    trouble_told = true;
    log.warn("kafka source waits",
             {{"error", trouble->error.message}, {"code", trouble->error.code}});
  }

  void worked() {
    connected_once = true;
    if (!trouble) return;
    if (trouble_told)
      log.info("kafka source goes on", {{"topic", options.topic}, {"group", options.group}});
    trouble_told = false;
    trouble.reset();
  }

  // ---- joining ----

  void size_up() {
    if (sizing_asked || loop.now() < sizing_not_before) return;
    sizing_asked = true;
    auto facts = std::make_shared<Result<KafkaTopicFacts>>();
    loop.offload(
        [facts, asked = options, wait = limits.ask_wait] { *facts = probe_kafka(asked, wait); },
        [facts, weak = weak_from_this()] {
          if (const auto self = weak.lock()) self->sized(*facts);
        });
  }

  void sized(const Result<KafkaTopicFacts>& facts) {
    sizing_asked = false;
    if (phase != Phase::sizing) return;
    if (!facts) {
      if (facts.error().kind == ErrorKind::invalid) {
        final_error = facts.error();
      } else {
        report(facts.error(), facts.error().retryable() ? 2 : 3);
        sizing_not_before = loop.now() + limits.retry_delay;
      }
      return;
    }
    partitions_at_start = facts->partitions;
    retention_ms = facts->retention_ms;
    worked();
    join();
  }

  void join() {
    const ReadAhead read_ahead = split_read_ahead(options.fetch_bytes_max, partitions_at_start);
    for (const auto& [name, ours] :
         {std::pair{"queued.max.messages.kbytes", read_ahead.queued_kbytes},
          std::pair{"queued.min.messages", read_ahead.queued_messages},
          std::pair{"fetch.message.max.bytes", read_ahead.fetch_bytes}}) {
      const auto given = options.properties.find(name);
      if (given != options.properties.end() &&
          std::strtoull(given->second.c_str(), nullptr, 10) > ours)
        log.warn("a property lets kafka read ahead beyond the memory bound",
                 {{"property", name}, {"bound", ours}, {"given", given->second}});
    }
    auto made = KafkaHandle::make(KafkaHandle::Role::consumer, options, read_ahead);
    if (!made) {
      final_error = made.error();
      return;
    }
    auto second = KafkaHandle::make(KafkaHandle::Role::observer, options, {});
    if (!second) {
      final_error = second.error();
      return;
    }
    handle = std::move(*made);
    observer = std::move(*second);
    observer_queue.reset(rd_kafka_queue_get_main(observer->get()));
    rd_kafka_t* rk = handle->get();
    rd_kafka_poll_set_consumer(rk);
    consumer_queue.reset(rd_kafka_queue_get_consumer(rk));
    commit_queue.reset(rd_kafka_queue_new(rk));
    close_queue.reset(rd_kafka_queue_new(rk));
    const List topics = list_of(options.topic, {RD_KAFKA_PARTITION_UA}, RD_KAFKA_OFFSET_INVALID);
    if (const auto err = rd_kafka_subscribe(rk, topics.get()); err != RD_KAFKA_RESP_ERR_NO_ERROR) {
      final_error = explain_kafka({.code = err, .reason = rd_kafka_err2str(err)}, place());
      return;
    }
    phase = Phase::member;
    watch_not_before = loop.now() + limits.log_end_interval;
    recheck_not_before = loop.now() + limits.recheck_interval;
  }

  // ---- librdkafka's events ----

  void serve(rd_kafka_queue_t* queue) {
    // A bound, so that a storm of errors cannot hold the loop: the rest waits for the next poll().
    for (int served = 0; served < 1000; ++served) {
      const Event event(rd_kafka_queue_poll(queue, 0));
      if (!event) return;
      switch (rd_kafka_event_type(event.get())) {
        case RD_KAFKA_EVENT_REBALANCE:
          on_rebalance(event.get());
          break;
        case RD_KAFKA_EVENT_ERROR:
          on_error(event.get());
          break;
        case RD_KAFKA_EVENT_LOG: {
          // What matters also comes as an error; these lines are for whoever debugs the client.
          const char* facility = nullptr;
          const char* text = nullptr;
          int level = 0;
          if (log.enabled(LogLevel::debug) &&
              rd_kafka_event_log(event.get(), &facility, &text, &level) == 0)
            log.debug("librdkafka", {{"facility", facility}, {"text", text}});
          break;
        }
        default:
          break;
      }
    }
  }

  void on_error(rd_kafka_event_t* event) {
    const char* text = rd_kafka_event_error_string(event);
    const KafkaFault fault{.code = rd_kafka_event_error(event),
                           .reason = text != nullptr ? text : "",
                           .x509_error = handle->certificate_error()};
    if (fault.code == RD_KAFKA_RESP_ERR__FATAL || rd_kafka_event_error_is_fatal(event) != 0) {
      give_up();
    } else if (fault.code == RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED) {
      log.warn("kafka group left: this program did not poll in time", {{"reason", fault.reason}});
    } else {
      report(fault);
    }
  }

  void give_up() {
    std::array<char, 512> cause{};
    const rd_kafka_resp_err_t err = rd_kafka_fatal_error(handle->get(), cause.data(), cause.size());
    final_error =
        explain_kafka({.code = err == RD_KAFKA_RESP_ERR_NO_ERROR ? RD_KAFKA_RESP_ERR__FATAL : err,
                       .reason = cause.data()},
                      place());
  }

  void on_rebalance(rd_kafka_event_t* event) {
    const rd_kafka_resp_err_t err = rd_kafka_event_error(event);
    const rd_kafka_topic_partition_list_t* list = rd_kafka_event_topic_partition_list(event);
    std::vector<std::int32_t> numbers;
    for (int i = 0; list != nullptr && i < list->cnt; ++i)
      numbers.push_back(list->elems[i].partition);
    rebalances.add();
    if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
      on_assigned(numbers);
    } else {
      if (err != RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS) {
        log.warn("kafka rebalance failed", {{"error", rd_kafka_err2str(err)}});
        numbers.clear();
        for (const auto& [number, partition] : partitions) numbers.push_back(number);
      }
      on_revoked(std::move(numbers), err != RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS);
    }
  }

  void on_assigned(const std::vector<std::int32_t>& numbers) {
    for (const std::int32_t number : numbers) {
      Partition fresh;
      fresh.number = number;
      fresh.tenure = Tenure{++tenures};
      fresh.queue.reset(rd_kafka_queue_get_partition(handle->get(), options.topic.c_str(), number));
      // Before librdkafka begins to fetch: later, what is already in the common queue would stay
      // there.
      if (fresh.queue) rd_kafka_queue_forward(fresh.queue.get(), nullptr);
      partitions.insert_or_assign(number, std::move(fresh));
    }
    assigned_once = true;
    worked();
    log.info("kafka partitions assigned", {{"topic", options.topic},
                                           {"group", options.group},
                                           {"count", numbers.size()},
                                           {"owned", partitions.size()}});
    // The group's question is answered with nothing: start() adds each partition with the offset to
    // begin at.
    change_assignment({}, -1, true);
  }

  void on_revoked(std::vector<std::int32_t> numbers, bool failed) {
    const bool lost = failed || rd_kafka_assignment_lost(handle->get()) != 0;
    revoked = std::move(numbers);
    revoke_deadline = loop.now() + limits.release_wait;
    log.info(lost ? "kafka partitions lost" : "kafka partitions revoked",
             {{"topic", options.topic}, {"group", options.group}, {"count", revoked.size()}});
    for (const std::int32_t number : revoked) {
      const auto found = partitions.find(number);
      if (found == partitions.end()) continue;
      Partition& partition = found->second;
      // Whoever was refused a commit has dropped the partition and answers nothing more.
      if (lost || partition.vanished || !partition.known_outside()) {
        end_tenure(partition);
      } else {
        partition.stage = Stage::revoking;
        events.emplace_back(Revoking{partition.id(), partition.tenure});
      }
    }
    answer_revoke();
  }

  // Lets the partitions go once nobody works on them any more, or the time is over, or the group
  // did not wait.
  void answer_revoke() {
    if (!revoke_deadline) return;
    const bool hurry =
        loop.now() >= *revoke_deadline || rd_kafka_assignment_lost(handle->get()) != 0;
    std::vector<std::int32_t> fetched;
    for (const std::int32_t number : revoked) {
      const auto found = partitions.find(number);
      if (found == partitions.end()) continue;
      if (found->second.stage == Stage::revoking) {
        if (!hurry) return;
        end_tenure(found->second);
      }
      if (found->second.fetching) fetched.push_back(number);
    }
    revoke_deadline.reset();
    for (const std::int32_t number : revoked) {
      const auto found = partitions.find(number);
      if (found == partitions.end()) continue;
      refuse_commits(found->second);
      partitions.erase(found);
    }
    revoked.clear();
    join_due = phase == Phase::member;
    change_assignment(fetched, -1, false);
  }

  // The end of a tenure that nobody asked us about: whoever knows of the partition hears it, once.
  void end_tenure(Partition& partition) {
    if (partition.known_outside()) {
      partitions_lost.add();
      events.emplace_back(Lost{partition.id(), partition.tenure});
    }
    partition.stage = Stage::over;
    refuse_commits(partition);
  }

  void refuse_commits(Partition& partition) {
    while (!partition.commits.empty()) {
      refuse(partition.number, std::move(partition.commits.front().done));
      partition.commits.pop_front();
    }
  }

  void refuse(std::int32_t number, Done done) const {
    loop.post([done = std::move(done),
               message = "partition " + std::to_string(number) + " of topic " + options.topic +
                         " is not ours any more (group " + options.group +
                         ")"] { done(fail(ErrorKind::conflict, message)); });
  }

  bool change_assignment(const std::vector<std::int32_t>& numbers, std::int64_t offset, bool add) {
    const List list =
        list_of(options.topic, numbers, offset >= 0 ? offset : RD_KAFKA_OFFSET_INVALID);
    rd_kafka_error_t* error = add ? rd_kafka_incremental_assign(handle->get(), list.get())
                                  : rd_kafka_incremental_unassign(handle->get(), list.get());
    if (error == nullptr) return true;
    const KafkaFault fault{.code = rd_kafka_error_code(error),
                           .reason = rd_kafka_error_string(error)};
    rd_kafka_error_destroy(error);
    if (fault.code == RD_KAFKA_RESP_ERR__FATAL) {
      give_up();
    } else {
      log.warn("kafka assignment not changed", {{"topic", options.topic}, {"error", fault.reason}});
    }
    return false;
  }

  // ---- questions to the cluster ----

  void ask_for(Purpose purpose, Question question) {
    asking[static_cast<std::size_t>(purpose)] = true;
    std::map<std::int32_t, Tenure> tenures_asked;
    for (const std::int32_t number : question.partitions) {
      if (const auto ours = partitions.find(number); ours != partitions.end())
        tenures_asked[number] = ours->second.tenure;
    }
    auto answer = std::make_shared<Answer>();
    // The handles go with the work: they must not end before their callers have.
    loop.offload(
        [answer, question, member = handle, second = observer, topic = options.topic,
         wait = limits.ask_wait] { *answer = ask(*member, *second, topic, question, wait); },
        [answer, purpose, tenures_asked, question, weak = weak_from_this()] {
          if (const auto self = weak.lock())
            self->answered(purpose, question, tenures_asked, *answer);
        });
  }

  void ask_what_is_due() {
    const Ticks now = loop.now();
    if (!asking[0] && now >= assignment_not_before) {
      Question question{.committed = true, .log_ends = true};
      for (const auto& [number, partition] : partitions) {
        if (partition.stage == Stage::asking) question.partitions.push_back(number);
      }
      if (options.start.kind == StartAt::Kind::time)
        question.first_at_or_after_ms = unix_ms(options.start.time);
      if (!question.partitions.empty()) ask_for(Purpose::assignment, std::move(question));
    }
    if (!asking[1] && now >= range_not_before) {
      Question question{.log_ends = true};
      for (const auto& [number, partition] : partitions) {
        if (partition.out_of_range) question.partitions.push_back(number);
      }
      if (!question.partitions.empty()) ask_for(Purpose::range, std::move(question));
    }
    if (!asking[2] && now >= watch_not_before) {
      Question question{.log_ends = true};
      if (now >= recheck_not_before) {
        question.committed = true;
        recheck_not_before = now + limits.recheck_interval;
      }
      watch_not_before = now + std::min(limits.log_end_interval, limits.recheck_interval);
      for (const auto& [number, partition] : partitions) {
        if (partition.known_outside() && !partition.stuck) question.partitions.push_back(number);
      }
      ask_for(Purpose::watch, std::move(question));
    }
    if (end_wanted && !asking[3] && now >= others_not_before) {
      Question question{.committed = true, .log_ends = true};
      question.partitions = others_open();
      if (!question.partitions.empty()) ask_for(Purpose::others, std::move(question));
    }
  }

  // Partitions of the topic that are not ours and not known to be done by whoever has them.
  [[nodiscard]] std::vector<std::int32_t> others_open() const {
    std::vector<std::int32_t> open;
    for (std::int32_t number = 0; number < static_cast<std::int32_t>(partitions_at_start); ++number)
      if (!partitions.contains(number) && !others_done.contains(number)) open.push_back(number);
    return open;
  }

  void judge_other(std::int32_t number, const PartitionAnswer& of) {
    const std::int64_t end = others_end.try_emplace(number, of.end).first->second;
    const auto committed =
        of.committed ? offset_of(of.committed->position) : std::optional<std::int64_t>();
    if (end <= of.low || (committed && *committed >= end)) others_done.insert(number);
  }

  void answered(Purpose purpose, const Question& question,
                const std::map<std::int32_t, Tenure>& tenures_asked, const Answer& answer) {
    asking[static_cast<std::size_t>(purpose)] = false;
    if (phase == Phase::closed) return;
    bool failed = answer.fault.has_value();
    if (answer.fault) report(*answer.fault);
    for (const auto& [number, of] : answer.partitions) {
      if (answer.fault) break;
      if (purpose == Purpose::others) {
        if (of.fault) {
          report(*of.fault);
        } else {
          judge_other(number, of);
        }
        failed = failed || of.fault;
        continue;
      }
      const auto found = partitions.find(number);
      if (found == partitions.end() || found->second.tenure != tenures_asked.at(number)) continue;
      Partition& partition = found->second;
      if (of.fault) {
        failed = true;
        report(*of.fault);
        continue;
      }
      if (question.log_ends && of.end >= 0) partition.end = of.end;
      switch (purpose) {
        case Purpose::assignment:
          announce(partition, of);
          break;
        case Purpose::range:
          judge_range(partition, of);
          break;
        case Purpose::watch:
          if (question.committed) judge_commitment(partition, of);
          break;
        case Purpose::others:  // above
          break;
      }
    }
    if (purpose == Purpose::others) others_not_before = loop.now() + limits.retry_delay;
    if (!failed) {
      worked();
    } else if (purpose == Purpose::assignment) {
      assignment_not_before = loop.now() + limits.retry_delay;
    } else if (purpose == Purpose::range) {
      range_not_before = loop.now() + limits.retry_delay;
    }
  }

  void announce(Partition& partition, const PartitionAnswer& of) {
    if (partition.stage != Stage::asking) return;
    partition.stage = Stage::announced;
    partition.end_at_assignment = of.end;
    partition.committed = of.committed;
    std::int64_t begin = of.low;
    // A partition that the topic has grown since we run begins at its beginning, whatever is
    // configured: its first records are newer than our start.
    const bool grown = static_cast<std::size_t>(partition.number) >= partitions_at_start;
    if (!grown && options.start.kind == StartAt::Kind::latest) begin = of.end;
    if (!grown && options.start.kind == StartAt::Kind::time)
      begin = of.first_at_or_after >= 0 ? of.first_at_or_after : of.end;
    events.emplace_back(Assigned{.partition = partition.id(),
                                 .tenure = partition.tenure,
                                 .committed = of.committed,
                                 .start = Position{Offset::of(std::max<std::int64_t>(0, begin))}});
    const auto known = positions_known.find(partition.number);
    if (of.committed) {
      positions_known[partition.number] = of.committed->position;
    } else if (known != positions_known.end()) {
      position_vanished(partition, known->second);
    }
  }

  void judge_range(Partition& partition, const PartitionAnswer& of) {
    if (!partition.out_of_range || partition.stage != Stage::started) return;
    if (partition.next < of.low) {
      const std::int64_t missing = of.low - partition.next;
      if (!options.continue_on_gap) {
        stick(partition, ErrorKind::refused,
              named(partition) + " begins at offset " + std::to_string(of.low) +
                  " now, our position is " + std::to_string(partition.next) + ": " +
                  std::to_string(missing) +
                  " offsets were deleted before they were read (retention); set "
                  "source.kafka.on_gap: continue to go on "
                  "after the gap");
        return;
      }
      gap_records.add(static_cast<std::uint64_t>(missing));
      log.error("records were deleted before they were read: going on after the gap",
                {{"topic", options.topic},
                 {"partition", partition.number},
                 {"from", partition.next},
                 {"to", of.low},
                 {"offsets", missing}});
      partition.next = of.low;
      partition.out_of_range = false;
      partition.fetch_again_at = loop.now();
    } else if (partition.next > of.end) {
      stick(partition, ErrorKind::refused,
            named(partition) + " ends at offset " + std::to_string(of.end) +
                ", before our position " + std::to_string(partition.next) +
                ": the topic was created anew or its log cut off; if that was intended, delete "
                "group " +
                options.group + " or use another name");
    } else {
      // The log does hold our position: a broker that lagged behind, or an error that came of a
      // damaged batch.
      partition.out_of_range = false;
      try_again_later(partition, "reported as out of range");
    }
  }

  void judge_commitment(Partition& partition, const PartitionAnswer& of) {
    if (of.committed || !partition.committed || !partition.known_outside()) return;
    position_vanished(partition, partition.committed->position);
  }

  void position_vanished(Partition& partition, const Position& was) {
    partition.vanished = true;
    refuse_commits(partition);
    stick(partition, ErrorKind::refused,
          "group " + options.group + " has no position any more for " + named(partition) +
              " (it was " + was.text() +
              "): the topic was deleted and created anew, or the group was deleted; stop millrace "
              "and start it again to read the new topic from its beginning");
  }

  // ---- reading ----

  void fetch(Partition& partition) {
    partition.fetch_again_at.reset();
    partition.fetching = change_assignment({partition.number}, partition.next, true);
    if (!partition.fetching) partition.fetch_again_at = loop.now() + limits.retry_delay;
  }

  void unfetch(Partition& partition) {
    if (!partition.fetching) return;
    partition.fetching = false;
    change_assignment({partition.number}, -1, false);
  }

  void stick(Partition& partition, ErrorKind kind, std::string message) {
    unfetch(partition);
    partition.stuck = true;
    partition.out_of_range = false;
    partition.fetch_again_at.reset();
    if (partition.stage != Stage::started && partition.stage != Stage::announced) return;
    events.emplace_back(
        Stuck{partition.id(), partition.tenure, Error{kind, std::move(message), {}, std::nullopt}});
  }

  // Another replica may have the batch whole, so a few more tries; always from our own position,
  // because librdkafka's is worth nothing after such an error.
  void try_again_later(Partition& partition, const std::string& reason) {
    damaged_batches.add();
    if (partition.damaged_at != partition.next) partition.damaged_tries = 0;
    partition.damaged_at = partition.next;
    if (++partition.damaged_tries >= limits.damaged_tries) {
      stick(partition, ErrorKind::corrupt,
            named(partition) + " cannot be read at offset " + std::to_string(partition.next) +
                " after " + std::to_string(partition.damaged_tries) + " tries: a damaged batch (" +
                reason + "); let a replica that is whole lead this partition, then start again");
      return;
    }
    log.warn("kafka batch not readable: trying again", {{"topic", options.topic},
                                                        {"partition", partition.number},
                                                        {"offset", partition.next},
                                                        {"reason", reason}});
    unfetch(partition);
    partition.fetch_again_at = loop.now() + limits.retry_delay;
  }

  void fetch_what_is_due() {
    for (auto& [number, partition] : partitions) {
      if (partition.stage != Stage::started || partition.stuck || !partition.fetch_again_at ||
          loop.now() < *partition.fetch_again_at)
        continue;
      unfetch(partition);
      fetch(partition);
    }
  }

  void read(std::size_t records_max) {
    std::vector<Partition*> ready;
    for (auto& [number, partition] : partitions) {
      if (partition.readable()) ready.push_back(&partition);
    }
    if (ready.empty()) return;
    // Each gets an equal share of what is left, beginning with another one each time.
    std::size_t records_left = records_max;
    std::size_t bytes_left = limits.poll_bytes_max;
    const std::size_t first = first_to_read++ % ready.size();
    for (std::size_t i = 0; i < ready.size() && records_left > 0 && bytes_left > 0; ++i) {
      const std::size_t sharers = ready.size() - i;
      const auto [records, bytes] = read_partition(*ready[(first + i) % ready.size()],
                                                   std::max<std::size_t>(1, records_left / sharers),
                                                   std::max<std::size_t>(1, bytes_left / sharers));
      records_left -= std::min(records, records_left);
      bytes_left -= std::min(bytes, bytes_left);
    }
  }

  std::pair<std::size_t, std::size_t> read_partition(Partition& partition, std::size_t records_max,
                                                     std::size_t bytes_max) {
    // Small steps, so that large records cannot overshoot the bytes by much.
    constexpr std::size_t kStep = 256;
    messages.clear();
    std::size_t bytes = 0;
    while (messages.size() < records_max && bytes < bytes_max) {
      const std::size_t usual =
          std::max<std::size_t>(1, (bytes_max - bytes) / partition.record_bytes_usual);
      const std::size_t wanted = std::min({kStep, records_max - messages.size(), usual});
      const std::size_t had = messages.size();
      messages.resize(had + wanted);
      const ssize_t got =
          rd_kafka_consume_batch_queue(partition.queue.get(), 0, messages.data() + had, wanted);
      messages.resize(had + static_cast<std::size_t>(std::max<ssize_t>(0, got)));
      for (std::size_t i = had; i < messages.size(); ++i) bytes += messages[i]->len;
      if (messages.size() < had + wanted) break;
    }
    const std::size_t count = messages.size();
    std::size_t begin = 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (messages[i]->err == RD_KAFKA_RESP_ERR_NO_ERROR) continue;
      hand_out(partition, begin, i);
      begin = i + 1;
      const Message message(messages[i]);
      on_partition_error(partition, *message);
      if (!partition.readable()) break;
    }
    if (partition.readable()) hand_out(partition, begin, count);
    // What came behind an error that stopped the partition is read again from our own position.
    if (!partition.readable()) {
      for (std::size_t i = begin; i < count; ++i) rd_kafka_message_destroy(messages[i]);
    }
    messages.clear();
    return {count, bytes};
  }

  // One arena for the records of messages[begin, end): the only copy of a payload. The messages are
  // destroyed here, because each pins the whole answer it came in.
  void hand_out(Partition& partition, std::size_t begin, std::size_t end) {
    if (begin >= end) return;
    Records records{
        .batch = {
            .partition = partition.id(), .tenure = partition.tenure, .bytes = {}, .records = {}}};
    std::size_t bytes = 0;
    for (std::size_t i = begin; i < end; ++i) bytes += messages[i]->len;
    records.batch.bytes.reserve(bytes);
    records.batch.records.reserve(end - begin);
    std::int64_t arrived_ms = -1;
    std::int64_t oldest_ms = -1;
    for (std::size_t i = begin; i < end; ++i) {
      const Message message(messages[i]);
      // After a rebalance librdkafka may fetch from a little further back.
      if (message->offset < partition.next) continue;
      partition.next = message->offset + 1;
      rd_kafka_timestamp_type_t type = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
      const std::int64_t timestamp = rd_kafka_message_timestamp(message.get(), &type);
      arrived_ms = type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE || timestamp < 0 ? -1 : timestamp;
      if (oldest_ms < 0) oldest_ms = arrived_ms;
      records.batch.records.push_back(
          RecordRef{.at = Position{Offset::of(message->offset)},
                    .begin = records.batch.bytes.size(),
                    .length = message->payload == nullptr ? 0 : message->len,
                    .arrived_ms = arrived_ms,
                    .tombstone = message->payload == nullptr});
      if (message->payload != nullptr)
        records.batch.bytes.append(static_cast<const char*>(message->payload), message->len);
    }
    if (records.batch.records.empty()) return;
    partition.record_bytes_usual = std::max<std::size_t>(1, bytes / (end - begin));
    if (partition.next >= partition.end_at_assignment) partition.was_at_end = true;
    partition.end = std::max(partition.end, partition.next);
    if (oldest_ms >= 0) {
      constexpr std::size_t kArrivalsMax = 1024;
      if (partition.arrivals.size() == kArrivalsMax) {
        // Half the marks at twice the distance: coarse is better than none.
        std::deque<std::pair<std::int64_t, std::int64_t>> thinner;
        for (std::size_t i = 0; i < kArrivalsMax; i += 2)
          thinner.emplace_back(partition.arrivals[i + 1].first, partition.arrivals[i].second);
        partition.arrivals = std::move(thinner);
      }
      partition.arrivals.emplace_back(partition.next, oldest_ms);
    }
    worked();
    events.emplace_back(std::move(records));
  }

  void on_partition_error(Partition& partition, const rd_kafka_message_t& message) {
    const char* text = rd_kafka_message_errstr(&message);
    const KafkaFault fault{.code = message.err, .reason = text != nullptr ? text : ""};
    switch (message.err) {
      case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        // Past control records and aborted ones, which are never handed out but have offsets.
        partition.next = std::max(partition.next, message.offset);
        partition.end = partition.next;
        if (partition.next >= partition.end_at_assignment) partition.was_at_end = true;
        worked();
        events.emplace_back(
            EndOfLog{partition.id(), partition.tenure, Position{Offset::of(partition.next)}});
        break;
      case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
        partition.out_of_range = true;
        break;
      case RD_KAFKA_RESP_ERR__BAD_MSG:
      case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
      case RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED:
      case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
      case RD_KAFKA_RESP_ERR__UNDERFLOW:
      case RD_KAFKA_RESP_ERR_INVALID_MSG:
        try_again_later(partition, fault.reason);
        break;
      case RD_KAFKA_RESP_ERR__FATAL:
        give_up();
        break;
      default:
        report(fault);
        break;
    }
  }

  // ---- commits ----

  // librdkafka joins at most once in this time (rdkafka_cgrp.c, rkcg_join_intvl).
  static constexpr Ticks kJoinBackoff = std::chrono::seconds(1);

  // After each answer that may make librdkafka join again no commit is sent until a fence has come
  // back (a commit of nothing, which librdkafka's main thread answers by itself, behind that answer
  // in its queue) and join_guard has passed, for its network thread to send a JoinGroup that we
  // would then see. A join asked for too soon after the last waits for its backoff: then the same
  // again.
  void watch_group() {
    const Ticks now = loop.now();
    const GroupTraffic::Seen seen = handle->traffic().seen();
    if (seen.joins != group_seen.joins) {
      joined_at = now;
      join_due = false;
      backoff_suspect = false;
    }
    if (seen.heartbeats != group_seen.heartbeats) backoff_suspect = false;
    if (seen.answers != group_seen.answers) {
      suspect(now);
      backoff_suspect = backoff_suspect || now < joined_at + kJoinBackoff;
    }
    group_seen = seen;
    if (backoff_suspect && now >= joined_at + kJoinBackoff - limits.join_guard) {
      backoff_suspect = false;
      suspect(joined_at + kJoinBackoff + limits.join_guard / 2);
    }
    if (safe_at || fence != 0 || now < fence_not_before) return;
    const List nothing = list_of(options.topic, {0}, RD_KAFKA_OFFSET_INVALID);
    fence = ++commits_sent;
    queue_commit(*nothing, fence);
  }

  void suspect(Ticks not_before) {
    safe_at.reset();
    fence = 0;
    fence_not_before = not_before;
  }

  // While the group waits for our answer to a revocation librdkafka does not join.
  [[nodiscard]] bool may_commit() const {
    if (revoke_deadline && (phase == Phase::closing || !group_seen.joining)) return true;
    return !group_seen.joining && !join_due && safe_at && loop.now() >= *safe_at;
  }

  void send_commits() {
    const bool free = may_commit();
    for (auto& [number, partition] : partitions) {
      if (partition.commits.empty()) continue;
      Commit& commit = partition.commits.front();
      if (commit.sent_as != 0 || loop.now() < commit.not_before) continue;
      if (commit.since == Ticks{0}) commit.since = loop.now();
      if (loop.now() - commit.since >= limits.commit_hold_max) {
        send(partition, commit);
      } else if (!free ||
                 !handle->traffic().send_if_still(group_seen, [&] { send(partition, commit); })) {
        return;
      }
    }
  }

  rd_kafka_resp_err_t queue_commit(const rd_kafka_topic_partition_list_t& list,
                                   std::uint64_t number) {
    // NOLINTNEXTLINE(performance-no-int-to-ptr): librdkafka carries the number along, nothing is
    // behind it
    void* const tag = reinterpret_cast<void*>(static_cast<std::uintptr_t>(number));
    return rd_kafka_commit_queue(handle->get(), &list, commit_queue.get(), nullptr, tag);
  }

  void send(Partition& partition, Commit& commit) {
    const List list(rd_kafka_topic_partition_list_new(1));
    rd_kafka_topic_partition_t* entry =
        rd_kafka_topic_partition_list_add(list.get(), options.topic.c_str(), partition.number);
    entry->offset = commit.offset;
    if (!commit.note.empty()) {
      entry->metadata = std::malloc(commit.note.size());  // librdkafka frees it with the list
      if (entry->metadata != nullptr) {
        std::memcpy(entry->metadata, commit.note.data(), commit.note.size());
        entry->metadata_size = commit.note.size();
      }
    }
    commit.sent_as = ++commits_sent;
    commits_under_way[commit.sent_as] = {partition.number, partition.tenure};
    const rd_kafka_resp_err_t err = queue_commit(*list, commit.sent_as);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) on_committed(commit.sent_as, err, rd_kafka_err2str(err));
  }

  void take_commit_answers() {
    while (const Event event{rd_kafka_queue_poll(commit_queue.get(), 0)}) {
      if (rd_kafka_event_type(event.get()) != RD_KAFKA_EVENT_OFFSET_COMMIT) continue;
      rd_kafka_resp_err_t err = rd_kafka_event_error(event.get());
      const rd_kafka_topic_partition_list_t* list =
          rd_kafka_event_topic_partition_list(event.get());
      // The request as a whole may be well and the partition refused.
      if (err == RD_KAFKA_RESP_ERR_NO_ERROR && list != nullptr && list->cnt == 1)
        err = list->elems[0].err;
      on_committed(reinterpret_cast<std::uintptr_t>(rd_kafka_event_opaque(event.get())), err,
                   rd_kafka_err2str(err));
    }
  }

  void on_committed(std::uint64_t sent_as, rd_kafka_resp_err_t err, const char* text) {
    if (sent_as == fence && fence != 0) {
      fence = 0;
      safe_at = loop.now() + limits.join_guard;
      return;
    }
    const auto under_way = commits_under_way.find(sent_as);
    if (under_way == commits_under_way.end()) return;
    const auto [number, tenure] = under_way->second;
    commits_under_way.erase(under_way);
    const auto found = partitions.find(number);
    if (found == partitions.end() || found->second.tenure != tenure) return;
    Partition& partition = found->second;
    if (partition.commits.empty() || partition.commits.front().sent_as != sent_as) return;
    Commit& commit = partition.commits.front();
    const KafkaFault fault{.code = err, .reason = text};
    switch (judge_commit(err)) {
      case CommitVerdict::written: {
        worked();
        commit_denied.reset();
        while (!partition.arrivals.empty() && partition.arrivals.front().first <= commit.offset)
          partition.arrivals.pop_front();
        partition.committed =
            Committed{Position{Offset::of(commit.offset)}, std::move(commit.note)};
        positions_known[number] = partition.committed->position;
        finish(partition, {});
        return;
      }
      case CommitVerdict::again:
      case CommitVerdict::denied: {
        report(fault);
        if (judge_commit(err) == CommitVerdict::denied)
          commit_denied = explain_kafka(fault, place());
        commit_retries.add();
        commit.sent_as = 0;
        commit.not_before =
            loop.now() + (judge_commit(err) == CommitVerdict::again ? limits.commit_retry_delay
                                                                    : limits.retry_delay);
        return;
      }
      case CommitVerdict::rejected: {
        Error error = explain_kafka(fault, place());
        error.kind = ErrorKind::rejected;
        finish(partition, fail(std::move(error)));
        return;
      }
      case CommitVerdict::fatal:
        give_up();
        [[fallthrough]];
      case CommitVerdict::tenure_over: {
        Error error = explain_kafka(fault, place());
        error.kind = ErrorKind::conflict;
        log.warn("kafka commit refused", {{"topic", options.topic},
                                          {"partition", number},
                                          {"group", options.group},
                                          {"error", error.message}});
        finish(partition, fail(std::move(error)));
        end_tenure(partition);
        return;
      }
    }
  }

  // Through the loop: `done` may call us back.
  void finish(Partition& partition, Status status) {
    loop.post([done = std::move(partition.commits.front().done), status = std::move(status)] {
      done(status);
    });
    partition.commits.pop_front();
  }

  // ---- leaving ----

  void want_close() {
    if (leave_by) return;
    leave_by = loop.now() + limits.leave_wait;
    if (!handle) phase = Phase::closed;
    begin_close_when_joined();
  }

  // A member that leaves between JoinGroup and SyncGroup never learns its generation: its last
  // commits would be refused. So a rebalance that is under way is waited for, within a bound.
  void begin_close_when_joined() {
    if (!leave_by || phase != Phase::member) return;
    if (!partitions.empty() && (join_due || handle->traffic().seen().joining) &&
        loop.now() < *leave_by)
      return;
    begin_close();
  }

  void begin_close() {
    phase = Phase::closing;
    heard = handle->traffic().answers_heard();
    heard_at = loop.now();
    close_deadline = loop.now() + limits.release_wait + limits.leave_wait;
    // Not the consumer's own queue: librdkafka forwards that one to the queue it is given here.
    if (rd_kafka_error_t* error = rd_kafka_consumer_close_queue(handle->get(), close_queue.get())) {
      log.warn("kafka group not left", {{"error", rd_kafka_error_string(error)}});
      rd_kafka_error_destroy(error);
      finish_close();
    }
  }

  void serve_close() {
    if (rd_kafka_consumer_closed(handle->get()) != 0) {
      if (assigned_once) handle->may_destroy();
      finish_close();
      return;
    }
    // Nobody waits a minute for commits to a cluster that is not there.
    if (const std::uint64_t now_heard = handle->traffic().answers_heard(); now_heard != heard) {
      heard = now_heard;
      heard_at = loop.now();
    }
    const bool silent = loop.now() - heard_at >= limits.leave_wait;
    if (!silent && loop.now() < close_deadline) return;
    log.warn("kafka group not left in time: it will notice by itself",
             {{"group", options.group},
              {"why", silent ? "the cluster does not answer" : "partitions were not released"}});
    finish_close();
  }

  void finish_close() {
    for (auto& [number, partition] : partitions) end_tenure(partition);
    partitions.clear();
    revoke_deadline.reset();
    phase = Phase::closed;
  }

  Partition* find(const PartitionId& id, Tenure tenure) {
    const auto found = partitions.find(number_of(id));
    return found == partitions.end() || found->second.tenure != tenure ? nullptr : &found->second;
  }
};

KafkaSource::KafkaSource(KafkaOptions options, Loop& loop, const Log& log, Metrics& metrics,
                         KafkaSourceLimits limits)
    : state_(std::make_shared<State>(std::move(options), loop, log, metrics, limits)) {}

KafkaSource::~KafkaSource() = default;

std::string KafkaSource::kind() const { return "kafka"; }
std::string KafkaSource::log_name() const { return state_->options.topic; }

Result<std::vector<SourceEvent>> KafkaSource::poll(std::size_t records_max) {
  State& state = *state_;
  if (!state.final_error) {
    if (state.phase == State::Phase::sizing) state.size_up();
    state.begin_close_when_joined();
    if (state.phase == State::Phase::member || state.phase == State::Phase::closing) {
      state.take_commit_answers();
      state.serve(state.observer_queue.get());
      state.serve(state.consumer_queue.get());
      if (state.phase == State::Phase::closing) state.serve(state.close_queue.get());
      state.answer_revoke();
      state.watch_group();
      state.send_commits();
    }
    if (state.phase == State::Phase::member) {
      state.ask_what_is_due();
      state.fetch_what_is_due();
      if (records_max > 0) state.read(records_max);
    }
    if (state.phase == State::Phase::closing) state.serve_close();
    state.log_trouble();
  }
  if (state.final_error) {
    for (auto& [number, partition] : state.partitions) state.refuse_commits(partition);
    return fail(*state.final_error);
  }
  return std::exchange(state.events, {});
}

void KafkaSource::start(const PartitionId& partition, Tenure tenure, const Position& from) {
  State::Partition* found = state_->find(partition, tenure);
  if (found == nullptr || found->stage != State::Stage::announced ||
      state_->phase != State::Phase::member)
    return;
  found->stage = State::Stage::started;
  if (found->stuck) return;
  const auto offset = offset_of(from);
  if (!offset) {
    state_->stick(
        *found, ErrorKind::refused,
        state_->named(*found) + " cannot be read from \"" + from.text() + "\": not a Kafka offset");
    return;
  }
  found->next = *offset;
  if (found->next >= found->end_at_assignment) found->was_at_end = true;
  state_->fetch(*found);
}

void KafkaSource::pause(const PartitionId& partition, bool paused) {
  const auto found = state_->partitions.find(number_of(partition));
  if (found != state_->partitions.end()) found->second.paused = paused;
}

Position KafkaSource::after(const Position& at) const {
  const auto offset = offset_of(at);
  return offset ? Position{Offset::of(*offset + 1)} : at;
}

void KafkaSource::commit(const PartitionId& partition, Tenure tenure, const Position& next,
                         std::string note, Done done) {
  State::Partition* found = state_->find(partition, tenure);
  if (found == nullptr || !found->known_outside() || found->vanished || state_->final_error) {
    state_->refuse(number_of(partition), std::move(done));
    return;
  }
  const auto offset = offset_of(next);
  const bool ascii =
      std::all_of(note.begin(), note.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
  if (!offset || !ascii || note.size() > kNoteBytesMax) {
    state_->loop.post([done = std::move(done), message = state_->named(*found) + ": position \"" +
                                                         next.text() + "\" or its note of " +
                                                         std::to_string(note.size()) +
                                                         " bytes is not one that Kafka can keep"] {
      done(fail(ErrorKind::rejected, message));
    });
    return;
  }
  found->commits.push_back(
      State::Commit{.offset = *offset, .note = std::move(note), .done = std::move(done)});
  state_->send_commits();
}

void KafkaSource::release(const PartitionId& partition, Tenure tenure) {
  State::Partition* found = state_->find(partition, tenure);
  if (found == nullptr || found->stage != State::Stage::revoking) return;
  found->stage = State::Stage::released;
  state_->refuse_commits(*found);
}

void KafkaSource::close() { state_->want_close(); }
bool KafkaSource::closed() const {
  // A dead handle leaves no group.
  return state_->phase == State::Phase::closed || (state_->leave_by && state_->final_error);
}

bool KafkaSource::at_end() const {
  state_->end_wanted = true;
  if (!state_->assigned_once || state_->phase != State::Phase::member) return false;
  const bool ours_at_end =
      std::all_of(state_->partitions.begin(), state_->partitions.end(), [](const auto& entry) {
        return entry.second.stage == State::Stage::started && entry.second.was_at_end;
      });
  return ours_at_end && state_->others_open().empty();
}

SourceStatus KafkaSource::status() const {
  SourceStatus status;
  if (state_->final_error) {
    status.trouble = state_->final_error;
  } else if (state_->trouble && state_->worth_telling(*state_->trouble)) {
    status.trouble = state_->trouble->error;
  } else {
    status.trouble = state_->commit_denied;
  }
  const std::int64_t now_ms = unix_ms(state_->loop.wall_time());
  for (const auto& [number, partition] : state_->partitions) {
    if (!partition.known_outside()) continue;
    PartitionStatus line;
    line.partition = partition.id();
    line.retention_ms = state_->retention_ms;
    if (partition.committed) {
      line.committed = partition.committed->position;
      const std::int64_t committed = offset_of(line.committed).value_or(0);
      if (partition.end >= 0)
        line.records_behind = std::max<std::int64_t>(0, partition.end - committed);
      if (line.records_behind == 0) {
        line.millis_behind = 0;
      } else if (!partition.arrivals.empty()) {
        line.millis_behind = std::max<std::int64_t>(0, now_ms - partition.arrivals.front().second);
      }
      if (state_->retention_ms >= 0 && line.millis_behind >= 0)
        line.retention_left_ms =
            std::max<std::int64_t>(0, state_->retention_ms - line.millis_behind);
    }
    if (partition.queue && partition.fetching)
      status.bytes_held += rd_kafka_queue_length(partition.queue.get()) *
                           (partition.record_bytes_usual + kQueuedMessageBytes);
    status.partitions.push_back(std::move(line));
  }
  return status;
}

}  // namespace millrace
