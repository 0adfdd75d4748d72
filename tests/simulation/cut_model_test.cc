// The protocol of the cut, every interleaving of it, in the small: one partition of four records,
// up to three owners in turn, each of which may cut anywhere, crash at any moment, or become a
// zombie that goes on with what it knew. A model, not the code: it shows what the protocol needs
// (the intent, the fence) by finding the counter-example when one of them is taken away. The code
// is tried in simulation_test.cc.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <deque>
#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace millrace {
namespace {

constexpr int kEnd = 4;  // records 0..3
constexpr int kOwnersMax = 3;

enum class Step { unborn, deciding, intending, storing, committing, gone };

/// What one owner knows and is about to do.
struct Owner {
  Step step = Step::unborn;
  int from = 0;  // C, as it was read at take-over or committed since
  int to = 0;    // E, of the cut under way
  auto key() const { return std::tuple(step, from, to); }
  bool operator<(const Owner& other) const { return key() < other.key(); }
};

struct State {
  int committed = 0;
  int intent = 0;  // 0: none
  int owner = -1;  // whose commits the log accepts
  std::array<Owner, kOwnersMax> owners{};
  std::set<std::pair<int, int>> objects{};
  auto key() const { return std::tie(committed, intent, owner, owners, objects); }
  bool operator<(const State& other) const { return key() < other.key(); }
};

struct Rules {
  bool intents = true;
  bool fence = true;
};

bool overlaps(const State& state) {
  for (const auto& one : state.objects) {
    for (const auto& other : state.objects) {
      if (one < other && one.first < other.second && other.first < one.second) return true;
    }
  }
  return false;
}

// A record below the committed position that no object holds.
bool loses(const State& state) {
  for (int record = 0; record < state.committed; ++record) {
    if (std::none_of(state.objects.begin(), state.objects.end(), [&](const auto& object) {
          return object.first <= record && record < object.second;
        })) {
      return true;
    }
  }
  return false;
}

std::vector<State> next_states(const State& state, const Rules& rules) {
  std::vector<State> next;
  // Somebody new takes over: the old owner crashed, or is thought to have, and lives on.
  for (int i = 0; i < kOwnersMax; ++i) {
    if (state.owners[static_cast<std::size_t>(i)].step != Step::unborn) continue;
    State taken = state;
    Owner& owner = taken.owners[static_cast<std::size_t>(i)];
    owner.from = state.committed;
    owner.step = Step::deciding;
    if (rules.intents && state.intent != 0) {
      owner.to = state.intent;
      owner.step = Step::storing;
    }
    taken.owner = i;
    next.push_back(taken);
    break;  // owners are alike: the next unborn one stands for all
  }
  for (int i = 0; i < kOwnersMax; ++i) {
    const Owner& owner = state.owners[static_cast<std::size_t>(i)];
    if (owner.step == Step::unborn || owner.step == Step::gone) continue;
    const bool accepted = !rules.fence || state.owner == i;
    const auto go = [&](auto change) {
      State after = state;
      change(after, after.owners[static_cast<std::size_t>(i)]);
      next.push_back(std::move(after));
    };
    go([](State&, Owner& mine) { mine = {.step = Step::gone}; });  // dies, at any step
    switch (owner.step) {
      case Step::deciding:
        for (int to = owner.from + 1; to <= kEnd; ++to) {
          go([&](State&, Owner& mine) {
            mine.to = to;
            mine.step = rules.intents ? Step::intending : Step::storing;
          });
        }
        break;
      case Step::intending:
        if (!accepted) break;  // refused: it can only die
        go([](State& after, Owner& mine) {
          after.committed = mine.from;
          after.intent = mine.to;
          mine.step = Step::storing;
        });
        break;
      case Step::storing:  // the reply may be lost, then it stores again: no change
        go([](State& after, Owner& mine) {
          after.objects.insert({mine.from, mine.to});
          mine.step = Step::committing;
        });
        break;
      case Step::committing:
        if (!accepted) break;
        go([](State& after, Owner& mine) {
          after.committed = mine.to;
          after.intent = 0;
          mine.from = mine.to;
          mine.step = mine.to == kEnd ? Step::gone : Step::deciding;
        });
        break;
      default:
        break;
    }
  }
  return next;
}

struct Explored {
  std::size_t states = 0;
  bool overlap = false;
  bool loss = false;
  bool finished = false;  // some run reaches the end of the log
};

// Ends early at the first overlap: without the fence there are very many states.
Explored explore(const Rules& rules) {
  std::set<State> known{State{}};
  std::deque<State> todo{State{}};
  Explored explored;
  while (!todo.empty() && !explored.overlap) {
    const State state = std::move(todo.front());
    todo.pop_front();
    explored.overlap = overlaps(state);
    explored.loss = explored.loss || loses(state);
    explored.finished = explored.finished || state.committed == kEnd;
    for (State& next : next_states(state, rules)) {
      if (known.insert(next).second) todo.push_back(std::move(next));
    }
  }
  explored.states = known.size();
  return explored;
}

TEST(CutModel, IntentAndFenceAllowNoOverlapAndNoLoss) {
  const Explored explored = explore({});
  EXPECT_GT(explored.states, 1000u);
  EXPECT_TRUE(explored.finished);
  EXPECT_FALSE(explored.overlap);
  EXPECT_FALSE(explored.loss);
}

TEST(CutModel, WithoutTheFenceALateCommitMakesObjectsOverlap) {
  EXPECT_TRUE(explore({.intents = true, .fence = false}).overlap);
}

TEST(CutModel, WithoutTheIntentATakeOverMakesObjectsOverlap) {
  EXPECT_TRUE(explore({.intents = false, .fence = true}).overlap);
}

}  // namespace
}  // namespace millrace
