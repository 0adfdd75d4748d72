#include "local/signature_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string_view>

#include "aws/sigv4.h"
#include "core/log.h"
#include "core/time.h"

namespace millrace {
namespace {

std::string_view header_of(const HttpRequest& request, std::string_view name) {
  for (const HttpHeader& header : request.headers) {
    if (std::equal(header.name.begin(), header.name.end(), name.begin(), name.end(),
                   [](char a, char b) { return (a | 0x20) == (b | 0x20); })) {
      return header.value;
    }
  }
  return {};
}

}  // namespace

HttpResponse SignatureCheck::handle(const HttpRequest& request) {
  if (options_.accept_any) return service_.handle(request);
  const WallTime now = clock_.now();
  const auto caller = verify_signature(request,
                                       [this](std::string_view id) -> std::optional<Secret> {
                                         const auto found = options_.keys.find(id);
                                         if (found == options_.keys.end()) return std::nullopt;
                                         return found->second;
                                       },
                                       {.now = now, .skew_max = options_.skew_max});
  if (caller) return service_.handle(request);

  const Error& error = caller.error();
  const std::string_view type = header_of(request, "content-type");
  const bool is_rest = header_of(request, "x-amz-target").empty();
  HttpResponse response;
  response.status = is_rest ? 403 : 400;
  response.headers = {
      {"Content-Type", is_rest || type.empty() ? "application/json" : std::string(type)},
      {"x-amzn-RequestId", fmt::format("00000000-0000-4000-9000-{:012x}",
                                       refused_.fetch_add(1, std::memory_order_relaxed))}};
  if (is_rest) response.headers.push_back({"x-amzn-errortype", error.code});
  response.body =
      fmt::format(R"({{"__type":"{}","message":{}}})", error.code, json_quoted(error.message));
  return response;
}

}  // namespace millrace
