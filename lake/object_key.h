// Which texts are keys: the same for every store, so that what works on a disk works in S3.
#pragma once

#include <cstddef>
#include <string_view>

#include "core/result.h"

namespace millrace {

/// S3's limit (S3 User Guide, "Naming Amazon S3 objects").
inline constexpr std::size_t kKeyBytesMax = 1024;

/// `invalid` unless `key` is one to 1,024 bytes of UTF-8 without NUL, does not begin with a slash,
/// and has no segment that is empty, "." or "..".
Status check_object_key(std::string_view key);

}  // namespace millrace
