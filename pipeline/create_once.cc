#include "pipeline/create_once.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

#include "lake/byte_reader.h"
#include "lake/decompress.h"

namespace millrace {
namespace {

class TextReader final : public ByteReader {
 public:
  explicit TextReader(std::string_view text) : text_(text) {}
  Result<std::size_t> read(char* buffer, std::size_t capacity) override {
    const std::size_t count = std::min(capacity, text_.size());
    std::memcpy(buffer, text_.data(), count);
    text_.remove_prefix(count);
    return count;
  }

 private:
  std::string_view text_;
};

// The decompressed content of an object's bytes, piece by piece.
class Content {
 public:
  Content(std::string_view bytes, const std::string& name) : text_(bytes), reader_(text_, name) {}

  // Fills the buffer but at the end of the content.
  Result<std::size_t> read(char* buffer, std::size_t capacity) {
    std::size_t filled = 0;
    while (filled < capacity) {
      const auto count = reader_.read(buffer + filled, capacity - filled);
      if (!count) return fail(count.error());
      if (*count == 0) break;
      filled += *count;
    }
    return filled;
  }

 private:
  TextReader text_;
  Decompressor reader_;
};

using Piece = std::array<char, 64u << 10>;

Result<std::uint64_t> content_length(std::string_view bytes, const std::string& name) {
  Content content(bytes, name);
  Piece piece;
  std::uint64_t length = 0;
  for (;;) {
    const auto count = content.read(piece.data(), piece.size());
    if (!count) return fail(count.error());
    if (*count == 0) return length;
    length += *count;
  }
}

// Whether the content of `theirs` ends with that of `ours`, line for line.
Result<Creation> compare(std::string_view theirs, std::string_view ours, const std::string& name) {
  const auto their_length = content_length(theirs, name);
  if (!their_length) return fail(their_length.error());
  const auto our_length = content_length(ours, name);
  if (!our_length) return fail(our_length.error());
  const auto different = [&] {
    return fail(ErrorKind::corrupt,
                "the lake already holds " + name +
                    " with other content than the records of this cut; compare it with the log, "
                    "and move it out of the lake if it is wrong");
  };
  if (*their_length < *our_length) return different();
  std::uint64_t ahead = *their_length - *our_length;
  Content their_content(theirs, name);
  Content our_content(ours, name);
  Piece their_piece;
  Piece our_piece;
  char before = '\n';
  while (ahead > 0) {
    const auto wanted = std::min<std::uint64_t>(ahead, their_piece.size());
    const auto count = their_content.read(their_piece.data(), static_cast<std::size_t>(wanted));
    if (!count) return fail(count.error());
    if (*count == 0) return different();
    before = their_piece[*count - 1];
    ahead -= *count;
  }
  if (before != '\n') return different();
  for (;;) {
    const auto their_count = their_content.read(their_piece.data(), their_piece.size());
    if (!their_count) return fail(their_count.error());
    const auto our_count = our_content.read(our_piece.data(), our_piece.size());
    if (!our_count) return fail(our_count.error());
    if (*their_count != *our_count ||
        std::memcmp(their_piece.data(), our_piece.data(), *our_count) != 0) {
      return different();
    }
    if (*our_count == 0) break;
  }
  return *their_length == *our_length ? Creation::before : Creation::longer;
}

}  // namespace

Result<Creation> create_once(ObjectStore& store, const std::string& key, std::string_view bytes) {
  const auto put = store.put(key, bytes, PutIf::absent());
  if (put) return Creation::now;
  if (put.error().kind != ErrorKind::conflict) {
    return fail(put.error().while_doing("creating " + store.url_of(key)));
  }
  const auto there = store.get(key);
  if (!there) {
    Error error = there.error();
    // Gone between the two calls: the next try creates it.
    if (error.kind == ErrorKind::not_found) error.kind = ErrorKind::transient;
    return fail(error.while_doing("comparing with " + store.url_of(key)));
  }
  if (there->bytes == bytes) return Creation::before;
  return compare(there->bytes, bytes, store.url_of(key));
}

}  // namespace millrace
