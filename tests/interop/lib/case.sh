# shellcheck shell=bash
# Runs one case: a scenario at one MTU. Sourced by run.
#
# A scenario (scenarios/NAME.sh) is sourced on both sides. It sets
#   EXPORTS      "0.1=64M 0.2=64M,ro"    what the target exports
#   MTUS         "1500 9000"             one case per MTU
#   INTERFACES   1                       links between guest and target
#   QUEUES       1                       queues of each link
#   TIMEOUT      120                     seconds
#   DROPS        none | any              whether frames may be lost on the way
# and defines
#   guest        the scenario itself, run in the VM with guest/lib.sh
#   prepare      on the host, before the target starts       (optional)
#   on_NAME      on the host, when the guest calls "on_host NAME"
#   check        on the host, after the target has exited    (optional)

# case_settings SCENARIO - its settings, with defaults
case_settings() {
    # shellcheck disable=SC2034 # used by run and lib/target.sh
    EXPORTS='0.1=64M' MTUS=1500 INTERFACES=1 QUEUES=1 TIMEOUT=120 DROPS=none
    # shellcheck source=/dev/null
    . "$HERE/scenarios/$1.sh"
}

# case_run SCENARIO MTU - runs in a subshell; the log is in $LOG, the reason of a failure
# and the figures in $LOG/summary
case_run() {
    local problem='' drops='' frames='' console
    WORK=$(mktemp -d "$RUN/case.XXXXXX")
    # shellcheck disable=SC2034 # lib/target.sh adds to them
    CPU_USER=0 CPU_SYSTEM=0
    case_settings "$1"
    console=$(vm_console_size)
    touch "$LOG"/{events,target,host}.log

    case_steps "$1" "$2" || true
    vm_console "$console" >"$LOG/console.log"
    rm -rf "$WORK"
    links_down
    {
        echo "${problem:-ok}"
        sed -n 's/^info //p' "$LOG/events.log"
        echo "target cpu $(target_cpu), frames ${frames:-none}, drops ${drops:-none}"
    } >"$LOG/summary"
    [ -z "$problem" ]
}

# The steps of case_run; the first that fails sets $problem.
case_steps() {
    # shellcheck disable=SC2086 # a list of words
    exports_make $EXPORTS && links_up "$INTERFACES" "$2" "$QUEUES" ||
        { problem="could not set the case up"; return; }
    case_host prepare || { problem="prepare failed"; return; }
    target_start >>"$LOG/host.log" || { problem="the target did not start"; return; }
    vm_say "case $1 CASE_MTU=$2 CASE_LINKS=$INTERFACES$EXPORT_BYTES"
    case_serve
    target_alive || problem=${problem:-the target died}
    frames=$(link_frames "$INTERFACES")
    drops=$(link_drops "$INTERFACES")
    target_stop >>"$LOG/host.log" || problem=${problem:-$(tail -1 "$LOG/host.log")}
    drops+=$(target_losses)
    [ -z "$drops" ] || [ "$DROPS" = any ] || problem=${problem:-frames were dropped: $drops}
    [ -n "$problem" ] || case_host check || problem="check on the host failed"
}

# case_host FUNCTION - runs a function of the scenario, if defined
case_host() {
    declare -F "$1" >/dev/null || return 0
    "$1" >>"$LOG/host.log" 2>&1
}

# case_serve - serves the guest's calls until it has a result
case_serve() {
    local line deadline=$((SECONDS + TIMEOUT))
    while [ $SECONDS -lt $deadline ]; do
        vm_alive || { problem="the VM died"; return; }
        vm_read line || continue
        echo "$line" >>"$LOG/events.log"
        case $line in
            'call '*)
                if declare -F "on_${line#call }" >/dev/null && case_host "on_${line#call }"; then
                    vm_say 'done 0'
                else
                    vm_say 'done 1'
                fi ;;
            'exit 0') return ;;
            'exit '*) problem="the scenario failed in the guest (status ${line#exit })"; return ;;
        esac
    done
    problem="no result within $TIMEOUT s"
}
