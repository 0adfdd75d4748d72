#include "aws/sigv4.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <strings.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "core/check.h"

namespace millrace {
namespace {

constexpr std::string_view kAlgorithm = "AWS4-HMAC-SHA256";
constexpr std::string_view kScopeEnd = "aws4_request";
constexpr char kHexLower[] = "0123456789abcdef";
constexpr char kHexUpper[] = "0123456789ABCDEF";

std::string hex(const unsigned char* bytes, std::size_t count) {
  std::string out(count * 2, '0');
  for (std::size_t i = 0; i < count; ++i) {
    out[2 * i] = kHexLower[bytes[i] >> 4];
    out[2 * i + 1] = kHexLower[bytes[i] & 0xF];
  }
  return out;
}

SigningKey hmac(const unsigned char* key, std::size_t key_bytes, std::string_view message) {
  SigningKey out{};
  unsigned int length = 0;
  const auto* done = HMAC(EVP_sha256(), key, static_cast<int>(key_bytes),
                          reinterpret_cast<const unsigned char*>(message.data()), message.size(),
                          out.data(), &length);
  MILLRACE_CHECK(done != nullptr && length == out.size());
  return out;
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

bool starts_with_ignoring_case(std::string_view text, std::string_view start) {
  return equal_ignoring_case(text.substr(0, start.size()), start);
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

bool unreserved(unsigned char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_' || c == '.' || c == '~';
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string percent_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      const int high = hex_value(text[i + 1]);
      const int low = hex_value(text[i + 2]);
      if (high >= 0 && low >= 0) {
        out += static_cast<char>(high * 16 + low);
        i += 2;
        continue;
      }
    }
    out += text[i];
  }
  return out;
}

// Dot segments resolved and empty ones dropped; a slash at the end stays (RFC 3986 §5.2.4, and the
// suite's get-slash* cases for the empty ones).
std::string normalized_path(std::string_view path) {
  std::vector<std::string_view> kept;
  std::string_view last;
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    last = path.substr(begin, end - begin);
    if (last == "..") {
      if (!kept.empty()) kept.pop_back();
    } else if (!last.empty() && last != ".") {
      kept.push_back(last);
    }
    begin = end + 1;
  }
  std::string out;
  for (const auto segment : kept) {
    out += '/';
    out += segment;
  }
  const bool ends_open = last.empty() || last == "." || last == "..";
  if (out.empty() || ends_open) out += '/';
  return out;
}

std::string canonical_path(std::string_view path, bool is_s3, bool normalize) {
  if (path.empty()) return "/";
  if (is_s3) return std::string(path);
  return uri_encode(normalize ? normalized_path(path) : std::string(path), true);
}

// Decoded, then encoded: our own queries come out as they went in, and what others wrote ("é",
// "%7E") comes out as the service sees it. `without` is the presigned form's own signature.
std::string canonical_query(std::string_view query, std::string_view without = {}) {
  std::vector<std::pair<std::string, std::string>> parameters;
  for (std::size_t begin = 0; begin < query.size();) {
    const std::size_t end = std::min(query.find('&', begin), query.size());
    const std::string_view part = query.substr(begin, end - begin);
    begin = end + 1;
    if (part.empty()) continue;
    const std::size_t equals = part.find('=');
    const std::string_view value =
        equals == std::string_view::npos ? std::string_view() : part.substr(equals + 1);
    auto name = uri_encode(percent_decode(part.substr(0, equals)));
    if (!without.empty() && name == without) continue;
    parameters.emplace_back(std::move(name), uri_encode(percent_decode(value)));
  }
  std::sort(parameters.begin(), parameters.end());
  std::string out;
  for (const auto& [name, value] : parameters) {
    if (!out.empty()) out += '&';
    out += name;
    out += '=';
    out += value;
  }
  return out;
}

// Trimmed, and inner runs of white space as one blank; line breaks of a folded header count as
// white space.
void append_header_value(std::string_view value, std::string& out) {
  const auto is_space = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
  bool blank = false;
  const std::size_t begin = out.size();
  for (const char c : value) {
    if (is_space(c)) {
      blank = true;
      continue;
    }
    if (blank && out.size() != begin) out += ' ';
    blank = false;
    out += c;
  }
}

// What proxies and HTTP libraries change or add on their own ("Create a signed AWS API request"
// asks for host, x-amz-* and content-type; the rest is the SDKs' practice).
bool must_not_sign(std::string_view lower_name) {
  static constexpr std::string_view kNames[] = {"accept-encoding",
                                                "amz-sdk-invocation-id",
                                                "amz-sdk-request",
                                                "authorization",
                                                "baggage",
                                                "connection",
                                                "expect",
                                                "keep-alive",
                                                "proxy-authenticate",
                                                "proxy-authorization",
                                                "te",
                                                "traceparent",
                                                "tracestate",
                                                "trailer",
                                                "transfer-encoding",
                                                "upgrade",
                                                "user-agent",
                                                "x-amzn-trace-id"};
  return std::find(std::begin(kNames), std::end(kNames), lower_name) != std::end(kNames);
}

std::string canonical_headers(const std::vector<HttpHeader>& headers,
                              const std::vector<std::string>& signed_names) {
  std::string out;
  for (const auto& name : signed_names) {
    out += name;
    out += ':';
    bool first = true;
    // HTTP/2 clients may sign the pseudo header; over HTTP/1.1 the same text arrives as Host.
    const std::string_view wanted = name == ":authority" ? std::string_view("host") : name;
    for (const auto& header : headers) {
      if (!equal_ignoring_case(header.name, name) && !equal_ignoring_case(header.name, wanted))
        continue;
      if (!first) out += ',';
      first = false;
      append_header_value(header.value, out);
    }
    out += '\n';
  }
  return out;
}

std::string joined(const std::vector<std::string>& names) {
  std::string out;
  for (const auto& name : names) {
    if (!out.empty()) out += ';';
    out += name;
  }
  return out;
}

std::string canonical_request(std::string_view method, std::string_view path,
                              std::string_view query, std::string_view headers,
                              std::string_view signed_names, std::string_view payload_hash) {
  std::string out;
  out.reserve(method.size() + path.size() + query.size() + headers.size() + signed_names.size() +
              payload_hash.size() + 8);
  out.append(method).append("\n").append(path).append("\n").append(query).append("\n");
  out.append(headers).append("\n").append(signed_names).append("\n").append(payload_hash);
  return out;
}

std::string scope_of(std::string_view date, std::string_view region, std::string_view service) {
  std::string out(date);
  out.append("/").append(region).append("/").append(service).append("/").append(kScopeEnd);
  return out;
}

std::string string_to_sign(std::string_view amz_date, std::string_view scope,
                           std::string_view canonical) {
  std::string out(kAlgorithm);
  out.append("\n").append(amz_date).append("\n").append(scope).append("\n");
  out += sha256_hex(canonical);
  return out;
}

std::string signature_of(const SigningKey& key, std::string_view text) {
  const SigningKey signature = hmac(key.data(), key.size(), text);
  return hex(signature.data(), signature.size());
}

void set_header(std::vector<HttpHeader>& headers, std::string_view name, std::string value) {
  std::erase_if(headers, [&](const HttpHeader& h) { return equal_ignoring_case(h.name, name); });
  headers.push_back({std::string(name), std::move(value)});
}

const std::string* find_header(const std::vector<HttpHeader>& headers, std::string_view name) {
  for (const auto& header : headers)
    if (equal_ignoring_case(header.name, name)) return &header.value;
  return nullptr;
}

}  // namespace

