// Any bytes as the answer of GetRecords.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "aws/kinesis_api.h"
#include "core/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace millrace;
  const auto answer = parse_get_records({reinterpret_cast<const char*>(data), size});
  if (!answer) {
    MILLRACE_CHECK(!answer.error().message.empty());
    return 0;
  }
  std::size_t end = 0;
  for (const RecordRef& record : answer->batch.records) {
    MILLRACE_CHECK(record.begin == end);
    end = record.begin + record.length;
    MILLRACE_CHECK(end <= answer->batch.bytes.size());
    MILLRACE_CHECK(Offset::valid(record.at.offset.digits));
    MILLRACE_CHECK(!record.tombstone && record.arrived_ms >= -1);
  }
  return 0;
}
