// Creates an object that somebody else may be creating at the same moment, or has created before a
// crash, with the same records.
#pragma once

#include <string>
#include <string_view>

#include "core/result.h"
#include "lake/object_store.h"

namespace millrace {

/// How the object came to stand there.
enum class Creation {
  now,     // by this call
  before,  // already there with the same content
  longer,  // already there, and ours is the end of it: the log has meanwhile forgotten the first of
           // the cut's records, which the earlier writer still had
};

/// Puts `bytes` under `key`, never replacing anything. When something is there, its content is
/// compared with ours after decompression: releases of a compressor may write the same content in
/// different bytes. Errors: those of the store; `corrupt` when something else stands there, which
/// nobody but a person can judge.
///
/// Blocks: only inside Loop::offload. Memory: the object that is there, once.
Result<Creation> create_once(ObjectStore& store, const std::string& key, std::string_view bytes);

}  // namespace millrace
