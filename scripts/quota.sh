#!/usr/bin/env bash
# Runs the test that needs a real quota: one of ext4 for a user, in a virtual machine with Debian's
# kernel, since others may lack quotas. No arguments.
# Needs root, x86-64, Debian's kernel and its packages qemu-system-x86, busybox-static,
# e2fsprogs, quota; fails, never skips, without them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/machine.sh

[ $# -eq 0 ] || { sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; [ "$1" = --help ] || exit 2; exit 0; }
need qemu-system-x86_64 busybox mkfs.ext4 setquota dpkg
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
machine=$target/power-cut
program=$(cargo test --release --locked --no-run -p wal-fs --test full_is_not_broken_under_a_quota 2>&1 |
  tee /dev/stderr | sed -n 's/.*Executable .* (\(.*\))$/\1/p')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

modules="virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk quota_tree quota_v2"
unpack_kernel "$machine"
pack "$machine" "$modules" "$program" "$(command -v setquota)" <<END
#!/busybox sh
/busybox mount -t devtmpfs none /dev
/busybox mount -t proc none /proc
for module in $modules; do /busybox insmod /modules/\$module.ko; done
/busybox mount -t ext4 -o usrquota /dev/vda /disk
/busybox mkdir /disk/log
/busybox chown 1000 /disk/log
WAL_QUOTA_DIR=/disk/log WAL_QUOTA_UID=1000 WAL_QUOTA_LIMIT='$(command -v setquota) -u 1000 0 \$KIB 0 0 /disk' \\
/program --ignored --nocapture && echo "the quota's test has passed"
/busybox poweroff -f
END
truncate -s 64M "$work/image"
mkfs.ext4 -q -F -O quota "$work/image"
timeout 200 qemu-system-x86_64 -accel tcg -cpu max -smp 2 -m 256 -nodefaults -no-user-config -no-reboot \
  -display none -kernel "$machine/kernel" -initrd "$machine/initramfs" \
  -append "console=ttyS0 quiet panic=-1 random.trust_cpu=on no_timer_check" \
  -serial "file:$work/console" -drive "file=$work/image,format=raw,if=virtio" || true
cat "$work/console"
grep -q "the quota's test has passed" "$work/console"
