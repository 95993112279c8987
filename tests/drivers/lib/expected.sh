# shellcheck shell=bash
# What the drivers make of it: tables, with what is known to be wrong. Sourced by run.

kernel_before() { [ "$(printf '%s\n' "$1" "$GUEST_KERNEL" | sort -V | head -1)" != "$1" ]; }

# expected_mode - what xblade should choose for this driver, MTU and kernel
expected_mode() {
    local sectors=2 rings=copy
    [ "$MTU" = 1500 ] || sectors=4
    [ "$MTU" != 9000 ] || kernel_before 6.6 || sectors=16
    case $NIC in igb* | virtio) kernel_before 6.14 || rings=zero-copy ;; esac
    # igb has no frames in several fragments, so no native XDP above one of its buffers;
    # nor does virtio_net have them with zero-copy.
    case $NIC-$MTU in
        igb*-9000 | e1000e-* | vmxnet3-9000) echo "generic copy $sectors" ;;
        virtio-9000) echo "native copy $sectors" ;;
        *) echo "native $rings $sectors" ;;
    esac
}

# vlan_expected STATE - answers to tagged queries
vlan_expected() {
    local row
    row=$(sed -nE "s/^$NIC +$1 +//p" <<'END'
igb           default  none untagged tagged
END
    )
    # shellcheck disable=SC2086 # a list of words
    printf 'vlan %s priority %s double %s' $row
}
