#include "ingest/kinesis_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include "core/check.h"
#include "core/rng.h"
#include "ingest/kinesis_entry.h"

namespace millrace {
namespace {

constexpr std::int64_t kMsPerHour = 3'600'000;
constexpr std::size_t kArrivalsMax = 1024;
constexpr std::string_view kAggregateMagic = "\xF3\x89\x9A\xC2";

/// What a read needs, by value: it runs on a worker.
struct ReadOrder {
  std::string iterator{};  // empty: ask for one by `request` first
  ShardIteratorRequest request{};
  std::int32_t records_max = 0;
  std::size_t batch_records_max = 0;
};
struct ReadAnswer {
  Result<KinesisRecords> records{};
  bool iterator_refused = false;  // the error is of GetShardIterator
  std::string iterator{};         // that was read by: good still after most errors
  std::vector<RecordBatch> batches{};
  std::size_t bytes = 0;
  std::size_t count = 0;
  std::size_t aggregated = 0;
};

// One arena for 10,000 records could only be freed as a whole, after the slowest of them.
std::vector<RecordBatch> split_batch(RecordBatch whole, std::size_t records_max) {
  std::vector<RecordBatch> out;
  if (whole.records.empty()) return out;
  if (whole.records.size() <= records_max) {
    out.push_back(std::move(whole));
    return out;
  }
  for (std::size_t from = 0; from < whole.records.size(); from += records_max) {
    const std::size_t to = std::min(whole.records.size(), from + records_max);
    RecordBatch& part = out.emplace_back();
    std::size_t bytes = 0;
    for (std::size_t i = from; i < to; ++i) bytes += whole.records[i].length;
    part.bytes.reserve(bytes);
    part.records.reserve(to - from);
    for (std::size_t i = from; i < to; ++i) {
      RecordRef record = std::move(whole.records[i]);
      const std::string_view text =
          std::string_view(whole.bytes).substr(record.begin, record.length);
      record.begin = part.bytes.size();
      part.bytes += text;
      part.records.push_back(std::move(record));
    }
  }
  return out;
}

void perform_read(KinesisApi& api, const ReadOrder& order, ReadAnswer& answer) {
  std::string iterator = order.iterator;
  if (iterator.empty()) {
    auto fresh = api.get_shard_iterator(order.request);
    if (!fresh) {
      answer.iterator_refused = true;
      answer.records = fail(fresh.error());
      return;
    }
    iterator = std::move(*fresh);
  }
  answer.records = api.get_records(iterator, order.records_max);
  answer.iterator = std::move(iterator);
  if (!answer.records) return;
  RecordBatch& batch = answer.records->batch;
  answer.count = batch.records.size();
  answer.bytes = batch.bytes.size();
  for (const RecordRef& record : batch.records) {
    answer.aggregated += batch.text_of(record).starts_with(kAggregateMagic);
  }
  answer.batches = split_batch(std::move(batch), order.batch_records_max);
}

}  // namespace

class KinesisSource::State : public std::enable_shared_from_this<KinesisSource::State> {
 public:
  State(KinesisOptions options, KinesisApi& api, PositionStore& positions, std::string owner,
        std::uint64_t seed, Loop& loop, const Log& log, Metrics& metrics,
        KinesisSourceLimits limits)
      : options_(std::move(options)),
        api_(api),
        positions_(positions),
        owner_(std::move(owner)),
        loop_(loop),
        log_(log),
        limits_(limits),
        rng_(seed),
        watch_(limits.lease_age_max),
        records_total_(counter(metrics, "millrace_kinesis_records_total", "Records read")),
        throttled_total_(counter(metrics, "millrace_kinesis_throttled_total",
                                 "Reads that the service throttled")),
        expired_total_(counter(metrics, "millrace_kinesis_expired_iterators_total",
                               "Iterators that had to be asked for again")),
        silent_total_(counter(metrics, "millrace_kinesis_silent_reads_total",
                              "Reads given up because no answer came")),
        gaps_total_(counter(metrics, "millrace_kinesis_gaps_total",
                            "Positions that retention may have passed over")),
        aggregated_total_(counter(metrics, "millrace_kinesis_aggregated_records_total",
                                  "Records with the framing of the Kinesis Producer Library")) {}

  [[nodiscard]] const KinesisOptions& options() const { return options_; }

  Result<std::vector<SourceEvent>> poll(std::size_t records_max);
  void start(const PartitionId& partition, Tenure tenure, const Position& from);
  void pause(const PartitionId& partition, bool paused);
  void commit(const PartitionId& partition, Tenure tenure, const Position& next, std::string note,
              Done done);
  void release(const PartitionId& partition, Tenure tenure);
  void close();
  [[nodiscard]] bool closed() const { return closed_; }
  [[nodiscard]] bool at_end() const;
  [[nodiscard]] SourceStatus status() const;

 private:
  enum class Phase {
    blocked,   // waits for its parents, or for the write of its entry
    assigned,  // told, waits for start()
    reading,   // records flow
    leaving,   // Revoking is told, waits for release()
    ending,    // its end is being recorded
    ended,     // read to its end and settled
    stuck      // waits for a person
  };
  struct Write {
    KinesisShardEntry entry{};
    Done done{};  // empty: our own
  };
  struct Shard {
    std::string id{};
    std::vector<std::string> parents{};
    bool listed = false;
    Phase phase = Phase::blocked;
    Tenure tenure{};

    KinesisShardEntry entry{};  // as it stands in the store
    std::string tag{};          // empty: not there yet
    std::deque<Write> writes{};
    bool writing = false;
    std::uint32_t write_failures = 0;

    std::string iterator{};
    bool latest_asked = false;  // the one LATEST of a new application was used
    Position fetched{};         // of the last record read
    Position handed_out{};
    bool read_under_way = false;
    std::uint64_t read_number = 0;  // an answer with another number is too late
    Ticks read_began{};
    Ticks read_next{};
    Ticks progress_at{};
    std::uint32_t read_failures = 0;
    bool argument_refused = false;
    double record_bytes = 1024;  // of this shard, as seen so far

