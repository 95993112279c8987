# shellcheck shell=bash
# What the cases consist of. Sourced by run. $NIC and $MTU are those of the case; a step
# that fails ends it.

lose() { echo "$*" >"$LOG/problem"; exit 1; }
note() { echo "$*" >>"$LOG/notes"; }

# ask COMMAND - runs it in the guest with the NICs; prints what it prints
ask() { VM=target vm_do "$1" 2>&1; }

# in_guest COMMAND - the same, and it must succeed
in_guest() {
    local said
    said=$(ask "$1") || lose "in the guest: $1: ${said:-failed}"
    printf '+ %s\n%s\n' "$1" "$said" >>"$LOG/guest.log"
}

# shellcheck disable=SC2034 # for lib/cases.sh
DISKS='0.1=/dev/vda,store=direct 0.2=/dev/vdb,store=direct'
fresh() { in_guest "nic_fresh $NIC $(nic_pci "$NIC") ${DRIVER[$NIC]} $MTU"; }
serve() { in_guest "serve $NIC '${EXPORT_ARGS:-0.1=/tmp/1.img 0.2=/tmp/2.img}' $*"; }
started() { fresh && serve "$@"; }

# sees COMMAND REGEX - the guest prints something like this, at once or soon
sees() {
    local n said=''
    for ((n = 0; n < 60; n++)); do
        said=$(ask "$1") && grep -qE -- "$2" <<<"$said" && return
        sleep 0.5
    done
    lose "'$1' does not show '$2': $said"
}

# answered - a query without tags is answered
answered() {
    ip netns exec "$NS_H" python3 "$TOP/tests/package/ask.py" "$NIC" 0 1 60 || lose "no answer within 60 s"
}

# answers_are "KIND ANSWER..." - see probe.py
answers_are() {
    local got kinds
    kinds=$(xargs -n 2 <<<"$1" | cut -d' ' -f1)
    # shellcheck disable=SC2086 # a list of words
    got=$(ip netns exec "$NS_H" python3 "$DRIVERS/probe.py" "$NIC" "$(nic_mac "$NIC")" $kinds 2>&1 | xargs) || true
    [ "$got" = "$1" ] || lose "answers: '$got', expected '$1'"
}

# bench ARGUMENT... - the verified load, from the other end of the wire
bench() {
    exec ip netns exec "$NS_H" "$BENCH" load --port af-packet --interface "${INTERFACE:-$NIC}" --export 0.1,0.2 --op mixed \
        --verify --span 2048 --window 8 --timeout-ms 500 --destroy-data "$@" >"$LOG/load.log" 2>&1
}
load_is_good() {
    grep -q 'no faults' "$LOG/load.log" && grep -q 'errors 0 .*lost 0' "$LOG/load.log" || lose "the load: $(tail -3 "$LOG/load.log")"
}

# load COUNT [ARGUMENT...] - so many requests, and no frame is lost in the guest
load() {
    local lost
    (bench --count "$@") || lose "the load: $(tail -3 "$LOG/load.log")"
    load_is_good
    lost=$(ask losses)
    [ -z "$lost" ] || lose "frames were lost: $lost"
}

# load_start [ARGUMENT...] - a load that goes on until load_end; under it frames may be lost
load_start() {
    (bench --seconds 3600 "$@") &
    LOAD=$!
    traffic
}
load_end() {
    kill -INT "$LOAD"
    wait "$LOAD" || lose "the load: $(tail -3 "$LOG/load.log")"
    LOAD=''
    load_is_good
}

# traffic - the load goes on: some hundred more answers come
traffic() {
    local n first
    first=$(link_count "$NS_H" "$NIC" rx_packets)
    for ((n = 0; n < 600; n++)); do
        kill -0 "$LOAD" 2>/dev/null || lose "the load ended: $(tail -3 "$LOG/load.log")"
        [ "$(link_count "$NS_H" "$NIC" rx_packets)" -lt $((first + 300)) ] || return 0
        sleep 0.1
    done
    lose "no answers for 60 s"
}

# under_load COMMAND... - each is run in the guest under a load, which then goes on
under_load() {
    local command
    load_start --sectors 2
    for command in "$@"; do
        in_guest "$command"
        traffic
    done
    load_end
}
