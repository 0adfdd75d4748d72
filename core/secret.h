// A string that must not be printed: it has no stream operator and formats as ***.
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>

namespace millrace {

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string value) : value_(std::move(value)) {}

  /// The only way to the value: grep for it to see every place that has it.
  [[nodiscard]] const std::string& reveal() const { return value_; }
  [[nodiscard]] bool empty() const { return value_.empty(); }
  bool operator==(const Secret&) const = default;

 private:
  std::string value_{};
};

}  // namespace millrace

template <>
struct fmt::formatter<millrace::Secret> : fmt::formatter<std::string_view> {
  auto format(const millrace::Secret&, fmt::format_context& context) const {
    return fmt::formatter<std::string_view>::format("***", context);
  }
};
