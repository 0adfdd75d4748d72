#include "lake/backfill.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>

#include "aws/base64.h"
#include "core/check.h"
#include "core/log.h"
#include "events/decode_event.h"
#include "events/own_names.h"
#include "lake/byte_reader.h"
#include "lake/decompress.h"
#include "lake/encoder.h"
#include "lake/names.h"

namespace millrace {
namespace {

constexpr std::size_t kIdBytes = 4u << 20;
constexpr std::size_t kReadBytes = 256u << 10;
constexpr std::size_t kChunkBytes = 256u << 10;
constexpr std::size_t kListObjectsMax = 1000;
constexpr std::uint64_t kRowsBetweenProgress = 4096;
// Lines of mapped columns shrink to a tenth or less, envelopes to a fifth.
constexpr std::size_t kShrinkFactor = 8;

// Counts what passes, for the progress bar.
class CountingReader final : public ByteReader {
 public:
  explicit CountingReader(std::unique_ptr<ObjectReader> reader) : reader_(std::move(reader)) {}
  Result<std::size_t> read(char* buffer, std::size_t capacity) override {
    auto count = reader_->read(buffer, capacity);
    if (count) bytes_ += *count;
    return count;
  }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

 private:
  std::unique_ptr<ObjectReader> reader_;
  std::uint64_t bytes_ = 0;
};

struct Ends {
  std::uint64_t bytes = 0;
  std::string first{};
  std::string last{};
};

Result<Ends> ends_of(const BackfillSource& source) {
  auto reader = source.store->open(source.key);
  if (!reader) return fail(reader.error());
  Ends ends;
  std::string tail;
  std::string buffer(kReadBytes, '\0');
  for (;;) {
    const auto count = (*reader)->read(buffer.data(), buffer.size());
    if (!count) return fail(count.error());
    if (*count == 0) break;
    ends.bytes += *count;
    if (ends.first.size() < kIdBytes) {
      ends.first.append(buffer, 0, std::min(*count, kIdBytes - ends.first.size()));
    }
    tail.append(buffer, 0, *count);
    if (tail.size() > 2 * kIdBytes) tail.erase(0, tail.size() - kIdBytes);
  }
  if (tail.size() > kIdBytes) tail.erase(0, tail.size() - kIdBytes);
  ends.last = std::move(tail);
  return ends;
}

std::string id_of(const Ends& ends, const std::string& description) {
  const std::string head =
      fmt::format("millrace backfill\n{}\n{}\n{}\n", kWriterFormat, ends.bytes, description);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                        &EVP_MD_CTX_free);
  MILLRACE_CHECK(context != nullptr);
  MILLRACE_CHECK(EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1);
  for (const std::string* part : {&head, &ends.first, &ends.last}) {
    MILLRACE_CHECK(EVP_DigestUpdate(context.get(), part->data(), part->size()) == 1);
  }
  MILLRACE_CHECK(EVP_DigestFinal_ex(context.get(), digest.data(), nullptr) == 1);
  std::string id;
  for (std::size_t i = 0; i < 8; ++i) id += fmt::format("{:02x}", digest[i]);
  return id;
}

struct Stored {
  std::uint64_t last_row = 0;
  std::uint64_t objects = 0;
};

Result<Stored> stored_of(ObjectStore& lake, const std::string& folder) {
  Stored stored;
  for (std::string after;;) {
    const auto page = lake.list(folder, after, kListObjectsMax);
    if (!page) return fail(page.error());
    for (const ObjectInfo& object : page->objects) {
      const auto range = parse_backfill_key(object.key);
      if (!range) continue;
      if (range->first_row != stored.last_row + 1 || range->last_row < range->first_row) {
        return fail(ErrorKind::refused,
                    fmt::format("{} does not begin behind row {}: an object before it is missing, "
                                "or was written with other settings; remove the folder to begin "
                                "anew",
                                lake.url_of(object.key), stored.last_row));
      }
      stored.last_row = range->last_row;
      ++stored.objects;
    }
    if (page->next.empty()) return stored;
    after = page->next;
  }
}

// Rejected rows on their way to one object below `state`.
class Rejects {
 public:
  Rejects(ObjectStore& state, std::string key, std::size_t bytes_max)
      : state_(state), key_(std::move(key)), bytes_max_(bytes_max) {}