std::string sha256_hex(std::string_view bytes) {
  std::array<unsigned char, 32> digest{};
  unsigned int length = 0;
  const int done =
      EVP_Digest(bytes.data(), bytes.size(), digest.data(), &length, EVP_sha256(), nullptr);
  MILLRACE_CHECK(done == 1 && length == digest.size());
  return hex(digest.data(), digest.size());
}

SigningKey derive_signing_key(const Secret& secret, std::string_view date_yyyymmdd,
                              std::string_view region, std::string_view service) {
  const std::string start = "AWS4" + secret.reveal();
  SigningKey key =
      hmac(reinterpret_cast<const unsigned char*>(start.data()), start.size(), date_yyyymmdd);
  for (const std::string_view part : {region, service, kScopeEnd})
    key = hmac(key.data(), key.size(), part);
  return key;
}

SigningKey SigningKeyCache::get(const Secret& secret, std::string_view date_yyyymmdd,
                                std::string_view region, std::string_view service) {
  const auto held = entry_.load();
  if (held && held->date == date_yyyymmdd && held->secret == secret && held->region == region &&
      held->service == service)
    return held->key;
  auto made = std::make_shared<const Entry>(
      Entry{secret, std::string(date_yyyymmdd), std::string(region), std::string(service),
            derive_signing_key(secret, date_yyyymmdd, region, service)});
  entry_.store(made);
  return made->key;
}

std::string uri_encode(std::string_view text, bool keep_slash) {
  std::string out;
  out.reserve(text.size() + text.size() / 4);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (unreserved(byte) || (keep_slash && c == '/')) {
      out += c;
    } else {
      out += '%';
      out += kHexUpper[byte >> 4];
      out += kHexUpper[byte & 0xF];
    }
  }
  return out;
}

