# shellcheck shell=bash
# Makes the VM the target. Sourced by /init for tests/interop/pauses.

# The first worker has all exports and receives from the first queues; the second worker
# is on the other processor.
SERVE='xblade serve --control none --state none --no-probe --measure-every 0 --cores 0,1 --spread off'

boot() {
    local n slot=0 kind arguments=()
    # shellcheck source=/dev/null
    . /xbi/environment
    [ -n "$XBLADE_PLANT" ] || unset XBLADE_PLANT
    for n in 0 1; do
        echo 1 >/proc/sys/net/ipv6/conf/eth$n/disable_ipv6
        ip link set eth$n up
        arguments+=(--interface "eth$n")
    done
    for kind in durable volatile; do
        dd if=/dev/zero of=/tmp/$slot.img bs=1M count=1 2>/dev/null
        arguments+=("7.$slot=/tmp/$slot.img,store=mmap,durability=$kind,worker=0")
        slot=$((slot + 1))
    done
    $SERVE "${arguments[@]}" >/tmp/xblade.log 2>&1 &
    for ((n = 0; n < 300; n++)); do
        ! grep -qs ready: /tmp/xblade.log || break
        sleep 0.1
    done
    cat /tmp/xblade.log
}
