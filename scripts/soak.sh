#!/usr/bin/env bash
# Looks for bugs with seeds that nobody has tried: histories against the model, SIGKILL loops, fuzz
# targets, for so many seconds in all (default 120). Prints what was explored for each minute.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=${1:-120}
case "$seconds" in
  *[!0-9]*) echo "Usage: soak.sh [SECONDS]" >&2; [ "$seconds" = --help ] || exit 2; exit 0 ;;
esac

cargo test --release --locked --quiet --no-run -p wal-core -p wal-fs -p wal-streaming
(cd fuzz && cargo build --release --locked --quiet)

begun=$SECONDS first=$(($(date +%s) * 1000))
declare -A done_of spent_of
# Runs a part until its share of a round is over, and counts what it did.
part() { # NAME COUNT COMMAND...
  local name=$1 count=$2 from=$(date +%s%N)
  shift 2
  "$@" >/tmp/soak.$$ 2>&1 || { cat /tmp/soak.$$; echo "soak: $name failed; seeds from $first" >&2; exit 1; }
  done_of[$name]=$((${done_of[$name]:-0} + count))
  spent_of[$name]=$((${spent_of[$name]:-0} + ($(date +%s%N) - from) / 1000000))
}
suite() { # CRATE TEST ENV... : with --release, already built
  local crate=$1 test=$2
  shift 2
  env "$@" cargo test --release --locked --quiet -p "$crate" --test "$test"
}
while [ $((SECONDS - begun)) -lt "$seconds" ]; do
  first=$((first + 10000))
  part "histories, simulated storage" 3000 suite wal-core what_was_acknowledged_is_recovered WAL_CASES=1500
  part "histories, simulated disk" 600 suite wal-fs histories_on_a_disk_that_fails_agree_with_the_model \
    WAL_SIM_FIRST=$first WAL_SIM_SEEDS=300
  part "histories, stream" 12 suite wal-streaming stream WAL_SIM_FIRST=$first WAL_SIM_SEEDS=12
  part "SIGKILLs" 12 suite wal-fs survives_kill_nine WAL_KILL_ROUNDS=12
  part "seconds of fuzzing" 14 env -C fuzz cargo run --release --locked --quiet -- --seconds 2
done
rm -f /tmp/soak.$$
for name in "${!done_of[@]}"; do
  awk -v name="$name" -v n="${done_of[$name]}" -v ms="${spent_of[$name]}" \
    'BEGIN {printf "%-30s %8d, %8.0f per minute\n", name, n, n * 60000 / ms}'
done | sort
