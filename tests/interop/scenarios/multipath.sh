# shellcheck shell=bash disable=SC2034
# One export on two interfaces, one of which is cut under load and restored: the host sees
# a delay but no error.
EXPORTS='0.1=32M'
INTERFACES=2
# Frames in transit are lost when a link is cut.
DROPS=any

guest() {
    local cut back
    wait_up e0.1
    wait_for 5 both_known
    touch /tmp/go
    load &
    load=$!
    wait_for 20 frames_come 500
    step "one link is cut"
    on_host cut
    cut=$(frames_on 1)
    wait_for 60 others_come 500
    [ "$(frames_on 1)" -le $((cut + 50)) ] || fail "frames still come in on the link that was cut"
    kill -0 $load || fail "the load has ended"
    step "it comes back"
    on_host restore
    back=$(frames_on 1)
    aoe-discover
    wait_for 60 frames_come $((back + 500))
    rm /tmp/go
    wait $load || fail "the load saw an error"
    ! dmesg | grep -E 'I/O error|lost page write' || fail "the kernel saw an error"
    info "frames on the cut link: $cut before, $(frames_on 1) after"
}

# Writes verified blocks until told to stop.
load() {
    local n=0
    while [ -e /tmp/go ]; do
        verify "multipath$n" "$(dev e0.1)" --size=4M --offset=$((n % 8 * 4))M >/dev/null || return
        n=$((n + 1))
    done
    info "$n rounds of 4 MiB verified"
    [ $n -gt 0 ]
}

frames_on() { cat "/sys/class/net/eth$1/statistics/rx_packets"; }
frames_come() { [ "$(frames_on 1)" -gt "$1" ]; }

# Waits for this number of frames on the other link since the first call.
others_come() {
    start=${start:-$(frames_on 0)}
    [ "$(frames_on 0)" -gt $((start + $1)) ]
}

on_cut() { ip -n "$NS_T" link set aoe1 down; }
on_restore() { ip -n "$NS_T" link set aoe1 up; }

# The driver learns a path from the target's answer on it.
both_known() {
    case $(attribute e0.1 netif) in *eth0*eth1* | *eth1*eth0*) return ;; esac
    aoe-discover
    return 1
}