UrlParts split_url(std::string_view url) {
  UrlParts parts;
  const std::size_t scheme_end = url.find("://");
  const std::size_t target_start = url.find_first_of("/?");
  if (scheme_end != std::string_view::npos && scheme_end < target_start) {
    parts.scheme = url.substr(0, scheme_end);
    url.remove_prefix(scheme_end + 3);
    const std::size_t end = std::min(url.find_first_of("/?"), url.size());
    parts.authority = url.substr(0, end);
    url.remove_prefix(end);
  }
  const std::size_t question = url.find('?');
  parts.path = url.substr(0, question);
  if (question != std::string_view::npos) parts.query = url.substr(question + 1);
  return parts;
}

SignatureStages sign_request(HttpRequest& request, const Credentials& credentials,
                             const SigningOptions& options) {
  const UrlParts url = split_url(request.url);
  const bool is_s3 = options.service == "s3";
  const std::string amz_date = compact_iso8601(options.time);
  const std::string_view date = std::string_view(amz_date).substr(0, 8);

  auto& headers = request.headers;
  std::erase_if(headers, [](const HttpHeader& h) {
    return equal_ignoring_case(h.name, "authorization") ||
           equal_ignoring_case(h.name, "x-amz-security-token");
  });
  if (!url.authority.empty()) {
    std::string_view host = url.authority;
    const std::string_view own_port = url.scheme == "https" ? ":443" : ":80";
    if (host.ends_with(own_port)) host.remove_suffix(own_port.size());
    set_header(headers, "Host", std::string(host));
  }
  set_header(headers, "X-Amz-Date", amz_date);
  if (!credentials.session_token.empty())
    set_header(headers, "X-Amz-Security-Token", credentials.session_token.reveal());
  std::string payload_hash;
  if (is_s3) {
    // A caller that streams or checks its payload otherwise has put the right word there.
    const std::string* given = find_header(headers, "x-amz-content-sha256");
    payload_hash = given != nullptr ? *given : sha256_hex(request.body);
    set_header(headers, "X-Amz-Content-Sha256", payload_hash);
  } else {
    payload_hash = sha256_hex(request.body);
  }

  std::vector<std::string> names;
  for (const auto& header : headers) {
    std::string name = lower(header.name);
    if (!must_not_sign(name)) names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());

  SignatureStages stages;
  const std::string signed_names = joined(names);
  const std::string scope = scope_of(date, options.region, options.service);
  stages.canonical_request = canonical_request(
      request.method, canonical_path(url.path, is_s3, options.normalize_path),
      canonical_query(url.query), canonical_headers(headers, names), signed_names, payload_hash);
  stages.string_to_sign = string_to_sign(amz_date, scope, stages.canonical_request);
  const SigningKey key = options.key_cache != nullptr
                             ? options.key_cache->get(credentials.secret_access_key, date,
                                                      options.region, options.service)
                             : derive_signing_key(credentials.secret_access_key, date,
                                                  options.region, options.service);
  stages.signature = signature_of(key, stages.string_to_sign);

  std::string authorization(kAlgorithm);
  authorization.append(" Credential=").append(credentials.access_key_id).append("/").append(scope);
  authorization.append(", SignedHeaders=").append(signed_names);
  authorization.append(", Signature=").append(stages.signature);
  headers.push_back({"Authorization", std::move(authorization)});
  return stages;
}

// ---- the receiving side ------------------------------------------------------------------------

namespace {

struct ReceivedSignature {
  std::string access_key_id{};
  std::string date{};
  std::string region{};
  std::string service{};
  std::string amz_date{};
  std::vector<std::string> signed_names{};
  std::string signature{};
  bool presigned = false;
  std::chrono::seconds valid_for{0};  // presigned only
};

tl::unexpected<Error> incomplete(std::string message) {
  return fail(ErrorKind::denied, std::move(message), "IncompleteSignatureException");
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> out;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(separator, begin), text.size());
    out.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

// "AKID/20260101/eu-west-1/kinesis/aws4_request"; an access key id has no slash.
Status read_credential(std::string_view text, ReceivedSignature& out) {
  auto parts = split(text, '/');
  if (parts.size() != 5 || parts[4] != kScopeEnd || parts[1].size() != 8)
    return incomplete(
        "Credential must be ACCESS_KEY/YYYYMMDD/REGION/SERVICE/aws4_request, not the one given.");
  out.access_key_id = std::move(parts[0]);
  out.date = std::move(parts[1]);
  out.region = std::move(parts[2]);
  out.service = std::move(parts[3]);
  return {};
}

std::optional<WallTime> parse_amz_date(std::string_view text) {
  if (text.size() != 16 || text[8] != 'T' || text[15] != 'Z') return std::nullopt;
  const auto number = [&](std::size_t at, std::size_t digits) {
    int value = 0;
    const auto* end = text.data() + at + digits;
    const auto parsed = std::from_chars(text.data() + at, end, value);
    return parsed.ec == std::errc() && parsed.ptr == end && value >= 0 ? value : -1;
  };
  const int year = number(0, 4);
  const int month = number(4, 2);
  const int day = number(6, 2);
  const int hour = number(9, 2);
  const int minute = number(11, 2);
  const int second = number(13, 2);
  if (year < 0 || month < 0 || day < 0 || hour < 0 || minute < 0 || second < 0) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok() || hour > 23 || minute > 59 || second > 60) return std::nullopt;
  return WallTime(std::chrono::sys_days(date)) + std::chrono::hours(hour) +
         std::chrono::minutes(minute) + std::chrono::seconds(second);
}

