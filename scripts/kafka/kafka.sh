#!/usr/bin/env bash
# A real single-node Apache Kafka (KRaft: broker and controller in one JVM) on
# loopback, for tests and CI. See --help, and README.md beside this file.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SELF=$HERE/$(basename "${BASH_SOURCE[0]}")
POM=$HERE/pom.xml

HOST=127.0.0.1
START_TIMEOUT=120 # seconds until the broker must answer a metadata request
STOP_TIMEOUT=20   # seconds after SIGTERM until SIGKILL

usage() {
  cat <<'USAGE'
Usage: kafka.sh COMMAND [ARGS]

A real single-node Apache Kafka (KRaft) on 127.0.0.1, its jars from Maven Central.

Server:
  install             fetch the jars into KAFKA_DIR (once; a no-op afterwards);
                      as root with apt-get, Java and Maven too if they are missing
  start               start the broker and wait until it answers a metadata request;
                      prints host:port and nothing else on stdout. Keeps old data.
                      If it already runs: prints host:port, exit 0.
  stop                SIGTERM, wait until it is gone (SIGKILL after 20 s)
  kill                SIGKILL, wait until it is gone (a crash; the data stay)
  restart-after-kill  kill, then start on the same data
  wipe                remove all data and logs (the broker must be stopped)
  status              exit 0: answers, 1: process there but no answer, 3: stopped
  address             print host:port, whether it runs or not
  run -- COMMAND...   fresh broker (data wiped), run COMMAND with KAFKA_BOOTSTRAP
                      set to host:port, always stop the broker, exit with
                      COMMAND's code. Exit 1 if the broker does not start.

Tools (ARGS go to Kafka's own tool; --bootstrap-server is added):
  topics ARGS         create, list, describe, alter, delete topics
  produce ARGS        lines of stdin to a topic
  consume ARGS        records of a topic to stdout
  produce-perf ARGS   producer benchmark
  consume-perf ARGS   consumer benchmark
  groups ARGS         consumer groups: list, describe, reset offsets, delete
  configs ARGS        dynamic settings of topics and of the broker
  offsets ARGS        first/last offsets of partitions
  transactions ARGS   list, describe, abort transactions

Environment:
  KAFKA_DIR   jars, data and logs (default: ${XDG_CACHE_HOME:-$HOME/.cache}/wal-kafka)
  KAFKA_PORT  the broker's port (default 19092); the port after it is the
              controller's. Every port has a broker and data of its own.
  KAFKA_XMX   the broker's maximum Java heap (default 512m)

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 stopped (status); run: COMMAND's.

Examples:
  kafka.sh install
  kafka.sh start
  kafka.sh topics --create --topic t --partitions 32
  seq 10 | kafka.sh produce --topic t
  kafka.sh consume --topic t --from-beginning --max-messages 10
  kafka.sh restart-after-kill
  kafka.sh stop
  kafka.sh run -- cargo test --test kafka
  KAFKA_PORT=29092 kafka.sh run -- sh -c 'echo "broker at $KAFKA_BOOTSTRAP"'
USAGE
}

log() { printf 'kafka.sh: %s\n' "$*" >&2; }
die() {
  log "error: $*"
  exit 1
}
bad_usage() {
  log "error: $*"
  {
    echo
    usage
  } >&2
  exit 2
}
have() { command -v "$1" >/dev/null 2>&1; }

# ---------------------------------------------------------------- settings --

setup() {
  if [ -z "${KAFKA_DIR:-}" ]; then
    if [ -n "${XDG_CACHE_HOME:-}" ]; then
      KAFKA_DIR=$XDG_CACHE_HOME/wal-kafka
    elif [ -n "${HOME:-}" ]; then
      KAFKA_DIR=$HOME/.cache/wal-kafka
    else
      bad_usage "none of KAFKA_DIR, XDG_CACHE_HOME and HOME is set"
    fi
  fi
  case $KAFKA_DIR in
  /*) ;;
  *) KAFKA_DIR=$PWD/$KAFKA_DIR ;;
  esac
  # these would be taken apart in a Java class path or in a properties file
  case $KAFKA_DIR in
  *[:,\\*$'\n']*) bad_usage "KAFKA_DIR must not contain any of : , \\ * or a newline: $KAFKA_DIR" ;;
  esac
  KAFKA_PORT=${KAFKA_PORT:-19092}
  if ! [[ $KAFKA_PORT =~ ^[1-9][0-9]{0,4}$ ]] || [ "$KAFKA_PORT" -gt 65534 ]; then
    bad_usage "KAFKA_PORT must be a number from 1 to 65534, not '$KAFKA_PORT'"
  fi
  KAFKA_XMX=${KAFKA_XMX:-512m}
  [[ $KAFKA_XMX =~ ^[1-9][0-9]*[kKmMgG]?$ ]] ||
    bad_usage "KAFKA_XMX must be a Java heap size such as 512m, not '$KAFKA_XMX'"

  CONTROLLER_PORT=$((KAFKA_PORT + 1))
  ADDRESS=$HOST:$KAFKA_PORT
  # another pom.xml, another folder: jars are never changed under a running broker
  LIBS=$KAFKA_DIR/libs-$(cksum <"$POM" | cut -d ' ' -f 1)
  INSTANCE=$KAFKA_DIR/broker-$KAFKA_PORT
  DATA=$INSTANCE/data
  LOGS=$INSTANCE/logs
  PROPS=$INSTANCE/server.properties
  PIDFILE=$INSTANCE/pid
  OWNERFILE=$INSTANCE/run.owner
}

# lock FILE ... unlock: one kafka.sh at a time; the end of the process unlocks too.
# (No subshell around the locked part: a signal must reach the shell with the traps.)
lock() {
  mkdir -p "$(dirname "$1")"
  have flock || return 0
  exec 9>"$1"
  flock -w $((START_TIMEOUT * 3)) 9 || die "timed out waiting for the lock $1 (another kafka.sh at work?)"
}
unlock() { exec 9>&-; }

# ----------------------------------------------------------------- install --

PACKAGES="default-jdk-headless maven"

need() { # need PROGRAM: or say what to install
  have "$1" || die "'$1' not found. On Debian: apt-get install $PACKAGES (as root, 'kafka.sh install' does that itself)"
}

need_java() {
  need java
  local text major
  text=$(java -version 2>&1) || die "'java -version' fails: $text"
  major=$(sed -n 's/^.* version "\([0-9][0-9]*\).*$/\1/p' <<<"$text" | head -n 1)
  [ -n "$major" ] || return 0 # an unknown wording: let the broker tell
  [ "$major" -ge 17 ] || die "Kafka needs Java 17 or newer, 'java' is version $major. On Debian 12 or newer: apt-get install $PACKAGES"
}

install_packages() {
  if have java && { installed || have mvn; }; then return 0; fi
  if [ "$(id -u)" = 0 ] && have apt-get; then
    log "installing $PACKAGES with apt-get"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >&2 || die "apt-get update failed"
    # shellcheck disable=SC2086 # two package names
    apt-get install -y -qq --no-install-recommends $PACKAGES >&2 || die "apt-get install $PACKAGES failed"
    hash -r
  fi
}

installed() { [ -f "$LIBS/.complete" ]; }

version() {
  local jar
  for jar in "$LIBS"/kafka_2.13-*.jar; do
    jar=${jar##*/kafka_2.13-}
    echo "${jar%.jar}"
    return
  done
}

