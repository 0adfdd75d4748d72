#include "events/time_value.h"

#include <chrono>

namespace millrace {
namespace {

constexpr std::size_t kTextBytesMax = 400;
constexpr int kExponentMax = 300;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

TimeReading refused(std::string_view problem) { return {0, TimeUnit::seconds, problem}; }

// -?digits(.digits)?([eE][+-]?digits)?, leading zeros allowed.
struct Decimal {
  bool negative = false;
  std::string_view whole{};
  std::string_view fraction{};
  bool exponent_huge = false;
  int exponent = 0;
};

std::optional<Decimal> read_decimal(std::string_view text) {
  Decimal number;
  std::size_t at = 0;
  const auto digits = [&] {
    const std::size_t first = at;
    while (at < text.size() && is_digit(text[at])) ++at;
    return text.substr(first, at - first);
  };
  if (at < text.size() && text[at] == '-') {
    number.negative = true;
    ++at;
  }
  number.whole = digits();
  if (number.whole.empty()) return std::nullopt;
  if (at < text.size() && text[at] == '.') {
    ++at;
    number.fraction = digits();
    if (number.fraction.empty()) return std::nullopt;
  }
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    const bool minus = at < text.size() && text[at] == '-';
    if (at < text.size() && (text[at] == '-' || text[at] == '+')) ++at;
    const std::string_view exponent = digits();
    if (exponent.empty()) return std::nullopt;
    for (const char c : exponent) {
      if (number.exponent <= kExponentMax) number.exponent = number.exponent * 10 + (c - '0');
    }
    number.exponent_huge = number.exponent > kExponentMax;
    if (minus) number.exponent = -number.exponent;
  }
  if (at != text.size()) return std::nullopt;
  return number;
}

// The digit of weight 10^power of the number's value.
int digit_at(const Decimal& number, int power) {
  // Its place among all digits written, counted from the first.
  const int place = static_cast<int>(number.whole.size()) - 1 + number.exponent - power;
  if (place < 0) return 0;
  const auto index = static_cast<std::size_t>(place);
  if (index < number.whole.size()) return number.whole[index] - '0';
  const std::size_t behind = index - number.whole.size();
  return behind < number.fraction.size() ? number.fraction[behind] - '0' : 0;
}

bool is_zero(const Decimal& number) {
  for (const std::string_view part : {number.whole, number.fraction}) {
    if (part.find_first_not_of('0') != std::string_view::npos) return false;
  }
  return true;
}

// How many digits stand before the point, leading zeros left out; 0 for a value below one.
int magnitude_of(const Decimal& number) {
  for (int power = static_cast<int>(number.whole.size()) - 1 + number.exponent; power >= 0;
       --power) {
    if (digit_at(number, power) != 0) return power + 1;
  }
  return 0;
}

int power_of(TimeUnit unit) {
  switch (unit) {
    case TimeUnit::millis:
      return 3;
    case TimeUnit::micros:
      return 6;
    case TimeUnit::nanos:
      return 9;
    default:
      return 0;
  }
}

TimeReading seconds_of(const Decimal& number, std::size_t bytes, std::optional<TimeUnit> told) {
  if (number.exponent_huge) return refused("not finite");
  if (bytes > kTextBytesMax) return refused("out of range");
  if (number.negative && !is_zero(number)) return refused("negative");
  const int digits = magnitude_of(number);
  TimeUnit unit = TimeUnit::seconds;
  if (told) {
    unit = *told;
    if (digits > 18 + power_of(unit)) return refused("out of range");
  } else if (digits > 20) {
    return refused("out of range");
  } else if (digits > 17) {
    unit = TimeUnit::nanos;
  } else if (digits > 14) {
    unit = TimeUnit::micros;
  } else if (digits > 11) {
    unit = TimeUnit::millis;
  }
  std::int64_t seconds = 0;
  for (int power = digits - 1; power >= power_of(unit); --power) {
    seconds = seconds * 10 + digit_at(number, power);
  }
  return {seconds, unit, {}};
}

// Reads fixed-width digits and single characters from the front of a text.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  bool digits(int count, int& out) {
    if (text_.size() < static_cast<std::size_t>(count)) return false;
    int value = 0;
    for (int i = 0; i < count; ++i) {
      const char c = text_[static_cast<std::size_t>(i)];
      if (!is_digit(c)) return false;
      value = value * 10 + (c - '0');
    }
    out = value;
    text_.remove_prefix(static_cast<std::size_t>(count));
    return true;
  }
  bool one_of(std::string_view characters) {
    if (text_.empty() || characters.find(text_.front()) == std::string_view::npos) return false;
    last_ = text_.front();
    text_.remove_prefix(1);
    return true;
  }
  bool word(std::string_view expected) {
    if (text_.substr(0, expected.size()) != expected) return false;
    text_.remove_prefix(expected.size());
    return true;
  }
  bool some_digits() {
    const std::size_t end = text_.find_first_not_of("0123456789");
    const std::size_t count = end == std::string_view::npos ? text_.size() : end;
    text_.remove_prefix(count);
    return count > 0;
  }
  [[nodiscard]] bool next_is_digit() const { return !text_.empty() && is_digit(text_.front()); }
  [[nodiscard]] bool at_end() const { return text_.empty(); }
  [[nodiscard]] char last() const { return last_; }

 private:
  std::string_view text_;
  char last_ = 0;
};

