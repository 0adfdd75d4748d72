#include "aws/personalize_runtime_api.h"

#include "aws/json_answer.h"

namespace millrace {

Result<Recommendations> PersonalizeRuntimeApi::get_recommendations(
    const GetRecommendationsRequest& request) {
  nlohmann::json body{{"campaignArn", request.campaign_arn}, {"numResults", request.results}};
  if (!request.user_id.empty()) body["userId"] = request.user_id;
  if (!request.item_id.empty()) body["itemId"] = request.item_id;
  if (!request.filter_arn.empty()) body["filterArn"] = request.filter_arn;
  const auto response = client_.call({.operation = "GetRecommendations",
                                      .target = "/recommendations",
                                      .headers = {{"Content-Type", "application/json"}},
                                      .body = body_of(body),
                                      .timeout = std::chrono::milliseconds(10'000)});
  if (!response) return fail(response.error());
  const auto answer = answer_object("GetRecommendations", *response);
  if (!answer) return fail(answer.error());
  Recommendations out;
  out.recommendation_id = text_of(*answer, "recommendationId");
  for (const auto& item : list_of(*answer, "itemList")) {
    if (!item.is_object()) continue;
    RecommendedItem recommended{.item_id = text_of(item, "itemId")};
    if (const auto score = item.find("score"); score != item.end() && score->is_number())
      recommended.score = score->get<double>();
    out.items.push_back(std::move(recommended));
  }
  return out;
}

}  // namespace millrace
