#include "events/decode_event.h"

#include <cfloat>
#include <charconv>
#include <cmath>
#include <deque>

#include "core/check.h"
#include "events/event_id.h"
#include "events/json_tape.h"
#include "events/time_value.h"
#include "events/utf8.h"

namespace millrace {
namespace {

using Kind = JsonNode::Kind;
using Node = std::uint32_t;

constexpr std::size_t kIdCharactersMax = 256;
constexpr std::size_t kRecommendationIdCharactersMax = 40;
constexpr std::size_t kImpressionItemsMax = 25;
constexpr std::size_t kEventValueBytesMax = 400;
constexpr Node kAbsent = UINT32_MAX;

// A value on one of the tapes: the record's, or that of a text that holds JSON.
struct Value {
  const JsonTape* tape = nullptr;
  Node node = kAbsent;

  [[nodiscard]] bool exists() const { return node != kAbsent; }
  [[nodiscard]] Kind kind() const { return tape->node(node).kind; }
  [[nodiscard]] std::string_view raw() const { return tape->raw(node); }
};

// What Unicode calls white space and separators U+001C–U+001F, in UTF-8; its length, or 0.
std::size_t blank_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) -> unsigned {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0;
  };
  const unsigned first = byte(0);
  if (first < 0x80) {
    return first == 0x20 || (first >= 9 && first <= 13) || (first >= 28 && first <= 31) ? 1 : 0;
  }
  if (first == 0xC2) return byte(1) == 0x85 || byte(1) == 0xA0 ? 2 : 0;
  if (first == 0xE1) return byte(1) == 0x9A && byte(2) == 0x80 ? 3 : 0;  // U+1680
  if (first == 0xE2 && byte(1) == 0x80) {
    // U+2000–U+200A, U+2028, U+2029, U+202F
    return byte(2) <= 0x8A || byte(2) == 0xA8 || byte(2) == 0xA9 || byte(2) == 0xAF ? 3 : 0;
  }
  if (first == 0xE2) return byte(1) == 0x81 && byte(2) == 0x9F ? 3 : 0;  // U+205F
  if (first == 0xE3) return byte(1) == 0x80 && byte(2) == 0x80 ? 3 : 0;  // U+3000
  return 0;
}

bool only_blanks(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = blank_length(text, at);
    if (length == 0) return false;
    at += length;
  }
  return true;
}

bool has_lone_surrogate(std::string_view text) {
  for (std::size_t at = text.find('\xED'); at != std::string_view::npos;
       at = text.find('\xED', at + 1)) {
    if (at + 1 < text.size() && static_cast<unsigned char>(text[at + 1]) > 0x9F) return true;
  }
  return false;
}

bool is_placeholder(std::string_view text) {
  for (const std::string_view word : {"null", "undefined", "none", "nan"}) {
    if (text.size() != word.size()) continue;
    bool same = true;
    for (std::size_t i = 0; i < word.size() && same; ++i) {
      const char c = text[i];
      same = (c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c) == word[i];
    }
    if (same) return true;
  }
  return false;
}

// Why `text` is no sound id, or nothing.
std::string_view text_problem(std::string_view text, std::size_t characters_max) {
  if (only_blanks(text)) return "empty";
  bool plain = true;
  bool control = false;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    plain &= byte < 0x80;
    control |= byte < 0x20 || byte == 0x7F;
  }
  if (!plain && has_lone_surrogate(text)) return "lone surrogate";
  if (control) return "control character";
  if (text.size() > characters_max && code_points(text) > characters_max) return "too long";
  return {};
}

