// Delivers groups of events to PutEvents: paced, retried for as long as it takes, refused events
// isolated from their neighbours.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "aws/personalize_events_api.h"
#include "core/event.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/metrics.h"
#include "core/retry_policy.h"
#include "core/rng.h"
#include "sinks/options.h"
#include "sinks/pace.h"
#include "sinks/sent_fields.h"

namespace millrace {

struct PersonalizeSinkOptions {
  PersonalizeOptions personalize{};
  RetryPolicy retry{};
  /// So many different users' calls failed without one that worked between: one call at a time
  /// from then on, with growing pauses, until one works.
  std::size_t failures_before_probing = 32;
  /// The same for refusals with one message (design: "a wrong setting is not poison"): after a
  /// start without any accepted call, and later.
  std::size_t refusals_before_probing_at_start = 10;
  std::size_t refusals_before_probing = 100;
};

/// What became of one event of a delivery.
struct EventOutcome {
  bool accepted = false;
  std::string reason{};        // of a refused one: ours, or the service's own words
  std::uint32_t attempts = 0;  // calls that carried it
};

/// One delivery is one group of the batcher. Its calls go one after the other, in order, with the
/// same ids and times at every try. By kind of error (aws/http_client.h, core/result.h):
///
/// - transient, ambiguous: again for ever, paced by RetryPolicy; while a delivery waits, others go.
/// - throttled: the same, and the pace falls (sinks/pace.h).
/// - rejected: PutEvents answers for the whole call, so a call of several events is halved until
///   the refused event is alone. Alone, it is tried once more when its neighbours have been, and
///   given up only when the service accepted a call begun since, or does not refuse everybody.
/// - A wrong setting is not poison: while no call was accepted since the start, or after a hundred
///   refusals in a row from different users, and all refusals say the same, nothing is given up;
///   refused deliveries wait, and trouble() names the tracking id and the schema. One user is
///   enough for that at the start: a bad event and a wrong tracker cannot be told apart then, and a
///   dead letter is the worse mistake. Any other user's accepted call tells them apart; a caller
///   that cannot wait for one looks at State::stuck. (Until the first accepted call, the neighbours
///   of an event refused alone are tried before it is tried again: should the setting be mended in
///   that moment, it follows them. The next group of its user waits.)
/// - denied and everything else: nothing is settled; again for ever, slowly, and trouble() says so.
///
/// Events that break a limit of PutEvents (sinks/sent_fields.h) are refused without being sent.
///
/// Limits: calls_in_flight_max calls; deliveries that wait for their next try have none here, the
/// owner bounds what it starts. Threads: the loop's; only the call itself runs inside
/// Loop::offload.
class PersonalizeSink {
 public:
  /// One PutEvents call; threads: any, blocks, no retries inside (they would not be paced).
  /// Usually PersonalizeEventsApi::put_events over a client with attempts_max = 1.
  using Call = std::function<Status(const PutEventsRequest&)>;
  using Done = std::function<void(std::vector<EventOutcome>)>;

  PersonalizeSink(Loop& loop, Call call, PersonalizeSinkOptions options, std::uint64_t seed,
                  Metrics& metrics, const Log& log);
  PersonalizeSink(const PersonalizeSink&) = delete;
  PersonalizeSink& operator=(const PersonalizeSink&) = delete;

  /// Called on the loop whenever can_start() may have turned true.
  void on_room(std::function<void()> room) { room_ = std::move(room); }

  /// A delivery begun now would be sent now: a call is free, the pace allows it, and no retry has
  /// waited longer.
  [[nodiscard]] bool can_start() const;

  /// Sends events of one user and one session, 1 to kPutEventsMax; gives the delivery's number.
  /// `done` runs once on the loop, never inside deliver(), with one outcome per event in their
  /// order. REQUIRES: can_start().
  std::uint64_t deliver(std::vector<Event> events, Done done);

  /// No more tries for this delivery. True: it is forgotten at once and its `done` never runs.
  /// False: a call is under way, `done` runs when it is over, with neither acceptance nor reason
  /// for events that were not accepted by then. REQUIRES: a delivery that is not done.
  bool cancel(std::uint64_t delivery);

