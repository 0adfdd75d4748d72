#include "pipeline/forward_note.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cstdint>

#include "core/check.h"

namespace millrace {
namespace {

constexpr std::string_view kTag = "mf1";

struct Field {
  char letter;
  std::uint64_t Books::*member;
};
constexpr std::array<Field, 7> kFields = {{{'r', &Books::records},
                                           {'e', &Books::empty},
                                           {'n', &Books::read},
                                           {'a', &Books::accepted},
                                           {'d', &Books::dead_lettered},
                                           {'s', &Books::skipped},
                                           {'y', &Books::anonymous}}};

}  // namespace

std::string print_forward_note(const Books& books) {
  MILLRACE_CHECK(books.waiting() == 0);
  std::string text(kTag);
  for (const auto& field : kFields)
    text += fmt::format(" {}={}", field.letter, books.*field.member);
  return text;
}

Result<Books> parse_forward_note(std::string_view text) {
  const auto next_word = [&text] {
    const auto end = std::min(text.find(' '), text.size());
    const auto word = text.substr(0, end);
    text.remove_prefix(std::min(text.size(), end + 1));
    return word;
  };
  if (text.empty()) {
    return fail(ErrorKind::refused,
                "its position was committed by another program (there is no note of millrace's "
                "forwarder with it)");
  }
  const auto tag = next_word();
  if (tag != kTag) {
    const bool newer = tag.size() > 2 && tag.substr(0, 2) == "mf" &&
                       tag.find_first_not_of("0123456789", 2) == std::string_view::npos;
    return newer ? fail(ErrorKind::refused,
                        "its position was committed by a newer release of "
                        "millrace: run that release")
                 : fail(ErrorKind::refused,
                        "its position was committed by another program or pipeline (the note with "
                        "it is not of millrace's forwarder)");
  }
  const auto garbled = [] {
    return fail(ErrorKind::refused, "the forwarder's note with its position is damaged");
  };
  Books books;
  unsigned seen = 0;
  while (!text.empty()) {
    const auto word = next_word();
    if (word.size() < 3 || word[1] != '=') return garbled();
    for (std::size_t index = 0; index < kFields.size(); ++index) {
      if (kFields[index].letter != word[0]) continue;
      std::uint64_t number = 0;
      const auto [end, error] = std::from_chars(word.data() + 2, word.data() + word.size(), number);
      if (error != std::errc{} || end != word.data() + word.size()) return garbled();
      if ((seen & (1u << index)) != 0) return garbled();
      seen |= 1u << index;
      books.*kFields[index].member = number;
    }
  }
  if (seen != (1u << kFields.size()) - 1 ||
      books.read != books.accepted + books.dead_lettered + books.skipped) {
    return garbled();
  }
  return books;
}

}  // namespace millrace
