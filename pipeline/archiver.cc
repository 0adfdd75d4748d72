#include "pipeline/archiver.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <variant>

#include "core/check.h"
#include "pipeline/create_once.h"

namespace millrace {
namespace {

constexpr std::size_t kListObjectsMax = 1000;  // the most that ObjectStore::list takes

std::string summary(const RecordBooks& books) {
  return fmt::format("{} read, {} stored, {} dead-lettered, {} empty", books.read, books.stored,
                     books.dead_lettered, books.empty);
}

CutLayout layout_of(const LakeOptions& lake) {
  return {.prefix = lake.prefix,
          .error_prefix = lake.error_prefix,
          .compression = lake.compression,
          .partition_by = lake.partition_by,
          .annotate = lake.annotate};
}

}  // namespace

// The objects of our log that the lake holds, by partition. Filled elsewhere, read on the loop.
struct Archiver::Survey {
  std::string log{};
  Prefix prefix;
  Prefix error_prefix;
  std::vector<std::string> heads{};  // of the keys to look through
  std::map<std::string, Found> found{};
  Status answer{};

  void run(ObjectStore& store) {
    for (const std::string& head : heads) {
      std::string after;
      do {
        const auto page = store.list(head, after, kListObjectsMax);
        if (!page) {
          answer = fail(page.error().while_doing("listing " + store.url_of(head)));
          return;
        }
        for (const ObjectInfo& object : page->objects) note(object.key);
        after = page->next;
      } while (!after.empty());
    }
  }