    std::deque<RecordBatch> held{};
    std::size_t held_bytes = 0;
    bool paused = false;
    bool end_seen = false;
    bool tip_seen = false;  // the log holds nothing after `fetched`
    bool tip_told = false;  // EndOfLog since the last record
    bool tip_ever = false;  // for at_end()
    std::int64_t behind_ms = -1;
    std::deque<std::pair<Position, std::int64_t>> arrivals{};  // of what is not committed yet
  };

  static Counter& counter(Metrics& metrics, std::string_view name, std::string_view help) {
    return metrics.counter(name, help);
  }

  /// Runs `work` on a worker and `done(result)` back here, unless the source is gone by then or has
  /// been through another ownership.
  template <class T>
  void ask(std::function<T()> work, std::function<void(T)> done) {
    auto result = std::make_shared<std::optional<T>>();
    loop_.offload([work = std::move(work), result] { result->emplace(work()); },
                  [weak = weak_from_this(), term = term_, result, done = std::move(done)] {
                    const auto self = weak.lock();
                    if (self && self->term_ == term) done(std::move(**result));
                  });
  }
  void later(std::chrono::milliseconds delay, std::function<void()> task) {
    loop_.post_after(delay, [weak = weak_from_this(), term = term_, task = std::move(task)] {
      const auto self = weak.lock();
      if (self && self->term_ == term) task();
    });
  }

  void look_for_lease();
  void take_lease(const PositionLease& seen);
  void renew_lease();
  void set_up();
  void begin_with(const KinesisStreamSummary& summary, std::vector<PositionEntry> entries,
                  const std::vector<KinesisShard>& shards);
  void meet_stream(const KinesisStreamSummary& summary, const std::vector<KinesisShard>& shards);
  bool same_stream(const KinesisStreamSummary& summary);
  void go(const std::vector<KinesisShard>& shards);
  void list_soon();
  void list_regularly();
  void list_again();
  bool learn(const std::vector<KinesisShard>& listed);
  void advance_shards();
  void tell_assigned(Shard& shard);
  void write(Shard& shard, KinesisShardEntry entry, Done done);
  void write_next(Shard& shard);
  void lose_everything(const Error& why);
  void fail_for_good(Error error);
  void finish_close();
  void pump();
  void read(Shard& shard);
  void read_done(Shard& shard, ReadAnswer answer);
  void read_failed(Shard& shard, const Error& error, bool iterator_refused);
  void read_later(Shard& shard, Ticks when);
  void give_up_if_silent(const std::string& id, std::uint64_t number);
  void hand_out(Shard& shard, std::size_t& budget, std::vector<SourceEvent>& out);
  void note_tip(Shard& shard);
  void check_for_gap(const Shard& shard);
  void trouble(const Error& error);
  [[nodiscard]] bool may_read(const Shard& shard) const;
  [[nodiscard]] ShardIteratorRequest iterator_request(Shard& shard) const;
  Shard* owned(const PartitionId& partition, Tenure tenure);
  [[nodiscard]] std::int64_t wall_ms() const { return unix_ms(loop_.wall_time()); }
  static std::string key_of(const Shard& shard) { return "shards/" + shard.id; }

  const KinesisOptions options_;
  KinesisApi& api_;
  PositionStore& positions_;
  const std::string owner_;
  Loop& loop_;
  const Log& log_;
  const KinesisSourceLimits limits_;
  Rng rng_;
  LeaseWatch watch_;
  Counter& records_total_;
  Counter& throttled_total_;
  Counter& expired_total_;
  Counter& silent_total_;
  Counter& gaps_total_;
  Counter& aggregated_total_;

