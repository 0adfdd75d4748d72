#include "lake/rows.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <unordered_map>

#include "events/json_tape.h"
#include "events/time_value.h"
#include "events/utf8.h"
#include "lake/delimited.h"
#include "lake/peek_reader.h"

namespace millrace {
namespace {

using Step = RowReader::Step;

constexpr std::size_t kHeadBytes = 64u << 10;
constexpr std::size_t kRawBytesMax = 64u << 10;
constexpr std::size_t kNamesShownMax = 30;
// Spellings of member names remembered; beyond it (hostile data) names are looked up each time.
constexpr std::size_t kNamesRememberedMax = 1000;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

enum Field : std::size_t {
  kUserId,
  kItemId,
  kTimestamp,
  kEventType,
  kEventValue,
  kSessionId,
  kEventId,
  kProperties,
  kImpression,
  kRecommendationId,
  kFieldCount
};
// The last three are taken from JSON only, or by --map.
constexpr std::size_t kColumnFieldCount = kProperties;
constexpr std::array<std::string_view, kFieldCount> kFieldNames{
    "user_id",    "item_id",  "timestamp",  "event_type", "event_value",
    "session_id", "event_id", "properties", "impression", "recommendation_id"};

// What such columns are called, in lower case without punctuation; the first that is there wins.
const std::array<std::vector<std::string_view>, kFieldCount> kSynonyms{{
    {"userid", "user", "uid", "customerid", "customer", "visitorid", "clientid", "memberid",
     "accountid", "reviewerid", "profileid", "personid"},
    {"itemid", "item", "movieid", "artistid", "productid", "product", "asin", "sku", "trackid",
     "songid", "bookid", "isbn", "articleid", "videoid", "contentid", "gameid", "newsid",
     "courseid"},
    {"timestamp", "time", "eventtime", "sentat", "unixtimestamp", "unixtime", "ts", "datetime",
     "eventdate", "createdat", "unixreviewtime", "date"},
    {"eventtype", "event", "action", "behavior", "behaviour", "interactiontype", "actiontype"},
    {"eventvalue", "rating", "score", "stars", "overall", "value"},
    {"sessionid", "usersession", "session"},
    {"eventid"},
    {"properties"},
    {"impression"},
    {"recommendationid"},
}};

std::optional<Field> field_of(std::string_view name) {
  for (std::size_t i = 0; i < kFieldCount; ++i) {
    if (kFieldNames[i] == name) return static_cast<Field>(i);
  }
  return std::nullopt;
}

// "User ID" and "user_id:token" (as RecBole writes it) are both "userid".
std::string plain_name(std::string_view name) {
  std::string plain;
  for (const char c : name.substr(0, name.find(':'))) {
    if (c >= 'A' && c <= 'Z') {
      plain += static_cast<char>(c - 'A' + 'a');
    } else if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
               static_cast<unsigned char>(c) >= 0x80) {
      plain += c;
    }
  }
  return plain;
}

struct NameMatch {
  std::size_t field = kFieldCount;
  std::size_t rank = 0;  // the lower the better
};

std::optional<NameMatch> match_of(std::string_view name) {
  const std::string plain = plain_name(name);
  for (std::size_t field = 0; field < kFieldCount; ++field) {
    const auto& synonyms = kSynonyms[field];
    const auto found = std::find(synonyms.begin(), synonyms.end(), plain);
    if (found != synonyms.end()) {
      return NameMatch{field, static_cast<std::size_t>(found - synonyms.begin())};
    }
  }
  return std::nullopt;
}

std::string base_name(std::string_view path) {
  path = path.substr(path.find_last_of('/') + 1);
  for (const std::string_view ending : {".gz", ".gzip", ".zst", ".zstd"}) {
    if (path.ends_with(ending)) path.remove_suffix(ending.size());
  }
  return std::string(path);
}

bool all_digits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

void append_json_text(std::string_view text, std::string& out) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20) {
      out += "\\u00";
      out += kDigits[byte >> 4U];
      out += kDigits[byte & 15U];
    } else {
      out += c;
    }
  }
  out += '"';
}

