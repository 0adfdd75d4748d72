// An HttpClient that answers from a list, and remembers what it was asked.
#pragma once

#include <deque>
#include <functional>
#include <mutex>
#include <vector>

#include "aws/http_client.h"

namespace millrace {

/// Answers in order; an empty script fails the call as `transient`. Threads: any.
class ScriptedHttpClient final : public HttpClient {
 public:
  using Answer = std::function<Result<HttpResponse>(const HttpRequest&)>;

  void then(HttpResponse response) {
    then([response = std::move(response)](const HttpRequest&) { return response; });
  }
  void then(Error error) {
    then([error = std::move(error)](const HttpRequest&) -> Result<HttpResponse> {
      return fail(error);
    });
  }
  void then(Answer answer) {
    const std::lock_guard lock(mutex_);
    answers_.push_back(std::move(answer));
  }

  Result<HttpResponse> send(const HttpRequest& request) override {
    const std::lock_guard lock(mutex_);
    requests_.push_back(request);
    if (answers_.empty()) return fail(ErrorKind::transient, "the script is over");
    const Answer answer = std::move(answers_.front());
    answers_.pop_front();
    return answer(request);
  }

  [[nodiscard]] std::vector<HttpRequest> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  mutable std::mutex mutex_{};
  std::deque<Answer> answers_{};
  std::vector<HttpRequest> requests_{};
};

/// The header of that exact name; empty when absent.
inline std::string header_of(const HttpRequest& request, std::string_view name) {
  for (const auto& header : request.headers)
    if (header.name == name) return header.value;
  return {};
}

}  // namespace millrace
