#!/usr/bin/env bash
# Runs the tests that need a full disk on small file systems in files, mounted by loop.
# Usage: small-disk.sh [ext4|xfs|btrfs]... (default: ext4)
# Needs root (or a user who may mount), for XFS xfsprogs, for btrfs btrfs-progs. Fails, never skips,
# if it cannot mount.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

[ $# -gt 0 ] || set -- ext4
for system; do
  case $system in
    ext4 | xfs | btrfs) command -v "mkfs.$system" >/dev/null || { echo "mkfs.$system is missing" >&2; exit 1; } ;;
    *) sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; [ "$system" = --help ] || exit 2; exit 0 ;;
  esac
done

# Built before a small file system is mounted: only the log goes there.
full=(cargo test --locked -p wal-fs --test full_is_not_broken_on_a_small_file_system)
"${full[@]}" --no-run

work=$(mktemp -d)
mounted=
leave() {
  [ -z "$mounted" ] || umount "$work/disk"
  mounted=
}
trap 'leave; rm -rf "$work"' EXIT
mkdir "$work/disk"

enter() { # SYSTEM SIZE
  rm -f "$work/image"
  truncate -s "$2" "$work/image"
  "mkfs.$1" -q "$work/image" >/dev/null
  mount -o loop "$work/image" "$work/disk"
  mounted=1
}

for system; do
  printf '\n--- %s\n' "$system"
  case $system in
    ext4) enter ext4 48M ;;
    *) enter "$system" 300M ;; # XFS is not made smaller
  esac
  # Space that btrfs has promised it may refuse: it may be full in the middle of a frame (G5, not G7).
  only=()
  [ "$system" != btrfs ] || only=(loses_nothing)
  WAL_SMALL_DIR=$work/disk "${full[@]}" -- --ignored --nocapture --test-threads 1 "${only[@]}"
  leave
done
