#include "lake/names.h"

#include <fmt/format.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

namespace millrace {
namespace {

constexpr std::size_t kLogBytesMax = 56;
constexpr std::size_t kLogBytesKept = 39;
constexpr std::size_t kKafkaDigits = 20;    // 2^64 has 20
constexpr std::size_t kKinesisDigits = 56;  // what the service gives today; the contract allows 129
constexpr std::size_t kSubDigits = 10;      // 2^32 has 10
constexpr std::string_view kDead = ".dead";
constexpr std::string_view kForwarderMark = "forwarder-";

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_alphanumeric(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool all_digits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_digit);
}
bool ends_in(std::string_view text, std::string_view ending) {
  return text.size() >= ending.size() && text.substr(text.size() - ending.size()) == ending;
}
bool is_incarnation(std::string_view text) {
  return text.size() == 8 && std::all_of(text.begin(), text.end(), [](char c) {
           return is_digit(c) || (c >= 'a' && c <= 'f');
         });
}

/// Bytes other than letters, digits and `plain` become ~xx. `~` itself is always escaped, so that
/// different texts stay different.
std::string escaped(std::string_view text, std::string_view plain) {
  std::string out;
  for (const char c : text) {
    if (is_alphanumeric(c) || plain.find(c) != std::string_view::npos) {
      out += c;
    } else {
      out += fmt::format("~{:02x}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

std::string padded(const Position& position, std::size_t digits) {
  std::string text = fmt::format("{:0>{}}", position.offset.digits, digits);
  if (position.sub != 0) text += fmt::format(".{:0{}}", position.sub, kSubDigits);
  return text;
}

std::optional<Position> parse_padded(std::string_view text, std::size_t& digits) {
  Position position;
  const std::size_t dot = text.find('.');
  if (dot != std::string_view::npos) {
    const std::string_view sub = text.substr(dot + 1);
    const auto [end, error] = std::from_chars(sub.data(), sub.data() + sub.size(), position.sub);
    if (sub.size() != kSubDigits || !all_digits(sub) || error != std::errc{} ||
        end != sub.data() + sub.size()) {
      return std::nullopt;
    }
    text = text.substr(0, dot);
  }
  if (text.size() < kKafkaDigits || !all_digits(text)) return std::nullopt;
  digits = text.size() < kKinesisDigits ? kKafkaDigits : kKinesisDigits;
  const std::size_t first = std::min(text.find_first_not_of('0'), text.size());
  std::string number(text.substr(first));
  if (number.empty() && digits == kKafkaDigits) number = "0";
  position.offset.digits = std::move(number);
  return position;
}

/// Takes what follows the last `-` off `rest`; nothing when there is none.
std::optional<std::string_view> last_field(std::string_view& rest) {
  const std::size_t dash = rest.rfind('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const std::string_view field = rest.substr(dash + 1);
  rest = rest.substr(0, dash);
  return field;
}

std::string_view last_segment(std::string_view key) { return key.substr(key.rfind('/') + 1); }

/// Takes the extension off `name`, the longest first.
std::optional<Compression> take_extension(std::string_view& name) {
  for (const Compression compression : {Compression::gzip, Compression::zstd, Compression::none}) {
    const std::string_view extension = extension_of(compression);
    if (!ends_in(name, extension)) continue;
    name = name.substr(0, name.size() - extension.size());
    return compression;
  }
  return std::nullopt;
}

std::string cut_name(const CutObject& object) {
  return fmt::format("{}-{}-{}-{}-{}-{}", object.log, object.incarnation, object.partition,
                     padded(object.from, object.digits), padded(object.to, object.digits),
                     object.hour.text());
}

std::string percent_encoded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c > ' ' && c < 0x7F && c != ',' && c != '%') {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '%') {
      out += text[at];
      continue;
    }
    unsigned value = 0;
    if (text.size() - at < 3) return std::nullopt;
    const char* begin = text.data() + at + 1;
    const auto [end, error] = std::from_chars(begin, begin + 2, value, 16);
    if (error != std::errc{} || end != begin + 2) return std::nullopt;
    out += static_cast<char>(value);
    at += 2;
  }
  return out;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> fields;
  while (true) {
    const std::size_t end = text.find(separator);
    fields.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return fields;
    text = text.substr(end + 1);
  }
}

std::optional<std::uint64_t> row_number(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (!all_digits(text) || text.size() != kKafkaDigits || error != std::errc{} ||
      end != text.data() + text.size()) {
    return std::nullopt;
  }
  return number;
}

}  // namespace

std::string_view extension_of(Compression compression) {
  switch (compression) {
    case Compression::gzip:
      return ".ndjson.gz";
    case Compression::zstd:
      return ".ndjson.zst";
    case Compression::none:
      break;
  }
  return ".ndjson";
}

std::string_view name_of(Compression compression) {
  switch (compression) {
    case Compression::gzip:
      return "gzip";
    case Compression::zstd:
      return "zstd";
    case Compression::none:
      break;
  }
  return "none";
}

std::optional<Compression> parse_compression(std::string_view text) {
  for (const Compression compression : {Compression::none, Compression::gzip, Compression::zstd}) {
    if (text == name_of(compression)) return compression;
  }
  return std::nullopt;
}

std::string CutLayout::to_text() const {
  return fmt::format("w{},{},{},{},{},{}", writer_format, name_of(compression),
                     partition_by == PartitionBy::event ? "event" : "arrival", annotate ? 1 : 0,
                     percent_encoded(prefix), percent_encoded(error_prefix));
}

Status CutLayout::fits() const {
  const std::size_t bytes = to_text().size();
  if (bytes <= kTextBytesMax) return {};
  return fail(ErrorKind::invalid,
              fmt::format("lake.prefix and lake.error_prefix need {} bytes in the commit note of a "
                          "cut, at most {} are allowed; shorten them",
                          bytes, kTextBytesMax));
}

Result<CutLayout> CutLayout::parse(std::string_view text) {
  const auto corrupt = [&](std::string_view what) {
    return fail(ErrorKind::corrupt, fmt::format("the layout '{}' of a cut {}", text, what));
  };
  if (text.size() > kTextBytesMax) {
    return fail(ErrorKind::corrupt, fmt::format("the layout of a cut has {} bytes, at most {} are "
                                                "possible",
                                                text.size(), kTextBytesMax));
  }
  const auto fields = split(text, ',');
  CutLayout layout;
  const std::string_view format = fields[0];
  const char* end_of_format = format.data() + format.size();
  if (format.size() < 2 || format[0] != 'w' || !all_digits(format.substr(1)) ||
      std::from_chars(format.data() + 1, end_of_format, layout.writer_format).ec != std::errc{}) {
    return corrupt("does not begin with its writer format");
  }
  if (layout.writer_format > kWriterFormat) {
    return fail(ErrorKind::refused,
                fmt::format("a cut is under way in writer format {}, this release writes up to {}: "
                            "finish it with the release that began it, or a newer one",
                            layout.writer_format, kWriterFormat));
  }
  if (layout.writer_format < 1 || fields.size() != 6) return corrupt("does not have six fields");
  const auto compression = parse_compression(fields[1]);
  const auto prefix = percent_decoded(fields[4]);
  const auto error_prefix = percent_decoded(fields[5]);
  if (!compression || !prefix || !error_prefix ||
      (fields[2] != "arrival" && fields[2] != "event") || (fields[3] != "0" && fields[3] != "1")) {
    return corrupt("holds a field that is not one of ours");
  }
  layout.compression = *compression;
  layout.partition_by = fields[2] == "event" ? PartitionBy::event : PartitionBy::arrival;
  layout.annotate = fields[3] == "1";
  layout.prefix = *prefix;
  layout.error_prefix = *error_prefix;
  return layout;
}

std::string log_in_names(std::string_view log_name) {
  std::string text = escaped(log_name, "._-");
  if (text.size() <= kLogBytesMax) return text;
  std::array<unsigned char, SHA256_DIGEST_LENGTH> hash{};
  SHA256(reinterpret_cast<const unsigned char*>(log_name.data()), log_name.size(), hash.data());
  text.resize(kLogBytesKept);
  text += '~';
  for (std::size_t i = 0; i < 8; ++i) text += fmt::format("{:02x}", hash[i]);
  return text;
}

std::string partition_in_names(const PartitionId& partition) {
  std::string text = escaped(partition.value, "_-");
  std::replace(text.begin(), text.end(), '-', '.');
  return text;
}

std::size_t position_digits(std::string_view source_kind) {
  return source_kind == "kinesis" ? kKinesisDigits : kKafkaDigits;
}

std::string cut_key(const Prefix& prefix, Compression compression, const CutObject& object) {
  return prefix.evaluate(object.hour) + cut_name(object) + std::string(extension_of(compression));
}

std::string cut_dead_letters_key(const Prefix& error_prefix, Compression compression,
                                 const CutObject& object) {
  return error_prefix.evaluate(object.hour, kProcessingFailed) + cut_name(object) +
         std::string(kDead) + std::string(extension_of(compression));
}

std::string forwarder_dead_letters_key(const Prefix& error_prefix, Compression compression,
                                       const ForwarderDeadLetters& letters) {
  return fmt::format(
      "{}{}{}-{}-{}-{}-{}-{}{}{}", error_prefix.evaluate(letters.hour, kProcessingFailed),
      kForwarderMark, log_in_names(letters.log_name), partition_in_names(letters.partition),
      padded(letters.first, letters.digits), padded(letters.last, letters.digits),
      letters.hour.text(), escaped(letters.token, ""), kDead, extension_of(compression));
}

std::optional<ParsedCut> parse_cut_key(std::string_view key) {
  std::string_view name = last_segment(key);
  ParsedCut cut;
  const auto compression = take_extension(name);
  if (!compression) return std::nullopt;
  cut.compression = *compression;
  cut.dead_letters = ends_in(name, kDead);
  if (cut.dead_letters) name = name.substr(0, name.size() - kDead.size());

  // From the right: only the log's name may hold the separator.
  const auto hour_text = last_field(name);
  const auto to_text = last_field(name);
  const auto from_text = last_field(name);
  const auto partition = last_field(name);
  const auto incarnation = last_field(name);
  if (!incarnation || !is_incarnation(*incarnation) || partition->empty() || name.empty()) {
    return std::nullopt;
  }
  const auto hour = parse_hour(*hour_text);
  const auto from = parse_padded(*from_text, cut.object.digits);
  const auto to = parse_padded(*to_text, cut.object.digits);
  if (!hour || !from || !to) return std::nullopt;
  cut.object.log = std::string(name);
  cut.object.incarnation = std::string(*incarnation);
  cut.object.partition = std::string(*partition);
  cut.object.from = *from;
  cut.object.to = *to;
  cut.object.hour = *hour;
  return cut;
}

bool is_dead_letters_key(std::string_view key) {
  std::string_view name = last_segment(key);
  return take_extension(name) && ends_in(name, kDead);
}

std::string backfill_folder(const Prefix& prefix, std::string_view source_id) {
  return fmt::format("{}backfill/{}/", prefix.fixed_head(), source_id);
}

std::string backfill_key(const Prefix& prefix, std::string_view source_id, std::uint64_t first_row,
                         std::uint64_t last_row, Compression compression) {
  return fmt::format("{}{:0{}}-{:0{}}{}", backfill_folder(prefix, source_id), first_row,
                     kKafkaDigits, last_row, kKafkaDigits, extension_of(compression));
}

std::optional<ParsedBackfill> parse_backfill_key(std::string_view key) {
  std::string_view name = last_segment(key);
  if (name.size() == key.size()) return std::nullopt;
  const std::string_view folder = key.substr(0, key.size() - name.size() - 1);
  ParsedBackfill backfill;
  backfill.source_id = std::string(last_segment(folder));
  const std::string_view parent = folder.substr(0, folder.size() - backfill.source_id.size());
  if (!ends_in(parent, "backfill/") || backfill.source_id.empty()) return std::nullopt;
  if (!take_extension(name)) return std::nullopt;
  const auto last = last_field(name);
  if (!last) return std::nullopt;
  const auto first_row = row_number(name);
  const auto last_row = row_number(*last);
  if (!first_row || !last_row) return std::nullopt;
  backfill.first_row = *first_row;
  backfill.last_row = *last_row;
  return backfill;
}

std::optional<std::string> key_below(std::string_view root_url, std::string_view url) {
  while (!root_url.empty() && root_url.back() == '/') root_url.remove_suffix(1);
  if (url.substr(0, root_url.size()) != root_url) return std::nullopt;
  url.remove_prefix(root_url.size());
  if (url.empty()) return std::string();
  if (url.front() != '/') return std::nullopt;
  const std::size_t begin = std::min(url.find_first_not_of('/'), url.size());
  return std::string(url.substr(begin));
}

namespace state_keys {

std::string manifest(std::string_view run_id) { return fmt::format("manifests/{}.json", run_id); }
std::string report(std::string_view run_id) { return fmt::format("reports/{}.json", run_id); }
std::string rejects(std::string_view run_id) { return fmt::format("rejects/{}.ndjson.gz", run_id); }
std::string previous_csv(std::string_view run_id) { return fmt::format("previous/{}.csv", run_id); }
std::string batch_input(std::string_view run_id) {
  return fmt::format("batch-input/{}.jsonl", run_id);
}
std::string cycle() { return "cycle.json"; }
std::string past_cycle(std::string_view cycle_id) {
  return fmt::format("cycles/{}.json", cycle_id);
}
std::string lock() { return "lock.json"; }
std::string backfill(std::string_view source_id) {
  return fmt::format("backfills/{}.json", source_id);
}
std::string backfill_rejects(std::string_view source_id) {
  return fmt::format("backfill-rejects/{}.ndjson.gz", source_id);
}
std::string kinesis_positions(std::string_view stream, std::string_view pipeline) {
  return fmt::format("kinesis/{}/{}/", log_in_names(stream), pipeline);
}
std::string file_positions(std::string_view path, std::string_view pipeline) {
  return fmt::format("file/{}/{}/", log_in_names(path), pipeline);
}

}  // namespace state_keys

std::string new_run_id(WallTime now, std::uint64_t chance) {
  return fmt::format("{}-{:08x}", compact_iso8601(now), chance & 0xFFFF'FFFFu);
}

std::string run_id_of_key(std::string_view key) {
  const std::string_view name = last_segment(key);
  return std::string(name.substr(0, name.find('.')));
}

}  // namespace millrace
