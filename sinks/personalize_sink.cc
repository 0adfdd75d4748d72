#include "sinks/personalize_sink.h"

#include <algorithm>
#include <span>
#include <utility>

#include "aws/aws_error.h"
#include "core/check.h"

namespace millrace {
namespace {

// Messages told apart between two accepted calls. Texts that name the event are all different, and
// then it is no setting that is wrong.
constexpr std::size_t kRefusalMessagesMax = 16;

// At the start, with several messages about: so many refusals with one of them are a wrong setting
// and not bad events.
constexpr std::size_t kRefusalsAtStart = 3;

// Before an event that was refused alone is tried again without any proof: time for others to be
// accepted or refused too.
constexpr Ticks kSecondOpinion = 500ms;

// A service where one call in a hundred fails is no news ten times a second.
constexpr Ticks kWarnEvery = 60s;

}  // namespace

PersonalizeSink::PersonalizeSink(Loop& loop, Call call, PersonalizeSinkOptions options,
                                 std::uint64_t seed, Metrics& metrics, const Log& log)
    : loop_(loop),
      call_(std::make_shared<const Call>(std::move(call))),
      options_(std::move(options)),
      fields_(options_.personalize.columns),
      pace_({.calls_per_second_max = options_.personalize.calls_per_second_max}),
      rng_(seed),
      log_(log),
      calls_accepted_(metrics.counter("millrace_put_events_calls_total",
                                      "PutEvents calls by answer", {{"answer", "accepted"}})),
      calls_rejected_(metrics.counter("millrace_put_events_calls_total",
                                      "PutEvents calls by answer", {{"answer", "rejected"}})),
      calls_throttled_(metrics.counter("millrace_put_events_calls_total",
                                       "PutEvents calls by answer", {{"answer", "throttled"}})),
      calls_failed_(metrics.counter("millrace_put_events_calls_total", "PutEvents calls by answer",
                                    {{"answer", "failed"}})),
      events_accepted_(metrics.counter("millrace_put_events_events_total",
                                       "Events by what PutEvents made of them",
                                       {{"outcome", "accepted"}})),
      events_refused_(metrics.counter("millrace_put_events_events_total",
                                      "Events by what PutEvents made of them",
                                      {{"outcome", "refused"}})) {}

const PersonalizeSink::Refusals* PersonalizeSink::most_refused() const {
  const auto most = std::max_element(
      refusals_.begin(), refusals_.end(),
      [](const Refusals& a, const Refusals& b) { return a.users.size() < b.users.size(); });
  return most == refusals_.end() ? nullptr : &*most;
}

bool PersonalizeSink::everybody_refused(const std::string& message) const {
  for (const auto& refusals : refusals_) {
    if (refusals.message != message) continue;
    if (refusals.users.size() >= options_.refusals_before_probing) return true;
    return accepted_started_ == 0 &&
           (refusals_.size() == 1 || refusals.users.size() >= kRefusalsAtStart);
  }
  return false;
}

bool PersonalizeSink::probing() const {
  if (failures_ >= options_.failures_before_probing) return true;
  const auto* most = most_refused();
  return most != nullptr &&
         most->users.size() >= (accepted_started_ == 0 ? options_.refusals_before_probing_at_start
                                                       : options_.refusals_before_probing);
}

bool PersonalizeSink::call_allowed() const {
  const Ticks now = loop_.now();
  if (probing()) return in_flight_ == 0 && now >= probe_at_;
  return in_flight_ < options_.personalize.calls_in_flight_max && pace_.next(now) == now;
}

bool PersonalizeSink::retry_due() const {
  return !waiting_.empty() && waiting_.begin()->first.first <= loop_.now();
}

bool PersonalizeSink::can_start() const {
  if (!call_allowed()) return false;
  // While probing, every other try is a new group's: those that wait may all be bad.
  return !retry_due() || (probing() && probes_ % 2 == 1);
}

std::uint64_t PersonalizeSink::deliver(std::vector<Event> events, Done done) {
  MILLRACE_CHECK(!events.empty() && events.size() <= kPutEventsMax && can_start());
  auto delivery = std::make_shared<Delivery>();
  delivery->number = ++numbers_;
  delivery->done = std::move(done);
  delivery->outcomes.resize(events.size());
  delivery->events.reserve(events.size());
  delivery->outcome.reserve(events.size());
  for (std::uint32_t index = 0; index < events.size(); ++index) {
    if (const auto reason = fields_.prepare(events[index]); !reason.empty()) {
      delivery->outcomes[index].reason = reason;
      events_refused_.add();
      continue;
    }
    delivery->outcome.push_back(index);
    delivery->events.push_back(std::move(events[index]));
  }
  events_ += delivery->outcomes.size();
  deliveries_.emplace(delivery->number, delivery);
  if (delivery->events.empty()) {
    loop_.post([this, alive = std::weak_ptr<bool>(alive_), delivery] {
      if (!alive.expired()) finish(delivery);
    });
  } else {
    delivery->ranges.push_back({0, static_cast<std::uint32_t>(delivery->events.size())});
    start_call(delivery);
    wake_when_needed();
  }
  return delivery->number;
}

bool PersonalizeSink::cancel(std::uint64_t number) {
  const auto found = deliveries_.find(number);
  MILLRACE_CHECK(found != deliveries_.end());
  Delivery& delivery = *found->second;
  delivery.cancelled = true;
  if (delivery.in_flight || delivery.events.empty()) return false;
  waiting_.erase({delivery.due, number});
  events_ -= delivery.outcomes.size();
  deliveries_.erase(found);
  return true;
}

void PersonalizeSink::start_call(const std::shared_ptr<Delivery>& delivery) {
  const Ticks now = loop_.now();
  if (!probing()) pace_.start(now);
  ++in_flight_;
  delivery->in_flight = true;
  delivery->started = ++calls_started_;
  const Range range = delivery->ranges.back();
  for (auto index = range.begin; index < range.end; ++index) {
    ++delivery->outcomes[delivery->outcome[index]].attempts;
  }
  // The events stay untouched until the call is over: the worker reads them where they are.
  loop_.offload(
      [call = call_, delivery, range, tracking_id = options_.personalize.tracking_id] {
        const auto events =
            std::span<const Event>(delivery->events).subspan(range.begin, range.end - range.begin);
        delivery->answer = (*call)({.tracking_id = tracking_id,
                                    .user_id = events.front().user_id,
                                    .session_id = events.front().session_id,
                                    .events = events});
      },
      [this, alive = std::weak_ptr<bool>(alive_), delivery] {
        if (!alive.expired()) ended(delivery);
      });
}

void PersonalizeSink::ended(const std::shared_ptr<Delivery>& delivery) {
  --in_flight_;
  delivery->in_flight = false;
  if (delivery->answer) {
    accepted(*delivery);
  } else if (delivery->answer.error().kind == ErrorKind::rejected) {
    refused(*delivery);
  } else {
    failed(*delivery);
  }
  if (probing() && !was_probing_) {
    was_probing_ = true;
    log_.error("put events stopped working, trying one call at a time", {{"why", state().trouble}});
  }
  if (delivery->cancelled || delivery->ranges.empty()) finish(delivery);
  pump();
}

void PersonalizeSink::accepted(Delivery& delivery) {
  calls_accepted_.add();
  pace_.accepted(loop_.now());
  const bool confirms = delivery.started > accepted_started_;
  accepted_started_ = std::max(accepted_started_, delivery.started);
  if (failures_ > 0 || !refusals_.empty()) {
    ++failure_epoch_;
    failures_ = 0;
    refusals_.clear();
    last_error_.reset();
    probes_ = 0;
    probe_at_ = {};
    if (was_probing_) {
      was_probing_ = false;
      log_.info("put events works again");
      all_due_now();
    }
  }
  if (confirms) {
    // Whoever was refused alone before this call began has its proof now.
    std::vector<std::shared_ptr<Delivery>> held;
    for (const auto& [key, waiting] : waiting_) {
      if (waiting->ranges.back().refused_after > 0 && key.first > loop_.now()) {
        held.push_back(waiting);
      }
    }
    for (const auto& waiting : held) {
      waiting_.erase({waiting->due, waiting->number});
      wait(*waiting, 0s);
    }
  }
  const Range range = delivery.ranges.back();
  for (auto index = range.begin; index < range.end; ++index) {
    delivery.outcomes[delivery.outcome[index]].accepted = true;
  }
  events_accepted_.add(range.end - range.begin);
  next_range(delivery, false);
}

void PersonalizeSink::count_refusal(const Delivery& delivery, const std::string& message) {
  const Event& first = delivery.events.front();
  const std::size_t user =
      std::hash<std::string>{}(first.anonymous() ? first.session_id : first.user_id);
  for (auto& refusals : refusals_) {
    if (refusals.message != message) continue;
    if (refusals.users.size() < options_.refusals_before_probing) refusals.users.insert(user);
    return;
  }
  if (refusals_.size() < kRefusalMessagesMax) refusals_.push_back({message, {user}});
}

void PersonalizeSink::refused(Delivery& delivery) {
  calls_rejected_.add();
  const Error& error = delivery.answer.error();
  const std::string message = without_request_id(error.message);
  count_refusal(delivery, message);
  Range& range = delivery.ranges.back();
  const bool alone = range.end - range.begin == 1;
  const bool again = range.refused_after > 0;
  if (alone && !again) range.refused_after = calls_started_;
  if (probing()) {  // not this event's fault, then: no use in taking the call apart
    const Ticks delay = delay_after(error, probes_++);
    probe_at_ = loop_.now() + delay;
    wait(delivery, delay);
    return;
  }
  if (!alone) {
    const std::uint32_t middle = range.begin + (range.end - range.begin) / 2;
    const std::uint32_t begin = range.begin;
    range.begin = middle;
    delivery.ranges.push_back({begin, middle, 0});
    wait(delivery, 0s);
    return;
  }
  if (again && (accepted_started_ > range.refused_after || !everybody_refused(message))) {
    delivery.outcomes[delivery.outcome[range.begin]].reason = error.message;
    events_refused_.add();
    next_range(delivery, false);
    return;
  }
  // Before anything was accepted only its neighbours can prove that it alone is at fault. Later
  // others can, and then the order of the user's events is worth more than half a second.
  if (accepted_started_ == 0) {
    next_range(delivery, true);
  } else {
    wait(delivery, std::max<Ticks>(kSecondOpinion, delay_after(error, delivery.retries++)));
  }
}

// The range at hand is over, or held until the others have been tried.
void PersonalizeSink::next_range(Delivery& delivery, bool hold) {
  if (hold) delivery.held.push_back(delivery.ranges.back());
  delivery.ranges.pop_back();
  if (!delivery.ranges.empty()) {
    if (!hold) delivery.retries = 0;
    wait(delivery, 0s);
    return;
  }
  if (delivery.held.empty()) return;
  delivery.ranges.assign(delivery.held.rbegin(), delivery.held.rend());
  delivery.held.clear();
  const bool proven = accepted_started_ > delivery.ranges.back().refused_after;
  wait(delivery,
       proven ? Ticks(0s)
              : std::max(kSecondOpinion, delay_after(delivery.answer ? Error{ErrorKind::rejected}
                                                                     : delivery.answer.error(),
                                                     delivery.retries++)));
}

void PersonalizeSink::failed(Delivery& delivery) {
  const Error& error = delivery.answer.error();
  Ticks delay = delay_after(error, delivery.retries++);
  if (error.kind == ErrorKind::throttled) {
    calls_throttled_.add();
    pace_.throttled(loop_.now());
  } else {
    calls_failed_.add();
    if (!last_error_ && loop_.now() >= warn_at_) {
      warn_at_ = loop_.now() + kWarnEvery;
      log_.warn("put events failed, trying again",
                {{"kind", name_of(error.kind)}, {"error", error.message}});
    }
    last_error_ = error;
    if (delivery.failure_epoch != failure_epoch_) {
      delivery.failure_epoch = failure_epoch_;
      ++failures_;
    }
  }
  if (probing()) {
    delay = delay_after(error, probes_++);
    probe_at_ = loop_.now() + delay;
  }
  wait(delivery, delay);
}

Ticks PersonalizeSink::delay_after(const Error& error, std::uint32_t retry) {
  // What only a person can mend is not worth twenty tries a second.
  Error slow = error;
  if (!error.retryable()) slow.kind = ErrorKind::throttled;
  return options_.retry.next_delay(slow, retry, rng_);
}

void PersonalizeSink::wait(Delivery& delivery, Ticks delay) {
  if (delivery.cancelled) return;
  delivery.due = loop_.now() + delay;
  waiting_.emplace(std::pair(delivery.due, delivery.number), deliveries_.at(delivery.number));
}

void PersonalizeSink::all_due_now() {
  auto waiting = std::exchange(waiting_, {});
  for (const auto& [key, delivery] : waiting) wait(*delivery, 0s);
}

void PersonalizeSink::finish(const std::shared_ptr<Delivery>& delivery) {
  deliveries_.erase(delivery->number);
  events_ -= delivery->outcomes.size();
  delivery->done(std::move(delivery->outcomes));
}

void PersonalizeSink::pump() {
  if (in_pump_) return;
  in_pump_ = true;
  while (retry_due() && call_allowed()) {
    if (can_start() && room_) room_();
    if (!retry_due() || !call_allowed()) break;
    const auto delivery = waiting_.begin()->second;
    waiting_.erase(waiting_.begin());
    start_call(delivery);
  }
  in_pump_ = false;
  if (can_start() && room_) room_();
  wake_when_needed();
}

// What may change without any answer: a retry falls due, the pace has room, a probe may go.
void PersonalizeSink::wake_when_needed() {
  const Ticks now = loop_.now();
  Ticks next = waiting_.empty() ? Ticks::max() : waiting_.begin()->first.first;
  if (probing()) {
    if (in_flight_ > 0) return;
    if (probe_at_ > now) next = probe_at_;
  } else {
    if (in_flight_ >= options_.personalize.calls_in_flight_max) return;
    if (const Ticks paced = pace_.next(now); paced > now) next = paced;
  }
  if (next != Ticks::max()) wake_at(next);
}

void PersonalizeSink::wake_at(Ticks when) {
  if (wake_at_ <= when && wake_at_ > loop_.now()) return;
  wake_at_ = when;
  loop_.post_at(when, [this, alive = std::weak_ptr<bool>(alive_), when] {
    if (alive.expired() || wake_at_ != when) return;
    wake_at_ = Ticks::max();
    pump();
  });
}

PersonalizeSink::State PersonalizeSink::state() const {
  State state;
  state.calls_in_flight = in_flight_;
  state.waiting = waiting_.size();
  state.events = events_;
  state.calls_per_second = pace_.rate();
  const auto* most = most_refused();
  if (most != nullptr && everybody_refused(most->message)) {
    state.trouble = "PutEvents refuses every call with \"" + most->message +
                    "\": check personalize.tracking_id (is it the tracker of this dataset group, "
                    "in this region?) and the schema of the interactions dataset; nothing is "
                    "settled until a call is accepted";
    state.stuck = true;
  } else if (last_error_) {
    state.trouble = last_error_->message;
    state.stuck = !last_error_->retryable();
    if (last_error_->kind == ErrorKind::denied) {
      state.trouble += "; nothing is settled until personalize:PutEvents is allowed";
    }
  }
  return state;
}

}  // namespace millrace
