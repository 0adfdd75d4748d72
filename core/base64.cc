#include "core/base64.h"

#include <array>
#include <cstdint>

namespace millrace {
namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::uint32_t kNotALetter = 0x80;

constexpr std::array<std::uint8_t, 256> values_of_letters() {
  std::array<std::uint8_t, 256> values{};
  for (auto& value : values) value = kNotALetter;
  for (std::size_t i = 0; i < kAlphabet.size(); ++i) {
    values[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::uint8_t>(i);
  }
  return values;
}
constexpr auto kValues = values_of_letters();

std::uint32_t value_of(char letter) { return kValues[static_cast<unsigned char>(letter)]; }
std::uint32_t octet(char c) { return static_cast<unsigned char>(c); }

}  // namespace

void append_base64(std::string& out, std::string_view bytes) {
  std::size_t at = out.size();
  out.resize(at + (bytes.size() + 2) / 3 * 4);
  std::size_t i = 0;
  for (; i + 3 <= bytes.size(); i += 3) {
    const std::uint32_t three =
        octet(bytes[i]) << 16 | octet(bytes[i + 1]) << 8 | octet(bytes[i + 2]);
    out[at++] = kAlphabet[three >> 18];
    out[at++] = kAlphabet[three >> 12 & 63];
    out[at++] = kAlphabet[three >> 6 & 63];
    out[at++] = kAlphabet[three & 63];
  }
  if (i == bytes.size()) return;
  const bool two_left = i + 2 == bytes.size();
  const std::uint32_t rest = octet(bytes[i]) << 16 | (two_left ? octet(bytes[i + 1]) << 8 : 0);
  out[at++] = kAlphabet[rest >> 18];
  out[at++] = kAlphabet[rest >> 12 & 63];
  out[at++] = two_left ? kAlphabet[rest >> 6 & 63] : '=';
  out[at++] = '=';
}

std::string base64_of(std::string_view bytes) {
  std::string out;
  append_base64(out, bytes);
  return out;
}

bool append_from_base64(std::string& out, std::string_view text) {
  if (text.size() % 4 != 0) return false;
  if (text.empty()) return true;
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  const std::size_t before = out.size();
  std::size_t at = before;
  out.resize(before + text.size() / 4 * 3 - padding);
  std::uint32_t seen = 0;
  const std::size_t whole = text.size() - (padding == 0 ? 0 : 4);
  for (std::size_t i = 0; i < whole; i += 4) {
    const std::uint32_t a = value_of(text[i]), b = value_of(text[i + 1]);
    const std::uint32_t c = value_of(text[i + 2]), d = value_of(text[i + 3]);
    seen |= a | b | c | d;
    const std::uint32_t three = a << 18 | b << 12 | c << 6 | d;
    out[at++] = static_cast<char>(three >> 16);
    out[at++] = static_cast<char>(three >> 8);
    out[at++] = static_cast<char>(three);
  }
  if (padding != 0) {
    const std::uint32_t a = value_of(text[whole]), b = value_of(text[whole + 1]);
    const std::uint32_t c = padding == 1 ? value_of(text[whole + 2]) : 0;
    seen |= a | b | c;
    const std::uint32_t rest = a << 18 | b << 12 | c << 6;
    out[at++] = static_cast<char>(rest >> 16);
    if (padding == 1) out[at++] = static_cast<char>(rest >> 8);
  }
  if ((seen & kNotALetter) == 0) return true;
  out.resize(before);
  return false;
}

}  // namespace millrace
