#!/usr/bin/env bash
# Fetches the programs of others that the end-to-end tests talk to, checks their hashes, and prints the folder they are in.
#   tests/end_to_end/peers.sh kafka     Apache Kafka 3.9.1 (needs java 17 and mvn)
#   tests/end_to_end/peers.sh python    boto3 and the AWS CLI in a virtual environment (needs python3-venv)
#   tests/end_to_end/peers.sh all       both
# They live in $MILLRACE_PEERS, or else in build/peers. What is already there and whole is left alone.
set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "$0")" && pwd)
peers=${MILLRACE_PEERS:-$here/../../build/peers}
mkdir -p "$peers"
peers=$(cd "$peers" && pwd)

need() {
  command -v "$1" >/dev/null || { echo "peers.sh: $1 is missing: apt-get install $2" >&2; exit 1; }
}

# The first start of a broker writes what later ones reuse: a formatted data folder (a second saved per start) and an
# archive of loaded classes (two more).
prepare_kafka() {
  local dir=$1 work=$1/prepare
  local java=(java -Xmx192m -XX:+UseSerialGC -XX:TieredStopAtLevel=1)
  rm -rf "$work"
  mkdir -p "$work"
  cat >"$work/server.properties" <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:19093
listeners=PLAINTEXT://127.0.0.1:19092,CONTROLLER://127.0.0.1:19093
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$work/data
EOF
  "${java[@]}" -cp "$dir/libs/*" kafka.tools.StorageTool format -t 4L6g3nShT-eMCtK--X86sw -c "$work/server.properties" >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; exit 1; }
  rm -rf "$dir/template"
  cp -r "$work/data" "$dir/template"
  # Ports 0 would not do here: the controller must find itself. A taken port only costs the archive.
  "${java[@]}" -XX:ArchiveClassesAtExit="$work/classes.jsa" -cp "$dir/libs/*" kafka.Kafka "$work/server.properties" >>"$work/log" 2>&1 &
  local pid=$!
  for _ in $(seq 150); do
    grep -q 'Kafka Server started' "$work/log" && break
    kill -0 "$pid" 2>/dev/null || break
    if (exec 3<>/dev/tcp/127.0.0.1/19092) 2>/dev/null; then sleep 1; break; fi
    sleep 0.1
  done
  kill "$pid" 2>/dev/null || true
  wait "$pid" || true
  if [ -s "$work/classes.jsa" ]; then mv "$work/classes.jsa" "$dir/classes.jsa"; fi
  rm -rf "$work"
}

kafka() {
  local dir=$peers/kafka-3.9.1
  mkdir -p "$dir"
  exec 9>"$dir/lock"
  flock 9
  if ! [ -f "$dir/whole" ] || ! cmp -s "$dir/whole" "$here/kafka/jars.sha256"; then
    need java default-jre-headless
    need mvn maven
    if ! (cd "$dir/libs" 2>/dev/null && sha256sum --quiet -c "$here/kafka/jars.sha256" >/dev/null 2>&1); then
      rm -rf "$dir/libs"
      mvn -q -B -f "$here/kafka/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$dir/libs" >&2
      (cd "$dir/libs" && sha256sum --quiet -c "$here/kafka/jars.sha256") >&2
    fi
    # Nothing but what the list names may be on the class path.
    diff <(cd "$dir/libs" && ls) <(awk '{print $2}' "$here/kafka/jars.sha256" | sort) >&2
    prepare_kafka "$dir"
    cp "$here/kafka/jars.sha256" "$dir/whole"
  fi
  echo "$dir"
}

python() {
  local dir=$peers/python
  mkdir -p "$dir"
  exec 9>"$dir/lock"
  flock 9
  if ! cmp -s "$dir/whole" "$here/requirements.txt"; then
    need python3 python3-venv
    rm -rf "$dir/venv"
    python3 -m venv "$dir/venv" >&2 || { echo "peers.sh: no virtual environment: apt-get install python3-venv" >&2; exit 1; }
    "$dir/venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r "$here/requirements.txt" >&2
    cp "$here/requirements.txt" "$dir/whole"
  fi
  echo "$dir/venv"
}

case ${1:-} in
  kafka) kafka ;;
  python) python ;;
  all) (kafka) && (python) ;;
  *) sed -n '2,6s/^# //p' "$0" >&2; exit 2 ;;
esac
