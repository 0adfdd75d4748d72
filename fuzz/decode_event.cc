// Any bytes as a record. The first byte picks the options, so that all shapes are tried.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/check.h"
#include "events/decode_event.h"
#include "events/json_tape.h"
#include "events/utf8.h"

namespace millrace {
namespace {

DecodeOptions options_of(std::uint8_t choice) {
  DecodeOptions options;
  options.format = static_cast<DecodeOptions::Format>(choice % 3);
  options.timestamp_from_arrival = (choice & 4) != 0;
  if ((choice & 8) != 0) {
    options.fields.user_id = {"/u/0/id", "/user_id", ""};
    options.fields.item_id = {"/properties/a~1b/~0", "/i"};
  }
  return options;
}

void check_id(std::string_view id) {
  MILLRACE_CHECK(!id.empty() && valid_utf8(id) && code_points(id) <= 256);
  for (const char c : id) MILLRACE_CHECK(static_cast<unsigned char>(c) >= 0x20 && c != 0x7F);
}

void check_event(const Event& event) {
  if (!event.anonymous()) check_id(event.user_id);
  check_id(event.session_id);
  check_id(event.item_id);
  check_id(event.event_type);
  check_id(event.event_id);
  MILLRACE_CHECK(event.timestamp >= 0);
  JsonTape tape;
  if (!event.properties.empty()) {
    MILLRACE_CHECK(tape.read_one(event.properties) && tape.node(0).kind == JsonNode::Kind::object);
  }
  if (!event.event_value.empty()) {
    MILLRACE_CHECK(tape.read_one(event.event_value) && tape.node(0).kind == JsonNode::Kind::number);
  }
  MILLRACE_CHECK(event.impression.size() <= 25);
  for (const auto& item : event.impression) check_id(item);
  MILLRACE_CHECK(code_points(event.recommendation_id) <= 40);
}

// Every node lies inside its text and points forwards.
void check_tape(std::string_view text) {
  JsonTape tape;
  if (!tape.read_all(text)) return;
  std::uint32_t expected = 0;
  for (const std::uint32_t root : tape.roots()) {
    MILLRACE_CHECK(root == expected);
    for (std::uint32_t at = root; at < tape.node(root).next; ++at) {
      const JsonNode& node = tape.node(at);
      MILLRACE_CHECK(node.begin < node.end && node.end <= text.size());
      MILLRACE_CHECK(node.next > at && node.next <= tape.node(root).next);
    }
    expected = tape.node(root).next;
  }
}

}  // namespace
}  // namespace millrace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace millrace;
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  check_tape(text);
  EventDecoder decoder(options_of(data[0]));
  DecodedRecord first;
  DecodedRecord again;
  const std::int64_t arrived_ms = (data[0] & 16) != 0 ? 1'700'000'000'123 : -1;
  decoder.decode(text, arrived_ms, first);
  if (first.blank) MILLRACE_CHECK(first.events.empty() && first.refused.empty());
  for (const Event& event : first.events) check_event(event);
  for (std::size_t i = 1; i < first.events.size(); ++i) {
    MILLRACE_CHECK(first.events[i - 1].index < first.events[i].index);
  }
  for (const Refusal& refusal : first.refused) MILLRACE_CHECK(!refusal.reason.empty());
  decoder.decode("{\"user_id\":1,\"event_list\":[{},{\"item_id\":\"\\n\"}]}", 5, again);
  decoder.decode(text, arrived_ms, again);  // what came between has left nothing behind
  MILLRACE_CHECK(first.events == again.events && first.refused == again.refused &&
                 first.units == again.units && first.blank == again.blank);
  return 0;
}
