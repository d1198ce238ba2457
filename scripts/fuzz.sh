#!/usr/bin/env bash
# Runs each fuzz target on the stable toolchain for so many seconds (default 20).
# Usage: fuzz.sh [SECONDS] [TARGET...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../fuzz"
seconds=${1:-20}
case "$seconds" in
  *[!0-9]*) echo "Usage: fuzz.sh [SECONDS] [TARGET...]" >&2; [ "$seconds" = --help ] || exit 2; exit 0 ;;
esac
shift || true
exec cargo run --release --locked --quiet -- --seconds "$seconds" "$@"
