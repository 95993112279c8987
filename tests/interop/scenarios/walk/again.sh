# shellcheck shell=bash disable=SC2034
# The walk-through: both were rebooted, and the target is changed under load.
TIMEOUT=150

guest() {
    step "mounted at boot"
    wait_for 60 is_mounted /mnt/data
    wait_for 60 is_mounted /mnt/fast
    known_is_there /mnt/data
    known_is_there /mnt/fast
    aoe-stat | grep -q 'e0\.1 .* eth0 .*up' || fail "not by eth0 alone"
    timeout 10 aoecfg -c read 0 1 eth0 >/tmp/cfg
    grep -q 'data of web-1' /tmp/cfg || fail "the config string is not what it was: $(cat /tmp/cfg)"
    run umount /mnt/data
    run fsck.ext4 -f -n /dev/etherd/e0.1p1
    run mount /mnt/data

    step "the target is restarted"
    loaded restart
    step "the package is upgraded"
    loaded upgrade

    step "an export grows"
    on_host grow
    guide 'aoe-revalidate e0.1'
    wait_for 10 has_size e0.1 $((512 << 20))
    guide "echo ', +' | sfdisk --no-reread --force -N 1 /dev/etherd/e0.1"
    guide 'partx -u /dev/etherd/e0.1'
    guide 'resize2fs /dev/etherd/e0.1p1'
    [ "$(df -k /mnt/data | awk 'END {print $2}')" -gt 400000 ] || fail "the file system did not grow: $(df -k /mnt/data)"
    known_is_there /mnt/data
    # Acknowledged data must survive the power cut that follows.
    echo written >/mnt/data/last
    sync
    no_errors
}

has_size() { [ "$(size_of "$1")" = "$2" ]; }

# loaded NAME - runs on_NAME on the host while both file systems are written and checked
loaded() {
    local rounds pids=()
    touch /tmp/go
    load /mnt/data "$1" &
    pids+=($!)
    load /mnt/fast "$1" &
    pids+=($!)
    wait_for 20 test -e /tmp/round-data -a -e /tmp/round-fast
    on_host "$1"
    rm /tmp/round-*
    wait_for 60 test -e /tmp/round-data -a -e /tmp/round-fast
    rm /tmp/go
    for pid in "${pids[@]}"; do wait "$pid" || fail "the load saw an error"; done
    no_errors || fail "the kernel saw an error"
}

# Writes verified blocks to a file until told to stop.
load() {
    local n=0
    while [ -e /tmp/go ]; do
        verify "$2$n" "$1/fio" --size=2M --iodepth=8 >/dev/null || return
        n=$((n + 1))
        touch "/tmp/round-${1##*/}"
    done
    info "$2 under load: $n rounds of 2 MiB verified in $1"
}

on_restart() { target 'systemctl restart xblade' && in_box systemctl is-active xblade; }

# The postinst restarts it.
on_upgrade() {
    local before after
    before=$(in_box cat /run/xblade-unit/pid)
    target 'dpkg -i xblade_0.1.0-2_amd64.deb' && in_box systemctl is-active xblade || return
    after=$(in_box cat /run/xblade-unit/pid)
    [ "$before" != "$after" ]
}

on_grow() { target 'fallocate -l 512M /srv/xblade/data.img' && target 'systemctl reload xblade'; }
