#include "cli/signals.h"

#include <pthread.h>
#include <unistd.h>

#include <utility>

namespace millrace {

// SIGUSR1 ends the watching thread when the object goes.
Signals::Signals(std::function<void(int)> on_stop) : on_stop_(std::move(on_stop)) {
  sigemptyset(&watched_);
  for (const int number : {SIGINT, SIGTERM, SIGUSR1}) sigaddset(&watched_, number);
  pthread_sigmask(SIG_BLOCK, &watched_, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  thread_ = std::thread([this] {
    bool stopping = false;
    while (true) {
      int number = 0;
      if (sigwait(&watched_, &number) != 0) continue;
      if (number == SIGUSR1) return;
      if (stopping) _exit(130);
      stopping = true;
      on_stop_(number);
    }
  });
}

Signals::~Signals() {
  pthread_kill(thread_.native_handle(), SIGUSR1);
  thread_.join();
}

}  // namespace millrace
