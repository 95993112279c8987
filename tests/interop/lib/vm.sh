# shellcheck shell=bash
# Runs the VM, with one boot for many cases, and the connection to its first process.
# Sourced by run.
#
# The connection is the guest's second serial port. The host sends "case SCENARIO
# NAME=VALUE..."; the guest answers with "info ...", "call FUNCTION" (answered with "done
# STATUS") and finally "exit STATUS".

VM_PID=''
# A folder with the files of the guest's own disk, placed below / (none).
VM_DISK=''

vm_alive() { [ -n "$VM_PID" ] && kill -0 "$VM_PID" 2>/dev/null; }

# vm_start - boots, and waits until the guest is ready for a case
vm_start() {
    local guest=$RUN/guest line began=$SECONDS
    rm -rf "$guest" "$RUN"/ctl.*
    mkdir -p "$guest/xbi"
    cp "$HERE/guest/init" "$guest/init"
    cp -r "$HERE/guest/lib.sh" "$HERE/scenarios" "$guest/xbi/"
    [ -z "$VM_DISK" ] || cp -r "$VM_DISK/." "$guest/"
    # The kernel unpacks the second archive over the first.
    { cat "$CACHE/guest/initramfs.cpio"; root_archive "$guest"; } >"$RUN/initrd"
    mkfifo "$RUN/ctl.in" "$RUN/ctl.out"
    : >"$RUN/console"
    vm_qemu >"$RUN/qemu.log" 2>&1 </dev/null &
    VM_PID=$!
    # Opened for reading and writing, so that neither side waits for the other to open it.
    exec {VM_IN}<>"$RUN/ctl.in" {VM_OUT}<>"$RUN/ctl.out"
    VM_PARTIAL=''
    while vm_alive && [ $((SECONDS - began)) -lt 120 ]; do
        vm_read line || continue
        [ "$line" != ready ] || return 0
    done
    vm_console 0 | tail -30
    cat "$RUN/qemu.log"
    die "the VM did not boot"
}

# Plain emulation: /dev/kvm is not available everywhere, and performance does not matter
# here.
vm_qemu() {
    local n nics=()
    for ((n = 0; n < LINKS; n++)); do
        # virtio passes short frames on unchanged: the target must pad its frames itself,
        # where a physical NIC would do so.
        nics+=(-netdev "tap,id=n$n,ifname=tap$n,script=no,downscript=no,vhost=off"
            -device "virtio-net-pci,netdev=n$n,mac=02:a0:e0:00:00:0$n,host_mtu=$MTU_MAX,rx_queue_size=1024,romfile=")
    done
    exec ip netns exec "$NS_H" qemu-system-x86_64 -name xblade-interop \
        -machine pc -accel tcg,thread=multi -cpu max,la57=off -smp 2 -m 1024 \
        -nodefaults -no-user-config -display none -no-reboot \
        -kernel "$CACHE/guest/vmlinux" -initrd "$RUN/initrd" \
        -append "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off nokaslr" \
        -serial "file:$RUN/console" -chardev "pipe,id=ctl,path=$RUN/ctl" -serial chardev:ctl \
        -object rng-random,id=rng,filename=/dev/urandom -device virtio-rng-pci,rng=rng "${nics[@]}"
}

vm_stop() {
    [ -n "$VM_PID" ] || return 0
    kill "$VM_PID" 2>/dev/null || true
    wait "$VM_PID" 2>/dev/null || true
    exec {VM_IN}>&- {VM_OUT}>&-
    VM_PID=''
}

vm_say() { echo "$*" >&"$VM_IN"; }

# vm_read NAME - reads the guest's next line; fails if none came within a second
vm_read() {
    local got
    if IFS= read -r -t 1 -u "$VM_OUT" got; then
        printf -v "$1" '%s' "$VM_PARTIAL${got%$'\r'}"
        VM_PARTIAL=''
    else
        # The second ended in the middle of a line.
        VM_PARTIAL+=$got
        return 1
    fi
}

# vm_console OFFSET - the guest's console output since then
vm_console() { tail -c +$(($1 + 1)) "$RUN/console" | tr -d '\r'; }
vm_console_size() { stat -c %s "$RUN/console"; }
