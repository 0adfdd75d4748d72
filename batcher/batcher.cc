#include "batcher/batcher.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "core/check.h"

namespace millrace {

std::size_t Batcher::bytes_of(const Event& event) {
  // Long strings live outside the Event; short ones are inside it and counted twice at worst.
  std::size_t bytes = sizeof(Node) + event.user_id.size() + event.session_id.size() +
                      event.item_id.size() + event.event_type.size() + event.event_id.size() +
                      event.event_value.size() + event.properties.size() +
                      event.recommendation_id.size();
  for (const auto& item : event.impression) bytes += sizeof(std::string) + item.size();
  return bytes;
}

std::uint32_t Batcher::make_node() {
  if (!nodes_free_.empty()) {
    const auto node = nodes_free_.back();
    nodes_free_.pop_back();
    return node;
  }
  MILLRACE_CHECK(nodes_.size() < kNone);
  nodes_.emplace_back();
  return static_cast<std::uint32_t>(nodes_.size() - 1);
}

void Batcher::release_node(std::uint32_t node) {
  nodes_[node].next = kNone;
  nodes_free_.push_back(node);
}

void Batcher::grow_table() {
  const std::size_t size = std::max<std::size_t>(64, table_.size() * 2);
  table_.assign(size, kNone);
  for (std::uint32_t index = 0; index < users_.size(); ++index) {
    if (users_[index].state == State::free) continue;
    std::size_t at = users_[index].hash & (size - 1);
    while (table_[at] != kNone) at = (at + 1) & (size - 1);
    table_[at] = index;
  }
}

std::uint32_t Batcher::find_or_make(bool anonymous, std::string_view id) {
  if ((users_held_ + 1) * 2 > table_.size()) grow_table();
  // Mixed once more: the table takes the low bits, whatever the library's hash is like.
  std::size_t hash = std::hash<std::string_view>{}(id) + (anonymous ? 1 : 0);
  hash *= 0x9E3779B97F4A7C15ull;
  hash ^= hash >> 32;
  const std::size_t mask = table_.size() - 1;
  std::size_t at = hash & mask;
  for (; table_[at] != kNone; at = (at + 1) & mask) {
    const User& user = users_[table_[at]];
    if (user.hash == hash && user.anonymous == anonymous && user.id == id) return table_[at];
  }
  std::uint32_t index = 0;
  if (users_free_.empty()) {
    index = static_cast<std::uint32_t>(users_.size());
    users_.emplace_back();
  } else {
    index = users_free_.back();
    users_free_.pop_back();
  }
  User& user = users_[index];
  user.id.assign(id);
  user.anonymous = anonymous;
  user.hash = hash;
  user.state = State::lingering;  // settle_state() says better right after
  user.armed = 0;
  ++lingering_live_;
  ++users_held_;
  table_[at] = index;
  return index;
}

void Batcher::forget(std::uint32_t index) {
  User& user = users_[index];
  const std::size_t mask = table_.size() - 1;
  std::size_t hole = user.hash & mask;
  while (table_[hole] != index) hole = (hole + 1) & mask;
  // Backward shift: later entries of the same cluster move up, so no tombstones pile up.
  for (std::size_t at = (hole + 1) & mask; table_[at] != kNone; at = (at + 1) & mask) {
    const std::size_t home = users_[table_[at]].hash & mask;
    if (((at - home) & mask) >= ((at - hole) & mask)) {
      table_[hole] = table_[at];
      hole = at;
    }
  }
  table_[hole] = kNone;
  user.state = State::free;
  user.head = user.tail = kNone;
  user.run_events = 0;
  user.run_bytes = 0;
  user.run_closed = false;
  ++user.armed;
  users_free_.push_back(index);
  --users_held_;
}

void Batcher::join_run(User& user, const WaitingEvent& waiting, bool first) {
  if (user.run_closed) return;
  if (!first && (waiting.event.session_id != nodes_[user.head].waiting.event.session_id ||
                 user.run_bytes + waiting.bytes > options_.bytes_per_group_max)) {
    user.run_closed = true;
    return;
  }
  ++user.run_events;
  user.run_bytes += waiting.bytes;
  user.run_closed = user.run_events >= options_.events_per_group_max;
}

void Batcher::count_run(User& user) {
  user.run_events = 0;
  user.run_bytes = 0;
  user.run_closed = false;
  for (auto node = user.head; node != kNone && !user.run_closed; node = nodes_[node].next) {
    join_run(user, nodes_[node].waiting, node == user.head);
  }
}

void Batcher::settle_state(std::uint32_t index, Ticks now) {
  User& user = users_[index];
  if (user.state == State::out) return;
  if (user.head == kNone) {
    if (user.state == State::ready) --ready_live_;
    if (user.state == State::lingering) --lingering_live_;
    forget(index);
    return;
  }
  const Ticks since = nodes_[user.head].waiting.since;
  const bool old = since + options_.linger <= now || (flushed_at_ && since <= *flushed_at_);
  if (user.run_closed || old) {
    if (user.state == State::ready) return;
    --lingering_live_;
    ++ready_live_;
    user.state = State::ready;
    user.armed = ++numbers_;
    ready_.push_back({user.armed, index});
    return;
  }
  if (user.state == State::ready) {  // only drop() opens a run again
    --ready_live_;
    ++lingering_live_;
    user.state = State::lingering;
    user.armed = 0;
  }
  if (user.armed != 0) return;
  user.armed = ++numbers_;
  if (timers_.size() > 2 * lingering_live_ + 64) {
    std::erase_if(timers_, [&](const Timer& timer) {
      return users_[timer.user].state != State::lingering ||
             users_[timer.user].armed != timer.number;
    });
    std::make_heap(timers_.begin(), timers_.end(), later);
  }
  timers_.push_back({since + options_.linger, user.armed, index});
  std::push_heap(timers_.begin(), timers_.end(), later);
}

void Batcher::add(Event event, EventTag tag, Ticks now) {
  const bool anonymous = event.anonymous();
  const auto index = find_or_make(anonymous, anonymous ? event.session_id : event.user_id);
  const auto node = make_node();
  Node& made = nodes_[node];
  const std::size_t bytes = bytes_of(event);
  made.waiting = {std::move(event), tag, now, bytes};
  made.next = kNone;
  ++events_held_;
  bytes_held_ += bytes;

  User& user = users_[index];
  const bool first = user.head == kNone;
  if (first) {
    user.head = node;
  } else {
    nodes_[user.tail].next = node;
  }
  user.tail = node;
  join_run(user, made.waiting, first);
  settle_state(index, now);
}

void Batcher::expire(Ticks now) {
  while (!timers_.empty() && timers_.front().when <= now) {
    const Timer timer = timers_.front();
    std::pop_heap(timers_.begin(), timers_.end(), later);
    timers_.pop_back();
    const User& user = users_[timer.user];
    if (user.state == State::lingering && user.armed == timer.number) {
      settle_state(timer.user, now);
    }
  }
}

std::optional<EventGroup> Batcher::take(Ticks now) {
  expire(now);
  while (!ready_.empty()) {
    const Ready ready = ready_.front();
    ready_.pop_front();
    User& user = users_[ready.user];
    if (user.state != State::ready || user.armed != ready.number) continue;
    --ready_live_;
    user.state = State::out;
    EventGroup group;
    group.user = ready.user;
    group.oldest = nodes_[user.head].waiting.since;
    group.events.reserve(user.run_events);
    group.tags.reserve(user.run_events);
    for (std::uint32_t taken = 0, count = user.run_events; taken < count; ++taken) {
      const auto node = user.head;
      user.head = nodes_[node].next;
      --events_held_;
      WaitingEvent& waiting = nodes_[node].waiting;
      bytes_held_ -= waiting.bytes;
      group.events.push_back(std::move(waiting.event));
      group.tags.push_back(waiting.tag);
      release_node(node);
    }
    if (user.head == kNone) user.tail = kNone;
    count_run(user);
    return group;
  }
  return std::nullopt;
}

void Batcher::returned(std::uint32_t index, Ticks now) {
  User& user = users_[index];
  MILLRACE_CHECK(user.state == State::out);
  user.state = State::lingering;
  user.armed = 0;
  ++lingering_live_;
  settle_state(index, now);
}

void Batcher::flush(Ticks now) {
  flushed_at_ = now;
  for (std::uint32_t index = 0; index < users_.size(); ++index) {
    if (users_[index].state == State::lingering) settle_state(index, now);
  }
}

std::size_t Batcher::drop(std::uint32_t stream, Ticks now) {
  std::size_t dropped = 0;
  for (std::uint32_t index = 0; index < users_.size(); ++index) {
    User& user = users_[index];
    if (user.state == State::free || user.head == kNone) continue;
    bool touched = false;
    std::uint32_t before = kNone;
    for (auto node = user.head; node != kNone;) {
      const auto next = nodes_[node].next;
      WaitingEvent& waiting = nodes_[node].waiting;
      if (waiting.tag.stream == stream) {
        (before == kNone ? user.head : nodes_[before].next) = next;
        --events_held_;
        bytes_held_ -= waiting.bytes;
        waiting = {};
        release_node(node);
        touched = true;
        ++dropped;
      } else {
        before = node;
      }
      node = next;
    }
    if (!touched) continue;
    user.tail = before;
    count_run(user);
    // Its deadline is another one now: the old entry goes stale.
    if (user.state == State::lingering) user.armed = 0;
    settle_state(index, now);
  }
  return dropped;
}

std::optional<Ticks> Batcher::next_ready() const {
  if (ready_live_ > 0) return Ticks::min();
  if (lingering_live_ == 0 || timers_.empty()) return std::nullopt;
  return timers_.front().when;  // perhaps a stale one: then the caller looks once in vain
}

}  // namespace millrace
