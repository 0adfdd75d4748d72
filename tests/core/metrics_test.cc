#include "core/metrics.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(Metrics, GivesTheSameSeriesForTheSameLabels) {
  Metrics metrics;
  metrics.counter("millrace_lake_objects_total", "Objects.", {{"reason", "age"}}).add(2);
  metrics.counter("millrace_lake_objects_total", "Objects.", {{"reason", "age"}}).add();
  metrics.counter("millrace_lake_objects_total", "Objects.", {{"reason", "size"}}).add();
  EXPECT_EQ(metrics.value("millrace_lake_objects_total", {{"reason", "age"}}), 3);
  EXPECT_EQ(metrics.value("millrace_lake_objects_total", {{"reason", "none"}}), 0);
}

TEST(Metrics, RendersPrometheusTextWithEscapedLabels) {
  Metrics metrics;
  metrics.gauge("millrace_lag_seconds", "Behind.", {{"partition", "a\"b\\c\n"}}).set(-4);
  metrics.counter("millrace_calls_total", "Calls.").add(7);
  EXPECT_EQ(metrics.render(),
            "# HELP millrace_calls_total Calls.\n# TYPE millrace_calls_total "
            "counter\nmillrace_calls_total 7\n"
            "# HELP millrace_lag_seconds Behind.\n# TYPE millrace_lag_seconds gauge\n"
            "millrace_lag_seconds{partition=\"a\\\"b\\\\c\\n\"} -4\n");
}

}  // namespace
}  // namespace millrace
