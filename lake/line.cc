#include "lake/line.h"

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "core/log.h"
#include "events/json_tape.h"

namespace millrace {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

const char* skip_blanks(const char* at, const char* end) {
  while (at < end && is_blank(*at)) ++at;
  return at;
}

// True when one of the eight bytes is a quote, a backslash or a control character.
bool ends_a_run(std::uint64_t eight) {
  constexpr std::uint64_t kOnes = 0x0101010101010101ULL;
  constexpr std::uint64_t kHighs = 0x8080808080808080ULL;
  const auto has_zero = [](std::uint64_t x) { return (x - kOnes) & ~x & kHighs; };
  const std::uint64_t control = (eight - kOnes * 0x20) & ~eight & kHighs;
  return (has_zero(eight ^ (kOnes * '"')) | has_zero(eight ^ (kOnes * '\\')) | control) != 0;
}

// The scanners below take a place inside valid UTF-8 and give the place behind what they accepted,
// or nullptr. They accept exactly RFC 8259: simdjson does not serve here, it refuses lone
// surrogates, 1e400 and `}{`, and gives no places in the text.

const char* scan_string(const char* at, const char* end) {  // behind the opening quote
  for (;;) {
    std::uint64_t eight;
    while (end - at >= 8 && (std::memcpy(&eight, at, 8), !ends_a_run(eight))) at += 8;
    if (at == end) return nullptr;
    const char c = *at++;
    if (c == '"') return at;
    if (static_cast<unsigned char>(c) < 0x20) return nullptr;
    if (c != '\\') continue;
    if (at == end) return nullptr;
    const char escaped = *at++;
    if (escaped == 'u') {
      if (end - at < 4 || !std::all_of(at, at + 4, is_hex)) return nullptr;
      at += 4;
    } else if (escaped == '\0' || std::strchr("\"\\/bfnrt", escaped) == nullptr) {
      return nullptr;
    }
  }
}

const char* scan_number(const char* at, const char* end) {
  const auto digits = [&] {
    const char* const first = at;
    while (at < end && is_digit(*at)) ++at;
    return at > first;
  };
  if (at < end && *at == '-') ++at;
  if (at < end && *at == '0') {
    ++at;
  } else if (!digits()) {
    return nullptr;
  }
  if (at < end && *at == '.') {
    ++at;
    if (!digits()) return nullptr;
  }
  if (at < end && (*at == 'e' || *at == 'E')) {
    ++at;
    if (at < end && (*at == '+' || *at == '-')) ++at;
    if (!digits()) return nullptr;
  }
  return at;
}

const char* scan_word(const char* at, const char* end, std::string_view word) {
  if (static_cast<std::size_t>(end - at) < word.size()) return nullptr;
  return std::memcmp(at, word.data(), word.size()) == 0 ? at + word.size() : nullptr;
}

const char* scan_scalar(const char* at, const char* end) {
  if (at == end) return nullptr;
  switch (*at) {
    case '"':
      return scan_string(at + 1, end);
    case 't':
      return scan_word(at, end, "true");
    case 'f':
      return scan_word(at, end, "false");
    case 'n':
      return scan_word(at, end, "null");
    default:
      return scan_number(at, end);
  }
}

// `"key" :` and the blanks behind it.
const char* scan_key(const char* at, const char* end) {
  if (at == end || *at != '"') return nullptr;
  at = scan_string(at + 1, end);
  if (at == nullptr) return nullptr;
  at = skip_blanks(at, end);
  if (at == end || *at != ':') return nullptr;
  return skip_blanks(at + 1, end);
}

// Any value; `depth` is how many lists and objects are open around it.
const char* scan_value(const char* at, const char* end, std::size_t depth) {
  std::array<char, JsonTape::kDepthMax> closers;  // NOLINT: written before it is read
  std::size_t open = 0;
  for (;;) {
    // Here a value begins.
    if (at == end) return nullptr;
    if (*at == '{' || *at == '[') {
      const char closer = *at == '{' ? '}' : ']';
      if (depth + open >= JsonTape::kDepthMax) return nullptr;
      at = skip_blanks(at + 1, end);
      if (at == end) return nullptr;
      if (*at != closer) {
        closers[open++] = closer;
        if (closer == '}' && (at = scan_key(at, end)) == nullptr) return nullptr;
        continue;
      }
      ++at;
    } else if ((at = scan_scalar(at, end)) == nullptr) {
      return nullptr;
    }
    // Here a value has ended.
    for (;;) {
      if (open == 0) return at;
      at = skip_blanks(at, end);
      if (at == end) return nullptr;
      if (*at == ',') break;
      if (*at != closers[open - 1]) return nullptr;
      ++at;
      --open;
    }
    at = skip_blanks(at + 1, end);
    if (closers[open - 1] == '}' && (at = scan_key(at, end)) == nullptr) return nullptr;
  }
}

// Whether the key between these quotes says `_source`, also when written with escapes.
bool is_source_key(std::string_view raw) {
  constexpr std::string_view kName = "_source";
  if (raw.size() == kName.size()) return raw == kName;
  if (raw.size() < kName.size() || raw.find('\\') == std::string_view::npos) return false;
  std::size_t matched = 0;
  for (std::size_t i = 0; i < raw.size();) {
    char c = raw[i++];
    if (c == '\\') {
      if (raw[i++] != 'u') return false;  // no other escape stands for a letter
      unsigned code = 0;
      for (const std::size_t stop = i + 4; i < stop; ++i) {
        const char digit = raw[i];
        code = code * 16 +
               static_cast<unsigned>(is_digit(digit) ? digit - '0' : (digit | 32) - 'a' + 10);
      }
      if (code > 0x7F) return false;
      c = static_cast<char>(code);
    }
    if (matched == kName.size() || c != kName[matched++]) return false;
  }
  return matched == kName.size();
}

// Copies text whose only line breaks stand between tokens.
void append_on_one_line(const char* begin, const char* end, std::string& out) {
  const std::size_t from = out.size();
  out.append(begin, end);
  if (std::memchr(begin, '\n', static_cast<std::size_t>(end - begin)) == nullptr &&
      std::memchr(begin, '\r', static_cast<std::size_t>(end - begin)) == nullptr) {
    return;
  }
  std::replace_if(
      out.begin() + static_cast<std::ptrdiff_t>(from), out.end(),
      [](char c) { return c == '\n' || c == '\r'; }, ' ');
}

}  // namespace

