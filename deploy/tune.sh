#!/bin/bash
# Shows and changes the settings of a machine dedicated to xblade, and reverts its
# changes. docs/TUNING.md explains each setting.
#
# usage: deploy/tune.sh --show|--apply|--revert -i IF [OPTION...]
#
#   --show           current and recommended values, with reasons; changes nothing
#   --apply          change what can be changed while the machine runs; the old
#                    values go to /run/xblade-machine/tune-IF.state. Needs root. Do it
#                    before xblade starts: resizing rings loses frames
#   --revert         restore the old values
#
#   -i IF            the interface that xblade serves on
#   --cores LIST     the workers' cores, as `xblade serve --cores`: 2,3 or 2-5
#   --spin           the workers never sleep (--idle spin): interrupts stay off
#                    their cores. Without it they go to the worker of their queue
#   --busy-poll      xblade runs with --busy-poll: the NIC's interrupts are deferred
#   --ring N         entries of the NIC's rings (default 4096, or its maximum)
#   --coalesce N     microseconds to delay an interrupt (default 8)
#   --mtu N          the MTU; only if all switches and hosts support it
#   --huge-pages N   huge pages to reserve, for --huge-pages and store=mmap
#
# What does not exist (a tool, a file, a driver feature) is skipped with one line. Files
# in /proc, /sys and /run are taken from $XBLADE_SYSROOT. Exit codes: 0 done; 1 something
# could not be changed; 2 wrong command line.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
ROOT=${XBLADE_SYSROOT:-}

die() { printf 'tune: %s\n' "$*" >&2; exit 2; }
number() { [[ $2 =~ ^[0-9]{1,9}$ ]] || die "$1 $2: give a number"; }

mode='' interface='' cores='' idle=adaptive busy=no ring=4096 coalesce=8 mtu='' huge=''
while [ $# -gt 0 ]; do
    case $1 in
        -i|--interface|--cores|--ring|--coalesce|--mtu|--huge-pages) [ $# -gt 1 ] || die "$1 needs a value" ;;
    esac
    case $1 in
        --show|--apply|--revert)
            [ -z "$mode" ] || [ "$mode" = "${1#--}" ] || die "--$mode and $1: give one of them"
            mode=${1#--} ;;
        -i|--interface) interface=$2; shift ;;
        --cores) cores=$2; shift ;;
        --spin) idle=spin ;;
        --busy-poll) busy=yes ;;
        --ring) ring=$2; number "$1" "$2"; shift ;;
        --coalesce) coalesce=$2; number "$1" "$2"; shift ;;
        --mtu) mtu=$2; number "$1" "$2"; shift ;;
        --huge-pages) huge=$2; number "$1" "$2"; shift ;;
        -h|--help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) die "unknown argument '$1' (see --help)" ;;
    esac
    shift
done
[ -n "$mode" ] || die "give --show, --apply or --revert (see --help)"
[[ $interface =~ ^[^/[:space:]]{1,15}$ && $interface != .* ]] || die "give the interface with -i, not '$interface'"
[[ $cores =~ ^([0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*)?$ ]] || die "--cores $cores: give numbers and ranges, as in 2,3 or 2-5"
[ "$mode" = show ] || [ "$(id -u)" = 0 ] || die "--$mode needs root: sudo $0 ..."
STATE=$ROOT/run/xblade-machine/tune-$interface.state
failed=0

# 0-2,5 becomes "0 1 2 5".
expand() {
    local part
    for part in ${1//,/ }; do seq "${part%-*}" "${part#*-}"; done | sort -nu | tr '\n' ' '
}

# The same set in kernel notation: "0 1 2 5" becomes 0-2,5.
compress() {
    local n first='' last='' out=''
    for n in "$@" end; do
        if [ "$n" != end ] && [ -n "$last" ] && [ "$n" = $((last + 1)) ]; then last=$n; continue; fi
        if [ -n "$first" ]; then
            out+=${out:+,}$first
            [ "$first" = "$last" ] || out+=-$last
        fi
        first=$n last=$n
    done
    printf '%s\n' "$out"
}

# shellcheck disable=SC2046 # a list of numbers, split on purpose
normal() { compress $(expand "$1"); }

# shellcheck disable=SC2046 # a list of numbers, split on purpose
others_than() { compress $(comm -23 <(expand "$1" | tr ' ' '\n' | sort) <(expand "$2" | tr ' ' '\n' | sort) | sort -n); }

# --- current values, by kind: file, choice ("a [b] c"), list, mask, link, nic ---

get() {
    local text
    case $1 in
        link) { ip -o link show dev "$interface" 2>/dev/null || true; } | sed -n 's/.* mtu \([0-9]*\).*/\1/p'; return ;;
        nic) nic_get "$2"; return ;;
    esac
    text=$(cat "$2" 2>/dev/null) || return 0
    case $1 in
        choice) text=${text##*[}; printf '%s\n' "${text%%]*}" ;;
        list) normal "$text" ;;
        mask) text=${text#"${text%%[!0,]*}"}; printf '%s\n' "${text:-0}" ;;
        *) printf '%s\n' "$text" ;;
    esac
}