bindings() { # the slf4j bindings among the jars of folder $1
  local jar
  for jar in "$1"/{log4j-slf4j-impl,log4j-slf4j2-impl,slf4j-reload4j,slf4j-log4j12,slf4j-simple,slf4j-nop,slf4j-jdk14,logback-classic}-*.jar; do
    [ ! -e "$jar" ] || echo "${jar##*/}"
  done
}

fetch_jars() {
  installed && return 0 # another kafka.sh was quicker
  need_java
  need mvn
  local tmp=$LIBS.tmp
  rm -rf "$tmp" "$LIBS"
  log "fetching the jars into $LIBS"
  mvn -q -B --strict-checksums -f "$POM" dependency:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$tmp" >&2 ||
    die "Maven could not fetch the jars (its messages are above)"
  [ "$(bindings "$tmp" | wc -l)" -eq 1 ] ||
    die "there must be exactly one slf4j binding, but pom.xml brings: $(bindings "$tmp" | tr '\n' ' ')"
  touch "$tmp/.complete"
  mv "$tmp" "$LIBS"
  log "installed Kafka $(version)"
}

ensure_jars() {
  if installed; then return 0; fi
  lock "$KAFKA_DIR/install.lock"
  fetch_jars
  unlock
}

cmd_install() {
  install_packages
  if installed; then
    need_java
    log "Kafka $(version) is already installed in $LIBS"
  else
    ensure_jars
  fi
}

