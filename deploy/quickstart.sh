#!/bin/bash
# A first look at xblade on one machine, without touching its interfaces. Builds xblade,
# creates two network namespaces joined by a veth pair, exports a 1 GiB image from one
# through AF_XDP, and from the other finds it, writes it and reads it, verifying every
# sector. Then compares xblade with the ceiling of this machine and with vblade. Removes
# everything but the report of that.
#
# usage: sudo deploy/quickstart.sh
#
# Needs Debian 12 or Ubuntu 24.04 and Rust (rustup). Installs the packages needed to
# compile, and vblade (deploy/setup.sh build bench). Takes a minute after that, and may be
# run repeatedly. Needs 1.1 GiB in $TMPDIR (default /var/tmp). The report goes to $REPORT
# (default ./xblade-report-quick-TIME).
set -euo pipefail
TOP=$(readlink -f "$(dirname "$(readlink -f "$0")")/..")
caller=$PWD
cd "$TOP"
PATH=$PATH:/usr/sbin:/sbin
. deploy/lib/cargo.sh
. deploy/lib/netns.sh
. deploy/lib/progress.sh

SECONDS_EACH=${SECONDS_EACH:-5}
TARGET=xbq-target-$$ HOST=xbq-host-$$
work='' daemon=''

step() { printf '\n== %s\n' "$*"; }
die() { printf 'quickstart: %s\n' "$*" >&2; exit 1; }

cleanup() {
    trap - EXIT
    if [ -n "$daemon" ]; then
        kill "$daemon" 2>/dev/null || true
        wait "$daemon" 2>/dev/null || true
    fi
    netns_cleanup
    [ -z "$work" ] || rm -rf "$work"
}

case ${1:-} in
    '') ;;
    -h|--help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) die "unknown argument '$1' (see --help)" ;;
esac
[ "$(id -u)" = 0 ] || die "network namespaces and XDP need root: sudo $0"
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

step "packages and Rust"
deploy/setup.sh build bench
cargo_find

step "building xblade and its load generator (a few minutes the first time)"
progress "building" as_user cargo build --release -p xblade -p xblade-bench
bin=$(readlink -f "${CARGO_TARGET_DIR:-$TOP/target}/release")

step "a veth pair between two namespaces, MTU 9000"
netns_sweep xbq
netns_add "$TARGET" "$HOST"
netns_veth "$TARGET" shelf "$HOST" host 9000
echo "$HOST: host <---> shelf: $TARGET"

step "a 1 GiB image"
work=$(mktemp -d "${TMPDIR:-/var/tmp}/xblade-quickstart.XXXXXX")
# xblade changes to a user of its own, who keeps state in it.
chmod 711 "$work"
fallocate -l 1G "$work/disk.img" || die "no 1 GiB free in ${TMPDIR:-/var/tmp}: set TMPDIR to a folder that has it"
ls -lh "$work/disk.img"

step "xblade serve 0.1=$work/disk.img --interface shelf"
ip netns exec "$TARGET" "$bin/xblade" serve "0.1=$work/disk.img" --interface shelf \
    --control "$work/xblade.sock" --state "$work/state" 2>"$work/log" &
daemon=$!
for ((i = 0; i < 100; i++)); do
    grep -q 'ready:' "$work/log" && break
    kill -0 "$daemon" 2>/dev/null || { cat "$work/log"; die "xblade did not start"; }
    sleep 0.1
done
cat "$work/log"

in_host() { ip netns exec "$HOST" "$bin/xblade-bench" "$@"; }

step "the host looks for exports"
in_host discover --interface host

step "$SECONDS_EACH s of reads and durable writes, every sector verified"
progress "reading and writing" in_host load --interface host --export 0.1 --op mixed --verify --span 131072 --seconds "$SECONDS_EACH"

step "xblade stops, and tells what it did"
kill "$daemon"
wait "$daemon" || die "xblade ended with an error"
daemon=''
sed -n '/stopping/,$p' "$work/log"

# Files of the same size on a separate pair; one core each for target and generator, if
# there are two.
step "figures: xblade-bench compare --profile quick"
cores=$(nproc)
(cd "$caller" && "$bin/xblade-bench" compare --profile quick --generator-core 0 \
    --target-core $((cores > 1 ? 1 : 0)) ${REPORT:+--report "$REPORT"})

step "done: everything made here is removed, but the report, target/ and the packages"
echo "rm -r ${REPORT:-$caller/xblade-report-quick-*} $TOP/target    # takes those; /var/log/apt/history.log names the packages"
