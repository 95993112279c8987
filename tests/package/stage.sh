# shellcheck shell=bash
# Sets up the overlay in new namespaces, and runs the scenes in it. Called by
# tests/package/run: stage.sh WORK SCRIPTS
work=$1 scripts=$2
mount -t tmpfs xblade-over "$work/over"
mkdir "$work/over/"{upper,work}
mount -t overlay xblade-root -o "lowerdir=/,upperdir=$work/over/upper,workdir=$work/over/work" "$work/root"
cd "$work/root" || exit
mount -t proc proc proc
mount --rbind /dev dev
mount -t sysfs -o ro sysfs sys
# Without systemd, and without the namespaces of others.
mount -t tmpfs tmpfs run
# A fresh system has none of our files, whatever this machine has.
mkdir -p opt/xblade-test srv
cp "$work"/*.deb "$scripts"/{run-unit.py,scenes.sh,ask.py,links.py} opt/xblade-test/
rm -rf etc/xblade var/lib/xblade
exec chroot . bash -euo pipefail /opt/xblade-test/scenes.sh
