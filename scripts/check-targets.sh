#!/usr/bin/env bash
# Checks that the log builds, without errors or warnings, for systems that the tests do not
# run on: macOS, Windows, 32 bits, big-endian. Adds a target with rustup if it is missing.
# More arguments go to cargo, for example --offline.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ "${1:-}" = --help ]; then
  echo "Usage: check-targets.sh [CARGO ARGUMENT...]"
  exit 0
fi

targets=(
  x86_64-apple-darwin aarch64-apple-darwin x86_64-pc-windows-gnu
  i686-unknown-linux-gnu powerpc64-unknown-linux-gnu s390x-unknown-linux-gnu
)
installed=$(rustup target list --installed)
chosen=()
for target in "${targets[@]}"; do
  grep -qx "$target" <<<"$installed" || rustup target add "$target"
  chosen+=(--target "$target")
done
echo "== ${targets[*]}"
RUSTFLAGS="${RUSTFLAGS:-} -D warnings" cargo check --locked --quiet "$@" -p wal-core -p wal-fs "${chosen[@]}"
