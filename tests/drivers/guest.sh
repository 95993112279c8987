# shellcheck shell=bash
# The guest with the NICs and xblade. Sourced by tests/interop/guest/init; the host calls
# these functions (vm_do).

boot() {
    local module n
    for module in virtio_blk xsk_diag igb e1000e vmxnet3; do modprobe -q $module; done
    for n in 1 2; do dd if=/dev/zero of=/tmp/$n.img bs=1M count=16 status=none; done
}

# nic_fresh NAME PCI DRIVER MTU - binds the driver again, so that nothing remains of the case
# before
nic_fresh() {
    local device=/sys/bus/pci/devices/$2
    target_end KILL
    dmesg -c >/dev/null
    modprobe "$3"
    [ ! -e "$device/driver" ] || echo "$2" >"$device/driver/unbind"
    echo "$2" >/sys/bus/pci/drivers_probe
    wait_for 60 nic_of "$device" >/dev/null
    ip link set "$(nic_of "$device")" name "$1"
    echo 1 >/proc/sys/net/ipv6/conf/"$1"/disable_ipv6
    ip link set "$1" mtu "$4" up
    wait_for 60 has_carrier "$1"
}

# nic_of DEVICE - the interface of a PCI device; that of virtio is one level lower
nic_of() { ls "$1"/net 2>/dev/null || ls "$1"/virtio*/net 2>/dev/null; }

has_carrier() { [ "$(cat "/sys/class/net/$1/carrier" 2>/dev/null)" = 1 ]; }

# join NAME PROTOCOL ID - a VLAN interface on it
join() {
    modprobe 8021q
    ip link add link "$1" name "$1.$3" type vlan proto "$2" id "$3"
    ip link set "$1.$3" up
}

# serve NAME EXPORTS [OPTION...] - starts xblade, waits until it is ready
serve() {
    local name=$1 exports=$2
    shift 2
    # Not by the background process, which may come later than the first look.
    : >/tmp/xblade.log
    # shellcheck disable=SC2086 # a list of words
    xblade serve --state none --no-probe --interface "$name" $exports "$@" >>/tmp/xblade.log 2>&1 </dev/null &
    echo $! >/tmp/xblade.pid
    wait_for 60 is_decided
    grep -q ready: /tmp/xblade.log || { cat /tmp/xblade.log; fail "xblade did not start"; }
}

is_decided() { grep -q ready: /tmp/xblade.log || ! is_alive; }
is_alive() { kill -0 "$(cat /tmp/xblade.pid 2>/dev/null)" 2>/dev/null; }

target_signal() { kill "-$1" "$(cat /tmp/xblade.pid)"; }

# target_end SIGNAL - ends xblade, if it runs, and waits until it is gone
target_end() {
    ! is_alive || target_signal "$1"
    wait_for 30 is_ended
}
is_ended() { ! is_alive; }

# mode_of NAME - XDP mode and rings of the first queue, "native zero-copy": by xblade's log, and
# for all queues also by the kernel (Debian's Linux 6.1 cannot tell)
mode_of() {
    local rings=copy logged kernel
    logged=$(sed -nE 's/.* queue ([0-9]+): .*(zero-copy|copy-mode) rings.*/\1 \2/p' /tmp/xblade.log)
    kernel=$(ss --xdp -e | sed -nE 's/.*,qid:([0-9]+),zc:([01]).*/\1 \2/p' |
        sed 's/ 1$/ zero-copy/; s/ 0$/ copy-mode/' | sort -nu)
    [ "${kernel:-$logged}" = "$logged" ] || { echo "log: $logged; kernel: $kernel"; return 1; }
    [[ $logged != '0 zero-copy'* ]] || rings=zero-copy
    sed -nE "s/.* $1: driver [^(]* XDP in ([a-z]+) mode.*/\1 $rings/p" /tmp/xblade.log
}

# queues_of NAME - receive queues, and those of them that have a socket: "2 2"
queues_of() {
    local all=(/sys/class/net/"$1"/queues/rx-*)
    echo "${#all[@]} $(grep -c " $1 queue .* rings" /tmp/xblade.log)"
}

# lanes - received and of these unstamped frames of each lane: "2026/0 2026/0 0/0"
lanes() {
    xblade stats | awk '/^lane/ {n++; r[n] = u[n] = 0} /^$/ {next} $1 == "received" {r[n] = $2} $1 == "unstamped" {u[n] = $2}
        END {for (i = 1; i <= n; i++) printf "%d/%d ", r[i], u[i]}'
}

# losses - counters of lost frames and of bugs. In zero-copy mode the kernel counts the fill
# ring as empty while xblade fills it for the first time.
losses() {
    xblade stats | awk '$1 ~ /^(no-socket|too-long|bad-.*|kernel-(rx|tx).*|imbalances|kick-errors|no-chunks|unsendable)$/ &&
        $2 > 0 {printf "%s=%d ", $1, $2}'
}

# complaints - what the kernel says of bugs, and of DMA to memory that is not the device's
complaints() { dmesg | grep -E 'BUG:|WARNING:|Oops|general protection|blocked for more than|DMAR:.*([Ff]ault|ERROR)' | head -5; }
