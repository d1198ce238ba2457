#!/usr/bin/env bash
# Cuts the power of a virtual machine that appends to a log: a real kernel, a real file system, a disk that
# loses what was not flushed. See wal-fs/tests/survives_a_power_cut.
#
# Usage: power-cut.sh [LIVES]     how often the machine is started and killed (default 5)
# WAL_POWER_SEED (default: the time), WAL_POWER_APPENDS: when it is killed at the latest (default 200),
# WAL_POWER_CUTS: how many disks are rebuilt and looked at after each life (default 12),
# WAL_POWER_ACCEL: kvm where that works (default tcg, an emulation).
# WAL_POWER_FS: ext4 (default), or xfs with xfsprogs.
# WAL_PLANTED: the name of a planted bug, which is to be found.
# Linux on x86-64, root (it mounts), Debian's kernel and its packages qemu-system-x86,
# busybox-static, e2fsprogs; fails, never skips, without them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

lives=${1:-5}
case "$lives" in
  *[!0-9]*) sed -n '2,12s/^# \{0,1\}//p' "$0"; [ "$lives" = --help ] && exit 0; exit 2 ;;
esac
file_system=${WAL_POWER_FS:-ext4}
. scripts/machine.sh
need qemu-system-x86_64 busybox "mkfs.$file_system" dpkg
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
[ -z "${WAL_PLANTED:-}" ] || export RUSTC_WORKSPACE_WRAPPER=$PWD/scripts/planted/rustc
machine=$target/power-cut

# The kernel, and the modules that it needs for its disk and for the line to here.
modules="virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk virtio_console"
[ "$file_system" != xfs ] || modules+=" libcrc32c xfs"
unpack_kernel "$machine"

# What runs in it: this test.
program=$(cargo test --release --locked --no-run -p wal-fs --test survives_a_power_cut --target-dir "$target" 2>&1 |
  tee /dev/stderr | sed -n 's/.*Executable .* (\(.*\))$/\1/p')
pack "$machine" "$modules" "$program" <<END
#!/busybox sh
/busybox mount -t devtmpfs none /dev
/busybox mount -t proc none /proc
# What nobody synced is soon on its way to the disk, in any order.
echo 1 >/proc/sys/vm/dirty_writeback_centisecs
echo 1 >/proc/sys/vm/dirty_expire_centisecs
for module in $modules; do /busybox insmod /modules/\$module.ko; done
/busybox mount -t \$WAL_POWER_FS /dev/vda /disk
WAL_POWER_PORT=/dev/vport0p1 RUST_BACKTRACE=1 /program --exact what_was_acknowledged_survives_a_power_cut --ignored --nocapture
/busybox poweroff -f
END

export WAL_POWER_MACHINE=$machine WAL_POWER_ROUNDS=$lives WAL_POWER_SEED=${WAL_POWER_SEED:-$(date +%s)}
echo "seed $WAL_POWER_SEED"
"$program" --ignored --nocapture
