#include "local/recommender.h"

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>
#include <unordered_map>

#include "core/check.h"
#include "core/rng.h"

namespace millrace {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Vector = Eigen::VectorXf;

/// One user's dealings with one item, all its interactions together.
struct Had {
  std::uint32_t item = 0;
  float weight = 0;
  std::int64_t second = 0;  // of the newest
};

struct Neighbour {
  std::uint32_t item = 0;
  float similarity = 0;
};

/// Rows grouped by user: `had[start[u]] … had[start[u + 1]]`, oldest first.
struct Histories {
  std::vector<std::uint64_t> start{};
  std::vector<Had> had{};

  [[nodiscard]] std::span<const Had> of(std::size_t user) const {
    return std::span(had).subspan(start[user], start[user + 1] - start[user]);
  }
};

constexpr float kWeightMax = 8;  // the hundredth view of one page says little more than the tenth

bool older(const Had& a, const Had& b) {
  return a.second != b.second ? a.second < b.second : a.item < b.item;
}

/// Joins the interactions with one item and puts the items in order of their newest one.
void merge_items(std::vector<Had>& list) {
  std::sort(list.begin(), list.end(), [](const Had& a, const Had& b) {
    return a.item != b.item ? a.item < b.item : a.second < b.second;
  });
  std::size_t kept = 0;
  for (const Had& had : list) {
    if (kept > 0 && list[kept - 1].item == had.item) {
      list[kept - 1].weight = std::min(kWeightMax, list[kept - 1].weight + had.weight);
      list[kept - 1].second = had.second;
    } else {
      list[kept++] = had;
    }
  }
  list.resize(kept);
  std::sort(list.begin(), list.end(), older);
}

Histories merged(const std::vector<std::vector<Had>>& rows_of_user) {
  Histories histories;
  histories.start.reserve(rows_of_user.size() + 1);
  histories.start.push_back(0);
  std::vector<Had> list;
  for (const auto& rows : rows_of_user) {
    list = rows;
    merge_items(list);
    histories.had.insert(histories.had.end(), list.begin(), list.end());
    histories.start.push_back(histories.had.size());
  }
  return histories;
}

Histories turned(const Histories& by_user, std::size_t items) {
  Histories by_item;
  by_item.start.assign(items + 1, 0);
  for (const Had& had : by_user.had) ++by_item.start[had.item + 1];
  std::partial_sum(by_item.start.begin(), by_item.start.end(), by_item.start.begin());
  by_item.had.resize(by_user.had.size());
  std::vector<std::uint64_t> next(by_item.start.begin(), by_item.start.end() - 1);
  for (std::size_t user = 0; user + 1 < by_user.start.size(); ++user) {
    for (const Had& had : by_user.of(user)) {
      by_item.had[next[had.item]++] = {static_cast<std::uint32_t>(user), had.weight, had.second};
    }
  }
  return by_item;
}

/// The least-squares factors of one side, given the other side's. `scratch` saves allocations.
void solve_one(std::span<const Had> list, const Matrix& other, const Matrix& gram_regularised,
               float confidence, Matrix& scratch, Eigen::Ref<Vector> out) {
  const auto k = other.cols();
  if (list.empty()) {
    out.setZero();
    return;
  }
  const auto count = static_cast<Eigen::Index>(list.size());
  if (scratch.rows() < count) scratch.resize(count * 2, k);
  Vector right = Vector::Zero(k);
  for (Eigen::Index i = 0; i < count; ++i) {
    const Had& had = list[static_cast<std::size_t>(i)];
    const float extra = confidence * had.weight;
    scratch.row(i) = std::sqrt(extra) * other.row(had.item);
    right += (1 + extra) * other.row(had.item).transpose();
  }
  Matrix left = gram_regularised;
  left.selfadjointView<Eigen::Lower>().rankUpdate(scratch.topRows(count).transpose());
  out = left.selfadjointView<Eigen::Lower>().llt().solve(right);
}

Matrix gram_of(const Matrix& factors, double regularisation) {
  Matrix gram = Matrix::Zero(factors.cols(), factors.cols());
  gram.selfadjointView<Eigen::Lower>().rankUpdate(factors.transpose());
  gram.triangularView<Eigen::StrictlyUpper>() = gram.transpose();
  gram.diagonal().array() += static_cast<float>(regularisation);
  return gram;
}

void solve_side(const Histories& lists, const Matrix& other, const RecommenderOptions& options,
                Matrix& out) {
  const Matrix gram = gram_of(other, options.regularisation);
  Matrix scratch(256, other.cols());
  Vector solved(other.cols());
  for (Eigen::Index i = 0; i < out.rows(); ++i) {
    solve_one(lists.of(static_cast<std::size_t>(i)), other, gram,
              static_cast<float>(options.confidence), scratch, solved);
    out.row(i) = solved;
  }
}

Matrix random_factors(std::size_t rows, std::size_t columns, std::uint64_t seed) {
  Rng rng(seed);
  Matrix factors(static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(columns));
  for (Eigen::Index i = 0; i < factors.size(); ++i) {
    factors.data()[i] = static_cast<float>(rng.unit() - 0.5) * 0.2F;
  }
  return factors;
}

/// Items found with the same users, nearer in the users' own order counting more: cosine with
/// shrinkage, so that two lucky meetings do not beat two hundred.
std::vector<std::vector<Neighbour>> neighbours_of(const Histories& by_user, std::size_t items,
                                                  const RecommenderOptions& options) {
  struct Place {
    std::uint32_t user = 0;
    std::uint32_t index = 0;
  };
  std::vector<std::vector<Place>> places(items);
  for (std::size_t user = 0; user + 1 < by_user.start.size(); ++user) {
    const auto list = by_user.of(user);
    const std::size_t first =
        list.size() > options.history_max ? list.size() - options.history_max : 0;
    for (std::size_t i = first; i < list.size(); ++i) {
      places[list[i].item].push_back(
          {static_cast<std::uint32_t>(user), static_cast<std::uint32_t>(i)});
    }
  }
  std::vector<float> nearness(options.history_max + 1);
  for (std::size_t distance = 0; distance < nearness.size(); ++distance) {
    nearness[distance] = 0.25F + 0.75F / (1.0F + static_cast<float>(distance) / 10.0F);
  }
  std::vector<float> root(items);
  for (std::size_t i = 0; i < items; ++i) {
    root[i] = std::sqrt(static_cast<float>(places[i].size()));
  }

  constexpr float kShrinkage = 10;
  std::vector<std::vector<Neighbour>> result(items);
  std::vector<float> met(items, 0);
  std::vector<std::uint32_t> touched;
  std::vector<Neighbour> found;
  for (std::size_t item = 0; item < items; ++item) {
    touched.clear();
    for (const Place& place : places[item]) {
      const auto list = by_user.of(place.user);
      const std::size_t first =
          list.size() > options.history_max ? list.size() - options.history_max : 0;
      // Long histories say less about each pair.
      const float share = 1.0F / std::log2(2.0F + static_cast<float>(list.size() - first));
      for (std::size_t i = first; i < list.size(); ++i) {
        if (i == place.index) continue;
        const std::size_t distance = i > place.index ? i - place.index : place.index - i;
        float& sum = met[list[i].item];
        if (sum == 0) touched.push_back(list[i].item);
        sum += share * nearness[distance];
      }
    }
    found.clear();
    for (const std::uint32_t other : touched) {
      found.push_back({other, met[other] / (root[item] * root[other] + kShrinkage)});
      met[other] = 0;
    }
    const std::size_t kept = std::min(found.size(), options.neighbours_max);
    std::partial_sort(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(kept), found.end(),
                      [](const Neighbour& a, const Neighbour& b) {
                        return a.similarity != b.similarity ? a.similarity > b.similarity
                                                            : a.item < b.item;
                      });
    result[item].assign(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(kept));
  }
  return result;
}

struct Knowledge {
  RecommenderKind kind = RecommenderKind::user_personalization;
  float confidence = 1;
  float regularisation = 1;
  Histories histories{};
  std::vector<float> popularity{};             // share of all interactions
  Matrix item_factors{};                       // empty but for the two kinds with tastes
  Matrix gram{};                               // of item_factors, regularised
  std::vector<std::vector<Neighbour>> near{};  // empty for popularity
};

bool has_tastes(RecommenderKind kind) {
  return kind == RecommenderKind::user_personalization ||
         kind == RecommenderKind::personalized_ranking;
}

std::vector<float> popularity_of(const Histories& by_user, std::size_t items) {
  std::vector<float> popularity(items, 0);
  for (const Had& had : by_user.had) popularity[had.item] += 1;
  const float total = std::max<float>(1, static_cast<float>(by_user.had.size()));
  for (float& share : popularity) share /= total;
  return popularity;
}

/// Scores of all items for somebody with this history, higher is better.
std::vector<float> scores_for(const Knowledge& model, std::span<const Had> list) {
  const std::size_t items = model.popularity.size();
  if (list.empty() || model.kind == RecommenderKind::popularity) return model.popularity;

  std::vector<float> scores(items, 0);
  const Eigen::Map<const Vector> popularity(model.popularity.data(),
                                            static_cast<Eigen::Index>(items));
  Eigen::Map<Vector> out(scores.data(), static_cast<Eigen::Index>(items));
  // Popularity only decides between items that nothing else tells apart.
  out = popularity * 0.05F;
  if (has_tastes(model.kind)) {
    Matrix scratch(static_cast<Eigen::Index>(list.size()), model.item_factors.cols());
    Vector taste(model.item_factors.cols());
    solve_one(list, model.item_factors, model.gram, model.confidence, scratch, taste);
    out += model.item_factors * taste;
  }
  // What he had last says most about what comes next; ALS has no sense of order.
  constexpr std::size_t kRecent = 40;
  std::vector<float> near(items, 0);
  float strength = 1;
  for (std::size_t i = 0; i < std::min(kRecent, list.size()); ++i) {
    const Had& had = list[list.size() - 1 - i];
    for (const Neighbour& neighbour : model.near[had.item]) {
      near[neighbour.item] += strength * neighbour.similarity;
    }
    strength *= 0.93F;
  }
  const Eigen::Map<const Vector> nearby(near.data(), static_cast<Eigen::Index>(items));
  const float highest = nearby.maxCoeff();
  if (highest > 0) out += nearby * (0.6F / highest);
  return scores;
}

struct Candidate {
  float score = 0;
  std::uint32_t item = 0;
  bool had = false;
};

bool better(const Candidate& a, const Candidate& b) {
  if (a.had != b.had) return b.had;
  return a.score != b.score ? a.score > b.score : a.item < b.item;
}

/// The first `count` items: those not had before, then those had, each by score.
std::vector<Candidate> best_of(const std::vector<float>& scores, std::span<const Had> list,
                               std::size_t count) {
  std::vector<Candidate> candidates(scores.size());
  for (std::size_t i = 0; i < scores.size(); ++i) {
    candidates[i] = {scores[i], static_cast<std::uint32_t>(i), false};
  }
  for (const Had& had : list) candidates[had.item].had = true;
  const auto kept = static_cast<std::ptrdiff_t>(std::min(count, candidates.size()));
  if (kept < static_cast<std::ptrdiff_t>(candidates.size())) {
    std::nth_element(candidates.begin(), candidates.begin() + kept, candidates.end(), better);
    candidates.resize(static_cast<std::size_t>(kept));
  }
  std::sort(candidates.begin(), candidates.end(), better);
  return candidates;
}

/// Similar items for one item; where nothing was ever found with it, popularity.
std::vector<float> scores_near(const Knowledge& model, std::uint32_t item) {
  std::vector<float> scores(model.popularity.size());
  for (std::size_t i = 0; i < scores.size(); ++i) scores[i] = model.popularity[i] * 1e-3F;
  for (const Neighbour& neighbour : model.near[item]) {
    scores[neighbour.item] += neighbour.similarity;
  }
  return scores;
}

std::vector<Candidate> first_25(const Knowledge& model, std::span<const Had> list) {
  constexpr std::size_t kCount = 25;
  if (model.kind == RecommenderKind::similar_items && !list.empty()) {
    return best_of(scores_near(model, list.back().item), list, kCount);
  }
  return best_of(scores_for(model, list), list, kCount);
}

/// What is held out of one user: distinct items of his newest interactions.
struct HeldOut {
  std::uint32_t user = 0;
  std::vector<std::uint32_t> items{};  // sorted
};

OfflineMetrics measured(const Knowledge& model, const std::vector<HeldOut>& held_out) {
  OfflineMetrics metrics;
  metrics.users = held_out.size();
  if (held_out.empty()) return metrics;
  for (const HeldOut& one : held_out) {
    const auto list = first_25(model, model.histories.of(one.user));
    double gain = 0;
    double ideal = 0;
    std::size_t hits = 0;
    double reciprocal_rank = 0;
    for (std::size_t place = 1; place <= 25; ++place) {
      const double worth = 1 / std::log2(1.0 + static_cast<double>(place));
      if (place <= one.items.size()) ideal += worth;
      if (place <= list.size() &&
          std::binary_search(one.items.begin(), one.items.end(), list[place - 1].item)) {
        gain += worth;
        ++hits;
        if (reciprocal_rank == 0) reciprocal_rank = 1 / static_cast<double>(place);
      }
      const double precision = static_cast<double>(hits) / static_cast<double>(place);
      const double ndcg = gain / ideal;
      if (place == 5) metrics.ndcg_at_5 += ndcg, metrics.precision_at_5 += precision;
      if (place == 10) metrics.ndcg_at_10 += ndcg, metrics.precision_at_10 += precision;
      if (place == 25) metrics.ndcg_at_25 += ndcg, metrics.precision_at_25 += precision;
    }
    metrics.mean_reciprocal_rank_at_25 += reciprocal_rank;
  }
  for (double* sum :
       {&metrics.ndcg_at_5, &metrics.ndcg_at_10, &metrics.ndcg_at_25, &metrics.precision_at_5,
        &metrics.precision_at_10, &metrics.precision_at_25, &metrics.mean_reciprocal_rank_at_25}) {
    *sum /= static_cast<double>(held_out.size());
  }

  // A thousand users, evenly spread, say what "anybody" gets.
  constexpr std::size_t kUsers = 1000;
  const std::size_t users = model.histories.start.size() - 1;
  std::vector<bool> shown(model.popularity.size(), false);
  for (std::size_t user = 0; user < users; user += std::max<std::size_t>(1, users / kUsers)) {
    for (const Candidate& candidate : first_25(model, model.histories.of(user))) {
      shown[candidate.item] = true;
    }
  }
  metrics.coverage = static_cast<double>(std::count(shown.begin(), shown.end(), true)) /
                     static_cast<double>(shown.size());
  return metrics;
}

// --- bytes -------------------------------------------------------------------------------------

constexpr std::string_view kMagic = "millrace-model-1\n";

std::uint64_t fnv(std::string_view bytes) {
  std::uint64_t hash = 1469598103934665603U;
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
  return hash;
}

class Out {
 public:
  explicit Out(std::string& bytes) : bytes_(bytes) {}
  template <class T>
  void number(T value) {
    static_assert(std::is_trivially_copyable_v<T>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  template <class T>
  void numbers(const T* values, std::size_t count) {
    number<std::uint64_t>(count);
    bytes_.append(reinterpret_cast<const char*>(values), count * sizeof(T));
  }
  void text(std::string_view value) { numbers(value.data(), value.size()); }

 private:
  std::string& bytes_;
};

class In {
 public:
  explicit In(std::string_view bytes) : rest_(bytes) {}
  template <class T>
  T number() {
    T value{};
    if (rest_.size() < sizeof value) {
      good_ = false;
      return value;
    }
    std::memcpy(&value, rest_.data(), sizeof value);
    rest_.remove_prefix(sizeof value);
    return value;
  }
  template <class Container>
  void numbers(Container& values) {
    using T = typename Container::value_type;
    const auto count = number<std::uint64_t>();
    if (!good_ || count > rest_.size() / sizeof(T)) {
      good_ = false;
      return;
    }
    values.resize(count);
    if (count > 0) std::memcpy(values.data(), rest_.data(), count * sizeof(T));
    rest_.remove_prefix(count * sizeof(T));
  }
  [[nodiscard]] bool good() const { return good_; }
  [[nodiscard]] bool at_end() const { return rest_.empty(); }
  [[nodiscard]] std::size_t left() const { return rest_.size(); }

 private:
  std::string_view rest_;
  bool good_ = true;
};

}  // namespace

struct Recommender::Model {
  Knowledge knowledge{};
  std::vector<std::string> users{};
  std::vector<std::string> items{};
  std::unordered_map<std::string_view, std::uint32_t> user_index{};
  std::unordered_map<std::string_view, std::uint32_t> item_index{};

