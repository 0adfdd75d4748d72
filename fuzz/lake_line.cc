// Any bytes as a record, on both roads: as a line of the lake that compaction decodes, and decoded
// as the forwarder does. What becomes of its events must be the same.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/check.h"
#include "events/decode_event.h"
#include "events/json_tape.h"
#include "lake/line.h"

namespace millrace {
namespace {

// A record is refused as a whole where its text is broken.
bool broken(const std::vector<Refusal>& refused) {
  return refused.size() == 1 && !refused[0].index &&
         (refused[0].reason == "not UTF-8" || refused[0].reason == "not JSON");
}

void check(std::string_view record, bool annotate) {
  LineWriter writer(annotate);
  std::string out;
  std::vector<LineRefusal> refused;
  constexpr std::int64_t kArrived = 1'700'000'000'123;
  const std::size_t lines = writer.append(record, {"3", "12345", kArrived}, out, refused);

  EventDecoder decoder{DecodeOptions{}};
  DecodedRecord live;
  decoder.decode(record, kArrived, live);
  if (broken(live.refused)) {
    MILLRACE_CHECK(lines == 0 && refused.size() == 1 &&
                   refused[0].reason == live.refused[0].reason);
    return;
  }
  // Where a producer's own `_source` nests so deep that it cannot move down.
  if (lines == 0 && refused.size() == 1 && refused[0].reason == "not JSON") return;
  MILLRACE_CHECK(static_cast<std::size_t>(std::count(out.begin(), out.end(), '\n')) == lines);
  MILLRACE_CHECK(out.find('\r') == std::string::npos && (out.empty() || out.back() == '\n'));

  std::vector<Event> stored;
  std::size_t refusals = refused.size();
  DecodedRecord decoded;
  for (std::size_t begin = 0; begin < out.size();) {
    const std::size_t end = out.find('\n', begin);
    const std::string_view line = std::string_view(out).substr(begin, end - begin);
    begin = end + 1;
    JsonTape tape;
    MILLRACE_CHECK(tape.read_one(line) && tape.node(0).kind == JsonNode::Kind::object);
    if (annotate) {
      std::string scratch;
      MILLRACE_CHECK(tape.member(0, "_source", scratch).has_value());
    }
    decoder.decode(line, -1, decoded);
    stored.insert(stored.end(), decoded.events.begin(), decoded.events.end());
    refusals += decoded.refused.size();
  }
  MILLRACE_CHECK(stored.size() == live.events.size() && refusals == live.refused.size());
  for (std::size_t i = 0; i < stored.size(); ++i) {
    stored[i].index = live.events[i].index;  // of the line there, of the record here
    MILLRACE_CHECK(stored[i] == live.events[i]);
  }
}

}  // namespace
}  // namespace millrace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view record(reinterpret_cast<const char*>(data), size);
  millrace::check(record, true);
  millrace::check(record, false);
  return 0;
}
