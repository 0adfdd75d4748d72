#include "ingest/file_source.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <optional>
#include <utility>

#include "ingest/kinesis_entry.h"

namespace millrace {
namespace {

constexpr const char* kPartition = "0";

struct Piece {
  Status status{};
  RecordBatch batch{};
  std::uint64_t next = 0;        // where the next read begins
  std::uint64_t file_bytes = 0;  // when it was read
  std::size_t long_lines = 0;
  bool at_end = false;    // nothing but perhaps an unfinished line follows `next`
  bool skipping = false;  // `next` lies within a line whose beginning was handed out
  bool missing = false;
};

struct PieceOrder {
  std::string path{};
  std::uint64_t from = 0;
  std::size_t read_bytes = 0;
  std::size_t line_bytes_max = 0;
  bool skipping = false;
  bool take_unfinished = false;
};

void add_line(Piece& piece, std::string_view line, std::uint64_t end) {
  piece.batch.records.push_back(RecordRef{.at = {Offset::of(static_cast<std::int64_t>(end)), 0},
                                          .begin = piece.batch.bytes.size(),
                                          .length = line.size(),
                                          .arrived_ms = -1});
  piece.batch.bytes += line;
}

// Whole lines from `from` on. One that does not fit the read is read again with more room, up to
// the longest line allowed.
Piece read_piece(const PieceOrder& order) {
  Piece piece;
  piece.next = order.from;
  piece.skipping = order.skipping;
  const int fd = ::open(order.path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat about {};
  if (fd < 0 || ::fstat(fd, &about) != 0) {
    piece.missing = errno == ENOENT;
    piece.status =
        fail(errno == EACCES ? ErrorKind::denied : ErrorKind::transient,
             fmt::format("reading {}: {}{}", order.path, std::strerror(errno),
                         piece.missing ? "; it is waited for, if source.file.path is right" : ""));
    if (fd >= 0) ::close(fd);
    return piece;
  }
  piece.file_bytes = static_cast<std::uint64_t>(about.st_size);
  std::string bytes;
  std::size_t room = order.read_bytes;
  while (true) {
    bytes.resize(room);
    std::size_t filled = 0;
    while (filled < room) {
      const ssize_t got = ::pread(fd, bytes.data() + filled, room - filled,
                                  static_cast<off_t>(order.from + filled));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) {
        piece.status = fail(ErrorKind::transient,
                            fmt::format("reading {}: {}", order.path, std::strerror(errno)));
        ::close(fd);
        return piece;
      }
      if (got == 0) break;
      filled += static_cast<std::size_t>(got);
    }
    bytes.resize(filled);
    piece.at_end = filled < room;
    if (piece.at_end || room >= order.line_bytes_max || piece.skipping ||
        bytes.find('\n') != std::string::npos) {
      break;
    }
    room = std::min(room * 4, order.line_bytes_max);
  }
  ::close(fd);
  std::size_t begin = 0;
  for (std::size_t end = bytes.find('\n'); end != std::string::npos;
       end = bytes.find('\n', begin)) {
    if (!std::exchange(piece.skipping, false)) {
      add_line(piece, std::string_view(bytes).substr(begin, end - begin), order.from + end + 1);
    }
    begin = end + 1;
  }
  const std::string_view rest = std::string_view(bytes).substr(begin);
  if (piece.skipping) {
    begin = bytes.size();
  } else if (!piece.at_end && begin == 0) {
    add_line(piece, rest, order.from + bytes.size());
    begin = bytes.size();
    piece.skipping = true;
    piece.long_lines = 1;
  } else if (piece.at_end && order.take_unfinished && !rest.empty()) {
    add_line(piece, rest, order.from + bytes.size());
    begin = bytes.size();
  }
  piece.next = order.from + begin;
  return piece;
}

}  // namespace

class FileSource::State : public std::enable_shared_from_this<FileSource::State> {
 public:
  State(FileOptions options, PositionStore& positions, std::string owner, Loop& loop,
        const Log& log, Metrics& metrics, FileSourceLimits limits)
      : options_(std::move(options)),
        positions_(positions),
        owner_(std::move(owner)),
        loop_(loop),
        log_(log),
        limits_(limits),
        watch_(limits.lease_age_max),
        long_lines_total_(metrics.counter("millrace_file_long_lines_total",
                                          "Lines that were cut to the longest length")) {}

