#include "lake/prefix.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <chrono>
#include <set>

namespace millrace {
namespace {

constexpr std::string_view kDefaultTime = "!{timestamp:yyyy/MM/dd/HH/}";
constexpr std::string_view kFormOfExpressions =
    "expected !{timestamp:yyyy/MM/dd/HH}, or in error_prefix !{firehose:error-output-type}";

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::size_t characters_in(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

/// How often a letter may stand in a row; the counts of Java's DateTimeFormatter, without its text
/// forms (MMM), which depend on the locale.
std::size_t letters_max(char letter) {
  switch (letter) {
    case 'u':
    case 'y':
    case 'Y':
      return 9;
    case 'D':
      return 3;
    case 'S':
      return 9;
    case 'a':
      return 1;
    default:
      return 2;
  }
}

struct Calendar {
  int year = 0;
  int week_year = 0;
  unsigned month = 0;
  unsigned day = 0;
  unsigned day_of_year = 0;
  unsigned hour = 0;
};

Calendar calendar_of(LakeHour hour) {
  using std::chrono::days;
  const std::chrono::sys_days date_days{days(hour.number / 24)};
  const std::chrono::year_month_day date(date_days);
  Calendar calendar;
  calendar.year = static_cast<int>(date.year());
  calendar.month = static_cast<unsigned>(date.month());
  calendar.day = static_cast<unsigned>(date.day());
  const std::chrono::sys_days new_year{date.year() / 1 / 1};
  calendar.day_of_year = static_cast<unsigned>((date_days - new_year).count()) + 1;
  calendar.hour = static_cast<unsigned>(hour.number % 24);
  // Java's week-based year in the US locale: weeks begin on Sunday, and the week that holds the
  // first of January is the first of the new year.
  const unsigned weekday = std::chrono::weekday(date_days).c_encoding();
  const std::chrono::year_month_day saturday(date_days + days(6 - weekday));
  calendar.week_year = static_cast<int>(saturday.year());
  return calendar;
}

std::string year_text(int year, std::size_t count) {
  if (count == 2) return fmt::format("{:02}", year % 100);
  return fmt::format("{:0{}}", year, count);
}

std::string evaluated(char letter, std::size_t count, const Calendar& at) {
  switch (letter) {
    case 'u':
    case 'y':
      return year_text(at.year, count);
    case 'Y':
      return year_text(at.week_year, count);
    case 'M':
      return fmt::format("{:0{}}", at.month, count);
    case 'd':
      return fmt::format("{:0{}}", at.day, count);
    case 'D':
      return fmt::format("{:0{}}", at.day_of_year, count);
    case 'H':
      return fmt::format("{:0{}}", at.hour, count);
    case 'h':
      return fmt::format("{:0{}}", at.hour % 12 == 0 ? 12u : at.hour % 12, count);
    case 'a':
      return at.hour < 12 ? "AM" : "PM";
    default:  // m, s, S: the beginning of the hour
      return std::string(count, '0');
  }
}

/// Digits that a number of this letter may take in a key, least and most.
std::pair<std::size_t, std::size_t> digits_of(char letter, std::size_t count) {
  switch (letter) {
    case 'u':
    case 'y':
    case 'Y':
      return count == 2 ? std::pair<std::size_t, std::size_t>{2, 2}
                        : std::pair<std::size_t, std::size_t>{std::max<std::size_t>(count, 4),
                                                              std::max<std::size_t>(count, 4)};
    case 'D':
      return {count, 3};
    case 'm':
    case 's':
    case 'S':
      return {count, count};
    default:
      return {count, 2};
  }
}

/// Why an evaluated prefix cannot begin a key; empty: it can.
std::string fault_in_key(std::string_view evaluated_text) {
  if (evaluated_text.substr(0, 1) == "/") return "it begins with a slash";
  std::size_t begin = 0;
  while (true) {
    const std::size_t slash = evaluated_text.find('/', begin);
    if (slash == std::string_view::npos) return {};
    const std::string_view segment = evaluated_text.substr(begin, slash - begin);
    if (segment.empty()) return "it holds two slashes in a row";
    if (segment == "." || segment == "..") {
      return fmt::format("it holds the segment '{}'", segment);
    }
    begin = slash + 1;
  }
}

}  // namespace

/// One pass over the template. Errors carry the column of what is wrong.
class Prefix::Parser {
 public:
  Parser(std::string_view text, Role role) : role_(role) { prefix_.text_ = text; }

