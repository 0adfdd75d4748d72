// How far one word is from another: for "did you mean …?".
#pragma once

#include <cstddef>
#include <string_view>

namespace millrace {

/// The fewest letters to insert, remove, replace, or swap with their neighbour (once each) that
/// turn `a` into `b`. Bytes, not characters; time and memory grow with the product of the lengths.
std::size_t edit_distance(std::string_view a, std::string_view b);

}  // namespace millrace
