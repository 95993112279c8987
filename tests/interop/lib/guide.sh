# shellcheck shell=bash
# Runs the guide's commands on the storage host. Sourced by walkthrough.

# Commands of the guide that cannot run here.
GUIDE_NOT_RUN='host# apt install aoetools'

# here - replaces the guide's names by those used here
here() { sed -e 's/eth1/aoe0/g' -e 's/eth2/aoe1/g' -e "s|/dev/vg0/fast|$BOX_NODE|g"; }

# guide_file NAME - a file of the guide: the text between the fences ```NAME and ```, with
# the names of the VM for the host, and of the storage host for the target
guide_file() {
    local names
    if [ "$1" = toml ]; then names=here; else names='sed s/eth1/eth0/g'; fi
    awk -v name="$1" '/^```$/ {on = 0} on; $0 == "```" name {on = 1}' "$GUIDE" | $names
}

# target COMMAND - runs a command that must be in the guide, word for word
target() {
    local command=$1
    grep -qxF "target# $command" "$GUIDE" || { say "the guide does not have: target# $command" | tee -a "$LOG/host.log"; return 1; }
    echo "target# $command" >>"$RUN/ran"
    echo "target# $command" >>"$LOG/host.log"
    command=$(here <<<"$command")
    in_box bash -c "cd /opt/xblade-test; [ '${command%% *}' = dpkg ] || cd /srv; $command" 2>&1 | tee -a "$LOG/host.log" >"$RUN/said"
}

# target_serves SHELF SLOT - queries it over the network
target_serves() { ip netns exec "$NS_H" python3 "$TOP/tests/package/ask.py" br0 "$1" "$2" 5; }

target_stopped() { in_box systemctl stop xblade; ! in_box systemctl is-active xblade || lose "the service did not stop"; }
target_starts() { in_box systemctl start xblade && in_box systemctl is-active xblade || lose "the service did not start"; }

# fstab_is_understood - checks the units that systemd makes of the guide's fstab: they
# wait for the disk as long as the guide says, come after the network, and no boot waits
# for them
fstab_is_understood() {
    local out=$RUN/units unit
    mkdir -p "$out"
    SYSTEMD_FSTAB=$VM_DISK/etc/fstab SYSTEMD_IN_INITRD=0 SYSTEMD_PROC_CMDLINE='' \
        /lib/systemd/system-generators/systemd-fstab-generator "$out" "$out" "$out" >>"$LOG/host.log" 2>&1 || return
    for unit in mnt-data mnt-fast; do
        [ -L "$out/remote-fs.target.wants/$unit.mount" ] || { say "no remote-fs.target.wants/$unit.mount"; return 1; }
        ! grep -qx 'Before=remote-fs.target' "$out/$unit.mount" || { say "the boot waits for $unit"; return 1; }
    done
    grep -rq 'JobRunningTimeoutSec=10min' "$out" || { say "nothing waits for 10 minutes"; return 1; }
}

# guide_is_complete - every command of the guide was run, except those that cannot
guide_is_complete() {
    local left
    left=$(grep -hE '^(target|host)# ' "$GUIDE" | sort -u | comm -23 - <({ cat "$RUN/ran"; echo "$GUIDE_NOT_RUN"; } | sort -u))
    [ -z "$left" ] || { say "in the guide, and not run: $left"; return 1; }
}
