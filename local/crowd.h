// Invented app users with real tastes: interactions for demos and simulations that a recommender
// can learn from. Deterministic: the same options give the same events.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/rng.h"
#include "core/time.h"

namespace millrace {

struct CrowdOptions {
  std::size_t users = 2'000;                            // 1 to 1,000,000
  std::size_t items = 3'000;                            // 10 to 200,000
  std::size_t interactions = 200'000;                   // exactly as many events are made
  WallTime start = wall_time_of_ms(1'700'000'000'000);  // no event before
  WallTime end = wall_time_of_ms(1'731'536'000'000);    // no event at or after; after `start`
  std::uint64_t seed = 1;
};

struct CrowdEvent {
  std::string user_id{};     // "user-00042"
  std::string item_id{};     // "item-00017"
  std::string session_id{};  // unique to one visit of one user
  std::string event_type{};  // "view", "click" or "purchase"
  std::int64_t timestamp_ms = 0;
};

/// The model: every item belongs to one of a few dozen genres and has a popularity that falls with
/// its rank (Zipf); every user likes two or three genres, strongly to mildly, and comes back for
/// visits of a few minutes, most of which stay within one of them. Few items are taken twice.
///
/// Not thread-safe. Memory: 16 bytes per interaction, about twice that while it is made.
class Crowd {
 public:
  /// REQUIRES: the limits written in CrowdOptions.
  explicit Crowd(CrowdOptions options);

  /// The next event in order of time; false after the last.
  bool next(CrowdEvent& event);

  [[nodiscard]] std::size_t item_count() const { return options_.items; }
  [[nodiscard]] std::string item_id(std::size_t index) const;
  /// A readable invented title, different for every item: "The Quiet Harbour (drama)".
  [[nodiscard]] std::string item_title(std::size_t index) const;
  /// The genre of an item, for tests that look whether a model found it.
  [[nodiscard]] std::size_t item_genre(std::size_t index) const { return genre_of_item_[index]; }

 private:
  struct Visit {
    std::uint32_t user = 0;
    std::int64_t start_ms = 0;
    std::uint32_t events = 0;
  };
  struct Drawn {
    std::int64_t time_ms = 0;
    std::uint32_t visit = 0;
    std::uint32_t item = 0;
  };
  struct Taste {
    std::uint32_t genre[3] = {0, 0, 0};
    double share[3] = {0, 0, 0};  // cumulative
  };

  void draw_visits();
  void draw_events();
  std::uint32_t draw_item(Rng& rng, std::uint32_t genre) const;

  CrowdOptions options_;
  std::size_t genres_ = 0;
  std::vector<std::uint32_t> genre_of_item_{};
  std::vector<std::vector<std::uint32_t>> items_of_genre_{};
  std::vector<std::vector<double>> cumulative_of_genre_{};
  std::vector<Taste> tastes_{};
  std::vector<Visit> visits_{};
  std::vector<Drawn> events_{};
  std::size_t next_ = 0;
};

}  // namespace millrace
