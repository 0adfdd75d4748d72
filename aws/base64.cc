#include "aws/base64.h"

#include <array>
#include <cstdint>

namespace millrace {
namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::uint8_t kNotADigit = 0xFF;

constexpr std::array<std::uint8_t, 256> make_values() {
  std::array<std::uint8_t, 256> values{};
  for (auto& value : values) value = kNotADigit;
  for (std::size_t i = 0; i < kAlphabet.size(); ++i)
    values[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::uint8_t>(i);
  return values;
}
constexpr std::array<std::uint8_t, 256> kValues = make_values();

std::uint32_t value_of(char digit) { return kValues[static_cast<unsigned char>(digit)]; }

}  // namespace

std::optional<std::size_t> append_base64_decoded(std::string_view text, std::string& out) {
  if (text.size() % 4 != 0) return std::nullopt;
  if (text.empty()) return 0;
  std::size_t padding = 0;
  while (padding < 2 && text[text.size() - 1 - padding] == '=') ++padding;

  const std::size_t before = out.size();
  const std::size_t decoded = text.size() / 4 * 3 - padding;
  out.resize(before + decoded);
  char* to = out.data() + before;
  const std::size_t whole = padding == 0 ? text.size() : text.size() - 4;
  for (std::size_t i = 0; i < whole; i += 4) {
    const std::uint32_t a = value_of(text[i]);
    const std::uint32_t b = value_of(text[i + 1]);
    const std::uint32_t c = value_of(text[i + 2]);
    const std::uint32_t d = value_of(text[i + 3]);
    if (((a | b | c | d) & 0xC0U) != 0) {
      out.resize(before);
      return std::nullopt;
    }
    const std::uint32_t bits = a << 18 | b << 12 | c << 6 | d;
    *to++ = static_cast<char>(bits >> 16);
    *to++ = static_cast<char>(bits >> 8 & 0xFF);
    *to++ = static_cast<char>(bits & 0xFF);
  }
  if (padding != 0) {
    const std::uint32_t a = value_of(text[whole]);
    const std::uint32_t b = value_of(text[whole + 1]);
    const std::uint32_t c = padding == 1 ? value_of(text[whole + 2]) : 0;
    // Bits that stand for no byte must be zero: else two texts would mean the same bytes.
    const std::uint32_t stray = padding == 1 ? c & 0x03U : b & 0x0FU;
    if (((a | b | c) & 0xC0U) != 0 || stray != 0) {
      out.resize(before);
      return std::nullopt;
    }
    const std::uint32_t bits = a << 18 | b << 12 | c << 6;
    *to++ = static_cast<char>(bits >> 16);
    if (padding == 1) *to++ = static_cast<char>(bits >> 8 & 0xFF);
  }
  return decoded;
}

void append_base64(std::string_view bytes, std::string& out) {
  out.reserve(out.size() + (bytes.size() + 2) / 3 * 4);
  std::size_t i = 0;
  const auto at = [&](std::size_t index) {
    return static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[index]));
  };
  for (; i + 3 <= bytes.size(); i += 3) {
    const std::uint32_t bits = at(i) << 16 | at(i + 1) << 8 | at(i + 2);
    for (const unsigned shift : {18U, 12U, 6U, 0U}) out += kAlphabet[bits >> shift & 0x3F];
  }
  const std::size_t rest = bytes.size() - i;
  if (rest == 0) return;
  const std::uint32_t bits = at(i) << 16 | (rest == 2 ? at(i + 1) << 8 : 0);
  out += kAlphabet[bits >> 18 & 0x3F];
  out += kAlphabet[bits >> 12 & 0x3F];
  out += rest == 2 ? kAlphabet[bits >> 6 & 0x3F] : '=';
  out += '=';
}

}  // namespace millrace