// An object that is to become a line: like scan_value, but it looks at the keys of this one level.
const char* LineWriter::scan_object(const char* at, const char* end, std::size_t depth) {
  has_members_ = false;
  cut_out_.clear();
  at = skip_blanks(at + 1, end);
  if (at == end) return nullptr;
  if (*at == '}') return at + 1;
  const char* comma = nullptr;     // before this member
  const char* cut_from = nullptr;  // a `_source` in front of all other members: up to the next key
  for (;;) {
    const char* const key = at;
    if (cut_from != nullptr) cut_out_.emplace_back(cut_from, key);
    cut_from = nullptr;
    if ((at = scan_key(at, end)) == nullptr) return nullptr;
    const char* key_end = at - 1;  // the closing quote lies before the colon and any blanks
    while (*key_end != ':') --key_end;
    do --key_end;
    while (*key_end != '"');
    const char* const value = at;
    const bool ours =
        annotate_ && is_source_key({key + 1, static_cast<std::size_t>(key_end - key - 1)});
    if ((at = scan_value(at, end, depth + (ours ? 2 : 1))) == nullptr) return nullptr;
    const char* const value_end = at;
    if (ours) {
      original_ = {value, value_end};
      if (has_members_) {
        cut_out_.emplace_back(comma, value_end);
      } else {
        cut_from = key;
      }
    } else {
      has_members_ = true;
    }
    at = skip_blanks(at, end);
    if (at == end) return nullptr;
    if (*at == '}') {
      if (cut_from != nullptr) cut_out_.emplace_back(cut_from, value_end);
      return at + 1;
    }
    if (*at != ',') return nullptr;
    comma = at;
    at = skip_blanks(at + 1, end);
  }
}

