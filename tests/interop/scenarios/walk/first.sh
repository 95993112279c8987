# shellcheck shell=bash disable=SC2034
# The walk-through: the host uses the disks for the first time.
TIMEOUT=90

guest() {
    step "find the disks"
    guide 'modprobe aoe'
    log_driver
    guide 'aoe-discover'
    wait_up e0.1
    wait_up e0.2
    guide 'aoe-stat'
    [ "$(size_of e0.1)" = $((256 << 20)) ] || fail "e0.1 has $(size_of e0.1) bytes"
    step "a name in the config string"
    guide "aoecfg -c fset -s 'data of web-1' 0 1 eth1"
    guide 'aoecfg -c read 0 1 eth1'
    step "file systems"
    guide "echo ',' | sfdisk --label gpt /dev/etherd/e0.1"
    wait_for 5 test -b /dev/etherd/e0.1p1
    guide 'mkfs.ext4 -q -L data /dev/etherd/e0.1p1'
    guide 'mkfs.ext4 -q -L fast /dev/etherd/e0.2'
    guide 'mkdir -p /mnt/data /mnt/fast'
    guide_file fstab >/etc/fstab
    [ "$(wc -l </etc/fstab)" = 2 ] || fail "the guide's fstab: $(cat /etc/fstab)"
    guide 'mount /mnt/data'
    guide 'mount /mnt/fast'
    guide 'df -h /mnt/data /mnt/fast'
    write_known /mnt/data
    write_known /mnt/fast
    step "shut down"
    run umount /mnt/data /mnt/fast
    no_errors
}
