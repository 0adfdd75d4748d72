// UTF-8 as RFC 3629 defines it: at most four bytes, no overlong form, no surrogate, nothing above
// U+10FFFF. Nothing here replaces or normalises: an id is either sound or refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace millrace {

/// The byte offset where the first ill-formed sequence begins; nothing when `text` is sound.
std::optional<std::size_t> first_invalid_utf8(std::string_view text);

inline bool valid_utf8(std::string_view text) { return !first_invalid_utf8(text); }

/// How many code points `text` has. REQUIRES: sound UTF-8 (or the three-byte form of lone
/// surrogates that JsonTape::unescape writes, each of which counts as one).
std::size_t code_points(std::string_view text);

/// Appends `code_point` in UTF-8; a surrogate gets the three bytes that its number would have.
/// REQUIRES: at most U+10FFFF.
void append_utf8(std::uint32_t code_point, std::string& out);

/// Appends ISO 8859-1 `bytes` as UTF-8: each byte is the code point of its number.
void append_latin1(std::string_view bytes, std::string& out);

}  // namespace millrace
