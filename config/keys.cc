#include "config/keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "config/values.h"

namespace millrace {
namespace {

using Type = ConfigKey::Type;
using Wrong = std::optional<std::string>;  // what was expected; empty when the value is fine

template <class T>
T& present(std::optional<T>& section) {
  if (!section) section.emplace();
  return *section;
}

SourceConfig& source(Config& c) { return present(c.source); }
KafkaOptions& kafka(Config& c) { return present(source(c).kafka); }
KinesisOptions& kinesis(Config& c) { return present(source(c).kinesis); }
PersonalizeConfig& personalize(Config& c) { return present(c.personalize); }
LakeConfig& lake(Config& c) { return present(c.lake); }
CompactOptions& compact(Config& c) { return present(c.compact); }
RetrainConfig& retrain(Config& c) { return present(c.retrain); }
BatchInferenceOptions& batch(Config& c) { return present(retrain(c).options.batch_inference); }

template <class Pick>
auto text_into(Pick pick) {
  return [pick](Config& c, const ConfigValue& v) -> Wrong {
    pick(c) = v.text;
    return std::nullopt;
  };
}

template <class Pick>
auto filled_text_into(Pick pick) {
  return [pick](Config& c, const ConfigValue& v) -> Wrong {
    if (v.text.empty()) return "a text that is not empty";
    pick(c) = v.text;
    return std::nullopt;
  };
}

template <class Pick>
auto size_into(Pick pick, std::uint64_t least, std::uint64_t most) {
  return [pick, least, most](Config& c, const ConfigValue& v) -> Wrong {
    const auto bytes = parse_size(v.text);
    if (!bytes || *bytes < least || *bytes > most) {
      return fmt::format("a size with a unit from {} to {}, such as 5MiB", human_size(least),
                         human_size(most));
    }
    pick(c) = static_cast<std::size_t>(*bytes);
    return std::nullopt;
  };
}

template <class Pick>
auto duration_into(Pick pick, std::chrono::milliseconds least, std::chrono::milliseconds most) {
  return [pick, least, most](Config& c, const ConfigValue& v) -> Wrong {
    const auto duration = parse_duration(v.text);
    if (!duration || *duration < least || *duration > most) {
      return fmt::format("a duration with a unit from {} to {}, such as 300s or 5m",
                         human_duration(least), human_duration(most));
    }
    using Target = std::remove_reference_t<decltype(pick(c))>;
    pick(c) = std::chrono::duration_cast<Target>(*duration);
    return std::nullopt;
  };
}

template <class Pick>
auto number_into(Pick pick, double least, double most) {
  return [pick, least, most](Config& c, const ConfigValue& v) -> Wrong {
    double number = 0;
    const char* const end = v.text.data() + v.text.size();
    const auto [stop, error] = std::from_chars(v.text.data(), end, number);
    using Target = std::remove_reference_t<decltype(pick(c))>;
    const bool whole = std::numeric_limits<Target>::is_integer;
    if (error != std::errc() || stop != end || !(number >= least && number <= most) ||
        (whole && number != static_cast<double>(static_cast<std::int64_t>(number)))) {
      return fmt::format("a {} from {} to {}", whole ? "whole number" : "number", least, most);
    }
    pick(c) = static_cast<Target>(number);
    return std::nullopt;
  };
}

template <class Pick>
auto pointers_into(Pick pick) {
  return [pick](Config& c, const ConfigValue& v) -> Wrong {
    const std::vector<std::string> pointers =
        v.shape == ConfigValue::Shape::text ? std::vector{v.text} : v.list;
    for (const std::string& pointer : pointers) {
      if (pointer.empty() || pointer.front() != '/') {
        return "JSON pointers that begin with /, such as [/user_id, /userId] (RFC 6901)";
      }
    }
    if (pointers.empty() || pointers.size() > 32) return "1 to 32 JSON pointers";
    pick(c) = pointers;
    return std::nullopt;
  };
}

auto start_into(std::function<void(Config&, StartAt)> put) {
  return [put](Config& c, const ConfigValue& v) -> Wrong {
    const auto start = parse_start(v.text);
    if (!start)
      return "earliest, latest, or a time such as 2026-11-21T00:00:00Z (Kinesis: trim_horizon too)";
    put(c, *start);
    return std::nullopt;
  };
}

// arn:<partition>:<service>:<region>:<account>:<resource>
Wrong check_arn(std::string_view text, std::string_view service, std::string_view resource) {
  std::vector<std::string_view> parts;
  std::string_view rest = text;
  for (int i = 0; i < 5; ++i) {
    const std::size_t colon = rest.find(':');
    if (colon == std::string_view::npos) break;
    parts.push_back(rest.substr(0, colon));
    rest.remove_prefix(colon + 1);
  }
  if (parts.size() == 5 && parts[0] == "arn" && parts[2] == service && rest.starts_with(resource))
    return std::nullopt;
  return fmt::format("an ARN such as arn:aws:{}:{}:123456789012:{}…", service,
                     service == "iam" ? "" : "eu-west-1", resource);
}

template <class Pick>
auto arn_into(Pick pick, std::string_view service, std::string_view resource, bool may_be_empty) {
  return [=](Config& c, const ConfigValue& v) -> Wrong {
    if (!(v.text.empty() && may_be_empty)) {
      if (Wrong wrong = check_arn(v.text, service, resource)) return wrong;
    }
    pick(c) = v.text;
    return std::nullopt;
  };
}

Wrong check_url(std::string_view text) {
  if (text.starts_with("file:///") || (text.starts_with("s3://") && text.size() > 5))
    return std::nullopt;
  return "file:///absolute/folder or s3://bucket/folder";
}

template <class Pick>
auto url_into(Pick pick) {
  return [pick](Config& c, const ConfigValue& v) -> Wrong {
    if (Wrong wrong = check_url(v.text)) return wrong;
    pick(c) = v.text;
    return std::nullopt;
  };
}

Wrong set_users(Config& c, const ConfigValue& v) {
  const Wrong expected = "all, {active: 30d}, or {file: s3://bucket/users.json}";
  BatchInferenceOptions& options = batch(c);
  if (v.shape == ConfigValue::Shape::text && v.text == "all") {
    options.users = BatchInferenceOptions::Users::all;
    return std::nullopt;
  }
  if (v.shape != ConfigValue::Shape::map || v.map.size() != 1) return expected;
  const auto& [kind, value] = *v.map.begin();
  if (kind == "active") {
    const auto within = parse_duration(value);
    if (!within || within->count() <= 0) return expected;
    options.users = BatchInferenceOptions::Users::active;
    options.active_within = std::chrono::duration_cast<std::chrono::seconds>(*within);
    return std::nullopt;
  }
  if (kind == "file" && !check_url(value)) {
    options.users = BatchInferenceOptions::Users::file;
    options.users_file = value;
    return std::nullopt;
  }
  return expected;
}

// A listening address: host:port, or nothing for no server.
Wrong set_listen(Config& c, const ConfigValue& v) {
  const std::size_t colon = v.text.rfind(':');
  int port = -1;
  if (colon != std::string::npos && colon > 0) {
    const char* const end = v.text.data() + v.text.size();
    const auto [stop, error] = std::from_chars(v.text.data() + colon + 1, end, port);
    if (error != std::errc() || stop != end) port = -1;
  }
  if (!v.text.empty() && (port < 0 || port > 65535))
    return "host:port such as 127.0.0.1:9464, or \"\" for no server";
  c.server.listen = v.text;
  return std::nullopt;
}

std::vector<ConfigKey> make_keys() {
  const auto kMs = [](std::int64_t n) { return std::chrono::milliseconds(n); };
  const auto kDays = [](std::int64_t n) { return std::chrono::milliseconds(n * 86'400'000); };
  const auto kKiB = [](std::uint64_t n) { return n << 10; };
  const auto kMiB = [](std::uint64_t n) { return n << 20; };
  const auto kGiB = [](std::uint64_t n) { return n << 30; };
  std::vector<ConfigKey> keys;
  const auto add = [&keys](ConfigKey key) { keys.push_back(std::move(key)); };

  add({.path = "name",
       .default_text = "millrace",
       .about = "Consumer groups, the state folder, job names and tags derive from it: 1–40 of A–Z "
                "a–z 0–9 - _, "
                "a letter or digit first.",
       .set = [](Config& c, const ConfigValue& v) -> Wrong {
         const auto good = [](char ch) {
           return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
                  (ch >= '0' && ch <= '9') || ch == '-' || ch == '_';
         };
         bool fine = !v.text.empty() && v.text.size() <= 40 && v.text.front() != '-' &&
                     v.text.front() != '_';
         for (const char ch : v.text) fine = fine && good(ch);
         if (!fine) return "1 to 40 of A-Z a-z 0-9 - _ with a letter or digit first";
         c.name = v.text;
         return std::nullopt;
       }});
  add({.path = "aws.region",
       .default_text = "",
       .about = "Region of every AWS call; else AWS_REGION, AWS_DEFAULT_REGION, the profile's.",
       .set = text_into([](Config & c) -> auto& { return c.aws.region; })});
  add({.path = "aws.profile",
       .default_text = "",
       .about = "Profile of ~/.aws; else AWS_PROFILE, else `default`.",
       .set = text_into([](Config & c) -> auto& { return c.aws.profile; })});
  add({.path = "aws.endpoint",
       .default_text = "",
       .about = "One URL for every AWS call, for an emulator: http://127.0.0.1:9900.",
       .set = text_into([](Config & c) -> auto& { return c.aws.endpoint; })});

  add({.path = "source.kafka.brokers",
       .about = "host:port[,host:port…].",
       .set = filled_text_into([](Config & c) -> auto& { return kafka(c).brokers; }),
       .required = true});
  add({.path = "source.kafka.topic",
       .about = "The topic of interactions.",
       .set = filled_text_into([](Config & c) -> auto& { return kafka(c).topic; }),
       .required = true});
  add({.path = "source.kafka.group",
       .default_text = "<name>",
       .about = "Consumer groups <group>-personalize and <group>-lake.",
       .set = filled_text_into([](Config & c) -> auto& { return kafka(c).group; })});
  add({.path = "source.kafka.start",
       .type = Type::start,
       .default_text = "earliest",
       .about = "Where to begin when nothing is committed: earliest, latest, a time.",
       .set = start_into([](Config& c, StartAt s) { kafka(c).start = s; })});
  add({.path = "source.kafka.on_gap",
       .type = Type::choice,
       .default_text = "stop",
       .about = "When retention has overtaken the position: stop with the number of lost records, "
                "or count them and continue.",
       .choices = {"stop", "continue"},
       .set = [](Config& c, const ConfigValue& v) -> Wrong {
         kafka(c).continue_on_gap = v.text == "continue";
         return std::nullopt;
       }});
  add({.path = "source.kafka.properties",
       .type = Type::properties,
       .default_text = "{}",
       .about = "Any librdkafka property (security.protocol, sasl.username, …), passed through.",
       .set = [](Config& c, const ConfigValue& v) -> Wrong {
         kafka(c).properties = v.map;
         return std::nullopt;
       }});
  add({.path = "source.kinesis.stream",
       .about = "The data stream of interactions.",
       .set = filled_text_into([](Config & c) -> auto& { return kinesis(c).stream; }),
       .required = true});
  add({.path = "source.kinesis.start",
       .type = Type::start,
       .default_text = "trim_horizon",
       .about = "Where to begin when no position is kept: trim_horizon, latest, a time.",
       .set = start_into([](Config& c, StartAt s) { kinesis(c).start = s; })});
  add({.path = "source.kinesis.consumer",
       .type = Type::choice,
       .default_text = "polling",
       .about = "How shards are read. (fan_out: a later release.)",
       .choices = {"polling"},
       .set = [](Config&, const ConfigValue&) -> Wrong { return std::nullopt; }});
  add({.path = "source.kinesis.leases.file",
       .default_text = "",
       .about = "Keep positions in this file under a file lock (one machine); else they are kept "
                "below `state`.",
       .set = filled_text_into([](Config & c) -> auto& { return source(c).leases_file; })});
  add({.path = "source.kinesis.leases.table",
       .default_text = "<name>",
       .about = "DynamoDB lease tables.",
       .later = "leases in DynamoDB come in a later release; use leases.file, or leave `leases` "
                "out to keep positions below "
                "`state`"});
  add({.path = "source.kinesis.region",
       .default_text = "",
       .about = "Overrides aws.region.",
       .set = text_into([](Config & c) -> auto& { return source(c).aws.region; })});
  add({.path = "source.kinesis.endpoint",
       .default_text = "",
       .about = "Overrides aws.endpoint.",
       .set = text_into([](Config & c) -> auto& { return source(c).aws.endpoint; })});
  add({.path = "source.file.path",
       .about = "A file of one record per line, for trying things out.",
       .set = filled_text_into([](Config & c) -> auto& { return present(source(c).file).path; }),
       .required = true});

  add({.path = "events.format",
       .type = Type::choice,
       .default_text = "auto",
       .about = "How a record becomes interactions.",
       .choices = {"auto", "envelope", "flat"},
       .set = [](Config& c, const ConfigValue& v) -> Wrong {
         using Format = DecodeOptions::Format;
         c.events.format = v.text == "auto"   ? Format::automatic
                           : v.text == "flat" ? Format::flat
                                              : Format::envelope;
         return std::nullopt;
       }});
#define MILLRACE_POINTERS(NAME, SHOWN)                                                \
  add({.path = "events.fields." #NAME,                                                \
       .type = Type::texts,                                                           \
       .default_text = SHOWN,                                                         \
       .about = "Where the field stands: JSON pointers, the first that exists wins.", \
       .set = pointers_into([](Config & c) -> auto& { return c.events.fields.NAME; })})
  MILLRACE_POINTERS(user_id, "[/user_id, /userId]");
  MILLRACE_POINTERS(item_id, "[/itemId, /item_id, /properties/itemId, /properties/item_id]");
  MILLRACE_POINTERS(timestamp, "[/sentAt, /sent_at, /timestamp, /event_time]");
  MILLRACE_POINTERS(event_type, "[/eventType, /event_type]");
  MILLRACE_POINTERS(event_id, "[/eventId, /event_id]");
  MILLRACE_POINTERS(session_id, "[/session_id, /sessionId]");
  MILLRACE_POINTERS(event_value, "[/eventValue, /event_value]");
  MILLRACE_POINTERS(properties, "[/properties]");
  MILLRACE_POINTERS(impression, "[/impression]");
  MILLRACE_POINTERS(recommendation_id, "[/recommendationId, /recommendation_id]");
#undef MILLRACE_POINTERS
  add({.path = "events.defaults.event_type",
       .default_text = "interaction",
       .about = "The type of an event that names none.",
       .set = [](Config& c, const ConfigValue& v) -> Wrong {
         if (v.text.empty() || v.text.size() > 256) return "a text of 1 to 256 characters";
         c.events.default_event_type = v.text;
         return std::nullopt;
       }});
  add({.path = "events.defaults.timestamp",
       .type = Type::choice,
       .default_text = "refuse",
       .about = "An event without a time is refused, or takes the log's own arrival time.",
       .choices = {"refuse", "arrival"},
       .set = [](Config& c, const ConfigValue& v) -> Wrong {
         c.events.timestamp_from_arrival = v.text == "arrival";
         return std::nullopt;
       }});
  add({.path = "events.session_slot",
       .type = Type::duration,
       .default_text = "30m",
       .about = "An event without a usable session gets a hash of its user and floor(event time / "
                "slot).",
       .set = duration_into(
           [](Config & c) -> auto& { return c.events.session_slot; }, kMs(1000), kDays(1))});

  add({.path = "personalize.tracking_id",
       .about = "Of the dataset group's event tracker.",
       .set =
           filled_text_into([](Config & c) -> auto& { return personalize(c).options.tracking_id; }),
       .required = true});
  add({.path = "personalize.start",
       .type = Type::start,
       .default_text = "<source.start>",
       .about = "Overrides the source's start for this pipeline.",
       .set = start_into([](Config& c, StartAt s) { personalize(c).start = s; })});
  add({.path = "personalize.linger",
       .type = Type::duration,
       .default_text = "200ms",
       .about = "How long an event may wait for others of its user and session, to share a call "
                "(ten at most).",
       .set = duration_into(
           [](Config & c) -> auto& { return personalize(c).options.linger; }, kMs(0),
           kMs(60'000))});
  add({.path = "personalize.calls_per_second_max",
       .type = Type::number,
       .default_text = "1000",
       .about =
           "PutEvents calls of this instance; the service's quota belongs to the dataset group.",
       .set = number_into(
           [](Config & c) -> auto& { return personalize(c).options.calls_per_second_max; }, 0.1,
           100'000)});
  add({.path = "personalize.skip_older_than",
       .type = Type::duration,
       .default_text = "0s",
       .about = "After an outage live users need not wait: older events are counted, stay in the "
                "lake, reach the model by CSV. "
                "0s: nothing is skipped.",
       .set = duration_into(
           [](Config & c) -> auto& { return personalize(c).options.skip_older_than; }, kMs(0),
           kDays(3650))});
  add({.path = "personalize.region",
       .default_text = "",
       .about = "Overrides aws.region.",
       .set = text_into([](Config & c) -> auto& { return personalize(c).aws.region; })});
  add({.path = "personalize.endpoint",
       .default_text = "",
       .about = "Overrides aws.endpoint.",
       .set = text_into([](Config & c) -> auto& { return personalize(c).aws.endpoint; })});

  add({.path = "lake.url",
       .about = "Root of the lake: file:///folder. (s3://bucket: a later release.)",
       .set = url_into([](Config & c) -> auto& { return lake(c).options.url; }),
       .required = true});
  add({.path = "lake.prefix",
       .default_text = "!{timestamp:yyyy/MM/dd/HH/}",
       .about = "Firehose's prefix expressions; concatenated as they stand, so end it in /.",
       .set = text_into([](Config & c) -> auto& { return lake(c).options.prefix; })});
  add({.path = "lake.error_prefix",
       .default_text = "errors/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd/HH/}",
       .about = "Where dead letters go; must contain !{firehose:error-output-type} (alias "
                "!{error-type}).",
       .set = text_into([](Config & c) -> auto& { return lake(c).options.error_prefix; })});
  add({.path = "lake.start",
       .type = Type::start,
       .default_text = "<source.start>",
       .about = "Overrides the source's start for this pipeline.",
       .set = start_into([](Config& c, StartAt s) { lake(c).start = s; })});
  add({.path = "lake.partition_by",
       .type = Type::choice,
       .default_text = "arrival",
       .about = "The hour of an object: when the log took the record (as Firehose does), or its "
                "first valid event's time.",
       .choices = {"arrival", "event"},
       .set = [](Config& c, const ConfigValue& v) -> Wrong {
         lake(c).options.partition_by =
             v.text == "event" ? PartitionBy::event : PartitionBy::arrival;
         return std::nullopt;
       }});
  add({.path = "lake.buffer.size",
       .type = Type::size,
       .default_text = "5MiB",
       .about = "Bytes of an object as stored (compressed) that close it.",
       .set = size_into(
           [](Config & c) -> auto& { return lake(c).options.buffer_bytes; }, kKiB(1), kMiB(512))});
  add({.path = "lake.buffer.interval",
       .type = Type::duration,
       .default_text = "300s",
       .about = "Age of an object's first record that closes it.",
       .set = duration_into(
           [](Config & c) -> auto& { return lake(c).options.buffer_interval; }, kMs(100),
           kDays(1))});
  add({.path = "lake.compression",
       .type = Type::choice,
       .default_text = "gzip",
       .about = "Names end in .ndjson, .ndjson.gz, .ndjson.zst.",
       .choices = {"none", "gzip", "zstd"},
       .set = [](Config& c, const ConfigValue& v) -> Wrong {
         lake(c).options.compression = v.text == "none"   ? Compression::none
                                       : v.text == "gzip" ? Compression::gzip
                                                          : Compression::zstd;
         return std::nullopt;
       }});
  add({.path = "lake.annotate",
       .type = Type::boolean,
       .default_text = "true",
       .about = "Add `_source` (partition, position, arrival) to each line.",
       .set = [](Config& c, const ConfigValue& v) -> Wrong {
         lake(c).options.annotate = *parse_boolean(v.text);
         return std::nullopt;
       }});
  for (const std::string_view path : {"lake.kms_key", "lake.expected_owner", "lake.assume_role"}) {
    add({.path = path,
         .default_text = "",
         .about = "For s3:// lakes.",
         .later = "it belongs to lakes on s3://, which come in a later release"});
  }

  add({.path = "memory",
       .type = Type::size,
       .default_text = "256MiB",
       .about = "All buffers of `run` together, half for each pipeline.",
       .set = size_into(
           [](Config & c) -> auto& { return c.memory_bytes; }, kMiB(32), kGiB(1024))});
  add({.path = "state",
       .default_text = "<lake.url>/_millrace/<name>/",
       .about = "Folder for the cycle's state, manifests, reports, Kinesis positions.",
       .set = url_into([](Config & c) -> auto& { return c.state; })});

  add({.path = "compact.output",
       .about = "The one CSV: file:///…/personalize_input.csv.",
       .set = [](Config& c, const ConfigValue& v) -> Wrong {
         if (check_url(v.text) || v.text.ends_with("/"))
           return "one object: file:///folder/name.csv or s3://bucket/name.csv";
         compact(c).output = v.text;
         return std::nullopt;
       },
       .required = true});
  add({.path = "compact.columns",
       .type = Type::texts,
       .default_text = "auto",
       .about = "Columns of the CSV in the schema's order; auto: the dataset's schema "
                "(retrain.dataset_arn), else USER_ID, "
                "ITEM_ID, TIMESTAMP, EVENT_TYPE.",
       .set = [](Config& c, const ConfigValue& v) -> Wrong {
         if (v.shape == ConfigValue::Shape::text && v.text == "auto") {
           compact(c).columns.clear();
           return std::nullopt;
         }
         const std::vector<std::string> columns =
             v.shape == ConfigValue::Shape::text ? std::vector{v.text} : v.list;
         for (const std::string_view must : {"USER_ID", "ITEM_ID", "TIMESTAMP"}) {
           if (std::find(columns.begin(), columns.end(), must) == columns.end()) {
             return "auto, or a list with at least USER_ID, ITEM_ID and TIMESTAMP";
           }
         }
         compact(c).columns = columns;
         return std::nullopt;
       }});
  add({.path = "compact.keep",
       .type = Type::number,
       .default_text = "7",
       .about = "Previous CSVs kept below `state`.",
       .set = number_into(
           [](Config & c) -> auto& { return compact(c).keep; }, 0, 1000)});
  add({.path = "compact.memory",
       .type = Type::size,
       .default_text = "1GiB",
       .about = "Bound of compaction; what does not fit is spilled to temporary files.",
       .set = size_into(
           [](Config & c) -> auto& { return compact(c).memory_bytes; }, kMiB(16), kGiB(1024))});
  add({.path = "compact.engine",
       .type = Type::choice,
       .default_text = "local",
       .about = "Where compaction runs. (glue: a later release.)",
       .choices = {"local"},
       .set = [](Config&, const ConfigValue&) -> Wrong { return std::nullopt; }});

  add({.path = "retrain.schedule",
       .default_text = "",
       .about = "Cron: minute hour day month weekday, in `timezone`.",
       .set = text_into([](Config & c) -> auto& { return retrain(c).options.schedule; })});
  add({.path = "retrain.timezone",
       .default_text = "UTC",
       .about = "Of the schedule.",
       .set = filled_text_into([](Config & c) -> auto& { return retrain(c).options.timezone; })});
  add({.path = "retrain.after_new_interactions",
       .type = Type::number,
       .default_text = "0",
       .about = "Also start a cycle after this many new interactions; 0: off.",
       .set = number_into(
           [](Config & c) -> auto& { return retrain(c).options.after_new_interactions; }, 0,
           1e15)});
  add({.path = "retrain.at_most_every",
       .type = Type::duration,
       .default_text = "24h",
       .about = "Never start cycles closer together than this.",
       .set = duration_into(
           [](Config & c) -> auto& { return retrain(c).options.at_most_every; }, kMs(0),
           kDays(365))});
  add({.path = "retrain.poll_interval",
       .type = Type::duration,
       .default_text = "30s",
       .about =
           "Between two looks at a job's status; the service allows one a second of each kind.",
       .set = duration_into(
           [](Config & c) -> auto& { return retrain(c).options.poll_interval; }, kMs(100),
           kMs(3'600'000))});
  add({.path = "retrain.dataset_arn",
       .about = "The Interactions dataset to import into.",
       .set = arn_into(
           [](Config & c) -> auto& { return retrain(c).options.dataset_arn; }, "personalize",
           "dataset/", false),
       .required = true});
  add({.path = "retrain.solution_arn",
       .about = "The solution to train.",
       .set = arn_into(
           [](Config & c) -> auto& { return retrain(c).options.solution_arn; }, "personalize",
           "solution/", false),
       .required = true});
  add({.path = "retrain.role_arn",
       .about = "The role that Personalize takes to read the CSV and write recommendations.",
       .set = arn_into(
           [](Config & c) -> auto& { return retrain(c).options.role_arn; }, "iam", "role/", false),
       .required = true});
  add({.path = "retrain.campaign_arn",
       .default_text = "",
       .about = "Updated after training.",
       .set = arn_into(
           [](Config & c) -> auto& { return retrain(c).options.campaign_arn; }, "personalize",
           "campaign/", true)});
  add({.path = "retrain.batch_inference.users",
       .type = Type::users,
       .default_text = "all",
       .about = "Whom to recommend to: all, {active: 30d}, {file: url} (read only).",
       .set = set_users});
  add({.path = "retrain.batch_inference.output",
       .about = "Folder for the recommendations; ends in /.",
       .set = [](Config& c, const ConfigValue& v) -> Wrong {
         if (check_url(v.text) || !v.text.ends_with("/"))
           return "a folder that ends in /: file:///… or s3://…";
         batch(c).output = v.text;
         return std::nullopt;
       },
       .required = true});
  add({.path = "retrain.batch_inference.results",
       .type = Type::number,
       .default_text = "25",
       .about = "Per user, 1–500.",
       .set = number_into(
           [](Config & c) -> auto& { return batch(c).results; }, 1, 500)});
  add({.path = "retrain.batch_inference.filter_arn",
       .default_text = "",
       .about = "A Personalize filter.",
       .set = arn_into(
           [](Config & c) -> auto& { return batch(c).filter_arn; }, "personalize", "filter/",
           true)});
  add({.path = "retrain.batch_inference.exploration.weight",
       .type = Type::number,
       .default_text = "",
       .about = "explorationWeight of User-Personalization, 0–1.",
       .set = [](Config& c, const ConfigValue& v) -> Wrong {
         double weight = 0;
         if (Wrong wrong =
                 number_into([&weight](Config&) -> double& { return weight; }, 0, 1)(c, v))
           return wrong;
         batch(c).exploration_weight = weight;
         return std::nullopt;
       }});
  add({.path = "retrain.batch_inference.exploration.item_age_days",
       .type = Type::number,
       .default_text = "",
       .about = "explorationItemAgeCutOff in days.",
       .set = [](Config& c, const ConfigValue& v) -> Wrong {
         std::int32_t days = 0;
         if (Wrong wrong =
                 number_into([&days](Config&) -> std::int32_t& { return days; }, 1, 36'500)(c, v))
           return wrong;
         batch(c).exploration_item_age_days = days;
         return std::nullopt;
       }});
  add({.path = "retrain.region",
       .default_text = "",
       .about = "Overrides aws.region.",
       .set = text_into([](Config & c) -> auto& { return retrain(c).aws.region; })});
  add({.path = "retrain.endpoint",
       .default_text = "",
       .about = "Overrides aws.endpoint.",
       .set = text_into([](Config & c) -> auto& { return retrain(c).aws.endpoint; })});

  add({.path = "server.listen",
       .default_text = "127.0.0.1:9464",
       .about = "/metrics, /healthz, /readyz, /status, / (a page); \"\": no server.",
       .set = set_listen});
  return keys;
}

}  // namespace

const std::vector<ConfigKey>& config_keys() {
  static const std::vector<ConfigKey> keys = make_keys();
  return keys;
}

void open_section(Config& config, std::string_view path) {
  if (path == "source") source(config);
  if (path == "source.kafka") kafka(config);
  if (path == "source.kinesis") kinesis(config);
  if (path == "source.file") present(source(config).file);
  if (path == "personalize") personalize(config);
  if (path == "lake") lake(config);
  if (path == "compact") compact(config);
  if (path == "retrain") retrain(config);
  if (path == "retrain.batch_inference") batch(config);
}

std::string_view name_of(ConfigKey::Type type) {
  switch (type) {
    case Type::text:
      return "text";
    case Type::boolean:
      return "true or false";
    case Type::number:
      return "number";
    case Type::size:
      return "size";
    case Type::duration:
      return "duration";
    case Type::start:
      return "start";
    case Type::choice:
      return "one of";
    case Type::texts:
      return "list of texts";
    case Type::properties:
      return "map of texts";
    case Type::users:
      return "users";
  }
  return "text";
}

}  // namespace millrace