struct Calendar {
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
  int offset_hours = 0, offset_minutes = 0;
  bool west = false;
};

bool read_extended(std::string_view text, Calendar& out) {
  Reader in(text);
  if (!in.digits(4, out.year) || !in.one_of("-") || !in.digits(2, out.month) || !in.one_of("-") ||
      !in.digits(2, out.day)) {
    return false;
  }
  if (in.at_end()) return true;
  if (!in.one_of("Tt ") || !in.digits(2, out.hour) || !in.one_of(":") ||
      !in.digits(2, out.minute)) {
    return false;
  }
  if (in.one_of(":")) {
    if (!in.digits(2, out.second)) return false;
    if (in.one_of(".,") && !in.some_digits()) return false;
  }
  if (in.at_end()) return true;
  in.one_of(" ");
  if (in.one_of("Zz") || in.word("UTC")) return in.at_end();
  if (!in.one_of("+-")) return false;
  out.west = in.last() == '-';
  if (!in.digits(2, out.offset_hours)) return false;
  if (in.one_of(":") || in.next_is_digit()) {
    if (!in.digits(2, out.offset_minutes)) return false;
  }
  return in.at_end();
}

bool read_basic(std::string_view text, Calendar& out) {
  Reader in(text);
  return in.digits(4, out.year) && in.digits(2, out.month) && in.digits(2, out.day) &&
         in.one_of("Tt") && in.digits(2, out.hour) && in.digits(2, out.minute) &&
         in.digits(2, out.second) && in.one_of("Zz") && in.at_end();
}

TimeReading seconds_of(const Calendar& calendar) {
  namespace chrono = std::chrono;
  const chrono::year_month_day date{chrono::year(calendar.year),
                                    chrono::month(static_cast<unsigned>(calendar.month)),
                                    chrono::day(static_cast<unsigned>(calendar.day))};
  const bool leap = calendar.second == 60;
  if (calendar.year == 0 || !date.ok() || calendar.hour > 23 || calendar.minute > 59 ||
      calendar.second > 60 || calendar.offset_hours > 23 || calendar.offset_minutes > 59) {
    return refused("unreadable");
  }
  constexpr std::int64_t kDay = 86400;
  const std::int64_t days = chrono::sys_days(date).time_since_epoch().count();
  const std::int64_t offset = (calendar.offset_hours * 60 + calendar.offset_minutes) * 60;
  std::int64_t seconds = days * kDay + calendar.hour * 3600 + calendar.minute * 60 +
                         (leap ? 59 : calendar.second) + (calendar.west ? offset : -offset);
  if (leap) {
    if (((seconds % kDay) + kDay) % kDay != kDay - 1) return refused("unreadable");
    ++seconds;
  }
  if (seconds < 0) return refused("negative");
  return {seconds, TimeUnit::iso, {}};
}

}  // namespace

TimeReading read_time_number(std::string_view text, std::optional<TimeUnit> unit) {
  const auto number = read_decimal(text);
  if (!number) return refused("unreadable");
  return seconds_of(*number, text.size(), unit);
}

TimeReading read_time_text(std::string_view text, std::optional<TimeUnit> unit) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return refused("empty");
  text = text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
  Calendar calendar;
  if (read_extended(text, calendar)) return seconds_of(calendar);
  calendar = {};
  if (read_basic(text, calendar)) return seconds_of(calendar);
  return read_time_number(text, unit);
}

}  // namespace millrace
