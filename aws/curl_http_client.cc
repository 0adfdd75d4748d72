#include "aws/curl_http_client.h"

#include <curl/curl.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <string_view>
#include <vector>

#include "core/check.h"

namespace millrace {
namespace {

struct EasyDeleter {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
using Easy = std::unique_ptr<CURL, EasyDeleter>;

struct ListDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using List = std::unique_ptr<curl_slist, ListDeleter>;

// Once per process and before any thread uses curl; never undone, since other libraries may use it
// until the end.
void init_curl_once() {
  static const CURLcode done = curl_global_init(CURL_GLOBAL_DEFAULT);
  MILLRACE_CHECK(done == CURLE_OK);
}

// What one exchange's callbacks need.
struct Exchange {
  HttpResponse response{};
  std::size_t body_bytes_max = 0;
  bool too_large = false;
  const std::function<bool()>* stopping = nullptr;
  bool stopped = false;
};

std::size_t take_body(char* bytes, std::size_t size, std::size_t count, void* context) {
  auto& exchange = *static_cast<Exchange*>(context);
  const std::size_t length = size * count;
  if (length > exchange.body_bytes_max - exchange.response.body.size()) {
    exchange.too_large = true;
    return 0;
  }
  exchange.response.body.append(bytes, length);
  return length;
}

std::size_t take_header(char* bytes, std::size_t size, std::size_t count, void* context) {
  auto& exchange = *static_cast<Exchange*>(context);
  std::string_view line(bytes, size * count);
  while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.remove_suffix(1);
  if (line.starts_with("HTTP/")) {
    exchange.response.headers.clear();  // a 100 or a proxy's CONNECT answer came before
    return size * count;
  }
  const std::size_t colon = line.find(':');
  if (colon != std::string_view::npos) {
    std::string_view value = line.substr(colon + 1);
    while (!value.empty() && (value.front() == ' ' || value.front() == '\t'))
      value.remove_prefix(1);
    while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
    exchange.response.headers.push_back({std::string(line.substr(0, colon)), std::string(value)});
  }
  return size * count;
}

int on_progress(void* context, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  auto& exchange = *static_cast<Exchange*>(context);
  if (exchange.stopping == nullptr || !*exchange.stopping || !(*exchange.stopping)()) return 0;
  exchange.stopped = true;
  return 1;
}

// libcurl knows whether a byte of the request was sent: headers count in REQUEST_SIZE, the body in
// SIZE_UPLOAD.
bool request_left(CURL* easy) {
  long request_bytes = 0;
  curl_off_t upload_bytes = 0;
  curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &request_bytes);
  curl_easy_getinfo(easy, CURLINFO_SIZE_UPLOAD_T, &upload_bytes);
  return request_bytes > 0 || upload_bytes > 0;
}

std::string without_query(std::string_view url) {
  return std::string(url.substr(0, url.find('?')));
}

constexpr CurlErrorRow kRows[] = {
    // Before any byte left: certainly no effect.
    {CURLE_COULDNT_RESOLVE_PROXY, ErrorKind::transient, ErrorKind::transient},
    {CURLE_COULDNT_RESOLVE_HOST, ErrorKind::transient, ErrorKind::transient},
    {CURLE_COULDNT_CONNECT, ErrorKind::transient, ErrorKind::transient},
    {CURLE_PROXY, ErrorKind::transient, ErrorKind::transient},
    {CURLE_SSL_CONNECT_ERROR, ErrorKind::transient, ErrorKind::transient},
    {CURLE_PEER_FAILED_VERIFICATION, ErrorKind::transient, ErrorKind::transient},
    {CURLE_SSL_CACERT_BADFILE, ErrorKind::transient, ErrorKind::transient},
    {CURLE_SSL_CERTPROBLEM, ErrorKind::transient, ErrorKind::transient},
    {CURLE_SSL_ISSUER_ERROR, ErrorKind::transient, ErrorKind::transient},
    // Either way.
    {CURLE_OPERATION_TIMEDOUT, ErrorKind::transient, ErrorKind::ambiguous},
    {CURLE_ABORTED_BY_CALLBACK, ErrorKind::transient, ErrorKind::ambiguous},
    {CURLE_SEND_ERROR, ErrorKind::transient, ErrorKind::ambiguous},
    {CURLE_RECV_ERROR, ErrorKind::transient, ErrorKind::ambiguous},
    // The request was sent; what came of it is not known.
    {CURLE_GOT_NOTHING, ErrorKind::ambiguous, ErrorKind::ambiguous},
    {CURLE_PARTIAL_FILE, ErrorKind::ambiguous, ErrorKind::ambiguous},
    {CURLE_WEIRD_SERVER_REPLY, ErrorKind::ambiguous, ErrorKind::ambiguous},
    {CURLE_WRITE_ERROR, ErrorKind::ambiguous, ErrorKind::ambiguous},
    {CURLE_SEND_FAIL_REWIND, ErrorKind::ambiguous, ErrorKind::ambiguous},
    {CURLE_HTTP2, ErrorKind::ambiguous, ErrorKind::ambiguous},
    {CURLE_HTTP2_STREAM, ErrorKind::ambiguous, ErrorKind::ambiguous},
    // A mistake of whoever wrote the url.
    {CURLE_URL_MALFORMAT, ErrorKind::invalid, ErrorKind::invalid},
    // The same, or an answer that is no HTTP/1.
    {CURLE_UNSUPPORTED_PROTOCOL, ErrorKind::invalid, ErrorKind::ambiguous},
};

std::string first_set(const Environment& environment,
                      std::initializer_list<std::string_view> names) {
  for (const auto name : names)
    if (auto value = environment(name); value && !value->empty()) return *value;
  return {};
}

}  // namespace

std::span<const CurlErrorRow> curl_error_table() { return kRows; }

ErrorKind kind_of_curl_error(int curl_code, bool request_left) {
  for (const auto& row : kRows)
    if (row.curl_code == curl_code) return request_left ? row.kind_after : row.kind_before;
  return request_left ? ErrorKind::ambiguous : ErrorKind::transient;
}

/// Idle handles, the most recently used first, so that few connections stay warm.
class CurlHttpClient::Pool {
 public:
  explicit Pool(std::size_t handles_max) : free_slots_(handles_max) {}

