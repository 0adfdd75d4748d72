#include "pipeline/hour_buffers.h"

#include <algorithm>

#include "sinks/dead_letters.h"

namespace millrace {

ObjectMaker::ObjectMaker(CutLayout layout, Prefix prefix, Prefix error_prefix,
                         const DecodeOptions& decoding)
    : layout_(std::move(layout)),
      prefix_(std::move(prefix)),
      error_prefix_(std::move(error_prefix)),
      lines_(layout_.annotate),
      encoder_(layout_.compression) {
  if (layout_.partition_by == PartitionBy::event) decoder_.emplace(decoding);
  if (layout_.compression == Compression::none) ratio_ = 1;
}

Result<std::unique_ptr<ObjectMaker>> ObjectMaker::make(const CutLayout& layout,
                                                       const DecodeOptions& decoding) {
  auto prefix = Prefix::parse(layout.prefix, Prefix::Role::objects);
  if (!prefix) return fail(prefix.error().while_doing("reading lake.prefix"));
  auto error_prefix = Prefix::parse(layout.error_prefix, Prefix::Role::errors);
  if (!error_prefix) return fail(error_prefix.error().while_doing("reading lake.error_prefix"));
  return std::unique_ptr<ObjectMaker>(
      new ObjectMaker(layout, std::move(*prefix), std::move(*error_prefix), decoding));
}

LakeHour ObjectMaker::hour_of(std::string_view text, std::int64_t arrived_ms) {
  if (decoder_) {
    decoder_->decode(text, arrived_ms, decoded_);
    if (!decoded_.events.empty()) return LakeHour::of_seconds(decoded_.events.front().timestamp);
  }
  return LakeHour::of_ms(arrived_ms);
}

void HourBuffers::compress(Buffer& buffer) {
  if (buffer.raw.empty()) return;
  std::string chunk;
  maker_->encoder_.encode(buffer.raw, chunk);
  chunk.shrink_to_fit();
  const double seen = static_cast<double>(chunk.size()) / static_cast<double>(buffer.raw.size());
  // Tiny chunks say little: their headers weigh more than their text.
  if (buffer.raw.size() >= kChunkBytes) maker_->ratio_ += (seen - maker_->ratio_) / 8;
  buffer.stored += chunk.size();
  buffer.chunks.push_back(std::move(chunk));
  buffer.raw.clear();
}

void HourBuffers::grown(Buffer& buffer) {
  if (buffer.raw.size() >= kChunkBytes) compress(buffer);
  const auto waiting =
      static_cast<std::size_t>(static_cast<double>(buffer.raw.size()) * maker_->ratio_);
  largest_stored_ = std::max(largest_stored_, buffer.stored + waiting);
}

void HourBuffers::add(const PartitionId& partition, const RecordRef& record, std::string_view text,
                      LakeHour hour) {
  ++books_.read;
  if (record.tombstone) {
    ++books_.empty;
    return;
  }
  auto [at, is_new] = hours_.try_emplace(hour);
  Hour& open = at->second;
  auto& refused = maker_->refused_;
  refused.clear();
  const std::string position = record.at.text();
  const std::size_t lines = maker_->lines_.append(
      text, {partition.value, position, record.arrived_ms}, open.lines.raw, refused);
  for (const LineRefusal& refusal : refused) {
    append_dead_letter(open.dead.raw, {.pipeline = "lake",
                                       .partition = partition.value,
                                       .position = record.at,
                                       .index = refusal.index,
                                       .code = kDecodeFailed,
                                       .reason = refusal.reason,
                                       .raw = text,
                                       .arrived_ms = record.arrived_ms,
                                       // Never the clock: a replay must write the same bytes.
                                       .ended_ms = std::max<std::int64_t>(record.arrived_ms, 0)});
  }
  if (lines > 0) {
    ++books_.stored;
    grown(open.lines);
  } else {
    ++(refused.empty() ? books_.empty : books_.dead_lettered);
  }
  if (!refused.empty()) grown(open.dead);
  if (is_new && open.lines.empty() && open.dead.empty()) hours_.erase(at);
}

std::size_t HourBuffers::bytes() const {
  std::size_t bytes = 0;
  for (const auto& [hour, open] : hours_) {
    for (const Buffer* buffer : {&open.lines, &open.dead}) {
      bytes += buffer->raw.capacity() + buffer->stored;
    }
  }
  return bytes;
}

std::vector<HourBuffers::Object> HourBuffers::seal() && {
  std::vector<Object> objects;
  for (auto& [hour, open] : hours_) {
    for (Buffer* buffer : {&open.lines, &open.dead}) {
      if (buffer->empty()) continue;
      compress(*buffer);
      std::string().swap(buffer->raw);
      auto bytes = std::make_shared<std::string>();
      bytes->reserve(buffer->stored);
      for (std::string& chunk : buffer->chunks) {
        bytes->append(chunk);
        std::string().swap(chunk);  // so that an object is never in memory twice
      }
      objects.push_back({hour, buffer == &open.dead, std::move(bytes)});
    }
  }
  hours_.clear();
  return objects;
}

}  // namespace millrace