  [[nodiscard]] const std::string& path() const { return options_.path; }

  Result<std::vector<SourceEvent>> poll(std::size_t records_max) {
    if (final_error_) return fail(*final_error_);
    if (!begun_) {
      begun_ = true;
      look();
    }
    std::vector<SourceEvent> out(std::make_move_iterator(events_.begin()),
                                 std::make_move_iterator(events_.end()));
    events_.clear();
    std::size_t budget = records_max;
    while (phase_ == Phase::reading && !paused_ && budget > 0 && !held_.empty()) {
      RecordBatch batch = std::move(held_.front());
      held_.pop_front();
      handed_out_ = batch.records.back().at;
      budget -= std::min(budget, batch.records.size());
      out.push_back(Records{std::move(batch)});
    }
    if (phase_ == Phase::reading && !paused_ && held_.empty() && end_seen_) {
      end_ever_ = true;
      if (!end_told_) out.push_back(EndOfLog{{kPartition}, tenure_, handed_out_});
      end_told_ = true;
    }
    read();
    return out;
  }

  void start(Tenure tenure, const Position& from) {
    if (phase_ != Phase::assigned || tenure != tenure_) return;
    phase_ = Phase::reading;
    handed_out_ = from;
    next_ = from.offset.digits.empty() ? 0 : std::stoull(from.offset.digits);
    read();
  }

  void pause(bool paused) { paused_ = paused; }

  void commit(Tenure tenure, const Position& next, std::string note, Done done) {
    if (!ours() || tenure != tenure_) {
      loop_.post([done = std::move(done)] {
        done(fail(ErrorKind::conflict, "the file's positions are not ours any more"));
      });
      return;
    }
    KinesisShardEntry entry;
    entry.committed = Committed{next, std::move(note)};
    commits_.push_back({std::move(entry), std::move(done)});
    if (commits_.size() == 1) write();
  }

  void release(Tenure tenure) {
    if (phase_ != Phase::leaving || tenure != tenure_) return;
    give_back();
  }

  void close() {
    if (closing_) return;
    closing_ = true;
    if (ours()) {
      phase_ = Phase::leaving;
      events_.push_back(Revoking{{kPartition}, tenure_});
    } else if (!begun_ || final_error_) {
      closed_ = true;
    } else if (lease_.held) {
      give_back();
    }
  }
  [[nodiscard]] bool closed() const { return closed_; }
  [[nodiscard]] bool at_end() const { return phase_ == Phase::reading && end_ever_; }

  [[nodiscard]] SourceStatus status() const {
    SourceStatus status;
    status.trouble = trouble_;
    for (const RecordBatch& batch : held_) status.bytes_held += batch.bytes_held();
    PartitionStatus one;
    one.partition = {kPartition};
    if (committed_) one.committed = committed_->position;
    status.partitions.push_back(std::move(one));
    return status;
  }

 private:
  enum class Phase { waiting, assigned, reading, leaving, stuck };
  struct Commit {
    KinesisShardEntry entry{};
    Done done{};
  };

  [[nodiscard]] bool ours() const {
    return phase_ == Phase::assigned || phase_ == Phase::reading || phase_ == Phase::leaving ||
           phase_ == Phase::stuck;
  }

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
  void trouble(const Error& error) {
    if (!trouble_ || trouble_->message != error.message) {
      log_.warn("file source in trouble", {{"path", options_.path}, {"error", error.message}});
    }
    trouble_ = error;
  }

