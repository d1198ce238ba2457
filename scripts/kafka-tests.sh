#!/usr/bin/env bash
# The Kafka tests and the main job against a real Apache Kafka broker, which this script
# fetches, starts on loopback and stops again. Fails, never skips, if it does not start.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
  cat <<'USAGE'
Usage: kafka-tests.sh [--short]

  --short   60,000 records and one kill an arm instead of the defaults of `compare`

Needs cargo, Java 17 and Maven. Set KAFKA_BOOTSTRAP=host:port to use a broker that runs already.
USAGE
}

compare=()
case "${1:-}" in
  "") ;;
  --short) compare=(--records 60000 --kills 1) ;;
  -h | --help) usage; exit 0 ;;
  *) usage >&2; exit 2 ;;
esac

if [ -z "${KAFKA_BOOTSTRAP:-}" ]; then
  exec "$HERE/kafka/kafka.sh" run -- "${BASH_SOURCE[0]}" "$@"
fi
cd "$HERE/.."
cargo test --locked -p wal-streaming --features kafka --test kafka_real -- --ignored --test-threads 1
cargo run --release --locked -p wal-benches -- compare --kafka "$KAFKA_BOOTSTRAP" "${compare[@]}"
