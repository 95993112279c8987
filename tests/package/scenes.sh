# shellcheck shell=bash
# The tests of the package, scene by scene. Runs as root in the overlay.
cd /opt/xblade-test || exit
UNIT=/usr/lib/systemd/system/xblade.service
CONFIG=/etc/xblade/xblade.toml
passed=0
export DEBIAN_FRONTEND=noninteractive

die() { printf 'FAILED: %s\n' "$*" >&2; printf '%d passed, 1 failed, 0 skipped\n' $passed; exit 1; }
ok() { passed=$((passed + 1)); printf 'ok: %s\n' "$*"; }
there() { local path; for path in "$@"; do [ -e "$path" ] || die "$path is not there"; done; }
gone() { local path; for path in "$@"; do [ ! -e "$path" ] || die "$path is still there"; done; }

# PID 1 reaps orphans, for which none of these processes waits.
ip link set lo up
ip link add xbt0 type veth peer name xbt1
ip link set xbt0 up
ip link set xbt1 up

# start [UNIT] - runs the unit's command; returns after READY
start() {
    rm -f /run/notify
    python3 - <<'PY' >/run/notified &
import os, socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("/run/notify")
os.chmod("/run/notify", 0o666)
while True:
    print(s.recv(4096).decode(), flush=True)
PY
    ear=$!
    for _ in $(seq 200); do [ ! -S /run/notify ] || break; sleep 0.05; done
    unshare --mount python3 run-unit.py "${1:-$UNIT}" /run/notify 2>/run/log &
    service=$!
    for _ in $(seq 400); do
        if grep -q READY=1 /run/notified; then return 0; fi
        kill -0 $service 2>/dev/null || break
        sleep 0.05
    done
    status=0
    kill $ear
    wait $ear || true
    wait $service || status=$?
    return 1
}

stop() {
    kill $service
    status=0
    wait $service || status=$?
    kill $ear
    wait $ear || true
    [ $status = 0 ] || die "the service ended with status $status: $(cat /run/log)"
}

### A fresh installation serves nothing, and this is not a failure.
dpkg -i xblade_*-1_*.deb >/run/dpkg 2>&1 || die "dpkg -i: $(cat /run/dpkg)"
grep -q 'serves nothing yet' /run/dpkg || die "nothing said of the configuration: $(cat /run/dpkg)"
there /usr/sbin/xblade /usr/bin/xblade-bench /usr/sbin/xblade-vblade /usr/sbin/xblade-vbladed $UNIT /etc/xblade \
    /usr/share/doc/xblade/examples/{xblade.toml,prometheus/alerts.yml,grafana/xblade.json,ansible/xblade.yml}
gone $CONFIG
id -nG xblade | grep -qw disk || die "xblade is not in the group disk: $(id xblade)"
there /etc/systemd/system/multi-user.target.wants/xblade.service
! start || die "it started without a configuration"
[ "$status" = 77 ] || die "status $status without a configuration: $(cat /run/log)"
ok "a fresh installation is enabled, and serves nothing"

[ "$(dpkg-query -W -f '${Maintainer}' xblade)" = "The tests <tests@xblade.example>" ] || die "the maintainer is not who made the package"
xblade --version >/dev/null
{ xblade-vblade 2>&1 || true; } | grep -q 'shelf' || die "xblade-vblade is not vblade"
for program in xblade xblade-bench; do bash -n /usr/share/bash-completion/completions/$program; done
[ "$(dpkg-divert --list '*xblade*')" = "" ] && ! dpkg -S /usr/sbin/vbladed 2>/dev/null | grep -q '^xblade' || die "takes files of vblade"
xblade tune --help | grep -q -- --apply || die "no xblade tune"
ok "programs and completions work"

# Every program has a page, every page what one looks for in it, and man has nothing to say.
pages=(/usr/share/man/man[158]/xblade*)
for program in xblade{,-serve,-tune,-vblade,-vbladed,-bench,-bench-load}; do
    there "$(man -w "$program")"