  void look() {
    if (closing_) {
      closed_ = true;
      return;
    }
    ask<Result<PositionLease>>([&positions = positions_] { return positions.look(); },
                               [this](Result<PositionLease> seen) {
                                 if (!seen) return try_later(seen.error());
                                 if (watch_.may_take(*seen, owner_, loop_.now()))
                                   return take(*seen);
                                 try_later({ErrorKind::conflict,
                                            fmt::format("{} is read by {}; waiting to take over",
                                                        options_.path, seen->owner),
                                            {},
                                            {}});
                               });
  }
  void try_later(const Error& error) {
    if (error.kind == ErrorKind::corrupt) {
      final_error_ = error;
      return;
    }
    trouble(error);
    later(limits_.retry_delay, [this] { look(); });
  }
  void take(const PositionLease& seen) {
    struct Taken {
      Result<PositionLease> lease{};
      Result<std::vector<PositionEntry>> entries{};
    };
    ask<Taken>(
        [&positions = positions_, seen, owner = owner_] {
          Taken taken;
          taken.lease = positions.take(seen, owner);
          if (taken.lease) taken.entries = positions.load(*taken.lease);
          return taken;
        },
        [this](Taken taken) {
          if (!taken.lease) return try_later(taken.lease.error());
          if (!taken.entries) return try_later(taken.entries.error());
          lease_ = *taken.lease;
          begin(*taken.entries);
        });
  }
  void begin(const std::vector<PositionEntry>& entries) {
    committed_.reset();
    tag_.clear();
    for (const PositionEntry& found : entries) {
      if (found.key != kPartition) continue;
      auto entry = parse_kinesis_shard_entry(found.value);
      if (!entry) {
        final_error_ = entry.error();
        return;
      }
      committed_ = entry->committed;
      tag_ = found.tag;
    }
    renew_later(limits_.lease_renew_interval);
    if (closing_) return give_back();
    trouble_.reset();
    phase_ = Phase::assigned;
    tenure_ = Tenure{++tenures_};
    held_.clear();
    end_seen_ = end_told_ = end_ever_ = reading_ = skipping_ = paused_ = false;
    events_.push_back(Assigned{{kPartition}, tenure_, committed_, Position{}});
  }

  void renew_later(std::chrono::milliseconds delay) {
    later(delay, [this] {
      if (releasing_) return;
      ask<Result<PositionLease>>(
          [&positions = positions_, lease = lease_] { return positions.renew(lease); },
          [this](Result<PositionLease> renewed) {
            if (renewed) {
              lease_ = *renewed;
              return renew_later(limits_.lease_renew_interval);
            }
            if (renewed.error().kind == ErrorKind::conflict) return lose(renewed.error());
            trouble(renewed.error());
            renew_later(limits_.retry_delay);
          });
    });
  }

  void lose(const Error& why) {
    if (ours()) events_.push_back(Lost{{kPartition}, tenure_});
    phase_ = Phase::waiting;
    lease_ = {};
    ++term_;
    for (Commit& commit : std::exchange(commits_, {})) {
      loop_.post([done = std::move(commit.done), why] { done(fail(why)); });
    }
    if (closing_) {
      closed_ = true;
      return;
    }
    later(limits_.retry_delay, [this] { look(); });
  }

  void give_back() {
    phase_ = Phase::waiting;
    releasing_ = true;
    ask<Status>(
        [&positions = positions_, lease = lease_] {
          // A renewal under way may have changed the lease since.
          const auto now = positions.look();
          return positions.release(now && now->owner == lease.owner ? *now : lease);
        },
        [this](Status) { closed_ = true; });
    later(limits_.close_wait, [this] { closed_ = true; });
  }

  void write() {
    ask<Result<std::string>>(
        [&positions = positions_, lease = lease_, tag = tag_,
         text = text_of(commits_.front().entry)] {
          return positions.write(lease, kPartition, text, tag);
        },
        [this](Result<std::string> written) {
          if (!written) {
            if (written.error().kind == ErrorKind::conflict) return lose(written.error());
            trouble(written.error());
            return later(limits_.retry_delay, [this] { write(); });
          }
          tag_ = std::move(*written);
          Commit commit = std::move(commits_.front());
          commits_.pop_front();
          committed_ = commit.entry.committed;
          if (!commits_.empty()) write();
          commit.done({});
        });
  }

  void read() {
    if (phase_ != Phase::reading || reading_ || held_.size() >= 2 || loop_.now() < read_next_) {
      return;
    }
    reading_ = true;
    ask<Piece>([order = PieceOrder{options_.path, next_, limits_.read_bytes, limits_.line_bytes_max,
                                   skipping_,
                                   loop_.now() - grown_at_ >= limits_.quiet_wait &&
                                       unfinished_}] { return read_piece(order); },
               [this](Piece piece) {
                 reading_ = false;
                 if (phase_ == Phase::reading) read_done(std::move(piece));
               });
  }

