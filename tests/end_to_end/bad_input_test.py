#!/usr/bin/env python3
"""Bad input and bad days, tried on the real program as a new user would.

    bad_input_test.py MILLRACE [CASE…]

MILLRACE is the program. Each case prints one line; words choose cases by the start of their name.
Exits 0 when every case holds. A case that this machine cannot try (no root, no data sets) says why.
Every output of every call is kept, and searched for the secret key at the end: none may hold it.
"""
import base64
import concurrent.futures
import contextlib
import glob
import gzip
import hashlib
import http.client
import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

PROGRAM = os.path.abspath(sys.argv[1])
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DATA = os.path.join(os.path.dirname(ROOT), "shared", "data")
ALL_SETS = os.environ.get("MILLRACE_ALL_DATA_SETS") == "1"
MARKER = "marker-of-the-secret-access-key"
IN_PARALLEL = 4  # most of a case is waiting
WAIT = 60        # seconds; what takes longer hangs

outputs = []  # (what, text) of everything the program ever said
outputs_lock = threading.Lock()


class Skip(Exception):
    """This machine cannot try it; the text says why."""


def keep(what, text):
    with outputs_lock:
        outputs.append((what, text))


def check(holds, *facts):
    if not holds:
        raise AssertionError(" | ".join(str(fact) for fact in facts))


def environment(extra=None):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "MILLRACE_"))}
    clean.update(AWS_ACCESS_KEY_ID="AKIDEXAMPLE", AWS_SECRET_ACCESS_KEY=MARKER,
                 AWS_REGION="us-east-1", AWS_EC2_METADATA_DISABLED="true", HOME="/nonexistent")
    clean.update(extra or {})
    return clean


class Done:
    """A call that has ended."""

    def __init__(self, words, code, out, err):
        self.words, self.code, self.out, self.err = words, code, out, err
        keep("millrace " + " ".join(words), out + err)

    def __str__(self):
        return f"millrace {' '.join(self.words)} → {self.code}\n{self.out[-1500:]}\n{self.err[-3000:]}"

    def ended(self, code, *words):
        """The exit code, and every word somewhere in what it said on stderr."""
        check(self.code == code, f"expected exit code {code}", self)
        for word in words:
            check(word in self.err, f"stderr lacks {word!r}", self)
        check("unexpected failure" not in self.err, self)
        return self

    def silent(self):
        """Nothing on stdout: results go there, complaints do not."""
        check(self.out == "", "stdout should be empty", self)
        return self

    def one_line(self):
        """One complaint, one line."""
        lines = [line for line in self.err.splitlines() if not re.match(LOG_LINE, line)]
        check(len(lines) == 1 and lines[0].startswith("millrace: "), "one clear line", self)
        return self.silent()

    def json(self):
        return json.loads(self.out)


LOG_LINE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (debug|info|warn|error) +"


def call(*words, env=None, cwd=None, timeout=WAIT, **more):
    words = [str(word) for word in words]
    try:
        done = subprocess.run([PROGRAM, *words], capture_output=True, timeout=timeout, cwd=cwd,
                              env=environment(env), stdin=subprocess.DEVNULL, **more)
    except subprocess.TimeoutExpired as late:
        raise AssertionError(f"millrace {' '.join(words)} hangs: "
                             f"{(late.stderr or b'').decode(errors='replace')[-2000:]}") from None
    return Done(words, done.returncode, done.stdout.decode(errors="replace"),
                done.stderr.decode(errors="replace"))


