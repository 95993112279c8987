# shellcheck shell=bash
# The guest with the NICs and xblade. Sourced by tests/interop/guest/init; the host calls
# these functions (vm_do).

boot() {
    local module n
    for module in virtio_blk xsk_diag 8021q igb e1000e vmxnet3; do modprobe -q $module; done
    for n in 1 2; do dd if=/dev/zero of=/tmp/$n.img bs=1M count=16 status=none; done
}

# nic_fresh NAME PCI DRIVER MTU QUEUES - binds the driver anew, so that nothing remains of
# the case before
nic_fresh() {
    local device=/sys/bus/pci/devices/$2
    target_end KILL
    modprobe "$3"
    [ ! -e "$device/driver" ] || echo "$2" >"$device/driver/unbind"
    echo "$2" >/sys/bus/pci/drivers_probe
    wait_for 20 nic_of "$device" >/dev/null
    ip link set "$(nic_of "$device")" name "$1"
    echo 1 >/proc/sys/net/ipv6/conf/"$1"/disable_ipv6
    # Some drivers have one queue only.
    [ "$3" != virtio_net ] || ethtool -L "$1" combined "$5"
    ip link set "$1" mtu "$4" up
    wait_for 30 has_carrier "$1"
}

# nic_of DEVICE - the interface of a PCI device; that of virtio is one level lower
nic_of() { ls "$1"/net 2>/dev/null || ls "$1"/virtio*/net 2>/dev/null; }

has_carrier() { [ "$(cat "/sys/class/net/$1/carrier" 2>/dev/null)" = 1 ]; }

# serve NAME ARGUMENT... - starts xblade, waits until it is ready
serve() {
    local name=$1
    shift
    [ $# -gt 0 ] && [[ $* == *[0-9]=* ]] || set -- 0.1=/tmp/1.img 0.2=/tmp/2.img "$@"
    xblade serve --state none --no-probe --interface "$name" "$@" >/tmp/xblade.log 2>&1 </dev/null &
    echo $! >/tmp/xblade.pid
    wait_for 60 is_decided
    grep -q ready: /tmp/xblade.log || { cat /tmp/xblade.log; fail "xblade did not start"; }
}

is_decided() { grep -q ready: /tmp/xblade.log || ! is_alive; }
is_alive() { kill -0 "$(cat /tmp/xblade.pid 2>/dev/null)" 2>/dev/null; }

# target_end SIGNAL - ends xblade, if it runs, and waits until it is gone
target_end() {
    ! is_alive || kill "-$1" "$(cat /tmp/xblade.pid)"
    wait_for 30 is_ended
}
is_ended() { ! is_alive; }
