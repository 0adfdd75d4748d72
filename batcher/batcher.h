// Which events go into one PutEvents call, and when. Pure: time is an argument.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/event.h"
#include "core/time.h"

namespace millrace {

/// Where an event came from, in the words of whoever adds it: a stream of records (one tenure of
/// one partition) and the record's number in it. The batcher only carries it and can drop a stream.
struct EventTag {
  std::uint32_t stream = 0;
  std::uint64_t record = 0;
  bool operator==(const EventTag&) const = default;
};

/// What one call carries: events of one user (or anonymous session) and one session, in the order
/// they were added. `user` is the batcher's name for that user until returned().
struct EventGroup {
  std::uint32_t user = 0;
  std::vector<Event> events{};
  std::vector<EventTag> tags{};  // of events, in their order
  Ticks oldest{};                // when the first of them was added
};

struct BatcherOptions {
  std::size_t events_per_group_max = 10;          // PutEvents takes no more (Personalize quotas)
  std::size_t bytes_per_group_max = 100 * 1024;   // ten events of 10 KB, the service's own limit
  Ticks linger = std::chrono::milliseconds(200);  // how long an event may wait for company
};

/// A user's events leave in the order they came, at most one group of a user being out at a time:
/// the next waits until returned() and collects meanwhile. A group is the longest run of one
/// session at the head of the user's queue, so a change of session closes it at once. It is ready
/// when it is closed, holds ten events or its bytes, or its oldest event has lingered.
///
/// Ready groups leave in the order in which they became ready, which depends on nothing but the
/// calls made. Cost: constant per event, logarithmic per group that lingers; memory follows the
/// events held (nodes and users are pooled and reused, never shrunk). The batcher has no limit of
/// its own: the owner looks at events() and bytes() and stops adding.
class Batcher {
 public:
  explicit Batcher(const BatcherOptions& options) : options_(options) {}

  /// Takes an event that came at `now`. REQUIRES: `now` never goes back.
  void add(Event event, EventTag tag, Ticks now);

  /// The next ready group, if there is one; its user is then out until returned().
  std::optional<EventGroup> take(Ticks now);

  /// The call with a group of this user is over.
  void returned(std::uint32_t user, Ticks now);

  /// Everything held now has lingered long enough: a stop, or a partition that leaves.
  void flush(Ticks now);

  /// Forgets every event of that stream; gives how many.
  std::size_t drop(std::uint32_t stream, Ticks now);

  /// When take() may next have something that it does not have now; nothing when only an add() or
  /// a returned() can change that.
  [[nodiscard]] std::optional<Ticks> next_ready() const;

  [[nodiscard]] std::size_t events() const { return events_held_; }
  [[nodiscard]] std::size_t bytes() const { return bytes_held_; }
  /// Users that have events waiting or a group out.
  [[nodiscard]] std::size_t users() const { return users_held_; }

  /// What an event costs in memory while it waits; the unit of bytes().
  static std::size_t bytes_of(const Event& event);

 private:
  static constexpr std::uint32_t kNone = UINT32_MAX;

  struct WaitingEvent {
    Event event{};
    EventTag tag{};
    Ticks since{};  // when it was added
    std::size_t bytes = 0;
  };
  struct Node {  // one event in a user's queue
    WaitingEvent waiting{};
    std::uint32_t next = kNone;
  };
  enum class State { free, lingering, ready, out };
  struct User {
    std::string id{};  // user id, or session id of an anonymous one
    bool anonymous = false;
    State state = State::free;
    std::uint32_t head = kNone;
    std::uint32_t tail = kNone;
    std::uint32_t run_events = 0;  // the run of one session at the head, as far as counted
    std::size_t run_bytes = 0;
    bool run_closed = false;  // it is full, or an event of another session stands behind it
    std::uint64_t armed = 0;  // which deadline or ready entry of this user is the live one
    std::size_t hash = 0;
  };
  struct Timer {
    Ticks when{};
    std::uint64_t number = 0;
    std::uint32_t user = 0;
  };
  static bool later(const Timer& a, const Timer& b) {
    return a.when != b.when ? a.when > b.when : a.number > b.number;
  }
  struct Ready {
    std::uint64_t number = 0;
    std::uint32_t user = 0;
  };

  std::uint32_t find_or_make(bool anonymous, std::string_view id);
  void forget(std::uint32_t user);
  void grow_table();
  void join_run(User& user, const WaitingEvent& waiting, bool first);
  void count_run(User& user);
  void settle_state(std::uint32_t user, Ticks now);
  void expire(Ticks now);
  std::uint32_t make_node();
  void release_node(std::uint32_t node);

  BatcherOptions options_;
  std::vector<User> users_{};
  std::vector<std::uint32_t> users_free_{};
  std::vector<std::uint32_t> table_{};  // open addressing, linear probing; kNone = empty
  std::deque<Node> nodes_{};
  std::vector<std::uint32_t> nodes_free_{};
  std::vector<Timer> timers_{};  // a heap; entries whose number is not the user's `armed` are stale
  std::deque<Ready> ready_{};    // the same
  std::size_t ready_live_ = 0;
  std::size_t lingering_live_ = 0;
  std::uint64_t numbers_ = 0;
  std::optional<Ticks> flushed_at_{};  // events added until then have lingered enough
  std::size_t events_held_ = 0;
  std::size_t bytes_held_ = 0;
  std::size_t users_held_ = 0;
};

}  // namespace millrace
