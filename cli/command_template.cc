#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iterator>
#include <memory>
#include <string_view>

#include "cli/command.h"

namespace millrace {

void add_template(CLI::App& root, RunCommand& chosen) {
  auto name = std::make_shared<std::string>();
  CLI::App* const command =
      root.add_subcommand("template",
                          "Print a file to start from: config (millrace.yaml), schema (JSON Schema "
                          "of it, for editors), reference (all keys "
                          "as a table)");
  command
      ->add_option("name", *name,
                   "config, schema or reference (cloudformation, stepfunctions, glue, iam, "
                   "systemd, grafana: later releases)")
      ->required();
  command->callback([name, &chosen] {
    chosen = [name](CommandContext&) {
      static constexpr std::string_view kHere[] = {"config", "schema", "reference"};
      static constexpr std::string_view kLater[] = {
          "cloudformation", "stepfunctions", "glue", "iam", "systemd", "grafana"};
      if (std::find(std::begin(kLater), std::end(kLater), *name) != std::end(kLater)) {
        return report({ErrorKind::invalid,
                       fmt::format("`template {}` is not in this release; README, \"Not yet\", "
                                   "lists what is to come",
                                   *name)});
      }
      if (std::find(std::begin(kHere), std::end(kHere), *name) == std::end(kHere)) {
        return report(
            {ErrorKind::invalid, fmt::format("there is no template \"{}\"; choose one of {}", *name,
                                             fmt::join(kHere, ", "))});
      }
      fmt::print("{}", *name == "config"   ? config_sample()
                       : *name == "schema" ? config_json_schema()
                                           : config_reference_markdown());
      return Exit::done;
    };
  });
}

void add_later_commands(CLI::App& root, RunCommand& chosen) {
  struct Later {
    const char* name;
    const char* about;
  };
  static constexpr Later kLater[] = {
      {"replay", "(later release) A window of the lake to PutEvents or a stream"},
      {"redrive", "(later release) Dead letters back through the pipeline"},
      {"forget", "(later release) Remove users from the lake and from Personalize"},
      {"audit", "(later release) Prove the books per hour and partition"},
  };
  for (const Later& later : kLater) {
    CLI::App* const command = root.add_subcommand(later.name, later.about);
    command->allow_extras();
    command->fallthrough(false);  // whatever follows belongs to the command that is not there
    command->callback([later, &chosen] {
      chosen = [later](CommandContext&) {
        return report(
            {ErrorKind::invalid,
             fmt::format("`{}` is not in this release; README, \"Not yet\", lists what is to come",
                         later.name)});
      };
    });
  }
}

}  // namespace millrace