  void note(const std::string& key) {
    auto cut = parse_cut_key(key);
    if (!cut) return;
    if (cut->object.log != log) {
      // A prefix that does not end in a slash is glued to the name, and reads as a part of it.
      const std::string head = cut->dead_letters
                                   ? error_prefix.evaluate(cut->object.hour, kProcessingFailed)
                                   : prefix.evaluate(cut->object.hour);
      if (key.compare(0, head.size(), head) != 0) return;
      cut = parse_cut_key(key.substr(head.size()));
      if (!cut || cut->object.log != log) return;
    }
    Found& found_here = found[cut->object.partition];
    ++found_here.objects;
    if (found_here.incarnation.empty() || cut->object.to > found_here.newest) {
      found_here.newest = cut->object.to;
      found_here.incarnation = cut->object.incarnation;
    }
  }
};

std::string_view name_of(FlushReason reason) {
  switch (reason) {
    case FlushReason::size:
      return "size";
    case FlushReason::age:
      return "age";
    case FlushReason::hours:
      return "hours";
    case FlushReason::memory:
      return "memory";
    case FlushReason::revoke:
      return "revoke";
    case FlushReason::stop:
      return "stop";
    case FlushReason::replay:
      return "replay";
  }
  return "";
}

Result<std::unique_ptr<Archiver>> Archiver::make(Loop& loop, Source& source, ObjectStore& store,
                                                 const LakeOptions& lake,
                                                 const DecodeOptions& decoding,
                                                 const PipelineOptions& options, Rng& rng,
                                                 const Log& log, Metrics& metrics) {
  CutLayout layout = layout_of(lake);
  auto maker = ObjectMaker::make(layout, decoding);
  if (!maker) return fail(maker.error());
  // As the prefixes understand themselves, so that equal layouts are equal texts.
  layout.prefix = (*maker)->prefix().text();
  layout.error_prefix = (*maker)->error_prefix().text();
  if (auto fits = layout.fits(); !fits) return fail(fits.error());
  maker = ObjectMaker::make(layout, decoding);
  if (!maker) return fail(maker.error());
  return std::unique_ptr<Archiver>(new Archiver(loop, source, store, lake, decoding, options, rng,
                                                log, metrics, std::move(*maker)));
}

Archiver::Archiver(Loop& loop, Source& source, ObjectStore& store, const LakeOptions& lake,
                   const DecodeOptions& decoding, const PipelineOptions& options, Rng& rng,
                   const Log& log, Metrics& metrics, std::unique_ptr<ObjectMaker> maker)
    : loop_(loop),
      source_(source),
      store_(store),
      lake_(lake),
      decoding_(decoding),
      options_(options),
      rng_(rng),
      log_(log),
      mapping_(lake.partition_by == PartitionBy::event ? mapping_of(decoding) : 0),
      stored_(metrics.counter("millrace_lake_records_total", "Records settled by the archiver",
                              {{"outcome", "stored"}})),
      dead_lettered_(metrics.counter("millrace_lake_records_total",
                                     "Records settled by the archiver",
                                     {{"outcome", "dead_lettered"}})),
      empty_(metrics.counter("millrace_lake_records_total", "Records settled by the archiver",
                             {{"outcome", "empty"}})),
      objects_(metrics.counter("millrace_lake_objects_total", "Objects durable in the lake")),
      object_bytes_(metrics.counter("millrace_lake_object_bytes_total",
                                    "Bytes of objects durable in the lake, as stored")),
      put_failures_(metrics.counter("millrace_lake_put_failures_total",
                                    "Objects that could not be created at this try")),
      bytes_gauge_(metrics.gauge("millrace_lake_bytes_held", "Memory of the archiver's buffers")) {
  makers_.push_back(std::move(maker));
  for (const FlushReason reason :
       {FlushReason::size, FlushReason::age, FlushReason::hours, FlushReason::memory,
        FlushReason::revoke, FlushReason::stop, FlushReason::replay}) {
    flushes_[reason] = &metrics.counter("millrace_lake_flushes_total", "Cuts, by their reason",
                                        {{"reason", std::string(name_of(reason))}});
  }
}

void Archiver::start(Finished finished) {
  MILLRACE_CHECK(!finished_);
  finished_ = std::move(finished);
  loop_.post([this] { pump(); });
}

void Archiver::stop() {
  if (stopping_ || ended_) return;
  stopping_ = true;
  stop_deadline_ = loop_.now() + options_.drain_deadline;
  source_.close();
}

void Archiver::end(Status status) {
  if (ended_) return;
  ended_ = true;
  for (const auto& [id, partition] : partitions_) {
    if (!partition.has_open() && !partition.cut) continue;
    log_.warn("left before all was in the lake; it will be read again",
              {{"partition", id.value}, {"committed", partition.committed.text()}});
  }
  partitions_.clear();
  uploads_.clear();
  if (status) {
    log_.info("archiver ended",
              {{"stored", stored_.value()}, {"dead_lettered", dead_lettered_.value()}});
  }
  finished_(std::move(status));
}

// ---- the loop's turn --------------------------------------------------------------------------

void Archiver::pump() {
  if (ended_) return;
  update_pauses();
  const std::size_t held = bytes_held();
  const bool replaying = std::any_of(partitions_.begin(), partitions_.end(), [](const auto& entry) {
    return entry.second.phase == Phase::replaying;
  });
  std::size_t wanted = 0;
  if (!stopping_ && held < options_.memory_bytes) {
    wanted = std::clamp<std::size_t>((options_.memory_bytes - held) / record_bytes_, 1,
                                     options_.poll_records_max);
  } else if (!stopping_ && replaying) {
    wanted = options_.poll_records_max;  // update_pauses() has paused all the others
  }
  auto events = source_.poll(wanted);
  if (!events) return end(fail(events.error()));
  bool busy = false;
  for (SourceEvent& event : *events) {
    busy = busy || std::holds_alternative<Records>(event);
    std::visit([this](auto& each) { handle(std::move(each)); }, event);
  }
  cut_old();
  cut_for_memory();
  start_uploads();
  bytes_gauge_.set(static_cast<std::int64_t>(bytes_held()));

  if (options_.until_end && !stopping_ && source_.at_end() &&
      std::all_of(partitions_.begin(), partitions_.end(), [](const auto& entry) {
        return entry.second.phase == Phase::collecting && entry.second.held.empty();
      })) {
    stop();
  }
  if (stopping_ && loop_.now() >= stop_deadline_) {
    while (!partitions_.empty()) release(partitions_.begin()->second);
  }
  if (stopping_ && source_.closed()) return end(outcome_);
  if (busy) {
    loop_.post([this] { pump(); });
  } else {
    loop_.post_after(options_.idle_wait, [this] { pump(); });
  }
}

Archiver::Partition* Archiver::find(const PartitionId& id, Tenure tenure) {
  const auto found = partitions_.find(id);
  return found != partitions_.end() && found->second.tenure == tenure ? &found->second : nullptr;
}

std::string Archiver::where(const Partition& partition) const {
  return fmt::format("partition {} of {} {}", partition.id.value, source_.kind(),
                     source_.log_name());
}

void Archiver::handle(Assigned event) {
  partitions_.erase(event.partition);
  Partition& partition =
      partitions_.try_emplace(event.partition, event.partition, event.tenure, *makers_.front())
          .first->second;
  partition.start = std::move(event.start);
  if (event.committed) {
    begin(partition, *event.committed);
  } else {
    survey();
  }
}

void Archiver::handle(Records event) {
  Partition* const partition = find(event.batch.partition, event.batch.tenure);
  if (partition == nullptr || partition->leaving || event.batch.records.empty()) return;
  const std::size_t average = event.batch.bytes_held() / event.batch.records.size();
  record_bytes_ = std::max<std::size_t>(1, (record_bytes_ * 3 + average) / 4);
  partition->held.push_back({std::move(event.batch), 0});
  take_held(*partition);
}

void Archiver::handle(const EndOfLog& event) {
  Partition* const partition = find(event.partition, event.tenure);
  if (partition == nullptr || partition->phase != Phase::replaying) return;
  // The cut's last records are gone (retention, compaction): it ends here, with what is left.
  if (event.position >= partition->note.intent->end) end_replay(*partition);
}

void Archiver::handle(const Revoking& event) {
  Partition* const partition = find(event.partition, event.tenure);
  if (partition == nullptr) return source_.release(event.partition, event.tenure);
  partition->leaving = true;
  partition->held.clear();
  partition->full.reset();
  loop_.post_after(options_.drain_deadline, [this, id = event.partition, tenure = event.tenure] {
    Partition* const late = find(id, tenure);
    if (late == nullptr) return;
    log_.warn("partition leaves before all was in the lake; its next owner reads it again",
              {{"partition", id.value}, {"committed", late->committed.text()}});
    release(*late);
  });
  settle_leaving(*partition);
}

void Archiver::handle(const Lost& event) {
  if (Partition* const partition = find(event.partition, event.tenure)) {
    drop(*partition, "the log gave it to another owner");
  }
}

void Archiver::handle(const Stuck& event) {
  Partition* const partition = find(event.partition, event.tenure);
  if (partition == nullptr) return;
  if (event.error.kind == ErrorKind::refused || options_.until_end) {
    refuse(*partition, event.error);
  } else {
    partition->stuck = true;
    partition->waiting = event.error.message;
    log_.error("partition is stuck",
               {{"partition", event.partition.value}, {"error", event.error.message}});
  }
}

// Ends the program: other partitions drain first.
void Archiver::refuse(Partition& partition, const Error& error) {
  partition.stuck = true;
  partition.waiting = error.message;
  Error said = error.while_doing(where(partition));
  log_.error("archiver cannot go on", {{"error", said.message}});
  if (outcome_) outcome_ = fail(std::move(said));
  stop();
}

void Archiver::drop(Partition& partition, std::string_view why) {
  log_.info("partition dropped", {{"partition", partition.id.value}, {"why", why}});
  const PartitionId id = partition.id;
  partitions_.erase(id);
}

void Archiver::release(Partition& partition) {
  const PartitionId id = partition.id;
  const Tenure tenure = partition.tenure;
  partitions_.erase(id);
  source_.release(id, tenure);
}

// Goes on with a partition that is about to leave; called again when its cut is done.
void Archiver::settle_leaving(Partition& partition) {
  if (!partition.leaving || partition.cut || partition.phase == Phase::anchoring) return;
  if (partition.phase == Phase::collecting && partition.has_open()) {
    return begin_cut(partition, stopping_ ? FlushReason::stop : FlushReason::revoke);
  }
  release(partition);
}

// ---- where to begin ---------------------------------------------------------------------------

void Archiver::begin(Partition& partition, const Committed& committed) {
  partition.committed = committed.position;
  partition.read_to = committed.position;
  auto note = parse_cut_note(committed.note);
  if (!note) {
    if (options_.adopt != Adopt::none) return anchor(partition, committed.position);
    return refuse(partition,
                  note.error().while_doing("the committed position " + committed.position.text()));
  }
  partition.note = std::move(*note);
  if (partition.note.intent) return begin_replay(partition);
  collect(partition);
}

void Archiver::collect(Partition& partition) {
  partition.phase = Phase::collecting;
  source_.start(partition.id, partition.tenure, partition.committed);
}

// A partition without a committed position is new, or its position was forgotten (Kafka drops the
// offsets of a group that was empty for a week) or wiped with its topic. Only the lake can tell.
void Archiver::survey() {
  if (surveying_) return;  // the partition is looked up in the next one
  surveying_ = true;
  const ObjectMaker& maker = *makers_.front();
  const auto survey = std::make_shared<Survey>(Survey{.log = log_in_names(source_.log_name()),
                                                      .prefix = maker.prefix(),
                                                      .error_prefix = maker.error_prefix()});
  survey->heads = {maker.prefix().fixed_head(), maker.error_prefix().fixed_head()};
  std::sort(survey->heads.begin(), survey->heads.end());
  // A head that begins with the other is looked through with it.
  if (survey->heads[1].compare(0, survey->heads[0].size(), survey->heads[0]) == 0) {
    survey->heads.pop_back();
  }
  loop_.offload([survey, &store = store_] { survey->run(store); },
                [this, survey] { surveyed(survey); });
}

void Archiver::surveyed(const std::shared_ptr<Survey>& survey_done) {
  surveying_ = false;
  if (ended_) return;
  std::vector<std::pair<PartitionId, Tenure>> asking;
  for (const auto& [id, partition] : partitions_) {
    if (partition.phase == Phase::surveying && !partition.stuck) {
      asking.emplace_back(id, partition.tenure);
    }
  }
  for (const auto& [id, tenure] : asking) {
    Partition& partition = *find(id, tenure);
    if (!survey_done->answer) {
      wait(partition, survey_done->answer.error(), [this](Partition&) { survey(); });
      continue;
    }
    const auto found = survey_done->found.find(partition_in_names(id));
    if (found == survey_done->found.end() || options_.adopt == Adopt::start) {
      anchor(partition, partition.start);
    } else if (options_.adopt == Adopt::position) {
      anchor(partition, found->second.newest);
    } else {
      refuse(partition,
             {ErrorKind::refused,
              fmt::format("no position is committed, but the lake holds {} objects of it, up to "
                          "position {} (incarnation {}). If the position was forgotten, run once "
                          "with --adopt position to go on from {}; if the log was deleted and made "
                          "anew, run once with --adopt start",
                          found->second.objects, found->second.newest.text(),
                          found->second.incarnation, found->second.newest.text()),
              {},
              std::nullopt});
    }
  }
}

// Commits where reading begins, before the first read: otherwise a crash before the first cut could
// skip what arrived meanwhile (`start: latest`), and objects could come without a position.
void Archiver::anchor(Partition& partition, Position position) {
  if (partition.phase != Phase::anchoring) {
    partition.phase = Phase::anchoring;
    partition.note = CutNote{};
    partition.note.incarnation = static_cast<std::uint32_t>(rng_.next());
    partition.committed = position;
    partition.read_to = std::move(position);
  }
  source_.commit(partition.id, partition.tenure, partition.committed,
                 print_cut_note(partition.note),
                 [this, id = partition.id, tenure = partition.tenure](const Status& answer) {
                   Partition* const anchored = find(id, tenure);
                   if (anchored == nullptr) return;
                   if (answer) {
                     clear_waiting(*anchored);
                     collect(*anchored);
                     settle_leaving(*anchored);
                   } else if (answer.error().kind == ErrorKind::conflict) {
                     drop(*anchored, answer.error().message);
                   } else {
                     wait(*anchored, answer.error(),
                          [this](Partition& waited) { anchor(waited, waited.committed); });
                   }
                 });
}

Result<ObjectMaker*> Archiver::maker_for(const CutLayout& layout) {
  for (const auto& maker : makers_) {
    if (maker->layout() == layout) return maker.get();
  }
  auto made = ObjectMaker::make(layout, decoding_);
  if (!made) return fail(made.error());
  makers_.push_back(std::move(*made));
  return makers_.back().get();
}

void Archiver::begin_replay(Partition& partition) {
  const CutNote::Intent& intent = *partition.note.intent;
  const auto refuse_this = [&](const std::string& why) {
    refuse(partition, {ErrorKind::refused,
                       fmt::format("a cut from {} to {} is under way and {}",
                                   partition.committed.text(), intent.end.text(), why),
                       {},
                       std::nullopt});
  };
  if (!(intent.end > partition.committed)) {
    return refuse_this("ends before it begins: another program has moved the position");
  }
  const auto maker = maker_for(intent.layout);
  if (!maker) return refuse_this("its layout cannot be used: " + maker.error().message);
  if (intent.layout.partition_by == PartitionBy::event && intent.mapping != mapping_of(decoding_)) {
    return refuse_this(
        "was begun with other `events:` options, on which its hours depend; run once with those "
        "until it is finished, then change them");
  }
  log_.info("finishing a cut of an earlier owner", {{"partition", partition.id.value},
                                                    {"from", partition.committed.text()},
                                                    {"to", intent.end.text()}});
  partition.open = HourBuffers(**maker);
  partition.phase = Phase::replaying;
  source_.start(partition.id, partition.tenure, partition.committed);
}

void Archiver::end_replay(Partition& partition) {
  partition.read_to = partition.note.intent->end;
  begin_cut(partition, FlushReason::replay);
  partition.phase = Phase::collecting;
}

// ---- collecting -------------------------------------------------------------------------------

void Archiver::take_held(Partition& partition) {
  while (!partition.held.empty() && !partition.full) {
    Held& front = partition.held.front();
    while (front.next < front.batch.records.size() && !partition.full) {
      if (take(partition, front.batch, front.batch.records[front.next])) ++front.next;
    }
    if (front.next < front.batch.records.size()) return;
    partition.held.pop_front();
  }
}

// False: the record has to wait for a cut (partition.full says which).
bool Archiver::take(Partition& partition, const RecordBatch& batch, const RecordRef& record) {
  Position after = source_.after(record.at);
  if (partition.phase == Phase::replaying && after > partition.note.intent->end) {
    end_replay(partition);
  }
  const std::string_view text = batch.text_of(record);
  LakeHour hour;
  if (!record.tombstone) {
    hour = partition.open.maker().hour_of(text, record.arrived_ms);
    if (partition.phase == Phase::collecting && !partition.open.is_open(hour) &&
        partition.open.open_hours() >= options_.open_hours_max) {
      if (partition.cut) {
        partition.full = FlushReason::hours;
        return false;
      }
      begin_cut(partition, FlushReason::hours);
    }
  }
  if (!partition.has_open()) partition.open_since = loop_.now();
  partition.open.add(partition.id, record, text, hour);
  partition.read_to = std::move(after);
  if (partition.phase == Phase::replaying) {
    if (partition.read_to == partition.note.intent->end) end_replay(partition);
  } else if (partition.open.largest_stored() >= lake_.buffer_bytes) {
    if (partition.cut) {
      partition.full = FlushReason::size;
    } else {
      begin_cut(partition, FlushReason::size);
    }
  }
  return true;
}

void Archiver::cut_old() {
  for (auto& [id, partition] : partitions_) {
    if (partition.phase == Phase::collecting && !partition.cut && !partition.leaving &&
        partition.has_open() &&
        loop_.now() - partition.open_since >= Ticks(lake_.buffer_interval)) {
      begin_cut(partition, FlushReason::age);
    }
  }
}

std::size_t Archiver::bytes_of(const Partition& partition) const {
  std::size_t bytes = partition.open.bytes();
  if (partition.cut) bytes += partition.cut->bytes;
  for (const Held& held : partition.held) bytes += held.batch.bytes_held();
  return bytes;
}

std::size_t Archiver::bytes_held() const {
  std::size_t bytes = 0;
  for (const auto& [id, partition] : partitions_) bytes += bytes_of(partition);
  return bytes;
}

// Above three quarters of the bound the largest are cut until what stays open is a quarter. What is
// in cuts already does not count: with the store down, cutting more would only make dust.
void Archiver::cut_for_memory() {
  if (bytes_held() <= options_.memory_bytes / 4 * 3) return;
  std::size_t open = 0;
  std::vector<std::pair<std::size_t, Partition*>> largest;
  for (auto& [id, partition] : partitions_) {
    const std::size_t bytes = partition.open.bytes();
    open += bytes;
    if (partition.phase == Phase::collecting && !partition.cut && !partition.leaving &&
        partition.has_open()) {
      largest.emplace_back(bytes, &partition);
    }
  }
  std::stable_sort(largest.begin(), largest.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  for (const auto& [bytes, partition] : largest) {
    if (open <= options_.memory_bytes / 4) return;
    begin_cut(*partition, FlushReason::memory);
    open -= std::min(open, bytes);
  }
}

void Archiver::update_pauses() {
  const bool over = bytes_held() >= options_.memory_bytes;
  for (auto& [id, partition] : partitions_) {
    if (partition.phase != Phase::collecting && partition.phase != Phase::replaying) continue;
    const bool pause = !partition.held.empty() || partition.full.has_value() ||
                       (over && partition.phase != Phase::replaying);
    if (pause == partition.paused) continue;
    partition.paused = pause;
    source_.pause(id, pause);
  }
}

// ---- the cut ----------------------------------------------------------------------------------

void Archiver::begin_cut(Partition& partition, FlushReason reason) {
  MILLRACE_CHECK(!partition.cut);
  Cut& cut = partition.cut.emplace();
  cut.end = partition.read_to;
  cut.reason = reason;
  cut.maker = &partition.open.maker();
  cut.mapping = cut.maker->layout().partition_by == PartitionBy::event ? mapping_ : 0;
  cut.books = partition.open.books();
  cut.objects = std::move(partition.open).seal();
  partition.open = HourBuffers(*makers_.front());
  for (const HourBuffers::Object& object : cut.objects) {
    const CutObject name{.log = log_in_names(source_.log_name()),
                         .incarnation = incarnation_text(partition.note.incarnation),
                         .partition = partition_in_names(partition.id),
                         .from = partition.committed,
                         .to = cut.end,
                         .hour = object.hour,
                         .digits = position_digits(source_.kind())};
    cut.keys.push_back(
        object.dead_letters
            ? cut_dead_letters_key(cut.maker->error_prefix(), cut.maker->layout().compression, name)
            : cut_key(cut.maker->prefix(), cut.maker->layout().compression, name));
    cut.bytes += object.bytes->capacity();
  }
  partition.retries = 0;
  if (cut.objects.empty()) return commit_position(partition);  // nothing that a name could double
  if (!partition.note.intent) return commit_intent(partition);
  cut.step = CutStep::storing;
  queue_upload(partition);
}

void Archiver::commit_intent(Partition& partition) {
  const Cut& cut = *partition.cut;
  CutNote note = partition.note;
  note.intent =
      CutNote::Intent{.end = cut.end, .layout = cut.maker->layout(), .mapping = cut.mapping};
  std::string text = print_cut_note(note);
  source_.commit(partition.id, partition.tenure, partition.committed, std::move(text),
                 [this, id = partition.id, tenure = partition.tenure,
                  note = std::move(note)](const Status& answer) {
                   Partition* const intended = find(id, tenure);
                   if (intended == nullptr) return;
                   if (answer) {
                     clear_waiting(*intended);
                     intended->note = note;
                     intended->cut->step = CutStep::storing;
                     queue_upload(*intended);
                     start_uploads();
                   } else if (answer.error().kind == ErrorKind::conflict) {
                     drop(*intended, answer.error().message);
                   } else {
                     wait(*intended, answer.error(),
                          [this](Partition& waited) { commit_intent(waited); });
                   }
                 });
}

void Archiver::queue_upload(const Partition& partition) {
  uploads_.push_back({partition.id, partition.tenure});
}

void Archiver::start_uploads() {
  while (uploads_in_flight_ < options_.uploads_max && !uploads_.empty()) {
    const Upload upload = std::move(uploads_.front());
    uploads_.pop_front();
    const Partition* const partition = find(upload.partition, upload.tenure);
    if (partition == nullptr) continue;
    const Cut& cut = *partition->cut;
    ++uploads_in_flight_;
    const auto created = std::make_shared<Result<Creation>>(Creation::now);
    loop_.offload(
        [created, &store = store_, key = cut.keys[cut.next], bytes = cut.objects[cut.next].bytes] {
          *created = create_once(store, key, *bytes);
        },
        [this, created, upload] {
          --uploads_in_flight_;
          if (*created && **created == Creation::longer) {
            log_.warn("the log has forgotten records of a cut that the lake holds already",
                      {{"partition", upload.partition.value}});
          }
          uploaded(upload.partition, upload.tenure,
                   *created ? Status() : Status(fail(created->error())));
          start_uploads();
        });
  }
}

void Archiver::uploaded(const PartitionId& id, Tenure tenure, const Status& answer) {
  if (!answer) put_failures_.add();
  Partition* const partition = find(id, tenure);
  if (partition == nullptr) return;
  if (!answer) {
    return wait(*partition, answer.error(), [this](Partition& waited) {
      queue_upload(waited);
      start_uploads();
    });
  }
  clear_waiting(*partition);
  Cut& cut = *partition->cut;
  auto& bytes = cut.objects[cut.next].bytes;
  objects_.add();
  object_bytes_.add(bytes->size());
  cut.bytes -= bytes->capacity();
  bytes.reset();
  ++cut.next;
  if (cut.next < cut.objects.size()) return queue_upload(*partition);
  commit_position(*partition);
}

void Archiver::commit_position(Partition& partition) {
  Cut& cut = *partition.cut;
  cut.step = CutStep::position;
  CutNote note = partition.note;
  note.intent.reset();
  note.objects += cut.objects.size();
  note.books += cut.books;
  std::string text = print_cut_note(note);
  source_.commit(partition.id, partition.tenure, cut.end, std::move(text),
                 [this, id = partition.id, tenure = partition.tenure,
                  note = std::move(note)](const Status& answer) {
                   Partition* const moved = find(id, tenure);
                   if (moved == nullptr) return;
                   if (answer) {
                     clear_waiting(*moved);
                     moved->note = note;
                     cut_done(*moved);
                   } else if (answer.error().kind == ErrorKind::conflict) {
                     drop(*moved, answer.error().message);
                   } else {
                     wait(*moved, answer.error(),
                          [this](Partition& waited) { commit_position(waited); });
                   }
                 });
}

void Archiver::cut_done(Partition& partition) {
  const Cut cut = std::move(*partition.cut);
  partition.cut.reset();
  stored_.add(cut.books.stored);
  dead_lettered_.add(cut.books.dead_lettered);
  empty_.add(cut.books.empty);
  flushes_.at(cut.reason)->add();
  log_.debug("cut", {{"partition", partition.id.value},
                     {"reason", name_of(cut.reason)},
                     {"from", partition.committed.text()},
                     {"to", cut.end.text()},
                     {"objects", cut.objects.size()},
                     {"records", summary(cut.books)}});
  partition.committed = cut.end;
  partition.last_cut =
      ArchiverStatus::LastCut{loop_.wall_time(), cut.reason, cut.objects.size(), cut.books.read};
  if (partition.leaving) return settle_leaving(partition);
  if (partition.full) {
    const FlushReason reason = *partition.full;
    partition.full.reset();
    begin_cut(partition, reason);
  }
  take_held(partition);
}

// ---- waiting ----------------------------------------------------------------------------------

void Archiver::wait(Partition& partition, const Error& error,
                    std::function<void(Partition&)> again) {
  const Ticks delay = error.retryable() ? Ticks(retry_.next_delay(error, partition.retries, rng_))
                                        : options_.slow_retry;
  ++partition.retries;
  // Once for each reason, not for each try.
  if (partition.waiting != error.message) {
    log_.warn("partition waits", {{"partition", partition.id.value}, {"error", error.message}});
    partition.waiting = error.message;
  }
  loop_.post_after(delay,
                   [this, id = partition.id, tenure = partition.tenure, again = std::move(again)] {
                     if (Partition* const waited = find(id, tenure)) again(*waited);
                   });
}

void Archiver::clear_waiting(Partition& partition) {
  partition.retries = 0;
  if (partition.stuck || partition.waiting.empty()) return;
  log_.info("partition goes on", {{"partition", partition.id.value}});
  partition.waiting.clear();
}

ArchiverStatus Archiver::status() const {
  ArchiverStatus status;
  status.bytes_held = bytes_held();
  status.uploads_in_flight = uploads_in_flight_;
  for (const auto& [id, partition] : partitions_) {
    ArchiverStatus::Partition& line = status.partitions.emplace_back();
    line.partition = id;
    line.committed = partition.committed;
    line.waiting = partition.waiting;
    line.open_bytes = partition.open.bytes();
    line.open_hours = partition.open.open_hours();
    if (partition.has_open()) line.open_age = loop_.now() - partition.open_since;
    line.books = partition.note.books;
    line.last_cut = partition.last_cut;
    if (partition.phase != Phase::surveying) {
      line.incarnation = incarnation_text(partition.note.incarnation);
    }
    if (partition.cut) line.cutting_objects = partition.cut->objects.size() - partition.cut->next;
    if (partition.stuck) {
      line.doing = "stuck";
    } else if (partition.phase == Phase::surveying) {
      line.doing = "looking into the lake";
    } else if (partition.phase == Phase::anchoring) {
      line.doing = "anchoring";
    } else if (partition.phase == Phase::replaying) {
      line.doing = "replaying";
    } else {
      line.doing = partition.cut ? "cutting" : "collecting";
    }
  }
  return status;
}

}  // namespace millrace
