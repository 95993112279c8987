# shellcheck shell=bash
# The target under test, in the namespace $NS_T. Sourced by run; scenarios use these
# functions on the host.
#
# $TARGET_CMD is run by bash with these variables:
#   EXPORT_ARGS     0.1=/path/e0.1.img 0.2=/path/e0.2.img,ro ...
#   INTERFACE_ARGS  --interface aoe0 [--interface aoe1]
# It must stay in the foreground, print a line with the word "ready" when it serves, and
# on SIGTERM finish and exit 0. A compound command must pass the signal on.

target_start() {
    local interfaces='' n printed
    # shellcheck disable=SC2153 # a setting of the scenario
    for ((n = 0; n < INTERFACES; n++)); do interfaces+=" --interface aoe$n"; done
    rm -f "$WORK/target.status" "$WORK/target.pid"
    printed=$(stat -c %s "$LOG/target.log")
    {
        # shellcheck disable=SC2016 # for the inner shell
        EXPORT_ARGS=$EXPORT_ARGS INTERFACE_ARGS=$interfaces XBLADE=$XBLADE RUST_LOG=info \
            ip netns exec "$NS_T" bash -c 'echo $$ >"$1/target.pid"; cd "$1"; exec bash -c "$2"' - "$WORK" "$TARGET_CMD"
        echo $? >"$WORK/target.status"
    } >>"$LOG/target.log" 2>&1 </dev/null &
    # A frame sent before that is lost, and would count as a drop.
    for ((n = 0; n < 100; n++)); do
        [ ! -e "$WORK/target.status" ] || { say "the target ended with status $(cat "$WORK/target.status")"; return 1; }
        ! tail -c +$((printed + 1)) "$LOG/target.log" | grep -w ready || return 0
        sleep 0.1
    done
    say "the target was not ready within 10 s"
    return 1
}

# Every process in its namespace belongs to the target.
target_alive() { [ -n "$(ip netns pids "$NS_T")" ]; }

# target_stop - sends SIGTERM as a service manager would; it must exit successfully
target_stop() {
    target_account
    kill -TERM "$(cat "$WORK/target.pid")" 2>/dev/null
    target_gone TERM || return
    [ "$(cat "$WORK/target.status")" = 0 ] || { say "the target ended with status $(cat "$WORK/target.status")"; return 1; }
}

# target_kill - kills it without warning
target_kill() {
    target_account
    netns_kill "$NS_T"
    target_gone KILL
}

target_gone() {
    local i
    for ((i = 0; i < 100; i++)); do
        if ! target_alive && [ -e "$WORK/target.status" ]; then return 0; fi
        sleep 0.1
    done
    say "the target is still there 10 s after SIG$1"
    return 1
}

# target_account - adds the CPU time so far to $CPU_USER and $CPU_SYSTEM (clock ticks)
target_account() {
    local pid user system
    for pid in $(ip netns pids "$NS_T"); do
        # The name of the program, in parentheses, may contain spaces.
        read -r user system < <(sed 's/^.*) //' "/proc/$pid/stat" 2>/dev/null | awk '{print $12, $13}') || continue
        CPU_USER=$((CPU_USER + user)) CPU_SYSTEM=$((CPU_SYSTEM + system))
    done
}

# target_losses - "COUNTER=N ..." for lost frames in xblade's report at exit
target_losses() {
    awk '$1 ~ /^(no-socket|too-long|bad-.*|kernel-.*)$/ && $2 > 0 {printf "%s=%d ", $1, $2}' "$LOG/target.log"
}

# target_cpu - the accumulated CPU time in seconds
target_cpu() {
    awk -v u="$CPU_USER" -v s="$CPU_SYSTEM" -v hz="$(getconf CLK_TCK)" \
        'BEGIN {printf "%.2f user + %.2f system s", u / hz, s / hz}'
}

# export_file SHELF.SLOT - the file behind an export
export_file() { echo "$WORK/e$1.img"; }

# export_grow SHELF.SLOT SIZE - appends zeros. They are written, because a durable write
# to space that is only reserved costs a journal commit each time.
export_grow() { head -c "$2" /dev/zero >>"$(export_file "$1")" && sync "$(export_file "$1")"; }

# exports_make SPEC... - creates the files of "SHELF.SLOT=SIZE[,ro]", sets $EXPORT_ARGS
# and $EXPORT_BYTES (for the guest)
exports_make() {
    local spec name file
    EXPORT_ARGS='' EXPORT_BYTES=''
    for spec in "$@"; do
        name=${spec%%=*} spec=${spec#*=}
        file=$(export_file "$name")
        export_grow "$name" "${spec%%,*}" || return
        EXPORT_ARGS+=" $name=$file"
        [ "$spec" = "${spec#*,}" ] || EXPORT_ARGS+=,${spec#*,}
        EXPORT_BYTES+=" BYTES_${name/./_}=$(stat -c %s "$file")"
    done
}
