#include "core/result.h"

namespace millrace {

std::string_view name_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::transient:
      return "transient";
    case ErrorKind::throttled:
      return "throttled";
    case ErrorKind::ambiguous:
      return "ambiguous";
    case ErrorKind::not_found:
      return "not_found";
    case ErrorKind::conflict:
      return "conflict";
    case ErrorKind::rejected:
      return "rejected";
    case ErrorKind::denied:
      return "denied";
    case ErrorKind::corrupt:
      return "corrupt";
    case ErrorKind::invalid:
      return "invalid";
    case ErrorKind::refused:
      return "refused";
  }
  return "unknown";
}

Error Error::while_doing(std::string_view what) const {
  Error wrapped = *this;
  wrapped.message = std::string(what) + ": " + message;
  return wrapped;
}

bool Error::retryable() const {
  return kind == ErrorKind::transient || kind == ErrorKind::throttled ||
         kind == ErrorKind::ambiguous;
}

}  // namespace millrace
