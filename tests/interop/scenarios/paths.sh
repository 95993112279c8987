# shellcheck shell=bash disable=SC2034
# One export on two interfaces: the driver spreads its requests over both, and
# every block is right.
EXPORTS='0.1=128M'
INTERFACES=2

guest() {
    local n
    wait_up e0.1
    wait_for 5 both_known
    verify paths "$(dev e0.1)" --size=24M
    for n in 0 1; do
        [ "$(cat /sys/class/net/eth$n/statistics/rx_packets)" -gt 1000 ] || fail "hardly a frame came in on eth$n"
    done
}

both_known() { [ "$(attribute e0.1 netif)" = eth0,eth1 ] || { aoe-discover; false; }; }
