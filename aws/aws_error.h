// What an AWS service's refusal means for the caller: extraction of code and text from the answer,
// and one table from code to ErrorKind. Sources: the "Common Errors" page and each operation's
// error list of the Kinesis and Personalize API References; the AWS JSON and restJson1 protocol
// pages of the Smithy documentation ("Operation error serialization").
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "aws/http_client.h"
#include "core/result.h"

namespace millrace {

/// What an error answer says about itself.
struct AwsErrorText {
  std::string code{};        // "ResourceInUseException"; the status in digits when it names none
  std::string message{};     // at most 512 bytes, one line; what a proxy sent when it is not JSON
  std::string request_id{};  // what AWS support asks for; empty when absent
};

/// Any bytes are fine as a body. The code comes from x-amzn-query-error, x-amzn-errortype, `__type`
/// or `code`, cut at the first ':' and after the last '#'.
AwsErrorText extract_aws_error(const HttpResponse& response);

/// The table, then the status where the code is unknown: 429 throttled; 500, 502 and 504 ambiguous
/// (the request may have been carried out); other 5xx transient; 401 and 403 denied; 404 not_found;
/// 409 and 412 conflict; other 4xx rejected.
ErrorKind kind_of_aws_error(std::string_view code, int status);

/// Rows of the table, for the test that goes through all of them.
struct AwsErrorRow {
  std::string_view code{};
  ErrorKind kind{};
};
std::span<const AwsErrorRow> aws_error_table();

/// Whether the service may have refused because our clock is off ("RequestTimeTooSkewed", …).
bool may_be_clock_skew(std::string_view code);

/// Whether new credentials may help ("ExpiredTokenException", …).
bool is_expired_credentials(std::string_view code);

/// An answer with a status outside 2xx as an Error: "CreateCampaign: ResourceInUseException: text
/// (request id …)". Honours x-amz-retry-after (milliseconds) and Retry-After (seconds).
Error aws_error(std::string_view operation, const HttpResponse& response);

/// What two refusals for one cause have in common: the message of aws_error() without the request
/// id, which is another one each time. Other texts are given back as they are.
std::string without_request_id(std::string_view message);

}  // namespace millrace
