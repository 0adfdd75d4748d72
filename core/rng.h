// One source of chance per world, so that a run is a function of its seed.
#pragma once

#include <cstdint>
#include <random>

#include "core/check.h"

namespace millrace {

/// mt19937_64 plus our own draws: the standard distributions differ between libraries. Not
/// thread-safe; not for secrets.
class Rng {
 public:
  explicit Rng(std::uint64_t seed) : engine_(seed) {}

  std::uint64_t next() { return engine_(); }

  /// Uniform in [0, limit). REQUIRES: limit > 0.
  std::uint64_t below(std::uint64_t limit) {
    MILLRACE_CHECK(limit > 0);
    const std::uint64_t reject_from = UINT64_MAX - UINT64_MAX % limit;
    std::uint64_t drawn = next();
    while (drawn >= reject_from) drawn = next();
    return drawn % limit;
  }

  /// Uniform in [0, 1).
  double unit() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

  /// True with probability `p`.
  bool chance(double p) { return unit() < p; }

 private:
  std::mt19937_64 engine_;
};

}  // namespace millrace
