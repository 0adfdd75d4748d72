#include "local/router.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "aws/sigv4.h"
#include "core/log.h"

namespace millrace {
namespace {

std::string_view target_of(const HttpRequest& request) {
  constexpr std::string_view kName = "x-amz-target";
  for (const HttpHeader& header : request.headers) {
    if (std::equal(header.name.begin(), header.name.end(), kName.begin(), kName.end(),
                   [](char a, char b) { return (a | 0x20) == (b | 0x20); })) {
      return header.value;
    }
  }
  return {};
}

HttpResponse unknown(std::string_view what) {
  return {404,
          {{"Content-Type", "application/x-amz-json-1.1"},
           {"x-amzn-errortype", "UnknownOperationException"}},
          fmt::format(R"({{"__type":"UnknownOperationException","message":{}}})",
                      json_quoted(fmt::format("no service of this emulator answers {}", what)))};
}

}  // namespace

HttpResponse Router::handle(const HttpRequest& request) {
  const std::string_view target = target_of(request);
  const std::string_view path = split_url(request.url).path;
  const auto below = [path](std::string_view root) {
    return path == root || (path.starts_with(root) && path[root.size()] == '/');
  };
  HttpService* service = nullptr;
  if (!target.empty()) {
    if (target.starts_with("Kinesis_20131202.")) service = routes_.kinesis;
    if (target.starts_with("AmazonPersonalize.")) service = routes_.personalize;
    if (service == nullptr) return unknown(target);
  } else if (below("/events") || below("/users") || below("/items") || below("/actions") ||
             below("/action-interactions")) {
    service = routes_.events;
  } else if (below("/recommendations") || below("/personalize-ranking") ||
             below("/action-recommendations")) {
    service = routes_.runtime;
  } else if (request.method == "GET" && (path.empty() || path == "/")) {
    std::string body = "millrace emulator:";
    if (routes_.kinesis != nullptr) body += " kinesis";
    if (routes_.personalize != nullptr) body += " personalize";
    if (routes_.events != nullptr) body += " personalize-events";
    if (routes_.runtime != nullptr) body += " personalize-runtime";
    return {200, {{"Content-Type", "text/plain; charset=utf-8"}}, body + "\n"};
  }
  if (service == nullptr) return unknown(fmt::format("{} {}", request.method, path));
  return service->handle(request);
}

}  // namespace millrace