put() {
    case $1 in
        link) ip link set dev "$interface" mtu "$3" ;;
        nic) nic_put "$2" "$3" ;;
        *) printf '%s\n' "$3" >"$2" ;;
    esac
}

# A driver without the feature prints nothing.
ask() { ethtool "$@" "$interface" 2>/dev/null || true; }

# `ethtool -g` prints the maximums first, then the current values.
nic_get() {
    case $1 in
        ring-rx|ring-tx) ask -g | awk -v key="${1#ring-}:" '/^Current/ {now = 1} now && tolower($1) == key {print $2}' ;;
        most-rx|most-tx) ask -g | awk -v key="${1#most-}:" '/^Current/ {exit} tolower($1) == key {print $2}' ;;
        adaptive-rx) ask -c | sed -n 's/^Adaptive RX: \([a-z]*\).*/\1/p' ;;
        rx-usecs) ask -c | awk '$1 == "rx-usecs:" {print $2}' ;;
        pause-rx|pause-tx) ask -a | awk -v key="${1#pause-}:" 'tolower($1) == key {print $2}' ;;
        rxvlan) ask -k | awk '$1 == "rx-vlan-offload:" && $3 != "[fixed]" {print $2}' ;;
    esac | { grep -vx 'n/a' || true; }
}

nic_put() {
    case $1 in
        ring-rx|ring-tx) ethtool -G "$interface" "${1#ring-}" "$2" ;;
        adaptive-rx|rx-usecs) ethtool -C "$interface" "$1" "$2" ;;
        pause-rx|pause-tx) ethtool -A "$interface" "${1#pause-}" "$2" ;;
        rxvlan) ethtool -K "$interface" rxvlan "$2" ;;
    esac
}

# --- the journal of changes, one line per value: kind, where, old, new ---

