#!/bin/sh
# Starts a systemd of its own, whose only work is a unit of deploy/, on a copy of this machine's files:
#
#   boot.sh UNIT OUTLIERD FOLDER WORK
#
# UNIT is the file, OUTLIERD the binary, FOLDER holds outlierd.toml and what else the unit should find in /etc/outlierd; WORK is
# an empty folder, which stays empty.
# Needs root, and namespaces of its own for mounts, processes, network and control groups: nothing of the machine is touched.
# Ends with what it was that the machine does not allow; else it becomes systemd.
set -eu

unit=$1 outlierd=$2 folder=$3 work=$4
cannot() {
  echo "boot.sh: cannot $1" >&2
  exit 1
}

mount --make-rprivate / || cannot "make mounts its own"
mount -t tmpfs tmpfs "$work" || cannot "mount"
mkdir "$work/upper" "$work/work" "$work/root"
root=$work/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/work" "$root" || cannot "lay one folder over another"

# The files of the unit, copied before anything hides them.
mkdir -p "$root/etc/outlierd"
cp "$outlierd" "$root/usr/bin/outlierd"
cp -R "$folder"/. "$root/etc/outlierd"
chmod -R a+rX "$root/etc/outlierd"

# Of the system's own units only what every service needs: no other may change the machine.
system=$root/usr/lib/systemd/system
mkdir "$work/units"
for name in sysinit.target basic.target local-fs.target swap.target network-online.target network.target time-sync.target \
  time-set.target shutdown.target umount.target final.target slices.target sockets.target paths.target timers.target \
  rescue.target emergency.target systemd-journald.service systemd-journald.socket systemd-journald-dev-log.socket; do
  if [ -e "$system/$name" ]; then cp "$system/$name" "$work/units"; fi
done
for folder in "$system" "$root/etc/systemd/system" "$root/run" "$root/tmp" "$root/var/lib" "$root/var/log" "$root/var/cache"; do
  mkdir -p "$folder"
  mount -t tmpfs -o mode=755 tmpfs "$folder"
done
chmod 1777 "$root/tmp"
cp "$work/units"/* "$system"
cp "$unit" "$root/etc/systemd/system"
mkdir "$root/etc/systemd/system/${unit##*/}.d"
# A minute is long for a test.
printf '[Service]\nWatchdogSec=10s\nRestartSec=100ms\n' >"$root/etc/systemd/system/${unit##*/}.d/test.conf"
printf '[Unit]\nWants=systemd-journald.service %s\n' "${unit##*/}" >"$root/etc/systemd/system/test.target"

mount -t proc proc "$root/proc" || cannot "mount /proc"
mount -t sysfs -o ro sysfs "$root/sys" || cannot "mount /sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup" || cannot "mount control groups"
mount --rbind /dev "$root/dev"

mkdir -p "$root/before"
cd "$root"
pivot_root . before || cannot "change the root"
cd /
umount -l /before
export container=test
exec /usr/lib/systemd/systemd --system --unit=test.target --log-target=journal --show-status=0 </dev/null >&2
