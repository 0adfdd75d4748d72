// The columns of an Interactions dataset, and an event as a row of them.
//
// Public sources: Amazon Personalize Developer Guide, "Schemas" and "Item interaction data"
// (fields, types, unions with null), "Preparing training data" (CSV), and the Personalize API
// Reference, "Event" (how a column's name is written inside `properties`).
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/event.h"
#include "core/result.h"

namespace millrace {

enum class ColumnType { text, int32, int64, float32, float64, boolean };

struct Column {
  std::string name{};  // "USER_ID"
  ColumnType type = ColumnType::text;
  bool nullable = false;     // a union with null
  bool categorical = false;  // "categorical": true
  bool operator==(const Column&) const = default;
};

/// "string", "int", "long", "float", "double", "boolean": Avro's word.
std::string_view name_of(ColumnType type);

/// The columns in the schema's order, from the Avro-JSON text that DescribeSchema returns. Errors
/// (`invalid`) say which field is wrong and why: text that is not JSON, no record, no field, a type
/// that is not flat, a name twice (also when only underscores differ), a name that is not letters,
/// digits and underscores.
Result<std::vector<Column>> parse_schema(std::string_view avro_json);

/// As parse_schema, and besides what an Interactions dataset needs: USER_ID and ITEM_ID as string
/// and TIMESTAMP as long, none of them nullable, and the reserved types of EVENT_TYPE, EVENT_VALUE,
/// IMPRESSION, RECOMMENDATION_ID and EVENT_ATTRIBUTION_SOURCE.
Result<std::vector<Column>> parse_interactions_schema(std::string_view avro_json);

/// USER_ID, ITEM_ID, TIMESTAMP, EVENT_TYPE.
const std::vector<Column>& default_interaction_columns();

/// Columns by name alone (compact.columns): reserved names get their types, others are nullable
/// strings. `invalid` when a name is unsound or twice, or USER_ID, ITEM_ID or TIMESTAMP is missing.
Result<std::vector<Column>> columns_of_names(const std::vector<std::string>& names);

/// "NUM_RATINGS" → "numRatings": how Personalize wants a column named inside `properties`.
std::string camel_case(std::string_view column);

/// A cell: nothing means null.
using Cell = std::optional<std::string>;

/// Makes rows of events for one list of columns. Not thread-safe: one per thread.
class RowMaker {
 public:
  explicit RowMaker(std::vector<Column> columns);
  ~RowMaker();
  RowMaker(RowMaker&&) noexcept;
  RowMaker& operator=(RowMaker&&) noexcept;

  /// Fills `row` with one cell per column: the event's own fields for the reserved columns
  /// (IMPRESSION joined by `|`), others from `properties` by their camel case or their exact name,
  /// camel case first (EVENT_ATTRIBUTION_SOURCE too). Numbers keep their digits, true and false
  /// stay as they are, lists of texts or numbers are joined by `|`. Returns the reason when the
  /// event cannot be a row: "column X missing" (not nullable and no value), "column X wrong type"
  /// (the value does not fit, also where null would be allowed: a silent null would hide a
  /// broken app), "column X too long" (an impression of over 1,000 characters), "column X line
  /// break" or "column X control character" (CSV cannot hold it), "anonymous" (no user). A lone
  /// surrogate inside a value counts as wrong type.
  [[nodiscard]] std::optional<std::string> make(const Event& event, std::vector<Cell>& row);

  [[nodiscard]] const std::vector<Column>& columns() const;

 private:
  struct Inside;
  std::unique_ptr<Inside> inside_;
};

}  // namespace millrace
