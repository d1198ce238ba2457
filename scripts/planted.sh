#!/usr/bin/env bash
# Shows that the tests can fail: switches on each planted bug in its turn, and runs suites that do
# not name it until one fails. Without a bug all of them must pass.
#
# Usage: planted.sh [--limit SECONDS] [--again SECONDS] [--write] [BUG...]
#   --limit   for each bug, all suites together (default 60)
#   --again   for each bug that was missed, once more at the end (default: no second look)
#   --write   writes docs/PLANTED.md (of named bugs, their rows); without it only checks that
#             every bug is found
# The suite that docs/PLANTED.md names for a bug is tried first, then the others in order. Two bugs
# are looked for at once.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

limit=60 again=0 write= only=()
while [ $# -gt 0 ]; do
  case "$1" in
    --limit) limit=$2; shift ;;
    --again) again=$2; shift ;;
    --write) write=1 ;;
    -*) sed -n '2,11s/^# \{0,1\}//p' "$0"; [ "$1" = --help ] && exit 0; exit 2 ;;
    *) only+=("$1") ;;
  esac
  shift
done

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
rows() { sed -n 's/ *| */|/g; /^#/d; /^$/d; p' "$1"; }

# Each suite's program, built once with all bugs in it. (The fuzz targets are a workspace of their own.)
echo "building with all bugs"
export RUSTC_WORKSPACE_WRAPPER=$PWD/scripts/planted/rustc
cargo test --release --locked --no-run --tests \
  -p wal-core -p wal-fs -p wal-s3 -p wal-streaming --target-dir "$target" 2>&1 | tee "$log/build" |
  grep -E "^(warning|error)" || true
RUSTFLAGS="--cfg wal_shuttle" cargo test --release --locked --no-run \
  -p wal-core --test models --target-dir "$target/models" 2>&1 | tee "$log/models" |
  grep -E "^(warning|error)" || true
unset RUSTC_WORKSPACE_WRAPPER
(cd fuzz && RUSTFLAGS="--cfg wal_planted" cargo build --release --locked --bin fuzz \
  --target-dir "$target/planted-fuzz" 2>&1 | grep -E "^(warning|error)") || true
program() { # TEST: the models are empty in the other build
  local from=build
  [ "$1" = models ] && from=models
  sed -n "s|.*Executable tests/\($1\)\(/main\)\{0,1\}\.rs (\(.*\))$|\3|p" "$log/$from" | head -n 1
}

# Calls a function for each item, for two at once, each with a directory `out` of its own.
share() { # FUNCTION ITEM...
  local function=$1 item job jobs=()
  shift
  exec 3< <(printf '%s\n' "$@")
  for job in 1 2; do
    (
      out=$log/job-$job
      mkdir -p "$out"
      exec 9>"$log/turn"
      while flock 9 && IFS= read -r item <&3; do
        flock -u 9
        "$function" "$item" || exit 1
      done
    ) &
    jobs+=($!)
  done
  for job in "${jobs[@]}"; do wait "$job" || return 1; done
}

# How long one check may take before it counts as hanging.
patience=100
# Runs a suite for at most so many seconds; 0: passed, 124: it had no more time, else: it failed.
run() { # SECONDS ROUNDS CRATE TEST FILTER
  local seconds=$1 rounds=$2 crate=$3 path
  if [ "$crate" = fuzz ]; then
    (cd "$out" && timeout -s KILL "$seconds" "$target/planted-fuzz/release/fuzz" "$4" \
      --seconds $((rounds < 2 ? 1 : 60))) >"$out/out" 2>&1
    local fuzzed=$?
    [ $fuzzed -eq 137 ] && fuzzed=124
    return $fuzzed
  fi
  path=$(program "$4")
  [ -n "$path" ] || { echo "no program for $4" >&2; exit 1; }
  path=$(realpath "$path")
  (
    cd "${crate/wal-streaming/streaming}" || exit 1
    WAL_CHECK_SECONDS=$patience WAL_CASES=$((rounds * 250)) WAL_SIM_SEEDS=$((rounds * 2)) WAL_SCHEDULES=$((rounds * 100)) \
      WAL_KILL_ROUNDS=$((4 + rounds)) PROPTEST_MAX_SHRINK_ITERS=0 PROPTEST_DISABLE_FAILURE_PERSISTENCE=1 PROPTEST_CASES=$((rounds * 40)) \
      timeout -s KILL "$seconds" "$path" ${5:+"$5"} --test-threads 2
  ) >"$out/out" 2>&1
  local ended=$?
  [ $ended -eq 137 ] && ended=124
  return $ended
}

