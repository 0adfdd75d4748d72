// MILLRACE_CHECK(condition): our own mistakes, checked in every build. Never for input or I/O:
// those are `Result`s.
#pragma once

namespace millrace {

/// Prints the broken promise to stderr and aborts. Never returns, never throws.
[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace millrace

#define MILLRACE_CHECK(condition) \
  ((condition) ? (void)0 : ::millrace::check_failed(#condition, __FILE__, __LINE__))
