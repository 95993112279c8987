# shellcheck shell=bash disable=SC2317,SC2034 # called by name
# The cases: test_NAME is one, for a NIC and an MTU. Sourced by run.

# test_table - prints "NIC MTU CASE..." for all of them
test_table() {
    local nic mtu
    # igb4 is last, because it needs another guest.
    for nic in "${NICS[@]}" igb4; do
        if [ "$nic" = virtio-more ]; then echo "$nic 1500 serve kill"; continue; fi
        for mtu in 1500 3000 9000; do
            echo "$nic $mtu serve vlan link rings mtu kill"
            case $nic in igb* | e1000e) echo "$nic $mtu renegotiate" ;; esac
            case $nic in igb* | virtio*) echo "$nic $mtu queues" ;; esac
        done
        echo "$nic 1500 unload starts pause busy direct"
        case $nic in
            igb | virtio) for mtu in 1500 9000; do echo "$nic $mtu initiator-guide initiator-verify initiator-kill"; done ;;
        esac
    done
}

# test_whole CASE - runs it, in a subshell; the kernel of the guest must have no complaint
test_whole() {
    local said
    LOAD='' EXPORT_ARGS=''
    trap 'kill $LOAD 2>/dev/null || true' EXIT
    ip -n "$NS_H" link del vlan5 2>/dev/null || true
    case $1 in initiator-*) scenario "${1#*-}" ;; *) "test_$1" ;; esac
    said=$(ask complaints)
    [ -z "$said" ] || lose "the guest's kernel: $said"
}

# Mode, stamps, verified load, short frames.
test_serve() {
    local mode queues lanes stamps=stamped wrong='/[1-9]'
    started
    mode=$(ask "mode_of $NIC")
    queues=$(ask "queues_of $NIC")
    [ "${queues% *}" = "${queues#* }" ] || lose "queues of the NIC, and queues with a socket: $queues"
    load 2000
    # What xblade tells hosts.
    mode+=" $(sed -nE 's/.* (of [0-9]+ sectors).*/\1/p' "$LOG/load.log")"
    [ "$mode" = "$(expected_mode)" ] || lose "xblade chose '$mode', expected '$(expected_mode)'"
    check_agrees
    # vmxnet3 in native mode gives an XDP program no room for the time of arrival.
    case $NIC-$mode in vmxnet3-native*) stamps=unstamped wrong='[1-9][0-9]*/0 ' ;; esac
    lanes=$(ask lanes)
    ! grep -qE "$wrong" <<<"$lanes" || lose "frames should be $stamps: $lanes (received/unstamped)"
    # AoE is no IP: no driver here spreads it over its queues.
    note "$mode, $stamps, frames by lane: $lanes"
    answers_are "short 60"
}

# `xblade check` names the mode that `serve` chose, as far as only the driver knows better, and
# the log has the driver's own words; no message blames the kernel.
check_agrees() {
    local said wanted
    ! ask 'cat /tmp/xblade.log' | grep 'in several fragments' || kernel_before 6.6 || lose "a false warning"
    case $mode in
        'native zero-copy'*) wanted='native mode.*, zero-copy$' ;;
        # Without an IOMMU virtio_net refuses only the bind.
        native*) wanted='native mode.*, (copy \(the driver.*\)|zero-copy)$' ;;
        *) wanted='generic mode|native mode if the driver (has it|takes MTU).*generic'
            sees 'cat /tmp/xblade.log' 'generic mode \(native mode: .*(buffer size|too large|not support|not supported)' ;;
    esac
    kernel_before 6.3 || sees "xblade check --interface $NIC" "$NIC: driver .* XDP in ($wanted)"
    [ "$NIC" != igb ] || sees "xblade steer -i $NIC --plan || true" 'has no rules for receive queues'
}

has_feature() { [ "$(ask "ethtool -k $NIC | grep -c '$1: on'")" = 1 ]; }

