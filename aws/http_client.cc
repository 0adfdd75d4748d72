#include "aws/http_client.h"

#include <strings.h>

namespace millrace {

std::string_view HttpResponse::header(std::string_view name) const {
  for (const auto& header : headers) {
    if (header.name.size() == name.size() &&
        strncasecmp(header.name.data(), name.data(), name.size()) == 0)
      return header.value;
  }
  return {};
}

}  // namespace millrace
