# shellcheck shell=bash disable=SC2034
# The first steps of a user: find the disk, partition it, make a file system, use it, and
# again after a restart of the target.
EXPORTS='0.1=128M'
MTUS='1500 9000'

# Contents that both sides can produce.
known() { head -c 3000000 < <(yes 'written by the initiator'); }

guest() {
    step "discover"
    wait_up e0.1
    run aoe-stat
    aoe-stat | grep -q 'e0\.1 .*up' || fail "aoe-stat does not show e0.1 up"
    [ "$(size_of e0.1)" = "$(export_bytes e0.1)" ] || fail "size $(size_of e0.1), want $(export_bytes e0.1)"
    run hdparm -g "$(dev e0.1)"

    step "partition"
    printf 'label: dos\nstart=2048, size=64M\n,,L\n' | sfdisk -q "$(dev e0.1)" || fail "sfdisk"
    wait_for 5 test -b "$(dev e0.1p2)"
    run lsblk

    step "file system"
    run mkfs.ext4 -q "$(dev e0.1p1)"
    mkdir -p /mnt/a
    run mount "$(dev e0.1p1)" /mnt/a
    known >/mnt/a/known
    for ((i = 1; i <= 12; i++)); do
        dd if=/dev/urandom of=/mnt/a/file$i bs=64k count=$i status=none
    done
    (cd /mnt/a && sha256sum known file*) >/tmp/sums
    run umount /mnt/a

    step "after a remount"
    contents_are_good
    run fsck.ext4 -f -n "$(dev e0.1p1)"

    step "after a restart of the target"
    on_host restart
    contents_are_good
    wait_up e0.1
}

contents_are_good() {
    drop_caches
    run mount "$(dev e0.1p1)" /mnt/a
    (cd /mnt/a && sha256sum -c /tmp/sums >/tmp/check) || { cat /tmp/check; fail "checksums differ"; }
    run umount /mnt/a
}

on_restart() { target_stop && target_start; }

# The image contains what the initiator wrote.
check() {
    local file
    file="$(export_file 0.1)?offset=1048576"
    e2fsck -fn "$file" && debugfs -R "dump /known $WORK/known" "$file" && known | cmp - "$WORK/known"
}
