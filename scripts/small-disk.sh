#!/usr/bin/env bash
# Runs the tests that need a full disk on a small ext4 file system in a file, mounted by loop.
# Needs root (or a user who may mount). Fails, never skips, if it cannot mount.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case "${1:-}" in
  "") ;;
  *) echo "Usage: small-disk.sh   (no arguments; needs root)" >&2; [ "$1" = --help ] || exit 2; exit 0 ;;
esac

# Built before the small file system is mounted: only the log goes there.
cargo test --locked -p wal-fs --test full_is_not_broken_on_a_small_file_system --no-run

work=$(mktemp -d)
mounted=
clean() {
  [ -z "$mounted" ] || umount "$work/disk"
  rm -rf "$work"
}
trap clean EXIT
truncate -s 48M "$work/image"
mkfs.ext4 -q -F "$work/image"
mkdir "$work/disk"
mount -o loop "$work/image" "$work/disk"
mounted=1
WAL_SMALL_DIR=$work/disk cargo test --locked -p wal-fs \
  --test full_is_not_broken_on_a_small_file_system -- --ignored --test-threads 1
