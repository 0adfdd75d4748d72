// What a call that can fail gives back: a value, or an Error that says what the caller should do
// about it.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace millrace {

/// What the caller should do; the message is only for people.
enum class ErrorKind {
  transient,  // again later, with a capped and jittered delay, for as long as the log keeps the
              // data
  throttled,  // the same, and slow down
  ambiguous,  // a lost reply: it may have happened. Again, legal only because ids and object names
              // repeat
  not_found,  // an answer, not an accident: the caller decides
  conflict,   // the same: somebody else was first, or our tenure, lease or ETag is an old one
  rejected,   // never again: this input is not accepted (dead letters)
  denied,     // a permission or credential is missing: stop that part and tell a person
  corrupt,    // bytes that should not be so: stop that part and tell a person
  invalid,    // the configuration or the command line is wrong (exit code 2)
  refused,    // a safety check said no (exit code 3)
};

/// "transient", "throttled", …: for logs and JSON, never for decisions.
std::string_view name_of(ErrorKind kind);

struct Error {
  ErrorKind kind = ErrorKind::transient;
  std::string message{};  // what happened, to what, and what to do; one line, no secret, no payload
  std::string
      code{};  // the vendor's own word, if any ("ResourceInUseException", "UNKNOWN_MEMBER_ID")
  std::optional<std::chrono::milliseconds> retry_after{};  // the server's own wish

  /// The same error with what we were doing in front: "reading manifest X: no such file".
  [[nodiscard]] Error while_doing(std::string_view what) const;

  /// transient, throttled or ambiguous: trying the same again may succeed.
  [[nodiscard]] bool retryable() const;
};

template <class T>
using Result = tl::expected<T, Error>;

/// A call that gives back nothing but whether it worked.
using Status = tl::expected<void, Error>;

/// `return fail(ErrorKind::not_found, "…");`
inline tl::unexpected<Error> fail(ErrorKind kind, std::string message, std::string code = {}) {
  return tl::unexpected<Error>(Error{kind, std::move(message), std::move(code), std::nullopt});
}
inline tl::unexpected<Error> fail(Error error) { return tl::unexpected<Error>(std::move(error)); }

}  // namespace millrace
