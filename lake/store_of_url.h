// From URLs of the configuration to object stores.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "lake/object_store.h"

namespace millrace {

/// The store whose keys lie below `url`: "file:///var/lib/lake". The path is taken as written,
/// without percent-decoding. `invalid` for anything else; "s3://…" says that this release cannot.
/// Nothing is touched yet: the folder is made with the first object.
Result<std::unique_ptr<ObjectStore>> make_store(std::string_view url);

struct ObjectUrl {
  std::string store_url{};  // for make_store
  std::string key{};
};

/// "file:///data/out/x.csv" → {"file:///data/out", "x.csv"}; "s3://bucket/out/x.csv" →
/// {"s3://bucket", "out/x.csv"}. `invalid` when the URL names no object.
Result<ObjectUrl> split_object_url(std::string_view url);

}  // namespace millrace
