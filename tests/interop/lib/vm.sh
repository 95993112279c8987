# shellcheck shell=bash
# Runs a VM, with one boot for many cases, and the connection to its first process.
# Sourced by run.
#
# The connection is the guest's second serial port. The host sends "case SCENARIO
# NAME=VALUE..."; the guest answers with "info ...", "call FUNCTION" (answered with "done
# STATUS") and finally "exit STATUS". Or it sends "do COMMAND" (in base64); the guest
# answers with "out LINE" and "exit STATUS".

# All functions act on the VM of this name; its files are in $RUN/$VM.
VM=vm
declare -A VM_PID VM_IN VM_OUT VM_PARTIAL
# A folder with the files of the guest's own disk, placed below / (none).
VM_DISK=''
VM_QEMU=(qemu-system-x86_64)
VM_MACHINE=pc VM_CORES=2 VM_APPEND=''

vm_alive() { [ -n "${VM_PID[$VM]:-}" ] && kill -0 "${VM_PID[$VM]}" 2>/dev/null; }

# vm_start - boots, and waits until the guest is ready for a case
vm_start() {
    local dir=$RUN/$VM root=$RUN/$VM/root line began=$SECONDS in out
    rm -rf "$dir"
    mkdir -p "$root/xbi"
    cp "$HERE/guest/init" "$root/init"
    cp -r "$HERE/guest/lib.sh" "$HERE/scenarios" "$root/xbi/"
    [ -z "$VM_DISK" ] || cp -r "$VM_DISK/." "$root/"
    # The kernel unpacks the second archive over the first.
    { cat "$GUEST/initramfs.cpio"; root_archive "$root"; } >"$dir/initrd"
    mkfifo "$dir/ctl.in" "$dir/ctl.out"
    : >"$dir/console"
    vm_qemu >"$dir/qemu.log" 2>&1 </dev/null &
    VM_PID[$VM]=$!
    # Opened for reading and writing, so that neither side waits for the other to open it.
    exec {in}<>"$dir/ctl.in" {out}<>"$dir/ctl.out"
    VM_IN[$VM]=$in VM_OUT[$VM]=$out VM_PARTIAL[$VM]=''
    while vm_alive && [ $((SECONDS - began)) -lt 120 ]; do
        vm_read line || continue
        [ "$line" != ready ] || return 0
    done
    vm_console 0 | tail -30
    cat "$dir/qemu.log"
    die "the VM did not boot"
}

# vm_qemu - becomes QEMU with the NICs of this test
vm_qemu() {
    local n nics=()
    for ((n = 0; n < LINKS; n++)); do
        # virtio passes short frames on unchanged: the target must pad its frames itself,
        # where a physical NIC would do so.
        nics+=(-netdev "tap,id=n$n,ifname=tap$n,script=no,downscript=no,vhost=off"
            -device "virtio-net-pci,netdev=n$n,mac=02:a0:e0:00:00:0$n,host_mtu=$MTU_MAX,rx_queue_size=1024,romfile=")
    done
    vm_exec "${nics[@]}"
}

# vm_exec ARGUMENT... - becomes QEMU with these devices. Plain emulation: /dev/kvm is not
# available everywhere, and performance does not matter here.
vm_exec() {
    exec ip netns exec "$NS_H" "${VM_QEMU[@]}" -name "xblade-$VM" \
        -machine "$VM_MACHINE" -accel tcg,thread=multi -cpu max,la57=off -smp "$VM_CORES" -m 1024 \
        -nodefaults -no-user-config -display none -no-reboot \
        -kernel "$GUEST/vmlinux" -initrd "$RUN/$VM/initrd" \
        -append "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off nokaslr $VM_APPEND" \
        -serial "file:$RUN/$VM/console" -chardev "pipe,id=ctl,path=$RUN/$VM/ctl" -serial chardev:ctl \
        -object rng-random,id=rng,filename=/dev/urandom -device virtio-rng-pci,rng=rng "$@"
}

vm_stop() {
    local in=${VM_IN[$VM]:-} out=${VM_OUT[$VM]:-}
    [ -n "${VM_PID[$VM]:-}" ] || return 0
    kill "${VM_PID[$VM]}" 2>/dev/null || true
    wait "${VM_PID[$VM]}" 2>/dev/null || true
    exec {in}>&- {out}>&-
    VM_PID[$VM]=''
}

vm_say() { echo "$*" >&"${VM_IN[$VM]}"; }

# vm_read NAME - reads the guest's next line; fails if none came within a second
vm_read() {
    local got
    if IFS= read -r -t 1 -u "${VM_OUT[$VM]}" got; then
        printf -v "$1" '%s' "${VM_PARTIAL[$VM]}${got%$'\r'}"
        VM_PARTIAL[$VM]=''
    else
        # The second ended in the middle of a line.
        VM_PARTIAL[$VM]+=$got
        return 1
    fi
}

# vm_do COMMAND - runs it in the guest's bash; prints what it prints, returns its status
vm_do() {
    local said end=$((SECONDS + 120))
    vm_say "do $(base64 -w0 <<<"$1")"
    while vm_alive && [ $SECONDS -lt $end ]; do
        vm_read said || continue
        case $said in
            'out '*) say "${said#out }" ;;
            'exit '*) return "${said#exit }" ;;
        esac
    done
    say "the guest has not answered: $1"
    return 124
}

# vm_console OFFSET - the guest's console output since then
vm_console() { tail -c +$(($1 + 1)) "$RUN/$VM/console" | tr -d '\r'; }
vm_console_size() { stat -c %s "$RUN/$VM/console"; }