  Result<Prefix> run() {
    if (prefix_.text_.empty() && role_ == Role::errors) {
      return fail(ErrorKind::invalid,
                  "error_prefix is empty; write for example "
                  "errors/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd/HH}/");
    }
    if (!simdjson::validate_utf8(prefix_.text_)) {
      return fail(ErrorKind::invalid, "the prefix is not UTF-8");
    }
    if (auto status = read(prefix_.text_); !status) return fail(status.error());
    if (role_ == Role::objects && !has_time_) {
      // The trap is the same as in Firehose: the time is glued to the text before it.
      if (!prefix_.text_.empty() && prefix_.text_.back() != '/') {
        warn("the prefix has no timestamp and does not end in '/', so that keys begin with '" +
             prefix_.text_ + "2026/…'");
      }
      const std::string appended = prefix_.text_ + std::string(kDefaultTime);
      *this = Parser(appended, role_, std::move(prefix_.warnings_));
      if (auto status = read(prefix_.text_); !status) return fail(status.error());
    }
    if (characters_in(prefix_.text_) > kTemplateCharactersMax) {
      return fail(ErrorKind::invalid,
                  fmt::format("the prefix has {} characters, at most {} are "
                              "allowed",
                              characters_in(prefix_.text_), kTemplateCharactersMax));
    }
    return checked();
  }

 private:
  Parser(std::string text, Role role, std::vector<std::string> warnings) : role_(role) {
    prefix_.text_ = std::move(text);
    prefix_.warnings_ = std::move(warnings);
  }

  Status error_at(std::size_t at, const std::string& message) const {
    return fail(
        ErrorKind::invalid,
        fmt::format("column {}: {}", characters_in(prefix_.text_.substr(0, at)) + 1, message));
  }

  void warn(std::string sentence) { prefix_.warnings_.push_back(std::move(sentence)); }

  void add_literal(std::string_view text) {
    if (text.empty()) return;
    if (prefix_.parts_.empty() || prefix_.parts_.back().letter != 0) prefix_.parts_.push_back({});
    prefix_.parts_.back().literal += text;
  }

  Status read(const std::string& text) {
    for (std::size_t at = 0; at < text.size();) {
      const auto byte = static_cast<unsigned char>(text[at]);
      if (byte < 0x20 || byte == 0x7F) return error_at(at, "a control character");
      if (text.compare(at, 2, "!{") != 0) {
        add_literal(std::string_view(text).substr(at, 1));
        ++at;
        continue;
      }
      const std::size_t end = end_of_expression(text, at + 2);
      if (end == std::string::npos) return error_at(at, "!{ is not closed by }");
      if (auto status = read_expression(text.substr(at + 2, end - at - 2), at); !status) {
        return status;
      }
      at = end + 1;
    }
    return {};
  }

  static std::size_t end_of_expression(const std::string& text, std::size_t from) {
    bool quoted = false;
    for (std::size_t at = from; at < text.size(); ++at) {
      if (text[at] == '\'') quoted = !quoted;
      if (text[at] == '}' && !quoted) return at;
    }
    // An unclosed quote has swallowed the brace: let the pattern's own check complain about it.
    return text.find('}', from);
  }

