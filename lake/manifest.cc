#include "lake/manifest.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "lake/names.h"

namespace millrace {
namespace {

constexpr int kFormat = 1;

using Json = nlohmann::ordered_json;

std::optional<Manifest::State> parse_state(const std::string& text) {
  for (const auto state :
       {Manifest::State::prepared, Manifest::State::published, Manifest::State::discarded}) {
    if (text == name_of(state)) return state;
  }
  return std::nullopt;
}

std::optional<std::int64_t> second_of(const Json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end()) return std::nullopt;
  return found->get<std::int64_t>();
}

}  // namespace

std::string_view name_of(Manifest::State state) {
  switch (state) {
    case Manifest::State::prepared:
      return "prepared";
    case Manifest::State::published:
      return "published";
    case Manifest::State::discarded:
      break;
  }
  return "discarded";
}

std::string Manifest::to_json() const {
  Json json{
      {"format", kFormat},
      {"run_id", run_id},
      {"state", name_of(state)},
      {"incremental", incremental},
      {"windowed", windowed},
      {"mapping", mapping},
      {"csv", {{"url", csv_url}, {"sha256", csv_sha256}, {"bytes", csv_bytes}, {"rows", csv_rows}}},
      {"objects", Json::array()}};
  for (const ManifestObject& object : objects) {
    Json entry{{"key", object.key}, {"etag", object.etag}, {"bytes", object.bytes}};
    if (object.first_second) entry["first_second"] = *object.first_second;
    if (object.last_second) entry["last_second"] = *object.last_second;
    if (object.damaged) entry["damaged"] = true;
    json["objects"].push_back(std::move(entry));
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<Manifest> Manifest::parse(std::string_view text, const std::string& name) {
  const auto corrupt = [&](std::string_view why) {
    return fail(ErrorKind::corrupt, "the manifest " + name +
                                        " cannot be read: " + std::string(why) +
                                        "; remove it, and run `millrace compact --full`");
  };
  // nlohmann throws on members that are missing or of another type.
  try {
    const Json json = Json::parse(text);
    if (json.at("format").get<int>() > kFormat) return corrupt("a newer release wrote it");
    Manifest manifest;
    manifest.run_id = json.at("run_id").get<std::string>();
    const auto state = parse_state(json.at("state").get<std::string>());
    if (!state) return corrupt("its state is unknown");
    manifest.state = *state;
    manifest.incremental = json.at("incremental").get<bool>();
    manifest.windowed = json.at("windowed").get<bool>();
    manifest.mapping = json.at("mapping").get<std::string>();
    const Json& csv = json.at("csv");
    manifest.csv_url = csv.at("url").get<std::string>();
    manifest.csv_sha256 = csv.at("sha256").get<std::string>();
    manifest.csv_bytes = csv.at("bytes").get<std::uint64_t>();
    manifest.csv_rows = csv.at("rows").get<std::uint64_t>();
    for (const Json& entry : json.at("objects")) {
      ManifestObject object;
      object.key = entry.at("key").get<std::string>();
      object.etag = entry.at("etag").get<std::string>();
      object.bytes = entry.at("bytes").get<std::uint64_t>();
      object.first_second = second_of(entry, "first_second");
      object.last_second = second_of(entry, "last_second");
      object.damaged = entry.value("damaged", false);
      manifest.objects.push_back(std::move(object));
    }
    return manifest;
  } catch (const nlohmann::json::exception& error) {
    return corrupt(error.what());
  }
}

Result<std::vector<StoredManifest>> load_manifests(ObjectStore& state) {
  std::vector<std::string> keys;
  std::string after;
  do {
    const auto page = state.list(std::string(state_keys::kManifests), after, 1000);
    if (!page) return fail(page.error().while_doing("listing the manifests"));
    for (const ObjectInfo& object : page->objects) keys.push_back(object.key);
    after = page->next;
  } while (!after.empty());

  // Run ids begin with the time, so the newest come last. Older ones than the newest that covers
  // the lake can only be of interest while they are prepared, and a run that ended well leaves
  // none.
  std::vector<StoredManifest> manifests;
  for (auto key = keys.rbegin(); key != keys.rend(); ++key) {
    auto object = state.get(*key);
    if (!object && object.error().kind == ErrorKind::not_found) continue;
    if (!object) return fail(object.error().while_doing("reading a manifest"));
    auto manifest = Manifest::parse(object->bytes, state.url_of(*key));
    if (!manifest) return fail(manifest.error());
    const bool enough =
        manifest->state == Manifest::State::published && manifest->covers_the_lake();
    manifests.push_back({std::move(*manifest), std::move(object->etag)});
    if (enough) break;
  }
  std::reverse(manifests.begin(), manifests.end());
  return manifests;
}

Status change_state(ObjectStore& state, StoredManifest& stored, Manifest::State to) {
  Manifest changed = stored.manifest;
  changed.state = to;
  const auto etag = state.put(state_keys::manifest(changed.run_id), changed.to_json(),
                              PutIf::unchanged(stored.etag));
  if (!etag) {
    return fail(etag.error().while_doing("marking the manifest " + changed.run_id + " as " +
                                         std::string(name_of(to))));
  }
  stored.manifest.state = to;
  stored.etag = *etag;
  return {};
}

}  // namespace millrace
