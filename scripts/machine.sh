# Sourced by scripts that run a test in a virtual machine with Debian's kernel. Needs root, x86-64,
# Debian, and its packages qemu-system-x86 and busybox-static.

need() { # PROGRAM...
  local program
  for program; do
    command -v "$program" >/dev/null || { echo "$program is missing" >&2; exit 1; }
  done
}

# Puts the kernel there, as `kernel`, and its modules, if they are not there yet.
unpack_kernel() { # MACHINE
  local machine=$1 package
  mkdir -p "$machine"
  [ ! -e "$machine/kernel" ] || return 0
  package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-.*\)/\1/p' | head -n 1)
  (cd "$machine" && apt-get download -q "$package" && dpkg -x "$package"_*.deb unpacked && rm "$package"_*.deb)
  cp "$machine"/unpacked/boot/vmlinuz-* "$machine/kernel.new"
  mv "$machine/kernel.new" "$machine/kernel"
}

# What the machine starts with: programs with the libraries that they are linked to, modules,
# and `init`, which is read here from the input.
pack() { # MACHINE MODULES PROGRAM...: the first program is the test
  local machine=$1 modules=$2 root=$1/root module program library
  shift 2
  rm -rf "$root"
  mkdir -p "$root"/{bin,dev,proc,disk,modules,tmp}
  cp "$(command -v busybox)" "$root/busybox"
  ln -s /busybox "$root/bin/sh"
  strip -o "$root/program" "$1"
  for program; do
    [ "$program" = "$1" ] || install -D "$program" "$root$program"
    ldd "$program" | grep -oE '/[^ ]+' | while read -r library; do
      install -D "$library" "$root$library"
    done
  done
  for module in $modules; do
    find "$machine/unpacked/lib/modules" -name "$module.ko" -exec cp {} "$root/modules/" \;
  done
  cat >"$root/init"
  chmod +x "$root/init"
  (cd "$root" && find . | busybox cpio -o -H newc >"$machine/initramfs" 2>/dev/null)
}
