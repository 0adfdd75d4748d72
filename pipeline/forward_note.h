// The note that the forwarder keeps with a partition's committed position: its books since the
// anchor, so that they go on over restarts and owners. Pure.
//
//   mf1 r=1200 e=3 n=2400 a=2390 d=8 s=2 y=31
//
// mf1 the form; r records read and e of them empty; n events read, of which a were accepted by
// PutEvents, d dead-lettered and s skipped as too old (n = a + d + s); y of n were anonymous.
#pragma once

#include <string>
#include <string_view>

#include "core/result.h"
#include "pipeline/ack_tracker.h"

namespace millrace {

/// Printable ASCII, some 150 bytes at most. REQUIRES: books of a settled position (nothing waits).
std::string print_forward_note(const Books& books);

/// `refused` (exit code 3) for an empty or foreign note, one of a newer release, and a garbled one;
/// the message says what that means, and continues a sentence that names the partition. Words it
/// does not know are skipped, so that a later release may add some.
Result<Books> parse_forward_note(std::string_view text);

}  // namespace millrace
