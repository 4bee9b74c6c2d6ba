# shellcheck shell=sh
# Runs a script inside the image being built. Started in private mount and pid namespaces: nothing stays mounted.
#
#   enter.sh ROOTFS CACHE_DIR CA_BUNDLE SCRIPT [ARGUMENT...]
#
# CACHE_DIR appears as /run/build/cache; CA_BUNDLE, when not empty, as /run/build/ca.pem; the host's resolver
# settings are lent to the image.
set -eu
root=$1 cache=$2 ca=$3 script=$4
shift 4

mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
for name in null zero full random urandom tty; do
    [ -e "$root/dev/$name" ] || : >"$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
mount -t tmpfs -o nosuid,nodev,mode=755 run "$root/run"
mount -t tmpfs -o nosuid,nodev,mode=1777 tmp "$root/tmp"
mkdir -p "$root/run/build/cache"
mount --bind "$cache" "$root/run/build/cache"
[ -e "$root/etc/resolv.conf" ] || : >"$root/etc/resolv.conf"
mount --bind "$(readlink -f /etc/resolv.conf)" "$root/etc/resolv.conf"
if [ -n "$ca" ]; then
    cp "$ca" "$root/run/build/ca.pem"
    export NODE_EXTRA_CA_CERTS=/run/build/ca.pem PIP_CERT=/run/build/ca.pem
fi
printf '%s\n' "$script" >"$root/run/build/script"
exec chroot "$root" /bin/sh -eu /run/build/script "$@"