# The journal decides what --revert writes, so only root may write where it is: no links, no
# files of the service's user.
journal_folder() {
    local folder=${STATE%/*}
    mkdir -p "${folder%/*}"
    mkdir -m 0700 "$folder" 2>/dev/null || true
    if [ -L "$folder" ] || [ ! -O "$folder" ] || [ -n "$(find "$folder" -maxdepth 0 -perm /022)" ]; then
        die "$folder does not belong to root alone: remove it"
    fi
}

noted() { [ -e "$STATE" ] && awk -F'\t' -v kind="$1" -v where="$2" '$1 == kind && $2 == where {found = 1} END {exit !found}' "$STATE"; }

# note KIND WHERE OLD NEW - written before the change, so that an interrupted run can be
# reverted; the old value of the first run is kept
note() {
    if noted "$1" "$2"; then
        awk -F'\t' -v OFS='\t' -v kind="$1" -v where="$2" -v new="$4" \
            '$1 == kind && $2 == where {$4 = new} {print}' "$STATE" >"$STATE.new"
    else
        { [ ! -e "$STATE" ] || cat "$STATE"; printf '%s\t%s\t%s\t%s\n' "$@"; } >"$STATE.new"
    fi
    mv "$STATE.new" "$STATE"
}

line() { printf '%-5s %-24s %s\n' "$1" "$2" "$3"; }

# change KIND WHERE OLD WANTED - returns 1 if the kernel or driver refuses
change() {
    local now
    note "$@"
    if ! put "$1" "$2" "$4" 2>/dev/null; then
        [ "$(get "$1" "$2")" != "$3" ] || noted_only "$@"
        return 1
    fi
    now=$(get "$1" "$2")
    # `--revert` must recognize the value that the driver made of it.
    [ "$now" = "$4" ] || note "$1" "$2" "$3" "$now"
}

# The change had no effect: removes its entry, unless an earlier run made it.
noted_only() {
    awk -F'\t' -v kind="$1" -v where="$2" -v old="$3" '!($1 == kind && $2 == where && $3 == old)' "$STATE" >"$STATE.new"
    mv "$STATE.new" "$STATE"
    [ -s "$STATE" ] || rm -f "$STATE"
}

# setting NAME KIND WANTED WHY WHERE... - one line of output for all places
setting() {
    local name=$1 kind=$2 wanted=$3 why=$4 where now bad=0 refused=0 values=''
    shift 4
    local there=()
    for where in "$@"; do
        now=$(get "$kind" "$where")
        [ -n "$now" ] || continue
        there+=("$where")
        [[ ,$values, == *",$now,"* ]] || values+=${values:+,}$now
        [ "$now" = "$wanted" ] || bad=$((bad + 1))
    done
    [ ${#there[@]} -gt 0 ] || { line SKIP "$name" "not to be had here"; return 0; }
    [ $bad -gt 0 ] || { line OK "$name" "$values"; return 0; }
    if [ "$mode" = show ]; then line WANT "$name" "$values, wanted $wanted: $why"; return 0; fi
    for where in "${there[@]}"; do
        now=$(get "$kind" "$where")
        [ "$now" = "$wanted" ] || change "$kind" "$where" "$now" "$wanted" || refused=$((refused + 1))
    done
    if [ $refused -gt 0 ]; then
        line FAIL "$name" "$values, wanted $wanted: refused by the kernel or the driver"
        failed=1
    else
        line SET "$name" "$values, now $(get "$kind" "${there[0]}"): $why"
    fi
}

# Like setting, for one place, where more (or less) is also good.
at_least() {
    local now
    now=$(get "$2" "$5")
    if [[ $now =~ ^[0-9]+$ ]] && [ "$now" -ge "$3" ]; then line OK "$1" "$now"; else setting "$@"; fi
}
at_most() {
    local now
    now=$(get "$2" "$5")
    if [[ $now =~ ^[0-9]+$ ]] && [ "$now" -le "$3" ]; then line OK "$1" "$now"; else setting "$@"; fi
}

# --- the settings, in the order of docs/TUNING.md ---

present() { local file; for file in "$@"; do [ ! -e "$file" ] || printf '%s\n' "$file"; done; }

cpu() {
    local files
    mapfile -t files < <(present "$ROOT"/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor)
    setting governor file performance "a core that is clocked down answers late" "${files[@]}"
    setting transparent-hugepages choice madvise "'always' stops processes while it collects pages" \
        "$ROOT/sys/kernel/mm/transparent_hugepage/enabled"
    setting numa_balancing file 0 "it unmaps pages to see who uses them" "$ROOT/proc/sys/kernel/numa_balancing"
    setting vm.stat_interval file 10 "statistics of memory interrupt every core" "$ROOT/proc/sys/vm/stat_interval"
    setting vm.compaction file 0 "moves memory in the background" "$ROOT/proc/sys/vm/compaction_proactiveness"
    at_least vm.min_free_kbytes file 65536 "frames are lost when the kernel has no memory at once" "$ROOT/proc/sys/vm/min_free_kbytes"
    setting bpf_jit_enable file 1 "else the XDP program is interpreted" "$ROOT/proc/sys/net/core/bpf_jit_enable"
    at_least netdev_max_backlog file 4096 "frames that wait for a core (veth, RPS) are lost beyond it" \
        "$ROOT/proc/sys/net/core/netdev_max_backlog"
    [ -z "$cores" ] || setting watchdog_cpumask list "$(others_than "$online" "$cores")" \
        "the watchdog wakes each core that it watches" "$ROOT/proc/sys/kernel/watchdog_cpumask"
    [ -z "$huge" ] || at_least huge-pages file "$huge" "UMEM and files on huge pages need them" "$ROOT/proc/sys/vm/nr_hugepages"
}

nic() {
    local most side
    if ! command -v ethtool >/dev/null; then
        line SKIP "rings, pause, ..." "ethtool is not installed: apt-get install ethtool"
    else
        for side in rx tx; do
            most=$(nic_get most-$side)
            at_least "ring-$side" nic "$((${most:-0} > 0 && ${most:-0} < ring ? most : ring))" \
                "a burst that finds it full is lost" ring-$side
        done
        setting adaptive-rx nic off "it guesses at how long an interrupt may wait" adaptive-rx
        at_most rx-usecs nic "$coalesce" "each microsecond is in every answer" rx-usecs
        setting pause-rx nic on "the switch can say wait, rather than lose a reply" pause-rx
        setting pause-tx nic on "the NIC can say wait, rather than lose a request" pause-tx
        setting rxvlan nic off "the tag has to be in the frame: the reply needs it" rxvlan
    fi
    if [ -n "$mtu" ]; then
        setting mtu link "$mtu" "more sectors a frame" mtu
    else
        line OK mtu "$(get link mtu) (left alone without --mtu)"
    fi
}

# /sys may show another network namespace, with another interface of this name: `nsenter
# --net` does not mount its own, `ip netns exec` does.
is_here() {
    local there
    there=$(cat "$ROOT/sys/class/net/$interface/ifindex" 2>/dev/null) || there=none
    [[ $(ip -o link show dev "$interface") != "$there:"* ]] || return 0
    line SKIP "rps, xps, interrupts" "/sys does not show this $interface, but those of another network namespace"
    return 1
}

steering() {
    local net=$ROOT/sys/class/net/$interface files
    mapfile -t files < <(present "$net"/queues/rx-*/rps_cpus)
    setting rps mask 0 "it moves frames to other cores" "${files[@]}"
    mapfile -t files < <(present "$net"/queues/tx-*/xps_cpus)
    setting xps mask 0 "xblade chooses the queue itself" "${files[@]}"
    if [ $busy = yes ]; then
        setting napi_defer_hard_irqs file 2 "the worker polls, so interrupts can wait" "$net/napi_defer_hard_irqs"
        setting gro_flush_timeout file 200000 "how long frames may wait for others, in nanoseconds" "$net/gro_flush_timeout"
    fi
}

