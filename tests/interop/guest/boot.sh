# shellcheck shell=bash
# Boots like a Debian host with aoetools. Sourced by /init if the host has its own files
# ($VM_DISK, see lib/vm.sh). /etc/modules-load.d, /etc/modprobe.d and /etc/fstab then
# determine the boot, and no case loads the driver.
#
# The order is that of systemd: modules; interfaces; aoe-discover.service once the driver
# is loaded and the network is up; each _netdev line of fstab once its disk appears. It
# waits x-systemd.device-timeout for the disk; with nofail the boot does not wait.

driver_start() { :; }
driver_stop() { :; }

# fstab_lines - device, folder, type, options, pass of network mounts
fstab_lines() { awk '!/^ *#/ && $4 ~ /_netdev/ && $4 !~ /noauto/ {print $1, $2, $3, $4, $6 + 0}' /etc/fstab; }

# option NAME OPTIONS - the value of NAME=VALUE in a list
option() { tr , '\n' <<<"$2" | sed -n "s/^$1=//p"; }

seconds() { case $1 in *min) echo $((${1%min} * 60)) ;; *) echo "${1%s}" ;; esac; }

# bring DEVICE FOLDER OPTIONS PASS - mounts one line of fstab, as systemd does
bring() {
    local limit=90 given disk end=$SECONDS
    given=$(option x-systemd.device-timeout "$3")
    [ -z "$given" ] || limit=$(seconds "$given")
    while [ $((SECONDS - end)) -lt "$limit" ]; do
        # findfs would ask udev; blkid reads the disks.
        case $1 in
            LABEL=*) disk=$(blkid -c /dev/null -L "${1#LABEL=}") ;;
            *) disk=$1 ;;
        esac
        if [ -b "$disk" ]; then
            [ "$4" = 0 ] || fsck.ext4 -p "$disk" || [ $? -le 1 ] || { say "boot: fsck $disk"; return 1; }
            mkdir -p "$2"
            mount "$2" && say "boot: mounted $2"
            return
        fi
        sleep 0.3
    done
    say "boot: $1 did not come"
}

boot() {
    local n file module device folder options pass
    for n in 0 1; do
        echo 1 >/proc/sys/net/ipv6/conf/eth$n/disable_ipv6
        ip link set eth$n mtu 9000 up
    done
    # Loaded before, as for a root file system; with two mounts at a time busybox would
    # load it twice.
    modprobe ext4
    [ -e /etc/fstab ] || return 0
    for file in /etc/modules-load.d/*.conf; do
        while read -r module; do [ -z "$module" ] || modprobe "$module"; done <"$file"
    done
    [ -c /dev/etherd/discover ] || { say "boot: no aoe driver"; return 0; }
    log_driver
    aoe-discover
    while read -r device folder _ options pass; do
        if [[ ,$options, == *,nofail,* ]]; then
            bring "$device" "$folder" "$options" "$pass" &
        else
            bring "$device" "$folder" "$options" "$pass"
        fi
    done < <(fstab_lines)
}

# The driver's own log of resent requests and stray responses.
log_driver() {
    cat /dev/etherd/err >/tmp/aoe-err &
    # shellcheck disable=SC2034 # scenarios/walk/late.sh ends it
    err_log=$!
}

# --- the guide ---

# guide COMMAND - runs a command that must be in the guide, word for word, with the names
# used here
guide() {
    grep -qxF "host# $1" /xbi/WALKTHROUGH.md || fail "the guide does not have: host# $1"
    tell_host "ran host# $1"
    say "host# $1"
    bash -c "$(sed -e s/eth1/eth0/g -e s/eth2/eth1/g <<<"$1")" || fail "status $?: $1"
}

# guide_file NAME - a file of the guide: the text between the fences ```NAME and ```
guide_file() { awk -v name="$1" '/^```$/ {on = 0} on; $0 == "```" name {on = 1}' /xbi/WALKTHROUGH.md; }

is_mounted() { grep -q " $1 " /proc/mounts; }

# known N - 1 MB of contents that both boots can produce
known() { head -c 1000000 < <(seq "$1"00000 99999999); }

write_known() { local n; for n in 1 2 3; do known $n >"$1/known$n"; done; }
known_is_there() {
    local n
    for n in 1 2 3; do known $n | cmp - "$1/known$n" || fail "$1/known$n is not what was written"; done
}

no_errors() { ! dmesg | grep -E 'I/O error|lost .*write|EXT4-fs (error|warning)|Aborting journal'; }
