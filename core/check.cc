#include "core/check.h"

#include <cstdio>
#include <cstdlib>

namespace millrace {

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr,
               "%s:%d: this must always hold: %s (a bug in millrace; positions are safe, please "
               "report it)\n",
               file, line, condition);
  std::abort();
}

}  // namespace millrace
