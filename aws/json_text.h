// JSON written by hand where building a document would cost more than the call: strings, escaped.
#pragma once

#include <string>
#include <string_view>

namespace millrace {

/// Appends `text` as a JSON string with its quotes. Control characters, quotes and backslashes are
/// escaped; bytes that are not UTF-8 (overlong forms and surrogates too) become U+FFFD, so the
/// result is always valid JSON.
void append_json_string(std::string_view text, std::string& out);

}  // namespace millrace
