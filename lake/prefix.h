// The prefix of lake keys, in the expressions that Amazon Data Firehose users already have
// (Firehose Developer Guide, "Understand custom prefixes for Amazon S3 objects").
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "lake/hour.h"

namespace millrace {

/// `lake.prefix` or `lake.error_prefix`, parsed once and evaluated for each object's hour.
///
/// The grammar: plain text, and `!{timestamp:PATTERN}` with the letters u y Y M d D H h m s S a of
/// Java's DateTimeFormatter (quotes are literal text), UTC. `!{firehose:error-output-type}`, or
/// `!{error-type}` for short, belongs into error prefixes only. The result is put in front of the
/// object's name as it is: no slash is added. A prefix for objects without any timestamp gets
/// `!{timestamp:yyyy/MM/dd/HH/}` at its end, as in Firehose.
///
/// Every time in a prefix is the beginning of the object's hour, so that one object lies under one
/// prefix; letters finer than the hour give zeros.
///
/// A value: copy it freely; threads: any.
class Prefix {
 public:
  enum class Role { objects, errors };

  /// Firehose's limits: characters of the template, and of what it evaluates to.
  static constexpr std::size_t kTemplateCharactersMax = 1024;
  static constexpr std::size_t kEvaluatedBytesMax = 512;

  /// Error: `invalid`, with the column (from 1, in characters) and what was expected.
  static Result<Prefix> parse(std::string_view text, Role role);

  /// `error_type` ("processing-failed") is used by error prefixes only.
  [[nodiscard]] std::string evaluate(LakeHour hour, std::string_view error_type = {}) const;

  /// The text before the first expression: every evaluation begins with it.
  [[nodiscard]] const std::string& fixed_head() const { return fixed_head_; }

  /// The template, with the appended default; parsing it again gives the same Prefix. For layouts.
  [[nodiscard]] const std::string& text() const { return text_; }

  /// True when `key` begins with something that this template may have evaluated to. An error type
  /// is recognised by its ending: "…-failed" or "…Exceeded".
  [[nodiscard]] bool matches(std::string_view key) const;

  /// What is allowed but rarely meant, one sentence each, for `check` and the start of `run`.
  [[nodiscard]] const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  struct Part {
    char letter = 0;  // 0: literal text; '!': the error type; otherwise a pattern letter
    std::size_t count = 0;
    std::string literal{};
  };
  class Parser;
  static void add_ends(const Part& part, std::string_view key, std::size_t begin,
                       std::set<std::size_t>& ends);

  std::string text_{};
  std::string fixed_head_{};
  std::vector<Part> parts_{};
  std::vector<std::string> warnings_{};
};

}  // namespace millrace
