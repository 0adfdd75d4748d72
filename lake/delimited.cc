#include "lake/delimited.h"

#include <algorithm>

#include "core/check.h"

namespace millrace {
namespace {

constexpr std::size_t kOverlongRawBytes = 64u << 10;

}  // namespace

DelimitedReader::DelimitedReader(ByteReader& source, DelimitedOptions options)
    : window_(source), options_(std::move(options)) {
  MILLRACE_CHECK(!options_.delimiter.empty());
}

Result<DelimitedReader::Step> DelimitedReader::next() {
  for (;;) {
    if (!window_.has(0)) {
      if (window_.error()) return fail(*window_.error());
      return Step::end;
    }
    std::size_t blank = 0;
    if (window_.at(0) == '\n') {
      blank = 1;
    } else if (window_.at(0) == '\r' && (!window_.has(1) || window_.at(1) == '\n')) {
      blank = window_.has(1) ? 2 : 1;
    }
    if (blank == 0) break;
    window_.advance(blank);
    ++next_line_;
  }
  spans_.clear();
  cells_.clear();
  line_ = next_line_;
  const Step step = options_.quotes ? read_quoted_record() : read_plain_record();
  // A record that the source's error cut short is not a record.
  if (window_.error() && !window_.has(0)) return fail(*window_.error());
  return step;
}

// Takes the record out of the window, so that views into it stay good until the next one.
void DelimitedReader::finish(std::size_t record_bytes, std::size_t consumed) {
  raw_ = window_.view(0, record_bytes);
  const std::string_view all = window_.view(0, consumed);
  next_line_ += static_cast<std::uint64_t>(std::count(all.begin(), all.end(), '\n'));
  window_.advance(consumed);
}

DelimitedReader::Step DelimitedReader::skip_overlong() {
  raw_ = window_.view(0, std::min(kOverlongRawBytes, options_.record_bytes_max));
  reason_ = "row too long";
  for (;;) {
    const auto end = window_.find('\n', 0, options_.record_bytes_max);
    if (end) {
      window_.advance(*end + 1);
      ++next_line_;
      return Step::reject;
    }
    std::size_t count = options_.record_bytes_max;
    while (count > 0 && !window_.has(count - 1)) --count;
    if (count == 0) return Step::reject;
    window_.advance(count);
  }
}

// The record's first line, whatever its quotes say.
DelimitedReader::Step DelimitedReader::reject(std::string_view reason) {
  const auto end = window_.find('\n', 0, options_.record_bytes_max);
  if (!end && window_.has(options_.record_bytes_max)) return skip_overlong();
  std::size_t bytes = end.value_or(0);
  if (!end) {
    while (window_.has(bytes)) ++bytes;
  }
  const bool carriage_return = bytes > 0 && window_.at(bytes - 1) == '\r';
  finish(carriage_return ? bytes - 1 : bytes, end ? bytes + 1 : bytes);
  reason_ = reason;
  return Step::reject;
}

bool DelimitedReader::at_delimiter(std::size_t offset) {
  for (std::size_t i = 0; i < options_.delimiter.size(); ++i) {
    if (!window_.has(offset + i) || window_.at(offset + i) != options_.delimiter[i]) return false;
  }
  return true;
}

DelimitedReader::Step DelimitedReader::read_quoted_record() {
  const char first = options_.delimiter.front();
  std::size_t at = 0;
  for (;;) {
    Span span{at, 0, false, false};
    if (window_.has(at) && window_.at(at) == '"') {
      span.quoted = true;
      span.begin = ++at;
      for (;;) {
        const auto quote = window_.find('"', at, options_.record_bytes_max);
        if (!quote) return reject("quote not closed");
        at = *quote + 1;
        if (!window_.has(at) || window_.at(at) != '"') break;
        span.doubled = true;
        ++at;
      }
      span.count = at - 1 - span.begin;
    } else {
      while (window_.has(at) && window_.at(at) != '\n' &&
             (window_.at(at) != first || !at_delimiter(at))) {
        if (++at > options_.record_bytes_max) return skip_overlong();
      }
      span.count = at - span.begin;
    }
    const bool ended = !window_.has(at);
    const bool line_feed = !ended && window_.at(at) == '\n';
    if (span.quoted && !ended && !line_feed && !at_delimiter(at)) {
      // CRLF, or a CR as the file's last byte, ends the line behind a quote too.
      const bool crlf =
          window_.at(at) == '\r' && (!window_.has(at + 1) || window_.at(at + 1) == '\n');
      if (!crlf) return reject("text behind a closing quote");
      spans_.push_back(span);
      finish(at, window_.has(at + 1) ? at + 2 : at + 1);
      break;
    }
    if (ended || line_feed) {
      std::size_t bytes = at;
      if (!span.quoted && span.count > 0 && window_.at(at - 1) == '\r') {
        --span.count;
        --bytes;
      }
      spans_.push_back(span);
      finish(bytes, line_feed ? at + 1 : at);
      break;
    }
    spans_.push_back(span);
    at += options_.delimiter.size();
  }
  make_cells();
  return Step::record;
}

DelimitedReader::Step DelimitedReader::read_plain_record() {
  const auto end = window_.find('\n', 0, options_.record_bytes_max);
  if (!end && window_.has(options_.record_bytes_max)) return skip_overlong();
  std::size_t bytes = end.value_or(0);
  if (!end) {
    while (window_.has(bytes)) ++bytes;
  }
  const bool carriage_return = bytes > 0 && window_.at(bytes - 1) == '\r';
  finish(carriage_return ? bytes - 1 : bytes, end ? bytes + 1 : bytes);
  const std::string_view raw = raw_;
  for (std::size_t at = 0;;) {
    const std::size_t next = raw.find(options_.delimiter, at);
    Span span{at, (next == std::string_view::npos ? raw.size() : next) - at, false, false};
    const std::string_view cell = raw.substr(span.begin, span.count);
    if (cell.size() >= 2 && cell.front() == '"' && cell.back() == '"') {
      span = {at + 1, cell.size() - 2, true,
              cell.substr(1, cell.size() - 2).find("\"\"") != std::string_view::npos};
    }
    spans_.push_back(span);
    if (next == std::string_view::npos) break;
    at = next + options_.delimiter.size();
  }
  make_cells();
  return Step::record;
}

void DelimitedReader::make_cells() {
  if (undoubled_.size() < spans_.size()) undoubled_.resize(spans_.size());
  for (std::size_t i = 0; i < spans_.size(); ++i) {
    const Span& span = spans_[i];
    std::string_view cell = std::string_view(raw_).substr(span.begin, span.count);
    if (span.doubled) {
      std::string& plain = undoubled_[i];
      plain.clear();
      for (std::size_t k = 0; k < cell.size(); ++k) {
        plain += cell[k];
        if (cell[k] == '"' && k + 1 < cell.size() && cell[k + 1] == '"') ++k;
      }
      cell = plain;
    }
    cells_.push_back(cell);
  }
}

}  // namespace millrace
