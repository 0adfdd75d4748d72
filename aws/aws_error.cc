#include "aws/aws_error.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

namespace millrace {
namespace {

constexpr std::string_view kRequestId = ", request id ";

constexpr std::size_t kMessageBytesMax = 512;

// "namespace#Name:http://where" → "Name". The colon first: a url behind it may hold a '#'.
std::string_view bare_code(std::string_view code) {
  code = code.substr(0, code.find(':'));
  const std::size_t hash = code.rfind('#');
  if (hash != std::string_view::npos) code.remove_prefix(hash + 1);
  while (!code.empty() && code.front() == ' ') code.remove_prefix(1);
  while (!code.empty() && code.back() == ' ') code.remove_suffix(1);
  return code;
}

// One line of at most kMessageBytesMax bytes, never cut inside a UTF-8 sequence.
std::string one_line(std::string_view text) {
  const bool cut = text.size() > kMessageBytesMax;
  std::size_t end = std::min(text.size(), kMessageBytesMax);
  while (cut && end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
  std::string out(text.substr(0, end));
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
  if (cut) out += "…";
  return out;
}

std::string string_member(const nlohmann::json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

constexpr AwsErrorRow kRows[] = {
    // Too many calls, or (Personalize, Kinesis) too many resources: Error::code tells which.
    {"LimitExceededException", ErrorKind::throttled},
    {"ThrottlingException", ErrorKind::throttled},
    {"Throttling", ErrorKind::throttled},
    {"ThrottledException", ErrorKind::throttled},
    {"RequestThrottled", ErrorKind::throttled},
    {"RequestThrottledException", ErrorKind::throttled},
    {"TooManyRequestsException", ErrorKind::throttled},
    {"ProvisionedThroughputExceededException", ErrorKind::throttled},
    {"RequestLimitExceeded", ErrorKind::throttled},
    {"BandwidthLimitExceeded", ErrorKind::throttled},
    {"KMSThrottlingException", ErrorKind::throttled},
    {"SlowDown", ErrorKind::throttled},
    {"PriorRequestNotComplete", ErrorKind::throttled},

    // The service's own trouble. Without a promise that nothing was done, it may have been.
    {"ServiceUnavailable", ErrorKind::transient},
    {"ServiceUnavailableException", ErrorKind::transient},
    {"RequestTimeout", ErrorKind::ambiguous},
    {"RequestTimeoutException", ErrorKind::ambiguous},
    {"InternalFailure", ErrorKind::ambiguous},
    {"InternalFailureException", ErrorKind::ambiguous},
    {"InternalServerError", ErrorKind::ambiguous},
    {"InternalServerException", ErrorKind::ambiguous},
    {"InternalError", ErrorKind::ambiguous},

    // Refused before anything was done, and a matter of time: credentials run out, clocks drift.
    {"ExpiredToken", ErrorKind::transient},
    {"ExpiredTokenException", ErrorKind::transient},
    {"TokenRefreshRequired", ErrorKind::transient},
    {"RequestExpired", ErrorKind::transient},
    {"RequestTimeTooSkewed", ErrorKind::transient},
    {"RequestInTheFuture", ErrorKind::transient},

    // A permission, a key or a signature.
    {"AccessDenied", ErrorKind::denied},
    {"AccessDeniedException", ErrorKind::denied},
    {"UnauthorizedOperation", ErrorKind::denied},
    {"UnauthorizedException", ErrorKind::denied},
    {"NotAuthorized", ErrorKind::denied},
    {"UnrecognizedClientException", ErrorKind::denied},
    {"InvalidClientTokenId", ErrorKind::denied},
    {"InvalidAccessKeyId", ErrorKind::denied},
    {"InvalidToken", ErrorKind::denied},
    {"InvalidSignatureException", ErrorKind::denied},
    {"SignatureDoesNotMatch", ErrorKind::denied},
    {"AuthFailure", ErrorKind::denied},
    {"IncompleteSignature", ErrorKind::denied},
    {"IncompleteSignatureException", ErrorKind::denied},
    {"MissingAuthenticationToken", ErrorKind::denied},
    {"MissingAuthenticationTokenException", ErrorKind::denied},
    {"OptInRequired", ErrorKind::denied},
    {"SubscriptionRequiredException", ErrorKind::denied},
    {"KMSAccessDeniedException", ErrorKind::denied},
    {"KMSDisabledException", ErrorKind::denied},
    {"KMSInvalidStateException", ErrorKind::denied},
    {"KMSNotFoundException", ErrorKind::denied},
    {"KMSOptInRequired", ErrorKind::denied},

    // Answers.
    {"ResourceNotFoundException", ErrorKind::not_found},
    {"ResourceInUseException", ErrorKind::conflict},
    {"ResourceAlreadyExistsException", ErrorKind::conflict},
    {"ExpiredIteratorException", ErrorKind::conflict},
    {"ExpiredNextTokenException", ErrorKind::conflict},

    // Never again as it stands.
    {"InvalidInputException", ErrorKind::rejected},
    {"InvalidArgumentException", ErrorKind::rejected},
    {"InvalidNextTokenException", ErrorKind::rejected},
    {"ValidationException", ErrorKind::rejected},
    {"ValidationError", ErrorKind::rejected},
    {"SerializationException", ErrorKind::rejected},
    {"UnknownOperationException", ErrorKind::rejected},
    {"TooManyTagsException", ErrorKind::rejected},
    {"TooManyTagKeysException", ErrorKind::rejected},
};

bool one_of(std::string_view code, std::initializer_list<std::string_view> codes) {
  return std::find(codes.begin(), codes.end(), code) != codes.end();
}

std::optional<std::chrono::milliseconds> number_header(const HttpResponse& response,
                                                       std::string_view name,
                                                       std::chrono::milliseconds unit) {
  const std::string_view text = response.header(name);
  std::int64_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() ||
      number < 0 || number > 86'400'000)
    return std::nullopt;
  return number * unit;
}

}  // namespace

AwsErrorText extract_aws_error(const HttpResponse& response) {
  AwsErrorText out;
  const auto body = nlohmann::json::parse(response.body, nullptr, /*allow_exceptions=*/false);
  if (body.is_object()) {
    for (const char* name : {"__type", "code", "Code"}) {
      out.code = bare_code(string_member(body, name));
      if (!out.code.empty()) break;
    }
    for (const char* name : {"message", "Message", "error_description"}) {
      out.message = one_line(string_member(body, name));
      if (!out.message.empty()) break;
    }
  } else {
    out.message = one_line(response.body);
  }
  if (const auto header = bare_code(response.header("x-amzn-errortype")); !header.empty())
    out.code = header;
  const std::string_view query_error = response.header("x-amzn-query-error");
  if (!query_error.empty()) out.code = bare_code(query_error.substr(0, query_error.find(';')));
  out.code = one_line(out.code);
  if (out.code.empty()) out.code = std::to_string(response.status);
  for (const std::string_view name : {"x-amzn-requestid", "x-amz-request-id"}) {
    if (out.request_id.empty()) out.request_id = one_line(response.header(name));
  }
  return out;
}

std::span<const AwsErrorRow> aws_error_table() { return kRows; }

ErrorKind kind_of_aws_error(std::string_view code, int status) {
  for (const auto& row : kRows)
    if (row.code == code) return row.kind;
  if (status == 429) return ErrorKind::throttled;
  if (status == 500 || status == 502 || status == 504) return ErrorKind::ambiguous;
  if (status >= 500) return ErrorKind::transient;
  if (status == 401 || status == 403) return ErrorKind::denied;
  if (status == 404) return ErrorKind::not_found;
  if (status == 409 || status == 412) return ErrorKind::conflict;
  if (status == 408) return ErrorKind::ambiguous;
  return ErrorKind::rejected;
}

bool may_be_clock_skew(std::string_view code) {
  return one_of(code, {"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture",
                       "InvalidSignatureException", "SignatureDoesNotMatch", "AuthFailure"});
}

bool is_expired_credentials(std::string_view code) {
  return one_of(code,
                {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken",
                 "UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId"});
}

Error aws_error(std::string_view operation, const HttpResponse& response) {
  AwsErrorText text = extract_aws_error(response);
  Error error;
  error.kind = kind_of_aws_error(text.code, response.status);
  error.message.append(operation).append(": ").append(text.code);
  if (!text.message.empty()) error.message.append(": ").append(text.message);
  if (text.code != std::to_string(response.status))
    error.message.append(" (HTTP ").append(std::to_string(response.status));
  else
    error.message.append(" (an answer without an AWS error code: is a proxy in between?");
  if (!text.request_id.empty()) error.message.append(kRequestId).append(text.request_id);
  error.message += ')';
  error.code = std::move(text.code);
  error.retry_after = number_header(response, "x-amz-retry-after", std::chrono::milliseconds(1));
  if (!error.retry_after)
    error.retry_after = number_header(response, "retry-after", std::chrono::seconds(1));
  return error;
}

std::string without_request_id(std::string_view message) {
  std::string text(message);
  const std::size_t begin = text.rfind(kRequestId);
  if (begin == std::string::npos) return text;
  const std::size_t end = text.find(')', begin);
  if (end != std::string::npos) text.erase(begin, end - begin);
  return text;
}

}  // namespace millrace
