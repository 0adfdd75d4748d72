#include "lake/object_key.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>

#include "core/log.h"

namespace millrace {

Status check_object_key(std::string_view key) {
  const auto bad = [&](std::string_view why) {
    return fail(ErrorKind::invalid,
                fmt::format("{} is no object key: {}", json_quoted(key.substr(0, 200)), why));
  };
  if (key.empty()) return bad("it is empty");
  if (key.size() > kKeyBytesMax) return bad("it has more than 1024 bytes");
  if (key.find('\0') != std::string_view::npos) return bad("it holds a NUL");
  if (!simdjson::validate_utf8(key)) return bad("it is not UTF-8");
  for (std::size_t begin = 0; begin <= key.size();) {
    const std::size_t end = std::min(key.find('/', begin), key.size());
    const std::string_view segment = key.substr(begin, end - begin);
    if (segment.empty()) return bad("a slash at its beginning or end, or two in a row");
    if (segment == "." || segment == "..") return bad("a segment '.' or '..'");
    begin = end + 1;
  }
  return {};
}

}  // namespace millrace
