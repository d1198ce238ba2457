#!/usr/bin/env bash
# A log on real object stores: the storage suite, writers that are killed or stopped, places that
# are wrong. Servers are installed below target/ if they are missing: scripts/s3-servers.sh.
#   scripts/s3-tests.sh [--short] [SERVER...]      default: moto versitygw
# Of a server that is known not to be fit (s3rver, s3s-fs) only that the open is refused.
# --short tries fewer histories, and only one on all but the last. WAL_HISTORIES, WAL_KILL_ROUNDS
# and WAL_RACE_ROUNDS say how many, and how often writers are killed and stopped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

short=
[ "${1:-}" != --short ] || { short=1 && shift; }
[ $# -gt 0 ] || set -- moto versitygw
last=${*: -1}
features=aws
case " $* " in *" azurite "*) features=aws,azure ;; esac

tests=(cargo test --locked -p wal-s3 --features "$features" --test on_a_real_server)
"${tests[@]}" --no-run
for server; do
  printf '\n--- %s (%s s)\n' "$server" "$SECONDS"
  chosen=(--skip child::child)
  histories=4
  [ "$server" = "$last" ] || histories=1
  case $server in s3rver|s3s-fs) chosen=(an_unfit_server_is_refused) ;; esac
  [ -z "$short" ] || export WAL_HISTORIES=$histories
  scripts/s3-servers.sh run "$server" -- \
    "${tests[@]}" -- --ignored --nocapture --test-threads 1 "${chosen[@]}"
done