void append_key(std::size_t field, std::string& out) {
  out += out.size() > 1 ? ",\"" : "\"";
  out += kFieldNames[field];
  out += "\":";
}

// Line breaks in JSON stand between tokens only, so a blank does as well.
void append_on_one_line(std::string_view json, std::string& out) {
  const std::size_t begin = out.size();
  out += json;
  std::replace_if(
      out.begin() + static_cast<std::ptrdiff_t>(begin), out.end(),
      [](char c) { return c == '\n' || c == '\r'; }, ' ');
}

std::string escaped_column(std::string_view column) {
  std::string out;
  for (const char c : column) {
    if (c == ',' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string quoted_list(const std::vector<std::string>& names) {
  std::string out;
  for (std::size_t i = 0; i < names.size() && i < kNamesShownMax; ++i) {
    if (i > 0) out += ", ";
    append_json_text(names[i], out);
  }
  if (names.size() > kNamesShownMax) out += ", …";
  return out;
}

// `found` are the columns by field that are known, as --map would have them; empty: not known.
Error unmapped(const std::string& name, const std::vector<std::string>& header,
               const std::array<std::string, kFieldCount>& found, std::string_view what_column_is) {
  std::string missing;
  std::string example;
  for (const Field field : {kUserId, kItemId, kTimestamp}) {
    if (found[field].empty())
      missing += (missing.empty() ? "" : ", ") + std::string(kFieldNames[field]);
    example += (example.empty() ? "" : ",") + std::string(kFieldNames[field]) + '=' +
               (found[field].empty() ? "COL" : escaped_column(found[field]));
  }
  return {ErrorKind::invalid,
          name + ": no column for " + missing + " among " + quoted_list(header) +
              "; say which: --map " + example + ", where COL is " + std::string(what_column_is),
          {},
          std::nullopt};
}

// Rows of columns

struct Shape {
  std::string delimiter{};
  bool header = true;
  std::array<std::size_t, kFieldCount> columns{};  // from 1; 0: none
};

std::string_view delimiter_word(std::string_view delimiter) {
  if (delimiter == "\t") return "tab";
  if (delimiter == ",") return "comma";
  if (delimiter == ";") return "semicolon";
  if (delimiter == "|") return "bar";
  return delimiter;
}

std::string delimiter_of(std::string_view first_line) {
  std::string best = ",";
  std::size_t most = 0;
  for (const std::string_view candidate : {"\t", "::", ";", ",", "|"}) {
    std::size_t count = 0;
    bool quoted = false;
    for (std::size_t at = 0; at < first_line.size(); ++at) {
      if (first_line[at] == '"') quoted = !quoted;
      if (!quoted && first_line.substr(at, candidate.size()) == candidate) ++count;
    }
    if (count > most) {
      most = count;
      best = candidate;
    }
  }
  return best;
}

class ColumnRows final : public RowReader {
 public:
  static Result<std::unique_ptr<RowReader>> open(std::unique_ptr<PeekReader> source,
                                                 const std::string& name, RowOptions options,
                                                 std::string_view first_line) {
    const std::string base = base_name(name);
    Shape shape;
    if (base == "u.data") {
      shape = {"\t", false, {}};
    } else if (base == "ratings.dat" && first_line.find("::") != std::string_view::npos) {
      shape = {"::", false, {}};
    } else {
      shape.delimiter = delimiter_of(first_line);
    }
    if (!shape.header && options.map.empty()) {
      shape.columns[kUserId] = 1;
      shape.columns[kItemId] = 2;
      shape.columns[kEventValue] = 3;
      shape.columns[kTimestamp] = 4;
    }
    auto rows = std::unique_ptr<ColumnRows>(
        new ColumnRows(std::move(source), std::move(shape), options.row_bytes_max));
    if (Status found = rows->find_columns(name, options.map); !found) return fail(found.error());
    return std::unique_ptr<RowReader>(std::move(rows));
  }

  Result<Step> next() override {
    if (!first_is_row_) {
      const auto step = reader_.next();
      if (!step) return fail(step.error());
      if (*step == DelimitedReader::Step::end) return Step::end;
      rejected_ = *step == DelimitedReader::Step::reject;
    }
    first_is_row_ = false;
    ++row_;
    line_ = reader_.line();
    raw_ = reader_.raw();
    if (rejected_) {
      reason_ = reader_.reason();
      return Step::reject;
    }
    const auto& cells = reader_.cells();
    if (cells.size() != column_count_) {
      reason_ =
          std::to_string(cells.size()) + " columns instead of " + std::to_string(column_count_);
      return Step::reject;
    }
    if (!valid_utf8(raw_)) {
      reason_ = "not UTF-8";
      return Step::reject;
    }
    json_ = "{";
    for (std::size_t field = 0; field < kFieldCount; ++field) {
      const std::size_t column = shape_.columns[field];
      if (column == 0) continue;
      const std::string_view cell = cells[column - 1];
      if (cell.empty() || (cell == "NA" && !reader_.quoted(column - 1))) continue;
      append_key(field, json_);
      append_json_text(cell, json_);
    }
    json_ += '}';
    return Step::row;
  }

 private:
  ColumnRows(std::unique_ptr<PeekReader> source, Shape shape, std::size_t row_bytes_max)
      : source_(std::move(source)),
        shape_(std::move(shape)),
        reader_(*source_, {.delimiter = shape_.delimiter,
                           .quotes = shape_.delimiter == "," || shape_.delimiter == ";",
                           .record_bytes_max = row_bytes_max}) {}

  Status find_columns(const std::string& name, const RowMap& map) {
    const auto first = reader_.next();
    if (!first) return fail(first.error());
    if (*first != DelimitedReader::Step::record) {
      return fail(ErrorKind::invalid,
                  name + ": its first line cannot be read: " + std::string(reader_.reason()));
    }
    std::vector<std::string> header;
    for (const std::string_view cell : reader_.cells()) header.emplace_back(cell);
    column_count_ = header.size();

    const bool by_number =
        !map.empty() && std::all_of(map.columns.begin(), map.columns.end(),
                                    [](const auto& column) { return all_digits(column.second); });
    for (const auto& [field_name, column] : map.columns) {
      const auto found = column_of(column, header, shape_.header && !by_number);
      if (!found) {
        return fail(ErrorKind::invalid, name + ": no column \"" + column + "\" for " + field_name +
                                            "; the first line has " +
                                            std::to_string(column_count_) + ": " +
                                            quoted_list(header));
      }
      shape_.columns[*field_of(field_name)] = *found;
    }
    if (by_number) {
      const std::size_t time = shape_.columns[kTimestamp];
      shape_.header = !read_time_text(header[time - 1]).ok();
    } else if (map.empty() && shape_.header) {
      if (Status found = find_by_names(name, header); !found) return found;
    }
    if (std::any_of(shape_.columns.begin(), shape_.columns.end(),
                    [&](std::size_t column) { return column > column_count_; })) {
      return fail(ErrorKind::invalid, name + ": its first line has only " +
                                          std::to_string(column_count_) +
                                          " columns: " + quoted_list(header));
    }
    first_is_row_ = !shape_.header;

    description_ =
        std::string(delimiter_word(shape_.delimiter)) + (shape_.header ? "; " : ", no header; ");
    bool some = false;
    for (std::size_t field = 0; field < kFieldCount; ++field) {
      if (shape_.columns[field] == 0) continue;
      description_ += (some ? "," : "") + std::string(kFieldNames[field]) + '=';
      description_ += shape_.header ? escaped_column(header[shape_.columns[field] - 1])
                                    : std::to_string(shape_.columns[field]);
      some = true;
    }
    return {};
  }

  static std::optional<std::size_t> column_of(const std::string& column,
                                              const std::vector<std::string>& header,
                                              bool has_header) {
    if (has_header) {
      const auto exact = std::find(header.begin(), header.end(), column);
      if (exact != header.end()) return static_cast<std::size_t>(exact - header.begin()) + 1;
      const std::string plain = plain_name(column);
      const auto like = std::find_if(header.begin(), header.end(), [&](const std::string& name) {
        return !plain.empty() && plain_name(name) == plain;
      });
      if (like != header.end()) return static_cast<std::size_t>(like - header.begin()) + 1;
    }
    std::size_t number = 0;
    const auto read = std::from_chars(column.data(), column.data() + column.size(), number);
    if (read.ec != std::errc{} || read.ptr != column.data() + column.size() || number == 0 ||
        number > header.size()) {
      return std::nullopt;
    }
    return number;
  }

  Status find_by_names(const std::string& name, const std::vector<std::string>& header) {
    std::array<std::size_t, kFieldCount> ranks{};
    for (std::size_t i = 0; i < header.size(); ++i) {
      const auto match = match_of(header[i]);
      if (!match || match->field >= kColumnFieldCount) continue;
      if (shape_.columns[match->field] != 0 && ranks[match->field] <= match->rank) continue;
      shape_.columns[match->field] = i + 1;
      ranks[match->field] = match->rank;
    }
    std::array<std::string, kFieldCount> found{};
    bool complete = true;
    for (const Field field : {kUserId, kItemId, kTimestamp}) {
      if (shape_.columns[field] == 0) {
        complete = false;
      } else {
        found[field] = header[shape_.columns[field] - 1];
      }
    }
    if (complete) return {};
    return fail(unmapped(name, header, found, "a column's name or number (from 1)"));
  }

  std::unique_ptr<PeekReader> source_;
  Shape shape_;
  DelimitedReader reader_;
  std::size_t column_count_ = 0;
  bool first_is_row_ = false;  // the reader stands on a row that was not given yet
  bool rejected_ = false;
};

// Rows of JSON

// Takes the mapped members of an object.
class ObjectMapper {
 public:
  Status use(const RowMap& map) {
    for (const auto& [field_name, column] : map.columns) {
      std::optional<std::vector<std::string>> steps{std::vector<std::string>{column}};
      if (column.starts_with('/')) steps = json_pointer_steps(column);
      pointers_.emplace_back(*field_of(field_name), std::move(*steps));
    }
    return {};
  }

  void map(const JsonTape& tape, std::uint32_t object, std::string& out) {
    if (is_envelope(tape, object)) {
      append_envelope(tape, object, out);
      return;
    }
    find(tape, object);
    out += '{';
    for (std::size_t field = 0; field < kFieldCount; ++field) {
      if (!found_[field] || tape.node(*found_[field]).kind == JsonNode::Kind::null_value) continue;
      append_key(field, out);
      append_on_one_line(tape.raw(*found_[field]), out);
    }
    out += '}';
  }

  // Whether user, item and time are there; else the error that shows the names.
  Status check(const JsonTape& tape, std::uint32_t object, const std::string& name) {
    if (is_envelope(tape, object)) return {};
    find(tape, object);
    // An item may stand inside of properties, where EventDecoder finds it.
    const bool who = found_[kUserId] || found_[kSessionId];
    const bool what = found_[kItemId] || found_[kProperties];
    if (who && what && found_[kTimestamp]) return {};
    std::vector<std::string> names;
    std::array<std::string, kFieldCount> known{};
    const std::uint32_t end = tape.node(object).next;
    for (std::uint32_t at = object + 1; at < end; at = tape.node(at + 1).next) {
      std::string member(tape.text(at, scratch_));
      for (const Field field : {kUserId, kItemId, kTimestamp}) {
        if (found_[field] == at + 1) known[field] = '/' + member;
      }
      if (valid_utf8(member)) names.push_back(std::move(member));
    }
    return fail(unmapped(name, names, known, "a JSON pointer or a member's name"));
  }

  [[nodiscard]] bool by_pointers() const { return !pointers_.empty(); }

 private:
  bool is_envelope(const JsonTape& tape, std::uint32_t object) {
    if (by_pointers()) return false;
    for (const char* key : {"event_list", "eventList"}) {
      const auto list = tape.member(object, key, scratch_);
      if (list && tape.node(*list).kind != JsonNode::Kind::null_value) return true;
    }
    return false;
  }

  // As written, without the `_source` of a lake that it may come from: that would stand there
  // twice.
  void append_envelope(const JsonTape& tape, std::uint32_t object, std::string& out) {
    if (!tape.member(object, "_source", scratch_)) return append_on_one_line(tape.raw(object), out);
    out += '{';
    const std::uint32_t end = tape.node(object).next;
    for (std::uint32_t at = object + 1; at < end; at = tape.node(at + 1).next) {
      if (tape.text(at, scratch_) == "_source") continue;
      if (out.back() != '{') out += ',';
      out += tape.raw(at);
      out += ':';
      append_on_one_line(tape.raw(at + 1), out);
    }
    out += '}';
  }

  void find(const JsonTape& tape, std::uint32_t object) {
    found_.fill(std::nullopt);
    for (const auto& [field, steps] : pointers_) {
      std::optional<std::uint32_t> node = object;
      for (const std::string& step : steps) {
        if (node) node = tape.step(*node, step, scratch_);
      }
      found_[field] = node;
    }
    if (by_pointers()) return;
    std::array<std::size_t, kFieldCount> ranks{};
    const std::uint32_t end = tape.node(object).next;
    for (std::uint32_t at = object + 1; at < end; at = tape.node(at + 1).next) {
      const auto match = remembered(std::string(tape.text(at, scratch_)));
      if (!match || tape.node(at + 1).kind == JsonNode::Kind::null_value) continue;
      // Of one name written twice the last counts, as in EventDecoder.
      if (found_[match->field] && ranks[match->field] < match->rank) continue;
      found_[match->field] = at + 1;
      ranks[match->field] = match->rank;
    }
  }

  std::optional<NameMatch> remembered(const std::string& name) {
    const auto known = names_.find(name);
    if (known != names_.end()) return known->second;
    const auto match = match_of(name);
    if (names_.size() < kNamesRememberedMax) names_.emplace(name, match);
    return match;
  }

  std::vector<std::pair<Field, std::vector<std::string>>> pointers_{};
  std::array<std::optional<std::uint32_t>, kFieldCount> found_{};
  std::unordered_map<std::string, std::optional<NameMatch>> names_{};
  std::string scratch_{};
};

class JsonRows : public RowReader {
 public:
  Status open(const std::string& name, const RowMap& map, std::string_view what) {
    if (Status used = mapper_.use(map); !used) return used;
    description_ = std::string(what) + (map.empty() ? "; by names" : "; " + map.text());
    const auto step = next();
    if (!step) return fail(step.error());
    pending_ = *step;
    if (!map.empty() || *step != Step::row) return {};
    return mapper_.check(tape_, tape_.roots().at(0), name);
  }

  Result<Step> next() override {
    if (pending_) {
      const Step step = *pending_;
      pending_.reset();
      return step;
    }
    return read();
  }

 protected:
  virtual Result<Step> read() = 0;

  Step refuse(std::string_view reason) {
    ++row_;
    reason_ = reason;
    return Step::reject;
  }

  Step take(std::uint32_t root) {
    if (tape_.node(root).kind != JsonNode::Kind::object) return refuse("not an object");
    ++row_;
    json_.clear();
    mapper_.map(tape_, root, json_);
    return Step::row;
  }

  JsonTape tape_{};
  ObjectMapper mapper_{};

 private:
  std::optional<Step> pending_{};
};

// An object per line; `}{` on one line are two.
class JsonLineRows final : public JsonRows {
 public:
  JsonLineRows(std::unique_ptr<PeekReader> source, std::size_t row_bytes_max)
      : source_(std::move(source)),
        // No line holds its own end, so each is one cell.
        lines_(*source_, {.delimiter = "\n", .quotes = false, .record_bytes_max = row_bytes_max}) {}

 private:
  Result<Step> read() override {
    for (;;) {
      if (next_root_ < root_count_) return take(tape_.roots()[next_root_++]);
      root_count_ = 0;
      const auto step = lines_.next();
      if (!step) return fail(step.error());
      if (*step == DelimitedReader::Step::end) return Step::end;
      raw_ = lines_.raw();
      line_ = lines_.line();
      if (*step == DelimitedReader::Step::reject) return refuse(lines_.reason());
      if (!valid_utf8(raw_)) return refuse("not UTF-8");
      if (!tape_.read_all(raw_)) return refuse("not JSON");
      root_count_ = tape_.roots().size();
      next_root_ = 0;
    }
  }

  std::unique_ptr<PeekReader> source_;
  DelimitedReader lines_;
  std::size_t next_root_ = 0;
  std::size_t root_count_ = 0;
};

// The entries of a list, or of several behind each other.
class JsonListRows final : public JsonRows {
 public:
  JsonListRows(std::unique_ptr<PeekReader> source, std::size_t row_bytes_max)
      : source_(std::move(source)), window_(*source_), row_bytes_max_(row_bytes_max) {}

 private:
  Result<Step> read() override {
    for (;;) {
      skip_blanks();
      line_ = next_line_;
      if (!window_.has(0)) {
        if (window_.error()) return fail(*window_.error());
        if (!inside_) return Step::end;
        inside_ = false;
        raw_.clear();
        return refuse("list not closed");
      }
      if (!inside_) {
        if (window_.at(0) == '[') {
          window_.advance(1);
          inside_ = true;
          continue;
        }
        return between_lists();
      }
      const bool overlong = !take_entry();
      if (window_.error() && !window_.has(0)) return fail(*window_.error());
      const bool closed = window_.has(0) && window_.at(0) == ']';
      const bool comma = window_.has(0) && window_.at(0) == ',';
      if (closed || comma) window_.advance(1);
      inside_ = !closed && (comma || inside_);
      if (overlong) return refuse("row too long");
      if (raw_.empty() && closed) continue;
      if (!closed && !comma) {
        inside_ = false;
        return refuse("list not closed");
      }
      if (!valid_utf8(raw_)) return refuse("not UTF-8");
      if (!tape_.read_one(raw_)) return refuse("not JSON");
      return take(tape_.roots().front());
    }
  }

  void skip_blanks() {
    while (window_.has(0)) {
      const char c = window_.at(0);
      if (c != ' ' && c != '\t' && c != '\r' && c != '\n') return;
      next_line_ += c == '\n';
      window_.advance(1);
    }
  }

  // Text behind a list's end: one line of it is one reject.
  Step between_lists() {
    const auto end = window_.find('\n', 0, kRawBytesMax);
    std::size_t count = end.value_or(kRawBytesMax);
    while (count > 0 && !window_.has(count - 1)) --count;
    raw_ = window_.view(0, count);
    window_.advance(count);
    return refuse("not JSON");
  }

  // Moves the window to the comma or bracket behind an entry, or to the end; `raw_` gets the entry.
  // False: it was too long, `raw_` has its beginning.
  bool take_entry() {
    raw_.clear();
    std::size_t depth = 0;
    bool quoted = false;
    bool fits = true;
    std::size_t at = 0;
    for (; window_.has(at); ++at) {
      if (at >= row_bytes_max_) {
        if (fits) raw_ = window_.view(0, std::min(at, kRawBytesMax));
        fits = false;
        window_.advance(at);
        at = 0;
        if (!window_.has(0)) break;
      }
      const char c = window_.at(at);
      next_line_ += c == '\n';
      if (quoted) {
        if (c == '\\' && window_.has(at + 1) && window_.at(at + 1) != '\n') ++at;
        quoted = c != '"';
      } else if (c == '"') {
        quoted = true;
      } else if (c == '{' || c == '[') {
        ++depth;
      } else if (depth > 0) {
        depth -= c == '}' || c == ']';
      } else if (c == ',' || c == ']') {
        break;
      }
    }
    while (at > 0 && !window_.has(at - 1)) --at;
    if (fits) raw_ = window_.view(0, at);
    window_.advance(at);
    while (!raw_.empty() && (raw_.back() == ' ' || raw_.back() == '\t' || raw_.back() == '\r' ||
                             raw_.back() == '\n')) {
      raw_.pop_back();
    }
    return fits;
  }

  std::unique_ptr<PeekReader> source_;
  ByteWindow window_;
  std::size_t row_bytes_max_;
  bool inside_ = false;
  std::uint64_t next_line_ = 1;
};

constexpr std::string_view kBlanks = " \t\r\n";

class NoRows final : public RowReader {
 public:
  NoRows() { description_ = "empty"; }
  Result<Step> next() override { return Step::end; }
};

// `text` is what the content begins with.
Result<std::unique_ptr<RowReader>> open_content(std::unique_ptr<PeekReader> source,
                                                const std::string& name, RowOptions options,
                                                std::string_view text) {
  const std::string first_line(text.substr(0, text.find('\n')));
  if (text.front() != '{' && text.front() != '[') {
    return ColumnRows::open(std::move(source), name, std::move(options), first_line);
  }
  if (first_line == "{" || first_line == "{\r") {
    return fail(ErrorKind::invalid,
                name + ": JSON objects must stand one per line, or in a list ([…])");
  }
  const bool lines = text.front() == '{';
  std::unique_ptr<JsonRows> rows;
  if (lines) {
    rows = std::make_unique<JsonLineRows>(std::move(source), options.row_bytes_max);
  } else {
    rows = std::make_unique<JsonListRows>(std::move(source), options.row_bytes_max);
  }
  if (Status opened = rows->open(name, options.map, lines ? "JSON lines" : "JSON list"); !opened) {
    return fail(opened.error());
  }
  return std::unique_ptr<RowReader>(std::move(rows));
}

}  // namespace

std::string RowMap::text() const {
  std::string out;
  for (const auto& [field, column] : columns) {
    if (!out.empty()) out += ',';
    out += field + '=' + escaped_column(column);
  }
  return out;
}

Result<RowMap> parse_row_map(std::string_view text) {
  const auto wrong = [](const std::string& what) {
    return fail(
        ErrorKind::invalid,
        "--map: " + what + "; expected user_id=COL,item_id=COL,timestamp=COL[,event_type=COL,…]");
  };
  std::vector<std::string> parts{""};
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size() && (text[i + 1] == ',' || text[i + 1] == '\\')) {
      parts.back() += text[++i];
    } else if (text[i] == ',') {
      parts.emplace_back();
    } else {
      parts.back() += text[i];
    }
  }
  RowMap map;
  std::array<bool, kFieldCount> seen{};
  for (const std::string& part : parts) {
    const std::size_t equals = part.find('=');
    if (equals == std::string::npos || equals + 1 == part.size()) {
      return wrong("\"" + part + "\" names no column");
    }
    const std::string name = part.substr(0, equals);
    const auto field = field_of(name);
    if (!field) return wrong("\"" + name + "\" is no field");
    if (seen[*field]) return wrong(name + " stands there twice");
    seen[*field] = true;
    map.columns.emplace_back(name, part.substr(equals + 1));
  }
  if (!seen[kUserId] && !seen[kSessionId]) return wrong("user_id is missing");
  if (!seen[kItemId]) return wrong("item_id is missing");
  if (!seen[kTimestamp]) return wrong("timestamp is missing");
  return map;
}