  Status add(const RowReader& rows, std::string_view reason) {
    std::string line = fmt::format("{{\"row\":{},\"line\":{},\"reason\":{},\"raw\":\"", rows.row(),
                                   rows.line(), json_quoted(reason));
    append_base64(rows.raw(), line);
    line += "\"}\n";
    if (bytes_ + line.size() > bytes_max_) {
      bytes_max_ = 0;  // none behind a gap, so that the file holds the first ones
      return {};
    }
    bytes_ += line.size();
    ++written_;
    chunk_ += line;
    return chunk_.size() >= kChunkBytes ? flush() : Status{};
  }

  // Makes the object visible. Nothing when there were none.
  Status publish() {
    if (const Status flushed = flush(); !flushed) return flushed;
    if (!writer_) return {};
    const auto published = writer_->publish();
    if (!published) return fail(published.error());
    return {};
  }

  [[nodiscard]] std::uint64_t written() const { return written_; }

 private:
  Status flush() {
    if (chunk_.empty()) return {};
    if (!writer_) {
      auto writer = state_.create(key_);
      if (!writer) return fail(writer.error());
      writer_ = std::move(*writer);
    }
    std::string packed;
    encoder_.encode(chunk_, packed);
    chunk_.clear();
    return writer_->write(packed);
  }

  ObjectStore& state_;
  std::string key_;
  std::size_t bytes_max_;
  std::size_t bytes_ = 0;
  std::uint64_t written_ = 0;
  std::string chunk_{};
  Encoder encoder_{Compression::gzip};
  std::unique_ptr<ObjectWriter> writer_{};
};

// Lines on their way to the objects of one source, in order.
class Objects {
 public:
  Objects(ObjectStore& lake, const Prefix& prefix, std::string source_id,
          const LakeOptions& options, std::uint64_t last_row)
      : lake_(lake),
        prefix_(prefix),
        source_id_(std::move(source_id)),
        annotate_(options.annotate),
        lines_bytes_max_(options.buffer_bytes *
                         (options.compression == Compression::none ? 1 : kShrinkFactor)),
        encoder_(options.compression),
        first_row_(last_row + 1) {}

  // `json` is an object; true when it ended an object of the lake.
  Result<bool> add(std::string_view json, std::uint64_t row) {
    const std::size_t before = chunk_.size();
    chunk_ += json;
    if (annotate_) {
      const std::size_t close = chunk_.rfind('}');
      chunk_.resize(close);
      const std::size_t last = chunk_.find_last_not_of(' ');
      fmt::format_to(std::back_inserter(chunk_), "{}\"_source\":{{\"source\":\"{}\",\"row\":{}}}}}",
                     chunk_[last] == '{' ? "" : ",", source_id_, row);
    }
    chunk_ += '\n';
    lines_bytes_ += chunk_.size() - before;
    last_row_ = row;
    if (chunk_.size() >= kChunkBytes) pack();
    if (lines_bytes_ < lines_bytes_max_) return false;
    if (const Status put = finish(); !put) return fail(put.error());
    return true;
  }

  Status finish() {
    pack();
    if (packed_.empty()) return {};
    const std::string key =
        backfill_key(prefix_, source_id_, first_row_, last_row_, encoder_.compression());
    const auto put = lake_.put(key, packed_, PutIf::absent());
    // Already there: a start beside this one, or a reply that was lost, has made it.
    if (!put && put.error().kind != ErrorKind::conflict) {
      return fail(put.error().while_doing("writing " + lake_.url_of(key)));
    }
    created_ += put.has_value();
    packed_.clear();
    lines_bytes_ = 0;
    first_row_ = last_row_ + 1;
    return {};
  }

  [[nodiscard]] std::uint64_t created() const { return created_; }
  [[nodiscard]] std::uint64_t last_row_stored() const { return first_row_ - 1; }

 private:
  void pack() {
    encoder_.encode(chunk_, packed_);
    chunk_.clear();
  }

