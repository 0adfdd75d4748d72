// Any text as lake.prefix and lake.error_prefix.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/check.h"
#include "lake/prefix.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace millrace;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const Prefix::Role role : {Prefix::Role::objects, Prefix::Role::errors}) {
    const auto prefix = Prefix::parse(text, role);
    if (!prefix) {
      MILLRACE_CHECK(prefix.error().kind == ErrorKind::invalid && !prefix.error().message.empty());
      continue;
    }
    // Its own text means the same: it rides in the intents of cuts.
    const auto again = Prefix::parse(prefix->text(), role);
    MILLRACE_CHECK(again.has_value() && again->text() == prefix->text());
    for (const std::int64_t number : {0, 472'223, 496'953, 70'389'527}) {
      const LakeHour hour{number};
      const std::string evaluated = prefix->evaluate(hour, "processing-failed");
      MILLRACE_CHECK(evaluated == again->evaluate(hour, "processing-failed"));
      MILLRACE_CHECK(evaluated.size() <= Prefix::kEvaluatedBytesMax);
      MILLRACE_CHECK(evaluated.substr(0, prefix->fixed_head().size()) == prefix->fixed_head());
      MILLRACE_CHECK(prefix->matches(evaluated + "events-1.ndjson"));
    }
  }
  return 0;
}
