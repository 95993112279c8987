# shellcheck shell=bash disable=SC2034
# The file behind an export grows: aoe-revalidate shows the new size, and a mounted
# file system grows into it.
EXPORTS='0.1=32M'

guest() {
    local old sum sum2
    wait_up e0.1
    old=$(size_of e0.1)
    run mkfs.ext4 -q "$(dev e0.1)"
    mkdir -p /mnt/a
    run mount "$(dev e0.1)" /mnt/a
    dd if=/dev/urandom of=/mnt/a/file bs=64k count=32 status=none
    sum=$(sha256sum </mnt/a/file)

    step "grow"
    on_host grow
    run aoe-revalidate e0.1
    wait_for 10 has_size $((old * 2))
    is_up e0.1 || fail "e0.1 is not up"

    step "use the new space"
    run resize2fs "$(dev e0.1)"
    dd if=/dev/urandom of=/mnt/a/file2 bs=1M count=36 status=none || fail "write to the new space"
    sum2=$(sha256sum </mnt/a/file2)
    run umount /mnt/a
    drop_caches
    run mount "$(dev e0.1)" /mnt/a
    [ "$(sha256sum </mnt/a/file)" = "$sum" ] || fail "the old file changed"
    [ "$(sha256sum </mnt/a/file2)" = "$sum2" ] || fail "the new file changed"
    run umount /mnt/a
    run fsck.ext4 -f -n "$(dev e0.1)"
}

has_size() { [ "$(size_of e0.1)" = "$1" ]; }

on_grow() { export_grow 0.1 32M; }