done
[ ${#pages[@]} -gt 25 ] || die "only ${#pages[@]} manual pages"
for page in "${pages[@]}"; do
    text=$(LC_ALL=C.UTF-8 MANWIDTH=80 man --warnings -E UTF-8 -l "$page" 2>&1 >/run/man | head -3)
    [ -z "$text" ] || die "$page: $text"
    for section in FILES 'EXIT STATUS' EXAMPLES 'SEE ALSO'; do
        [[ $page == *.5.gz && $section == E* ]] || grep -qx "$section" /run/man || die "$page has no $section"
    done
done
man xblade.toml | grep -q control-group || die "xblade.toml(5) lacks control-group"
ok "${#pages[@]} manual pages have files, exit status, examples and other pages"

python3 links.py /usr/share/doc/xblade >/run/links || die "$(cat /run/links)"
ok "$(cat /run/links) in the installed documents lead somewhere"

out=$(systemd-analyze verify $UNIT 2>&1) || true
out=$(grep -v 'Failed to parse service type, ignoring: notify-reload' <<<"$out" | grep xblade || true)
[ -z "$out" ] || die "systemd-analyze verify: $out"
systemd-analyze security --offline=true --threshold=20 $UNIT >/run/security 2>/dev/null || die "$(tail -1 /run/security)"
ok "the unit is well-formed, $(tail -1 /run/security | grep -o 'exposure.*: [0-9.]*')"

### With a configuration it serves a file of its user and a block device, within the
### sandbox of its unit.
fallocate -l 1M /srv/image
chown xblade /srv/image
truncate -s 1M /opt/xblade-test/disk
loop=$(losetup --find --show /opt/xblade-test/disk) || loop=''
trap '[ -z "$loop" ] || losetup -d $loop 2>/dev/null' EXIT
if [ -n "$loop" ]; then
    # With the group and mode that Debian's udev sets for disks.
    node=/opt/xblade-test/sdx
    # shellcheck disable=SC2046 # two numbers
    mknod -m 660 $node b $(stat -c '0x%t 0x%T' "$loop")
    chgrp disk $node
fi
{
    printf 'interfaces = ["xbt0"]\n[[export]]\naddress = "7.1"\npath = "/srv/image"\n'
    [ -z "$loop" ] || printf '[[export]]\naddress = "7.2"\npath = "%s"\n' "$node"
} >$CONFIG
xblade check --config $CONFIG >/dev/null || die "xblade check"
start || die "it did not start: $status, $(cat /run/log)"
python3 ask.py xbt1 7 1 5 || die "7.1 is not served: $(cat /run/log)"
[ -z "$loop" ] || python3 ask.py xbt1 7 2 5 || die "7.2 is not served: $(cat /run/log)"
[ "$(stat -c %U /proc/$service)" = xblade ] || die "runs as $(stat -c %U /proc/$service)"
# That NICs take VLAN tags out is their usual setting.
! grep -v 'without their VLAN tags' /run/log | grep -qi 'warn\|denied\|not permitted' || die "it complains: $(cat /run/log)"
[ "$(awk '/^Seccomp:/ {print $2}' /proc/$service/status)" = 2 ] || die "no system call filter"
# Without CAP_PERFMON the name of its program is hidden, but it is recognized.
xblade check --config $CONFIG >/run/check 2>&1 || die "a check beside it: $(grep -v '^OK\|^HINT' /run/check)"
grep -q 'OK .*xbt0: an xblade serves on it already' /run/check || die "is not known: $(grep xbt0 /run/check)"
ok "it serves from within its sandbox${loop:+, a block device too}"

### An upgrade does not stop the running daemon; the configuration is kept.
cp $CONFIG /run/config
echo state >/var/lib/xblade/state
dpkg -i xblade_*-2_*.deb >/run/dpkg 2>&1 || die "upgrade: $(cat /run/dpkg)"
! grep -q 'serves nothing yet' /run/dpkg || die "says that there is no configuration"
kill -0 $service || die "the upgrade has ended it"
python3 ask.py xbt1 7 1 5 || die "not served after the upgrade"
cmp $CONFIG /run/config
began=$EPOCHREALTIME
stop
start || die "the new one did not start: $status, $(cat /run/log)"
python3 ask.py xbt1 7 1 5 || die "the new one does not serve"
took=$(awk -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN {printf "%.1f", b - a}')
awk -v t="$took" 'BEGIN {exit !(t < 20)}' || die "the restart took $took s"
grep -q STOPPING=1 /run/notified && die "stops already"
stop
ok "an upgrade keeps configuration and service; a restart takes $took s"

systemctl disable xblade >/dev/null 2>&1
dpkg -i xblade_*-2_*.deb >/run/dpkg 2>&1
gone /etc/systemd/system/multi-user.target.wants/xblade.service
ok "who disables it finds it disabled after an upgrade"

### A missing system call or capability is reported.
sed 's/^\(Ambient\|Capability.*Set\)\(.*\) CAP_BPF/\1\2/' $UNIT >/run/less.service
! start /run/less.service || die "it starts without CAP_BPF"
grep -q 'lacks CAP_BPF' /run/log || die "without CAP_BPF: $(cat /run/log)"
sed 's/@system-service bpf/@system-service/' $UNIT >/run/less.service
! start /run/less.service || die "it starts without bpf()"
sed 's/ AF_XDP//' $UNIT >/run/less.service
! start /run/less.service || die "it starts without AF_XDP"
ok "without one of its rights it does not start"

### Remove keeps configuration and state, purge deletes them.
dpkg -r xblade >/run/dpkg 2>&1 || die "remove: $(cat /run/dpkg)"
there $CONFIG /var/lib/xblade/state
gone /usr/sbin/xblade $UNIT /usr/sbin/xblade-vblade
dpkg -P xblade >/run/dpkg 2>&1 || die "purge: $(cat /run/dpkg)"
gone /etc/xblade /var/lib/xblade /run/xblade /etc/systemd/system/xblade.service.d /usr/share/doc/xblade
left=$(find /etc/systemd /var/lib/systemd/deb-systemd-helper* -name '*xblade*' 2>/dev/null)
[ -z "$left" ] || die "left over: $left"
ok "removing keeps configuration and state, purging takes them"
printf '%d passed, 0 failed, 0 skipped\n' $passed