// A whole number within the range of int64 or uint64.
bool is_id_number(std::string_view raw) {
  std::int64_t as_signed = 0;
  std::uint64_t as_unsigned = 0;
  const char* end = raw.data() + raw.size();
  if (const auto read = std::from_chars(raw.data(), end, as_unsigned);
      read.ptr == end && read.ec == std::errc{}) {
    return true;
  }
  const auto read = std::from_chars(raw.data(), end, as_signed);
  return read.ptr == end && read.ec == std::errc{};
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

// A pointer of the configuration, its first step as an index into Inside::keys.
struct Pointer {
  std::uint32_t key = 0;
  bool whole = false;  // the empty pointer
  std::vector<std::string> rest{};
};
using Pointers = std::vector<Pointer>;

// The keys that pointers begin with, found in two comparisons: one of length and ends, one of all.
class KeyTable {
 public:
  std::uint32_t index_of(const std::string& key) {
    for (std::uint32_t i = 0; i < keys_.size(); ++i) {
      if (keys_[i] == key) return i;
    }
    keys_.push_back(key);
    buckets_[bucket_of(key)].push_back(static_cast<std::uint32_t>(keys_.size() - 1));
    return static_cast<std::uint32_t>(keys_.size() - 1);
  }
  [[nodiscard]] std::uint32_t find(std::string_view key) const {
    for (const std::uint32_t i : buckets_[bucket_of(key)]) {
      if (keys_[i] == key) return i;
    }
    return kAbsent;
  }
  [[nodiscard]] std::size_t count() const { return keys_.size(); }

 private:
  static std::size_t bucket_of(std::string_view key) {
    if (key.empty()) return 0;
    const auto first = static_cast<unsigned char>(key.front());
    const auto last = static_cast<unsigned char>(key.back());
    return (key.size() * 7 + first * 3U + last) % 64;
  }
  std::vector<std::string> keys_{};
  std::array<std::vector<std::uint32_t>, 64> buckets_{};
};

// Where each key of the KeyTable stands in one object; the last of repeated ones.
struct Members {
  Value object{};
  std::vector<Node> nodes{};
};

}  // namespace

TimeUnitCounts& TimeUnitCounts::operator+=(const TimeUnitCounts& other) {
  seconds += other.seconds;
  millis += other.millis;
  micros += other.micros;
  nanos += other.nanos;
  iso += other.iso;
  arrival += other.arrival;
  return *this;
}

struct EventDecoder::Inside {
  explicit Inside(DecodeOptions given) : options(std::move(given)) {
    MILLRACE_CHECK(options.session_slot.count() > 0);
    const EventFields& fields = options.fields;
    user_id = compile(fields.user_id);
    item_id = compile(fields.item_id);
    timestamp = compile(fields.timestamp);
    event_type = compile(fields.event_type);
    event_id = compile(fields.event_id);
    session_id = compile(fields.session_id);
    event_value = compile(fields.event_value);
    properties = compile(fields.properties);
    impression = compile(fields.impression);
    recommendation_id = compile(fields.recommendation_id);
    list_keys = {keys.index_of("event_list"), keys.index_of("eventList")};
    source_key = keys.index_of("_source");
  }

  Pointers compile(const std::vector<std::string>& texts) {
    Pointers pointers;
    for (const std::string& text : texts) {
      const auto steps = json_pointer_steps(text);
      MILLRACE_CHECK(steps.has_value());
      Pointer pointer;
      pointer.whole = steps->empty();
      if (!steps->empty()) {
        pointer.key = keys.index_of(steps->front());
        pointer.rest.assign(steps->begin() + 1, steps->end());
      }
      pointers.push_back(std::move(pointer));
    }
    return pointers;
  }

  // Whole records

  void decode(std::string_view record, std::int64_t arrived_ms, DecodedRecord& out) {
    out.refused.clear();
    out.blank = false;
    out.units = {};
    result = &out;
    event_count = 0;
    arrived = arrived_ms;
    decode_text(record);
    out.events.resize(event_count);
  }

  void decode_text(std::string_view record) {
    if (record.starts_with("\xEF\xBB\xBF")) record.remove_prefix(3);
    if (!valid_utf8(record)) return refuse(std::nullopt, "not UTF-8");
    if (!tape.read_all(record)) return refuse(std::nullopt, "not JSON");
    if (tape.roots().empty()) {
      result->blank = true;
      return;
    }
    std::uint32_t index = 0;
    for (const Node root : tape.roots()) {
      if (tape.node(root).kind == Kind::object) {
        decode_top(root, index);
      } else if (tape.node(root).kind == Kind::list) {
        for (Node at = root + 1; at < tape.node(root).next; at = tape.node(at).next) {
          decode_top(at, index);
        }
      } else {
        refuse(std::nullopt, "not an object or list");
      }
    }
  }

