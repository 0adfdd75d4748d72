// What the PutEvents sink takes from the configuration (keys of `personalize:`).
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include "core/time.h"

namespace millrace {

/// personalize:
struct PersonalizeOptions {
  std::string tracking_id{};
  std::chrono::milliseconds linger{200};  // how long an event may wait for company
  double calls_per_second_max =
      1000;  // of this instance; the service's quota belongs to the dataset group
  std::chrono::seconds skip_older_than{0};  // 0: nothing is skipped
  std::size_t calls_in_flight_max = 32;     // 32: 1,000 calls/s at the 30 ms that PutEvents takes
  std::vector<std::string>
      columns{};  // of the dataset, when known: only these fields are sent. Empty: all
};

}  // namespace millrace
