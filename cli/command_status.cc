#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "aws/curl_http_client.h"
#include "cli/command.h"
#include "cli/terminal.h"
#include "config/values.h"

namespace millrace {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::chrono::seconds kWatchInterval{1};

std::uint64_t number(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_number() ? found->get<std::uint64_t>() : 0;
}

std::string text(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// How far the source's partition is behind: what is known of records and seconds.
std::string behind(const Json& source, const std::string& partition) {
  const auto rows = source.find("partitions");
  if (rows == source.end()) return "";
  for (const Json& row : *rows) {
    if (text(row, "partition") != partition) continue;
    std::string out;
    if (row.contains("records_behind")) out += grouped(number(row, "records_behind")) + " records";
    if (row.contains("seconds_behind")) {
      out +=
          fmt::format("{}{:.1f} s", out.empty() ? "" : ", ", row["seconds_behind"].get<double>());
    }
    if (row.contains("retention_left_seconds")) {
      out +=
          fmt::format(", {} of retention left",
                      human_duration(std::chrono::seconds(number(row, "retention_left_seconds"))));
    }
    return out;
  }
  return "";
}

void print_source(std::string& out, const Json& part) {
  const Json source = part.value("source", Json::object());
  if (const std::string trouble = text(source, "trouble"); !trouble.empty())
    out += fmt::format("  ! source: {}\n", trouble);
  if (const std::string trouble = text(part, "trouble"); !trouble.empty())
    out += fmt::format("  ! {}\n", trouble);
}

void print_forwarder(std::string& out, const Json& part) {
  const Json books = part.value("books", Json::object());
  out += fmt::format("personalize  {:.0f} events/s accepted, {} calls in flight, {} buffered{}\n",
                     part.value("events_accepted_per_second", 0.0), number(part, "calls_in_flight"),
                     human_size(number(part, "bytes_held")),
                     part.value("full", false) ? ", at the memory bound" : "");
  out +=
      fmt::format("  {} events read = {} accepted + {} dead-lettered + {} skipped + {} waiting\n",
                  grouped(number(books, "read")), grouped(number(books, "accepted")),
                  grouped(number(books, "dead_lettered")), grouped(number(books, "skipped")),
                  grouped(number(books, "waiting")));
  print_source(out, part);
  const Json source = part.value("source", Json::object());
  for (const Json& row : part.value("partitions", Json::array())) {
    const std::string partition = text(row, "partition");
    out += fmt::format("  {:24} {:12} at {:24} behind: {}\n", partition, text(row, "doing"),
                       text(row, "committed"), behind(source, partition));
    if (const std::string waiting = text(row, "waiting"); !waiting.empty())
      out += fmt::format("    ! {}\n", waiting);
  }
}

void print_archiver(std::string& out, const Json& part) {
  const Json books = part.value("books", Json::object());
  out += fmt::format("lake         {} buffered, {} uploads in flight\n",
                     human_size(number(part, "bytes_held")), number(part, "uploads_in_flight"));
  out += fmt::format("  {} records read = {} stored + {} dead-lettered + {} empty\n",
                     grouped(number(books, "read")), grouped(number(books, "stored")),
                     grouped(number(books, "dead_lettered")), grouped(number(books, "empty")));
  print_source(out, part);
  const Json source = part.value("source", Json::object());
  for (const Json& row : part.value("partitions", Json::array())) {
    const std::string partition = text(row, "partition");
    std::string last;
    if (row.contains("last_cut")) {
      const Json& cut = row["last_cut"];
      last = fmt::format(", last flush {} ({}, {} records)", text(cut, "at"), text(cut, "why"),
                         grouped(number(cut, "records")));
    }
    out += fmt::format("  {:24} {:12} at {:24} behind: {}; open {} in {} hours{}\n", partition,
                       text(row, "doing"), text(row, "committed"), behind(source, partition),
                       human_size(number(row, "open_bytes")), number(row, "open_hours"), last);
    if (const std::string waiting = text(row, "waiting"); !waiting.empty())
      out += fmt::format("    ! {}\n", waiting);
  }
}

void print_cycle(std::string& out, const Json& part) {
  out += fmt::format("cycle        {}\n", text(part, "summary"));
  for (const Json& row : part.value("steps", Json::array())) {
    out += fmt::format("  {:16} {:10} {}\n", text(row, "step"), text(row, "status"),
                       text(row, "detail"));
  }
}

std::string rendered(const Json& status) {
  std::string out = fmt::format("{}: {}\n", text(status, "name"), text(status, "source"));
  if (const auto part = status.find("personalize"); part != status.end() && part->is_object())
    print_forwarder(out, *part);
  if (const auto part = status.find("lake"); part != status.end() && part->is_object())
    print_archiver(out, *part);
  if (const auto part = status.find("cycle"); part != status.end() && part->is_object())
    print_cycle(out, *part);
  return out;
}

Exit status_command(bool watch, CommandContext& context) {
  const auto config = context.config();
  if (!config) return report(config.error());
  const std::string& listen = config->server.listen;
  if (listen.empty()) {
    return report(
        {ErrorKind::invalid,
         fmt::format("{}: server.listen is \"\", so the service tells nothing", config->file)});
  }
  // A service that listens on every address is asked on this machine.
  const std::string host = listen.starts_with("0.0.0.0:") ? "127.0.0.1" + listen.substr(7) : listen;
  CurlHttpClient http({}, context.environment);
  HttpRequest request;
  request.url = fmt::format("http://{}/status", host);
  request.timeout = std::chrono::seconds(5);
  while (true) {
    const auto reply = http.send(request);
    if (!reply) {
      return report(
          {ErrorKind::transient, fmt::format("nothing answers at {} (server.listen): is `millrace "
                                             "run` running with this configuration? ({})",
                                             listen, reply.error().message)});
    }
    const Json status = Json::parse(reply->body, nullptr, false);
    if (reply->status != 200 || status.is_discarded()) {
      return report(
          {ErrorKind::transient,
           fmt::format("what answers at {} (HTTP {}) is not millrace", listen, reply->status)});
    }
    if (context.json) {
      fmt::print("{}\n", status.dump());
    } else {
      if (watch && isatty(STDOUT_FILENO) == 1) fmt::print("\033[H\033[2J");
      fmt::print("{}", rendered(status));
    }
    std::fflush(stdout);
    if (!watch) return Exit::done;
    if (!context.pause->wait(kWatchInterval)) return Exit::interrupted;
  }
}

}  // namespace

void add_status(CLI::App& root, RunCommand& chosen) {
  auto watch = std::make_shared<bool>(false);
  CLI::App* const command = root.add_subcommand(
      "status", "What the running service is doing: lag, rates, buffers, last flush and why");
  command->add_flag("--watch", *watch, "Again every second, until Ctrl-C");
  command->callback([watch, &chosen] {
    chosen = [watch](CommandContext& context) { return status_command(*watch, context); };
  });
}

}  // namespace millrace