  Status read_expression(const std::string& body, std::size_t at) {
    if (prefix_.parts_.empty() || !seen_expression_) {
      seen_expression_ = true;
      prefix_.fixed_head_ = prefix_.parts_.empty() ? "" : prefix_.parts_.front().literal;
    }
    const std::size_t colon = body.find(':');
    const std::string name = body.substr(0, colon);
    const std::string value = colon == std::string::npos ? "" : body.substr(colon + 1);
    if (name == "timestamp") {
      has_time_ = true;
      if (value.empty())
        return error_at(at, "!{timestamp:…} needs a pattern such as yyyy/MM/dd/HH");
      return read_pattern(value, at + 2 + colon + 1);
    }
    if (body == "firehose:error-output-type" || body == "error-type") {
      if (role_ == Role::objects) {
        return error_at(at, "!{" + body + "} is for error_prefix only");
      }
      has_error_type_ = true;
      prefix_.parts_.push_back({'!', 1, {}});
      return {};
    }
    if (body == "firehose:random-string") {
      return error_at(at,
                      "!{firehose:random-string} cannot be used: a retry must give an object the "
                      "same name, or records would be doubled. Leave it out; S3 no longer needs "
                      "random prefixes");
    }
    if (name == "partitionKeyFromQuery" || name == "partitionKeyFromLambda") {
      return error_at(at, "!{" + name +
                              ":…} is not supported: the lake is partitioned by time only. Leave "
                              "it out, or keep one topic and one lake.prefix for each value");
    }
    return error_at(at, "unknown expression !{" + body + "}; " + std::string(kFormOfExpressions));
  }

  Status read_pattern(const std::string& pattern, std::size_t at) {
    std::size_t optional_sections = 0;
    for (std::size_t i = 0; i < pattern.size();) {
      const char c = pattern[i];
      if (c == '\'') {
        const std::size_t length = quoted_length(pattern, i);
        if (length == 0) return error_at(at + i, "a quote that is not closed");
        i += length;
        continue;
      }
      if (is_letter(c)) {
        std::size_t count = 1;
        while (i + count < pattern.size() && pattern[i + count] == c) ++count;
        if (auto status = add_letters(c, count, at + i); !status) return status;
        i += count;
        continue;
      }
      if (c == '{' || c == '}' || c == '#') {
        return error_at(at + i, fmt::format("'{}' is reserved in a time pattern; put it in "
                                            "quotes or outside the expression",
                                            c));
      }
      if (c == '[' || c == ']') {  // Java's optional sections: nothing is ever missing here
        if (c == ']' && optional_sections == 0) return error_at(at + i, "']' without '['");
        if (c == '[') {
          ++optional_sections;
        } else {
          --optional_sections;
        }
      } else {
        add_literal(std::string_view(&pattern[i], 1));
      }
      ++i;
    }
    return {};
  }

  /// Length of the quoted text with its quotes; 0 when it is not closed. `''` is one quote.
  std::size_t quoted_length(const std::string& pattern, std::size_t begin) {
    if (pattern.compare(begin, 2, "''") == 0) {
      add_literal("'");
      return 2;
    }
    for (std::size_t i = begin + 1; i < pattern.size(); ++i) {
      if (pattern[i] != '\'') {
        add_literal(std::string_view(&pattern[i], 1));
        continue;
      }
      if (pattern.compare(i, 2, "''") != 0) return i + 1 - begin;
      add_literal("'");
      ++i;
    }
    return 0;
  }

  Status add_letters(char letter, std::size_t count, std::size_t at) {
    if (std::string_view("uyYMdDHhmsSa").find(letter) == std::string_view::npos) {
      return error_at(at, fmt::format("unknown pattern letter '{}'; known are u y M d D H h m s S "
                                      "a, and plain text goes in quotes or outside the expression",
                                      letter));
    }
    if (count > letters_max(letter)) {
      return error_at(
          at,
          fmt::format("{} times '{}', at most {} are allowed{}", count, letter, letters_max(letter),
                      letter == 'M' ? " (names of months depend on a language)" : ""));
    }
    if (letter == 'Y' && !letters_.count('Y')) {
      warn("'YYYY' is the week-based year, which is wrong around New Year; use yyyy");
    }
    if (std::string_view("msS").find(letter) != std::string_view::npos && !finer_warned_) {
      finer_warned_ = true;
      warn(
          "the prefix is finer than an hour, but an object belongs to a whole hour: minutes and "
          "seconds are always 0");
    }
    if (letter == 'D' && count == 2) {
      warn("'DD' is the day of the year with two or three digits; use DDD");
    }
    letters_.insert(letter);
    prefix_.parts_.push_back({letter, count, {}});
    return {};
  }

