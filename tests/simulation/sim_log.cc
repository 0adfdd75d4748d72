#include "tests/simulation/sim_log.h"

#include <algorithm>
#include <utility>

namespace millrace {
namespace {

std::size_t index_of(const PartitionId& partition) { return std::stoul(partition.value); }

}  // namespace

SimLog::SimLog(SimScheduler& scheduler, std::size_t partitions, SimLogOptions options)
    : scheduler_(scheduler), options_(options), partitions_(partitions) {}

Position SimLog::at(std::int64_t number) const {
  if (options_.successor_positions) return {Offset::of(number), 0};
  // As Kinesis numbers look: 56 digits that begin with 495.
  std::string digits = std::to_string(number);
  return {Offset{"495" + std::string(53 - digits.size(), '0') + digits}, 0};
}

Position SimLog::after(const Position& at) const {
  if (!options_.successor_positions) return at;
  return {Offset::of(std::stoll(at.offset.digits) + 1), 0};
}

void SimLog::append(std::size_t partition, std::string text, std::int64_t arrived_ms,
                    bool tombstone, std::int64_t gap) {
  Partition& log = partitions_.at(partition);
  log.records.push_back({log.next, std::move(text), arrived_ms, tombstone});
  log.next += 1 + gap;
}

SimLog::Group& SimLog::group_of(const std::string& name) {
  Group& group = groups_[name];
  group.owners.resize(partitions_.size());
  return group;
}

std::optional<Committed> SimLog::committed(const std::string& group, std::size_t partition) const {
  const auto found = groups_.find(group);
  if (found == groups_.end()) return std::nullopt;
  return found->second.owners.at(partition).committed;
}

void SimLog::set_committed(const std::string& group, std::size_t partition,
                           std::optional<Committed> committed) {
  group_of(group).owners.at(partition).committed = std::move(committed);
}

SimLog::MemberId SimLog::join(const std::string& name) {
  Group& group = group_of(name);
  const MemberId id = ++member_ids_;
  group.members[id].heard = scheduler_.now();
  rebalance(group);
  if (!group.ticking) {
    group.ticking = true;
    scheduler_.post_at(kWorldItself, scheduler_.now() + 200ms, [this, name] { expire(name); });
  }
  return id;
}

bool SimLog::is_member(const std::string& name, MemberId member) {
  return group_of(name).members.count(member) != 0;
}

void SimLog::heartbeat(const std::string& name, MemberId member) {
  group_of(name).members.at(member).heard = scheduler_.now();
}

void SimLog::leave(const std::string& name, MemberId member) {
  Group& group = group_of(name);
  group.members.erase(member);
  rebalance(group);
}

void SimLog::expire(const std::string& name) {
  Group& group = group_of(name);
  const Ticks now = scheduler_.now();
  std::set<MemberId> gone;
  for (const auto& [id, member] : group.members) {
    if (now - member.heard > options_.session_timeout) gone.insert(id);
  }
  for (const Ownership& ownership : group.owners) {
    if (ownership.owner && ownership.revoking && now > ownership.revoke_deadline) {
      gone.insert(*ownership.owner);
    }
  }
  for (const MemberId id : gone) group.members.erase(id);
  if (!gone.empty()) rebalance(group);
  if (group.members.empty()) {
    group.ticking = false;
    return;
  }
  scheduler_.post_at(kWorldItself, now + 200ms, [this, name] { expire(name); });
}

void SimLog::shuffle(const std::string& group) { rebalance(group_of(group)); }

void SimLog::rebalance(Group& group) {
  std::vector<MemberId> staying;
  for (const auto& [id, member] : group.members) {
    if (!member.leaving) staying.push_back(id);
  }
  const std::uint64_t shift = scheduler_.rng().below(8);
  for (std::size_t i = 0; i < group.owners.size(); ++i) {
    Ownership& ownership = group.owners[i];
    ownership.target.reset();
    if (!staying.empty()) ownership.target = staying[(i + shift) % staying.size()];
    if (!ownership.owner || ownership.owner == ownership.target || ownership.revoking) continue;
    const auto owner = group.members.find(*ownership.owner);
    if (owner == group.members.end()) continue;
    ownership.revoking = true;
    ownership.revoke_deadline = scheduler_.now() + options_.revoke_timeout;
    owner->second.inbox.push_back({Event::Kind::revoking, i, ownership.epoch});
  }
  hand_over(group);
}

void SimLog::hand_over(Group& group) {
  for (std::size_t i = 0; i < group.owners.size(); ++i) {
    Ownership& ownership = group.owners[i];
    if (ownership.owner && group.members.count(*ownership.owner) == 0) {
      ownership.owner.reset();
      ownership.revoking = false;
      ++ownership.epoch;
    }
    if (ownership.owner || !ownership.target || group.members.count(*ownership.target) == 0) {
      continue;
    }
    ownership.owner = ownership.target;
    ++ownership.epoch;
    group.members.at(*ownership.owner).inbox.push_back({Event::Kind::assigned, i, ownership.epoch});
  }
}

void SimLog::released(const std::string& name, MemberId member, std::size_t partition,
                      std::uint64_t epoch) {
  Group& group = group_of(name);
  Ownership& ownership = group.owners.at(partition);
  if (ownership.owner != member || ownership.epoch != epoch) return;
  ownership.owner.reset();
  ownership.revoking = false;
  ++ownership.epoch;
  hand_over(group);
}

Status SimLog::commit(const std::string& name, MemberId member, std::size_t partition,
                      std::uint64_t epoch, Committed committed) {
  Ownership& ownership = group_of(name).owners.at(partition);
  if (options_.fence && (ownership.owner != member || ownership.epoch != epoch)) {
    ++commits_refused_;
    return fail(ErrorKind::conflict, "commit of an older tenure", "UNKNOWN_MEMBER_ID");
  }
  if (!options_.keep_notes) {
    const std::size_t intent = committed.note.find(" c=");
    if (intent != std::string::npos) committed.note.resize(intent);
  }
  if (on_commit_) on_commit_(name, partition, ownership.committed, committed);
  ownership.committed = std::move(committed);
  return {};
}

// ---- one member -------------------------------------------------------------------------------

Position SimSource::position_before(std::size_t partition, std::size_t next) const {
  const auto& records = log_.records(partition);
  const SimLog::Partition& log = log_.partitions_.at(partition);
  if (log_.options().successor_positions) {
    return log_.at(next < records.size() ? records[next].number : log.next);
  }
  return next == 0 ? Position{} : log_.at(records[next - 1].number);
}

Result<std::vector<SourceEvent>> SimSource::poll(std::size_t records_max) {
  std::vector<SourceEvent> events;
  if (closed_) return events;
  Rng& rng = log_.scheduler().rng();
  if (!log_.is_member(group_, member_)) {
    // Put out of the group; it may take a while until it hears of it.
    if (closing_ || rng.chance(0.3)) {
      for (const auto& [partition, owned] : owned_) {
        events.emplace_back(Lost{SimLog::partition_id(partition), owned.tenure});
      }
      owned_.clear();
      if (closing_) {
        closed_ = true;
        return events;
      }
      member_ = log_.join(group_);
      return events;
    }
  } else {
    log_.heartbeat(group_, member_);
    SimLog::Group& group = log_.group_of(group_);
    auto& inbox = group.members.at(member_).inbox;
    while (!inbox.empty()) {
      const SimLog::Event event = inbox.front();
      inbox.pop_front();
      const SimLog::Ownership& ownership = group.owners.at(event.partition);
      if (event.kind == SimLog::Event::Kind::revoking) {
        const auto found = owned_.find(event.partition);
        if (found == owned_.end() || found->second.epoch != event.epoch) {
          log_.released(group_, member_, event.partition, event.epoch);
          continue;
        }
        found->second.revoking = true;
        events.emplace_back(Revoking{SimLog::partition_id(event.partition), found->second.tenure});
        continue;
      }
      if (ownership.owner != member_ || ownership.epoch != event.epoch) continue;
      if (closing_) {
        log_.released(group_, member_, event.partition, event.epoch);
        continue;
      }
      Owned& owned = owned_[event.partition];
      owned = Owned{};
      owned.tenure = Tenure{++tenures_};
      owned.epoch = event.epoch;
      owned.end_then = log_.partitions_.at(event.partition).next;
      assigned_once_ = true;
      Position start;
      if (log_.options().successor_positions) {
        start = log_.at(log_.partitions_.at(event.partition).low);
      }
      events.emplace_back(Assigned{SimLog::partition_id(event.partition), owned.tenure,
                                   ownership.committed, start});
    }
    if (closing_ && owned_.empty()) {
      log_.leave(group_, member_);
      closed_ = true;
      return events;
    }
  }
  for (auto& [partition, owned] : owned_) {
    if (records_max == 0) break;
    if (!owned.started || owned.paused || owned.revoking) continue;
    const auto& records = log_.records(partition);
    const std::size_t left = records.size() - owned.next;
    if (left == 0) {
      events.emplace_back(EndOfLog{SimLog::partition_id(partition), owned.tenure,
                                   position_before(partition, owned.next)});
      continue;
    }
    const std::size_t count = 1 + rng.below(std::min(records_max, left));
    Records handed;
    handed.batch.partition = SimLog::partition_id(partition);
    handed.batch.tenure = owned.tenure;
    for (std::size_t i = 0; i < count; ++i, ++owned.next) {
      const SimRecord& record = records[owned.next];
      handed.batch.records.push_back({log_.at(record.number), handed.batch.bytes.size(),
                                      record.text.size(), record.arrived_ms, record.tombstone});
      handed.batch.bytes += record.text;
    }
    records_max -= count;
    events.emplace_back(std::move(handed));
  }
  return events;
}

void SimSource::start(const PartitionId& partition, Tenure tenure, const Position& from) {
  const auto found = owned_.find(index_of(partition));
  MILLRACE_CHECK(found != owned_.end() && found->second.tenure == tenure);
  Owned& owned = found->second;
  MILLRACE_CHECK(!owned.started);
  owned.started = true;
  const auto& records = log_.records(found->first);
  const std::int64_t low = log_.partitions_.at(found->first).low;
  owned.next = 0;
  while (owned.next < records.size() &&
         (records[owned.next].number < low ||
          (log_.options().successor_positions ? log_.at(records[owned.next].number) < from
                                              : log_.at(records[owned.next].number) <= from))) {
    ++owned.next;
  }
}

void SimSource::pause(const PartitionId& partition, bool paused) {
  const auto found = owned_.find(index_of(partition));
  MILLRACE_CHECK(found != owned_.end());
  found->second.paused = paused;
}

void SimSource::commit(const PartitionId& partition, Tenure tenure, const Position& next,
                       std::string note, Done done) {
  const std::size_t index = index_of(partition);
  const auto found = owned_.find(index);
  MILLRACE_CHECK(note.size() <= kNoteBytesMax);
  // A tenure that is over locally has an epoch that the log refuses anyway.
  const std::uint64_t epoch =
      found != owned_.end() && found->second.tenure == tenure ? found->second.epoch : 0;
  SimScheduler& scheduler = log_.scheduler();
  const auto answer = std::make_shared<Status>();
  Ticks arrives = scheduler.now();
  // Now and then the reply is lost and the same commit is sent once more.
  const int sends = scheduler.rng().chance(0.1) ? 2 : 1;
  for (int i = 0; i < sends; ++i) {
    arrives += scheduler.between(0ms, 60ms);
    scheduler.post_at(kWorldItself, arrives,
                      [&log = log_, &scheduler, group = group_, member = member_, index, epoch,
                       committed = Committed{next, note}, answer, process = loop_.process()] {
                        if (!scheduler.alive(process) && scheduler.rng().chance(0.5)) return;
                        *answer = log.commit(group, member, index, epoch, committed);
                      });
  }
  scheduler.post_at(loop_.process(), arrives + scheduler.between(0ms, 30ms),
                    [answer, done = std::move(done)] { done(*answer); });
}

void SimSource::release(const PartitionId& partition, Tenure tenure) {
  const std::size_t index = index_of(partition);
  const auto found = owned_.find(index);
  if (found == owned_.end() || found->second.tenure != tenure) return;
  const std::uint64_t epoch = found->second.epoch;
  owned_.erase(found);
  log_.released(group_, member_, index, epoch);
}

void SimSource::close() {
  closing_ = true;
  if (!log_.is_member(group_, member_)) return;
  SimLog::Group& group = log_.group_of(group_);
  group.members.at(member_).leaving = true;
  log_.rebalance(group);
}

bool SimSource::at_end() const {
  return assigned_once_ && std::all_of(owned_.begin(), owned_.end(), [&](const auto& entry) {
           const auto& [partition, owned] = entry;
           const auto& records = log_.records(partition);
           return owned.started &&
                  (owned.next >= records.size() || records[owned.next].number >= owned.end_then);
         });
}

}  // namespace millrace
