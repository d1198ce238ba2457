#!/usr/bin/env bash
# Models of the committer under a scheduler that tries the orders in which threads can run.
# WAL_SCHEDULES: schedules for each model and strategy (default 1,000).
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}/models
RUSTFLAGS="--cfg wal_shuttle" exec cargo test --locked --release -p wal-core --test models --target-dir "$target" "$@"
