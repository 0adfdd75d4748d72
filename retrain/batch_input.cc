#include "retrain/batch_input.h"

#include <fmt/format.h>

#include <charconv>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "aws/json_text.h"

namespace millrace {
namespace {

constexpr std::size_t kChunkBytes = 1u << 16;
constexpr std::size_t kLineBytesMax = 8u << 20;  // no row of an interactions CSV comes near

/// The cells of one line: quoted cells lose their quotes, and a backslash gives the next character
/// as it is. False when a quote is not closed.
bool split_cells(std::string_view line, std::vector<std::string>& cells) {
  cells.clear();
  std::string cell;
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quoted && c == '\\' && i + 1 < line.size()) {
      cell += line[++i];
    } else if (c == '"') {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      cells.push_back(std::move(cell));
      cell.clear();
    } else {
      cell += c;
    }
  }
  cells.push_back(std::move(cell));
  return !quoted;
}

/// Lines without their ends; nothing at the end of the file.
class LineReader {
 public:
  explicit LineReader(ObjectReader& source) : source_(source) {}

  Result<std::optional<std::string_view>> next() {
    while (true) {
      const std::size_t end = buffer_.find('\n', searched_);
      if (end != std::string::npos) {
        const std::string_view line = std::string_view(buffer_).substr(begin_, end - begin_);
        begin_ = searched_ = end + 1;
        return line;
      }
      if (ended_) {
        if (begin_ == buffer_.size()) return std::nullopt;
        const std::string_view line = std::string_view(buffer_).substr(begin_);
        begin_ = searched_ = buffer_.size();
        return line;
      }
      buffer_.erase(0, begin_);
      begin_ = 0;
      searched_ = buffer_.size();
      if (buffer_.size() > kLineBytesMax)
        return fail(ErrorKind::corrupt, fmt::format("a line of more than {} bytes", kLineBytesMax));
      buffer_.resize(searched_ + kChunkBytes);
      const auto got = source_.read(buffer_.data() + searched_, kChunkBytes);
      buffer_.resize(searched_ + (got ? *got : 0));
      if (!got) return fail(got.error());
      ended_ = *got == 0;
    }
  }

 private:
  ObjectReader& source_;
  std::string buffer_{};
  std::size_t begin_ = 0;
  std::size_t searched_ = 0;
  bool ended_ = false;
};

}  // namespace

Result<std::uint64_t> write_users(ObjectReader& csv, ObjectWriter& writer,
                                  std::optional<std::int64_t> active_since_s,
                                  std::size_t users_max) {
  LineReader lines(csv);
  std::vector<std::string> cells;
  const auto header = lines.next();
  if (!header) return fail(header.error());
  std::optional<std::size_t> user_column;
  std::optional<std::size_t> time_column;
  if (*header && split_cells(**header, cells)) {
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (cells[i] == "USER_ID") user_column = i;
      if (cells[i] == "TIMESTAMP") time_column = i;
    }
  }
  if (!user_column || !time_column)
    return fail(ErrorKind::corrupt, "the CSV's first line does not name USER_ID and TIMESTAMP");

  std::unordered_set<std::string> users;
  std::string out;
  std::uint64_t line_number = 1;
  while (true) {
    const auto line = lines.next();
    if (!line) return fail(line.error());
    if (!*line) break;
    ++line_number;
    if ((*line)->empty()) continue;
    std::int64_t seconds = 0;
    if (!split_cells(**line, cells) || cells.size() <= std::max(*user_column, *time_column))
      return fail(ErrorKind::corrupt,
                  fmt::format("line {} of the CSV has too few columns", line_number));
    const std::string& time = cells[*time_column];
    const auto parsed = std::from_chars(time.data(), time.data() + time.size(), seconds);
    if (parsed.ec != std::errc() || parsed.ptr != time.data() + time.size())
      return fail(ErrorKind::corrupt,
                  fmt::format("line {} of the CSV has no whole second in TIMESTAMP", line_number));
    if (active_since_s && seconds < *active_since_s) continue;
    const auto [user, is_new] = users.insert(std::move(cells[*user_column]));
    if (!is_new) continue;
    if (users.size() > users_max)
      return fail(ErrorKind::refused,
                  fmt::format("more than {} users for batch inference: choose `users: active` or "
                              "your own file",
                              users_max));
    out += "{\"userId\":";
    append_json_string(*user, out);
    out += "}\n";
    if (out.size() >= kChunkBytes) {
      if (auto written = writer.write(out); !written) return fail(written.error());
      out.clear();
    }
  }
  if (auto written = writer.write(out); !written) return fail(written.error());
  return users.size();
}

}  // namespace millrace
