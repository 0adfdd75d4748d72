#include "aws/aws_client.h"

#include <charconv>
#include <optional>
#include <utility>

#include "aws/aws_error.h"
#include "core/check.h"
#include "core/rng.h"

namespace millrace {
namespace {

// Below this a refusal has another reason than the clock (the services allow 5 minutes and more).
constexpr std::chrono::milliseconds kSkewMin = std::chrono::minutes(4);

// "Sun, 06 Nov 1994 08:49:37 GMT", the one form of RFC 9110 §5.6.7 that is still sent.
std::optional<WallTime> parse_http_date(std::string_view text) {
  if (text.size() != 29 || text.substr(25) != " GMT") return std::nullopt;
  const auto number = [&](std::size_t at, std::size_t digits) {
    int value = -1;
    const auto parsed = std::from_chars(text.data() + at, text.data() + at + digits, value);
    return parsed.ptr == text.data() + at + digits ? value : -1;
  };
  constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";
  const std::size_t month = kMonths.find(text.substr(8, 3));
  const int day = number(5, 2);
  const int year = number(12, 4);
  const int hour = number(17, 2);
  const int minute = number(20, 2);
  const int second = number(23, 2);
  if (month == std::string_view::npos || month % 3 != 0 || day < 0 || year < 1970 || hour < 0 ||
      minute < 0 || second < 0)
    return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month / 3 + 1)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok()) return std::nullopt;
  return WallTime(std::chrono::sys_days(date)) + std::chrono::hours(hour) +
         std::chrono::minutes(minute) + std::chrono::seconds(second);
}

}  // namespace

AwsClient::AwsClient(Options options, AwsRuntime runtime)
    : options_(std::move(options)), runtime_(std::move(runtime)) {
  MILLRACE_CHECK(options_.attempts_max > 0);
  MILLRACE_CHECK(runtime_.wall_time != nullptr);
}

Result<HttpResponse> AwsClient::call(AwsCall call) {
  HttpRequest request{.method = std::move(call.method),
                      .url = options_.endpoint + call.target,
                      .headers = std::move(call.headers),
                      .body = std::move(call.body),
                      .timeout = call.timeout};
  bool corrected_clock = false;
  bool renewed_credentials = false;
  std::uint32_t retry = 0;
  while (true) {
    auto credentials = runtime_.credentials.credentials();
    if (!credentials)
      return fail(credentials.error().while_doing(std::string(call.operation) + ": credentials (" +
                                                  runtime_.credentials.name() + ")"));
    const WallTime own_time = runtime_.wall_time();
    const auto offset = runtime_.clock_offset.get();
    sign_request(request, *credentials,
                 {.region = options_.region,
                  .service = std::string(options_.service.signing_name),
                  .time = own_time + offset,
                  .key_cache = &signing_keys_});
    auto response = runtime_.http.send(request);

    Error error;
    if (!response) {
      error = response.error().while_doing(call.operation);
    } else if (response->status >= 200 && response->status < 300) {
      return response;
    } else {
      error = aws_error(call.operation, *response);
      if (may_be_clock_skew(error.code) && !corrected_clock) {
        corrected_clock = true;
        const auto server_time = parse_http_date(response->header("date"));
        if (server_time && std::chrono::abs(*server_time - (own_time + offset)) >= kSkewMin) {
          const auto measured = *server_time - own_time;
          runtime_.clock_offset.set(measured);
          runtime_.log.warn("clock differs from the service's, signatures are corrected",
                            {{"operation", call.operation},
                             {"offset_s", measured.count() / 1000},
                             {"hint", "set this machine's clock (NTP)"}});
          continue;
        }
      }
      if (is_expired_credentials(error.code) && !renewed_credentials) {
        renewed_credentials = true;
        runtime_.credentials.forget(*credentials);
        const auto renewed = runtime_.credentials.credentials();
        if (renewed && (renewed->access_key_id != credentials->access_key_id ||
                        !(renewed->secret_access_key == credentials->secret_access_key) ||
                        !(renewed->session_token == credentials->session_token)))
          continue;
        error.message += "; " + runtime_.credentials.name() + " has no newer credentials";
      }
    }

    if (!error.retryable() || (error.kind == ErrorKind::ambiguous && !call.repeatable) ||
        retry + 1 >= options_.attempts_max)
      return fail(std::move(error));
    Rng rng(runtime_.seed ^
            (retries_.fetch_add(1, std::memory_order_relaxed) + 1) * 0x9E3779B97F4A7C15ULL);
    const auto delay = options_.retry.next_delay(error, retry, rng);
    runtime_.log.debug("aws call failed, trying again", {{"operation", call.operation},
                                                         {"attempt", retry + 1},
                                                         {"delay_ms", delay.count()},
                                                         {"error", error.message}});
    if (!runtime_.pause.wait(delay)) return fail(std::move(error));
    ++retry;
  }
}

Result<AwsClient::Options> aws_client_options(const AwsService& service, const AwsOptions& options,
                                              const Environment& environment) {
  auto region = resolve_region(options, environment);
  if (!region) return fail(region.error());
  auto endpoint = resolve_endpoint(service, *region, options, environment);
  if (!endpoint) return fail(endpoint.error());
  return AwsClient::Options{
      .service = service, .region = std::move(*region), .endpoint = std::move(*endpoint)};
}

}  // namespace millrace
