#include "local/interaction_store.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <system_error>

namespace millrace {
namespace {

// A record: second (8 bytes), value (4 bytes, NaN for null), then six texts, each with its length
// in 4 bytes. Little-endian, which is all we run on.
template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void encode(const InteractionFields& fields, std::string& out) {
  out.clear();
  put(out, fields.second);
  put(out, fields.value.value_or(std::numeric_limits<float>::quiet_NaN()));
  for (const std::string_view text : {fields.user_id, fields.session_id, fields.item_id,
                                      fields.event_type, fields.event_id, fields.others}) {
    put(out, static_cast<std::uint32_t>(text.size()));
    out += text;
  }
}

/// False for a record that encode() did not make.
bool decode(std::string_view record, InteractionFields& fields) {
  float value = 0;
  if (record.size() < sizeof fields.second + sizeof value) return false;
  std::memcpy(&fields.second, record.data(), sizeof fields.second);
  std::memcpy(&value, record.data() + sizeof fields.second, sizeof value);
  fields.value = std::isnan(value) ? std::nullopt : std::optional(value);
  record.remove_prefix(sizeof fields.second + sizeof value);
  for (std::string_view* text : {&fields.user_id, &fields.session_id, &fields.item_id,
                                 &fields.event_type, &fields.event_id, &fields.others}) {
    std::uint32_t bytes = 0;
    if (record.size() < sizeof bytes) return false;
    std::memcpy(&bytes, record.data(), sizeof bytes);
    record.remove_prefix(sizeof bytes);
    if (record.size() < bytes) return false;
    *text = record.substr(0, bytes);
    record.remove_prefix(bytes);
  }
  return record.empty();
}

std::string_view text_or_empty(const Interner& texts, std::uint32_t number) {
  return number == Interner::kNone ? std::string_view{} : std::string_view(texts.text_of(number));
}

std::uint32_t number_or_none(Interner& texts, std::string_view text) {
  return text.empty() ? Interner::kNone : texts.number_of(text);
}

}  // namespace

std::uint32_t Interner::number_of(std::string_view text) {
  const auto found = numbers_.find(text);
  if (found != numbers_.end()) return found->second;
  const auto number = static_cast<std::uint32_t>(texts_.size());
  texts_.emplace_back(text);
  numbers_.emplace(texts_.back(), number);
  return number;
}

std::uint32_t Interner::find(std::string_view text) const {
  const auto found = numbers_.find(text);
  return found == numbers_.end() ? kNone : found->second;
}

InteractionStore::SeenIds::Hash InteractionStore::SeenIds::hash_of(std::string_view id) {
  // Two different multiplicative hashes; ids are not chosen against us, this is an emulator.
  Hash hash{1469598103934665603U, 0x9E3779B97F4A7C15U + id.size()};
  for (const char c : id) {
    const auto byte = static_cast<unsigned char>(c);
    hash.high = (hash.high ^ byte) * 1099511628211U;
    hash.low = (hash.low + byte) * 0xD6E8FEB86659FD93U;
    hash.low ^= hash.low >> 32;
  }
  if (hash == Hash{}) hash.low = 1;  // all zero marks an empty slot
  return hash;
}

std::size_t InteractionStore::SeenIds::slot_of(const Hash& hash) const {
  std::size_t slot = hash.low & (slots_.size() - 1);
  while (slots_[slot] != Hash{} && slots_[slot] != hash) slot = (slot + 1) & (slots_.size() - 1);
  return slot;
}

bool InteractionStore::SeenIds::contains(std::string_view id) const {
  return !slots_.empty() && slots_[slot_of(hash_of(id))] != Hash{};
}

bool InteractionStore::SeenIds::insert(std::string_view id) {
  if (count_ * 2 >= slots_.size()) {
    auto old = std::move(slots_);
    slots_.assign(std::max<std::size_t>(1024, old.size() * 2), Hash{});
    for (const Hash& hash : old) {
      if (hash != Hash{}) slots_[slot_of(hash)] = hash;
    }
  }
  const Hash hash = hash_of(id);
  Hash& slot = slots_[slot_of(hash)];
  if (slot == hash) return false;
  slot = hash;
  ++count_;
  return true;
}

Result<std::unique_ptr<InteractionStore>> InteractionStore::open(
    const std::filesystem::path& folder, const std::vector<std::string>& bulk_files) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    return fail(ErrorKind::denied, "creating " + folder.string() + ": " + error.message());
  }
  auto store = std::make_unique<InteractionStore>();
  InteractionFields fields;
  bool sound = true;
  auto streamed = RecordLog::open(folder / "streamed.log", [&](std::string_view record) {
    if (!decode(record, fields)) {
      sound = false;
    } else if (fields.event_id.empty() || store->seen_ids_.insert(fields.event_id)) {
      store->add_streamed(fields);
    }
  });
  if (!streamed) return tl::unexpected(streamed.error());
  store->log_ = std::move(*streamed);
  for (const std::string& name : bulk_files) {
    if (!std::filesystem::exists(folder / name, error)) {
      return fail(ErrorKind::corrupt, (folder / name).string() + " is missing: the imported rows " +
                                          "are gone; start with an empty state folder");
    }
    auto bulk = RecordLog::open(folder / name, [&](std::string_view record) {
      if (decode(record, fields))
        store->add_bulk(fields);
      else
        sound = false;
    });
    if (!bulk) return tl::unexpected(bulk.error());
  }
  if (!sound) {
    return fail(ErrorKind::corrupt, folder.string() + " holds records of another version of " +
                                        "millrace; start with an empty state folder");
  }
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const auto name = entry.path().filename().string();
    if (name.starts_with("bulk-") &&
        std::find(bulk_files.begin(), bulk_files.end(), name) == bulk_files.end()) {
      std::filesystem::remove(entry.path(), error);
    }
  }
  return store;
}

