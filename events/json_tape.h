// JSON (RFC 8259), read strictly and exactly: numbers keep their digits, texts their escapes, and
// nothing is built but a flat list of where each value stands.
//
// Why our own: simdjson 3.0's DOM loses the digits of fractions and the producer's text of objects,
// finds the first of repeated keys, and refuses lone surrogates, 1e400, large integers and `}{`;
// its on-demand reader accepts broken tails that it never visits. One strict reader gives one
// verdict. simdjson checks the UTF-8 in front of it, and stands beside it in the tests and the
// bench.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace millrace {

/// One value (or an object's key), in the order of the text. After an object follow its members,
/// key and value by turns; after a list its entries. `next` is the node behind the whole value.
struct JsonNode {
  enum class Kind : std::uint8_t {
    null_value,
    true_value,
    false_value,
    number,
    text,
    object,
    list
  };
  Kind kind = Kind::null_value;
  bool escaped = false;     // a text with at least one backslash
  std::uint32_t begin = 0;  // bytes of the text, quotes and brackets included
  std::uint32_t end = 0;
  std::uint32_t next = 0;
};

/// Not thread-safe; reused from text to text without giving memory back.
class JsonTape {
 public:
  /// Objects and lists around a value; a sound app has less than ten. The one bound of both sinks,
  /// and one that the programs which read the lake share (Jackson's default limit is 1,000,
  /// simdjson's 1,024; ours leaves room for what they wrap around a line).
  static constexpr std::size_t kDepthMax = 900;
  /// Positions are 32 bits wide.
  static constexpr std::size_t kTextBytesMax = UINT32_MAX;

  /// Reads all values of `text`, which may stand behind each other without a separator (a number or
  /// a bare word must still end at a blank, a bracket or a quote). False: not JSON; the tape then
  /// holds nothing of use. Blanks only: true, and no roots. `text` must outlive the tape's use; it
  /// is not checked for UTF-8.
  bool read_all(std::string_view text);

  /// Reads exactly one value with nothing but blanks around it.
  bool read_one(std::string_view text);

  /// The nodes of the values on top.
  [[nodiscard]] const std::vector<std::uint32_t>& roots() const { return roots_; }
  [[nodiscard]] const JsonNode& node(std::uint32_t index) const { return nodes_[index]; }

  /// The value as written.
  [[nodiscard]] std::string_view raw(std::uint32_t index) const {
    const JsonNode& node = nodes_[index];
    return text_.substr(node.begin, node.end - node.begin);
  }

  /// A text's content; `scratch` holds it when there are escapes. A half surrogate pair becomes the
  /// three bytes of its number, which is not UTF-8. REQUIRES: kind text.
  [[nodiscard]] std::string_view text(std::uint32_t index, std::string& scratch) const;

  /// The value of a key of an object, the last one if it stands there twice. REQUIRES: kind object.
  [[nodiscard]] std::optional<std::uint32_t> member(std::uint32_t object, std::string_view key,
                                                    std::string& scratch) const;

  /// One step of an RFC 6901 pointer: a member of an object, or an entry of a list by its number
  /// (digits without leading zeros). Nothing when there is none, or of other kinds.
  [[nodiscard]] std::optional<std::uint32_t> step(std::uint32_t from, const std::string& step,
                                                  std::string& scratch) const;

 private:
  bool read_value(std::size_t& at);
  bool read_text(std::size_t& at, bool& escaped) const;

  std::string_view text_{};
  std::vector<JsonNode> nodes_{};
  std::vector<std::uint32_t> roots_{};
  std::vector<std::uint32_t> open_{};  // containers not closed yet
};

/// Appends the content of a JSON text written as `inside` (without its quotes, escapes sound).
void append_unescaped(std::string_view inside, std::string& out);

/// The steps of an RFC 6901 pointer with `~0` and `~1` undone; nothing when it is neither empty nor
/// begins with `/`. (`~` before anything else stays as it is.)
std::optional<std::vector<std::string>> json_pointer_steps(std::string_view pointer);

/// A JSON number by RFC 8259's grammar, from `at`; the offset behind it, or nothing.
std::optional<std::size_t> scan_json_number(std::string_view text, std::size_t at);

}  // namespace millrace
