// Log lines for people and machines: a message in lower case without full stop, and the data as
// fields.
#pragma once

#include <fmt/format.h>

#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace millrace {

enum class LogLevel { debug, info, warn, error, off };

/// One `key=value`. Numbers and booleans stay bare in JSON, everything else is text. Never a
/// payload, a user id or a secret.
struct LogField {
  std::string_view key{};
  std::string value{};
  bool quoted = true;

  LogField(std::string_view k, std::string_view v) : key(k), value(v) {}
  LogField(std::string_view k, const std::string& v) : key(k), value(v) {}
  LogField(std::string_view k, const char* v) : key(k), value(v) {}
  LogField(std::string_view k, bool v) : key(k), value(v ? "true" : "false"), quoted(false) {}
  template <class Number>
  requires std::is_arithmetic_v<Number> LogField(std::string_view k, Number v)
      : key(k), value(fmt::format("{}", v)), quoted(false) {}
};

/// Threads: any. `log.warn("put events throttled", {{"attempt", n}, {"delay_ms", ms}})`.
class Log {
 public:
  enum class Format { text, json };
  /// Gets each finished line without its line end, at most one at a time.
  using Write = std::function<void(LogLevel, std::string_view line)>;

  /// Nothing is written: for tests that do not look.
  Log() = default;
  Log(LogLevel level, Format format, Write write)
      : level_(level), format_(format), write_(std::move(write)) {}
  virtual ~Log() = default;
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  using Fields = std::initializer_list<LogField>;
  void debug(std::string_view message, Fields fields = {}) const {
    line(LogLevel::debug, message, fields);
  }
  void info(std::string_view message, Fields fields = {}) const {
    line(LogLevel::info, message, fields);
  }
  void warn(std::string_view message, Fields fields = {}) const {
    line(LogLevel::warn, message, fields);
  }
  void error(std::string_view message, Fields fields = {}) const {
    line(LogLevel::error, message, fields);
  }
  [[nodiscard]] bool enabled(LogLevel level) const {
    return write_ && level >= level_ && level_ != LogLevel::off;
  }

 private:
  void line(LogLevel level, std::string_view message, Fields fields) const;

  LogLevel level_ = LogLevel::off;
  Format format_ = Format::text;
  Write write_{};
};

/// The real one: whole lines to stderr through spdlog, time in UTC.
Log::Write stderr_writer();

/// `text` as a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD.
std::string json_quoted(std::string_view text);

}  // namespace millrace