class Child:
    """A call that still runs."""

    def __init__(self, *words, env=None, cwd=None, **more):
        self.words = [str(word) for word in words]
        self.out, self.err = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        self.process = subprocess.Popen([PROGRAM, *self.words], stdout=self.out, stderr=self.err,
                                        stdin=subprocess.DEVNULL, env=environment(env), cwd=cwd,
                                        **more)

    def text(self, file):
        size = os.fstat(file.fileno()).st_size
        return os.pread(file.fileno(), size, 0).decode(errors="replace")

    def until(self, test, what, timeout=WAIT):
        deadline = time.monotonic() + timeout
        while True:
            result = test()
            if result:
                return result
            check(self.process.poll() is None, f"ended before {what}", self.text(self.err)[-2000:])
            check(time.monotonic() < deadline, f"never {what}", self.text(self.err)[-2000:])
            time.sleep(0.05)

    def says(self, *words, timeout=WAIT):
        self.until(lambda: all(word in self.text(self.err) for word in words), f"said {words}",
                   timeout)
        return self

    def end(self, sign=signal.SIGTERM, timeout=WAIT):
        if sign is not None and self.process.poll() is None:
            self.process.send_signal(sign)
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"millrace {' '.join(self.words)} does not end on signal {sign}: "
                                 f"{self.text(self.err)[-2000:]}") from None
        return Done(self.words, self.process.returncode, self.text(self.out), self.text(self.err))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        keep("millrace " + " ".join(self.words), self.text(self.out) + self.text(self.err))
        self.out.close()
        self.err.close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def write(folder, name, content):
    path = os.path.join(folder, name)
    with open(path, "wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())
    return path


def config(folder, source="", personalize="", events="", lake_more="", more="", port=None,
           name="millrace.yaml", lake=None):
    lake = lake or f"{folder}/lake"
    return write(folder, name, f"""
{source}
{personalize}
{events}
lake: {{ url: "file://{lake}", compression: none, buffer: {{ size: 1MiB, interval: 2s }}{lake_more} }}
compact: {{ output: "file://{folder}/out.csv" }}
server: {{ listen: "{f'127.0.0.1:{port}' if port else ''}" }}
{more}
""")


def get(port, path, timeout=10):
    """(status, text); (0, "") while nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        text = reply.read().decode()
        keep(f"GET {path}", text)
        return reply.status, text
    except OSError:
        return 0, ""
    finally:
        connection.close()


def status_of(port):
    code, text = get(port, "/status")
    return json.loads(text) if code == 200 else None


class Emulator:
    """`millrace emulate`, asked without signatures."""

    def __init__(self, state, *words):
        self.child = Child("emulate", "--listen", "127.0.0.1:0", "--json", "--any-key",
                           "--time-scale", "0", "--state", state, *words)
        try:
            line = self.child.until(lambda: "\n" in self.child.text(self.child.out)
                                    and self.child.text(self.child.out), "listened")
        except AssertionError:
            self.child.__exit__()
            raise
        self.url = json.loads(line)["url"]
        self.port = int(self.url.rsplit(":", 1)[1])

    def ask(self, target, **arguments):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("POST", "/", json.dumps(arguments),
                           {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"})
        reply = connection.getresponse()
        text = reply.read().decode()
        connection.close()
        check(reply.status == 200, target, reply.status, text)
        return json.loads(text or "{}")

    def active(self, kind, member, key, arn):
        for _ in range(600):
            described = self.ask(f"AmazonPersonalize.Describe{kind}", **{key: arn})[member]
            if described["status"] == "ACTIVE":
                return
            time.sleep(0.05)
        raise AssertionError(f"{arn} never became ACTIVE")

    def shop(self):
        """A dataset group with a tracker: (dataset ARN, tracking id)."""
        schema = self.ask("AmazonPersonalize.CreateSchema", name="shop", schema=json.dumps({
            "type": "record", "name": "Interactions", "version": "1.0",
            "namespace": "com.amazonaws.personalize.schema",
            "fields": [{"name": "USER_ID", "type": "string"}, {"name": "ITEM_ID", "type": "string"},
                       {"name": "TIMESTAMP", "type": "long"},
                       {"name": "EVENT_TYPE", "type": "string"}]}))["schemaArn"]
        group = self.ask("AmazonPersonalize.CreateDatasetGroup", name="shop")["datasetGroupArn"]
        self.active("DatasetGroup", "datasetGroup", "datasetGroupArn", group)
        dataset = self.ask("AmazonPersonalize.CreateDataset", name="shop", schemaArn=schema,
                           datasetGroupArn=group, datasetType="Interactions")["datasetArn"]
        self.active("Dataset", "dataset", "datasetArn", dataset)
        tracker = self.ask("AmazonPersonalize.CreateEventTracker", name="shop",
                           datasetGroupArn=group)
        self.active("EventTracker", "eventTracker", "eventTrackerArn", tracker["eventTrackerArn"])
        self.group = group
        return dataset, tracker["trackingId"]

    def solution(self):
        solution = self.ask(
            "AmazonPersonalize.CreateSolution", name="taste", datasetGroupArn=self.group,
            performAutoTraining=False,
            recipeArn="arn:aws:personalize:::recipe/aws-user-personalization-v2")["solutionArn"]
        self.active("Solution", "solution", "solutionArn", solution)
        return solution

    def stream(self, name, shards=1):
        self.ask("Kinesis_20131202.CreateStream", StreamName=name, ShardCount=shards)
        for _ in range(600):
            summary = self.ask("Kinesis_20131202.DescribeStreamSummary", StreamName=name)
            if summary["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE":
                return
            time.sleep(0.05)
        raise AssertionError("the stream never became ACTIVE")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.__exit__()


class Personalize(http.server.ThreadingHTTPServer):
    """Takes every PutEvents call and keeps its events: what the model saw, told by somebody else."""

    daemon_threads = True

    def __init__(self):
        self.events, self.lock = {}, threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer.lock:
                    for event in body["eventList"]:
                        outer.events[event["eventId"]] = (
                            body.get("userId"), event.get("itemId"), int(event["sentAt"]),
                            event["eventType"])
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def rows(self):
        with self.lock:
            return set(self.events.values())


def lake_lines(lake):
    """Every line of every data object, read plainly: the folder less millrace's own and errors."""
    lines = []
    for folder, _, names in os.walk(lake):
        below = os.path.relpath(folder, lake)
        if below.split("/")[0] == "_millrace" or "/errors" in "/" + below:
            continue
        for name in names:
            check(name.endswith(".ndjson"), "no half-made object is in sight", folder, name)
            with open(os.path.join(folder, name), "rb") as file:
                content = file.read()
            check(content.endswith(b"\n"), f"{name} ends in a whole line")
            lines += content[:-1].split(b"\n")
    return lines


def dead_letters(folder):
    """{(pipeline, partition, position, index): line}: each counts once."""
    letters = {}
    for path in glob.glob(f"{folder}/**/*", recursive=True):
        if "/errors/" in path and os.path.isfile(path):
            with open(path, "rb") as file:
                for line in file.read().splitlines():
                    letter = json.loads(line)
                    key = tuple(letter.get(member) for member in
                                ("pipeline", "partition", "position", "index"))
                    letters[key] = letter
    return letters


def rows_of_csv(path):
    """The rows of a CSV in Personalize's dialect, undone by a reader of its own."""
    with open(path, encoding="utf-8", newline="") as file:
        text = file.read()
    rows, row, field, quoted, i = [], [], [], False, 0
    while i < len(text):
        c = text[i]
        if c == "\\":
            i += 1
            field.append(text[i])
        elif c == '"':
            quoted = not quoted
        elif c == "," and not quoted:
            row.append("".join(field))
            field = []
        elif c == "\n" and not quoted:
            rows.append((*row, "".join(field)))
            row, field = [], []
        else:
            field.append(c)
        i += 1
    check(not row and not field, "the CSV ends in a whole line")
    check(rows[0] == ("USER_ID", "ITEM_ID", "TIMESTAMP", "EVENT_TYPE"), rows[0])
    return rows[1:]


def canonical_sha256(rows):
    lines = sorted({"\t".join(row).encode() + b"\n" for row in rows})
    return hashlib.sha256(b"".join(lines)).hexdigest()


def history(folder, rows, name="history.csv"):
    """A rating file of `rows` rows, all different."""
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write("user_id,item_id,timestamp\n")
        for row in range(rows):
            file.write(f"u{row % 97},i{row % 1009},{1_600_000_000 + row}\n")
    return path


def live(folder, count, name="events.ndjson"):
    lines = [json.dumps({"user_id": f"u{n % 50}", "item_id": f"i{n}", "timestamp": 1_700_000_000 + n,
                         "event_type": "view"}) for n in range(count)]
    return write(folder, name, "\n".join(lines) + "\n")


# --- what is typed wrong ------------------------------------------------------------------------

COMMANDS = ["run", "demo", "simulate", "backfill", "compact", "retrain", "check", "status", "emulate",
            "template"]
LATER = ["replay", "redrive", "forget", "audit"]


def case_usage(folder):
    """Commands and options that are not there: named, exit 2, nothing on stdout."""
    call().ended(2, "--help").one_line()
    call("nonsense").ended(2, "nonsense", "--help").one_line()
    call("rnu").ended(2, "rnu", "did you mean run?").one_line()
    call("run", "--bogus").ended(2, "--bogus", "--help").one_line()
    call("run", "--only", "lakes").ended(2, "lakes", "personalize", "cycle").one_line()
    call("run", "-c").ended(2, "--config").one_line()
    call("--log-format", "xml", "run").ended(2, "xml", "json").one_line()
    call("simulate", "--rate", "fast").ended(2, "--rate", "fast").one_line()
    call("simulate", "--rate", "-1").ended(2, "--rate").one_line()
    call("backfill").ended(2, "source").one_line()
    call("emulate", "--listen", "nowhere").ended(2, "--listen", "host:port").one_line()
    call("emulate", "--listen", "127.0.0.1:99999").ended(2, "--listen", "65535").one_line()
    call("emulate", "--bucket", "x").ended(2, "--bucket", "NAME=FOLDER").one_line()
    call("compact", "--full", "--incremental").ended(2, "--full", "--incremental").one_line()
    for later in LATER:
        call(later).ended(2, later, "not in this release").one_line()
        call(later, "--from", "x", "-c", "y", "z").ended(2, later, "not in this release").one_line()
    for name in ("iam", "cloudformation", "grafana"):
        call("template", name).ended(2, name, "not in this release").one_line()
    call("template", "nonsense").ended(2, "nonsense", "reference").one_line()


def case_help(folder):
    """--help of the program and of each command is enough: on stdout, exit 0."""
    whole = call("--help")
    check(whole.code == 0 and whole.err == "", whole)
    for command in COMMANDS + LATER:
        check(command in whole.out, f"--help names {command}")
        page = call(command, "--help")
        check(page.code == 0 and page.err == "" and "Usage: millrace " + command in page.out, page)
        check("Exit codes" in page.out and "-c,--config" in page.out, "options of all commands", page)
    check(re.match(r"millrace \d", call("--version").out), "--version")


BAD_CONFIGS = [
    # (text, what must be said)
    ("lake: [a\n", ["millrace.yaml:", "not YAML"]),
    ("lake:\n\turl: x\n", ["millrace.yaml:2:", "not YAML"]),
    ("lake: { url: x }\n---\nname: y\n", ["millrace.yaml:3:1", "second document"]),
    ("- lake\n- source\n", ["millrace.yaml:1:1", "section of keys"]),
    ("just words\n", ["millrace.yaml:1:1", "section of keys"]),
    ("nmae: shop\n", ["millrace.yaml:1:1", "did you mean name?"]),
    ("lake:\n  ulr: file:///x\n", ["millrace.yaml:2:3", "did you mean lake.url?"]),
    ("lake:\n  url: file:///x\n  bufer: 3\n", ["millrace.yaml:3:3", "did you mean lake.buffer?"]),
    ("lake:\n  url: file:///x\n  url: file:///y\n", ["millrace.yaml:3:3", "stands twice", "line 2"]),
    ("name: a\nname: b\n", ["millrace.yaml:2:1", "stands twice"]),
    ("lake: { url: nowhere }\n", ["millrace.yaml:1:14", "file:///", "nowhere"]),
    ("memory: 5 lots\nlake: { url: file:///x }\n", ["millrace.yaml:1:9", "memory", "5MiB"]),
    ("lake: hello\n", ["millrace.yaml:1:7", "lake"]),
    ("lake: { url: \"file://${NOPE}\" }\n", ["millrace.yaml:1:14", "NOPE", "not set"]),
    ("lake: { url: \"file:///x\", buffer: { interval: soon } }\n", ["lake.buffer.interval", "300s"]),
    ("lake: { url: \"file:///x\", compression: rar }\n", ["lake.compression", "gzip", "rar"]),
    ("source: { kafka: { brokers: \"h:1\" } }\n", ["source.kafka.topic is missing"]),
    ("source: { kafka: { brokers: \"h:1\", topic: t }, file: { path: x } }\n",
     ["more than one of kafka, kinesis, file"]),
    ("source: { kafka: { brokers: \"h:1\", topic: t, properties: { \"bogus.property\": 1 } } }\n"
     "lake: { url: file:///tmp }\n", ["bogus.property"]),
    ("lake: { url: \"file:///x\", annotate: false }\nevents: { defaults: { timestamp: arrival } }\n",
     ["lake.annotate", "arrival"]),
    ("lake: { url: file:///tmp, prefix: \"!{timestamp:qq/}\" }\nsource: { file: { path: x } }\n",
     ["lake.prefix"]),
    ("a: 1\nb: 2\nc: 3\n", ["millrace.yaml:1:1", "millrace.yaml:2:1", "millrace.yaml:3:1"]),
    ("server: { listen: \"9464\" }\n", ["server.listen", "host:port"]),
    ("retrain: { schedule: \"every day\", dataset_arn: \"arn:aws:personalize:eu-west-1:1:dataset/s/I\",\n"
     "  solution_arn: \"arn:aws:personalize:eu-west-1:1:solution/s\",\n"
     "  role_arn: \"arn:aws:iam::1:role/r\" }\nlake: { url: file:///tmp }\n"
     "compact: { output: file:///tmp/x.csv }\naws: { region: eu-west-1 }\nsource: { file: { path: x } }\n",
     ["retrain.schedule", "every day"]),
    ("", ["`run` needs personalize, lake or both"]),
    ("personalize: { tracking_id: \"00000000-0000-0000-0000-000000000000\" }\n"
     "source: { file: { path: x } }\n", ["needs state"]),
    ("lake: { url: \"file:///x\" }\n", ["`run` needs source"]),
    ("lake: { url: \"s3://bucket/x\" }\nsource: { file: { path: x } }\n", ["s3://bucket", "release"]),
    # Keys of later releases are errors, not silence.
    ("lake: { url: \"file:///x\", kms_key: k }\n", ["millrace.yaml:1:", "lake.kms_key", "release"]),
    ("compact: { output: \"file:///x.csv\", engine: glue }\n", ["compact.engine", "local"]),
    ("source: { kinesis: { stream: s, consumer: fan_out } }\n", ["source.kinesis.consumer", "polling"]),
    ("source: { kinesis: { stream: s, leases: { table: t } } }\n",
     ["source.kinesis.leases.table", "release"]),
]


def case_configuration(folder):
    """Wrong YAML, unknown, repeated and later keys: file:line:column, what was expected, exit 2."""
    for text, words in BAD_CONFIGS:
        write(folder, "millrace.yaml", text)
        call("run", cwd=folder, timeout=20).ended(2, *words).silent()
    for name, content in (("utf16", "name: shop\n".encode("utf-16")), ("random", os.urandom(4096)),
                          ("nul", b"name: a\x00b\n"), ("deep", b"[" * 100_000),
                          ("alias", b"a: &a [*a]\n"), ("large", b"#" * (2 << 20))):
        path = write(folder, name, content)
        call("run", "-c", path, timeout=20).ended(2, path).silent()


def case_no_configuration(folder):
    """No file at all: says how to get one, and what it gives is valid."""
    for command in ("run", "simulate", "compact", "retrain", "check", "status"):
        call(command, cwd=folder).ended(2, "millrace.yaml", "millrace template config").one_line()
    call("backfill", "x.csv", cwd=folder).ended(2, "millrace template config").one_line()
    call("run", "-c", "nowhere/x.yaml", cwd=folder).ended(2, "nowhere/x.yaml", "-c FILE").one_line()
    call("run", "-c", folder).ended(2, folder, "folder").one_line()
    sample = call("template", "config")
    check(sample.code == 0 and sample.err == "", sample)
    write(folder, "millrace.yaml", sample.out)
    call("retrain", cwd=folder).ended(2, "retrain:", "dataset_arn").silent()


def case_history_files(folder):
    """Files that backfill and simulate cannot read: which, why, what to do."""
    path = config(folder, source=f"source: {{ file: {{ path: {folder}/log.ndjson }} }}")
    for command in ("backfill", "simulate"):
        call(command, "-c", path, f"{folder}/none.csv").ended(1, "none.csv", "no such file").one_line()
        call(command, "-c", path, folder).ended(1, folder, "folder").one_line()
    noise = write(folder, "noise.csv", b"\x01\x02\xff\xfe" + os.urandom(3000))
    call("backfill", "-c", path, noise).ended(2, "noise.csv", "--map").one_line()
    names = write(folder, "names.csv", "a,b,c\n1,2,3\n")
    call("backfill", "-c", path, names).ended(2, "names.csv", '"a", "b", "c"', "--map").one_line()
    call("backfill", "-c", path, names, "--map", "user_id=a,item_id=b,timestamp=zz").ended(
        2, "zz").one_line()
    call("backfill", "-c", path, names, "--map", "user").ended(2, "--map", "user_id=COL").one_line()
    cut = write(folder, "cut.csv.gz", gzip.compress(b"user_id,item_id,timestamp\nu,i,5\n" * 50)[:40])
    call("backfill", "-c", path, cut).ended(1, "cut.csv.gz", "cut off").silent()
    call("compact", "-c", path, "--from", "soon").ended(2, "--from", "soon").one_line()
    call("compact", "-c", path).ended(3, "nothing to compact", "millrace backfill").one_line()


# --- services that are not there -------------------------------------------------------------------

def case_broker_unreachable(folder):
    """Kafka is down: check fails soon, run says so and waits, SIGTERM ends it with 0."""
    path = config(folder, port=(port := free_port()),
                  source='source: { kafka: { brokers: "127.0.0.1:%d", topic: t } }' % free_port())
    began = time.monotonic()
    checked = call("check", "-c", path, timeout=20)
    check(checked.code == 1 and time.monotonic() - began < 12, checked)
    check(re.search(r"FAILED +source .*127\.0\.0\.1.*is Kafka running", checked.out), checked)
    with Child("run", "-c", path) as run:
        run.says("127.0.0.1", "is Kafka running", timeout=20)
        run.until(lambda: get(port, "/readyz")[0] == 503, "was unready")
        check("is Kafka running" in get(port, "/readyz")[1])
        check(get(port, "/healthz")[0] == 200, "alive while it waits")
        time.sleep(1)
        run.end(timeout=20).ended(0)


def case_kafka_secret(folder):
    """A password among Kafka's properties is shown nowhere, whatever is wrong."""
    for properties in (f'{{ security.protocol: SASL_PLAINTEXT, sasl.mechanism: PLAIN, '
                       f'sasl.username: ann, sasl.password: "{MARKER}" }}',
                       f'{{ sasl.pasword: "{MARKER}" }}',
                       f'{{ sasl.password: ["{MARKER}"] }}'):
        path = config(folder, port=(port := free_port()),
                      source='source: { kafka: { brokers: "127.0.0.1:%d", topic: t, properties: %s } }'
                             % (free_port(), properties))
        call("check", "-c", path, "--log-level", "debug", timeout=20)  # searched at the end
        with Child("run", "-c", path, "--log-level", "debug") as run:
            for _ in range(20):
                if run.process.poll() is not None:
                    break
                time.sleep(0.1)
            get(port, "/status")
            get(port, "/metrics")
            get(port, "/readyz")
            run.end()


def case_endpoint_unreachable(folder):
    """Kinesis and Personalize are down: the same."""
    path = config(folder, port=(port := free_port()),
                  source="source: { kinesis: { stream: s } }",
                  personalize='personalize: { tracking_id: "00000000-0000-0000-0000-000000000000" }',
                  more=f'aws: {{ endpoint: "http://127.0.0.1:{free_port()}" }}')
    checked = call("check", "-c", path, timeout=40)
    check(checked.code == 1 and re.search(r"FAILED +source .*127\.0\.0\.1", checked.out), checked)
    with Child("run", "-c", path) as run:
        run.until(lambda: get(port, "/readyz")[0] == 503 and "127.0.0.1" in get(port, "/readyz")[1],
                  "named the endpoint")
        run.end(timeout=20).ended(0)
    call("simulate", "-c", path, timeout=60).ended(1, "127.0.0.1").silent()


def case_port_in_use(folder):
    """The status server's and the emulator's ports: said at once, exit 1."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        path = config(folder, port=port, source=f"source: {{ file: {{ path: {live(folder, 3)} }} }}")
        call("run", "-c", path, timeout=20).ended(1, "server.listen", f"127.0.0.1:{port}",
                                                  "another port")
        call("emulate", "--listen", f"127.0.0.1:{port}", timeout=20).ended(
            1, f"127.0.0.1:{port}", "another port").one_line()
        # Somebody else's server is there: status says so instead of hanging.
        began = time.monotonic()
        call("status", "-c", path, timeout=30).ended(1, f"127.0.0.1:{port}").one_line()
        check(time.monotonic() - began < 15, "status gives up")
    call("status", "-c", path).ended(1, f"127.0.0.1:{port}", "run").one_line()


def case_not_writable(folder):
    """A lake and an output that may not be written: named, nothing lost, goes on when they may."""
    more = {}
    if os.getuid() == 0:
        if not shutil.which("setpriv"):
            raise Skip("root without setpriv: permissions do not bind")
        more = {"user": 65534, "group": 65534, "extra_groups": []}
    os.chmod(folder, 0o755)
    for name in ("lake", "out"):
        os.mkdir(f"{folder}/{name}", 0o755)
        os.chown(f"{folder}/{name}", os.getuid(), os.getgid())
        if not more:
            os.chmod(f"{folder}/{name}", 0o555)
    path = config(folder, source=f"source: {{ file: {{ path: {live(folder, 100)} }} }}")
    lake = f"{folder}/lake"
    rows = history(folder, 50)
    call("backfill", "-c", path, rows, **more).ended(1, lake, "Permission denied").silent()
    full = config(folder, name="full.yaml", lake=f"{folder}/full")
    call("backfill", "-c", full, rows).ended(0)
    call("compact", "-c", full, "--output", f"{folder}/out/x.csv", **more).ended(
        1, folder, "Permission denied").silent()
    check(os.listdir(f"{folder}/out") == [], "nothing half-made")
    checked = call("check", "-c", path, **more)
    check(checked.code == 1 and re.search(r"FAILED +lake .*Permission denied", checked.out), checked)
    port = free_port()
    path = config(folder, port=port,
                  source=f"source: {{ file: {{ path: {live(folder, 100)} }} }}")
    with Child("run", "-c", path, **more) as run:
        run.says("Permission denied", lake)
        run.until(lambda: get(port, "/readyz")[0] == 503, "was unready")
        if more:
            os.chown(lake, 65534, 65534)
        else:
            os.chmod(lake, 0o755)
        run.until(lambda: len(lake_lines(lake)) == 100, "went on by itself")
        run.end().ended(0)


@contextlib.contextmanager
def small_disk(folder, size):
    if os.getuid() != 0:
        raise Skip("needs root, for a small tmpfs")
    os.makedirs(folder)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder],
                             capture_output=True, check=False)
    if mounted.returncode != 0:
        raise Skip(f"no tmpfs here: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        for _ in range(50):
            if subprocess.run(["umount", folder], capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.1)


def case_disk_full(folder):
    """The lake's disk is full: backfill and compact stop with exit 1, run waits; room, and all goes on."""
    with small_disk(f"{folder}/disk", "3m") as disk:
        ballast = write(disk, "ballast", b"x" * (2 << 20))
        rows = history(folder, 40_000)
        path = config(folder, lake=f"{disk}/lake")
        call("backfill", "-c", path, rows).ended(1, disk, "No space left").silent()
        lake_lines(f"{disk}/lake")  # what is there is whole
        os.unlink(ballast)
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        call("backfill", "-c", path, rows).ended(0)
        check(len(lake_lines(f"{disk}/lake")) == 40_000, "each row once")

        # The CSV's disk is full: the file that was there stays as it was.
        with small_disk(f"{folder}/small", "1m") as small:
            old = write(small, "out.csv", "old\n")
            call("compact", "-c", path, "--output", old).ended(1, small, "No space left").silent()
            with open(old, encoding="utf-8") as file:
                check(file.read() == "old\n", "the old CSV is untouched")
            check(os.listdir(small) == ["out.csv"], "nothing half-made stays", os.listdir(small))
            subprocess.run(["mount", "-o", "remount,size=16m", small], check=True)
            call("compact", "-c", path, "--output", old).ended(0)
            check(len(rows_of_csv(old)) == 40_000, "then it is whole")


def case_disk_full_run(folder):
    """run with a full disk keeps trying and says so; with room it stores each record once."""
    with small_disk(f"{folder}/disk", "2m") as disk:
        ballast = write(disk, "ballast", b"x" * (1 << 20))
        path = config(folder, lake=f"{disk}/lake", port=(port := free_port()),
                      source=f"source: {{ file: {{ path: {live(folder, 20_000)} }} }}")
        with Child("run", "-c", path) as run:
            run.says("No space left", disk)
            run.until(lambda: "No space left" in get(port, "/readyz")[1], "was unready")
            lake_lines(f"{disk}/lake")
            os.unlink(ballast)
            subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
            run.until(lambda: len(lake_lines(f"{disk}/lake")) == 20_000, "stored all")
            run.end().ended(0)
        items = [json.loads(line)["item_id"] for line in lake_lines(f"{disk}/lake")]
        check(len(set(items)) == len(items) == 20_000, "each once")


# --- records ---------------------------------------------------------------------------------------

GOOD = b'{"user_id":"u1","item_id":"i1","timestamp":1700000000,"event_type":"view"}'
ODD_RECORDS = [
    # (bytes, reason of the forwarder's dead letter, whether the archiver refuses the record too)
    (GOOD, None, False),
    (b'{"user_id":"u2","item_id":', "not JSON", True),
    (b"hello there", "not JSON", True),
    (b"\xff\xfe\x00nonsense", "not UTF-8", True),
    (b"42", "not an object or list", True),
    (b'{"event_list":"no"}', "event_list is not a list", False),
    (b'["words"]', "event is not an object", True),
    (b'{"user_id":"' + b"x" * 300 + b'","item_id":"i","timestamp":5}', "user_id too long", False),
    (b'{"user_id":"u","item_id":"i","timestamp":NaN}', "not JSON", True),
    (b'{"user_id":"u","item_id":"i","timestamp":"NaN"}', "timestamp unreadable", False),
    (b'{"user_id":"u","item_id":"i","timestamp":-5}', "timestamp negative", False),
    (b'{"user_id":"u","item_id":"i"}', "timestamp missing", False),
    (b'{"user_id":"u","timestamp":5}', "item_id missing", False),
    (b"   ", None, False),
    (b'{"user_id":"u5","item_id":"i5","timestamp":1700000005,"event_type":"view","properties":{"t":"'
     + b"y" * 5_000_000 + b'"}}', "properties too long", False),
    (b"z" * 5_000_000, "not JSON", True),
    (GOOD.replace(b'"i1"', b'"i2"'), None, False),
]


def case_odd_records(folder):
    """Records that cannot be: dead letters with position, reason and bytes; their neighbours arrive."""
    service = Personalize()
    feed = write(folder, "feed.ndjson", b"\n".join(record for record, _, _ in ODD_RECORDS) + b"\n")
    path = config(folder, port=(port := free_port()), source=f"source: {{ file: {{ path: {feed} }} }}",
                  personalize='personalize: { tracking_id: "00000000-0000-0000-0000-000000000000" }',
                  more=f'aws: {{ endpoint: "{service.url}" }}\nmemory: 48MiB')
    refused = sum(1 for _, reason, _ in ODD_RECORDS if reason)
    with Child("run", "-c", path) as run:
        run.until(lambda: (status_of(port) or {}).get("personalize", {}).get("books", {})
                  .get("dead_lettered") == refused, "counted the dead letters")
        run.until(lambda: (status_of(port) or {}).get("lake", {}).get("books", {})
                  .get("dead_lettered") == sum(1 for r in ODD_RECORDS if r[2]), "and the archiver's")
        status = call("status", "-c", path, "--json")
        check(status.code == 0 and status.err == "", status)
        books = status.json()["personalize"]["books"]
        check(books["read"] == books["accepted"] + books["dead_lettered"] + books["skipped"]
              + books["waiting"], books)
        run.end().ended(0)
    check(service.rows() == {("u1", "i1", 1700000000, "view"), ("u1", "i2", 1700000000, "view")},
          service.rows())
    letters = dead_letters(f"{folder}/lake")
    offset = 0
    for record, reason, in_lake in ODD_RECORDS:
        after = offset + len(record) + 1
        for pipeline, expected in (("personalize", reason is not None), ("lake", in_lake)):
            found = [letter for key, letter in letters.items()
                     if key[0] == pipeline and base64.b64decode(letter["rawData"]) == record]
            check(len(found) == (1 if expected else 0), pipeline, record[:60], reason, found)
            if expected:
                check(found[0]["position"] == str(after) or found[0]["position"] == str(offset),
                      "the position", found[0]["position"], offset, after)
                check(reason in found[0]["errorMessage"], record[:60], reason,
                      found[0]["errorMessage"])
        offset = after
    check(len(lake_lines(f"{folder}/lake")) == sum(1 for r, reason, refused_too in ODD_RECORDS
                                                   if not refused_too and r.strip()), "lake lines")
    call("compact", "-c", path).ended(0)
    check(len(rows_of_csv(f"{folder}/out.csv")) == 3, "two good ones and the long one")
    service.shutdown()


def case_log_without_end(folder):
    """A source file that is not there yet: run says so, waits, and reads it when it comes."""
    path = config(folder, port=(port := free_port()),
                  source=f"source: {{ file: {{ path: {folder}/events.ndjson }} }}")
    with Child("run", "-c", path) as run:
        run.says(f"{folder}/events.ndjson", "source.file.path")
        run.until(lambda: get(port, "/readyz")[0] == 503, "was unready")
        live(folder, 10)
        run.until(lambda: len(lake_lines(f"{folder}/lake")) == 10, "read it")
        run.end().ended(0)


def case_cut_object(folder):
    """A lake object cut in half: compact exits 1, names it, keeps its readable lines."""
    for compression, suffix in (("none", "ndjson"), ("gzip", "ndjson.gz"), ("zstd", "ndjson.zst")):
        here = f"{folder}/{compression}"
        os.mkdir(here)
        path = write(here, "millrace.yaml",
                     f'lake: {{ url: "file://{here}/lake", compression: {compression} }}\n'
                     f'compact: {{ output: "file://{here}/out.csv" }}\n')
        call("backfill", "-c", path, history(here, 20_000)).ended(0)
        name, = glob.glob(f"{here}/lake/backfill/*/*.{suffix}")
        os.truncate(name, os.path.getsize(name) // 2)
        done = call("compact", "-c", path)
        check(done.code == 1 and "DAMAGED" in done.out and os.path.basename(name) in done.out, done)
        rows = rows_of_csv(f"{here}/out.csv")
        # zstd blocks are large: of the half, at least the first are readable.
        check(len(set(rows)) == len(rows) and 4_000 < len(rows) < 12_000, compression, len(rows))
        done = call("compact", "-c", path, "--json")
        check(done.code == 1 and os.path.basename(name) in
              json.dumps(done.json()["objects"]["damaged"]), done)


def case_wrong_tracker(folder):
    """A wrong tracking id is a wrong setting: nothing is dead-lettered, and nothing lost when it is right."""
    with Emulator(f"{folder}/emulated") as emulator:
        _, right = emulator.shop()
        wrong = "11111111-2222-3333-4444-555555555555"

        def written(tracker, port):
            return config(folder, port=port,
                          source=f"source: {{ file: {{ path: {folder}/events.ndjson }} }}",
                          personalize=f'personalize: {{ tracking_id: "{tracker}" }}',
                          more=f'aws: {{ endpoint: "{emulator.url}" }}')
        live(folder, 500)
        path = written(wrong, port := free_port())
        with Child("run", "-c", path) as run:
            run.says(wrong)
            run.until(lambda: get(port, "/readyz")[0] == 503 and wrong in get(port, "/readyz")[1],
                      "named the tracker")
            run.until(lambda: len(lake_lines(f"{folder}/lake")) == 500, "the lake did not wait")
            books = status_of(port)["personalize"]["books"]
            check(books["dead_lettered"] == 0 and books["accepted"] == 0, books)
            run.end(timeout=30).ended(0)
        check(not dead_letters(f"{folder}/lake"), "no dead letters")
        path = written(right, port := free_port())
        with Child("run", "-c", path) as run:
            run.until(lambda: (status_of(port) or {}).get("personalize", {}).get("books", {})
                      .get("accepted") == 500, "delivered all")
            check(get(port, "/readyz")[0] == 200, get(port, "/readyz"))
            run.end().ended(0)
        check(not dead_letters(f"{folder}/lake"), "no dead letters")
        check(len(lake_lines(f"{folder}/lake")) == 500, "each once in the lake")


# --- signals ---------------------------------------------------------------------------------------

MOMENTS = (0.005, 0.02, 0.05, 0.1, 0.2, 0.4)


def interrupted(words, moments=MOMENTS, codes=(0, 130), cwd=None, env=None):
    """The same call again and again, ended by Ctrl-C or kill -9 at other moments."""
    for moment in moments:
        for sign in (signal.SIGINT, signal.SIGKILL):
            with Child(*words, cwd=cwd, env=env) as child:
                time.sleep(moment)
                done = child.end(sign, timeout=30)
                # Before the program has begun, a signal ends it as it ends any.
                begun = done.out + done.err != "" or moment > 0.3
                check(done.code in codes or (done.code == -sign and
                                             (sign == signal.SIGKILL or not begun)),
                      f"after {moment} s", done)
                if done.code == 130:
                    check("interrupted" in done.err, done)


def case_interrupted_backfill(folder):
    path = config(folder)
    rows = history(folder, 60_000)
    interrupted(["backfill", "-c", path, rows])
    call("backfill", "-c", path, rows).ended(0)
    items = [json.loads(line)["timestamp"] for line in lake_lines(f"{folder}/lake")]
    check(len(items) == len(set(items)) == 60_000, "each row once", len(items))
    again = call("backfill", "-c", path, rows, "--json")
    check(again.json()["sources"][0]["objects_created"] == 0, "twice adds nothing", again)


def case_interrupted_compact(folder):
    path = config(folder)
    call("backfill", "-c", path, history(folder, 60_000)).ended(0)
    call("compact", "-c", path).ended(0)
    whole = set(rows_of_csv(f"{folder}/out.csv"))
    for moment in MOMENTS:
        interrupted(["compact", "-c", path], moments=(moment,))
        check(set(rows_of_csv(f"{folder}/out.csv")) == whole, "a reader sees a whole CSV")
    call("compact", "-c", path).ended(0)
    check(len(rows_of_csv(f"{folder}/out.csv")) == len(whole) == 60_000, "all rows")
    check([name for name in os.listdir(folder) if name.startswith("out.csv")] == ["out.csv"],
          os.listdir(folder))


def case_interrupted_run(folder):
    """run, by Ctrl-C (0: drained) and kill -9, while records arrive: once in the lake, all delivered."""
    service = Personalize()
    path = config(folder, source=f"source: {{ file: {{ path: {folder}/events.ndjson }} }}",
                  personalize='personalize: { tracking_id: "00000000-0000-0000-0000-000000000000" }',
                  more=f'aws: {{ endpoint: "{service.url}" }}')
    live(folder, 5_000)
    interrupted(["run", "-c", path], moments=(*MOMENTS, 0.8), codes=(0,))
    call("run", "-c", path, "--until-end").ended(0)
    items = [json.loads(line)["item_id"] for line in lake_lines(f"{folder}/lake")]
    check(len(items) == len(set(items)) == 5_000, "once in the lake", len(items), len(set(items)))
    check(len(service.rows()) == 5_000 == len(service.events), "all delivered", len(service.rows()))
    check(not dead_letters(f"{folder}/lake"))
    service.shutdown()


def case_interrupted_simulate(folder):
    """simulate and emulate: 130 and 0; what simulate confirmed is in the stream."""
    with Emulator(f"{folder}/emulated") as emulator:
        emulator.stream("s")
        path = config(folder, source="source: { kinesis: { stream: s } }",
                      more=f'aws: {{ endpoint: "{emulator.url}" }}')
        confirmed = 0
        for moment in (1.0, 2.0):
            with Child("simulate", "-c", path, "--json", "--rate", "500") as child:
                time.sleep(moment)
                done = child.end(signal.SIGINT, timeout=30).ended(130)
                check(done.json()["interrupted"], done)
                confirmed += done.json()["events_produced"]
        call("run", "-c", path, "--until-end").ended(0)
        check(confirmed == len(lake_lines(f"{folder}/lake")) > 0, confirmed)
        # Kinesis and its records survive the emulator's kill -9, and a second one goes on with them.
        emulator.child.end(signal.SIGKILL)
    for sign in (signal.SIGINT, signal.SIGTERM):
        with Emulator(f"{folder}/emulated") as emulator:
            summary = emulator.ask("Kinesis_20131202.DescribeStreamSummary", StreamName="s")
            check(summary["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE", summary)
            emulator.child.end(sign).ended(0)


def to_its_end(folder, *words):
    """A retrain that need not wait for the minute of a killed one's lease: as if it had passed."""
    with Child(*words) as child:
        time.sleep(0.5)
        if child.process.poll() is None and "waiting: " in child.text(child.err):
            write(f"{folder}/lake/_millrace/millrace", "lock.json",
                  '{"version":1,"owner":"killed","until_ms":1}')
        return child.end(None)


def case_interrupted_retrain(folder):
    """retrain by Ctrl-C and kill -9 at any moment: --resume ends it, nothing is started twice."""
    bucket = f"{folder}/bucket"
    os.mkdir(bucket)
    with Emulator(f"{folder}/emulated", "--bucket", f"shop={bucket}") as emulator:
        dataset, _ = emulator.shop()
        solution = emulator.solution()
        path = config(folder, more=f"""
aws: {{ endpoint: "{emulator.url}" }}
retrain:
  dataset_arn: "{dataset}"
  solution_arn: "{solution}"
  role_arn: "arn:aws:iam::123456789012:role/personalize"
""")
        call("backfill", "-c", path, history(folder, 3_000)).ended(0)
        ended = False
        moments = (0.02, 0.1, 0.2, 0.4, 0.7)
        for at, moment in enumerate(moments):
            if glob.glob(f"{folder}/lake/_millrace/millrace/lock.json"):
                write(f"{folder}/lake/_millrace/millrace", "lock.json",
                      '{"version":1,"owner":"killed","until_ms":1}')
            begun = glob.glob(f"{folder}/lake/_millrace/millrace/cycle*")
            with Child("retrain", "-c", path, *(["--resume"] if begun else [])) as child:
                time.sleep(moment)
                done = child.end(signal.SIGKILL if at % 2 else signal.SIGINT, timeout=30)
                check(done.code in (0, 130, 3, -9, -2), done)
                if done.code == 130:
                    check("--resume" in done.err, done)
                ended = done.code == 0
                if ended:
                    break
        done = to_its_end(folder, "retrain", "-c", path, *([] if ended else ["--resume"]))
        if "there is no cycle to resume" in done.err:  # none had come as far as that
            check(done.code == 3, done)
            done = to_its_end(folder, "retrain", "-c", path)
        check(done.code == 0, done)
        jobs = emulator.ask("AmazonPersonalize.ListDatasetImportJobs", datasetArn=dataset)
        names = [job["jobName"] for job in jobs["datasetImportJobs"]]
        check(1 <= len(names) == len(set(names)) <= 2, names)


def case_interrupted_demo(folder):
    """demo by Ctrl-C: 130, no child left behind; by kill -9: the next one starts afresh."""
    for moment, sign in ((0.3, signal.SIGINT), (1.5, signal.SIGINT), (4, signal.SIGTERM),
                         (2.5, signal.SIGKILL)):
        with Child("demo", "--dir", f"{folder}/demo", "--limit", "30000", cwd=folder,
                   start_new_session=True) as child:
            time.sleep(moment)
            done = child.end(sign, timeout=30)
            check(done.code in (130, 0, -9), f"after {moment} s", done)
            deadline = time.monotonic() + 10
            while leftover(folder):
                check(time.monotonic() < deadline, "a child is left behind", leftover(folder))
                time.sleep(0.1)


def leftover(folder):
    """Processes of ours whose command line names `folder`."""
    found = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            words = file.read()
            if words.startswith(PROGRAM.encode()) and folder.encode() in words:
                found.append(words.replace(b"\0", b" ").decode())
    return found


# --- what goes where -------------------------------------------------------------------------------

def case_outputs(folder):
    """--json parses and is alone on stdout; logs are on stderr; json logs parse line by line."""
    path = config(folder, source=f"source: {{ file: {{ path: {live(folder, 50)} }} }}")
    rows = history(folder, 100)
    for words in (["backfill", rows], ["run", "--until-end"], ["compact"], ["check"],
                  ["simulate", "--limit", "5"]):
        done = call(*words, "-c", path, "--json", "--log-format", "json", "--log-level", "debug")
        check(done.code == (0 if words[0] != "simulate" else 2), done)
        if words[0] not in ("run", "simulate"):
            check(isinstance(done.json(), dict), done)
        for line in done.err.splitlines():
            if not line.startswith("millrace: "):
                entry = json.loads(line)
                check({"time", "level", "message"} <= set(entry), entry)
    done = call("compact", "-c", path, "--log-level", "off")
    check(done.code == 0 and "CSV" in done.out, done)
    done = call("run", "-c", path, "--until-end", "--log-level", "off")
    check(done.code == 0 and done.err == "" and done.out == "", done)


def case_output_lost(folder):
    """A result that cannot be written is a failure; a closed stdout takes no file's place."""
    path = config(folder)
    rows = history(folder, 500)
    with open("/dev/full", "wb") as full:
        for words in (["backfill", rows, "--json"], ["compact"], ["template", "config"], ["--help"]):
            done = subprocess.run([PROGRAM, *words, *(["-c", path] if words[0] != "--help" else [])],
                                  stdout=full, stderr=subprocess.PIPE, env=environment(),
                                  timeout=WAIT, check=False)
            check(done.returncode == 1 and b"stdout" in done.stderr, words, done)
    closed = subprocess.run(["sh", "-c", '"$0" compact -c "$1" >&- 2>&- <&-', PROGRAM, path],
                            env=environment(), timeout=WAIT, check=False)
    check(closed.returncode == 0 and len(rows_of_csv(f"{folder}/out.csv")) == 500, closed)


# --- real input ------------------------------------------------------------------------------------

SETS = {
    # data set: (--map, whether simulate → run is tried in every run of this test)
    "rees46-2019-10-sample/2019-Oct.csv.gz": ("", True),
    "diginetica-purchases/train-purchases.csv.gz":
        ("user_id=userId,item_id=itemId,timestamp=eventdate", True),
    "ml-latest-small/ratings.csv.zst": ("", False),
    "ml-100k/u.data.gz": ("", False),
    "hetrec2011-movielens-tags/user_taggedmovies-timestamps.dat.gz": ("", False),
    "hetrec2011-lastfm-tags/user_taggedartists-timestamps.dat.zst": ("", False),
    "yoochoose-clicks-100k/clicks.tsv.zst":
        ("user_id=SessionId,item_id=ItemId,timestamp=Time", False),
    "hetrec2011-shaped-synthetic/user_ratedmovies-timestamps.dat.zst": ("", None),
}


def expected_sets():
    try:
        with open(f"{DATA}/datasets/datasets.json", encoding="utf-8") as file:
            return json.load(file)["interactions"]
    except FileNotFoundError:
        raise Skip("no data sets beside this checkout") from None


def mapped(mapping):
    return ["--map", mapping] if mapping else []


def case_sets_backfill(folder):
    """Real sets, backfill → compact: exactly their rows."""
    for name, facts in expected_sets().items():
        mapping, often = SETS.get(name, ("", None))
        if often is None and not ALL_SETS:
            continue
        here = os.path.join(folder, hashlib.md5(name.encode()).hexdigest())
        os.mkdir(here)
        path = config(here)
        filled = call("backfill", "-c", path, f"{DATA}/datasets/{name}", *mapped(mapping), "--json")
        check(filled.code == 0, filled)
        said = filled.json()["sources"][0]
        check(said["rows"] == facts["rows"], name, said, facts["rows"])
        call("compact", "-c", path).ended(0)
        rows = rows_of_csv(f"{here}/out.csv")
        check(len(rows) == facts["distinct"], name, len(rows), facts["distinct"])
        check(canonical_sha256(rows) == facts["canonical_sha256"], name, "other rows")


def case_sets_streamed(folder):
    """Real sets, simulate → stream or file → run --until-end → compact: the same rows."""
    for number, (name, facts) in enumerate(expected_sets().items()):
        mapping, often = SETS.get(name, ("", None))
        if often is None or (not often and not ALL_SETS):
            continue  # the invented one has the size for minutes
        service = Personalize()
        here = f"{folder}/{number}"
        os.mkdir(here)
        with Emulator(f"{here}/emulated") as emulator:
            for kind in ("kinesis", "file"):
                os.mkdir(f"{here}/{kind}")
                if kind == "kinesis":
                    emulator.stream("s", 2)
                    source = f'source: {{ kinesis: {{ stream: s, endpoint: "{emulator.url}" }} }}'
                else:
                    source = f"source: {{ file: {{ path: {here}/log.ndjson }} }}"
                path = config(
                    f"{here}/{kind}", source=source, more=f'aws: {{ endpoint: "{service.url}" }}',
                    personalize='personalize: { tracking_id: "00000000-0000-0000-0000-000000000000" }')
                if kind == "kinesis":
                    sent = call("simulate", "-c", path, f"{DATA}/datasets/{name}", *mapped(mapping),
                                "--json", timeout=300)
                    check(sent.code == 0, sent)
                else:  # the same records, taken from the lake that the stream made
                    with open(f"{here}/log.ndjson", "wb") as file:
                        for line in lake_lines(f"{here}/kinesis/lake"):
                            file.write(line.rsplit(b',"_source":', 1)[0] + b"}\n")
                call("run", "-c", path, "--until-end", timeout=300).ended(0)
                call("compact", "-c", path).ended(0)
                rows = rows_of_csv(f"{here}/{kind}/out.csv")
                check(len(rows) == facts["distinct"], name, kind, len(rows), facts["distinct"])
                check(canonical_sha256(rows) == facts["canonical_sha256"], name, kind, "other rows")
                delivered = {(user, item, str(second), kind_of)
                             for user, item, second, kind_of in service.rows() if user is not None}
                check(delivered == set(rows), name, kind, "PutEvents saw other rows",
                      len(delivered), len(rows))
                service.events.clear()
        service.shutdown()


MESSY_EVENTS = """events:
  fields:
    user_id: [/user_id, /userId]
    item_id: [/item_id, /itemId, /properties/item_id, /properties/itemId]
    timestamp: [/timestamp, /sent_at, /sentAt, /event_time]
    event_type: [/event_type, /eventType]
    event_id: [/event_id, /eventId]
    session_id: [/session_id, /sessionId]"""


def case_messy_feed(folder):
    """The adversarial feed through run, from a file and from Kinesis: each verdict as expected."""
    feed = f"{DATA}/messy/feed.ndjson"
    if not os.path.exists(feed):
        raise Skip("no messy feed beside this checkout")
    with open(feed, "rb") as file:
        lines = file.read().split(b"\n")
    with open(f"{DATA}/messy/expected.jsonl", encoding="utf-8") as file:
        expected = [json.loads(line) for line in file]
    with open(f"{DATA}/messy/summary.json", encoding="utf-8") as file:
        summary = json.load(file)
    refused = {}  # the record's bytes: reasons, as often as it stands in the feed
    for line, judged in zip(lines, expected):
        for one in judged["refused"]:
            refused.setdefault(line, []).append((one["event"], one["reason"]))
    for kind in ("file", "kinesis"):
        here = f"{folder}/{kind}"
        os.mkdir(here)
        service = Personalize()
        with contextlib.ExitStack() as stack:
            if kind == "kinesis":
                emulator = stack.enter_context(Emulator(f"{here}/emulated"))
                emulator.stream("s", 2)
                for at in range(0, len(lines), 400):
                    reply = emulator.ask("Kinesis_20131202.PutRecords", StreamName="s", Records=[
                        {"Data": base64.b64encode(line).decode(), "PartitionKey": str(at + n)}
                        for n, line in enumerate(lines[at:at + 400]) if line])
                    check(reply["FailedRecordCount"] == 0, reply)
                source = f'source: {{ kinesis: {{ stream: s, endpoint: "{emulator.url}" }} }}'
            else:
                source = f"source: {{ file: {{ path: {feed} }} }}"
            path = config(here, source=source, events=MESSY_EVENTS,
                          more=f'aws: {{ endpoint: "{service.url}" }}',
                          personalize='personalize: { tracking_id: '
                                      '"00000000-0000-0000-0000-000000000000" }')
            call("run", "-c", path, "--until-end", timeout=120).ended(0)
        done = call("compact", "-c", path, "--json")
        check(done.code == 0, done)
        events = done.json()["events"]
        check(events["csv_rows"] == summary["distinct_interactions"], kind, events)
        check(events["anonymous"] == summary["anonymous"], kind, events)
        letters = dead_letters(f"{here}/lake")
        mine = [letter for key, letter in letters.items() if key[0] == "personalize"]
        decoding = [letter for letter in mine if letter["errorCode"] == "decode-failed"]
        check(len(decoding) == summary["refused_events_or_lines"], kind, "forwarder's dead letters",
              len(decoding), summary["refused_events_or_lines"])
        found = {}
        for letter in decoding:
            found.setdefault(base64.b64decode(letter["rawData"]), []).append(
                (letter.get("index"), letter["errorMessage"]))
        check(set(found) == set(refused), kind, "other records are refused",
              list(set(found) ^ set(refused))[:3])
        for record, reasons in refused.items():
            check(len(found[record]) == len(reasons), kind, record[:200], found[record], reasons)
            for (_, said), (_, wanted) in zip(
                    sorted(found[record], key=lambda one: (one[0] is None, one[0])),
                    sorted(reasons, key=lambda one: (one[0] is None, one[0]))):
                check(wanted in said, kind, record[:200], said, wanted)
        archived = [letter for key, letter in letters.items() if key[0] == "lake"]
        check(len(archived) + events["refused"] == summary["refused_events_or_lines"], kind,
              "archiver's dead letters and compaction's rejects", len(archived), events["refused"])
        # What the model saw: every interaction that is within PutEvents' own limits.
        refused_late = len(mine) - len(decoding)
        check(len(service.events) + refused_late >= summary["distinct_interactions"], kind,
              len(service.events), refused_late)
        service.shutdown()


LONG = {"interrupted_retrain", "endpoint_unreachable", "sets_streamed", "broker_unreachable",
        "interrupted_run"}  # begun first: most of their time is waiting


# --- all of it -------------------------------------------------------------------------------------

def try_case(name, function, folder):
    here = os.path.join(folder, name)
    os.mkdir(here)
    began = time.monotonic()
    try:
        function(here)
        verdict, detail = "ok", ""
    except Skip as reason:
        verdict, detail = "skipped", f": {reason}"
    except AssertionError as failure:
        verdict, detail = "FAILED", f"\n    {failure}"
    except Exception:  # a bug of the test itself is a failure too
        verdict, detail = "FAILED", "\n" + traceback.format_exc()
    print(f"{verdict:8} {name} ({time.monotonic() - began:.1f} s){detail}", flush=True)
    return verdict


def main():
    wanted = sys.argv[2:]
    cases = [(name[5:], function) for name, function in globals().items()
             if name.startswith("case_") and (not wanted or any(name[5:].startswith(word)
                                                                 for word in wanted))]
    cases.sort(key=lambda case: case[0] not in LONG)
    folder = tempfile.mkdtemp(prefix="millrace-bad-input-")
    os.chmod(folder, 0o755)
    try:
        with concurrent.futures.ThreadPoolExecutor(IN_PARALLEL) as pool:
            verdicts = list(pool.map(lambda case: try_case(*case, folder), cases))
        for what, text in outputs:
            if MARKER in text:
                print(f"FAILED   no secrets: {what} shows the secret access key")
                verdicts.append("FAILED")
                break
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{verdicts.count('ok')} ok, {verdicts.count('skipped')} skipped, "
          f"{verdicts.count('FAILED')} failed")
    return 1 if "FAILED" in verdicts or not verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
