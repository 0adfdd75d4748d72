#include "cli/traffic.h"

#include <fmt/format.h>

#include <filesystem>

#include "cli/terminal.h"
#include "events/decode_event.h"
#include "lake/decompress.h"
#include "lake/store_of_url.h"

namespace millrace {
namespace {

class FileTraffic final : public Traffic {
 public:
  FileTraffic(std::string name, std::unique_ptr<ObjectStore> store,
              std::unique_ptr<ObjectReader> object)
      : name_(std::move(name)),
        store_(std::move(store)),
        bytes_(std::move(object)),
        content_(bytes_, name_),
        decoder_({}) {}

  Status open(const RowMap& map) {
    auto rows = RowReader::open(content_, name_, {.map = map});
    if (!rows) return tl::unexpected(rows.error());
    rows_ = std::move(*rows);
    return {};
  }

  Result<bool> next(TrafficEvent& event) override {
    while (true) {
      const auto step = rows_->next();
      if (!step) return tl::unexpected(step.error());
      if (*step == RowReader::Step::end) return false;
      if (*step == RowReader::Step::reject) {
        ++rejected_;
        continue;
      }
      event.json = rows_->json();
      decoder_.decode(event.json, -1, decoded_);
      event.user.clear();
      event.timestamp = -1;
      if (!decoded_.events.empty()) {
        const Event& first = decoded_.events.front();
        event.user = first.anonymous() ? first.session_id : first.user_id;
        event.timestamp = first.timestamp;
      }
      return true;
    }
  }

  std::uint64_t rejected_rows() const override { return rejected_; }
  std::string description() const override {
    return fmt::format("{}: {}", name_, rows_->description());
  }

 private:
  std::string name_;
  std::unique_ptr<ObjectStore> store_;
  ObjectBytesReader bytes_;
  Decompressor content_;
  std::unique_ptr<RowReader> rows_{};
  EventDecoder decoder_;
  DecodedRecord decoded_{};
  std::uint64_t rejected_ = 0;
};

class InventedTraffic final : public Traffic {
 public:
  explicit InventedTraffic(const CrowdOptions& options) : options_(options), crowd_(options) {}

  Result<bool> next(TrafficEvent& event) override {
    if (!crowd_.next(drawn_)) return false;
    event.user = drawn_.user_id;
    event.timestamp = drawn_.timestamp_ms / 1000;
    event.json = fmt::format(
        R"({{"user_id":"{}","session_id":"{}","item_id":"{}","event_type":"{}","timestamp":{}}})",
        drawn_.user_id, drawn_.session_id, drawn_.item_id, drawn_.event_type, drawn_.timestamp_ms);
    return true;
  }

  std::uint64_t rejected_rows() const override { return 0; }
  std::string description() const override {
    return fmt::format("{} invented users, {} items", grouped(options_.users),
                       grouped(options_.items));
  }

 private:
  CrowdOptions options_;
  Crowd crowd_;
  CrowdEvent drawn_{};
};

}  // namespace

std::string url_of_path(const std::string& path) {
  if (path.find("://") != std::string::npos) return path;
  std::error_code ignored;
  return "file://" + std::filesystem::absolute(path, ignored).lexically_normal().string();
}

Status check_input_file(const std::string& path) {
  constexpr std::string_view kScheme = "file://";
  std::string local = path;
  if (local.starts_with(kScheme)) local.erase(0, kScheme.size());
  if (local.find("://") != std::string::npos) return {};
  std::error_code ignored;
  const auto status = std::filesystem::status(local, ignored);
  if (status.type() == std::filesystem::file_type::not_found)
    return fail(ErrorKind::not_found, fmt::format("{}: there is no such file", path));
  if (std::filesystem::is_directory(status)) {
    return fail(ErrorKind::rejected,
                fmt::format("{} is a folder; name the files in it, such as {}", path,
                            (std::filesystem::path(local) / "*.csv").string()));
  }
  return {};
}

Result<std::unique_ptr<Traffic>> open_traffic(const std::string& path, const RowMap& map) {
  if (const Status there = check_input_file(path); !there) return tl::unexpected(there.error());
  const auto url = split_object_url(url_of_path(path));
  if (!url) return tl::unexpected(url.error());
  auto store = make_store(url->store_url);
  if (!store) return tl::unexpected(store.error());
  auto object = (*store)->open(url->key);
  if (!object) return fail(object.error().while_doing(fmt::format("reading {}", path)));
  const std::string name = std::filesystem::path(url->key).filename().string();
  auto traffic = std::make_unique<FileTraffic>(name, std::move(*store), std::move(*object));
  if (const Status opened = traffic->open(map); !opened) return tl::unexpected(opened.error());
  return traffic;
}

std::unique_ptr<Traffic> invented_traffic(const CrowdOptions& options) {
  return std::make_unique<InventedTraffic>(options);
}

}  // namespace millrace