  // An envelope, or an event that stands alone.
  void decode_top(Node top, std::uint32_t& index) {
    if (tape.node(top).kind != Kind::object) return refuse(index++, "event is not an object");
    Members& members = top_members;
    index_members({&tape, top}, members);
    if (options.format != DecodeOptions::Format::flat) {
      for (const std::uint32_t key : list_keys) {
        const Value list{&tape, members.nodes[key]};
        if (!list.exists() || list.kind() == Kind::null_value) continue;
        if (list.kind() != Kind::list) return refuse(std::nullopt, "event_list is not a list");
        const Node end = tape.node(list.node).next;
        for (Node at = list.node + 1; at < end; at = tape.node(at).next) {
          if (tape.node(at).kind != Kind::object) {
            refuse(index++, "event is not an object");
            continue;
          }
          index_members({&tape, at}, event_members);
          decode_one(event_members, &members, index++);
        }
        return;
      }
      if (options.format == DecodeOptions::Format::envelope) {
        return refuse(std::nullopt, "event_list missing");
      }
    }
    decode_one(members, nullptr, index++);
  }

  void refuse(std::optional<std::uint32_t> index, std::string_view reason) {
    result->refused.push_back({index, std::string(reason)});
  }
  void refuse_field(std::uint32_t index, std::string_view field, std::string_view problem) {
    std::string reason(field);
    reason += ' ';
    reason += problem;
    result->refused.push_back({index, std::move(reason)});
  }

  // Finding fields

  void index_members(Value object, Members& members) {
    members.object = object;
    members.nodes.assign(keys.count(), kAbsent);
    const JsonTape& on = *object.tape;
    const Node end = on.node(object.node).next;
    for (Node at = object.node + 1; at < end; at = on.node(at + 1).next) {
      const std::uint32_t key = keys.find(on.text(at, key_scratch));
      if (key != kAbsent) members.nodes[key] = at + 1;
    }
  }

  Value find(const Pointers& pointers, const Members& members) {
    for (const Pointer& pointer : pointers) {
      Value value = members.object;
      if (!pointer.whole) {
        value.node = members.nodes[pointer.key];
        for (const std::string& step : pointer.rest) {
          if (!value.exists()) break;
          value = step_into(value, step);
        }
      }
      if (value.exists() && value.kind() != Kind::null_value) return value;
    }
    return {};
  }

  Value find(const Pointers& pointers, const Members& members, const Members* envelope) {
    const Value value = find(pointers, members);
    return value.exists() || envelope == nullptr ? value : find(pointers, *envelope);
  }

  Value step_into(Value value, const std::string& step) {
    if (value.kind() == Kind::text) value = opened(value);
    if (!value.exists()) return {};
    return {value.tape, value.tape->step(value.node, step, key_scratch).value_or(kAbsent)};
  }

  // A text read as JSON; does not exist when it is none. Each text of an event is read once.
  Value opened(Value text) {
    for (std::size_t i = 0; i < opened_count; ++i) {
      if (opened_texts[i].of.tape == text.tape && opened_texts[i].of.node == text.node) {
        return opened_texts[i].value;
      }
    }
    if (opened_count == opened_texts.size()) opened_texts.emplace_back();
    OpenedText& fresh = opened_texts[opened_count++];
    fresh.of = text;
    fresh.content = text.tape->text(text.node, value_scratch);
    fresh.value = fresh.tape.read_one(fresh.content)
                      ? Value{&fresh.tape, fresh.tape.roots().front()}
                      : Value{};
    return fresh.value;
  }

  // Judging one event

  // A text's content or a number's digits; a problem when it is neither.
  std::string_view id_of(Value value, std::string_view& problem, bool numbers, bool words,
                         std::size_t characters_max = kIdCharactersMax) {
    if (numbers && value.kind() == Kind::number && is_id_number(value.raw())) return value.raw();
    if (value.kind() != Kind::text) {
      problem = "wrong type";
      return {};
    }
    const std::string_view text = value.tape->text(value.node, value_scratch);
    problem = text_problem(text, characters_max);
    if (problem.empty() && !words && is_placeholder(text)) problem = "placeholder";
    return text;
  }

