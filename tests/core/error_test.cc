#include <gtest/gtest.h>

#include "core/result.h"
#include "core/secret.h"

namespace millrace {
namespace {

TEST(Error, SaysWhatWeWereDoingInFront) {
  const Error error =
      Error{ErrorKind::not_found, "no such file", "ENOENT"}.while_doing("reading manifest m1");
  EXPECT_EQ(error.message, "reading manifest m1: no such file");
  EXPECT_EQ(error.kind, ErrorKind::not_found);
  EXPECT_EQ(error.code, "ENOENT");
}

TEST(Error, OnlyWeatherIsRetryable) {
  using enum ErrorKind;
  for (const ErrorKind kind : {transient, throttled, ambiguous})
    EXPECT_TRUE((Error{kind, "x"}.retryable()));
  for (const ErrorKind kind : {not_found, conflict, rejected, denied, corrupt, invalid, refused}) {
    EXPECT_FALSE((Error{kind, "x"}.retryable())) << name_of(kind);
  }
}

TEST(Secret, PrintsAsStars) {
  const Secret secret("hunter2");
  EXPECT_EQ(fmt::format("key={}", secret), "key=***");
  EXPECT_EQ(secret.reveal(), "hunter2");
}

}  // namespace
}  // namespace millrace