std::string query_parameter(std::string_view query, std::string_view wanted) {
  for (const auto& part : split(query, '&')) {
    const std::size_t equals = part.find('=');
    if (equals == std::string::npos) continue;
    if (percent_decode(std::string_view(part).substr(0, equals)) == wanted)
      return percent_decode(std::string_view(part).substr(equals + 1));
  }
  return {};
}

Result<ReceivedSignature> read_presigned(const HttpRequest& request, std::string_view query) {
  ReceivedSignature out;
  out.presigned = true;
  if (query_parameter(query, "X-Amz-Algorithm") != kAlgorithm)
    return incomplete("X-Amz-Algorithm must be AWS4-HMAC-SHA256.");
  if (auto read = read_credential(query_parameter(query, "X-Amz-Credential"), out); !read)
    return fail(read.error());
  out.amz_date = query_parameter(query, "X-Amz-Date");
  out.signed_names = split(query_parameter(query, "X-Amz-SignedHeaders"), ';');
  out.signature = query_parameter(query, "X-Amz-Signature");
  const std::string expires = query_parameter(query, "X-Amz-Expires");
  int seconds = 0;
  const auto* end = expires.data() + expires.size();
  const auto parsed = std::from_chars(expires.data(), end, seconds);
  if (expires.empty() || parsed.ec != std::errc() || parsed.ptr != end || seconds < 1 ||
      seconds > 604'800)
    return incomplete("X-Amz-Expires must be a number of seconds from 1 to 604800.");
  out.valid_for = std::chrono::seconds(seconds);
  if (out.signature.empty()) return incomplete("X-Amz-Signature is missing.");
  if (find_header(request.headers, "authorization") != nullptr)
    return incomplete("Only one of the Authorization header and X-Amz-Signature may be sent.");
  return out;
}

Result<ReceivedSignature> read_signature(const HttpRequest& request) {
  const UrlParts url = split_url(request.url);
  const std::string* authorization = find_header(request.headers, "authorization");
  if (!query_parameter(url.query, "X-Amz-Signature").empty() ||
      !query_parameter(url.query, "X-Amz-Algorithm").empty())
    return read_presigned(request, url.query);
  if (authorization == nullptr)
    return fail(ErrorKind::denied, "Missing Authentication Token",
                "MissingAuthenticationTokenException");

  std::string_view text = *authorization;
  if (!text.starts_with(kAlgorithm) || text.size() <= kAlgorithm.size() ||
      text[kAlgorithm.size()] != ' ')
    return incomplete("Authorization must begin with AWS4-HMAC-SHA256.");
  text.remove_prefix(kAlgorithm.size() + 1);
  ReceivedSignature out;
  bool has_credential = false;
  for (const auto& piece : split(text, ',')) {
    std::string_view part = piece;
    while (!part.empty() && part.front() == ' ') part.remove_prefix(1);
    while (!part.empty() && part.back() == ' ') part.remove_suffix(1);
    if (part.starts_with("Credential=")) {
      if (auto read = read_credential(part.substr(11), out); !read) return fail(read.error());
      has_credential = true;
    } else if (part.starts_with("SignedHeaders=")) {
      out.signed_names = split(part.substr(14), ';');
    } else if (part.starts_with("Signature=")) {
      out.signature = part.substr(10);
    }
  }
  if (!has_credential) return incomplete("Authorization header requires 'Credential' parameter.");
  if (out.signed_names.empty())
    return incomplete("Authorization header requires 'SignedHeaders' parameter.");
  if (out.signature.empty())
    return incomplete("Authorization header requires 'Signature' parameter.");
  const std::string* date = find_header(request.headers, "x-amz-date");
  if (date == nullptr)
    return incomplete("Authorization header requires existence of an 'X-Amz-Date' header.");
  out.amz_date = *date;
  return out;
}

// Host must be covered, and so must every x-amz-* header: an unsigned one could have been added on
// the way.
Status check_signed_names(const HttpRequest& request, const ReceivedSignature& received) {
  const auto is_signed = [&](std::string_view name) {
    return std::find(received.signed_names.begin(), received.signed_names.end(), name) !=
           received.signed_names.end();
  };
  if (!is_signed("host") && !is_signed(":authority"))
    return incomplete("'Host' must be a 'SignedHeader' in the AWS Authorization.");
  if (received.presigned) return {};
  for (const auto& header : request.headers) {
    if (!starts_with_ignoring_case(header.name, "x-amz-")) continue;
    if (!is_signed(lower(header.name)))
      return incomplete("There were headers present in the request which were not signed: " +
                        lower(header.name));
  }
  return {};
}

SignatureStages stages_of(const HttpRequest& request, const ReceivedSignature& received,
                          const Secret& secret) {
  const UrlParts url = split_url(request.url);
  const bool is_s3 = received.service == "s3";
  std::string payload_hash;
  const std::string* given = find_header(request.headers, "x-amz-content-sha256");
  if (given != nullptr)
    payload_hash = *given;
  else if (received.presigned && is_s3)
    payload_hash = "UNSIGNED-PAYLOAD";
  else
    payload_hash = sha256_hex(request.body);

  SignatureStages stages;
  stages.canonical_request = canonical_request(
      request.method, canonical_path(url.path, is_s3, true),
      canonical_query(url.query, received.presigned ? std::string_view("X-Amz-Signature") : ""),
      canonical_headers(request.headers, received.signed_names), joined(received.signed_names),
      payload_hash);
  stages.string_to_sign =
      string_to_sign(received.amz_date, scope_of(received.date, received.region, received.service),
                     stages.canonical_request);
  stages.signature =
      signature_of(derive_signing_key(secret, received.date, received.region, received.service),
                   stages.string_to_sign);
  return stages;
}

}  // namespace

