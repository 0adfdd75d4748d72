// How lines that millrace itself made are judged: they carry our field names, whatever the
// configuration calls the fields of live records.
#pragma once

#include "events/options.h"

namespace millrace {

/// `options` for rows and objects of a backfill: our own names (those of EventFields by default
/// that RowReader writes: /user_id, /item_id, …) stand behind the configured pointers, and the
/// shape is told by each record, since a history file may hold envelopes while live records are
/// flat, or the reverse. Only for these: a live record is judged with the configured pointers
/// alone, by the forwarder as by compaction.
DecodeOptions with_own_names(DecodeOptions options);

}  // namespace millrace
