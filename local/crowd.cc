#include "local/crowd.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <unordered_set>

#include "core/check.h"

namespace millrace {
namespace {

constexpr std::array<std::string_view, 24> kGenres = {
    "drama",     "comedy",  "thriller", "mystery", "western", "romance", "history", "nature",
    "space",     "sailing", "music",    "cooking", "heist",   "spy",     "fantasy", "family",
    "courtroom", "noir",    "sports",   "travel",  "war",     "silent",  "musical", "robots"};
constexpr std::array<std::string_view, 40> kAdjectives = {
    "Quiet",    "Last",    "Golden",  "Broken",  "Hidden",  "Silver",   "Endless",  "Paper",
    "Winter",   "Crimson", "Distant", "Hollow",  "Gentle",  "Burning",  "Secret",   "Northern",
    "Lost",     "Iron",    "Velvet",  "Second",  "Painted", "Restless", "Borrowed", "Midnight",
    "Narrow",   "Salt",    "Glass",   "Crooked", "Early",   "Unsent",   "Copper",   "Patient",
    "Drifting", "Amber",   "Stolen",  "Wooden",  "Careful", "Western",  "Electric", "Forgotten"};
constexpr std::array<std::string_view, 40> kNouns = {
    "Harbour",   "Letter",     "Garden",  "River",    "Clock",   "Lantern", "Orchard",  "Station",
    "Mirror",    "Bridge",     "Island",  "Library",  "Kitchen", "Voyage",  "Signal",   "Canyon",
    "Piano",     "Lighthouse", "Market",  "Carousel", "Tunnel",  "Comet",   "Attic",    "Ferry",
    "Millrace",  "Compass",    "Balcony", "Meadow",   "Train",   "Theatre", "Vineyard", "Archive",
    "Shoreline", "Engine",     "Chapel",  "Workshop", "Parade",  "Window",  "Season",   "Alphabet"};

/// A number that looks random and depends on nothing but its argument.
std::uint64_t mixed(std::uint64_t value) {
  value += 0x9E3779B97F4A7C15U;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9U;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBU;
  return value ^ (value >> 31);
}

std::size_t drawn_from(const std::vector<double>& cumulative, Rng& rng) {
  const double at = rng.unit() * cumulative.back();
  const auto found = std::upper_bound(cumulative.begin(), cumulative.end(), at);
  return std::min(static_cast<std::size_t>(found - cumulative.begin()), cumulative.size() - 1);
}

}  // namespace

Crowd::Crowd(CrowdOptions options) : options_(options) {
  MILLRACE_CHECK(options_.users >= 1 && options_.users <= 1'000'000);
  MILLRACE_CHECK(options_.items >= 10 && options_.items <= 200'000);
  MILLRACE_CHECK(options_.end > options_.start);
  MILLRACE_CHECK(options_.interactions < UINT32_MAX);

  Rng rng(options_.seed);
  // At least five items each, or there would be nothing to choose from.
  genres_ = std::clamp<std::size_t>(options_.items / 25, 2, kGenres.size());
  genre_of_item_.resize(options_.items);
  items_of_genre_.resize(genres_);
  cumulative_of_genre_.resize(genres_);
  for (std::size_t item = 0; item < options_.items; ++item) {
    const std::size_t genre = item < genres_ ? item : rng.below(genres_);
    genre_of_item_[item] = static_cast<std::uint32_t>(genre);
    items_of_genre_[genre].push_back(static_cast<std::uint32_t>(item));
    // Zipf over all items: an item's number is its rank. The offset keeps the very first from
    // being in everybody's history.
    auto& cumulative = cumulative_of_genre_[genre];
    const double share = 1.0 / std::pow(static_cast<double>(item) + 20.0, 0.8);
    cumulative.push_back((cumulative.empty() ? 0.0 : cumulative.back()) + share);
  }
  tastes_.resize(options_.users);
  for (Taste& taste : tastes_) {
    for (auto& genre : taste.genre) genre = static_cast<std::uint32_t>(rng.below(genres_));
    taste.share[0] = 0.5 + 0.2 * rng.unit();
    taste.share[1] = taste.share[0] + (1 - taste.share[0]) * (0.5 + 0.3 * rng.unit());
    taste.share[2] = 1;
  }
  draw_visits();
  draw_events();
}

void Crowd::draw_visits() {
  Rng rng(mixed(options_.seed));
  std::vector<double> activity(options_.users);
  double total = 0;
  for (std::size_t user = 0; user < options_.users; ++user) {
    total += 0.15 + std::pow(rng.unit(), 4) * 6;  // a few come daily, most now and then
    activity[user] = total;
  }
  const auto span = static_cast<std::uint64_t>((options_.end - options_.start).count());
  std::size_t left = options_.interactions;
  // Everybody comes once, as far as there are events for all; then the active ones return.
  for (std::size_t visit = 0; left > 0; ++visit) {
    const std::size_t user = visit < options_.users ? visit : drawn_from(activity, rng);
    std::uint32_t events = 2;
    while (events < 30 && rng.chance(0.85)) ++events;
    events = static_cast<std::uint32_t>(std::min<std::size_t>(events, left));
    left -= events;
    visits_.push_back({static_cast<std::uint32_t>(user),
                       unix_ms(options_.start) + static_cast<std::int64_t>(rng.below(span)),
                       events});
  }
  std::sort(visits_.begin(), visits_.end(), [](const Visit& a, const Visit& b) {
    return a.start_ms != b.start_ms ? a.start_ms < b.start_ms : a.user < b.user;
  });
}

std::uint32_t Crowd::draw_item(Rng& rng, std::uint32_t genre) const {
  return items_of_genre_[genre][drawn_from(cumulative_of_genre_[genre], rng)];
}

void Crowd::draw_events() {
  Rng rng(mixed(options_.seed + 1));
  std::unordered_set<std::uint64_t> taken;
  taken.reserve(options_.interactions);
  events_.reserve(options_.interactions);
  const std::int64_t last_ms = unix_ms(options_.end) - 1;
  for (std::uint32_t visit = 0; visit < visits_.size(); ++visit) {
    const Visit& one = visits_[visit];
    const Taste& taste = tastes_[one.user];
    const auto liked = [&] {
      const double at = rng.unit();
      return taste.genre[at < taste.share[0] ? 0 : at < taste.share[1] ? 1 : 2];
    };
    const std::uint32_t mood = liked();
    std::int64_t time_ms = one.start_ms;
    for (std::uint32_t i = 0; i < one.events; ++i) {
      const double whim = rng.unit();
      std::uint32_t genre = mood;
      if (whim > 0.95)
        genre = static_cast<std::uint32_t>(rng.below(genres_));
      else if (whim > 0.8)
        genre = liked();
      std::uint32_t item = draw_item(rng, genre);
      // He looks for something new, and takes an old one again when he finds nothing soon.
      for (int attempt = 0; attempt < 12; ++attempt) {
        if (taken.insert(std::uint64_t{one.user} << 32 | item).second) break;
        item = draw_item(rng, genre);
      }
      events_.push_back({std::min(time_ms, last_ms), visit, item});
      time_ms += static_cast<std::int64_t>(4'000 + rng.below(90'000));
    }
  }
  std::stable_sort(events_.begin(), events_.end(),
                   [](const Drawn& a, const Drawn& b) { return a.time_ms < b.time_ms; });
}

bool Crowd::next(CrowdEvent& event) {
  if (next_ == events_.size()) return false;
  const Drawn& drawn = events_[next_++];
  const std::uint64_t chance = mixed(next_ ^ options_.seed << 32) % 100;
  event.user_id = fmt::format("user-{:05}", visits_[drawn.visit].user);
  event.item_id = item_id(drawn.item);
  event.session_id = fmt::format("visit-{:06}", drawn.visit);
  event.event_type = chance < 80 ? "view" : chance < 95 ? "click" : "purchase";
  event.timestamp_ms = drawn.time_ms;
  return true;
}

std::string Crowd::item_id(std::size_t index) const { return fmt::format("item-{:05}", index); }

std::string Crowd::item_title(std::size_t index) const {
  constexpr std::size_t kPairs = kAdjectives.size() * kNouns.size();
  // 1,307 shares no factor with the number of pairs: each comes up once before any repeats.
  const std::size_t pair = index % kPairs * 1307 % kPairs;
  const auto part = index / kPairs;
  const auto title = fmt::format("The {} {}", kAdjectives[pair % kAdjectives.size()],
                                 kNouns[pair / kAdjectives.size()]);
  const auto genre = kGenres[genre_of_item_[index]];
  return part == 0 ? fmt::format("{} ({})", title, genre)
                   : fmt::format("{} {} ({})", title, part + 1, genre);
}

}  // namespace millrace
