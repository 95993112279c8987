# shellcheck shell=bash disable=SC2034,SC2054,SC2153 # parts share variables; commas of QEMU
# The guest with the NICs: its devices and its boot. Sourced by run.
#
#   netns xbi-h-PID, of tests/interop/lib/net.sh
#   [guest NIC] = tap of the NIC's name  <- load, probes
#                 |  in cases with an initiator
#                 br0 - tap0 = [second guest, eth0]

DISK_SIZE=128M
# The processors of the guest that runs.
CORES=0
NICS=(igb virtio virtio-plain e1000e vmxnet3 virtio-more)
# The virtual IOMMU is strict: a NIC or disk that accesses memory that is not mapped for it
# is in the kernel's log. Without iommu_platform a virtio device goes past it.
IOMMU=iommu_platform=on,disable-legacy=on
declare -A DRIVER=([igb]=igb [virtio]=virtio_net [virtio-plain]=virtio_net [virtio-more]=virtio_net
    [e1000e]=e1000e [vmxnet3]=vmxnet3)
declare -A OPTIONS=([virtio]=,$IOMMU,mq=on,vectors=6 [virtio-plain]=,mq=on,vectors=6 [virtio-more]=,$IOMMU,mq=on,vectors=10)
# Pairs of queues that a virtio device has; the driver uses one for each processor, and for
# XDP twice as many, if the device has them.
declare -A PAIRS=([virtio]=2 [virtio-plain]=2 [virtio-more]=4)

nic_index() { local n; for n in "${!NICS[@]}"; do [ "${NICS[n]}" != "$1" ] || echo "$n"; done; }
nic_mac() { echo "02:a0:e0:00:01:0$(nic_index "$1")"; }
nic_pci() { echo "0000:00:0$((4 + $(nic_index "$1"))).0"; }

# taps_up - creates the taps of the NICs
taps_up() {
    local nic
    for nic in "${NICS[@]}"; do
        # shellcheck disable=SC2086 # one more word, or none
        ip -n "$NS_H" tuntap add dev "$nic" mode tap vnet_hdr ${PAIRS[$nic]:+multi_queue}
        ip -n "$NS_H" link set "$nic" mtu "$MTU_MAX" txqueuelen 4096 up
    done
}

# vm_qemu - replaces the one of tests/interop/lib/vm.sh
vm_qemu() {
    local nic n args=()
    if [ "$VM" = initiator ]; then
        vm_exec -netdev tap,id=n0,ifname=tap0,script=no,downscript=no,vhost=off \
            -device "virtio-net-pci,netdev=n0,mac=02:a0:e0:00:00:00,host_mtu=$MTU_MAX,rx_queue_size=1024,romfile="
    fi
    for nic in "${NICS[@]}"; do
        n=$(nic_index "$nic")
        args+=(-netdev "tap,id=n$n,ifname=$nic,script=no,downscript=no,vhost=off${PAIRS[$nic]:+,queues=${PAIRS[$nic]}}"
            -device "${DRIVER[$nic]/virtio_net/virtio-net-pci}${OPTIONS[$nic]:-},netdev=n$n,mac=$(nic_mac "$nic"),addr=$((4 + n)),romfile=")
    done
    for n in 512 4096; do
        args+=(-drive "file=$RUN/disk$n,format=raw,if=none,id=d$n,cache=none"
            -device "virtio-blk-pci,drive=d$n,logical_block_size=$n,physical_block_size=$n,$IOMMU")
    done
    vm_exec -device intel-iommu,intremap=off "${args[@]}"
}

# disk_make - adds xblade and its functions to the guest
disk_make() {
    local VM_DISK=$RUN/disk
    mkdir -p "$VM_DISK"/{bin,lib,xbi,run} "$RUN/program"
    strip --strip-debug -o "$RUN/program/xblade" "$XBLADE"
    PATH=$RUN/program:$PATH root_program "$VM_DISK" xblade
    cp "$DRIVERS/guest.sh" "$VM_DISK/xbi/boot.sh"
    truncate -s $DISK_SIZE "$RUN/disk512" "$RUN/disk4096"
}

# guests_up CORES CASE - boots those that the case needs, if they do not run; the one with
# the NICs has so many processors
guests_up() {
    local VM=target VM_CORES=$1 VM_MACHINE=q35 VM_APPEND='intel_iommu=on iommu.strict=1 iommu.passthrough=0' VM_DISK=$RUN/disk
    [ "$1" = "$CORES" ] || vm_stop
    vm_alive || { vm_start; CORES=$1; }
    VM=initiator VM_CORES=2 VM_MACHINE=pc VM_APPEND='' VM_DISK=''
    [[ $2 != initiator-* ]] || vm_alive || vm_start
}
guests_stop() { local VM; for VM in target initiator; do vm_stop; done; }