  void decode_one(const Members& members, const Members* envelope, std::uint32_t index) {
    opened_count = 0;
    if (event_count == result->events.size()) result->events.emplace_back();
    Event& event = result->events[event_count];
    event.index = index;
    std::string_view problem;

    const Value user = find(user_id, members, envelope);
    const Value session = find(session_id, members, envelope);
    const bool anonymous = !user.exists();
    if (anonymous) {
      const bool usable =
          session.exists() && (session.kind() == Kind::number ||
                               (session.kind() == Kind::text &&
                                !only_blanks(session.tape->text(session.node, value_scratch))));
      if (!usable) return refuse(index, "user_id missing");
      event.user_id.clear();
      event.session_id = id_of(session, problem, true, false);
      if (!problem.empty()) return refuse_field(index, "session_id", problem);
    } else {
      event.user_id = id_of(user, problem, true, false);
      if (!problem.empty()) return refuse_field(index, "user_id", problem);
    }

    const Value item = find(item_id, members);
    if (!item.exists()) return refuse(index, "item_id missing");
    event.item_id = id_of(item, problem, true, false);
    if (!problem.empty()) return refuse_field(index, "item_id", problem);

    std::uint64_t TimeUnitCounts::*unit = &TimeUnitCounts::arrival;
    problem = judge_time(find(timestamp, members), event.timestamp, unit);
    if (!problem.empty()) return refuse_field(index, "timestamp", problem);

    const Value type = find(event_type, members);
    if (type.exists()) {
      event.event_type = id_of(type, problem, false, true);
      if (!problem.empty()) return refuse_field(index, "event_type", problem);
    } else {
      event.event_type = options.default_event_type;
    }

    // From here on nothing refuses.
    if (!anonymous) {
      if (session.exists()) event.session_id = id_of(session, problem, true, false);
      if (!session.exists() || !problem.empty()) {
        ids.session_id(event.user_id, event.timestamp, options.session_slot.count(),
                       event.session_id);
      }
      problem = {};
    }
    const Value given_id = find(event_id, members);
    if (given_id.exists()) event.event_id = id_of(given_id, problem, true, true);
    event.event_id_given = given_id.exists() && problem.empty();
    if (!event.event_id_given) {
      ids.event_id(anonymous, anonymous ? event.session_id : event.user_id, event.item_id,
                   event.timestamp, event.event_type, event.event_id);
    }
    take_value(find(event_value, members), event.event_value);
    take_properties(find(properties, members), event.properties);
    take_impression(find(impression, members), event.impression);
    problem = {};
    const Value recommendation = find(recommendation_id, members);
    event.recommendation_id.clear();
    if (recommendation.exists()) {
      const std::string_view text =
          id_of(recommendation, problem, true, false, kRecommendationIdCharactersMax);
      if (problem.empty()) event.recommendation_id = text;
    }
    ++(result->units.*unit);
    ++event_count;
  }

  std::string_view judge_time(Value time, std::int64_t& seconds,
                              std::uint64_t TimeUnitCounts::*& unit) {
    if (!time.exists()) {
      const std::int64_t millis = options.timestamp_from_arrival ? arrival_of_record() : -1;
      if (millis < 0) return "missing";
      seconds = millis / 1000;
      return {};
    }
    TimeReading reading;
    if (time.kind() == Kind::number) {
      reading = read_time_number(time.raw());
    } else if (time.kind() == Kind::text) {
      reading = read_time_text(time.tape->text(time.node, value_scratch));
    } else {
      return "wrong type";
    }
    seconds = reading.seconds;
    switch (reading.unit) {
      case TimeUnit::seconds:
        unit = &TimeUnitCounts::seconds;
        break;
      case TimeUnit::millis:
        unit = &TimeUnitCounts::millis;
        break;
      case TimeUnit::micros:
        unit = &TimeUnitCounts::micros;
        break;
      case TimeUnit::nanos:
        unit = &TimeUnitCounts::nanos;
        break;
      case TimeUnit::iso:
        unit = &TimeUnitCounts::iso;
        break;
    }
    return reading.problem;
  }

