#!/bin/bash
# shellcheck disable=SC2086 # lists of words, split on purpose
# Installs the Debian or Ubuntu packages that xblade needs. This is the only list of them.
#
# usage: deploy/setup.sh [--check] LIST...
#
#   LIST      build    to compile it (besides Rust, see rust-toolchain.toml)
#             bench    to compare xblade with other programs
#             test     to run all tests, including the VM with the Linux initiator
#   --check   install nothing: list missing packages, exit 1 if there are any
#
# Installing needs root. Installed packages are left as they are, and the package lists
# are updated only if something is missing.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
. deploy/lib/progress.sh

# "a|b" means a, or b if the archive has no a. Without recommended packages gcc would have
# no C library headers, so libc6-dev is listed.
BUILD='clang llvm libclang-dev gcc libc6-dev make m4 pkg-config
    libelf-dev zlib1g-dev libbpf-dev iproute2 git ca-certificates'
BENCH='vblade fio iproute2 ethtool util-linux'
# Ubuntu 24.04 has bpftool inside linux-tools-common.
TEST='qemu-system-x86 busybox-static cpio kmod xz-utils zstd
    fio aoetools vblade e2fsprogs xfsprogs fdisk hdparm util-linux
    systemd man-db iproute2 ethtool tcpdump python3 python3-venv valgrind bpftool|linux-tools-common
    prometheus python3-prometheus-client shellcheck lintian binutils'

# Those of these packages that would start a service.
SERVICES='prometheus'

die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

available() { [[ $(apt-cache policy "$1" 2>/dev/null) =~ Candidate:\ [^\(] ]]; }

# Prints the entries of which no alternative is installed.
missing() {
    local entry name
    for entry in "$@"; do
        for name in ${entry//|/ }; do installed "$name" && continue 2; done
        printf '%s\n' "$entry"
    done | sort -u
}

# The first alternative in the archive.
choose() {
    local name
    for name in ${1//|/ }; do
        if available "$name"; then printf '%s\n' "$name"; return; fi
    done
    die "the package archive has no ${1//|/ and no }"
}

check=no wanted=''
for arg in "$@"; do
    case $arg in
        --check) check=yes ;;
        build) wanted+=" $BUILD" ;;
        bench) wanted+=" $BENCH" ;;
        test) wanted+=" $TEST" ;;
        -h|--help) sed -n '3,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) die "unknown argument '$arg' (build, bench, test, --check)" ;;
    esac
done
[ -n "$wanted" ] || die "which list? build, bench, test or several"

if ! command -v dpkg-query >/dev/null; then
    echo "setup: not Debian or Ubuntu; see that these are installed:" $wanted
    exit 0
fi

entries=$(missing $wanted)
[ -n "$entries" ] || exit 0
[ $check = no ] || die "missing packages:" $entries
[ "$(id -u)" = 0 ] || die "missing packages:" $entries "(run: sudo $0 $*)"

# Installs packages without starting their services, now or at the next boot, because the
# tests need only the programs. Debian starts services after installation unless
# policy-rc.d forbids it; an existing policy-rc.d is the machine's own decision
# (containers have one). A service that runs afterwards all the same is stopped.
install_without_services() {
    local policy=/usr/sbin/policy-rc.d ours='' service was=''
    for service in $SERVICES; do installed "$service" && was+=" $service "; done
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod 755 $policy
        ours=yes
    fi
    local status=0
    DEBIAN_FRONTEND=noninteractive apt_progress "installing" install -y -qq --no-install-recommends "$@" || status=$?
    [ -z "$ours" ] || rm -f $policy
    for service in $SERVICES; do
        # A service that was installed before is wanted.
        if [[ $was != *" $service "* ]] && installed "$service"; then
            invoke-rc.d --quiet "$service" stop >/dev/null 2>&1 || true
            update-rc.d "$service" disable >/dev/null 2>&1 || true
        fi
    done
    return $status
}

echo "setup: reading the package lists"
progress "reading" apt-get update -qq
packages=()
for entry in $entries; do packages+=("$(choose "$entry")"); done
echo "setup: installing ${packages[*]}"
install_without_services "${packages[@]}"
