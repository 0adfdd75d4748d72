// The models behind the embedded Personalize: most popular items, similar items, and a factorised
// model of users' tastes. Pure: no files, no clock, no threads.
//
// Tastes are the implicit-feedback least squares of Hu, Koren and Volinsky ("Collaborative
// Filtering for Implicit Feedback Datasets", ICDM 2008): only the items' factors are kept, and a
// user's are solved from his interactions at each request. That is why streamed events move his
// recommendations at once, and why a user who was unknown at training is served too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "local/personalize_service.h"

namespace millrace {

enum class RecommenderKind {
  user_personalization,
  personalized_ranking,
  popularity,
  similar_items
};

struct TrainingRow {
  std::uint32_t user = 0;  // index in TrainingData::users
  std::uint32_t item = 0;  // index in TrainingData::items
  std::int64_t second = 0;
  float weight = 1;  // above 0
};

/// The order of rows does not matter: the same rows give the same model.
struct TrainingData {
  std::vector<std::string> users{};  // different from each other
  std::vector<std::string> items{};
  std::vector<TrainingRow> rows{};
};

struct RecommenderOptions {
  std::size_t factors = 32;
  std::size_t rounds = 8;       // of least squares, users and items, for the measured model
  std::size_t rounds_more = 2;  // from there on with the held-out interactions added
  double confidence = 6;        // what one interaction says beside none
  double regularisation = 8;
  std::size_t neighbours_max = 64;          // kept for each item
  std::size_t history_max = 400;            // a user's newest items that count for neighbours
  std::size_t users_measured_max = 20'000;  // of the tenth that is held out
  std::uint64_t seed = 1;
};

struct ScoredItem {
  std::string item_id{};
  double score =
      0;  // of one list: they add up to 1 over all items; 0 for items unknown to the model
  bool known = true;
};

/// An interaction after training, oldest first.
struct FreshInteraction {
  std::string_view item_id{};
  std::int64_t second = 0;
  float weight = 1;
};

/// Immutable, so any thread may ask it. Memory: 4 bytes per item and factor, 8 per kept neighbour,
/// 12 per distinct user and item.
class Recommender {
 public:
  struct Trained;

  /// Trains, and measures on held-out interactions before it adds them: of every tenth user the
  /// newest tenth (at least one) of the interactions. About 8 s of one core for a million rows of
  /// 2,000 users and 10,000 items. REQUIRES: at least one row.
  static Trained train(const TrainingData& data, RecommenderKind kind,
                       const RecommenderOptions& options);

  /// The best `count` items for a user, those he has not had before those he has. A user without
  /// any known interaction gets the most popular items. REQUIRES: kind is not similar_items.
  [[nodiscard]] std::vector<ScoredItem> recommend(std::string_view user_id,
                                                  std::span<const FreshInteraction> fresh,
                                                  std::size_t count) const;

  /// The items most often found with this one, itself left out; popular ones for an unknown item
  /// and after those that were ever found with it.
  [[nodiscard]] std::vector<ScoredItem> similar(std::string_view item_id, std::size_t count) const;

  /// `items` in the user's order; those unknown to the model come last, in the order given.
  [[nodiscard]] std::vector<ScoredItem> rank(std::string_view user_id,
                                             std::span<const FreshInteraction> fresh,
                                             std::span<const std::string> items) const;

  [[nodiscard]] RecommenderKind kind() const;
  [[nodiscard]] bool knows_user(std::string_view user_id) const;
  [[nodiscard]] bool knows_item(std::string_view item_id) const;
  [[nodiscard]] std::size_t item_count() const;

  /// The model as bytes of a format of our own (docs/formats.md); equal models give equal bytes.
  [[nodiscard]] std::string bytes() const;
  /// `corrupt` for anything that bytes() did not make.
  static Result<std::shared_ptr<const Recommender>> from_bytes(std::string_view bytes);

  ~Recommender();
  Recommender(const Recommender&) = delete;
  Recommender& operator=(const Recommender&) = delete;

 private:
  struct Model;
  explicit Recommender(std::unique_ptr<const Model> model);
  std::unique_ptr<const Model> model_;
};

struct Recommender::Trained {
  std::shared_ptr<const Recommender> recommender{};
  ComparedMetrics metrics{};
};

}  // namespace millrace
