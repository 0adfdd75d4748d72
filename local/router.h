// All imitated services behind one address, as one endpoint setting for every client.
#pragma once

#include "local/http_service.h"

namespace millrace {

/// Who answers what. A null one is not there: its requests get the answer of an unknown operation.
/// Those that are there must outlive the router.
struct Routes {
  HttpService* kinesis = nullptr;      // X-Amz-Target Kinesis_20131202.*
  HttpService* personalize = nullptr;  // X-Amz-Target AmazonPersonalize.*
  HttpService* events = nullptr;  // /events, /users, /items, /actions, /action-interactions (POST)
  HttpService* runtime =
      nullptr;  // /recommendations, /personalize-ranking, /action-recommendations
};

/// Chooses by X-Amz-Target, else by path; GET / says what is here, for people. Threads: any.
class Router final : public HttpService {
 public:
  explicit Router(const Routes& routes) : routes_(routes) {}
  HttpResponse handle(const HttpRequest& request) override;

 private:
  const Routes routes_;
};

}  // namespace millrace
