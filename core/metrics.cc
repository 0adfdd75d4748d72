#include "core/metrics.h"

#include <fmt/format.h>

#include "core/check.h"

namespace millrace {
namespace {

std::string escaped(std::string_view value) {
  std::string out;
  for (const char c : value) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

Metrics::Series& Metrics::series(std::string_view name, std::string_view help, bool is_counter,
                                 Labels labels) {
  const std::lock_guard lock(mutex_);
  const auto [it, added] = families_.try_emplace(std::string(name));
  Family& family = it->second;
  if (added) {
    family.help = help;
    family.is_counter = is_counter;
  }
  MILLRACE_CHECK(family.is_counter == is_counter);
  for (Series& known : family.series) {
    if (known.labels == labels) return known;
  }
  Series& fresh = family.series.emplace_back();
  fresh.labels = std::move(labels);
  return fresh;
}

Counter& Metrics::counter(std::string_view name, std::string_view help, Labels labels) {
  return series(name, help, true, std::move(labels)).counter;
}

Gauge& Metrics::gauge(std::string_view name, std::string_view help, Labels labels) {
  return series(name, help, false, std::move(labels)).gauge;
}

std::string Metrics::render() const {
  const std::lock_guard lock(mutex_);
  std::string out;
  for (const auto& [name, family] : families_) {
    out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, family.help, name,
                       family.is_counter ? "counter" : "gauge");
    for (const Series& series : family.series) {
      out += name;
      for (std::size_t i = 0; i < series.labels.size(); ++i) {
        out += fmt::format("{}{}=\"{}\"", i == 0 ? "{" : ",", series.labels[i].first,
                           escaped(series.labels[i].second));
      }
      if (!series.labels.empty()) out += "}";
      if (family.is_counter) {
        out += fmt::format(" {}\n", series.counter.value());
      } else {
        out += fmt::format(" {}\n", series.gauge.value());
      }
    }
  }
  return out;
}

std::int64_t Metrics::value(std::string_view name, const Labels& labels) const {
  const std::lock_guard lock(mutex_);
  const auto family = families_.find(name);
  if (family == families_.end()) return 0;
  for (const Series& series : family->second.series) {
    if (series.labels != labels) continue;
    return family->second.is_counter ? static_cast<std::int64_t>(series.counter.value())
                                     : series.gauge.value();
  }
  return 0;
}

}  // namespace millrace
