# shellcheck shell=bash
# In namespaces of its own: puts the overlay together and runs the scenes in it. Called
# by tests/package/run: stage.sh WORK SCRIPTS
work=$1 scripts=$2
mount -t tmpfs xblade-over "$work/over"
mkdir "$work/over/"{upper,work}
mount -t overlay xblade-root -o "lowerdir=/,upperdir=$work/over/upper,workdir=$work/over/work" "$work/root"
cd "$work/root" || exit
mount -t proc proc proc
mount --rbind /dev dev
mount -t sysfs -o ro sysfs sys
# No systemd, and no namespaces of others.
mount -t tmpfs tmpfs run
# Whatever this machine is: a fresh system has none of ours.
mkdir -p opt/xblade-test srv
cp "$work"/*.deb "$scripts"/{run-unit.py,scenes.sh,ask.py} opt/xblade-test/
rm -rf etc/xblade var/lib/xblade
exec chroot . bash -euo pipefail /opt/xblade-test/scenes.sh