  struct State {
    std::size_t calls_in_flight = 0;
    std::size_t waiting = 0;      // deliveries between two tries
    std::size_t events = 0;       // of all deliveries
    double calls_per_second = 0;  // the pace, as adapted
    std::string trouble{};        // why calls fail right now and what to do; empty: they do not
    bool stuck = false;           // nothing is settled until a person mends it
  };
  [[nodiscard]] State state() const;

 private:
  struct Range {
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
    std::uint64_t refused_after =
        0;  // calls started when it was first refused alone; 0: it was not
  };
  struct Delivery {
    std::uint64_t number = 0;
    std::vector<Event> events{};           // those that are sent, prepared
    std::vector<std::uint32_t> outcome{};  // of each of them, its place in `outcomes`
    std::vector<EventOutcome> outcomes{};
    std::vector<Range> ranges{};  // still to be sent; the last one is next
    std::vector<Range> held{};    // refused alone, to be tried again after the others
    Done done{};
    Status answer{};
    bool in_flight = false;
    bool cancelled = false;
    std::uint64_t started = 0;        // number of the call under way
    std::uint32_t retries = 0;        // of the range that is next
    std::uint64_t failure_epoch = 0;  // counted once per epoch
    Ticks due{};
  };
  using Deliveries = std::map<std::uint64_t, std::shared_ptr<Delivery>>;

  struct Refusals {  // of one message in this epoch
    std::string message{};
    std::set<std::size_t> users{};  // hashes; no more than refusals_before_probing
  };

  [[nodiscard]] bool everybody_refused(const std::string& message) const;
  [[nodiscard]] const Refusals* most_refused() const;
  [[nodiscard]] bool probing() const;
  [[nodiscard]] bool call_allowed() const;
  [[nodiscard]] bool retry_due() const;
  void start_call(const std::shared_ptr<Delivery>& delivery);
  void ended(const std::shared_ptr<Delivery>& delivery);
  void accepted(Delivery& delivery);
  void refused(Delivery& delivery);
  void count_refusal(const Delivery& delivery, const std::string& message);
  void next_range(Delivery& delivery, bool hold);
  void failed(Delivery& delivery);
  void wait(Delivery& delivery, Ticks delay);
  void finish(const std::shared_ptr<Delivery>& delivery);
  void all_due_now();
  Ticks delay_after(const Error& error, std::uint32_t retry);
  void pump();
  void wake_when_needed();
  void wake_at(Ticks when);

  Loop& loop_;
  std::shared_ptr<const Call> call_;
  PersonalizeSinkOptions options_;
  SentFields fields_;
  Pace pace_;
  Rng rng_;
  const Log& log_;
  Counter& calls_accepted_;
  Counter& calls_rejected_;
  Counter& calls_throttled_;
  Counter& calls_failed_;
  Counter& events_accepted_;
  Counter& events_refused_;
  std::function<void()> room_{};

  Deliveries deliveries_{};
  std::map<std::pair<Ticks, std::uint64_t>, std::shared_ptr<Delivery>> waiting_{};  // by due time
  std::uint64_t numbers_ = 0;
  std::size_t in_flight_ = 0;
  std::size_t events_ = 0;

  std::uint64_t calls_started_ = 0;
  std::uint64_t accepted_started_ = 0;  // the latest-begun call that was accepted; 0: none yet
  std::uint64_t failure_epoch_ = 1;     // rises with each accepted call
  std::size_t failures_ = 0;            // deliveries that failed in this epoch
  std::vector<Refusals> refusals_{};    // of this epoch, at most kRefusalMessagesMax
  std::optional<Error> last_error_{};   // of this epoch, other than rejected and throttled
  std::uint32_t probes_ = 0;            // that failed since probing began
  Ticks probe_at_{};
  bool was_probing_ = false;
  Ticks warn_at_ = Ticks::min();  // the next line about failing calls, one a minute
  Ticks wake_at_ = Ticks::max();
  bool in_pump_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace millrace
