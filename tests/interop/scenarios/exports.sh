# shellcheck shell=bash disable=SC2034
# Several exports on several shelves: each is found with its own size, holds exactly what
# was written to it, and all work under load at the same time.
EXPORTS='0.0=32M 0.1=64M 1.0=96M 7.14=16M'

all='e0.0 e0.1 e1.0 e7.14'

guest() {
    local e
    for e in $all; do
        wait_up "$e"
        [ "$(size_of "$e")" = "$(export_bytes "$e")" ] || fail "$e: size $(size_of "$e"), want $(export_bytes "$e")"
    done
    run aoe-stat
    [ "$(aoe-stat | wc -l)" = 4 ] || fail "aoe-stat does not show four disks"

    step "own contents"
    for e in $all; do
        label "$e" | dd of="$(dev "$e")" bs=64k iflag=fullblock oflag=direct status=none || fail "write $e"
    done
    for e in $all; do
        dd if="$(dev "$e")" bs=64k count=16 iflag=direct status=none | cmp - <(label "$e") || fail "$e holds something else"
    done

    step "all at once"
    local pids=()
    for e in $all; do
        verify "$e" "$(dev "$e")" --bs=4k --offset=2M --size=3M --iodepth=8 --output="/tmp/fio.$e" &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || fail "a job failed"; done
}

# label E - one MiB that identifies the export
label() { head -c 1048576 < <(yes "this is $1"); }

# Each write went to the right file.
check() {
    local e
    for e in $all; do head -c 1048576 "$(export_file "${e#e}")" | cmp - <(label "$e") || return; done
}