  Result<Prefix> checked() {
    const std::string& text = prefix_.text_;
    if (!seen_expression_) prefix_.fixed_head_ = text;
    if (role_ == Role::errors && seen_expression_ && !has_error_type_) {
      return fail(ErrorKind::invalid,
                  "an error_prefix with expressions must hold !{firehose:error-output-type}, or "
                  "its short form !{error-type}");
    }
    // The widest evaluation: 31 December, and the longest error type there is.
    const std::string sample =
        prefix_.evaluate(LakeHour::of_seconds(1'735'642'800), "AmazonOpenSearchService-failed");
    if (sample.size() > kEvaluatedBytesMax) {
      return fail(ErrorKind::invalid,
                  fmt::format("the prefix evaluates to {} bytes, at most {} are allowed",
                              sample.size(), kEvaluatedBytesMax));
    }
    if (const std::string fault = fault_in_key(sample); !fault.empty()) {
      return fail(ErrorKind::invalid, "the prefix evaluates to '" + sample + "': " + fault);
    }
    const auto used = [&](char letter) { return letters_.count(letter) > 0; };
    if (used('h') && !used('a') && !used('H')) {
      warn("'hh' counts from 1 to 12, so that two hours of a day share one prefix; use HH");
    }
    const bool appended =
        text.size() >= kDefaultTime.size() &&
        std::string_view(text).substr(text.size() - kDefaultTime.size()) == kDefaultTime;
    if (!appended && (sample.empty() || sample.back() != '/')) {
      warn("the prefix does not end in '/', so that object names are glued to its last part");
    }
    return std::move(prefix_);
  }

  Role role_;
  Prefix prefix_{};
  std::set<char> letters_{};
  bool seen_expression_ = false;
  bool has_time_ = false;
  bool has_error_type_ = false;
  bool finer_warned_ = false;
};

Result<Prefix> Prefix::parse(std::string_view text, Role role) { return Parser(text, role).run(); }

std::string Prefix::evaluate(LakeHour hour, std::string_view error_type) const {
  const Calendar at = calendar_of(hour);
  std::string key;
  for (const Part& part : parts_) {
    if (part.letter == 0) {
      key += part.literal;
    } else if (part.letter == '!') {
      key += error_type;
    } else {
      key += evaluated(part.letter, part.count, at);
    }
  }
  return key;
}

bool Prefix::matches(std::string_view key) const {
  if (parts_.empty()) return false;  // made without parse()
  // Every place in the key where the parts so far may have ended: a handful at most, however many
  // numbers without fixed width the template holds.
  std::set<std::size_t> ends{0};
  for (const Part& part : parts_) {
    std::set<std::size_t> next;
    for (const std::size_t end : ends) add_ends(part, key, end, next);
    if (next.empty()) return false;
    ends = std::move(next);
  }
  return true;
}

void Prefix::add_ends(const Part& part, std::string_view key, std::size_t begin,
                      std::set<std::size_t>& ends) {
  const std::string_view rest = key.substr(begin);
  if (part.letter == 0) {
    if (rest.substr(0, part.literal.size()) == part.literal) {
      ends.insert(begin + part.literal.size());
    }
  } else if (part.letter == 'a') {
    if (rest.substr(0, 2) == "AM" || rest.substr(0, 2) == "PM") ends.insert(begin + 2);
  } else if (part.letter == '!') {
    std::size_t length = 0;
    while (length < rest.size() && (is_letter(rest[length]) || rest[length] == '-')) ++length;
    const std::string_view word = rest.substr(0, length);
    const auto ends_in = [&](std::string_view ending) {
      return word.size() > ending.size() && word.substr(word.size() - ending.size()) == ending;
    };
    if (ends_in("-failed") || ends_in("Exceeded")) ends.insert(begin + length);
  } else {
    const auto [least, most] = digits_of(part.letter, part.count);
    for (std::size_t length = 1; length <= most && length <= rest.size(); ++length) {
      if (!is_digit(rest[length - 1])) break;
      if (length >= least) ends.insert(begin + length);
    }
  }
}

}  // namespace millrace