  bool begun_ = false;
  bool closing_ = false;
  bool closed_ = false;
  std::optional<Error> final_error_{};
  std::optional<Error> trouble_{};
  std::map<std::string, Ticks> logged_at_{};  // per kind of trouble; ErrorKinds are few
  std::uint64_t term_ = 0;                    // grows with every ownership
  std::uint32_t setup_failures_ = 0;
  PositionLease lease_{};
  bool renewing_ = false;
  std::uint64_t renewals_ = 0;
  bool releasing_ = false;
  Ticks renewed_at_{};
  bool set_up_ = false;
  bool fresh_start_ = false;  // this process made the stream's entry
  bool listing_ = false;
  bool list_again_ = false;
  std::uint64_t listings_ = 0;
  KinesisStreamEntry stream_{};
  std::int64_t retention_ms_ = 24 * kMsPerHour;
  std::map<std::string, Shard> shards_{};
  std::string turn_{};  // the shard that was served last, for fairness
  std::uint64_t tenures_ = 0;
  std::size_t reads_in_flight_ = 0;
  std::size_t held_bytes_ = 0;
  std::deque<SourceEvent> events_{};
};

// ---- ownership -------------------------------------------------------------------------------

void KinesisSource::State::trouble(const Error& error) {
  trouble_ = error;
  const std::string kind(name_of(error.kind));
  const auto [logged, is_new] = logged_at_.try_emplace(kind, loop_.now());
  if (!is_new && loop_.now() - logged->second < limits_.log_interval) return;
  logged->second = loop_.now();
  log_.warn("kinesis source in trouble", {{"stream", options_.stream}, {"error", error.message}});
}

void KinesisSource::State::look_for_lease() {
  if (closing_) {
    closed_ = true;
    return;
  }
  ask<Result<PositionLease>>(
      [&positions = positions_] { return positions.look(); },
      [this](Result<PositionLease> seen) {
        if (!seen) {
          if (seen.error().kind == ErrorKind::corrupt) {
            fail_for_good(seen.error());
            return;
          }
          trouble(seen.error());
          later(limits_.lease_look_interval, [this] { look_for_lease(); });
          return;
        }
        if (watch_.may_take(*seen, owner_, loop_.now())) {
          take_lease(*seen);
          return;
        }
        trouble({ErrorKind::conflict,
                 fmt::format("stream {} is read by {} (positions in {}); "
                             "waiting to take over",
                             options_.stream, seen->owner, positions_.where()),
                 {},
                 {}});
        later(limits_.lease_look_interval, [this] { look_for_lease(); });
      });
}

void KinesisSource::State::take_lease(const PositionLease& seen) {
  ask<Result<PositionLease>>(
      [&positions = positions_, seen, owner = owner_] { return positions.take(seen, owner); },
      [this](Result<PositionLease> taken) {
        if (!taken) {
          if (taken.error().kind == ErrorKind::corrupt) {
            fail_for_good(taken.error());
            return;
          }
          trouble(taken.error());
          later(limits_.lease_look_interval, [this] { look_for_lease(); });
          return;
        }
        lease_ = *taken;
        renewed_at_ = loop_.now();
        later(limits_.lease_renew_interval, [this] { renew_lease(); });
        set_up();
      });
}

void KinesisSource::State::renew_lease() {
  if (releasing_ || closed_) return;
  renewing_ = true;
  const std::uint64_t number = ++renewals_;
  // A call that never returns must not end the renewals; a second one recognises the first's work.
  later(limits_.lease_age_max, [this, number] {
    if (renewing_ && renewals_ == number) renew_lease();
  });
  ask<Result<PositionLease>>(
      [&positions = positions_, lease = lease_] { return positions.renew(lease); },
      [this, number](Result<PositionLease> renewed) {
        if (renewals_ != number) return;
        renewing_ = false;
        if (renewed) {
          lease_ = *renewed;
          renewed_at_ = loop_.now();
        } else if (renewed.error().kind == ErrorKind::conflict) {
          lose_everything(renewed.error());
          return;
        } else {
          trouble(renewed.error());
        }
        if (closing_ && shards_.empty()) {
          finish_close();
          return;
        }
        later(renewed ? limits_.lease_renew_interval : limits_.lease_look_interval,
              [this] { renew_lease(); });
      });
}

void KinesisSource::State::lose_everything(const Error& why) {
  log_.warn("kinesis positions belong to another process now",
            {{"stream", options_.stream}, {"error", why.message}});
  std::vector<Done> unanswered;
  for (auto& [id, shard] : shards_) {
    if (shard.phase == Phase::assigned || shard.phase == Phase::reading ||
        shard.phase == Phase::leaving || shard.phase == Phase::stuck) {
      events_.push_back(Lost{{id}, shard.tenure});
    }
    for (Write& waiting : shard.writes) {
      if (waiting.done) unanswered.push_back(std::move(waiting.done));
    }
  }
  // What was read ahead is of a tenure that is over.
  shards_.clear();
  held_bytes_ = 0;
  reads_in_flight_ = 0;
  set_up_ = false;
  fresh_start_ = false;
  listing_ = list_again_ = false;
  renewing_ = false;
  lease_ = {};
  ++term_;
  for (Done& done : unanswered) {
    loop_.post([done = std::move(done), why] { done(fail(why)); });
  }
  if (closing_) {
    closed_ = true;
    return;
  }
  later(limits_.lease_look_interval, [this] { look_for_lease(); });
}

void KinesisSource::State::fail_for_good(Error error) {
  final_error_ = std::move(error);
  if (!lease_.held) {
    return;
  }
  // The next process need not wait for the expiry to be told the same.
  loop_.offload(
      [&positions = positions_, lease = lease_] { static_cast<void>(positions.release(lease)); },
      [] {});
  ++term_;
}

// ---- the graph of shards ---------------------------------------------------------------------

void KinesisSource::State::set_up() {
  if (closing_) {
    finish_close();
    return;
  }
  struct Setup {
    Result<KinesisStreamSummary> summary{};
    Result<std::vector<PositionEntry>> entries{};
    Result<std::vector<KinesisShard>> shards{};
  };
  ask<Setup>(
      [&api = api_, &positions = positions_, lease = lease_, stream = options_.stream] {
        Setup setup;
        setup.summary = api.describe_stream_summary(stream);
        if (!setup.summary) return setup;
        setup.entries = positions.load(lease);
        if (!setup.entries) return setup;
        setup.shards = api.list_shards(stream);
        return setup;
      },
      [this](Setup setup) {
        const auto retry = [this](const Error& error) {
          trouble(error);
          const auto delay =
              error.kind == ErrorKind::denied
                  ? limits_.denied_delay
                  : std::max<std::chrono::milliseconds>(
                        limits_.retry.next_delay(error, std::min(setup_failures_++, 16U), rng_),
                        100ms);
          later(delay, [this] { set_up(); });
        };
        if (!setup.summary) {
          if (setup.summary.error().kind == ErrorKind::not_found) {
            fail_for_good({ErrorKind::not_found,
                           fmt::format("there is no Kinesis stream {}: {}", options_.stream,
                                       setup.summary.error().message),
                           setup.summary.error().code,
                           {}});
            return;
          }
          return retry(setup.summary.error());
        }
        if (!setup.entries) {
          if (setup.entries.error().kind == ErrorKind::conflict) {
            return lose_everything(setup.entries.error());
          }
          if (setup.entries.error().kind == ErrorKind::corrupt) {
            return fail_for_good(setup.entries.error());
          }
          return retry(setup.entries.error());
        }
        if (!setup.shards) return retry(setup.shards.error());
        if (setup.shards->empty()) {
          return retry({ErrorKind::transient,
                        fmt::format("stream {} lists no shards yet", options_.stream),
                        {},
                        {}});
        }
        setup_failures_ = 0;
        if (closing_) return finish_close();
        begin_with(*setup.summary, std::move(*setup.entries), *setup.shards);
      });
}

bool KinesisSource::State::same_stream(const KinesisStreamSummary& summary) {
  // Compared by the second: clients round the fraction differently.
  if (unix_ms(summary.created) / 1000 == stream_.created_ms / 1000) return true;
  fail_for_good(
      {ErrorKind::refused,
       fmt::format("stream {} was created at {}, but the positions in {} are of one created at {}: "
                   "it was deleted and made anew. Its shards bear the same names and hold other "
                   "records. Move the positions away, or choose another `name`, to read it from "
                   "source.start",
                   options_.stream, iso8601(summary.created), positions_.where(),
                   iso8601(wall_time_of_ms(stream_.created_ms))),
       {},
       {}});
  return false;
}

void KinesisSource::State::begin_with(const KinesisStreamSummary& summary,
                                      std::vector<PositionEntry> entries,
                                      const std::vector<KinesisShard>& shards) {
  retention_ms_ = std::int64_t{summary.retention_hours} * kMsPerHour;
  bool stream_known = false;
  shards_.clear();
  for (PositionEntry& found : entries) {
    if (found.key == "stream") {
      auto entry = parse_kinesis_stream_entry(found.value);
      if (!entry) return fail_for_good(entry.error().while_doing(positions_.where()));
      stream_ = std::move(*entry);
      stream_known = true;
    } else if (found.key.starts_with("shards/")) {
      auto entry = parse_kinesis_shard_entry(found.value);
      if (!entry) {
        return fail_for_good(entry.error().while_doing(positions_.where() + found.key));
      }
      Shard& shard = shards_[found.key.substr(7)];
      shard.id = found.key.substr(7);
      shard.entry = std::move(*entry);
      shard.tag = std::move(found.tag);
      shard.phase = shard.entry.ended ? Phase::ended : Phase::blocked;
    }
  }
  if (!stream_known) {
    meet_stream(summary, shards);
    return;
  }
  if (same_stream(summary)) go(shards);
}

void KinesisSource::State::go(const std::vector<KinesisShard>& shards) {
  set_up_ = true;
  if (!learn(shards)) list_soon();
  list_regularly();
  advance_shards();
}

// The first meeting: what `start` means is decided here, once, and remembered before any shard is
// read. From then on "latest" is a time, and shards that appear later begin at their first record.
void KinesisSource::State::meet_stream(const KinesisStreamSummary& summary,
                                       const std::vector<KinesisShard>& shards) {
  stream_ = {};
  stream_.created_ms = unix_ms(summary.created);
  stream_.started_ms = wall_ms();
  stream_.start = options_.start;
  if (options_.start.kind == StartAt::Kind::latest) {
    stream_.start.time = wall_time_of_ms(stream_.started_ms);
  } else if (options_.start.kind == StartAt::Kind::time &&
             options_.start.time > loop_.wall_time()) {
    return fail_for_good(
        {ErrorKind::invalid,
         fmt::format("source.start {} lies in the future; Kinesis begins at a past "
                     "time, trim_horizon or latest",
                     iso8601(options_.start.time)),
         {},
         {}});
  }
  for (const KinesisShard& shard : shards) {
    const bool skipped =
        options_.start.kind == StartAt::Kind::latest && !shard.sequence_number_last.empty();
    (skipped ? stream_.skipped : stream_.initial).push_back(shard.shard_id);
  }
  ask<Result<std::string>>(
      [&positions = positions_, lease = lease_, text = text_of(stream_)] {
        return positions.write(lease, "stream", text, "");
      },
      [this, shards](Result<std::string> written) {
        if (!written) {
          if (written.error().kind == ErrorKind::conflict) return lose_everything(written.error());
          trouble(written.error());
          // From the start: the next try finds out whether this one was written.
          later(limits_.lease_look_interval, [this] { set_up(); });
          return;
        }
        if (closing_) return finish_close();
        fresh_start_ = true;
        go(shards);
      });
}

// Takes in a list of shards. False when it straddles a reshard (an open shard with an open parent)
// and has to be asked for again.
bool KinesisSource::State::learn(const std::vector<KinesisShard>& listed) {
  if (listed.empty()) return false;
  std::set<std::string> open;
  for (const KinesisShard& shard : listed) {
    if (shard.sequence_number_last.empty()) open.insert(shard.shard_id);
  }
  for (const KinesisShard& shard : listed) {
    if (open.contains(shard.shard_id) &&
        (open.contains(shard.parent_shard_id) || open.contains(shard.adjacent_parent_shard_id))) {
      return false;
    }
  }
  for (auto& [id, shard] : shards_) shard.listed = false;
  const auto has = [](const std::vector<std::string>& ids, const std::string& id) {
    return std::find(ids.begin(), ids.end(), id) != ids.end();
  };
  for (const KinesisShard& one : listed) {
    const auto [found, is_new] = shards_.try_emplace(one.shard_id);
    Shard& shard = found->second;
    shard.listed = true;
    shard.parents.clear();
    for (const std::string& parent : {one.parent_shard_id, one.adjacent_parent_shard_id}) {
      if (!parent.empty()) shard.parents.push_back(parent);
    }
    if (!is_new) continue;
    shard.id = one.shard_id;
    if (has(stream_.skipped, shard.id)) {
      shard.entry.ended = true;
      shard.phase = Phase::ended;
    } else if (has(stream_.initial, shard.id)) {
      shard.entry.start = stream_.start;
    }
  }
  for (auto at = shards_.begin(); at != shards_.end();) {
    Shard& shard = at->second;
    if (shard.listed) {
      ++at;
    } else if (shard.phase == Phase::ended) {
      // Nobody asks for it any more: a parent that is not listed holds up no child.
      if (!shard.tag.empty()) {
        ask<Status>([&positions = positions_, lease = lease_,
                     key = key_of(shard)] { return positions.remove(lease, key); },
                    [](Status) {});
      }
      at = shards_.erase(at);
    } else {
      ++at;
    }
  }
  return true;
}

void KinesisSource::State::list_soon() {
  later(1s, [this] { list_again(); });
}

void KinesisSource::State::list_regularly() {
  later(limits_.list_interval, [this] {
    list_again();
    list_regularly();
  });
}

void KinesisSource::State::list_again() {
  if (closing_ || final_error_) return;
  if (listing_) {
    list_again_ = true;
    return;
  }
  listing_ = true;
  const std::uint64_t number = ++listings_;
  later(limits_.silence_max, [this, number] {
    if (!listing_ || listings_ != number) return;
    listing_ = false;
    list_again();
  });
  struct Listing {
    Result<KinesisStreamSummary> summary{};
    Result<std::vector<KinesisShard>> shards{};
  };
  ask<Listing>(
      [&api = api_, stream = options_.stream] {
        Listing listing;
        listing.summary = api.describe_stream_summary(stream);
        if (listing.summary) listing.shards = api.list_shards(stream);
        return listing;
      },
      [this, number](Listing listing) {
        if (listings_ != number) return;
        listing_ = false;
        if (closing_ || final_error_) return;
        if (!listing.summary) {
          if (listing.summary.error().kind == ErrorKind::not_found) {
            return fail_for_good({ErrorKind::not_found,
                                  fmt::format("the Kinesis stream {} is gone; its positions are "
                                              "kept in {}",
                                              options_.stream, positions_.where()),
                                  listing.summary.error().code,
                                  {}});
          }
          trouble(listing.summary.error());
          return list_soon();
        }
        if (!same_stream(*listing.summary)) return;
        retention_ms_ = std::int64_t{listing.summary->retention_hours} * kMsPerHour;
        if (!listing.shards) {
          trouble(listing.shards.error());
          return list_soon();
        }
        if (!learn(*listing.shards) || std::exchange(list_again_, false)) list_soon();
        advance_shards();
      });
}

// Moves on every shard that waits for something that has come true.
void KinesisSource::State::advance_shards() {
  if (!set_up_ || closing_) return;
  for (auto& [id, shard] : shards_) {
    if (shard.phase != Phase::blocked || shard.writing) continue;
    const bool free = std::all_of(shard.parents.begin(), shard.parents.end(), [this](auto& parent) {
      const auto found = shards_.find(parent);
      return found == shards_.end() || found->second.phase == Phase::ended;
    });
    if (!free) continue;
    if (!shard.listed) {
      log_.error("kinesis shard expired before it was read to its end: records are lost",
                 {{"stream", options_.stream}, {"shard", id}});
      gaps_total_.add();
      shard.phase = Phase::ending;
      KinesisShardEntry entry = shard.entry;
      entry.ended = true;
      write(shard, std::move(entry), {});
      continue;
    }
    if (shard.tag.empty()) {
      // Its entry must bear our mark before anybody works on it.
      write(shard, shard.entry, {});
      continue;
    }
    tell_assigned(shard);
  }
  pump();
}

void KinesisSource::State::tell_assigned(Shard& shard) {
  shard.phase = Phase::assigned;
  shard.tenure = Tenure{++tenures_};
  shard.iterator.clear();
  shard.end_seen = shard.tip_seen = shard.tip_told = shard.tip_ever = false;
  shard.arrivals.clear();
  ++shard.read_number;
  check_for_gap(shard);
  events_.push_back(Assigned{{shard.id}, shard.tenure, shard.entry.committed, Position{}});
}

// A position that retention has passed is served from the oldest record without an error (API
// Reference, GetShardIterator): the age of what was settled last is the only sign.
void KinesisSource::State::check_for_gap(const Shard& shard) {
  const std::int64_t seen_ms = std::max(shard.entry.settled_arrived_ms, shard.entry.tip_ms);
  if (!shard.entry.committed || seen_ms < 0 || wall_ms() - seen_ms <= retention_ms_) return;
  gaps_total_.add();
  log_.error("kinesis position is older than the stream's retention: records after it may be lost",
             {{"stream", options_.stream},
              {"shard", shard.id},
              {"settled_until", iso8601(wall_time_of_ms(seen_ms))},
              {"retention_hours", retention_ms_ / kMsPerHour}});
}

// ---- writing positions -----------------------------------------------------------------------

void KinesisSource::State::write(Shard& shard, KinesisShardEntry entry, Done done) {
  shard.writes.push_back({std::move(entry), std::move(done)});
  if (!shard.writing) write_next(shard);
}

void KinesisSource::State::write_next(Shard& shard) {
  shard.writing = true;
  ask<Result<std::string>>(
      [&positions = positions_, lease = lease_, key = key_of(shard), tag = shard.tag,
       text = text_of(shard.writes.front().entry)] {
        return positions.write(lease, key, text, tag);
      },
      [this, id = shard.id](Result<std::string> written) {
        const auto found = shards_.find(id);
        if (found == shards_.end()) return;
        Shard& written_shard = found->second;
        if (!written) {
          // Also when a new shard's entry is there already: an earlier owner was faster, and its
          // work counts. Taking the lease anew reads it.
          if (written.error().kind == ErrorKind::conflict) return lose_everything(written.error());
          trouble(written.error());
          const auto delay = std::max<std::chrono::milliseconds>(
              limits_.retry.next_delay(written.error(),
                                       std::min(written_shard.write_failures++, 16U), rng_),
              10ms);
          later(delay, [this, id] {
            const auto again = shards_.find(id);
            if (again != shards_.end() && !again->second.writes.empty()) write_next(again->second);
          });
          return;
        }
        written_shard.write_failures = 0;
        written_shard.writing = false;
        written_shard.tag = std::move(*written);
        Write finished = std::move(written_shard.writes.front());
        written_shard.writes.pop_front();
        written_shard.entry = std::move(finished.entry);
        if (!written_shard.writes.empty()) write_next(written_shard);
        if (written_shard.phase == Phase::ending && written_shard.entry.ended) {
          written_shard.phase = Phase::ended;
          log_.info("kinesis shard is read to its end",
                    {{"stream", options_.stream}, {"shard", id}});
          list_again();
        }
        advance_shards();
        if (finished.done) finished.done({});
      });
}

void KinesisSource::State::commit(const PartitionId& partition, Tenure tenure, const Position& next,
                                  std::string note, Done done) {
  Shard* const shard = owned(partition, tenure);
  if (shard == nullptr) {
    loop_.post([done = std::move(done), partition] {
      done(
          fail(ErrorKind::conflict, fmt::format("shard {} is not ours any more", partition.value)));
    });
    return;
  }
  if (note.size() > kNoteBytesMax) {
    loop_.post([done = std::move(done)] {
      done(fail(ErrorKind::invalid,
                fmt::format("a commit note has more than {} bytes", kNoteBytesMax)));
    });
    return;
  }
  KinesisShardEntry entry = shard->writes.empty() ? shard->entry : shard->writes.back().entry;
  while (!shard->arrivals.empty() && shard->arrivals.front().first <= next) {
    entry.settled_arrived_ms = std::max(entry.settled_arrived_ms, shard->arrivals.front().second);
    shard->arrivals.pop_front();
  }
  entry.committed = Committed{next, std::move(note)};
  if (shard->tip_seen && next >= shard->fetched) entry.tip_ms = wall_ms();
  write(*shard, std::move(entry), std::move(done));
}

// A quiet shard's position looks as old as its last record: this says that nothing came after it.
void KinesisSource::State::note_tip(Shard& shard) {
  if (shard.writing || !shard.entry.committed || !shard.held.empty() || closing_) return;
  if (shard.entry.committed->position < shard.fetched) return;
  if (wall_ms() - std::max(shard.entry.tip_ms, shard.entry.settled_arrived_ms) <
      limits_.tip_note_interval.count()) {
    return;
  }
  KinesisShardEntry entry = shard.entry;
  entry.tip_ms = wall_ms();
  write(shard, std::move(entry), {});
}

// ---- reading ---------------------------------------------------------------------------------

bool KinesisSource::State::may_read(const Shard& shard) const {
  if (shard.phase != Phase::reading || shard.read_under_way || shard.end_seen || shard.paused ||
      closing_ || final_error_ || shard.read_next > loop_.now() ||
      reads_in_flight_ >= limits_.reads_in_flight_max) {
    return false;
  }
  // Whoever could not renew for so long may have a successor at work already.
  if (loop_.now() - renewed_at_ > limits_.lease_age_max - limits_.lease_age_max / 5) return false;
  if (shard.held_bytes >= limits_.answer_bytes_wanted) return false;
  const std::size_t reserved = (reads_in_flight_ + 1) * limits_.answer_bytes_max;
  return held_bytes_ + reserved <= options_.fetch_bytes_max ||
         (held_bytes_ == 0 && reads_in_flight_ == 0);
}

// Round robin over the shards, beginning after the one that was served last.
void KinesisSource::State::pump() {
  if (!set_up_ || shards_.empty()) return;
  auto at = shards_.upper_bound(turn_);
  for (std::size_t i = 0; i < shards_.size(); ++i, ++at) {
    if (at == shards_.end()) at = shards_.begin();
    if (!may_read(at->second)) continue;
    turn_ = at->first;
    read(at->second);
  }
}

ShardIteratorRequest KinesisSource::State::iterator_request(Shard& shard) const {
  ShardIteratorRequest request;
  request.stream = options_.stream;
  request.shard_id = shard.id;
  if (!shard.fetched.offset.digits.empty()) {
    request.type = ShardIteratorType::after_sequence_number;
    request.sequence_number = shard.fetched.offset.digits;
    return request;
  }
  const StartAt& start = shard.entry.start;
  if (start.kind == StartAt::Kind::earliest) {
    request.type = ShardIteratorType::trim_horizon;
  } else if (start.kind == StartAt::Kind::latest && fresh_start_ && !shard.latest_asked) {
    // Once, by the process that met the stream; whoever comes later goes by the remembered time.
    shard.latest_asked = true;
    request.type = ShardIteratorType::latest;
  } else {
    request.type = ShardIteratorType::at_timestamp;
    request.timestamp = start.time;
  }
  return request;
}

void KinesisSource::State::read(Shard& shard) {
  ReadOrder order;
  order.iterator = shard.iterator;
  if (order.iterator.empty()) order.request = iterator_request(shard);
  order.records_max = static_cast<std::int32_t>(std::clamp(
      static_cast<double>(limits_.answer_bytes_wanted) / shard.record_bytes, 1.0, 10'000.0));
  order.batch_records_max = limits_.batch_records_max;
  shard.read_under_way = true;
  shard.read_began = loop_.now();
  ++reads_in_flight_;
  const std::uint64_t number = ++shard.read_number;
  auto answer = std::make_shared<ReadAnswer>();
  loop_.offload(
      [&api = api_, order = std::move(order), answer] { perform_read(api, order, *answer); },
      [weak = weak_from_this(), term = term_, id = shard.id, number, answer] {
        const auto self = weak.lock();
        if (!self || self->term_ != term) return;
        const auto found = self->shards_.find(id);
        if (found == self->shards_.end()) return;
        if (!found->second.read_under_way || found->second.read_number != number) return;
        found->second.read_under_way = false;
        --self->reads_in_flight_;
        self->read_done(found->second, std::move(*answer));
        self->pump();
      });
  later(limits_.silence_max, [this, id = shard.id, number] { give_up_if_silent(id, number); });
}

void KinesisSource::State::give_up_if_silent(const std::string& id, std::uint64_t number) {
  const auto found = shards_.find(id);
  if (found == shards_.end()) return;
  Shard& shard = found->second;
  if (!shard.read_under_way || shard.read_number != number) return;
  log_.warn("kinesis read without an answer is given up",
            {{"stream", options_.stream},
             {"shard", id},
             {"seconds", std::chrono::floor<std::chrono::seconds>(limits_.silence_max).count()}});
  silent_total_.add();
  shard.read_under_way = false;
  ++shard.read_number;
  --reads_in_flight_;
  shard.iterator.clear();
  pump();
}

void KinesisSource::State::read_later(Shard& shard, Ticks when) {
  shard.read_next = when;
  later(std::chrono::ceil<std::chrono::milliseconds>(std::max(when - loop_.now(), Ticks{0})),
        [this] { pump(); });
}

void KinesisSource::State::read_done(Shard& shard, ReadAnswer answer) {
  if (shard.phase != Phase::reading) return;  // released, or leaving with the stream's end
  if (!answer.records) {
    shard.iterator = std::move(answer.iterator);
    return read_failed(shard, answer.records.error(), answer.iterator_refused);
  }
  trouble_.reset();
  shard.read_failures = 0;
  shard.argument_refused = false;
  shard.iterator = std::move(answer.records->next_iterator);
  shard.behind_ms = answer.records->behind_ms;
  shard.end_seen = shard.iterator.empty();
  records_total_.add(answer.count);
  if (answer.aggregated > 0) {
    aggregated_total_.add(answer.aggregated);
    const auto [logged, is_new] = logged_at_.try_emplace("aggregated", loop_.now());
    if (is_new) {
      log_.warn(
          "records are aggregated by the Kinesis Producer Library, which this release does "
          "not split: they become dead letters; turn aggregation off in the producer",
          {{"stream", options_.stream}, {"shard", shard.id}});
    }
  }
  if (answer.count > 0) {
    shard.progress_at = loop_.now();
    shard.record_bytes =
        std::max(16.0, static_cast<double>(answer.bytes) / static_cast<double>(answer.count));
    shard.tip_told = false;
    for (RecordBatch& batch : answer.batches) {
      batch.partition = {shard.id};
      batch.tenure = shard.tenure;
      shard.fetched = batch.records.back().at;
      shard.held_bytes += batch.bytes_held();
      held_bytes_ += batch.bytes_held();
      shard.held.push_back(std::move(batch));
    }
  }
  // Emulators that do not tell MillisBehindLatest: an empty answer is all there is to go by.
  shard.tip_seen =
      shard.end_seen || shard.behind_ms == 0 || (shard.behind_ms < 0 && answer.count == 0);
  if (shard.end_seen) return;
  if (shard.tip_seen) {
    shard.progress_at = loop_.now();
    note_tip(shard);
  } else if (loop_.now() - shard.progress_at > limits_.stall_max) {
    log_.warn("kinesis shard is behind and gives no records; asking for a fresh iterator",
              {{"stream", options_.stream}, {"shard", shard.id}});
    shard.iterator.clear();
    shard.progress_at = loop_.now();
  }
  // At most five reads and 2 MiB a second; one a second at the tip, as others may read here too.
  const Ticks by_calls =
      shard.tip_seen ? Ticks(options_.poll_interval) : Ticks(options_.poll_interval_min);
  const Ticks by_bytes(static_cast<std::int64_t>(answer.bytes) * 1'000'000'000 / (2 << 20));
  read_later(shard, shard.read_began + std::max(by_calls, by_bytes));
}

void KinesisSource::State::read_failed(Shard& shard, const Error& error, bool iterator_refused) {
  const Ticks now = loop_.now();
  const Ticks soon = shard.read_began + Ticks(options_.poll_interval_min);
  if (error.code == "ExpiredIteratorException" && !iterator_refused) {
    expired_total_.add();
    shard.iterator.clear();
    return read_later(shard, soon);
  }
  if (error.kind == ErrorKind::not_found) {
    // The shard has expired, or the stream is gone or anew: the list tells which.
    shard.iterator.clear();
    const auto delay = std::max<std::chrono::milliseconds>(limits_.lease_look_interval, 1s);
    const auto found = shards_.find(shard.id);
    if (!found->second.listed) {
      log_.error("kinesis shard expired before it was read to its end: records are lost",
                 {{"stream", options_.stream}, {"shard", shard.id}});
      gaps_total_.add();
      shard.end_seen = shard.tip_seen = true;
      return;
    }
    trouble(error);
    list_again();
    return read_later(shard, now + delay);
  }
  if (error.code == "InvalidArgumentException" || error.code == "ValidationException") {
    const bool by_time = shard.fetched.offset.digits.empty();
    if (!iterator_refused && !shard.argument_refused) {
      // As good as expired, once.
      shard.argument_refused = true;
      shard.iterator.clear();
      expired_total_.add();
      return read_later(shard, soon);
    }
    if (iterator_refused && by_time) {
      // Our clock is ahead of the service's: the time comes.
      trouble(error);
      return read_later(shard, now + 1s);
    }
    shard.phase = Phase::stuck;
    events_.push_back(
        Stuck{{shard.id},
              shard.tenure,
              {ErrorKind::corrupt,
               fmt::format("shard {} of stream {} cannot be read from position {}: {}", shard.id,
                           options_.stream, shard.fetched.text(), error.message),
               error.code,
               {}}});
    return list_again();  // a re-created stream shows itself this way, too
  }
  if (error.kind == ErrorKind::corrupt) {
    shard.phase = Phase::stuck;
    events_.push_back(Stuck{{shard.id}, shard.tenure, error});
    return;
  }
  trouble(error);
  auto delay = std::max<std::chrono::milliseconds>(
      limits_.retry.next_delay(error, std::min(shard.read_failures++, 16U), rng_),
      options_.poll_interval_min);
  if (error.kind == ErrorKind::throttled) {
    throttled_total_.add();
    delay = std::max(delay, limits_.throttle_delay_min);
  } else if (error.kind == ErrorKind::denied) {
    delay = limits_.denied_delay;
  }
  read_later(shard, now + delay);
}

void KinesisSource::State::hand_out(Shard& shard, std::size_t& budget,
                                    std::vector<SourceEvent>& out) {
  while (!shard.paused && budget > 0 && !shard.held.empty()) {
    RecordBatch batch = std::move(shard.held.front());
    shard.held.pop_front();
    shard.held_bytes -= batch.bytes_held();
    held_bytes_ -= batch.bytes_held();
    shard.handed_out = batch.records.back().at;
    std::int64_t arrived_ms = -1;
    for (const RecordRef& record : batch.records) {
      arrived_ms = std::max(arrived_ms, record.arrived_ms);
    }
    if (shard.arrivals.size() == kArrivalsMax) {
      // Only the newest of what one commit covers counts: neighbours can share an entry.
      std::deque<std::pair<Position, std::int64_t>> thinned;
      for (std::size_t i = 1; i < shard.arrivals.size(); i += 2) {
        thinned.push_back(std::move(shard.arrivals[i]));
      }
      shard.arrivals = std::move(thinned);
    }
    shard.arrivals.emplace_back(shard.handed_out, arrived_ms);
    budget -= std::min(budget, batch.records.size());
    out.push_back(Records{std::move(batch)});
  }
  if (!shard.held.empty() || !shard.tip_seen || shard.paused) return;
  shard.tip_ever = true;
  if (!shard.tip_told) {
    shard.tip_told = true;
    out.push_back(EndOfLog{{shard.id}, shard.tenure, shard.handed_out});
  }
  if (shard.end_seen) {
    shard.phase = Phase::leaving;
    out.push_back(Revoking{{shard.id}, shard.tenure});
  }
}

Result<std::vector<SourceEvent>> KinesisSource::State::poll(std::size_t records_max) {
  if (final_error_) return fail(*final_error_);
  if (!begun_) {
    begun_ = true;
    look_for_lease();
  }
  std::vector<SourceEvent> out(std::make_move_iterator(events_.begin()),
                               std::make_move_iterator(events_.end()));
  events_.clear();
  std::size_t budget = records_max;
  auto at = shards_.upper_bound(turn_);
  for (std::size_t i = 0; i < shards_.size(); ++i, ++at) {
    if (at == shards_.end()) at = shards_.begin();
    if (at->second.phase == Phase::reading && !closing_) hand_out(at->second, budget, out);
  }
  if (!closing_) pump();
  return out;
}

// ---- what the pipeline says ------------------------------------------------------------------

KinesisSource::State::Shard* KinesisSource::State::owned(const PartitionId& partition,
                                                         Tenure tenure) {
  const auto found = shards_.find(partition.value);
  if (found == shards_.end() || found->second.tenure != tenure) return nullptr;
  Shard& shard = found->second;
  const bool ours = shard.phase == Phase::assigned || shard.phase == Phase::reading ||
                    shard.phase == Phase::leaving || shard.phase == Phase::stuck;
  return ours ? &shard : nullptr;
}

void KinesisSource::State::start(const PartitionId& partition, Tenure tenure,
                                 const Position& from) {
  Shard* const shard = owned(partition, tenure);
  if (shard == nullptr || shard->phase != Phase::assigned) return;
  shard->phase = Phase::reading;
  shard->fetched = shard->handed_out = from;
  shard->progress_at = loop_.now();
  shard->read_next = std::max(shard->read_next, loop_.now());
  shard->paused = false;
  pump();
}

void KinesisSource::State::pause(const PartitionId& partition, bool paused) {
  const auto found = shards_.find(partition.value);
  if (found == shards_.end()) return;
  found->second.paused = paused;
  if (!paused) pump();
}

void KinesisSource::State::release(const PartitionId& partition, Tenure tenure) {
  Shard* const shard = owned(partition, tenure);
  if (shard == nullptr || shard->phase != Phase::leaving) return;
  if (closing_) {
    held_bytes_ -= shard->held_bytes;
    shards_.erase(shard->id);
    const bool all = std::none_of(shards_.begin(), shards_.end(), [](const auto& one) {
      return one.second.phase == Phase::leaving;
    });
    if (all) finish_close();
    return;
  }
  const bool settled =
      shard->handed_out.offset.digits.empty() ||
      (shard->entry.committed && shard->entry.committed->position >= shard->handed_out);
  if (!settled) {
    tell_assigned(*shard);
    return;
  }
  shard->phase = Phase::ending;
  KinesisShardEntry entry = shard->entry;
  entry.ended = true;
  write(*shard, std::move(entry), {});
}

void KinesisSource::State::close() {
  if (closing_) return;
  closing_ = true;
  if (!begun_ || final_error_) {
    closed_ = true;
    return;
  }
  bool waiting = false;
  for (auto& [id, shard] : shards_) {
    if (shard.phase == Phase::assigned || shard.phase == Phase::reading ||
        shard.phase == Phase::stuck) {
      shard.phase = Phase::leaving;
      events_.push_back(Revoking{{id}, shard.tenure});
    }
    waiting = waiting || shard.phase == Phase::leaving;
  }
  // Without a lease, whoever looks for one sees closing_ next and is done.
  if (!waiting && lease_.held && set_up_) finish_close();
}

void KinesisSource::State::finish_close() {
  shards_.clear();
  later(limits_.close_wait, [this] { closed_ = true; });
  // The lease's tag must not change under the release.
  if (renewing_ || releasing_) return;
  releasing_ = true;
  ask<Status>([&positions = positions_, lease = lease_] { return positions.release(lease); },
              [this](Status released) {
                if (!released) trouble(released.error());
                closed_ = true;
              });
}

bool KinesisSource::State::at_end() const {
  if (!set_up_ || shards_.empty()) return false;
  return std::all_of(shards_.begin(), shards_.end(), [](const auto& one) {
    const Shard& shard = one.second;
    if (shard.phase == Phase::ended) return true;
    return shard.phase == Phase::reading && shard.tip_ever && !shard.end_seen;
  });
}

SourceStatus KinesisSource::State::status() const {
  SourceStatus status;
  status.trouble = final_error_ ? final_error_ : trouble_;
  status.bytes_held = held_bytes_;
  const std::int64_t now_ms = wall_ms();
  for (const auto& [id, shard] : shards_) {
    if (shard.phase == Phase::ended) continue;
    PartitionStatus one;
    one.partition = {id};
    if (shard.entry.committed) one.committed = shard.entry.committed->position;
    one.millis_behind = shard.behind_ms;
    one.retention_ms = retention_ms_;
    std::int64_t oldest_age_ms = -1;
    if (!shard.arrivals.empty()) {
      oldest_age_ms = std::max<std::int64_t>(0, now_ms - shard.arrivals.front().second);
    } else if (shard.tip_seen && shard.held.empty()) {
      oldest_age_ms = 0;
    } else if (shard.entry.settled_arrived_ms >= 0) {
      oldest_age_ms = std::max<std::int64_t>(0, now_ms - shard.entry.settled_arrived_ms);
    }
    if (oldest_age_ms >= 0)
      one.retention_left_ms = std::max<std::int64_t>(0, retention_ms_ - oldest_age_ms);
    status.partitions.push_back(std::move(one));
  }
  return status;
}

// ---- the front -------------------------------------------------------------------------------

KinesisSource::KinesisSource(KinesisOptions options, KinesisApi& api, PositionStore& positions,
                             std::string owner, std::uint64_t seed, Loop& loop, const Log& log,
                             Metrics& metrics, KinesisSourceLimits limits)
    : state_(std::make_shared<State>(std::move(options), api, positions, std::move(owner), seed,
                                     loop, log, metrics, limits)) {}
KinesisSource::~KinesisSource() = default;

std::string KinesisSource::log_name() const { return state_->options().stream; }
Result<std::vector<SourceEvent>> KinesisSource::poll(std::size_t records_max) {
  return state_->poll(records_max);
}
void KinesisSource::start(const PartitionId& partition, Tenure tenure, const Position& from) {
  state_->start(partition, tenure, from);
}
void KinesisSource::pause(const PartitionId& partition, bool paused) {
  state_->pause(partition, paused);
}
void KinesisSource::commit(const PartitionId& partition, Tenure tenure, const Position& next,
                           std::string note, Done done) {
  state_->commit(partition, tenure, next, std::move(note), std::move(done));
}
void KinesisSource::release(const PartitionId& partition, Tenure tenure) {
  state_->release(partition, tenure);
}
void KinesisSource::close() { state_->close(); }
bool KinesisSource::closed() const { return state_->closed(); }
bool KinesisSource::at_end() const { return state_->at_end(); }
SourceStatus KinesisSource::status() const { return state_->status(); }

}  // namespace millrace
