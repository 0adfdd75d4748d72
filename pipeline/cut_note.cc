#include "pipeline/cut_note.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "core/check.h"
#include "ingest/source.h"

namespace millrace {
namespace {

template <class Number>
bool parse_number(std::string_view text, Number& out, int base = 10) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, base);
  return error == std::errc() && end == text.data() + text.size();
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

// What a person may see of a note that is not ours.
std::string shown(std::string_view text) {
  std::string out(text.substr(0, 120));
  std::replace_if(
      out.begin(), out.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return out;
}

}  // namespace

RecordBooks& RecordBooks::operator+=(const RecordBooks& other) {
  read += other.read;
  stored += other.stored;
  dead_lettered += other.dead_lettered;
  empty += other.empty;
  return *this;
}

std::string incarnation_text(std::uint32_t incarnation) {
  return fmt::format("{:08x}", incarnation);
}

std::string print_cut_note(const CutNote& note) {
  std::string text = fmt::format(
      "mr1 i={} w={} n={} r={} s={} d={} e={}", incarnation_text(note.incarnation), kWriterFormat,
      note.objects, note.books.read, note.books.stored, note.books.dead_lettered, note.books.empty);
  if (note.intent) {
    text += fmt::format(" c={} m={:x} l={}", note.intent->end.text(), note.intent->mapping,
                        note.intent->layout.to_text());
  }
  MILLRACE_CHECK(text.size() <= kNoteBytesMax);
  return text;
}

Result<CutNote> parse_cut_note(std::string_view text) {
  const auto words = split(text, ' ');
  if (words[0] != "mr1") {
    std::uint32_t version = 0;
    if (words[0].substr(0, 2) == "mr" && parse_number(words[0].substr(2), version)) {
      return fail(ErrorKind::refused,
                  fmt::format("its note is of form {}, written by a newer millrace; run that "
                              "release, or one that is newer still",
                              words[0]));
    }
    return fail(ErrorKind::refused,
                "its note is not millrace's, so another program or a reset tool moved it; records "
                "may reach the lake twice or not at all if it is taken as it is. To take it as it "
                "is, run once with --adopt position");
  }
  CutNote note;
  CutNote::Intent intent;
  int writer = 0;
  Result<CutLayout> layout{};
  bool has_incarnation = false, has_end = false, has_layout = false, good = true;
  for (std::size_t i = 1; i < words.size(); ++i) {
    const std::string_view word = words[i];
    if (word.size() < 2 || word[1] != '=') continue;
    const std::string_view value = word.substr(2);
    switch (word[0]) {
      case 'i':
        has_incarnation = value.size() == 8 && parse_number(value, note.incarnation, 16);
        break;
      case 'w':
        good = good && parse_number(value, writer);
        break;
      case 'n':
        good = good && parse_number(value, note.objects);
        break;
      case 'r':
        good = good && parse_number(value, note.books.read);
        break;
      case 's':
        good = good && parse_number(value, note.books.stored);
        break;
      case 'd':
        good = good && parse_number(value, note.books.dead_lettered);
        break;
      case 'e':
        good = good && parse_number(value, note.books.empty);
        break;
      case 'c':
        good = good && (has_end = parse_position(value, intent.end));
        break;
      case 'm':
        good = good && parse_number(value, intent.mapping, 16);
        break;
      case 'l':
        has_layout = true;
        layout = CutLayout::parse(value);
        break;
      default:
        break;
    }
  }
  if (!layout && layout.error().kind == ErrorKind::refused) return fail(layout.error());
  if (good && writer > kWriterFormat) {
    return fail(ErrorKind::refused,
                fmt::format("its note asks for writer format {}, and this release writes up to {}; "
                            "run the newer release",
                            writer, kWriterFormat));
  }
  if (!good || !layout || writer <= 0 || !has_incarnation || has_end != has_layout) {
    return fail(ErrorKind::refused,
                fmt::format("its note is damaged ('{}'); to forget it and take the position as it "
                            "is, run once with --adopt position",
                            shown(text)));
  }
  if (has_end) {
    intent.layout = std::move(*layout);
    note.intent = std::move(intent);
  }
  return note;
}

std::uint32_t mapping_of(const DecodeOptions& options) {
  // FNV-1a, 32 bits, over every option with its length: small, and the same on every machine.
  std::uint32_t hash = 2166136261u;
  const auto add_byte = [&](unsigned char byte) { hash = (hash ^ byte) * 16777619u; };
  const auto add = [&](std::string_view text) {
    for (const char c : std::to_string(text.size()) + ":") add_byte(static_cast<unsigned char>(c));
    for (const char c : text) add_byte(static_cast<unsigned char>(c));
  };
  // Which events are valid depends on user, item, time and type; nothing else does.
  for (const auto* pointers :
       {&options.fields.user_id, &options.fields.session_id, &options.fields.item_id,
        &options.fields.timestamp, &options.fields.event_type}) {
    add(std::to_string(pointers->size()));
    for (const std::string& pointer : *pointers) add(pointer);
  }
  add(std::to_string(static_cast<int>(options.format)));
  add(options.timestamp_from_arrival ? "arrival" : "");
  return hash;
}

}  // namespace millrace
