// An HttpClient that calls an imitated service directly: no socket, no thread, no wait.
#pragma once

#include "aws/http_client.h"
#include "local/faulty_service.h"
#include "local/http_service.h"

namespace millrace {

/// Threads: as the service, which must outlive it.
class LocalHttpClient final : public HttpClient {
 public:
  explicit LocalHttpClient(HttpService& service) : service_(service) {}

  Result<HttpResponse> send(const HttpRequest& request) override {
    HttpResponse response = service_.handle(request);
    if (response.status == kConnectionCut) {
      return fail(ErrorKind::ambiguous, "the connection was cut before the answer");
    }
    return response;
  }

 private:
  HttpService& service_;
};

}  // namespace millrace
