#include "tests/end_to_end/kafka_run.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "lake/names.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::size_t kWrongMax = 20;
constexpr std::int64_t kHourMs = 3'600'000;

// gzread goes on through all members of a file.
std::string inflate(const fs::path& path) {
  std::string out;
  gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr) return out;
  std::array<char, 65536> part{};
  int read = 0;
  while ((read = gzread(file, part.data(), part.size())) > 0)
    out.append(part.data(), static_cast<std::size_t>(read));
  const bool whole = read == 0 && gzclose(file) == Z_OK;
  return whole ? out : out + "\ncut off";
}

std::string event_json(const std::string& item, const std::string& id, std::int64_t second) {
  return fmt::format(
      R"({{"itemId":"{}",{}"eventType":"click","sentAt":{},"eventValue":1.5,"properties":{{"page":"home"}}}})",
      item, id.empty() ? "" : R"("eventId":")" + id + R"(",)", second);
}

}  // namespace

Feed::Feed(KafkaBroker& broker, std::string topic, int partitions, int users)
    : broker_(broker),
      topic_(std::move(topic)),
      partitions_(partitions),
      users_(users),
      now_ms_(std::chrono::duration_cast<std::chrono::milliseconds>(
                  std::chrono::system_clock::now().time_since_epoch())
                  .count()) {
  broker_.create_topic(topic_, partitions_);
}

void Feed::send(int count, std::size_t padding) {
  std::vector<TestRecord> batch;
  batch.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    const std::size_t n = records_.size();
    const std::string user = fmt::format("u{}", n * 7919 % static_cast<std::size_t>(users_));
    const std::int64_t second = now_ms_ / 1000 - 86'400 + static_cast<std::int64_t>(n);
    const std::string session = fmt::format("s-{}-{}", user, n / 500);
    const auto event = [&](int index) {
      const std::string item = fmt::format("i{}-{}", n, index);
      const std::string id = n % 10 == 9 ? "" : fmt::format("e{}-{}", n, index);
      ids_[item] = id;
      order_[user].push_back(item);
      return event_json(item, id, second);
    };
    std::string text =
        fmt::format(R"({{"n":{},"user_id":"{}","session_id":"{}",)", n, user, session);
    if (padding > 0) text += fmt::format(R"("padding":"{}",)", std::string(padding, 'x'));
    if (n % 3 == 0) {
      const std::string first = event(0);  // operands of + have no order, and its order matters
      text += R"("event_list":[)" + first + "," + event(1) + "]}";
    } else {
      text += event(0).substr(1);
    }
    const std::int64_t arrived = now_ms_ - static_cast<std::int64_t>(n % 3) * kHourMs;
    batch.push_back({.key = user, .value = text, .arrived_ms = arrived});
    records_.push_back({std::move(text), arrived});
  }
  broker_.produce(topic_, -1, batch);
}

PlainLake read_lake(const std::string& folder, const Feed& feed) {
  PlainLake lake;
  const auto object = [&](std::string what) {
    if (lake.wrong.size() < kWrongMax) lake.wrong.push_back(std::move(what));
  };
  std::vector<int> seen(feed.records().size());
  std::map<std::string, std::set<std::int64_t>> positions;
  // Incarnation and partition -> begin -> end of its cuts.
  std::map<std::string, std::map<std::int64_t, std::int64_t>> cuts;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string key = fs::relative(entry.path(), folder);
    if (!entry.is_regular_file() || key.starts_with("_millrace/")) continue;
    const auto name = parse_cut_key(key);
    if (!name || name->dead_letters || !key.ends_with(".ndjson.gz")) {
      object(key + " does not belong here");
      continue;
    }
    ++lake.objects;
    const std::int64_t from = std::stoll(name->object.from.offset.digits);
    const std::int64_t to = std::stoll(name->object.to.offset.digits);
    const auto [cut, fresh] =
        cuts[name->object.incarnation + " " + name->object.partition].emplace(from, to);
    if (cut->second != to) object(key + " overlaps a cut to " + std::to_string(cut->second));
    std::istringstream text(inflate(entry.path()));
    std::size_t lines = 0;
    for (std::string line; std::getline(text, line); ++lines) {
      const Json json = Json::parse(line, nullptr, false);
      if (!json.is_object() || !json.contains("n") || !json.contains("_source")) {
        object(key + " holds " + line.substr(0, 200));
        continue;
      }
      const std::size_t n = json["n"].get<std::size_t>();
      if (n >= seen.size()) {
        object(fmt::format("{} holds record {}, which nobody sent", key, n));
        continue;
      }
      const Feed::Sent& sent = feed.records()[n];
      const std::string partition = json["_source"]["partition"].get<std::string>();
      const std::int64_t position = std::stoll(json["_source"]["position"].get<std::string>());
      if (++seen[n] > 1) object(fmt::format("record {} is there again, in {}", n, key));
      if (!positions[partition].insert(position).second)
        object(fmt::format("position {} of {} is there again, in {}", position, partition, key));
      if (position < from || position >= to || partition != name->object.partition)
        object(fmt::format("{} holds position {} of {}", key, position, partition));
      const std::string expected = fmt::format(
          R"({},"_source":{{"partition":"{}","position":"{}","arrived":{}}}}})",
          sent.text.substr(0, sent.text.size() - 1), partition, position, sent.arrived_ms);
      if (line != expected) object("expected " + expected + " and found " + line);
    }
    if (lines == 0) object(key + " is empty");
    lake.lines += lines;
  }
  const auto missing = std::count(seen.begin(), seen.end(), 0);
  if (missing > 0) object(fmt::format("{} of {} records are missing", missing, seen.size()));
  std::set<std::string> partitions;
  for (const auto& [whose, ends] : cuts) {
    std::int64_t next = 0;
    for (const auto& [from, to] : ends) {
      if (from != next) object(fmt::format("the cuts of {} jump from {} to {}", whose, next, from));
      next = to;
    }
    if (!partitions.insert(whose.substr(whose.find(' '))).second)
      object("a second incarnation: " + whose);
  }
  return lake;
}