Result<SignatureStages> recompute_signature(const HttpRequest& request, const Secret& secret) {
  const auto received = read_signature(request);
  if (!received) return fail(received.error());
  return stages_of(request, *received, secret);
}

Result<VerifiedCaller> verify_signature(const HttpRequest& request, const SecretOf& secret_of,
                                        const VerifyOptions& options) {
  const auto received = read_signature(request);
  if (!received) return fail(received.error());
  const auto wrong = [](std::string message) {
    return fail(ErrorKind::denied, std::move(message), "InvalidSignatureException");
  };
  const auto signed_at = parse_amz_date(received->amz_date);
  if (!signed_at) return incomplete("Date must be in ISO-8601 'basic format': YYYYMMDDTHHMMSSZ.");
  if (std::string_view(received->amz_date).substr(0, 8) != received->date)
    return wrong("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date.");
  if (auto covered = check_signed_names(request, *received); !covered) return fail(covered.error());

  const auto secret = secret_of(received->access_key_id);
  if (!secret)
    return fail(ErrorKind::denied, "The security token included in the request is invalid.",
                "UnrecognizedClientException");

  const std::string now = compact_iso8601(options.now);
  const auto oldest =
      *signed_at +
      (received->presigned ? std::chrono::milliseconds(received->valid_for) : options.skew_max);
  if (options.now > oldest)
    return wrong("Signature expired: " + received->amz_date + " is now earlier than " + now + ".");
  if (options.now + options.skew_max < *signed_at)
    return wrong("Signature not yet current: " + received->amz_date + " is still later than " +
                 now + ".");

  const std::string signature = stages_of(request, *received, *secret).signature;
  if (signature.size() != received->signature.size() ||
      CRYPTO_memcmp(signature.data(), received->signature.data(), signature.size()) != 0)
    return wrong(
        "The request signature we calculated does not match the signature you provided. Check your "
        "AWS Secret Access Key and signing method.");

  const std::string* hash = find_header(request.headers, "x-amz-content-sha256");
  const bool literal = hash != nullptr && (*hash == "UNSIGNED-PAYLOAD" ||
                                           std::string_view(*hash).starts_with("STREAMING-"));
  if (hash != nullptr && !literal && *hash != sha256_hex(request.body))
    return fail(ErrorKind::denied,
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
                "XAmzContentSHA256Mismatch");
  return VerifiedCaller{received->access_key_id, received->region, received->service};
}

}  // namespace millrace
