#include "local/recommender.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <sstream>

#include "core/rng.h"
#include "local/crowd.h"

namespace millrace {
namespace {

/// Two camps that never meet: users and items with an even number, and those with an odd one.
TrainingData two_camps() {
  TrainingData data;
  for (int i = 0; i < 60; ++i) data.users.push_back("u" + std::to_string(i));
  for (int i = 0; i < 80; ++i) data.items.push_back("i" + std::to_string(i));
  Rng rng(7);
  for (std::uint32_t user = 0; user < 60; ++user) {
    for (int k = 0; k < 15; ++k) {
      const auto item = static_cast<std::uint32_t>(rng.below(40) * 2 + user % 2);
      data.rows.push_back({user, item, 1000 + k, 1});
    }
  }
  return data;
}

bool even(const std::string& item) { return (item.back() - '0') % 2 == 0; }

TEST(Recommender, FindsThePlantedCamps) {
  const auto trained =
      Recommender::train(two_camps(), RecommenderKind::user_personalization, {.factors = 8});
  for (const char* user : {"u4", "u10"}) {
    for (const ScoredItem& item : trained.recommender->recommend(user, {}, 15)) {
      EXPECT_TRUE(even(item.item_id)) << user << " " << item.item_id;
    }
  }
  EXPECT_GT(trained.metrics.model.precision_at_25, trained.metrics.popularity.precision_at_25);
}

TEST(Recommender, TwoFreshEventsAreEnoughToKnowANewcomer) {
  const auto trained =
      Recommender::train(two_camps(), RecommenderKind::user_personalization, {.factors = 8});
  const std::vector<FreshInteraction> fresh = {{"i1", 2000, 1}, {"i3", 2001, 1}, {"gone", 2002, 1}};
  for (const ScoredItem& item : trained.recommender->recommend("newcomer", fresh, 15)) {
    EXPECT_FALSE(even(item.item_id)) << item.item_id;
    EXPECT_NE(item.item_id, "i1") << "had already";
  }
}

TEST(Recommender, GivesWhatAUserHadAfterAllThatHeHadNot) {
  TrainingData data = two_camps();
  const auto trained = Recommender::train(data, RecommenderKind::popularity, {});
  const auto all = trained.recommender->recommend("u0", {}, 1000);
  ASSERT_EQ(all.size(), 80U);
  std::vector<std::string> had;
  for (const TrainingRow& row : data.rows) {
    if (row.user == 0) had.push_back(data.items[row.item]);
  }
  std::sort(had.begin(), had.end());
  had.erase(std::unique(had.begin(), had.end()), had.end());
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(std::binary_search(had.begin(), had.end(), all[i].item_id),
              i >= all.size() - had.size())
        << i;
  }
  double sum = 0;
  for (const ScoredItem& item : all) sum += item.score;
  EXPECT_NEAR(sum, 1, 1e-6);
}

TEST(Recommender, IsTheSameForTheSameRowsInAnyOrder) {
  TrainingData data = two_camps();
  const auto first = Recommender::train(data, RecommenderKind::user_personalization, {});
  std::reverse(data.rows.begin(), data.rows.end());
  const auto second = Recommender::train(data, RecommenderKind::user_personalization, {});
  EXPECT_EQ(first.recommender->bytes(), second.recommender->bytes());
}

TEST(Recommender, GivesTheSameAnswersAfterBytes) {
  for (const auto kind : {RecommenderKind::user_personalization, RecommenderKind::popularity,
                          RecommenderKind::similar_items, RecommenderKind::personalized_ranking}) {
    const auto trained = Recommender::train(two_camps(), kind, {});
    const auto bytes = trained.recommender->bytes();
    const auto again = Recommender::from_bytes(bytes);
    ASSERT_TRUE(again);
    EXPECT_EQ((*again)->bytes(), bytes);
    const auto ids = [&](const Recommender& model) {
      std::vector<std::string> result;
      const auto list = kind == RecommenderKind::similar_items ? model.similar("i3", 9)
                                                               : model.recommend("u5", {}, 9);
      for (const auto& item : list) result.push_back(item.item_id);
      return result;
    };
    EXPECT_EQ(ids(**again), ids(*trained.recommender));
  }
}

TEST(Recommender, RefusesBytesThatAreNotItsOwn) {
  const auto bytes =
      Recommender::train(two_camps(), RecommenderKind::similar_items, {}).recommender->bytes();
  EXPECT_FALSE(Recommender::from_bytes(""));
  EXPECT_FALSE(Recommender::from_bytes("millrace-model-1\n"));
  EXPECT_FALSE(Recommender::from_bytes(std::string_view(bytes).substr(0, bytes.size() / 2)));
  std::string flipped = bytes;
  flipped[flipped.size() / 2] = static_cast<char>(flipped[flipped.size() / 2] ^ 1);
  const auto refused = Recommender::from_bytes(flipped);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::corrupt);
}

