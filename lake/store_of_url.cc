#include "lake/store_of_url.h"

#include <fmt/format.h>

#include "lake/disk_object_store.h"
#include "lake/object_key.h"

namespace millrace {
namespace {

constexpr std::string_view kFile = "file://";
constexpr std::string_view kS3 = "s3://";

bool begins_with(std::string_view text, std::string_view beginning) {
  return text.substr(0, beginning.size()) == beginning;
}

tl::unexpected<Error> bad_url(std::string_view url, std::string_view why) {
  return fail(ErrorKind::invalid,
              fmt::format("{} {}; write file:///absolute/path", url.empty() ? "''" : url, why));
}

}  // namespace

Result<std::unique_ptr<ObjectStore>> make_store(std::string_view url) {
  if (begins_with(url, kS3)) {
    return bad_url(url, "is in S3, which is not in this release");
  }
  if (!begins_with(url, kFile)) return bad_url(url, "is not a URL that millrace knows");
  const std::string_view path = url.substr(kFile.size());
  if (path.empty() || path.front() != '/') {
    return bad_url(url, "does not have three slashes and an absolute path");
  }
  if (path.find('\0') != std::string_view::npos) return bad_url("the URL", "holds a NUL");
  return std::make_unique<DiskObjectStore>(std::string(path));
}

Result<ObjectUrl> split_object_url(std::string_view url) {
  ObjectUrl object;
  if (begins_with(url, kS3)) {
    const std::size_t slash = url.find('/', kS3.size());
    if (slash == std::string_view::npos || slash == kS3.size()) {
      return bad_url(url, "names no object");
    }
    object = {std::string(url.substr(0, slash)), std::string(url.substr(slash + 1))};
  } else if (begins_with(url, "file:///")) {
    const std::size_t slash = url.rfind('/');
    // "file:///x.csv" lies in the root folder, whose URL keeps its slash.
    const std::size_t end = slash == kFile.size() ? slash + 1 : slash;
    object = {std::string(url.substr(0, end)), std::string(url.substr(slash + 1))};
  } else {
    return bad_url(url, "is not a URL that millrace knows");
  }
  if (auto status = check_object_key(object.key); !status) {
    return fail(status.error().while_doing(std::string(url)));
  }
  return object;
}

}  // namespace millrace
