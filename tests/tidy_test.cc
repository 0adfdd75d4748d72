// The house rules that a compiler does not check: who may include whom, forbidden calls, files
// nobody lists.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

const fs::path kRoot = MILLRACE_SOURCE_DIR;

// The table of ARCHITECTURE.md, "The house". A folder may include itself and what its row names;
// `options` means every folder's options.h.
const std::map<std::string, std::set<std::string>> kMayInclude{
    {"core", {}},
    {"events", {"core"}},
    {"batcher", {"core"}},
    {"aws", {"core"}},
    {"lake", {"core", "aws", "events"}},
    {"ingest", {"core", "aws", "lake"}},
    {"sinks", {"core", "aws", "events", "lake"}},
    {"pipeline", {"core", "events", "ingest", "batcher", "lake", "sinks"}},
    {"retrain", {"core", "aws", "lake"}},
    {"config", {"core", "options"}},
    {"local", {"core", "aws", "events", "lake"}},
    {"cli",
     {"core", "events", "batcher", "aws", "lake", "ingest", "sinks", "pipeline", "retrain",
      "config", "local"}},
};

struct SourceFile {
  fs::path path{};  // from the root
  std::string text{};
};

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

const std::vector<SourceFile>& sources() {
  static const std::vector<SourceFile> all = [] {
    std::vector<SourceFile> found;
    std::vector<std::string> folders{"tests", "bench", "fuzz"};
    for (const auto& [folder, rows] : kMayInclude) folders.push_back(folder);
    for (const std::string& folder : folders) {
      if (!fs::exists(kRoot / folder)) continue;
      for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder)) {
        if (entry.path().extension() != ".h" && entry.path().extension() != ".cc") continue;
        found.push_back({fs::relative(entry.path(), kRoot), read(entry.path())});
      }
    }
    return found;
  }();
  return all;
}

std::string folder_of(const fs::path& path) { return path.begin()->string(); }

TEST(Tidy, FoldersIncludeOnlyWhatTheirRowAllows) {
  const std::regex include("#include \"([a-z_]+)/([a-z_0-9./]+)\"");
  for (const SourceFile& file : sources()) {
    const auto row = kMayInclude.find(folder_of(file.path));
    if (row == kMayInclude.end()) continue;  // tests, bench, fuzz may include everything
    for (std::sregex_iterator it(file.text.begin(), file.text.end(), include), end; it != end;
         ++it) {
      const std::string target = (*it)[1];
      const bool options = row->second.contains("options") && (*it)[2] == "options.h";
      EXPECT_TRUE(target == row->first || row->second.contains(target) || options)
          << file.path << " includes " << (*it)[0] << ", which its row does not allow";
    }
  }
}

TEST(Tidy, EverySourceIsListedInACMakeFile) {
  for (const SourceFile& file : sources()) {
    if (file.path.extension() != ".cc") continue;
    bool listed = false;
    for (fs::path folder = (kRoot / file.path).parent_path();
         !listed && folder != kRoot.parent_path(); folder = folder.parent_path()) {
      const fs::path cmake = folder / "CMakeLists.txt";
      if (!fs::exists(cmake)) continue;
      const std::string name = fs::relative(kRoot / file.path, folder).string();
      const std::regex word("(^|[\\s(/])" + std::regex_replace(name, std::regex("\\."), "\\.") +
                            "([\\s)]|$)");
      listed = std::regex_search(read(cmake), word);
      // One bench or fuzz file, one program: listed by its bare name.
      if (!listed) listed = read(cmake).find("(" + file.path.stem().string()) != std::string::npos;
    }
    EXPECT_TRUE(listed) << file.path << " is compiled by nobody";
  }
}

TEST(Tidy, NobodyDoesWhatTheHouseForbids) {
  struct Rule {
    std::string what;
    std::regex pattern;
    std::set<std::string> allowed;  // files, from the root
  };
  const std::vector<Rule> rules{
      {"throws (errors are Results)", std::regex("\\bthrow\\b"), {}},
      {"asks the environment (it is injected)", std::regex("\\bgetenv\\b"), {}},
      {"stores offsets in librdkafka 2.0, which drops the commit's note",
       std::regex("rd_kafka_offsets?_store\\b"),
       {}},
      {"turns TLS verification off", std::regex("CURLOPT_SSL_VERIFY(PEER|HOST),\\s*0"), {}},
      {"uses C randomness (use Rng)", std::regex("\\b(rand|srand|drand48)\\("), {}},
  };
  for (const SourceFile& file : sources()) {
    const std::string folder = folder_of(file.path);
    if (folder == "tests" || folder == "bench" || folder == "fuzz" || folder == "cli") continue;
    // Comments may speak of what the code may not do.
    const std::string code = std::regex_replace(file.text, std::regex("//[^\n]*"), "");
    for (const Rule& rule : rules) {
      EXPECT_TRUE(!std::regex_search(code, rule.pattern) ||
                  rule.allowed.contains(file.path.string()))
          << file.path << ": " << rule.what;
    }
  }
}

TEST(Tidy, NothingPointsOutOfTheRepository) {
  // Facts carry their public source; no reader of this repository has our desks. Tests look for
  // optional data there.
  for (const SourceFile& file : sources()) {
    const std::string folder = folder_of(file.path);
    if (folder == "tests" || folder == "bench") continue;
    EXPECT_EQ(file.text.find("../shared"), std::string::npos) << file.path;
    EXPECT_EQ(file.text.find("/work/"), std::string::npos) << file.path;
    EXPECT_EQ(file.text.find("TODO"), std::string::npos)
        << file.path << ": say what, why and when, or do it";
  }
}

TEST(Tidy, HeadersHaveOnePragmaAndFoldersAReadme) {
  for (const SourceFile& file : sources()) {
    if (file.path.extension() == ".h") {
      EXPECT_NE(file.text.find("#pragma once"), std::string::npos) << file.path;
    }
  }
  for (const auto& [folder, rows] : kMayInclude) {
    const std::string text = read(kRoot / folder / "README.md");
    EXPECT_FALSE(text.empty()) << folder << " has no README.md";
    EXPECT_LE(std::count(text.begin(), text.end(), '\n'), 15)
        << folder << "/README.md says too much";
  }
}

}  // namespace