  // The log's time as the caller knows it, or as our own annotation on a lake line has kept it.
  std::int64_t arrival_of_record() {
    if (arrived >= 0) return arrived;
    const Node source = top_members.nodes[source_key];
    if (source == kAbsent || tape.node(source).kind != Kind::object) return -1;
    const auto found = tape.member(source, "arrived", key_scratch);
    if (!found || tape.node(*found).kind != Kind::number) return -1;
    const std::string_view raw = tape.raw(*found);
    std::int64_t millis = -1;
    const auto read = std::from_chars(raw.data(), raw.data() + raw.size(), millis);
    return read.ec == std::errc{} && read.ptr == raw.data() + raw.size() ? millis : -1;
  }

  // Optional fields

  void take_value(Value value, std::string& out) {
    out.clear();
    if (!value.exists()) return;
    std::string_view raw;
    if (value.kind() == Kind::number) {
      raw = value.raw();
    } else if (value.kind() == Kind::text) {
      raw = trimmed(value.tape->text(value.node, value_scratch));
      if (scan_json_number(raw, 0) != raw.size()) return;
    }
    if (raw.empty() || raw.size() > kEventValueBytesMax) return;
    double number = 0;
    const auto read = std::from_chars(raw.data(), raw.data() + raw.size(), number);
    if (read.ec != std::errc{} || std::abs(number) > FLT_MAX) return;
    out = raw;
  }

  void take_properties(Value value, std::string& out) {
    out.clear();
    if (!value.exists()) return;
    if (value.kind() == Kind::object) {
      out = value.raw();
    } else if (value.kind() == Kind::text) {
      const Value object = opened(value);
      if (!object.exists() || object.kind() != Kind::object) return;
      if (!has_lone_surrogate(object.raw())) out = object.raw();
    }
  }

  void take_impression(Value value, std::vector<std::string>& out) {
    out.clear();
    if (!value.exists()) return;
    const auto take = [&](std::string_view id) {
      if (out.size() < kImpressionItemsMax && text_problem(id, kIdCharactersMax).empty() &&
          !is_placeholder(id)) {
        out.emplace_back(id);
      }
    };
    if (value.kind() == Kind::list) {
      const Node end = value.tape->node(value.node).next;
      for (Node at = value.node + 1; at < end; at = value.tape->node(at).next) {
        std::string_view problem;
        const std::string_view id = id_of({value.tape, at}, problem, true, false);
        if (problem.empty()) take(id);
      }
    } else if (value.kind() == Kind::text) {
      std::string_view rest = value.tape->text(value.node, value_scratch);
      for (;;) {
        const std::size_t bar = rest.find('|');
        take(rest.substr(0, bar));
        if (bar == std::string_view::npos) break;
        rest.remove_prefix(bar + 1);
      }
    }
  }

  struct OpenedText {
    Value of{};
    std::string content{};
    JsonTape tape{};
    Value value{};
  };

  DecodeOptions options;
  KeyTable keys{};
  Pointers user_id{}, item_id{}, timestamp{}, event_type{}, event_id{}, session_id{}, event_value{},
      properties{}, impression{}, recommendation_id{};
  std::array<std::uint32_t, 2> list_keys{};
  std::uint32_t source_key = 0;

  // Of the record under judgement; kept for their capacity.
  DecodedRecord* result = nullptr;
  std::size_t event_count = 0;
  std::int64_t arrived = -1;
  JsonTape tape{};
  Members top_members{};
  Members event_members{};
  std::deque<OpenedText> opened_texts{};  // a deque: values point into it
  std::size_t opened_count = 0;
  std::string key_scratch{};
  std::string value_scratch{};
  IdHasher ids{};
};

EventDecoder::EventDecoder(DecodeOptions options)
    : inside_(std::make_unique<Inside>(std::move(options))) {}
EventDecoder::~EventDecoder() = default;
EventDecoder::EventDecoder(EventDecoder&&) noexcept = default;
EventDecoder& EventDecoder::operator=(EventDecoder&&) noexcept = default;

void EventDecoder::decode(std::string_view record, std::int64_t arrived_ms, DecodedRecord& out) {
  inside_->decode(record, arrived_ms, out);
}

}  // namespace millrace
