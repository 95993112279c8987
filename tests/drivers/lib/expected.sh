# shellcheck shell=bash
# What the drivers make of it: tables, with what is known to be wrong. Sourced by run.

kernel_before() { [ "$(printf '%s\n' "$1" "$GUEST_KERNEL" | sort -V | head -1)" != "$1" ]; }

# expected_mode - what xblade should choose for this driver, MTU and kernel
expected_mode() {
    local sectors=2 rings=copy mode=native
    [ "$MTU" = 1500 ] || sectors=4
    [ "$MTU" != 9000 ] || kernel_before 6.6 || sectors=16
    case $NIC in igb | virtio | virtio-more) kernel_before 6.14 || rings=zero-copy ;; esac
    # igb has no frames in several fragments, so no native XDP above one of its buffers;
    # nor does virtio_net have them with zero-copy, and before Linux 6.3 at all.
    if [ "$NIC" = vmxnet3 ] && kernel_before 6.6; then mode=generic; fi
    case $NIC-$MTU in
        virtio*-9000) if kernel_before 6.3; then mode=generic; fi; echo "$mode copy of $sectors sectors" ;;
        igb-9000 | e1000e-* | vmxnet3-9000) echo "generic copy of $sectors sectors" ;;
        *) echo "$mode $rings of $sectors sectors" ;;
    esac
}

# vlan_expected STATE - answers to tagged queries. "none": the NIC's filter drops the frame.
# Known wrong is "untagged": the NIC takes the tag away before XDP, so xblade answers
# without it. vmxnet3 as emulated never passes on a frame with two tags.
vlan_expected() {
    local row
    row=$(awk -v nic="$NIC" -v state="$1" '$1 == nic && $2 == state {print $3, $4, $5}' <<'END'
igb           default  none      untagged  tagged
igb           kept     none      tagged    tagged
igb           joined   tagged    tagged    tagged
virtio        default  tagged    tagged    tagged
virtio        joined   tagged    tagged    tagged
virtio-plain  default  tagged    tagged    tagged
virtio-plain  joined   tagged    tagged    tagged
e1000e        default  untagged  untagged  tagged
e1000e        kept     tagged    tagged    tagged
e1000e        joined   tagged    tagged    tagged
vmxnet3       default  none      untagged  none
vmxnet3       kept     none      tagged    none
vmxnet3       joined   tagged    tagged    none
END
    )
    # shellcheck disable=SC2086 # a list of words
    printf 'vlan %s priority %s double %s' $row
}

# known_wrong NAME - prints why this case fails today, if it is known to
known_wrong() {
    case $1 in
        *-vmxnet3-1500-link | *-vmxnet3-3000-link | *-vmxnet3-[13]*-rings | *-vmxnet3-[13]*-mtu)
            kernel_before 6.6 || echo 'once set up again, vmxnet3 does not run the XDP program that it still shows' ;;
    esac
}
