#include "local/faulty_service.h"

#include <fmt/format.h>

namespace millrace {
namespace {

HttpResponse error_answer(int status, std::string_view code) {
  return {status,
          {{"Content-Type", "application/x-amz-json-1.1"}},
          fmt::format(R"({{"__type":"{}","message":"injected"}})", code)};
}

}  // namespace

FaultyService::Fault FaultyService::draw() {
  const std::lock_guard guard(mutex_);
  ++requests_;
  if (well_) return Fault::none;
  Fault fault = Fault::none;
  // Every chance is drawn each time, so that one setting does not shift the others' fates.
  const bool throttle = rng_.chance(options_.throttle);
  const bool failure = rng_.chance(options_.failure);
  const bool unavailable = rng_.chance(options_.unavailable);
  const bool reply_lost = rng_.chance(options_.reply_lost);
  const bool late_failure = rng_.chance(options_.late_failure);
  const bool cut_short = rng_.chance(options_.cut_short);
  if (throttle) {
    fault = Fault::throttle;
  } else if (failure) {
    fault = Fault::failure;
  } else if (unavailable) {
    fault = Fault::unavailable;
  } else if (reply_lost || (options_.every_nth_reply_lost != 0 &&
                            requests_ % options_.every_nth_reply_lost == 0)) {
    fault = Fault::reply_lost;
  } else if (late_failure) {
    fault = Fault::late_failure;
  } else if (cut_short) {
    fault = Fault::cut_short;
  }
  if (fault != Fault::none) ++faults_;
  return fault;
}

HttpResponse FaultyService::handle(const HttpRequest& request) {
  if (options_.before) options_.before(request);
  const Fault fault = draw();
  if (fault == Fault::throttle) return error_answer(400, options_.throttle_code);
  if (fault == Fault::failure) return error_answer(500, "InternalFailure");
  if (fault == Fault::unavailable) {
    return {503, {{"Content-Type", "text/html"}}, "<html><h1>Service Unavailable</h1></html>"};
  }
  HttpResponse response = service_.handle(request);
  if (fault == Fault::reply_lost) return {kConnectionCut, {}, {}};
  if (fault == Fault::late_failure) return error_answer(500, "InternalFailure");
  if (fault == Fault::cut_short) response.body.resize(response.body.size() / 2);
  return response;
}

void FaultyService::set_well(bool well) {
  const std::lock_guard guard(mutex_);
  well_ = well;
}

std::uint64_t FaultyService::faults() const {
  const std::lock_guard guard(mutex_);
  return faults_;
}

}  // namespace millrace
