#include "cli/child_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

namespace millrace {
namespace {

ChildResult result_of(int status, const rusage& usage) {
  ChildResult result;
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.rss_kib_max = usage.ru_maxrss;
  return result;
}

// Between fork and exec only async-signal-safe calls are allowed; everything is made ready before.
[[noreturn]] void become(const char* program, char* const* arguments, char* const* environment,
                         int out, int err, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);  // it died before the line above
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  setpgid(0, 0);  // a Ctrl-C on the terminal is the parent's to handle
  const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (nothing >= 0) dup2(nothing, STDIN_FILENO);
  if (out >= 0) dup2(out, STDOUT_FILENO);
  if (err >= 0) dup2(err, STDERR_FILENO);
  close_range(3, ~0U, 0);  // sockets of libraries that do not mark theirs
  execve(program, arguments, environment);
  _exit(127);
}

Result<int> open_for_append(const std::string& path) {
  if (path.empty()) return -1;
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file < 0)
    return fail(ErrorKind::transient, fmt::format("{}: {}", path, std::strerror(errno)));
  return file;
}

}  // namespace

Result<ChildProcess> ChildProcess::start(const Options& options) {
  std::vector<char*> arguments;
  for (const std::string& argument : options.arguments)
    arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  std::vector<std::string> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (!options.environment.contains(std::string(text.substr(0, text.find('=')))))
      variables.emplace_back(text);
  }
  for (const auto& [name, value] : options.environment) variables.push_back(name + "=" + value);
  std::vector<char*> environment;
  for (std::string& variable : variables) environment.push_back(variable.data());
  environment.push_back(nullptr);

  const auto out = open_for_append(options.stdout_path);
  if (!out) return tl::unexpected(out.error());
  const auto err = open_for_append(options.stderr_path);
  if (!err) {
    if (*out >= 0) close(*out);
    return tl::unexpected(err.error());
  }
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) become(arguments[0], arguments.data(), environment.data(), *out, *err, parent);
  const int error = errno;
  if (*out >= 0) close(*out);
  if (*err >= 0) close(*err);
  if (pid < 0)
    return fail(ErrorKind::transient,
                fmt::format("starting {}: {}", options.arguments[0], std::strerror(error)));
  return ChildProcess(pid);
}

ChildProcess::~ChildProcess() {
  if (pid_ < 0 || result_) return;
  signal(SIGKILL);
  wait();
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), result_(std::move(other.result_)) {}

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(result_, other.result_);
  return *this;
}

void ChildProcess::signal(int number) {
  if (pid_ > 0 && !result_) kill(pid_, number);
}

std::optional<ChildResult> ChildProcess::poll() {
  if (result_) return result_;
  int status = 0;
  rusage usage{};
  if (wait4(pid_, &status, WNOHANG, &usage) == pid_) result_ = result_of(status, usage);
  return result_;
}

ChildResult ChildProcess::wait() {
  while (!result_) {
    int status = 0;
    rusage usage{};
    const pid_t ended = wait4(pid_, &status, 0, &usage);
    if (ended == pid_) result_ = result_of(status, usage);
    if (ended < 0 && errno != EINTR) result_ = ChildResult{};
  }
  return *result_;
}

}  // namespace millrace
