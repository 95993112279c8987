# shellcheck shell=bash disable=SC2034
# Rate limits: whatever Linux has in flight waits for them in the target, and hardly anything is
# sent again: reads and writes with a deep queue, after a pause, and through the page cache.
EXPORTS='0.1=64M,iops=300 0.2=64M,bytes-per-second=4MiB'
MTUS='9000'

# rate NAME E RW ITEM LEAST MOST - what fio reports of 5 s is within this
rate() {
    local name=$1 e=$2 rw=$3 item=$4 least=$5 most=$6 got
    run fio --name="$name" --filename="$(dev "$e")" --rw="$rw" --bs=8k --ioengine=libaio --direct=1 --iodepth=32 \
        --time_based --runtime=5 --eta=never --output-format=json --output=/tmp/fio.json
    got=$(grep -m1 -A60 "\"${rw#rand}\" :" /tmp/fio.json | grep -m1 "\"$item\" :" | tr -cd '0-9.')
    info "$name: ${got%.*} a second, $least to $most expected"
    awk -v n="$got" -v a="$least" -v b="$most" 'BEGIN {exit !(n >= a && n <= b)}' || fail "$name: $got"
}

guest() {
    wait_up e0.1
    wait_up e0.2
    step "a deep queue, at once after answers came fast"
    rate reads e0.1 randread iops 280 345
    sleep 1
    rate writes e0.1 randwrite iops 280 345
    # In KiB.
    rate bytes e0.2 randwrite bw 3800 4800

    step "through the page cache"
    run dd if=/dev/zero of="$(dev e0.2)" bs=1M count=12 conv=fsync status=none

    # Linux expects answers within milliseconds, and a busy machine takes longer now and then.
    info "sent again: $(retransmits)"
    [ "$(retransmits)" -le 20 ] || fail "$(retransmits) requests were sent again"
    is_up e0.1 && is_up e0.2 || fail "a disk is not up"
}