  void index() {
    for (std::uint32_t i = 0; i < users.size(); ++i) user_index.emplace(users[i], i);
    for (std::uint32_t i = 0; i < items.size(); ++i) item_index.emplace(items[i], i);
  }

  [[nodiscard]] std::vector<Had> history(std::string_view user_id,
                                         std::span<const FreshInteraction> fresh) const {
    std::vector<Had> list;
    if (const auto user = user_index.find(user_id); user != user_index.end()) {
      const auto known = knowledge.histories.of(user->second);
      list.assign(known.begin(), known.end());
    }
    const std::size_t trained = list.size();
    for (const FreshInteraction& one : fresh) {
      const auto item = item_index.find(one.item_id);
      if (item != item_index.end()) list.push_back({item->second, one.weight, one.second});
    }
    if (list.size() > trained) merge_items(list);
    return list;
  }

  [[nodiscard]] std::vector<ScoredItem> listed(const std::vector<Candidate>& candidates,
                                               const std::vector<float>& scores) const {
    // Shown like the real ones: positive and adding up to 1, steeper than the raw scores.
    const float highest = *std::max_element(scores.begin(), scores.end());
    const float spread = std::max(1e-6F, highest / 8);
    double total = 0;
    for (const float score : scores) total += std::exp((score - highest) / spread);
    std::vector<ScoredItem> result;
    result.reserve(candidates.size());
    for (const Candidate& candidate : candidates) {
      result.push_back(
          {items[candidate.item], std::exp((candidate.score - highest) / spread) / total, true});
    }
    return result;
  }
};

Recommender::Recommender(std::unique_ptr<const Model> model) : model_(std::move(model)) {}
Recommender::~Recommender() = default;

Recommender::Trained Recommender::train(const TrainingData& data, RecommenderKind kind,
                                        const RecommenderOptions& options) {
  MILLRACE_CHECK(!data.rows.empty() && !data.users.empty() && !data.items.empty());
  std::vector<std::vector<Had>> rows_of_user(data.users.size());
  for (const TrainingRow& row : data.rows) {
    rows_of_user[row.user].push_back({row.item, row.weight, row.second});
  }
  for (auto& rows : rows_of_user) std::sort(rows.begin(), rows.end(), older);

  // Every tenth user of those with something left to know them by, in an order that only the seed
  // knows.
  std::vector<std::uint32_t> measurable;
  for (std::uint32_t user = 0; user < rows_of_user.size(); ++user) {
    if (rows_of_user[user].size() >= 2) measurable.push_back(user);
  }
  Rng rng(options.seed);
  for (std::size_t i = measurable.size(); i > 1; --i) {
    std::swap(measurable[i - 1], measurable[rng.below(i)]);
  }
  measurable.resize(std::min((measurable.size() + 9) / 10, options.users_measured_max));
  std::sort(measurable.begin(), measurable.end());

  std::vector<HeldOut> held_out;
  auto kept_of_user = rows_of_user;
  for (const std::uint32_t user : measurable) {
    auto& rows = kept_of_user[user];
    const std::size_t count = std::max<std::size_t>(1, rows.size() / 10);
    HeldOut one{user, {}};
    for (std::size_t i = rows.size() - count; i < rows.size(); ++i) {
      one.items.push_back(rows[i].item);
    }
    rows.resize(rows.size() - count);
    std::sort(one.items.begin(), one.items.end());
    one.items.erase(std::unique(one.items.begin(), one.items.end()), one.items.end());
    held_out.push_back(std::move(one));
  }

  const std::size_t items = data.items.size();
  Knowledge model;
  model.kind = kind;
  model.confidence = static_cast<float>(options.confidence);
  model.regularisation = static_cast<float>(options.regularisation);
  Matrix user_factors;
  const auto learn = [&](const std::vector<std::vector<Had>>& rows, std::size_t rounds) {
    model.histories = merged(rows);
    model.popularity = popularity_of(model.histories, items);
    if (kind == RecommenderKind::popularity) return;
    model.near = neighbours_of(model.histories, items, options);
    if (!has_tastes(kind)) return;
    if (model.item_factors.size() == 0) {
      model.item_factors = random_factors(items, options.factors, options.seed);
      user_factors = random_factors(data.users.size(), options.factors, options.seed + 1);
    }
    const Histories by_item = turned(model.histories, items);
    for (std::size_t round = 0; round < rounds; ++round) {
      solve_side(model.histories, model.item_factors, options, user_factors);
      solve_side(by_item, user_factors, options, model.item_factors);
    }
    model.gram = gram_of(model.item_factors, options.regularisation);
  };

  learn(kept_of_user, options.rounds);
  Trained trained;
  trained.metrics.model = measured(model, held_out);
  Knowledge popular;
  popular.kind = RecommenderKind::popularity;
  popular.histories = model.histories;
  popular.popularity = model.popularity;
  trained.metrics.popularity = measured(popular, held_out);

  learn(rows_of_user, options.rounds_more);
  auto whole = std::make_unique<Model>();
  whole->knowledge = std::move(model);
  whole->users = data.users;
  whole->items = data.items;
  whole->index();
  trained.recommender = std::shared_ptr<const Recommender>(new Recommender(std::move(whole)));
  return trained;
}

std::vector<ScoredItem> Recommender::recommend(std::string_view user_id,
                                               std::span<const FreshInteraction> fresh,
                                               std::size_t count) const {
  MILLRACE_CHECK(model_->knowledge.kind != RecommenderKind::similar_items);
  const auto list = model_->history(user_id, fresh);
  const auto scores = scores_for(model_->knowledge, list);
  return model_->listed(best_of(scores, list, count), scores);
}

std::vector<ScoredItem> Recommender::similar(std::string_view item_id, std::size_t count) const {
  const auto found = model_->item_index.find(item_id);
  if (found == model_->item_index.end() || model_->knowledge.near.empty()) {
    return model_->listed(best_of(model_->knowledge.popularity, {}, count),
                          model_->knowledge.popularity);
  }
  const auto scores = scores_near(model_->knowledge, found->second);
  auto candidates = best_of(scores, {}, count + 1);
  std::erase_if(candidates,
                [&](const Candidate& candidate) { return candidate.item == found->second; });
  if (candidates.size() > count) candidates.resize(count);
  return model_->listed(candidates, scores);
}

std::vector<ScoredItem> Recommender::rank(std::string_view user_id,
                                          std::span<const FreshInteraction> fresh,
                                          std::span<const std::string> items) const {
  const auto list = model_->history(user_id, fresh);
  const auto scores = scores_for(model_->knowledge, list);
  std::vector<Candidate> candidates;
  std::vector<ScoredItem> unknown;
  for (const std::string& item : items) {
    const auto found = model_->item_index.find(item);
    if (found == model_->item_index.end()) {
      unknown.push_back({item, 0, false});
    } else {
      candidates.push_back({scores[found->second], found->second, false});
    }
  }
  std::sort(candidates.begin(), candidates.end(), better);
  auto result = model_->listed(candidates, scores);
  result.insert(result.end(), unknown.begin(), unknown.end());
  return result;
}

RecommenderKind Recommender::kind() const { return model_->knowledge.kind; }
std::size_t Recommender::item_count() const { return model_->items.size(); }
bool Recommender::knows_user(std::string_view user_id) const {
  return model_->user_index.contains(user_id);
}
bool Recommender::knows_item(std::string_view item_id) const {
  return model_->item_index.contains(item_id);
}

std::string Recommender::bytes() const {
  const Knowledge& knowledge = model_->knowledge;
  std::string bytes(kMagic);
  Out out(bytes);
  out.number<std::uint32_t>(static_cast<std::uint32_t>(knowledge.kind));
  out.number(knowledge.confidence);
  out.number(knowledge.regularisation);
  out.number<std::uint64_t>(model_->users.size());
  for (const auto& user : model_->users) out.text(user);
  out.number<std::uint64_t>(model_->items.size());
  for (const auto& item : model_->items) out.text(item);
  out.numbers(knowledge.histories.start.data(), knowledge.histories.start.size());
  out.numbers(knowledge.histories.had.data(), knowledge.histories.had.size());
  out.numbers(knowledge.popularity.data(), knowledge.popularity.size());
  out.number<std::uint64_t>(static_cast<std::uint64_t>(knowledge.item_factors.cols()));
  out.numbers(knowledge.item_factors.data(),
              static_cast<std::size_t>(knowledge.item_factors.size()));
  out.number<std::uint64_t>(knowledge.near.size());
  for (const auto& list : knowledge.near) out.numbers(list.data(), list.size());
  out.number(fnv(bytes));
  return bytes;
}

Result<std::shared_ptr<const Recommender>> Recommender::from_bytes(std::string_view bytes) {
  const auto broken = [] {
    return fail(ErrorKind::corrupt,
                "these bytes are not a model of this version of millrace; "
                "train a new solution version");
  };
  if (!bytes.starts_with(kMagic) || bytes.size() < kMagic.size() + 8) return broken();
  std::uint64_t hash = 0;
  std::memcpy(&hash, bytes.data() + bytes.size() - 8, 8);
  bytes.remove_suffix(8);
  if (hash != fnv(bytes)) return broken();

  In in(bytes.substr(kMagic.size()));
  auto whole = std::make_unique<Model>();
  Knowledge& knowledge = whole->knowledge;
  const auto kind = in.number<std::uint32_t>();
  if (kind > static_cast<std::uint32_t>(RecommenderKind::similar_items)) return broken();
  knowledge.kind = static_cast<RecommenderKind>(kind);
  knowledge.confidence = in.number<float>();
  knowledge.regularisation = in.number<float>();
  for (auto* names : {&whole->users, &whole->items}) {
    const auto count = in.number<std::uint64_t>();
    if (!in.good() || count > in.left() / 8) return broken();
    names->resize(count);
    for (auto& name : *names) in.numbers(name);
  }
  in.numbers(knowledge.histories.start);
  in.numbers(knowledge.histories.had);
  in.numbers(knowledge.popularity);
  const auto columns = in.number<std::uint64_t>();
  std::vector<float> factors;
  in.numbers(factors);
  const auto lists = in.number<std::uint64_t>();
  if (!in.good() || lists > in.left() / 8) return broken();
  knowledge.near.resize(lists);
  for (auto& list : knowledge.near) in.numbers(list);
  const std::size_t items = whole->items.size();
  const auto known_item = [items](const auto& one) { return one.item < items; };
  const auto& start = knowledge.histories.start;
  if (!in.good() || !in.at_end() || items == 0 || columns > 1024 ||
      knowledge.popularity.size() != items || start.size() != whole->users.size() + 1 ||
      start.front() != 0 || start.back() != knowledge.histories.had.size() ||
      !std::is_sorted(start.begin(), start.end()) ||
      (has_tastes(knowledge.kind) ? factors.size() != items * columns : !factors.empty()) ||
      lists != (knowledge.kind == RecommenderKind::popularity ? 0 : items) ||
      !std::all_of(knowledge.histories.had.begin(), knowledge.histories.had.end(), known_item) ||
      !std::all_of(knowledge.near.begin(), knowledge.near.end(), [&](const auto& list) {
        return std::all_of(list.begin(), list.end(), known_item);
      })) {
    return broken();
  }
  if (!factors.empty()) {
    knowledge.item_factors = Eigen::Map<const Matrix>(
        factors.data(), static_cast<Eigen::Index>(items), static_cast<Eigen::Index>(columns));
    knowledge.gram = gram_of(knowledge.item_factors, static_cast<double>(knowledge.regularisation));
  }
  whole->index();
  return std::shared_ptr<const Recommender>(new Recommender(std::move(whole)));
}

}  // namespace millrace