mapfile -t suites < <(rows scripts/planted/suites)
mapfile -t bugs < <(rows scripts/planted/bugs)

# Each name in the code is in the list, and each in the list is in the code.
listed=$(printf '%s\n' "${bugs[@]}" | cut -d'|' -f1 | sort)
planted=$(grep -rhoE 'planted(_or)?\(\s*"[a-z-]+"' --include '*.rs' wal-*/src streaming/src |
  grep -oE '"[a-z-]+"' | tr -d '"'; grep -rhA1 -E 'planted_or\($' --include '*.rs' wal-*/src streaming/src |
  grep -oE '^ +"[a-z-]+",' | tr -d ' ",')
planted=$(sort -u <<<"$planted")
[ "$listed" = "$planted" ] || { diff <(echo "$listed") <(echo "$planted"); echo "scripts/planted/bugs and the code differ" >&2; exit 1; }

# The rows of the second table; fails if ARCHITECTURE.md names a test that is not there.
by_guarantee() {
  local row guarantee promise now tests names file
  while read -r row; do
    IFS='|' read -r guarantee promise now tests <<<"$row"
    for file in $(grep -oE '`[A-Za-z_/]+\.rs`' <<<"$now|$tests" | tr -d '`' | sort -u); do
      [ -n "$(find wal-*/src wal-*/tests streaming/tests -path "*/$file" -print -quit)" ] ||
        { echo "docs/ARCHITECTURE.md: $guarantee names $file, which is not there" >&2; return 1; }
    done
    names=$(sed -n "s/^$guarantee |.*| \(\`[a-z-]*\`\) |.*/\1/p" "$log/table" | paste -sd, | sed 's/,/, /g')
    echo "| $guarantee | $promise | ${tests:-none} | ${names:-none} |"
  done < <(sed -nE 's/^\| ([GS][0-9]+) \| (.*) \| (.*) \| (.*) ?\|$/\1|\2|\3|\4/p' docs/ARCHITECTURE.md | sed 's/ *| */|/g')
}

# Without a bug; and how long a short look takes then. One that takes much longer hangs.
unset WAL_PLANTED
without_a_bug() { # SUITE
  local name crate test filter begun
  IFS='|' read -r name crate test filter <<<"$1"
  begun=$(date +%s%N)
  run 120 1 "$crate" "$test" "$filter" || { tail -n 40 "$out/out"; echo "without a bug: $name fails" >&2; return 1; }
  echo "$name|$((($(date +%s%N) - begun) / 1000000))" >>"$log/clean"
}
share without_a_bug "${suites[@]}" || exit 1
declare -A clean
while IFS='|' read -r name took; do clean[$name]=$took; done <"$log/clean"
echo "without a bug all ${#suites[@]} suites pass ($SECONDS s)"

# Looks for a bug for so many seconds; sets `by` to the suite that found it, and `spent`.
look_for() { # SECONDS BUG CRATE
  local limit=$1 name=$2 crate=$3 first suite rounds slice left ended begun title of test filter
  first=$(grep -m1 -F "\`$name\`" docs/PLANTED.md 2>/dev/null | cut -d'|' -f3 | sed 's/^ *//; s/ *$//')
  mapfile -t order < <(
    for suite in "${suites[@]}"; do [[ "$suite" == "$first|"* && -n $first ]] && echo "$suite"; done
    # Then those of the same crate, which are likelier to find it, and all others.
    for suite in "${suites[@]}"; do [[ "$suite" == *"|$crate|"* ]] && echo "$suite"; done
    for suite in "${suites[@]}"; do [[ "$suite" == *"|$crate|"* ]] || echo "$suite"; done
  )
  begun=$(date +%s%N) by=
  # A short and a long look by the one that found it last, short ones by all, long ones by all.
  for look in short long 1 20; do
    case $look in short) rounds=1 ;; long) rounds=19 ;; *) rounds=$look ;; esac
    for suite in "${order[@]}"; do
      [[ $look == [sl]* && (-z $first || "$suite" != "$first|"*) ]] && break
      IFS='|' read -r title of test filter <<<"$suite"
      left=$((limit - ($(date +%s%N) - begun) / 1000000000))
      [ $left -gt 0 ] || break 2
      slice=$((limit / 4 + 1))
      [ $rounds -eq 19 ] && slice=$((limit * 3 / 4))
      [ $rounds -eq 1 ] && slice=$((clean[$title] / 250 + 3))
      export WAL_PLANTED=$name
      patience=$((clean[$title] * 3 / 1000 + 3)) # three times what all checks take without a bug
      run $((left < slice ? left : slice)) $rounds "$of" "$test" "$filter"
      ended=$?
      unset WAL_PLANTED
      if [ $ended -ne 0 ] && [ $ended -ne 124 ]; then by=$title; break 2; fi
    done
  done
  spent=$(awk -v ns=$(($(date +%s%N) - begun)) 'BEGIN {printf "%.1f", ns / 1e9}')
}