# Tagged queries: with the NIC's defaults, without stripping of tags, and with VLAN
# interfaces of the tags, which open the NIC's filter; then a load from VLAN 5, which may
# use another queue than one without tags. The exports answer every VLAN, then only theirs.
test_vlan() {
    local said strips=no
    local of_vlan='0.1=/tmp/1.img 0.2=/tmp/2.img,vlan=5'
    local off="not possible on $NIC, .*ethtool -K $NIC rxvlan off"
    fresh
    ! has_feature rx-vlan-offload || strips=yes
    if [ $strips = yes ]; then
        ! said=$(ask "serve $NIC '$of_vlan'") || lose 'a VLAN is promised where tags do not arrive'
        grep -qE "0.2: vlan 5 is $off" <<<"$said" || lose "the refusal: $said"
    fi
    EXPORT_ARGS='0.1=/tmp/1.img,vlan=any 0.2=/tmp/2.img,vlan=any' serve
    answers_are "$(vlan_expected default)"
    ! has_feature rx-vlan-filter || sees 'cat /tmp/xblade.log' "WARN.*$NIC: the VLAN filter of the NIC may drop"
    if [ $strips = yes ]; then
        sees 'cat /tmp/xblade.log' "WARN.*$NIC: frames arrive without their VLAN tags.*ethtool -K $NIC rxvlan off"
        in_guest "ethtool -K $NIC rxvlan off"
        answers_are "$(vlan_expected kept)"
    fi
    in_guest "join $NIC 802.1q 5; join $NIC 802.1ad 7"
    answers_are "$(vlan_expected joined)"
    note "frames by lane: $(ask lanes)"
    if ip -n "$NS_H" link add link "$NIC" name vlan5 type vlan id 5 2>/dev/null; then
        ip -n "$NS_H" link set vlan5 up
        (INTERFACE=vlan5 load 1000) || exit
    else
        note "NOT CHECKED: a load from a VLAN, because this machine's kernel has no VLAN interfaces"
    fi
    in_guest 'target_end TERM'
    EXPORT_ARGS=$of_vlan serve
    ! ask 'cat /tmp/xblade.log' | grep 'WARN.*VLAN' >>"$LOG/guest.log" || lose 'a warning, though tags arrive'
    answers_are "vlan none priority tagged double none own tagged bare none other none inner none"
    [ $strips = yes ] || return 0
    in_guest "ethtool -K $NIC rxvlan on"
    sees 'cat /tmp/xblade.log' "ERROR.*not served there .0.2.*ethtool -K $NIC rxvlan off"
    answers_are 'own none inner none'
    in_guest "ethtool -K $NIC rxvlan off"
    sees 'cat /tmp/xblade.log' "$NIC: frames arrive with their VLAN tags now"
    answers_are 'own tagged inner none'
}

test_link() {
    started
    under_load "ip link set $NIC down; ip link set $NIC up"
}

test_renegotiate() {
    started
    under_load "ethtool -r $NIC"
}

test_rings() {
    started
    under_load "ethtool -G $NIC rx 128" "ethtool -G $NIC rx 256"
}

test_queues() {
    started
    under_load "ethtool -L $NIC combined 1 || echo refused" "ethtool -L $NIC combined 2 || echo refused"
    note "$(grep -c '^refused' "$LOG/guest.log") of 2 changes were refused by the driver"
}

test_mtu() {
    local other=9000
    [ "$MTU" = 1500 ] || other=1500
    started
    under_load "ip link set $NIC mtu 1400" "ip link set $NIC mtu $MTU || echo refused" \
        "ip link set $NIC mtu $other || echo refused"
    ! grep -q '^refused' "$LOG/guest.log" || note "the driver refused to raise it"
    # Rings with zero-copy keep to the frames that they were made for.
    [[ $(expected_mode) != 'native zero-copy'* ]] || [ "$NIC$MTU" != virtio1500 ] ||
        sees 'cat /tmp/xblade.log; xblade status' "WARN.*MTU 9000 allows 16 sectors a frame, and the rings 4: restart"
    # With XDP igb takes only what its present buffers hold.
    [ "$NIC" = igb ] || ! grep -q '^refused' "$LOG/guest.log" || lose "the driver refused an MTU"
}

test_kill() {
    started
    load_start --sectors 2
    in_guest 'target_end KILL'
    serve
    traffic
    load_end
}

# Stopped for longer than its rings have room. One socket a queue leaves the fewest chunks.
test_pause() {
    started --spread off
    in_guest 'target_signal STOP'
    ip netns exec "$NS_H" python3 "$DRIVERS/probe.py" "$NIC" "$(nic_mac "$NIC")" flood
    in_guest 'target_signal CONT'
    answered
}

test_unload() {
    started
    load 100
    in_guest "rmmod ${DRIVER[$NIC]}"
    sees 'cat /tmp/xblade.log' "$NIC is gone"
    in_guest is_alive
}

test_starts() {
    local n starts=20
    [ "${all:-no}" = yes ] || starts=8
    fresh
    for ((n = 1; n <= starts; n++)); do
        serve
        (answered) || lose "start $n of $starts: no answer"
        in_guest "target_end $([ $((n % 2)) = 0 ] && echo KILL || echo TERM)"
    done
}

test_busy() {
    fresh
    in_guest "echo 2 >/sys/class/net/$NIC/napi_defer_hard_irqs; echo 200000 >/sys/class/net/$NIC/gro_flush_timeout"
    serve --busy-poll 20
    load 2000
}

# O_DIRECT from UMEM, or from bounce memory where the frame is not aligned; one disk has
# blocks of 4096 bytes.
test_direct() {
    EXPORT_ARGS=$DISKS
    started
    sees 'cat /tmp/xblade.log' '0.2: /dev/vdb \(direct'
    load 1000 --sectors 1
    load 1000 --sectors 2
    [ "$MTU" != 9000 ] || { load 600 --sectors 7; load 600 --sectors 16; }
}