  void read_done(Piece piece) {
    if (!piece.status) {
      trouble(piece.status.error());
      return read_again(limits_.retry_delay);
    }
    trouble_.reset();
    if (piece.file_bytes < next_) {
      phase_ = Phase::stuck;
      events_.push_back(Stuck{
          {kPartition},
          tenure_,
          {ErrorKind::refused,
           fmt::format("{} has {} bytes and its position is {}: it was replaced or cut. Move its "
                       "positions ({}) away to read the new file from its start",
                       options_.path, piece.file_bytes, next_, positions_.where()),
           {},
           {}}});
      return;
    }
    if (piece.file_bytes != file_bytes_) {
      file_bytes_ = piece.file_bytes;
      grown_at_ = loop_.now();
    }
    next_ = piece.next;
    skipping_ = piece.skipping;
    unfinished_ = piece.at_end && next_ < piece.file_bytes;
    if (piece.long_lines > 0) {
      long_lines_total_.add(piece.long_lines);
      log_.warn("a line is too long and was cut",
                {{"path", options_.path}, {"bytes_max", limits_.line_bytes_max}});
    }
    if (!piece.batch.records.empty()) {
      piece.batch.partition = {kPartition};
      piece.batch.tenure = tenure_;
      held_.push_back(std::move(piece.batch));
      end_told_ = false;
    }
    end_seen_ = piece.at_end && !unfinished_;
    read_again(piece.at_end ? limits_.poll_interval : std::chrono::milliseconds(0));
  }
  void read_again(std::chrono::milliseconds delay) {
    read_next_ = loop_.now() + delay;
    later(delay, [this] { read(); });
  }

  const FileOptions options_;
  PositionStore& positions_;
  const std::string owner_;
  Loop& loop_;
  const Log& log_;
  const FileSourceLimits limits_;
  LeaseWatch watch_;
  Counter& long_lines_total_;

  bool begun_ = false;
  bool closing_ = false;
  bool closed_ = false;
  bool releasing_ = false;
  std::optional<Error> final_error_{};
  std::optional<Error> trouble_{};
  std::uint64_t term_ = 0;
  PositionLease lease_{};
  Phase phase_ = Phase::waiting;
  Tenure tenure_{};
  std::uint64_t tenures_ = 0;
  std::optional<Committed> committed_{};
  std::string tag_{};
  std::deque<Commit> commits_{};
  std::deque<SourceEvent> events_{};

  std::uint64_t next_ = 0;
  std::uint64_t file_bytes_ = 0;
  Ticks grown_at_{};
  Ticks read_next_{};
  bool reading_ = false;
  bool skipping_ = false;
  bool unfinished_ = false;
  bool paused_ = false;
  bool end_seen_ = false;
  bool end_told_ = false;
  bool end_ever_ = false;
  Position handed_out_{};
  std::deque<RecordBatch> held_{};
};

FileSource::FileSource(FileOptions options, PositionStore& positions, std::string owner, Loop& loop,
                       const Log& log, Metrics& metrics, FileSourceLimits limits)
    : state_(std::make_shared<State>(std::move(options), positions, std::move(owner), loop, log,
                                     metrics, limits)) {}
FileSource::~FileSource() = default;

std::string FileSource::log_name() const { return state_->path(); }
Result<std::vector<SourceEvent>> FileSource::poll(std::size_t records_max) {
  return state_->poll(records_max);
}
void FileSource::start(const PartitionId&, Tenure tenure, const Position& from) {
  state_->start(tenure, from);
}
void FileSource::pause(const PartitionId&, bool paused) { state_->pause(paused); }
void FileSource::commit(const PartitionId&, Tenure tenure, const Position& next, std::string note,
                        Done done) {
  state_->commit(tenure, next, std::move(note), std::move(done));
}
void FileSource::release(const PartitionId&, Tenure tenure) { state_->release(tenure); }
void FileSource::close() { state_->close(); }
bool FileSource::closed() const { return state_->closed(); }
bool FileSource::at_end() const { return state_->at_end(); }
SourceStatus FileSource::status() const { return state_->status(); }

}  // namespace millrace