  /// Nothing when none became free in time.
  Easy take(std::chrono::milliseconds wait_max) {
    std::unique_lock lock(mutex_);
    if (!freed_.wait_for(lock, wait_max, [&] { return free_slots_ > 0; })) return {};
    --free_slots_;
    if (idle_.empty()) {
      lock.unlock();
      return Easy(curl_easy_init());
    }
    Easy easy = std::move(idle_.back());
    idle_.pop_back();
    return easy;
  }

  void give_back(Easy easy) {
    {
      const std::lock_guard lock(mutex_);
      ++free_slots_;
      if (easy) idle_.push_back(std::move(easy));
    }
    freed_.notify_one();
  }

 private:
  std::mutex mutex_{};
  std::condition_variable freed_{};
  std::size_t free_slots_;
  std::vector<Easy> idle_{};
};

CurlHttpClient::CurlHttpClient(Options options, const Environment& environment)
    : options_(std::move(options)),
      ca_file_(first_set(environment, {"AWS_CA_BUNDLE", "SSL_CERT_FILE"})),
      https_proxy_(first_set(environment, {"https_proxy", "HTTPS_PROXY"})),
      http_proxy_(first_set(environment, {"http_proxy"})),
      no_proxy_(first_set(environment, {"no_proxy", "NO_PROXY"})),
      pool_(std::make_unique<Pool>(options_.connections_max)) {
  MILLRACE_CHECK(options_.connections_max > 0);
  init_curl_once();
  // Link-local addresses hold credentials and loopback is this machine: a proxy has no business
  // there.
  const std::string never = "localhost,127.0.0.1,::1,169.254.169.254,169.254.170.2,169.254.170.23";
  if (no_proxy_ != "*") no_proxy_ = no_proxy_.empty() ? never : no_proxy_ + "," + never;
}

CurlHttpClient::~CurlHttpClient() = default;

Result<HttpResponse> CurlHttpClient::send(const HttpRequest& request) {
  const auto began = std::chrono::steady_clock::now();
  const std::string what = request.method + " " + without_query(request.url);
  Easy easy = pool_->take(request.timeout);
  if (!easy) {
    if (std::chrono::steady_clock::now() - began < request.timeout)
      pool_->give_back(nullptr);  // a slot was ours, but libcurl had no memory for a handle
    return fail(ErrorKind::transient,
                what + ": all " + std::to_string(options_.connections_max) +
                    " connections were busy for the whole timeout; nothing was sent");
  }
  CURL* const curl = easy.get();
  curl_easy_reset(curl);  // options only: connections, names and sessions stay

  Exchange exchange;
  exchange.body_bytes_max = options_.response_bytes_max;
  exchange.stopping = &options_.stopping;

  const auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::steady_clock::now() - began);
  const auto timeout = std::max(request.timeout - waited, std::chrono::milliseconds(1));

