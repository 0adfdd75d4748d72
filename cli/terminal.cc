#include "cli/terminal.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace millrace {
namespace {

constexpr std::chrono::milliseconds kLiveInterval{100};
constexpr std::chrono::milliseconds kPlainInterval{5000};

std::size_t terminal_columns() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

// The first `columns` characters: a line that wraps could not be replaced.
std::string_view cut_to(std::string_view line, std::size_t columns) {
  std::size_t seen = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if ((static_cast<unsigned char>(line[i]) & 0xC0U) != 0x80U && ++seen > columns)
      return line.substr(0, i);
  }
  return line;
}

}  // namespace

std::string grouped(std::uint64_t number) {
  std::string digits = std::to_string(number);
  for (std::size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, ",");
  return digits;
}

std::string bar(double value, double whole, std::size_t cells) {
  const double share = whole > 0 ? std::clamp(value / whole, 0.0, 1.0) : 0.0;
  const auto full = static_cast<std::size_t>(std::lround(share * static_cast<double>(cells)));
  std::string out;
  for (std::size_t i = 0; i < cells; ++i) out += i < full ? "█" : "░";
  return out;
}

Progress::Progress(bool quiet) : live_(isatty(STDERR_FILENO) == 1), quiet_(quiet) {}

Progress::~Progress() { clear(); }

void Progress::clear() {
  if (shown_) std::fputs("\r\033[K", stderr);
  shown_ = false;
}

void Progress::clear_line() {
  const std::lock_guard lock(mutex_);
  clear();
}

void Progress::show(std::string_view line) {
  const std::lock_guard lock(mutex_);
  if (!live_ && quiet_) return;
  const auto now = std::chrono::steady_clock::now();
  if (now - last_ < (live_ ? kLiveInterval : kPlainInterval)) return;
  last_ = now;
  if (live_) {
    fmt::print(stderr, "\r\033[K{}", cut_to(line, terminal_columns() - 1));
    shown_ = true;
  } else {
    fmt::print(stderr, "{}\n", line);
  }
  std::fflush(stderr);
}

void Progress::say(std::string_view line) {
  const std::lock_guard lock(mutex_);
  clear();
  if (quiet_) return;
  fmt::print(stderr, "{}\n", line);
  std::fflush(stderr);
}

}  // namespace millrace
