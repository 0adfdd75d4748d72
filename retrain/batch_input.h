// The input file of a batch inference job: the users of a CSV, one JSON line each (Personalize
// Developer Guide, "Batch inference job input").
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "core/result.h"
#include "lake/object_store.h"

namespace millrace {

/// Writes one line {"userId":…} for each user of a CSV in Personalize's dialect (schema order, a
/// header, backslash escapes), each once, to `writer`; with `active_since` only users with an
/// interaction then or later. How many it wrote. `corrupt` when the file is not such a CSV,
/// `refused` beyond `users_max`.
Result<std::uint64_t> write_users(ObjectReader& csv, ObjectWriter& writer,
                                  std::optional<std::int64_t> active_since_s,
                                  std::size_t users_max);

}  // namespace millrace