# Prints lines "queue irq" of the NIC, found by the names that drivers use: eth1-TxRx-3,
# mlx5_comp3@pci:..., virtio0-input.3, ice-eth1-TxRx-3, eth1-rx-3.
irqs() {
    local device=$ROOT/sys/class/net/$interface/device folder irq
    for folder in "$device/msi_irqs" "$device/../msi_irqs"; do
        [ -d "$folder" ] || continue
        for irq in "$folder"/*; do
            awk -v irq="${irq##*/}:" '$1 == irq {print $NF}' "$ROOT/proc/interrupts" 2>/dev/null |
                sed -En "s/.*(TxRx|rx|comp|input|queue)[-._]?([0-9]+)(@.*)?\$/\2 ${irq##*/}/p"
        done
        return 0
    done
}

interrupts() {
    local found queue irq list wanted
    found=$(irqs | sort -n)
    [ -n "$found" ] || { line SKIP irq-affinity "$interface has no interrupts of its own that can be told apart"; return 0; }
    [ -n "$cores" ] || { line SKIP irq-affinity "give the workers' cores with --cores"; return 0; }
    read -ra list <<<"$(expand "$cores")"
    while read -r queue irq; do
        if [ $idle = spin ] && [ $busy = no ]; then
            wanted=$(others_than "$online" "$cores")
            [ -n "$wanted" ] || { line SKIP "irq-$irq (queue $queue)" "every core has a worker that never sleeps"; continue; }
            setting "irq-$irq (queue $queue)" list "$wanted" "a worker that never sleeps would keep it waiting" \
                "$ROOT/proc/irq/$irq/smp_affinity_list"
        else
            setting "irq-$irq (queue $queue)" list "${list[queue % ${#list[@]}]}" "the worker of its queue is there" \
                "$ROOT/proc/irq/$irq/smp_affinity_list"
        fi
    done <<<"$found"
    [ ! -e "$ROOT/run/irqbalance" ] ||
        line HINT irqbalance "runs, and moves interrupts again: systemctl disable --now irqbalance"
}

