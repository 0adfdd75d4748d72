// What each operation of Personalize's control plane takes: members, types, bounds (Amazon
// Personalize API Reference, "Actions" and "Data Types").
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace millrace {

/// Whether the emulator knows the operation at all ("CreateSchema").
bool personalize_operation_known(std::string_view operation);

/// The first thing wrong with an operation's input, in the words of the service's own validation
/// ("1 validation error detected: Value null at 'name' failed to satisfy constraint: Member must
/// not be null"); nothing when it is sound. Unlike the real service it also refuses members that
/// the operation does not have: a misspelt member should not be lost in silence.
/// REQUIRES: the operation is known.
std::optional<std::string> personalize_input_problem(std::string_view operation,
                                                     const nlohmann::json& input);

}  // namespace millrace
