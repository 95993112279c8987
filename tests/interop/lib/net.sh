# shellcheck shell=bash
# Sets up the network of a run. Sourced by run.
#
#   netns xbi-h-PID                               netns xbi-t-PID
#   [guest eth0] = tap0 -- br0 -- veth0 ========= aoe0  <- target
#   [guest eth1] = tap1 -- br1 -- veth1 ========= aoe1  <- target
#
# Taps and bridges live as long as the VM. The veth pairs are created for each case, so
# that counters and MTU belong to the case.

NS_H=xbi-h-$$
NS_T=xbi-t-$$
LINKS=2
MTU_MAX=9000

net_up() {
    local n
    netns_sweep xbi
    netns_add "$NS_H" "$NS_T"
    for ((n = 0; n < LINKS; n++)); do
        ip -n "$NS_H" link add "br$n" mtu $MTU_MAX type bridge stp_state 0 forward_delay 0 mcast_snooping 0
        # QEMU's virtio device needs vnet_hdr.
        ip -n "$NS_H" tuntap add dev "tap$n" mode tap vnet_hdr
        # The queue of a tap must hold the largest burst of the target.
        ip -n "$NS_H" link set "tap$n" mtu $MTU_MAX txqueuelen 4096 master "br$n" up
        ip -n "$NS_H" link set "br$n" up
    done
}

# links_up COUNT MTU QUEUES - creates the target's interfaces of a case
links_up() {
    local n
    for ((n = 0; n < $1; n++)); do
        netns_veth "$NS_H" "veth$n" "$NS_T" "aoe$n" "$2" "$3" &&
            ip -n "$NS_H" link set "veth$n" txqueuelen 4096 master "br$n" || return
    done
}

links_down() {
    local n
    for ((n = 0; n < LINKS; n++)); do
        ip -n "$NS_T" link del "aoe$n" 2>/dev/null || true
    done
}

# link_count NS INTERFACE COUNTER
link_count() { ip netns exec "$1" cat "/sys/class/net/$2/statistics/$3" 2>/dev/null || echo 0; }

# Frames that crossed the target's interfaces: "IN in OUT out"
link_frames() {
    local n in=0 out=0
    for ((n = 0; n < $1; n++)); do
        in=$((in + $(link_count "$NS_T" "aoe$n" rx_packets)))
        out=$((out + $(link_count "$NS_T" "aoe$n" tx_packets)))
    done
    echo "$in in $out out"
}

# link_drops COUNT - prints "INTERFACE.COUNTER=N ..." for frames lost at either end of the
# veth pairs; nothing if none were
link_drops() {
    local n c v
    for ((n = 0; n < $1; n++)); do
        for c in rx_dropped tx_dropped rx_errors tx_errors; do
            v=$(link_count "$NS_T" "aoe$n" $c)
            [ "$v" = 0 ] || printf 'aoe%d.%s=%d ' "$n" $c "$v"
            v=$(link_count "$NS_H" "veth$n" $c)
            [ "$v" = 0 ] || printf 'veth%d.%s=%d ' "$n" $c "$v"
        done
        # Frames dropped by an XDP program or a full AF_XDP ring.
        ip netns exec "$NS_T" ethtool -S "aoe$n" 2>/dev/null |
            awk -v i="aoe$n" -F'[: ]+' '/drop|err/ && $3 > 0 {printf "%s.%s=%d ", i, $2, $3}'
    done
}
