// Standard base64 with padding (RFC 4648 §4), strict.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace millrace {

/// Appends the decoded bytes to `out` and says how many; nothing, and `out` as it was, when `text`
/// is not canonical base64 (wrong length, alphabet or padding, or stray bits in the last digit).
std::optional<std::size_t> append_base64_decoded(std::string_view text, std::string& out);

void append_base64(std::string_view bytes, std::string& out);

}  // namespace millrace
