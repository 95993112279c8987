# shellcheck shell=bash
# Creates and removes network namespaces joined by veth pairs. Sourced by bash.
#
#   . deploy/lib/netns.sh
#   netns_trap                                  # remove everything on any exit
#   netns_add demo-a-$$ demo-b-$$
#   netns_veth demo-a-$$ left demo-b-$$ right 9000
#   ip netns exec demo-b-$$ ...
#
# No interface ever exists outside the namespaces, so deleting them removes everything.
# Names end in the process ID, so that runs can coexist and netns_sweep can find the
# leftovers of a killed run.

NETNS_MADE=()

# netns_add NAME... - creates namespaces, to be removed by netns_cleanup
netns_add() {
    local ns
    for ns in "$@"; do
        ip netns add "$ns" || return
        NETNS_MADE+=("$ns")
        # AoE is not IP: the kernel's own IPv6 frames would only distort the counters.
        ip netns exec "$ns" sh -c 'echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6' 2>/dev/null || true
        ip -n "$ns" link set lo up || return
    done
}

# netns_veth NS_A IF_A NS_B IF_B [MTU [QUEUES]] - joins two namespaces, both ends up
netns_veth() {
    local mtu=${5:-1500} queues=${6:-1}
    ip -n "$1" link add "$2" mtu "$mtu" numrxqueues "$queues" numtxqueues "$queues" type veth \
        peer name "$4" mtu "$mtu" numrxqueues "$queues" numtxqueues "$queues" netns "$3" &&
        ip -n "$1" link set "$2" up &&
        ip -n "$3" link set "$4" up
}

# netns_kill NAME [SIGNAL] - signals every process in a namespace (default KILL)
netns_kill() {
    local pid
    for pid in $(ip netns pids "$1" 2>/dev/null); do
        [ "$pid" = $$ ] || kill "-${2:-KILL}" "$pid" 2>/dev/null || true
    done
}

# netns_remove NAME - kills all processes in a namespace and deletes it
netns_remove() {
    [ -e "/run/netns/$1" ] || return 0
    netns_kill "$1"
    ip netns del "$1"
}

# netns_cleanup - removes every namespace that this run created
netns_cleanup() {
    local ns
    for ns in "${NETNS_MADE[@]}"; do netns_remove "$ns"; done
    NETNS_MADE=()
}

# netns_trap - calls netns_cleanup on any exit, including interrupts
netns_trap() {
    trap netns_cleanup EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
}

# netns_sweep PREFIX - removes namespaces PREFIX-...-PID whose process PID is gone
netns_sweep() {
    local ns
    for ns in $(ip netns list 2>/dev/null | cut -d' ' -f1); do
        [[ $ns =~ ^$1-[a-z0-9]+-([0-9]+)$ ]] || continue
        kill -0 "${BASH_REMATCH[1]}" 2>/dev/null || netns_remove "$ns"
    done
}
