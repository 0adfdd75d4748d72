#include "events/json_tape.h"

#include <charconv>
#include <cstring>

#include "events/utf8.h"

namespace millrace {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

void skip_blanks(std::string_view text, std::size_t& at) {
  while (at < text.size() && is_blank(text[at])) ++at;
}

// Whether one of eight bytes is a quote, a backslash or below 0x20: the usual zero-byte trick.
bool has_special(std::uint64_t word) {
  constexpr std::uint64_t kOnes = 0x0101010101010101U;
  constexpr std::uint64_t kHighs = 0x8080808080808080U;
  const std::uint64_t quote = word ^ (kOnes * '"');
  const std::uint64_t slash = word ^ (kOnes * '\\');
  const std::uint64_t found =
      ((quote - kOnes) & ~quote) | ((slash - kOnes) & ~slash) | ((word - kOnes * 0x20) & ~word);
  return (found & kHighs) != 0;
}

std::uint32_t four_hex_digits(const char* digits) {
  std::uint32_t unit = 0;
  for (int i = 0; i < 4; ++i) unit = unit * 16 + static_cast<std::uint32_t>(hex_digit(digits[i]));
  return unit;
}

}  // namespace

std::optional<std::size_t> scan_json_number(std::string_view text, std::size_t at) {
  const auto digits = [&] {
    const std::size_t first = at;
    while (at < text.size() && is_digit(text[at])) ++at;
    return at > first;
  };
  if (at < text.size() && text[at] == '-') ++at;
  if (at < text.size() && text[at] == '0') {
    ++at;
  } else if (!digits()) {
    return std::nullopt;
  }
  if (at < text.size() && text[at] == '.') {
    ++at;
    if (!digits()) return std::nullopt;
  }
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (at < text.size() && (text[at] == '+' || text[at] == '-')) ++at;
    if (!digits()) return std::nullopt;
  }
  return at;
}

void append_unescaped(std::string_view inside, std::string& out) {
  std::size_t at = 0;
  while (at < inside.size()) {
    const std::size_t slash = inside.find('\\', at);
    out.append(inside, at, slash == std::string_view::npos ? slash : slash - at);
    if (slash == std::string_view::npos) return;
    const char kind = inside[slash + 1];
    at = slash + 2;
    switch (kind) {
      case 'b':
        out += '\b';
        break;
      case 'f':
        out += '\f';
        break;
      case 'n':
        out += '\n';
        break;
      case 'r':
        out += '\r';
        break;
      case 't':
        out += '\t';
        break;
      case 'u': {
        std::uint32_t unit = four_hex_digits(inside.data() + at);
        at += 4;
        const bool high = unit >= 0xD800 && unit < 0xDC00;
        if (high && at + 6 <= inside.size() && inside[at] == '\\' && inside[at + 1] == 'u') {
          const std::uint32_t low = four_hex_digits(inside.data() + at + 2);
          if (low >= 0xDC00 && low < 0xE000) {
            unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
            at += 6;
          }
        }
        append_utf8(unit, out);
        break;
      }
      default:
        out += kind;  // a quote, a backslash or a slash
    }
  }
}

bool JsonTape::read_text(std::size_t& at, bool& escaped) const {
  ++at;  // the quote
  for (;;) {
    while (at + 8 <= text_.size()) {
      std::uint64_t word = 0;
      std::memcpy(&word, text_.data() + at, 8);
      if (has_special(word)) break;
      at += 8;
    }
    if (at >= text_.size()) return false;
    const char c = text_[at];
    if (c == '"') {
      ++at;
      return true;
    }
    if (static_cast<unsigned char>(c) < 0x20) return false;
    ++at;
    if (c != '\\') continue;
    escaped = true;
    if (at >= text_.size()) return false;
    switch (text_[at++]) {
      case '"':
      case '\\':
      case '/':
      case 'b':
      case 'f':
      case 'n':
      case 'r':
      case 't':
        break;
      case 'u':
        if (at + 4 > text_.size()) return false;
        for (int i = 0; i < 4; ++i) {
          if (hex_digit(text_[at++]) < 0) return false;
        }
        break;
      default:
        return false;
    }
  }
}

