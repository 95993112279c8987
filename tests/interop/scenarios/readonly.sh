# shellcheck shell=bash disable=SC2034
# A read-only export: it can be read and mounted; a write fails soon and changes nothing.
EXPORTS='0.1=64M,ro'

prepare() {
    mkdir "$WORK/tree" &&
        echo 'made on the host' >"$WORK/tree/hello" &&
        mkfs.ext4 -q -d "$WORK/tree" "$(export_file 0.1)" &&
        sha256sum "$(export_file 0.1)" >"$WORK/sum"
}

guest() {
    local d began took
    wait_up e0.1
    d=$(dev e0.1)
    readable

    step "a write fails"
    began=$SECONDS
    run_fails dd if=/dev/urandom of="$d" bs=4k count=1 seek=100 oflag=direct status=none
    took=$((SECONDS - began))
    # If it took longer, the driver got no error and gave up the disk by itself.
    [ $took -le 5 ] || fail "the write failed only after $took s"
    is_up e0.1 || fail "e0.1 went down"

    step "still readable"
    drop_caches
    readable
    run dd if="$d" of=/dev/null bs=64k count=64 iflag=direct status=none
}

readable() {
    mkdir -p /mnt/a
    run mount -t ext4 -o ro,noload "$(dev e0.1)" /mnt/a
    [ "$(cat /mnt/a/hello)" = 'made on the host' ] || fail "wrong contents"
    run umount /mnt/a
}

check() { sha256sum -c "$WORK/sum"; }