# Settings that need a reboot.
boot() {
    local word missing='' have others
    [ -n "$cores" ] || { line SKIP kernel-command-line "give the workers' cores with --cores"; return 0; }
    others=$(others_than "$online" "$cores")
    if [ -z "$others" ]; then
        line HINT kernel-command-line "every core has a worker: leave one to the system, then isolate the others"
        return 0
    fi
    have=" $(cat "$ROOT/proc/cmdline" 2>/dev/null || true) "
    for word in "isolcpus=managed_irq,domain,$cores" "nohz_full=$cores" "rcu_nocbs=$cores" "irqaffinity=$others"; do
        [[ $have == *" $word "* ]] || missing+=" $word"
    done
    [ -n "$missing" ] || { line OK kernel-command-line "isolates $cores"; return 0; }
    line BOOT kernel-command-line "lacks$missing"
    cat <<END
      On Debian, as root, and then a reboot; to take it back, remove the file:
        echo 'GRUB_CMDLINE_LINUX="\$GRUB_CMDLINE_LINUX$missing"' >/etc/default/grub.d/xblade.cfg
        update-grub
END
}

revert() {
    local kind where old new now left=''
    [ -e "$STATE" ] || { echo "nothing to take back for $interface"; return 0; }
    while IFS=$'\t' read -r kind where old new; do
        case $kind:$where in
            link:mtu|nic:*) ;;
            *:*..*) die "$STATE: $where is not a setting of this script: remove the line" ;;
            *:"$ROOT"/proc/sys/*|*:"$ROOT"/proc/irq/*|*:"$ROOT"/sys/*) ;;
            *) die "$STATE: $where is not a setting of this script: remove the line" ;;
        esac
        now=$(get "$kind" "$where")
        if [ "$now" = "$old" ]; then
            continue
        elif [ -z "$now" ]; then
            line SKIP "${where#"$ROOT"}" "is gone"
        elif [ "$now" != "$new" ]; then
            line SKIP "${where#"$ROOT"}" "$now, not $new as set here: changed since by another program, left alone"
        elif put "$kind" "$where" "$old" 2>/dev/null; then
            line BACK "${where#"$ROOT"}" "$old"
        else
            line FAIL "${where#"$ROOT"}" "$now, was $old: refused by the kernel or the driver"
            left+="$kind	$where	$old	$new"$'\n'
            failed=1
        fi
    done < <(tac "$STATE")
    if [ -n "$left" ]; then printf '%s' "$left" | tac >"$STATE.new"; mv "$STATE.new" "$STATE"; else rm -f "$STATE"; fi
}

# The given cores in kernel notation; each must exist.
check_cores() {
    local core there
    there=" $(expand "$online")"
    # shellcheck disable=SC2046 # a list of numbers
    set -- $(expand "$cores")
    [ $# -gt 0 ] || die "--cores $cores: a range goes from the lower number to the higher"
    for core in "$@"; do
        [[ $there == *" $core "* ]] || die "--cores $cores: there is no core $core (there are $online)"
    done
    cores=$(compress "$@")
}

[ "$mode" = show ] || journal_folder
if [ "$mode" = revert ]; then revert; exit $failed; fi
ip link show dev "$interface" >/dev/null 2>&1 || die "there is no interface $interface: see \`ip link\`"
online=$(cat "$ROOT/sys/devices/system/cpu/online" 2>/dev/null) || online=0-$(($(nproc --all) - 1))
[ -z "$cores" ] || check_cores
cpu
nic
if is_here; then
    steering
    interrupts
fi
boot
exit $failed
