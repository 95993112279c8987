# shellcheck shell=bash
# The storage host of the walk-through: an overlay over this machine's file system in the
# namespace $NS_T, in which the package is installed. Sourced by walkthrough.
#
# Images are in $RUN/srv, on a disk: in memory xblade would choose another store.

BOX_PID='' BOX_LOOP='' BOX_NODE=''

# box_up - call after net_up and links_up, because its /sys shows the namespace
box_up() {
    local dir=$RUN/box scripts=$RUN/box-scripts child
    mkdir -p "$dir/root" "$dir/over" "$scripts" "$RUN/srv"
    cp "$TOP"/tests/package/{run-unit.py,ask.py,links.py} "$scripts/"
    cp "$HERE/box/holder.sh" "$scripts/scenes.sh"
    mv "$RUN"/deb/*.deb "$dir/"
    ip netns exec "$NS_T" unshare --mount --pid --fork --kill-child --propagation private \
        bash -euo pipefail "$TOP/tests/package/stage.sh" "$dir" "$scripts" >"$RUN/box.log" 2>&1 </dev/null &
    BOX_OUTER=$!
    for _ in $(seq 200); do
        child=$(cat /proc/$BOX_OUTER/task/$BOX_OUTER/children 2>/dev/null) || true
        BOX_PID=${child%% *}
        [ -z "$BOX_PID" ] || [ ! -e "/proc/$BOX_PID/root/run/box-up" ] || break
        kill -0 $BOX_OUTER 2>/dev/null || die "the storage host did not come up: $(cat "$RUN/box.log")"
        sleep 0.05
    done
    install -m 755 "$HERE/box/systemctl" "/proc/$BOX_PID/root/usr/local/sbin/systemctl"
    nsenter --target "$BOX_PID" --mount -- mount --bind "$RUN/srv" "$dir/root/srv/xblade"
}

# in_box COMMAND... - runs it there, as root
in_box() {
    nsenter --target "$BOX_PID" --mount --net --pid --root --wd -- \
        env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C \
        DEBIAN_FRONTEND=noninteractive bash -c 'cd /srv; "$@"' - "$@"
}

# box_disk SIZE - creates a block device, like a logical volume, with its path in
# $BOX_NODE. Without loop devices it is a second image.
box_disk() {
    truncate -s "$1" "$RUN/disk"
    if BOX_LOOP=$(losetup --find --show "$RUN/disk" 2>/dev/null); then
        # With the group disk, as set by Debian's udev; outside /dev, which is shared.
        BOX_NODE=/opt/xblade-test/volume
        # shellcheck disable=SC2046 # two numbers
        in_box mknod -m 660 $BOX_NODE b $(stat -c '0x%t 0x%T' "$BOX_LOOP")
        in_box chgrp disk $BOX_NODE
    else
        say "    no loop device here: an image in the place of the logical volume"
        BOX_LOOP='' BOX_NODE=/srv/xblade/volume.img
        mv "$RUN/disk" "$RUN/srv/volume.img"
        in_box chown xblade $BOX_NODE
    fi
}

box_log() { in_box cat /run/xblade-unit/log 2>/dev/null || true; }

box_down() {
    if [ -n "$BOX_PID" ]; then
        kill -KILL "$BOX_PID" 2>/dev/null || true
        wait "$BOX_OUTER" 2>/dev/null || true
        BOX_PID=''
    fi
    [ -z "$BOX_LOOP" ] || losetup -d "$BOX_LOOP" 2>/dev/null || true
    BOX_LOOP=''
}