# ------------------------------------------------------------ the process ---

# args_of PID: its command line; nothing if it is gone or a zombie
args_of() {
  if [ -d /proc/self ]; then
    tr '\0' ' ' 2>/dev/null <"/proc/$1/cmdline" || true
  else
    ps -ww -p "$1" -o args= 2>/dev/null || true
  fi
}

# broker_pid: print the pid of the broker of this instance, or fail.
# A pid file alone proves nothing after a crash: the number may be somebody else's now.
broker_pid() {
  local pid
  [ -f "$PIDFILE" ] || return 1
  pid=$(<"$PIDFILE")
  [[ $pid =~ ^[0-9]+$ ]] || return 1
  [[ $(args_of "$pid") == *"kafka.Kafka $PROPS"* ]] || return 1
  echo "$pid"
}

port_open() { (exec 3<>"/dev/tcp/$HOST/$1") 2>/dev/null; }

# answers: does the broker answer a metadata request, and name itself as the
# one live (registered, unfenced) broker? An open port proves none of that.
# A Metadata request, version 1, by hand, for a JVM more would take a second:
#   size 19 | key 3, version 1, correlation 1, client id "probe" | no topics
#   => size | correlation | brokers: count, id, host, port, ...
answers() {
  local reply want
  port_open "$KAFKA_PORT" || return 1
  reply=$(
    # shellcheck disable=SC2016 # for the inner shell
    timeout 5 bash -c '
      exec 3<>"/dev/tcp/$1/$2" || exit 1
      printf "\0\0\0\023\0\003\0\001\0\0\0\001\0\005probe\0\0\0\0" >&3
      head -c $((22 + ${#1})) <&3 | od -An -v -tx1 | tr -d " \n"
    ' probe "$HOST" "$KAFKA_PORT" 2>/dev/null
  ) || return 1
  want=00000001                                       # correlation
  want+=00000001                                      # one broker
  want+=00000001                                      # id 1
  want+=$(printf '%04x' ${#HOST})                     # its host ...
  want+=$(printf '%s' "$HOST" | od -An -v -tx1 | tr -d ' \n')
  want+=$(printf '%08x' "$KAFKA_PORT")                # ... and port
  [ "${reply:8}" = "$want" ]
}

wait_gone() { # wait_gone SECONDS: until the broker's process is gone
  local end=$((SECONDS + $1))
  while broker_pid >/dev/null; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.1
  done
}

stop_broker() {
  local pid
  if ! pid=$(broker_pid); then
    log "not running"
    rm -f "$PIDFILE"
    return 0
  fi
  kill -TERM "$pid" 2>/dev/null || true
  if ! wait_gone "$STOP_TIMEOUT"; then
    log "pid $pid still there after $STOP_TIMEOUT s: SIGKILL"
    kill -KILL "$pid" 2>/dev/null || true
    wait_gone 10 || die "pid $pid does not go away even after SIGKILL"
  fi
  rm -f "$PIDFILE"
  log "stopped (pid $pid)"
}

kill_broker() {
  local pid
  if ! pid=$(broker_pid); then
    log "not running"
    return 0
  fi
  kill -KILL "$pid" 2>/dev/null || true
  wait_gone 10 || die "pid $pid does not go away even after SIGKILL"
  rm -f "$PIDFILE"
  log "killed (pid $pid)"
}

show_log() { # the tails of what the broker said, to stderr
  local file
  for file in "$LOGS/server.log" "$LOGS/out.log"; do
    [ -s "$file" ] || continue
    log "last lines of $file:"
    tail -n 25 "$file" >&2
  done
}

# ------------------------------------------------------------------- start --

write_settings() {
  mkdir -p "$DATA" "$LOGS"
  # the folder comes in through system properties: no escaping of paths in here
  cat >"$INSTANCE/log4j2.properties" <<'CONF'
status = error
rootLogger.level = info
rootLogger.appenderRef.f.ref = F
# all settings, four times, at every start
logger.c.name = org.apache.kafka.common.config.AbstractConfig
logger.c.level = warn
appender.f.type = RollingFile
appender.f.name = F
appender.f.fileName = ${sys:kafka.logs.dir}/server.log
appender.f.filePattern = ${sys:kafka.logs.dir}/server.log.%i
appender.f.layout.type = PatternLayout
appender.f.layout.pattern = %d %p %m (%c)%n
appender.f.policies.type = Policies
appender.f.policies.size.type = SizeBasedTriggeringPolicy
appender.f.policies.size.size = 20MB
appender.f.strategy.type = DefaultRolloverStrategy
appender.f.strategy.max = 3
CONF
  cat >"$PROPS" <<CONF
# written by kafka.sh at every start: changes here are lost
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@$HOST:$CONTROLLER_PORT
listeners=PLAINTEXT://$HOST:$KAFKA_PORT,CONTROLLER://$HOST:$CONTROLLER_PORT
advertised.listeners=PLAINTEXT://$HOST:$KAFKA_PORT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs=$DATA
auto.create.topics.enable=false

# small: two cores, one broker, a 512 MiB heap
num.network.threads=2
num.io.threads=2
log.cleaner.dedupe.buffer.size=8388608
default.replication.factor=1
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1

# After a SIGKILL the controller takes the dead broker for alive, and refuses the
# new one, until this session is over: with the default 9 s a restart takes 13 s.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500

# quick groups, classic and KIP-848
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=6000
group.consumer.min.heartbeat.interval.ms=500
group.consumer.heartbeat.interval.ms=1000
group.consumer.assignment.interval.ms=0

# retention, compaction and transaction timeouts at work within seconds
# (log.initial.task.delay.ms: else nothing is deleted in the first 30 s)
log.initial.task.delay.ms=500
log.retention.check.interval.ms=1000
log.segment.delete.delay.ms=1000
log.cleaner.backoff.ms=500
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
CONF
}

java_opts() { # one a line
  printf '%s\n' -Djava.awt.headless=true -Djava.net.preferIPv4Stack=true \
    "-Dkafka.logs.dir=$LOGS" "-Dlog4j2.configurationFile=$INSTANCE/log4j2.properties"
}

format_data() {
  [ ! -f "$DATA/meta.properties" ] || return 0 # formatted before: keep the data
  local id opts
  # 16 random bytes as URL-safe base64; a leading '-' would look like an option
  id=k$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c 2-22)
  mapfile -t opts < <(java_opts)
  java -Xmx128m -XX:TieredStopAtLevel=1 "${opts[@]}" -cp "$LIBS/*" kafka.tools.StorageTool \
    format --ignore-formatted -t "$id" -c "$PROPS" >"$LOGS/format.log" 2>&1 || {
    cat "$LOGS/format.log" >&2
    die "could not format $DATA"
  }
}

launch_broker() {
  local port opts own_session=()
  need_java
  for port in "$KAFKA_PORT" "$CONTROLLER_PORT"; do
    ! port_open "$port" ||
      die "port $port on $HOST is in use by another program (or by a broker of another KAFKA_DIR): choose another KAFKA_PORT (it and the one after it must be free)"
  done
  write_settings
  format_data

  # in case we are interrupted or give up; cleared once the broker answers
  trap 'if pid=$(broker_pid); then kill -KILL "$pid" 2>/dev/null || true; fi; rm -f "$PIDFILE"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP

  # Its own session and none of our files (terminal, pipes, lock): it survives this
  # shell, and nobody who waits for the end of a pipe waits for it. exec keeps the pid.
  mapfile -t opts < <(java_opts)
  if have setsid; then own_session=(setsid); fi
  rm -f "$PIDFILE"
  # shellcheck disable=SC2016 # for the inner shell
  nohup "${own_session[@]}" bash -c '
    for fd in /dev/fd/*; do
      fd=${fd##*/}
      if [ "$fd" -gt 2 ]; then eval "exec $fd>&-"; fi
    done
    echo $$ >"$1.new" && mv "$1.new" "$1" && shift && exec "$@"' launch "$PIDFILE" \
    java "-Xmx$KAFKA_XMX" "${opts[@]}" -cp "$LIBS/*" kafka.Kafka "$PROPS" \
    </dev/null >"$LOGS/out.log" 2>&1 &
  until [ -f "$PIDFILE" ]; do sleep 0.02; done
}

# The owner of an instance is a living 'kafka.sh run'. Print its pid, or fail.
owner_pid() {
  local pid
  [ -f "$OWNERFILE" ] || return 1
  pid=$(<"$OWNERFILE")
  [[ $(args_of "$pid") == *"kafka.sh run "* ]] || return 1
  echo "$pid"
}

start_broker() { # under the instance's lock
  local pid end=$((SECONDS + START_TIMEOUT)) news
  # left by a 'run' that was killed: from now on the broker is the caller's
  owner_pid >/dev/null || rm -f "$OWNERFILE"
  if pid=$(broker_pid); then
    news="already running"
  else
    launch_broker
    news="started"
  fi
  until answers; do
    broker_pid >/dev/null || {
      show_log
      die "the broker ended before it answered"
    }
    [ "$SECONDS" -lt "$end" ] || {
      show_log
      die "the broker did not answer a metadata request on $ADDRESS within $START_TIMEOUT s"
    }
    sleep 0.1
  done
  pid=$(broker_pid) || {
    show_log
    die "the broker ended right after its start"
  }
  trap - EXIT INT TERM HUP
  log "$news: Kafka $(version) answers on $ADDRESS (pid $pid, data and logs in $INSTANCE)"
}

cmd_start() {
  ensure_jars
  lock "$INSTANCE/lock"
  start_broker
  unlock
  echo "$ADDRESS"
}

wipe_data() {
  local pid
  ! pid=$(broker_pid) || die "the broker runs (pid $pid): stop it first"
  rm -rf "$DATA" "$LOGS"
}

cmd_status() {
  local pid rss
  if ! pid=$(broker_pid); then
    echo "stopped"
    return 3
  fi
  rss=$(awk '/^VmHWM:/ {hwm = $2} /^VmRSS:/ {rss = $2}
    END {if (rss) printf " rss=%dMiB peak-rss=%dMiB", rss / 1024, hwm / 1024}' "/proc/$pid/status" 2>/dev/null) || rss=
  if answers; then
    echo "running address=$ADDRESS pid=$pid version=$(version)$rss"
  else
    echo "not-answering address=$ADDRESS pid=$pid version=$(version)$rss"
    return 1
  fi
}

# --------------------------------------------------------------------- run --

# Under the instance's lock: make sure that no broker runs, then own the instance.
# A broker left by a 'run' that was itself killed with SIGKILL is cleared away;
# one that somebody started with 'start' is not ours to stop.
take_instance() {
  local pid
  ! pid=$(owner_pid) || die "another 'kafka.sh run' (pid $pid) is using $ADDRESS: choose another KAFKA_PORT"
  if pid=$(broker_pid); then
    [ -f "$OWNERFILE" ] ||
      die "a broker that 'kafka.sh start' started runs on $ADDRESS (pid $pid): stop it first, or choose another KAFKA_PORT"
    log "killing the broker (pid $pid) that an interrupted 'kafka.sh run' left behind"
    kill_broker
  fi
  wipe_data
  echo "$1" >"$OWNERFILE"
}

START_PID=   # the 'start' under way
STARTED=     # it went well
COMMAND_PID= # COMMAND, when it has a process group of its own
end_run() {
  local rc=$? i
  trap - EXIT
  trap '' INT TERM HUP
  set +e
  if [ -n "$START_PID" ]; then
    kill -TERM "$START_PID" 2>/dev/null
    wait "$START_PID"
  fi
  if [ -n "$COMMAND_PID" ] && kill -0 -- "-$COMMAND_PID" 2>/dev/null; then
    kill -TERM -- "-$COMMAND_PID" 2>/dev/null
    for ((i = 0; i < 50; i++)); do
      kill -0 -- "-$COMMAND_PID" 2>/dev/null || break
      sleep 0.1
    done
    kill -KILL -- "-$COMMAND_PID" 2>/dev/null
  fi
  if broker_pid >/dev/null; then
    (stop_broker)
  elif [ -n "$STARTED" ]; then
    log "the broker was not running any more at the end (its log: $LOGS)"
  fi
  rm -f "$OWNERFILE"
  exit "$rc"
}

cmd_run() {
  local rc=0
  ensure_jars
  lock "$INSTANCE/lock"
  take_instance $$
  unlock
  trap end_run EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  "$SELF" start >/dev/null & # in the background: 'wait' lets a signal through
  START_PID=$!
  wait "$START_PID" || rc=$?
  START_PID=
  [ "$rc" -eq 0 ] || die "the broker did not start, so COMMAND was not run"
  STARTED=1
  export KAFKA_BOOTSTRAP=$ADDRESS
  if [ -t 0 ]; then
    "$@" || rc=$? # in the foreground: Ctrl-C reaches it, and it may read the terminal
  else
    # A process group of its own, and 'wait', which a signal interrupts: a
    # SIGTERM to this script ends COMMAND with all its children at once.
    set -m
    "$@" <&0 &
    COMMAND_PID=$!
    set +m
    wait "$COMMAND_PID" || rc=$?
  fi
  exit "$rc"
}

# ------------------------------------------------------------------- tools --

tool() { # tool CLASS ARGS...
  local class=$1
  shift
  need_java
  ensure_jars
  mkdir -p "$INSTANCE"
  # warnings to stderr, results to stdout
  printf '%s\n' 'status = error' 'rootLogger.level = warn' 'rootLogger.appenderRef.e.ref = E' \
    'appender.e.type = Console' 'appender.e.name = E' 'appender.e.target = SYSTEM_ERR' \
    'appender.e.layout.type = PatternLayout' 'appender.e.layout.pattern = %p %m (%c)%n' >"$INSTANCE/tools-log4j2.properties.$$"
  mv "$INSTANCE/tools-log4j2.properties.$$" "$INSTANCE/tools-log4j2.properties"
  exec java -Xmx256m -XX:TieredStopAtLevel="${TIER:-1}" -Djava.awt.headless=true -Djava.net.preferIPv4Stack=true \
    "-Dlog4j2.configurationFile=$INSTANCE/tools-log4j2.properties" -cp "$LIBS/*" "$class" --bootstrap-server "$ADDRESS" "$@"
}

# -------------------------------------------------------------------- main --

no_args() { # no_args COMMAND ARGS...: COMMAND takes none
  [ $# -eq 1 ] || bad_usage "'$1' takes no arguments, but got: ${*:2}"
}

main() {
  case ${1:-} in
  -h | --help | help)
    usage
    exit 0
    ;;
  '') bad_usage "which command?" ;;
  esac
  local command=$1
  shift
  case $command in
  install | start | stop | kill | restart-after-kill | wipe | status | address) no_args "$command" "$@" ;;
  run)
    [ "${1:-}" != -- ] || shift
    [ $# -gt 0 ] || bad_usage "'run' needs a command: kafka.sh run -- COMMAND..."
    ;;
  topics | produce | consume | produce-perf | consume-perf | groups | configs | offsets | transactions) ;;
  *) bad_usage "unknown command '$command'" ;;
  esac
  setup
  export KAFKA_DIR KAFKA_PORT KAFKA_XMX # for a kafka.sh that 'run -- COMMAND' calls
  case $command in
  install) cmd_install ;;
  start) cmd_start ;;
  stop) stop_broker ;;
  kill) kill_broker ;;
  restart-after-kill)
    kill_broker
    cmd_start
    ;;
  wipe)
    lock "$INSTANCE/lock"
    wipe_data
    log "wiped $INSTANCE"
    ;;
  status) cmd_status ;;
  address) echo "$ADDRESS" ;;
  run) cmd_run "$@" ;;
  topics) tool org.apache.kafka.tools.TopicCommand "$@" ;;
  produce) tool org.apache.kafka.tools.ConsoleProducer "$@" ;;
  consume) tool org.apache.kafka.tools.consumer.ConsoleConsumer "$@" ;;
  produce-perf) TIER=4 tool org.apache.kafka.tools.ProducerPerformance "$@" ;;
  consume-perf) TIER=4 tool org.apache.kafka.tools.ConsumerPerformance "$@" ;;
  groups) tool org.apache.kafka.tools.consumer.group.ConsumerGroupCommand "$@" ;;
  configs) tool kafka.admin.ConfigCommand "$@" ;;
  offsets) tool org.apache.kafka.tools.GetOffsetShell "$@" ;;
  transactions) tool org.apache.kafka.tools.TransactionsCommand "$@" ;;
  esac
}

main "$@"
