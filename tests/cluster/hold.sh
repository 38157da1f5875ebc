#!/bin/sh
# Process 1 of a machine's namespaces: makes its mounts, says so, and lives until its input ends. When it
# ends, the kernel ends every process, mount and interface of the machine with it.
# usage: hold.sh HOSTNAME [ROOT [DATA-MOUNTPOINT]]
set -eu

device() {
    : >"$root/dev/$1"
    mount --bind "/dev/$1" "$root/dev/$1"
}

make_mounts() {
    mkdir -p "$root/proc" "$root/dev" "$root/run" "$root/tmp"
    mount -t proc proc "$root/proc"
    mount -t tmpfs -o mode=0755 dev "$root/dev"
    for name in null zero full random urandom tty; do
        device "$name"
    done
    ln -s /proc/self/fd "$root/dev/fd"
}

hostname "$1"
ip link set lo up
root=${2:-}
[ -z "$root" ] || make_mounts
if [ -n "${3:-}" ]; then
    mkdir -p "$root$3"
    mount -t tmpfs -o mode=0755 data "$root$3"
fi
echo up
# In the background, because a waiting shell also reaps what daemons leave behind.
exec 3<&0
cat <&3 >/dev/null &
wait
