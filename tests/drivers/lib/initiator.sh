# shellcheck shell=bash disable=SC2317,SC2034 # called by tests/interop/lib/case.sh
# Runs a scenario of tests/interop: the Linux initiator in a second guest, xblade in the
# first on a NIC and a disk of that. The functions replace those of tests/interop/lib.
# Sourced by run.

# scenario NAME
scenario() {
    VM=initiator
    vm_alive || lose "there is no initiator"
    case_run "$1" "$MTU" || { head -1 "$LOG/summary" >"$LOG/problem"; exit 1; }
    sed -n '2,$p' "$LOG/summary" | grep -v '^target' >>"$LOG/notes"
}

# links_up - the NIC joins the bridge on which the initiator is
links_up() { ip -n "$NS_H" link set "$NIC" master br0 && (fresh); }
links_down() { ip -n "$NS_H" link set "$NIC" nomaster; }
# $LOSSES has what counts.
link_frames() { :; }
link_drops() { :; }

export_file() { echo "$RUN/disk512"; }

# exports_make "0.1=SIZE" - the scenarios used here have one export
exports_make() {
    local size=${1#*=}
    truncate -s 0 "$(export_file)" && truncate -s "$DISK_SIZE" "$(export_file)" || return
    EXPORT_ARGS="0.1=/dev/vda,length=$size,store=direct"
    EXPORT_BYTES=" BYTES_0_1=$(numfmt --from=iec "$size")"
}

target_start() { (serve); }
target_alive() { ask is_alive; }
target_stop() {
    LOSSES=$(ask losses)
    (in_guest 'target_end TERM')
    ask 'cat /tmp/xblade.log' >>"$LOG/target.log"
}
target_kill() { (in_guest 'target_end KILL'); }
target_losses() { echo "$LOSSES"; }
target_cpu() { :; }
