#include "retrain/cycle_lock.h"

#include <nlohmann/json.hpp>

#include "lake/names.h"

namespace millrace {
namespace {

struct Lease {
  std::string owner{};
  WallTime until{};
};

// Bytes that are no lease of ours are a stale one: nobody could ever release them.
Lease parse_lease(const std::string& text) {
  const auto root = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) return {};
  const auto owner = root.find("owner");
  const auto until = root.find("until_ms");
  if (owner == root.end() || until == root.end() || !owner->is_string() ||
      !until->is_number_integer())
    return {};
  return {owner->get<std::string>(), wall_time_of_ms(until->get<std::int64_t>())};
}

}  // namespace

Status CycleLock::write(const PutIf& condition) {
  const WallTime until = wall_time_() + options_.lease;
  const nlohmann::json lease{
      {"version", 1}, {"owner", options_.owner}, {"until_ms", unix_ms(until)}};
  const std::string text =
      lease.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  auto etag = store_.put(state_keys::lock(), text, condition);
  if (!etag &&
      (etag.error().kind == ErrorKind::ambiguous || etag.error().kind == ErrorKind::conflict)) {
    // A reply that was lost may have been a yes: the bytes there say so.
    if (const auto now = store_.get(state_keys::lock()); now && now->bytes == text)
      etag = now->etag;
  }
  if (!etag) return fail(etag.error().while_doing("leader lock"));
  etag_ = std::move(*etag);
  until_ = until;
  return {};
}

Status CycleLock::acquire() {
  const auto held = store_.get(state_keys::lock());
  if (!held && held.error().kind != ErrorKind::not_found)
    return fail(held.error().while_doing("leader lock"));
  PutIf condition = PutIf::absent();
  if (held) {
    const Lease lease = parse_lease(held->bytes);
    if (lease.owner != options_.owner && lease.until > wall_time_())
      return fail(ErrorKind::refused,
                  "another instance (" + lease.owner + ") is working on this state until " +
                      iso8601(lease.until) + " at least: wait for it, or until its lease runs out",
                  std::string(kHeld));
    condition = PutIf::unchanged(held->etag);
  }
  auto written = write(condition);
  if (!written && written.error().kind == ErrorKind::conflict)
    return fail(ErrorKind::refused, "another instance has just taken the leader lock");
  return written;
}

Status CycleLock::keep() {
  if (etag_.empty()) return fail(ErrorKind::conflict, "the leader lock is not ours");
  if (wall_time_() + options_.lease * 2 / 3 < until_) return {};
  auto written = write(PutIf::unchanged(etag_));
  if (!written && written.error().kind == ErrorKind::conflict) etag_.clear();
  return written;
}

void CycleLock::release() {
  if (etag_.empty()) return;
  // An expired lease instead of a removal: a conditional write cannot remove somebody else's.
  const nlohmann::json free{{"version", 1}, {"owner", ""}, {"until_ms", 0}};
  (void)store_.put(state_keys::lock(), free.dump() + "\n", PutIf::unchanged(etag_));
  etag_.clear();
}

}  // namespace millrace
