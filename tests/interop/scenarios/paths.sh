# shellcheck shell=bash disable=SC2034
# One export on two interfaces: the driver spreads its requests over both, and
# every block is right.
EXPORTS='0.1=32M'
INTERFACES=2

guest() {
    local n
    wait_up e0.1
    wait_for 5 both_known
    info "paths $(attribute e0.1 netif)"
    verify paths "$(dev e0.1)" --size=16M
    for n in 0 1; do
        [ "$(cat /sys/class/net/eth$n/statistics/rx_packets)" -gt 1000 ] || fail "hardly a frame came in on eth$n"
    done
}

# The driver learns a path from the target's answer on it.
both_known() {
    case $(attribute e0.1 netif) in *eth0*eth1* | *eth1*eth0*) return ;; esac
    aoe-discover
    return 1
}
