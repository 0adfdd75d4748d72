#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "cli/command.h"
#include "cli/demo.h"

namespace millrace {

void add_demo(CLI::App& root, RunCommand& chosen) {
  struct Arguments {
    DemoOptions options{};
    std::string map{};
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* const command =
      root.add_subcommand("demo",
                          "The whole loop on this machine with nothing else installed: backfill, "
                          "train, live traffic with a kill -9, retrain");
  command
      ->add_option("--dir", arguments->options.folder,
                   "Where it lives; an earlier demo there is replaced")
      ->capture_default_str();
  command->add_option(
      "--data", arguments->options.data.file,
      "MovieLens, HetRec, CSV, TSV or NDJSON (plain, gz, zst); without it users are invented");
  command->add_option(
      "--map", arguments->map,
      "user_id=COL,item_id=COL,timestamp=COL[,event_type=COL]: name, number or JSON pointer");
  command
      ->add_option("--limit", arguments->options.data.limit,
                   "Only the first rows of the data; 0: all")
      ->capture_default_str();
  command->callback([arguments, &chosen] {
    chosen = [arguments](CommandContext& context) {
      if (!arguments->map.empty()) {
        const auto map = parse_row_map(arguments->map);
        if (!map) return report(map.error());
        arguments->options.data.map = *map;
      }
      Demo demo(arguments->options, context);
      if (const Status told = demo.tell(); !told) {
        if (context.stopping()) {
          fmt::print(stderr, "millrace: interrupted; the next demo starts afresh\n");
          return Exit::interrupted;
        }
        return report(told.error().while_doing("demo"));
      }
      if (context.json) {
        fmt::print("{}\n", demo.json());
      } else {
        demo.print_ending();
      }
      return Exit::done;
    };
  });
}

}  // namespace millrace