  ObjectStore& lake_;
  const Prefix& prefix_;
  std::string source_id_;
  bool annotate_;
  std::size_t lines_bytes_max_;
  Encoder encoder_;
  std::uint64_t first_row_;
  std::uint64_t last_row_ = 0;
  std::uint64_t created_ = 0;
  std::size_t lines_bytes_ = 0;
  std::string chunk_{};   // lines
  std::string packed_{};  // the object so far
};

}  // namespace

Result<BackfillResult> backfill(const BackfillSource& source, ObjectStore& lake, ObjectStore& state,
                                const BackfillOptions& options, const BackfillWatch& watch) {
  const std::string name = source.store->url_of(source.key);
  const auto prefix = Prefix::parse(options.lake.prefix, Prefix::Role::objects);
  if (!prefix) return fail(prefix.error());
  const auto ends = ends_of(source);
  if (!ends) return fail(ends.error().while_doing("reading " + name));

  auto object = source.store->open(source.key);
  if (!object) return fail(object.error().while_doing("reading " + name));
  CountingReader counted(std::move(*object));
  Decompressor content(counted, name);
  auto rows =
      RowReader::open(content, name, {.map = options.map, .row_bytes_max = options.row_bytes_max});
  if (!rows) return fail(rows.error());

  BackfillResult result;
  result.bytes_total = ends->bytes;
  result.description = (*rows)->description();
  result.source_id = id_of(*ends, result.description);
  const std::string folder = backfill_folder(*prefix, result.source_id);
  result.folder_url = lake.url_of(folder);
  const auto stored = stored_of(lake, folder);
  if (!stored) return fail(stored.error());
  result.objects_before = stored->objects;

  const std::string rejects_key = state_keys::backfill_rejects(result.source_id);
  Rejects rejects(state, rejects_key, options.rejects_bytes_max);
  Objects objects(lake, *prefix, result.source_id, options.lake, stored->last_row);
  EventDecoder decoder(with_own_names(options.decode));
  DecodedRecord record;
  const auto progress = [&] {
    return !watch || watch({result.rows, counted.bytes(), ends->bytes});
  };
  bool wanted = true;
  for (;;) {
    const auto step = (*rows)->next();
    if (!step) {
      Error error = step.error();
      error.message += fmt::format(" (rows up to {} are stored)", objects.last_row_stored());
      return fail(std::move(error));
    }
    if (*step == RowReader::Step::end) break;
    ++result.rows;
    std::string reason;
    if (*step == RowReader::Step::reject) {
      reason = (*rows)->reason();
    } else {
      decoder.decode((*rows)->json(), -1, record);
      if (record.events.empty()) {
        reason = record.refused.empty() ? "no event" : record.refused.front().reason;
      }
    }
    if (!reason.empty()) {
      ++result.rejected;
      if (const Status added = rejects.add(**rows, reason); !added) {
        return fail(added.error().while_doing("writing " + state.url_of(rejects_key)));
      }
    } else {
      result.events += record.events.size();
      result.events_refused += record.refused.size();
      for (const Event& event : record.events) result.anonymous += event.anonymous();
      if ((*rows)->row() <= stored->last_row) {
        ++result.stored_before;
      } else {
        ++result.stored_now;
        const auto ended = objects.add((*rows)->json(), (*rows)->row());
        if (!ended) return fail(ended.error());
        if (*ended && !wanted) {
          result.stopped = true;
          break;
        }
      }
    }
    if (result.rows % kRowsBetweenProgress == 0) wanted = progress() && wanted;
  }
  if (!result.stopped) {
    if (const Status finished = objects.finish(); !finished) return fail(finished.error());
    if (const Status published = rejects.publish(); !published) {
      return fail(published.error().while_doing("writing " + state.url_of(rejects_key)));
    }
    result.rejects_written = rejects.written();
    if (rejects.written() > 0) result.rejects_url = state.url_of(rejects_key);
    if (content.warning()) result.warnings.push_back(name + ": " + *content.warning());
    progress();
  }
  result.objects_created = objects.created();
  return result;
}

}  // namespace millrace