void LineWriter::write_line(const char* begin, const char* end, const LineOrigin& origin,
                            std::optional<std::uint32_t> index, std::string& out) const {
  if (!annotate_) {
    append_on_one_line(begin, end, out);
    out += '\n';
    return;
  }
  const char* from = begin;
  for (const auto& [cut_begin, cut_end] : cut_out_) {
    append_on_one_line(from, cut_begin, out);
    from = cut_end;
  }
  append_on_one_line(from, end - 1, out);  // without the closing brace
  out += has_members_ ? ",\"_source\":{\"partition\":" : "\"_source\":{\"partition\":";
  if (std::all_of(origin.partition.begin(), origin.partition.end(), is_digit)) {
    out += '"';
    out += origin.partition;
    out += '"';
  } else {
    out += json_quoted(origin.partition);
  }
  out += ",\"position\":\"";
  out += origin.position;
  out += '"';
  if (origin.arrived_ms >= 0) {
    out += ",\"arrived\":";
    out += fmt::format_int(origin.arrived_ms).c_str();
  }
  if (index) {
    out += ",\"index\":";
    out += fmt::format_int(*index).c_str();
  }
  if (!cut_out_.empty()) {
    out += ",\"original\":";
    append_on_one_line(original_.first, original_.second, out);
  }
  out += "}}\n";
}

std::size_t LineWriter::append(std::string_view record, const LineOrigin& origin, std::string& out,
                               std::vector<LineRefusal>& refusals) {
  if (record.substr(0, 3) == "\xEF\xBB\xBF") record.remove_prefix(3);
  const std::size_t out_before = out.size();
  const std::size_t refusals_before = refusals.size();
  const auto refuse_whole = [&](std::string_view reason) {
    out.resize(out_before);
    refusals.resize(refusals_before);
    refusals.push_back({std::nullopt, reason});
    return std::size_t{0};
  };

  if (!simdjson::validate_utf8(record.data(), record.size())) return refuse_whole("not UTF-8");
  const char* const end = record.data() + record.size();
  const char* at = skip_blanks(record.data(), end);
  std::size_t lines = 0;
  std::uint32_t index = 0;

  // One value on the first or second level. `alone`: it is all the record holds, so no index.
  const auto take = [&](bool in_list, bool alone) {
    const char* const begin = at;
    const auto numbered = alone ? std::nullopt : std::optional(index);
    if (*at == '{') {
      if ((at = scan_object(at, end, in_list ? 1 : 0)) == nullptr) return false;
      write_line(begin, at, origin, numbered, out);
      ++lines;
    } else {
      const bool bare = *at != '"' && *at != '[';
      if ((at = scan_value(at, end, in_list ? 1 : 0)) == nullptr) return false;
      // `01` and `truefalse` are broken values, not two of them.
      if (!in_list && bare && at < end && !is_blank(*at) && *at != '{' && *at != '[' &&
          *at != '"') {
        return false;
      }
      refusals.push_back({numbered, in_list ? "event is not an object" : "not an object or list"});
    }
    ++index;
    return true;
  };
  const auto take_list = [&] {
    at = skip_blanks(at + 1, end);
    if (at < end && *at == ']') {
      ++at;
      return true;
    }
    for (;;) {
      if (at == end || !take(true, false)) return false;
      at = skip_blanks(at, end);
      if (at == end) return false;
      const char c = *at++;
      if (c == ']') return true;
      if (c != ',') return false;
      at = skip_blanks(at, end);
    }
  };

  bool first = true;
  while (at < end) {
    const char* const begin = at;
    bool good = *at == '[' ? take_list() : take(false, first);
    // Only now is it known whether something follows; then the first gets an index, too.
    if (good && first && *begin != '[' && skip_blanks(at, end) != end) {
      out.resize(out_before);
      refusals.resize(refusals_before);
      lines = 0;
      index = 0;
      at = begin;
      good = take(false, false);
    }
    if (!good) return refuse_whole("not JSON");
    first = false;
    at = skip_blanks(at, end);
  }
  return lines;
}

}  // namespace millrace
