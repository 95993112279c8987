# shellcheck shell=bash
# Functions for scenarios. Sourced in the VM by /init.

say()  { echo "[$(cut -d' ' -f1 /proc/uptime)] $*"; }
step() { say "--- $*"; }
fail() { say "FAILED: $*"; exit 1; }

# run COMMAND... - shows and runs the command; the scenario ends if it fails
run() {
    say "+ $*"
    "$@" || fail "status $?: $*"
}

# run_fails COMMAND... - the command must fail
run_fails() {
    say "+ ! $*"
    ! "$@" || fail "did not fail: $*"
}

# --- the connection to the host ---

tell_host() { echo "$*" >&9; }

# info TEXT - adds a line to the host's report
info() { say "$*"; tell_host "info $*"; }

# on_host NAME - runs the scenario's function on_NAME on the host, and waits for it
on_host() {
    local verb status
    say "on the host: $1"
    tell_host "call $1"
    read -r verb status <&9
    [ "$verb $status" = 'done 0' ] || fail "on_$1 on the host ($verb $status)"
}

# --- AoE; E is an export's name, such as e0.1 ---

# dev E - its block device
dev() { echo "/dev/etherd/$1"; }

# attribute E NAME - an attribute in sysfs
attribute() { cat "/sys/block/etherd!$1/$2"; }

# size_of E - its size in bytes, as the driver sees it
size_of() { echo $(($(attribute "$1" size) * 512)); }

# export_bytes E - its size in bytes, as created by the host
export_bytes() { local n=BYTES_${1#e}; n=${n/./_}; echo "${!n}"; }

is_up() { [ -b "$(dev "$1")" ] && [ "$(attribute "$1" state)" = up ]; }
is_gone() { [ ! -e "/sys/block/etherd!$1" ]; }

# wait_up E [SECONDS] - runs discovery until it appears
wait_up() {
    local i
    for ((i = 0; i < ${2:-20} * 10; i++)); do
        [ $((i % 20)) != 0 ] || aoe-discover
        if is_up "$1"; then return; fi
        sleep 0.1
    done
    aoe-stat
    fail "$1 did not come up"
}

# wait_for SECONDS COMMAND... - polls until it succeeds
wait_for() {
    local i n=$(($1 * 10))
    shift
    for ((i = 0; i < n; i++)); do
        if "$@"; then return; fi
        sleep 0.1
    done
    fail "timed out waiting for: $*"
}

# drop_caches - empties the page cache, so that reads go over the network
drop_caches() { sync; echo 3 >/proc/sys/vm/drop_caches; }

retransmits() { grep -c retransmit /tmp/aoe-err || true; }

# verify NAME FILE FIO-OPTION... - writes at random places, reads back and checks every
# block; mixed block sizes, unless $BLOCKS is set (BLOCKS=--bs=512)
verify() {
    local name=$1 file=$2
    shift 2
    run fio --name="$name" --filename="$file" --rw=randrw --rwmixread=30 \
        "${BLOCKS:---bssplit=512/10:4k/40:16k/20:64k/20:256k/10}" \
        --ioengine=libaio --direct=1 --iodepth=16 --randrepeat=1 \
        --verify=crc32c --verify_fatal=1 --verify_backlog=256 \
        --eta=never --minimal --output=/tmp/fio.out "$@"
}