Deployment::Deployment(KafkaBroker& broker, const std::string& topic, StrictPutEventsServer& server,
                       Options options)
    : server_(server), name_(topic.substr(0, 40)) {
  // A member that was killed is waited for as long as its session lasts.
  options.properties.insert({{"session.timeout.ms", "6000"}, {"heartbeat.interval.ms", "200"}});
  std::string properties;
  for (const auto& [key, value] : options.properties)
    properties += fmt::format("{}{}: \"{}\"", properties.empty() ? "" : ", ", key, value);
  std::ofstream(folder_.path() / "millrace.yaml") << fmt::format(
      "name: {}\n"
      "aws: {{ region: eu-west-1, endpoint: \"{}\" }}\n"
      "source:\n"
      "  kafka: {{ brokers: \"{}\", topic: {}, properties: {{ {} }} }}\n"
      "personalize: {{ tracking_id: tracker, linger: 50ms }}\n"
      "lake:\n"
      "  url: \"file://{}\"\n"
      "  buffer: {}\n"
      "memory: {}\n"
      "server: {{ listen: \"\" }}\n",
      name_, server.url(), broker.brokers(), topic, properties, lake(), options.buffer,
      options.memory);
}

ChildProcess Deployment::run(const std::vector<std::string>& words) {
  ChildProcess::Options options;
  options.arguments = {MILLRACE_PROGRAM, "-c", folder_.path() / "millrace.yaml", "run"};
  options.arguments.insert(options.arguments.end(), words.begin(), words.end());
  options.environment = {{"AWS_ACCESS_KEY_ID", server_.new_key()},
                         {"AWS_SECRET_ACCESS_KEY", StrictPutEventsServer::secret()},
                         {"AWS_SESSION_TOKEN", ""}};
  options.stdout_path = options.stderr_path =
      folder_.path() / fmt::format("run-{:03}.log", ++started_);
  auto child = ChildProcess::start(options);
  if (!child) throw std::runtime_error(child.error().message);
  return std::move(*child);
}

std::string Deployment::logs(std::size_t bytes_max) const {
  std::set<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder_.path())) {
    if (entry.path().extension() == ".log") files.insert(entry.path());
  }
  std::ostringstream text;
  for (const fs::path& file : files)
    text << "== " << file.filename().string() << "\n" << std::ifstream(file).rdbuf() << "\n";
  const std::string all = text.str();
  return all.size() <= bytes_max ? all : "…" + all.substr(all.size() - bytes_max);
}

bool wait_until(const std::function<bool()>& condition, std::chrono::milliseconds limit,
                const std::function<void()>& meanwhile) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    meanwhile();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return true;
}

std::size_t peak_memory(pid_t pid) {
  std::ifstream status(fmt::format("/proc/{}/status", pid));
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stoul(line.substr(6)) * 1024;
  }
  return 0;
}

}  // namespace millrace
