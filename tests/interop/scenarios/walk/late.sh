# shellcheck shell=bash disable=SC2034,SC2154
# The walk-through: the host was cut off and is up again; the target comes up later.
INTERFACES=2
TIMEOUT=120

guest() {
    step "up, without the target"
    ! is_mounted /mnt/data || fail "mounted, from where?"
    on_host start
    step "mounted when it comes"
    wait_for 90 is_mounted /mnt/data
    wait_for 30 is_mounted /mnt/fast
    known_is_there /mnt/data
    known_is_there /mnt/fast
    [ "$(cat /mnt/data/last)" = written ] || fail "what was acknowledged before the power cut is gone"

    step "a second interface"
    on_host second
    guide 'aoe-interfaces eth1 eth2'
    guide 'aoe-discover'
    wait_for 10 both_known
    guide 'aoe-stat'
    known_is_there /mnt/data

    step "take it back"
    guide 'umount /mnt/data /mnt/fast'
    run fsck.ext4 -f -n /dev/etherd/e0.1p1
    run fsck.ext4 -f -n /dev/etherd/e0.2
    # A reader of the driver's log keeps the module in use.
    kill "$err_log"
    wait_for 5 released
    guide 'modprobe -r aoe'
    on_host remove
    no_errors
}

released() { [ -z "$(ls "/proc/$err_log/fd" 2>/dev/null)" ]; }

both_known() {
    case $(attribute e0.1 netif) in *eth0*eth1* | *eth1*eth0*) return ;; esac
    return 1
}

on_start() { in_box systemctl start xblade && in_box systemctl is-active xblade; }

on_second() {
    target "sed -i 's/^interfaces = .*/interfaces = [\"eth1\", \"eth2\"]/' /etc/xblade/xblade.toml" &&
        target "xblade check --config /etc/xblade/xblade.toml" && target 'systemctl restart xblade'
}

on_remove() {
    target 'systemctl disable --now xblade' && target 'dpkg --purge xblade' || return
    ! in_box test -e /etc/xblade -o -e /var/lib/xblade -o -e /usr/sbin/xblade
}