bool JsonTape::read_value(std::size_t& at) {
  using Kind = JsonNode::Kind;
  open_.clear();
  const auto add = [&](Kind kind, std::size_t begin, std::size_t end, bool escaped = false) {
    nodes_.push_back({kind, escaped, static_cast<std::uint32_t>(begin),
                      static_cast<std::uint32_t>(end),
                      static_cast<std::uint32_t>(nodes_.size() + 1)});
  };
  const auto word = [&](std::string_view expected, Kind kind) {
    if (text_.substr(at, expected.size()) != expected) return false;
    add(kind, at, at + expected.size());
    at += expected.size();
    return true;
  };
  // A key and its colon, with the blanks around them.
  const auto key = [&] {
    skip_blanks(text_, at);
    if (at >= text_.size() || text_[at] != '"') return false;
    const std::size_t begin = at;
    bool escaped = false;
    if (!read_text(at, escaped)) return false;
    add(Kind::text, begin, at, escaped);
    skip_blanks(text_, at);
    if (at >= text_.size() || text_[at] != ':') return false;
    ++at;
    return true;
  };

  for (;;) {
    skip_blanks(text_, at);
    if (at >= text_.size()) return false;
    const char c = text_[at];
    if (c == '{' || c == '[') {
      if (open_.size() >= kDepthMax) return false;
      open_.push_back(static_cast<std::uint32_t>(nodes_.size()));
      add(c == '{' ? Kind::object : Kind::list, at, at);
      ++at;
      skip_blanks(text_, at);
      const char close = c == '{' ? '}' : ']';
      if (at >= text_.size() || text_[at] != close) {
        if (c == '{' && !key()) return false;
        continue;
      }
      // An empty container closes below like any other.
    } else if (c == '"') {
      const std::size_t begin = at;
      bool escaped = false;
      if (!read_text(at, escaped)) return false;
      add(Kind::text, begin, at, escaped);
    } else if (c == '-' || is_digit(c)) {
      const auto end = scan_json_number(text_, at);
      if (!end) return false;
      add(Kind::number, at, *end);
      at = *end;
    } else if (c == 't') {
      if (!word("true", Kind::true_value)) return false;
    } else if (c == 'f') {
      if (!word("false", Kind::false_value)) return false;
    } else {
      if (!word("null", Kind::null_value)) return false;
    }

    // Behind a value: close what ends here, up to the next comma.
    for (;;) {
      if (open_.empty()) return true;
      skip_blanks(text_, at);
      if (at >= text_.size()) return false;
      const bool in_object = nodes_[open_.back()].kind == Kind::object;
      const char next = text_[at++];
      if (next == ',') {
        if (in_object && !key()) return false;
        break;
      }
      if (next != (in_object ? '}' : ']')) return false;
      JsonNode& closed = nodes_[open_.back()];
      closed.end = static_cast<std::uint32_t>(at);
      closed.next = static_cast<std::uint32_t>(nodes_.size());
      open_.pop_back();
    }
  }
}

bool JsonTape::read_all(std::string_view text) {
  text_ = text;
  nodes_.clear();
  roots_.clear();
  if (text.size() > kTextBytesMax) return false;
  std::size_t at = 0;
  for (;;) {
    skip_blanks(text, at);
    if (at == text.size()) return true;
    const auto root = static_cast<std::uint32_t>(nodes_.size());
    if (!read_value(at)) return false;
    roots_.push_back(root);
    // `01` and `truefalse` are broken values, not two of them.
    const JsonNode::Kind kind = nodes_[root].kind;
    const bool bare = kind != JsonNode::Kind::text && kind != JsonNode::Kind::object &&
                      kind != JsonNode::Kind::list;
    if (bare && at < text.size() && !is_blank(text[at]) && text[at] != '{' && text[at] != '[' &&
        text[at] != '"') {
      return false;
    }
  }
}

bool JsonTape::read_one(std::string_view text) { return read_all(text) && roots_.size() == 1; }

std::string_view JsonTape::text(std::uint32_t index, std::string& scratch) const {
  const JsonNode& node = nodes_[index];
  const std::string_view inside = text_.substr(node.begin + 1, node.end - node.begin - 2);
  if (!node.escaped) return inside;
  scratch.clear();
  append_unescaped(inside, scratch);
  return scratch;
}

std::optional<std::uint32_t> JsonTape::member(std::uint32_t object, std::string_view key,
                                              std::string& scratch) const {
  std::optional<std::uint32_t> found;
  const std::uint32_t end = nodes_[object].next;
  for (std::uint32_t at = object + 1; at < end; at = nodes_[at + 1].next) {
    if (text(at, scratch) == key) found = at + 1;
  }
  return found;
}

std::optional<std::uint32_t> JsonTape::step(std::uint32_t from, const std::string& step,
                                            std::string& scratch) const {
  if (nodes_[from].kind == JsonNode::Kind::object) return member(from, step, scratch);
  if (nodes_[from].kind != JsonNode::Kind::list) return std::nullopt;
  std::size_t wanted = 0;
  const char* end_of_step = step.data() + step.size();
  const auto read = std::from_chars(step.data(), end_of_step, wanted);
  if (read.ec != std::errc{} || read.ptr != end_of_step) return std::nullopt;
  if (step.size() > 1 && step.front() == '0') return std::nullopt;
  const std::uint32_t end = nodes_[from].next;
  for (std::uint32_t at = from + 1; at < end; at = nodes_[at].next) {
    if (wanted-- == 0) return at;
  }
  return std::nullopt;
}

std::optional<std::vector<std::string>> json_pointer_steps(std::string_view pointer) {
  std::vector<std::string> steps;
  if (!pointer.empty() && pointer.front() != '/') return std::nullopt;
  while (!pointer.empty()) {
    pointer.remove_prefix(1);
    const std::string_view raw = pointer.substr(0, pointer.find('/'));
    std::string& step = steps.emplace_back();
    for (std::size_t i = 0; i < raw.size(); ++i) {
      if (raw[i] == '~' && i + 1 < raw.size() && (raw[i + 1] == '0' || raw[i + 1] == '1')) {
        step += raw[++i] == '0' ? '~' : '/';
      } else {
        step += raw[i];
      }
    }
    pointer.remove_prefix(raw.size());
  }
  return steps;
}

}  // namespace millrace
