// GetRecommendations (Amazon Personalize API Reference, Runtime API, "GetRecommendations").
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "aws/aws_client.h"
#include "core/result.h"

namespace millrace {

struct GetRecommendationsRequest {
  std::string campaign_arn{};
  std::string user_id{};
  std::string item_id{};      // for related-items recipes
  std::int32_t results = 25;  // 1–500
  std::string filter_arn{};
};

struct RecommendedItem {
  std::string item_id{};
  std::optional<double> score{};
};

struct Recommendations {
  std::string recommendation_id{};
  std::vector<RecommendedItem> items{};  // best first
};

/// Threads and errors: as AwsClient::call.
class PersonalizeRuntimeApi {
 public:
  explicit PersonalizeRuntimeApi(AwsClient& client) : client_(client) {}
  Result<Recommendations> get_recommendations(const GetRecommendationsRequest& request);

 private:
  AwsClient& client_;
};

}  // namespace millrace