  List headers;
  const auto add_header = [&](const std::string& line) {
    curl_slist* const longer = curl_slist_append(headers.get(), line.c_str());
    if (longer == nullptr) return;
    (void)headers.release();
    headers.reset(longer);
  };
  for (const auto& header : request.headers) {
    if ((header.name + header.value).find_first_of(std::string_view("\r\n\0", 3)) !=
        std::string::npos) {
      pool_->give_back(std::move(easy));
      return fail(ErrorKind::invalid, what + ": header " + header.name + " holds a line break");
    }
    // A bare "Name:" would tell libcurl to leave the header out; with a semicolon it goes empty.
    add_header(header.value.empty() ? header.name + ";" : header.name + ": " + header.value);
  }
  add_header("Expect:");
  const bool has_type = std::any_of(request.headers.begin(), request.headers.end(), [](auto& h) {
    return curl_strequal(h.name.c_str(), "content-type") != 0;
  });
  // libcurl would call every body a form.
  if (!has_type) add_header("Content-Type:");

  char detail[CURL_ERROR_SIZE] = "";
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
  curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, options_.user_agent.c_str());
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(curl, CURLOPT_MAXAGE_CONN, static_cast<long>(options_.idle_max.count()));
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(timeout.count()));
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(std::min(options_.connect_timeout, timeout).count()));
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, static_cast<long>(options_.stall_timeout.count()));
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &exchange);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &exchange);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &exchange);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
  curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
  curl_easy_setopt(curl, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  if (!ca_file_.empty()) curl_easy_setopt(curl, CURLOPT_CAINFO, ca_file_.c_str());
  // Set even when empty: else libcurl would look into the real environment.
  const std::string& proxy = request.url.starts_with("https:") ? https_proxy_ : http_proxy_;
  curl_easy_setopt(curl, CURLOPT_PROXY, proxy.c_str());
  curl_easy_setopt(curl, CURLOPT_NOPROXY, no_proxy_.c_str());
  curl_easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);

  if (request.method == "HEAD") {
    curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
  } else if (request.method != "GET" || !request.body.empty()) {
    // POSTFIELDS keeps a pointer, so the body is sent, and resent on a dead connection, without a
    // copy.
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request.body.data());
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  }

  const CURLcode code = curl_easy_perform(curl);
  const bool left = request_left(curl);
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  pool_->give_back(std::move(easy));

  if (code == CURLE_OK) {
    exchange.response.status = static_cast<int>(status);
    return std::move(exchange.response);
  }
  std::string message = what + ": ";
  if (exchange.stopped)
    message += "given up because the program is stopping";
  else if (exchange.too_large)
    message += "the answer is larger than " + std::to_string(options_.response_bytes_max) +
               " bytes; is this the right endpoint?";
  else
    message += detail[0] != '\0' ? detail : curl_easy_strerror(code);
  if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE)
    message += ca_file_.empty() ? " (AWS_CA_BUNDLE names a file of trusted certificates)"
                                : " (trusting the certificates in " + ca_file_ + ")";
  if (!proxy.empty() &&
      (code == CURLE_COULDNT_RESOLVE_PROXY || code == CURLE_PROXY || code == CURLE_COULDNT_CONNECT))
    message += " (through the proxy of the environment)";
  return fail(kind_of_curl_error(code, left), std::move(message));
}

}  // namespace millrace
