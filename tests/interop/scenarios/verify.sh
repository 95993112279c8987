# shellcheck shell=bash disable=SC2034
# The raw disk: random places, mixed block sizes, several queue depths and jobs, with and
# without the page cache, every block verified; and the very end of the disk.
EXPORTS='0.1=64M'
MTUS='1500 9000'

guest() {
    local d end
    wait_up e0.1
    d=$(dev e0.1) end=$(size_of e0.1)
    info "payload $(attribute e0.1 payload) bytes a frame"

    step "mixed sizes"
    verify mixed "$d" --size=12M
    step "512-byte blocks"
    BLOCKS=--bs=512 verify tiny "$d" --size=256k --offset=20M --iodepth=4
    step "four jobs side by side"
    verify jobs "$d" --numjobs=4 --group_reporting --size=1M --offset=24M --offset_increment=2M --iodepth=8
    step "through the page cache"
    verify cached "$d" --direct=0 --ioengine=psync --fsync=64 --size=6M --offset=40M

    step "the last sectors"
    BLOCKS=--bsrange=512-4k verify tail "$d" --size=64k --offset=$((end - 65536))
    run dd if="$d" of=/dev/null bs=512 count=1 skip=$((end / 512 - 1)) iflag=direct status=none
    run_fails dd if=/dev/zero of="$d" bs=512 count=1 seek=$((end / 512)) oflag=direct status=none
    is_up e0.1 || fail "e0.1 is not up"
}
