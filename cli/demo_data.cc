#include "cli/demo_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <memory>
#include <unordered_set>

#include "cli/traffic.h"
#include "events/decode_event.h"
#include "lake/decompress.h"
#include "lake/store_of_url.h"

namespace millrace {
namespace {

constexpr std::size_t kUsersShown = 3;
constexpr std::size_t kItemsShown = 6;

// Big enough to learn tastes from, small enough for a demo of half a minute.
CrowdOptions demo_crowd() {
  CrowdOptions crowd;
  crowd.users = 2'000;
  crowd.items = 2'500;
  crowd.interactions = 120'000;
  crowd.end = std::chrono::floor<std::chrono::days>(std::chrono::system_clock::now());
  crowd.start = crowd.end - std::chrono::days(90);
  return crowd;
}

Result<std::unique_ptr<Traffic>> open(const DemoDataOptions& options) {
  if (options.file.empty()) return invented_traffic(demo_crowd());
  return open_traffic(options.file, options.map);
}

// Titles lie beside rating sets under one of a few names.
Titles titles_beside(const std::string& file) {
  const std::filesystem::path folder = std::filesystem::absolute(file).parent_path();
  for (const char* name :
       {"movies.csv", "movies.dat", "items.tsv", "u.item", "artists.dat", "movies-latin1.dat"}) {
    for (const char* ending : {"", ".gz", ".zst"}) {
      const std::filesystem::path path = folder / (std::string(name) + ending);
      std::error_code ignored;
      if (!std::filesystem::exists(path, ignored)) continue;
      const auto url = split_object_url("file://" + path.string());
      if (!url) continue;
      auto store = make_store(url->store_url);
      if (!store) continue;
      auto object = (*store)->open(url->key);
      if (!object) continue;
      ObjectBytesReader bytes(std::move(*object));
      Decompressor content(bytes, path.string());
      if (auto titles = read_titles(content); titles && !titles->empty()) return std::move(*titles);
    }
  }
  return {};
}

struct LiveRow {
  std::int64_t timestamp = 0;
  std::string json{};
};

// What the judge makes of the live rows, and whom to show at the end.
void look_at_live(const std::vector<LiveRow>& live, DemoData& data) {
  EventDecoder decoder({});
  DecodedRecord decoded;
  std::unordered_set<std::string> ids;
  std::unordered_map<std::string, std::uint64_t> events_of_user;
  for (const LiveRow& row : live) {
    decoder.decode(row.json, -1, decoded);
    data.live_events += decoded.events.size();
    for (const Event& event : decoded.events) {
      ids.insert(event.event_id);
      if (event.anonymous()) continue;
      ++events_of_user[event.user_id];
      auto& newest = data.newest_items[event.user_id];
      newest.insert(newest.begin(), event.item_id);
      if (newest.size() > kItemsShown) newest.pop_back();
    }
  }
  data.live_distinct_events = ids.size();
  std::vector<std::pair<std::uint64_t, std::string>> busiest;
  for (const auto& [user, count] : events_of_user) busiest.emplace_back(count, user);
  std::sort(busiest.begin(), busiest.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  });
  for (std::size_t i = 0; i < busiest.size() && i < kUsersShown; ++i)
    data.users.push_back(busiest[i].second);
  std::erase_if(data.newest_items, [&](const auto& entry) {
    return std::find(data.users.begin(), data.users.end(), entry.first) == data.users.end();
  });
}

}  // namespace

std::string DemoData::title_of(const std::string& item) const {
  const auto found = titles.find(item);
  return found == titles.end() ? item : found->second;
}

Result<DemoData> prepare_demo_data(const DemoDataOptions& options,
                                   const std::filesystem::path& history_path,
                                   const std::filesystem::path& live_path) {
  DemoData data;
  TrafficEvent event;
  std::vector<std::int64_t> times;
  {
    auto traffic = open(options);
    if (!traffic) return tl::unexpected(traffic.error());
    data.description = (*traffic)->description();
    while (options.limit == 0 || times.size() < options.limit) {
      const auto more = (*traffic)->next(event);
      if (!more) return tl::unexpected(more.error());
      if (!*more) break;
      times.push_back(event.timestamp);
    }
    data.rows_rejected = (*traffic)->rejected_rows();
  }
  const std::size_t rows = times.size();
  if (rows < 100) {
    return fail(ErrorKind::invalid,
                fmt::format("{}: only {} rows can be read; the demo wants a thousand or more",
                            options.file.empty() ? "--limit" : options.file, rows));
  }
  // The newest tenth by time: everything after the border, and of its very second as many as are
  // missing.
  const std::size_t live_wanted = rows / 10;
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(rows - live_wanted),
                   times.end());
  const std::int64_t border = times[rows - live_wanted];
  const auto after = static_cast<std::size_t>(
      std::count_if(times.begin(), times.end(), [&](std::int64_t t) { return t > border; }));
  std::size_t from_border = live_wanted - after;
  times = {};

  std::ofstream history(history_path, std::ios::binary | std::ios::trunc);
  std::vector<LiveRow> live;
  live.reserve(live_wanted);
  auto traffic = open(options);
  if (!traffic) return tl::unexpected(traffic.error());
  for (std::size_t row = 0; row < rows; ++row) {
    const auto more = (*traffic)->next(event);
    if (!more) return tl::unexpected(more.error());
    if (!*more)
      return fail(ErrorKind::corrupt, fmt::format("{} changed while it was read", options.file));
    const bool at_border = event.timestamp == border && from_border > 0;
    if (at_border) --from_border;
    if (event.timestamp > border || at_border) {
      live.push_back({event.timestamp, event.json});
    } else {
      history << event.json << '\n';
      ++data.history_rows;
    }
  }
  std::stable_sort(live.begin(), live.end(),
                   [](const LiveRow& a, const LiveRow& b) { return a.timestamp < b.timestamp; });
  std::ofstream live_file(live_path, std::ios::binary | std::ios::trunc);
  for (const LiveRow& row : live) live_file << row.json << '\n';
  data.live_rows = live.size();
  history.close();
  live_file.close();
  if (!history || !live_file) {
    return fail(ErrorKind::transient, fmt::format("{}: writing failed (is the disk full?)",
                                                  history_path.parent_path().string()));
  }
  look_at_live(live, data);
  if (options.file.empty()) {
    const CrowdOptions crowd_options = demo_crowd();
    const Crowd crowd(crowd_options);
    for (std::size_t i = 0; i < crowd_options.items; ++i)
      data.titles.emplace(crowd.item_id(i), crowd.item_title(i));
  } else {
    data.titles = titles_beside(options.file);
  }
  return data;
}

}  // namespace millrace