InteractionRow InteractionStore::row_of(const InteractionFields& fields) {
  InteractionRow row;
  row.user = number_or_none(people_, fields.user_id);
  row.session = number_or_none(people_, fields.session_id);
  row.item = number_or_none(items_, fields.item_id);
  row.event_type = number_or_none(event_types_, fields.event_type);
  row.others = number_or_none(others_, fields.others);
  row.value = fields.value.value_or(std::numeric_limits<float>::quiet_NaN());
  row.second = fields.second;
  return row;
}

InteractionFields InteractionStore::fields_of(const InteractionRow& row) const {
  InteractionFields fields;
  fields.user_id = text_or_empty(people_, row.user);
  fields.session_id = text_or_empty(people_, row.session);
  fields.item_id = text_or_empty(items_, row.item);
  fields.event_type = text_or_empty(event_types_, row.event_type);
  fields.others = text_or_empty(others_, row.others);
  fields.value = std::isnan(row.value) ? std::nullopt : std::optional(row.value);
  fields.second = row.second;
  return fields;
}

void InteractionStore::add_streamed(const InteractionFields& fields) {
  const InteractionRow row = row_of(fields);
  const std::uint32_t person = row.user != Interner::kNone ? row.user : row.session;
  if (person != Interner::kNone) {
    if (streamed_of_.size() <= person) streamed_of_.resize(people_.count());
    streamed_of_[person].push_back(static_cast<std::uint32_t>(streamed_.size()));
  }
  streamed_.push_back(row);
  ++changes_;
}

Result<std::size_t> InteractionStore::stream(std::span<const InteractionFields> events) {
  std::vector<const InteractionFields*> used;
  used.reserve(events.size());
  for (const InteractionFields& one : events) {
    const bool repeated =
        !one.event_id.empty() &&
        (seen_ids_.contains(one.event_id) ||
         std::any_of(used.begin(), used.end(), [&](const InteractionFields* earlier) {
           return earlier->event_id == one.event_id;
         }));
    if (!repeated) used.push_back(&one);
  }
  if (log_) {
    for (const InteractionFields* one : used) {
      encode(*one, scratch_);
      if (auto status = log_->append_later(scratch_); !status)
        return tl::unexpected(status.error());
    }
    if (auto status = log_->flush(); !status) return tl::unexpected(status.error());
  }
  for (const InteractionFields* one : used) {
    if (!one->event_id.empty()) seen_ids_.insert(one->event_id);
    add_streamed(*one);
  }
  return used.size();
}

void InteractionStore::add_bulk(const InteractionFields& fields) {
  bulk_.push_back(row_of(fields));
  ++changes_;
}

void InteractionStore::take_bulk(const InteractionStore& other, bool replace) {
  if (replace) bulk_.clear();
  const auto numbers = [](const Interner& from, Interner& to) {
    std::vector<std::uint32_t> result(from.count());
    for (std::uint32_t i = 0; i < from.count(); ++i) result[i] = to.number_of(from.text_of(i));
    return result;
  };
  const auto people = numbers(other.people_, people_);
  const auto items = numbers(other.items_, items_);
  const auto event_types = numbers(other.event_types_, event_types_);
  const auto others = numbers(other.others_, others_);
  const auto moved = [](const std::vector<std::uint32_t>& map, std::uint32_t number) {
    return number == Interner::kNone ? number : map[number];
  };
  bulk_.reserve(bulk_.size() + other.bulk_.size());
  for (InteractionRow row : other.bulk_) {
    row.user = moved(people, row.user);
    row.session = moved(people, row.session);
    row.item = moved(items, row.item);
    row.event_type = moved(event_types, row.event_type);
    row.others = moved(others, row.others);
    bulk_.push_back(row);
  }
  ++changes_;
}

Status InteractionStore::write_bulk(const std::filesystem::path& path) const {
  std::error_code ignored;
  std::filesystem::remove(path, ignored);  // what an interrupted import left
  auto log = RecordLog::open(path, [](std::string_view) {});
  if (!log) return tl::unexpected(log.error());
  std::string record;
  for (const InteractionRow& row : bulk_) {
    encode(fields_of(row), record);
    if (auto status = log->append_later(record); !status) return status;
  }
  if (auto status = log->flush(); !status) return status;
  return log->sync();
}

const std::vector<std::uint32_t>& InteractionStore::streamed_of(std::string_view person) const {
  static const std::vector<std::uint32_t> kNothing;
  const std::uint32_t number = people_.find(person);
  return number < streamed_of_.size() ? streamed_of_[number] : kNothing;
}

Status InteractionStore::sync() { return log_ ? log_->sync() : Status{}; }

}  // namespace millrace