Result<std::unique_ptr<RowReader>> RowReader::open(ByteReader& source, std::string name,
                                                   RowOptions options) {
  auto peeked = std::make_unique<PeekReader>(source);
  std::string skipped;
  std::uint64_t lines_before = 0;
  std::string_view text;
  std::size_t first = std::string_view::npos;
  for (bool at_start = true; first == std::string_view::npos; at_start = false) {
    const auto head = peeked->peek(kHeadBytes);
    if (!head) return fail(head.error());
    if (head->empty()) return std::unique_ptr<RowReader>(new NoRows);
    text = *head;
    const bool marked = at_start && text.starts_with(kByteOrderMark);
    if (marked) text.remove_prefix(kByteOrderMark.size());
    first = text.find_first_not_of(kBlanks);
    // A byte order mark goes, and blanks where there is nothing else.
    std::size_t count = first == std::string_view::npos ? head->size()
                        : marked                        ? kByteOrderMark.size()
                                                        : 0;
    if (first == std::string_view::npos) {
      lines_before += static_cast<std::uint64_t>(std::count(text.begin(), text.end(), '\n'));
    }
    for (skipped.resize(count); count > 0;) {
      const auto read = peeked->read(skipped.data(), count);
      if (!read) return fail(read.error());
      count -= *read;
    }
  }
  auto rows = open_content(std::move(peeked), name, std::move(options), text.substr(first));
  if (rows) (*rows)->lines_before_ = lines_before;
  return rows;
}

}  // namespace millrace
