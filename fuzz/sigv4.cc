// Any request against the verifier: nobody gets in without the secret. And any path, query and body
// that we sign ourselves must verify.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "aws/sigv4.h"
#include "core/check.h"

namespace millrace {
namespace {

constexpr std::int64_t kNow = 1'440'938'160'000;  // 20150830T123600Z

std::optional<Secret> secret_of(std::string_view id) {
  if (id != "AKIDEXAMPLE") return std::nullopt;
  return Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
}

std::string_view cut(std::string_view& text, char at) {
  const std::size_t end = std::min(text.find(at), text.size());
  const std::string_view head = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return head;
}

// Lines: method, target, headers, a blank line, the body.
HttpRequest request_of(std::string_view text) {
  HttpRequest request;
  request.method = cut(text, '\n');
  request.url = cut(text, '\n');
  while (!text.empty()) {
    std::string_view line = cut(text, '\n');
    if (line.empty()) break;
    const std::string_view name = cut(line, ':');
    request.headers.push_back({std::string(name), std::string(line)});
  }
  request.body = text;
  return request;
}

void check_own(std::string_view text) {
  HttpRequest request;
  request.method = text.size() % 2 == 0 ? "POST" : "GET";
  request.url =
      "https://service.eu-west-1.amazonaws.com/" + uri_encode(cut(text, '\n'), true) + '?';
  for (const char c : cut(text, '\n')) {
    if (c > ' ' && c < 0x7F && c != '#') request.url += c;
  }
  request.headers.push_back({"X-Amz-Meta-Note", uri_encode(cut(text, '\n'))});
  request.body = text;
  const Credentials credentials{.access_key_id = "AKIDEXAMPLE",
                                .secret_access_key = *secret_of("AKIDEXAMPLE")};
  for (const char* service : {"kinesis", "s3"}) {
    HttpRequest signing = request;
    sign_request(signing, credentials,
                 {.region = "eu-west-1",
                  .service = service,
                  .time = wall_time_of_ms(kNow),
                  .normalize_path = std::string_view(service) != "s3"});
    const auto caller = verify_signature(signing, secret_of, {.now = wall_time_of_ms(kNow + 1000)});
    MILLRACE_CHECK(caller.has_value() && caller->service == service);
    signing.body += 'x';
    MILLRACE_CHECK(!verify_signature(signing, secret_of, {.now = wall_time_of_ms(kNow)}));
  }
}

}  // namespace
}  // namespace millrace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace millrace;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto caller = verify_signature(request_of(text), secret_of, {.now = wall_time_of_ms(kNow)});
  MILLRACE_CHECK(!caller && !caller.error().message.empty() && !caller.error().code.empty());
  check_own(text);
  return 0;
}
