#include "core/position.h"

#include <charconv>

#include "core/check.h"

namespace millrace {

Offset Offset::of(std::int64_t number) {
  MILLRACE_CHECK(number >= 0);
  return Offset{std::to_string(number)};
}

bool Offset::valid(std::string_view text) {
  if (text.empty() || text.size() > 129) return false;
  if (text.size() > 1 && text.front() == '0') return false;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
  }
  return true;
}

std::strong_ordering Offset::operator<=>(const Offset& other) const {
  if (digits.size() != other.digits.size()) return digits.size() <=> other.digits.size();
  return digits.compare(other.digits) <=> 0;
}

std::string Position::text() const {
  if (sub == 0) return offset.digits;
  return offset.digits + "." + std::to_string(sub);
}

bool parse_position(std::string_view text, Position& out) {
  const std::size_t dot = text.find('.');
  const std::string_view digits = text.substr(0, dot);
  if (!Offset::valid(digits)) return false;
  std::uint32_t sub = 0;
  if (dot != std::string_view::npos) {
    const std::string_view tail = text.substr(dot + 1);
    const auto [end, error] = std::from_chars(tail.data(), tail.data() + tail.size(), sub);
    if (error != std::errc() || end != tail.data() + tail.size() || sub == 0 || tail.front() == '0')
      return false;
  }
  out = Position{Offset{std::string(digits)}, sub};
  return true;
}

}  // namespace millrace
