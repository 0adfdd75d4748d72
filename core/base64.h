// Base64 with the standard alphabet and padding (RFC 4648, section 4): the form in which Kinesis'
// JSON carries record data and in which dead letters keep their original bytes.
#pragma once

#include <string>
#include <string_view>

namespace millrace {

/// Appends `bytes` in base64, padded, without line breaks.
void append_base64(std::string& out, std::string_view bytes);

[[nodiscard]] std::string base64_of(std::string_view bytes);

/// Appends the bytes that `text` stands for. False, with `out` as it was, unless `text` is padded
/// to a multiple of four characters of the standard alphabet (no white space, no URL-safe letters).
[[nodiscard]] bool append_from_base64(std::string& out, std::string_view text);

}  // namespace millrace