TEST(Recommender, SimilarItemsLeaveOutTheItemItselfAndFallBackToPopularOnes) {
  const auto trained = Recommender::train(two_camps(), RecommenderKind::similar_items, {});
  const auto near = trained.recommender->similar("i4", 10);
  ASSERT_EQ(near.size(), 10U);
  for (const ScoredItem& item : near) {
    EXPECT_NE(item.item_id, "i4");
    EXPECT_TRUE(even(item.item_id)) << item.item_id;
  }
  EXPECT_EQ(trained.recommender->similar("unheard-of", 10).size(), 10U);
}

TEST(Recommender, BeatsPopularityClearlyOnACrowd) {
  Crowd crowd({.users = 400, .items = 600, .interactions = 30'000});
  TrainingData data;
  std::map<std::string, std::uint32_t> users;
  std::map<std::string, std::uint32_t> items;
  CrowdEvent event;
  while (crowd.next(event)) {
    const auto [user, new_user] = users.emplace(event.user_id, users.size());
    if (new_user) data.users.push_back(event.user_id);
    const auto [item, new_item] = items.emplace(event.item_id, items.size());
    if (new_item) data.items.push_back(event.item_id);
    data.rows.push_back({user->second, item->second, event.timestamp_ms / 1000, 1});
  }
  const auto trained = Recommender::train(data, RecommenderKind::user_personalization, {});
  const auto& model = trained.metrics.model;
  const auto& popular = trained.metrics.popularity;
  EXPECT_GT(model.ndcg_at_25, 2 * popular.ndcg_at_25);
  EXPECT_GT(model.precision_at_10, 2 * popular.precision_at_10);
  EXPECT_GT(model.coverage, popular.coverage);
  EXPECT_EQ(model.users, 40U);
}

TEST(Recommender, BeatsPopularityClearlyOnMovieLens) {
  const std::filesystem::path file =
      std::filesystem::path(MILLRACE_SOURCE_DIR) / "../shared/data/datasets/ml-100k/u.data.gz";
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "no " << file;
  gzFile rows = gzopen(file.c_str(), "rb");
  TrainingData data;
  for (int i = 1; i <= 943; ++i) data.users.push_back(std::to_string(i));
  for (int i = 1; i <= 1682; ++i) data.items.push_back(std::to_string(i));
  char line[200];
  while (gzgets(rows, line, sizeof line) != nullptr) {
    std::istringstream cells(line);
    std::uint32_t user = 0;
    std::uint32_t item = 0;
    int rating = 0;
    std::int64_t second = 0;
    cells >> user >> item >> rating >> second;
    data.rows.push_back({user - 1, item - 1, second, 1});
  }
  gzclose(rows);
  ASSERT_EQ(data.rows.size(), 100'000U);
  const auto metrics = Recommender::train(data, RecommenderKind::user_personalization, {}).metrics;
  EXPECT_EQ(metrics.model.users, 95U);
  EXPECT_GT(metrics.model.precision_at_5, 2 * metrics.popularity.precision_at_5);
  EXPECT_GT(metrics.model.ndcg_at_25, 2 * metrics.popularity.ndcg_at_25);
}

TEST(Recommender, MetricsArePerfectWhereTheFutureIsCertain) {
  // Every user walks the same road, one item after the other; the last step is held out.
  TrainingData data;
  for (std::uint32_t i = 0; i < 30; ++i) data.items.push_back("i" + std::to_string(i));
  for (std::uint32_t user = 0; user < 100; ++user) {
    data.users.push_back("u" + std::to_string(user));
    for (std::uint32_t i = 0; i < 6; ++i) data.rows.push_back({user, user % 5 * 6 + i, 100 + i, 1});
  }
  const auto metrics =
      Recommender::train(data, RecommenderKind::user_personalization, {}).metrics.model;
  EXPECT_EQ(metrics.mean_reciprocal_rank_at_25, 1);
  EXPECT_EQ(metrics.ndcg_at_5, 1);
  EXPECT_NEAR(metrics.precision_at_5, 0.2, 1e-9);
  EXPECT_NEAR(metrics.precision_at_25, 0.04, 1e-9);
}

}  // namespace
}  // namespace millrace