# Looks for a bug, and notes what became of it.
look() { # BUG
  local name guarantee crate what why by spent
  IFS='|' read -r name guarantee crate what <<<"$1"
  look_for "$limit" "$name" "$crate"
  if [ -n "$by" ]; then
    why=$(grep -A1 -m1 "panicked at" "$out/out" | tail -n 1 | cut -c1-90 | tr '|' '/')
    echo "$spent s  $guarantee  $name: $by: $why"
    echo "$guarantee | $by | \`$name\` | $what | $spent s" >>"$log/table"
  else
    echo "$1" >>"$log/late"
    echo "not found in $spent s: $guarantee $name" >&2
  fi
}

# Looks for each of them; those that were not found are in `late`.
look_for_all() { # BUG...
  : >"$log/late"
  share look "$@"
  mapfile -t late <"$log/late"
}

chosen=()
for bug in "${bugs[@]}"; do
  [ ${#only[@]} -gt 0 ] && [[ ! " ${only[*]} " == *" ${bug%%|*} "* ]] || chosen+=("$bug")
done
: >"$log/table"
limits=$limit
[ "$again" -eq 0 ] || limits="$limit s, and once more $again"
look_for_all "${chosen[@]}"
if [ "$again" -gt 0 ] && [ ${#late[@]} -gt 0 ]; then
  echo "once more, for at most $again s each: ${#late[@]}"
  limit=$again
  look_for_all "${late[@]}"
fi
echo "$(wc -l <"$log/table") found, ${#late[@]} not found ($SECONDS s)"
for bug in "${late[@]}"; do
  IFS='|' read -r name guarantee crate what <<<"$bug"
  echo "$guarantee | **not found** | \`$name\` | $what | $limit s" >>"$log/table"
done

# The rows of bugs that were not asked for stay.
if [ -n "$write" ] && [ ${#only[@]} -gt 0 ]; then
  sed -n '/^| guarantee |/,/^$/s/^| \(.*`.*\) |$/\1/p' docs/PLANTED.md | grep -vF "$(printf '`%s`\n' "${only[@]}")" >>"$log/table"
fi
if [ -n "$write" ]; then
  {
    echo "# Planted bugs"
    echo
    echo "Made by \`scripts/planted.sh --write\`: do not edit. Each bug is compiled in with"
    echo "\`--cfg wal_planted\`, switched on by itself, and counts as found when a suite fails that looks"
    echo "for any bug and names none. The time is that of all suites tried before, and of this one,"
    echo "with at most $limits s for all. The lists are \`scripts/planted/bugs\` and \`scripts/planted/suites\`."
    echo
    echo "| guarantee | found by | planted bug | what it does | time to find |"
    echo "|---|---|---|---|---|"
    sort -t'|' -k1,1V -s "$log/table" | sed 's/^/| /; s/$/ |/'
    echo
    echo "## Each guarantee, its tests, its bugs"
    echo
    echo "Promises and tests are those of [ARCHITECTURE.md](ARCHITECTURE.md); each file that is named"
    echo "there was found. A bug stands with the guarantee that it breaks first."
    echo
    echo "| | promise | tests | planted bugs |"
    echo "|---|---|---|---|"
    by_guarantee
  } >"$log/PLANTED.md" && cp "$log/PLANTED.md" docs/PLANTED.md || exit 1
fi
[ ${#late[@]} -eq 0 ]
