// The two pipelines as parts of the running service: each with a thread, a loop, a source and
// clients of its own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/aws_stack.h"
#include "cli/command.h"
#include "config/config.h"
#include "core/metrics.h"
#include "core/result.h"
#include "pipeline/options.h"

namespace millrace {

/// What the status server shows of a part right now.
struct PartReport {
  std::string json = "null";           // one JSON object
  std::vector<std::string> unready{};  // why /readyz is not 200
};

struct PipelineRunOptions {
  bool until_end = false;
  Adopt adopt = Adopt::none;
};

/// Threads: start() once; stop(), report() and ended() from any; the destructor after ended() or
/// start() was never called.
class RunningPipeline {
 public:
  virtual ~RunningPipeline() = default;
  [[nodiscard]] virtual std::string name() const = 0;  // "personalize" or "lake"
  /// `ended` is called once, on the pipeline's thread, when it is over: drained, at the end, or
  /// failed.
  virtual void start(std::function<void()> ended) = 0;
  virtual void stop() = 0;
  [[nodiscard]] virtual PartReport report() const = 0;
  [[nodiscard]] virtual bool over() const = 0;
  /// How it ended. Waits for the end.
  virtual Status wait() = 0;
};

/// The forwarder. REQUIRES: config.source and config.personalize. Everything given must outlive it.
Result<std::unique_ptr<RunningPipeline>> make_forwarder_pipeline(const Config& config,
                                                                 const PipelineRunOptions& options,
                                                                 CommandContext& context,
                                                                 AwsStack& aws, Metrics& metrics);

/// The archiver. REQUIRES: config.source and config.lake.
Result<std::unique_ptr<RunningPipeline>> make_archiver_pipeline(const Config& config,
                                                                const PipelineRunOptions& options,
                                                                CommandContext& context,
                                                                AwsStack& aws, Metrics& metrics);

}  // namespace millrace
