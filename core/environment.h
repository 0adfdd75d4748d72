// The process environment as a value: handed in by main, so that nothing here is global and tests
// can say what is set.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace millrace {

/// The value of an environment variable; nothing when it is not set. Set to the empty string counts
/// as not set for everything in aws/, as in the SDKs. Threads: as safe as the function given.
using Environment = std::function<std::optional<std::string>(std::string_view name)>;

}  // namespace millrace
