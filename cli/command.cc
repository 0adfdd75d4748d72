#include "cli/command.h"

#include <fmt/format.h>

#include <cstdio>

namespace millrace {

Exit exit_of(const Error& error) {
  switch (error.kind) {
    case ErrorKind::invalid:
      return Exit::usage;
    case ErrorKind::refused:
      return Exit::refused;
    default:
      return Exit::failed;
  }
}

Exit report(const Error& error) {
  fmt::print(stderr, "millrace: {}\n", error.message);
  return exit_of(error);
}

Result<Config> CommandContext::config() const {
  auto loaded = load_config(config_path, environment);
  if (!loaded) return tl::unexpected(loaded.error());
  for (const std::string& warning : loaded->warnings) log->warn(warning);
  return std::move(loaded->config);
}

}  // namespace millrace
