#include "sinks/dead_letters.h"

#include <fmt/format.h>

#include <utility>

#include "aws/base64.h"
#include "lake/encoder.h"
#include "lake/names.h"

namespace millrace {
namespace {

// FNV-1a, 64 bits: a name has to repeat, not to resist anybody.
void mix(std::uint64_t& hash, std::string_view text) {
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  }
  hash = (hash ^ 0xff) * 0x100000001b3ull;
}

}  // namespace

void append_dead_letter(std::string& out, const DeadLetter& letter) {
  out +=
      fmt::format(R"({{"attemptsMade":{},"arrivalTimestamp":{},"errorCode":{},"errorMessage":{},)"
                  R"("attemptEndingTimestamp":{},"rawData":")",
                  letter.attempts, std::max<std::int64_t>(0, letter.arrived_ms),
                  json_quoted(letter.code), json_quoted(letter.reason), letter.ended_ms);
  append_base64(letter.raw, out);
  out +=
      fmt::format(R"(","pipeline":{},"partition":{},"position":"{}")", json_quoted(letter.pipeline),
                  json_quoted(letter.partition), letter.position.text());
  if (letter.index) out += fmt::format(R"(,"index":{})", *letter.index);
  out += "}\n";
}

struct DeadLetters::Put {
  PartitionId partition{};
  std::string key{};
  std::string bytes{};  // the object, once encoded
  Letters letters{};
  std::uint32_t retries = 0;
  Result<std::string> answer = std::string();
};

DeadLetters::DeadLetters(Loop& loop, ObjectStore& store, DeadLettersOptions options,
                         std::uint64_t seed, Metrics& metrics, const Log& log)
    : loop_(loop),
      store_(store),
      options_(std::move(options)),
      rng_(seed),
      written_(metrics.counter("millrace_dead_letters_written_total",
                               "Dead letters of the forwarder that are durable")),
      failed_(metrics.counter("millrace_dead_letter_puts_failed_total",
                              "Objects of dead letters that could not be written at this try")),
      log_(log) {}

std::size_t DeadLetters::bytes_waiting(const PartitionId& partition) const {
  const auto found = partitions_.find(partition);
  return found == partitions_.end() ? 0 : found->second.bytes;
}

void DeadLetters::add(const DeadLetter& letter, Done done) {
  const PartitionId id{std::string(letter.partition)};
  Partition& partition = partitions_[id];
  Letters& waiting = partition.waiting;
  const bool first = waiting.done.empty();
  if (first) {
    waiting.first = letter.position;
    waiting.arrived_ms = letter.arrived_ms;
    waiting.hash = 0xcbf29ce484222325ull;
    partition.number = ++numbers_;
  }
  if (letter.position < waiting.first) waiting.first = letter.position;
  if (waiting.last < letter.position) waiting.last = letter.position;
  mix(waiting.hash, letter.position.text());
  mix(waiting.hash, letter.index ? std::to_string(*letter.index) : "");
  const std::size_t before = waiting.lines.size();
  append_dead_letter(waiting.lines, letter);
  waiting.done.push_back(std::move(done));
  const std::size_t bytes = waiting.lines.size() - before;
  partition.bytes += bytes;
  bytes_ += bytes;

  if (waiting.lines.size() >= options_.bytes_max) {
    partition.due = true;
    start_due();
  } else if (first) {
    loop_.post_after(options_.age_max,
                     [this, alive = std::weak_ptr<bool>(alive_), id, number = partition.number] {
                       if (alive.expired()) return;
                       const auto found = partitions_.find(id);
                       if (found == partitions_.end() || found->second.number != number) return;
                       found->second.due = true;
                       start_due();
                     });
  }
}

void DeadLetters::flush() {
  for (auto& [id, partition] : partitions_) partition.due = !partition.waiting.done.empty();
  start_due();
}

void DeadLetters::start_due() {
  for (auto& [id, partition] : partitions_) {
    if (writing_ >= options_.puts_max) return;
    if (partition.due && !partition.writing) write(id, partition);
  }
}

void DeadLetters::write(const PartitionId& id, Partition& partition) {
  auto put = std::make_shared<Put>();
  put->partition = id;
  put->letters = std::exchange(partition.waiting, {});
  partition.due = false;
  partition.writing = true;
  ++writing_;
  put->key = options_.folder +
             forwarder_dead_letters_key(options_.error_prefix, options_.compression,
                                        {.log_name = options_.log_name,
                                         .partition = id,
                                         .first = put->letters.first,
                                         .last = put->letters.last,
                                         .hour = LakeHour::of_ms(put->letters.arrived_ms),
                                         .token = fmt::format("{:016x}", put->letters.hash),
                                         .digits = options_.digits});
  attempt(put);
}

void DeadLetters::attempt(const std::shared_ptr<Put>& put) {
  loop_.offload(
      [put, &store = store_, compression = options_.compression] {
        if (put->bytes.empty()) Encoder(compression).encode(put->letters.lines, put->bytes);
        put->answer = store.put(put->key, put->bytes, PutIf::absent());
      },
      [this, alive = std::weak_ptr<bool>(alive_), put] {
        if (alive.expired()) return;
        // Already there: our own put whose reply was lost, or the same letters of an earlier life.
        if (put->answer || put->answer.error().kind == ErrorKind::conflict) {
          if (trouble_) log_.info("dead letters are written again");
          trouble_.reset();
          Partition& partition = partitions_.at(put->partition);
          partition.writing = false;
          partition.bytes -= put->letters.lines.size();
          bytes_ -= put->letters.lines.size();
          --writing_;
          written_.add(put->letters.done.size());
          if (partition.waiting.done.empty()) partitions_.erase(put->partition);
          start_due();
          for (const auto& done : put->letters.done) done();
          return;
        }
        failed_.add();
        Error error =
            put->answer.error().while_doing("writing dead letters to " + store_.url_of(put->key));
        const auto delay = options_.retry.next_delay(error, put->retries++, rng_);
        if (!trouble_) {
          log_.error("dead letters cannot be written, their partitions wait",
                     {{"error", error.message}});
        }
        trouble_ = std::move(error);
        loop_.post_after(delay, [this, alive, put] {
          if (!alive.expired()) attempt(put);
        });
      });
}

}  // namespace millrace
