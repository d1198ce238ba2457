#!/usr/bin/env bash
# EIO from real syncs, and power cuts that take back what no sync covered, on real files: by a layer
# that is preloaded under a child process. Linux with glibc; needs a C compiler.
# WAL_KILL_ROUNDS: how many rounds (default 10).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cc -Wall -Werror -O1 -shared -fPIC -o "$work/faults.so" scripts/faults/faults.c -ldl
WAL_FAULTS=$work/faults.so cargo test --release --locked -p wal-fs --test survives_real_faults -- --ignored
