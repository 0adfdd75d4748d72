#include "core/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <memory>

#include "core/time.h"

namespace millrace {
namespace {

std::string_view name_of(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return "debug";
    case LogLevel::info:
      return "info";
    case LogLevel::warn:
      return "warn";
    case LogLevel::error:
      return "error";
    case LogLevel::off:
      return "off";
  }
  return "off";
}

// The length of the well-formed UTF-8 sequence at `i` (Unicode Standard, table 3-7), 0 if there is
// none.
std::size_t utf8_length(std::string_view text, std::size_t i) {
  const auto byte = [&](std::size_t k) {
    return i + k < text.size() ? static_cast<unsigned char>(text[i + k]) : 0U;
  };
  const auto tail = [&](std::size_t k) { return (byte(k) & 0xC0U) == 0x80U; };
  const unsigned a = byte(0);
  const unsigned b = byte(1);
  if (a < 0x80) return 1;
  if (a >= 0xC2 && a <= 0xDF) return tail(1) ? 2 : 0;
  if (a == 0xE0) return b >= 0xA0 && b <= 0xBF && tail(2) ? 3 : 0;
  if (a == 0xED) return b >= 0x80 && b <= 0x9F && tail(2) ? 3 : 0;
  if (a >= 0xE1 && a <= 0xEF) return tail(1) && tail(2) ? 3 : 0;
  if (a == 0xF0) return b >= 0x90 && b <= 0xBF && tail(2) && tail(3) ? 4 : 0;
  if (a >= 0xF1 && a <= 0xF3) return tail(1) && tail(2) && tail(3) ? 4 : 0;
  if (a == 0xF4) return b >= 0x80 && b <= 0x8F && tail(2) && tail(3) ? 4 : 0;
  return 0;
}

bool plain_word(std::string_view text) {
  return !text.empty() && text.find_first_of(" \"=\n\r\t\\") == std::string_view::npos;
}

}  // namespace

std::string json_quoted(std::string_view text) {
  std::string out = "\"";
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
      ++i;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += c == '\n'   ? "\\n"
             : c == '\t' ? "\\t"
             : c == '\r' ? "\\r"
                         : fmt::format("\\u{:04x}", static_cast<int>(c));
      ++i;
    } else if (const std::size_t length = utf8_length(text, i); length > 0) {
      out.append(text.substr(i, length));
      i += length;
    } else {
      out += "\xEF\xBF\xBD";
      ++i;
    }
  }
  return out + "\"";
}

void Log::line(LogLevel level, std::string_view message, Fields fields) const {
  if (!enabled(level)) return;
  // Log lines are the one place that reads the clock by itself: a line without a time is of no use
  // to anybody.
  const std::string time =
      iso8601(std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now()));
  std::string out;
  if (format_ == Format::json) {
    out = fmt::format(R"({{"time":"{}","level":"{}","message":{})", time, name_of(level),
                      json_quoted(message));
    for (const LogField& field : fields) {
      out += fmt::format(",{}:{}", json_quoted(field.key),
                         field.quoted ? json_quoted(field.value) : field.value);
    }
    out += "}";
  } else {
    out = fmt::format("{} {:5} {}", time, name_of(level), message);
    for (const LogField& field : fields) {
      out += fmt::format(" {}={}", field.key,
                         plain_word(field.value) ? field.value : json_quoted(field.value));
    }
  }
  write_(level, out);
}

Log::Write stderr_writer() {
  auto logger = std::make_shared<spdlog::logger>("millrace",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern("%v");
  logger->set_level(spdlog::level::trace);
  return [logger](LogLevel, std::string_view line) {
    logger->log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
    logger->flush();
  };
}

}  // namespace millrace
