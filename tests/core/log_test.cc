#include "core/log.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace millrace {
namespace {

struct Lines {
  std::vector<std::string> all{};
  Log::Write write() {
    return [this](LogLevel, std::string_view line) { all.emplace_back(line); };
  }
};

TEST(Log, WritesFieldsAsTextAndQuotesWhatHasBlanks) {
  Lines lines;
  const Log log(LogLevel::info, Log::Format::text, lines.write());
  log.warn("put events throttled", {{"attempt", 3}, {"why", "slow down"}, {"ok", false}});
  log.debug("not shown");
  ASSERT_EQ(lines.all.size(), 1U);
  EXPECT_EQ(lines.all[0].substr(24),
            R"( warn  put events throttled attempt=3 why="slow down" ok=false)");
}

TEST(Log, WritesOneJsonObjectWithBareNumbers) {
  Lines lines;
  const Log log(LogLevel::debug, Log::Format::json, lines.write());
  log.error("cut\nfailed", {{"bytes", 12}, {"key", "a\"b\xFF\x01"}});
  ASSERT_EQ(lines.all.size(), 1U);
  EXPECT_EQ(lines.all[0].substr(lines.all[0].find(",\"level\"")),
            ",\"level\":\"error\",\"message\":\"cut\\nfailed\",\"bytes\":12,\"key\":"
            "\"a\\\"b\xEF\xBF\xBD\\u0001\"}");
}

TEST(Log, QuotesEveryBadSequenceByteByByte) {
  EXPECT_EQ(json_quoted("\xED\xA0\x80"),
            "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");  // half a surrogate pair
  EXPECT_EQ(json_quoted("\xF0\x9F\x98\x80\xC3\xA9"), "\"\xF0\x9F\x98\x80\xC3\xA9\"");
}

}  // namespace
}  // namespace millrace
