// Reading what Personalize imports: CSV in its own dialect, checked against the dataset's schema
// (Developer Guide, "Preparing training data", "Quotas", "Error messages"), and values in the one
// form in which a CSV cell and a streamed property can be compared.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "events/schema.h"
#include "local/interaction_store.h"

namespace millrace {

/// The value of a cell in canonical form: equal typed values give equal texts ("01" and "1" of an
/// int, "1.50" and "1.5" of a double). Nothing when `text` is not of the column's type.
std::optional<std::string> canonical_value(const Column& column, std::string_view text);

/// The end of a failureReason; empty means that it went well.
using ImportProblem = std::string;

struct ImportLimits {
  std::size_t rows_min = 1000;        // of the real service, for interactions
  std::size_t rows_max = 30'000'000;  // of ours
  bool seconds_only = true;           // see PersonalizeServiceOptions
};

/// Files of a data location: the file itself, or of a location that ends in "/" the files directly
/// in it, by name. A problem when there is none.
ImportProblem list_import_files(const std::filesystem::path& path, bool folder,
                                std::vector<std::filesystem::path>& files);

/// Adds the rows of all files to `rows` as bulk rows. The first bad row ends it.
ImportProblem import_interactions(const std::vector<std::filesystem::path>& files,
                                  const std::vector<Column>& columns, const ImportLimits& limits,
                                  InteractionStore& rows);

/// The same for an Items or Users dataset: id to canonical text; a later row of an id replaces an
/// earlier one.
ImportProblem import_records(const std::vector<std::filesystem::path>& files,
                             const std::vector<Column>& columns, std::string_view id_column,
                             std::map<std::string, std::string>& records);

}  // namespace millrace
