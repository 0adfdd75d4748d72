// Files of the folder that lies beside the repository on development machines and in CI; a test
// that uses one is skipped where the folder is absent, and has a smaller sibling that runs
// everywhere.
#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace millrace {

inline std::filesystem::path shared_data_path(const std::string& name) {
  return std::filesystem::path(MILLRACE_SOURCE_DIR) / "../shared/data" / name;
}

inline bool shared_data_absent() {
  return !std::filesystem::exists(std::filesystem::path(MILLRACE_SOURCE_DIR) / "../shared/data");
}

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.good()) << path;
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

}  // namespace millrace

#define SKIP_WITHOUT_SHARED_DATA() \
  if (::millrace::shared_data_absent()) GTEST_SKIP() << "../shared/data is not here"
