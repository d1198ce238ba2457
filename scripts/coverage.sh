#!/usr/bin/env bash
# How much of the code that reads what lies there the fuzz targets' seed corpus reaches.
# Needs the component llvm-tools (rustup component add llvm-tools).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../fuzz"
[ "${1:-}" != --help ] || { sed -n '2,3s/^# //p' "../scripts/coverage.sh"; exit 0; }
tools=$(dirname "$(rustc --print target-libdir)")/bin
[ -x "$tools/llvm-cov" ] || { echo "llvm-cov is missing: rustup component add llvm-tools" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
target=${CARGO_TARGET_DIR:-target}/coverage
RUSTFLAGS="-C instrument-coverage" cargo build --release --locked --quiet --target-dir "$target"
LLVM_PROFILE_FILE=$work/%p.profraw "$target/release/fuzz" --corpus
"$tools/llvm-profdata" merge -sparse "$work"/*.profraw -o "$work/all"
"$tools/llvm-cov" report "$target/release/fuzz" -instr-profile="$work/all" \
  --sources ../wal-core/src/{recovery,layout,scan,footer,frame,segment,attachment,receipt,look}.rs ../wal-core/src/salvage* \
  ../streaming/src/{codec,envelope}.rs ../streaming/src/checkpoint* |
  awk '/^Filename/ {$7 = "functions"; $10 = "lines"} /^Filename|^TOTAL|\.rs/ {printf "%-28s %10s %10s\n", $1, $7, $10}'
