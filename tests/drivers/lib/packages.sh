# shellcheck shell=bash
# Gets a QEMU and kernels that the distribution itself does not have, from other suites of
# the mirror that apt uses already. Sourced by run.
#
# apt reads a configuration and package lists of its own, in $RUN: it changes neither the
# lists nor the packages of this machine.

. /etc/os-release

# apt_reads SUITE... - from now on apt knows these suites and no other
apt_reads() {
    local dir=$RUN/apt site suite signed=/usr/share/keyrings/$ID-archive-keyring.gpg
    # shellcheck disable=SC2016 # for apt
    site=$(apt-get indextargets --format '$(REPO_URI)' "Release: $VERSION_CODENAME" | head -1)
    [ -n "$site" ] || return
    rm -rf "$dir"
    mkdir -p "$dir"/{lists,archives}/partial
    for suite in "$@"; do echo "deb [signed-by=$signed] $site $suite main universe"; done >"$dir/sources"
    [ "$ID" = ubuntu ] || sed -i 's/ universe$//' "$dir/sources"
    cat >"$dir/conf" <<-END
	Dir::State::lists "$dir/lists";
	Dir::Cache "$dir";
	Dir::Etc::SourceList "$dir/sources";
	Dir::Etc::SourceParts "/dev/null";
	APT::Sandbox::User "root";
	Debug::NoLocking "true";
	END
    export APT_CONFIG=$dir/conf
    apt-get update -qq
}

# newer_suites - the suites with newer packages than this distribution. Debian stable and
# its backports are named by their codename, because mirrors keep old copies of the alias.
newer_suites() {
    local stable
    if [ "$ID" = debian ]; then
        # shellcheck disable=SC2016 # for apt
        stable=$(apt_reads stable && apt-get indextargets --format '$(CODENAME)' | head -1)
        echo "$stable $stable-backports"
    else
        echo "$VERSION_CODENAME $VERSION_CODENAME-updates"
    fi
}

# kernel_find VERSION - sets $KERNEL_PACKAGE to the newest package of that version, as 6.18;
# "newest" is the newest of all, "oldest" that of this distribution
kernel_find() {
    local pattern="^linux-image-${1//./\\.}[.-]"
    KERNEL_PACKAGE=''
    unset APT_CONFIG
    [ "$1" != oldest ] || return 0
    [ "$1" != newest ] || pattern='^linux-image-[0-9]'
    # shellcheck disable=SC2046 # a list of words
    apt_reads $(newer_suites) || return
    KERNEL_PACKAGE=$(apt-cache pkgnames linux-image- | grep -E "$pattern.*-(amd64|generic)\$" |
        grep -vE -- '-(cloud|rt)-' | sort -V | tail -1)
    [ -n "$KERNEL_PACKAGE" ]
}

has_igb() { "${VM_QEMU[@]}" -device igb,help 2>/dev/null | grep 'igb options' >/dev/null; }

# qemu_ready - sets $VM_QEMU to one that emulates igb (from 8.0 on): the installed one, or
# else that of a newer suite
qemu_ready() {
    local dir=$CACHE/qemu deb
    ! has_igb || return 0
    if [ ! -e "$dir" ]; then
        rm -rf "$dir.new"
        mkdir -p "$dir.new"
        say "fetching QEMU"
        # apt takes the libraries that this machine lacks, too.
        (apt_reads "$VERSION_CODENAME" "$VERSION_CODENAME-backports" &&
            apt-get install -qq --download-only --no-install-recommends -y \
                -t "$VERSION_CODENAME-backports" qemu-system-x86 >/dev/null) || return
        for deb in "$RUN"/apt/archives/*.deb; do dpkg-deb -x "$deb" "$dir.new" || return; done
        rm -rf "$RUN/apt"
        mv "$dir.new" "$dir"
    fi
    VM_QEMU=(env "LD_LIBRARY_PATH=$dir/usr/lib/x86_64-linux-gnu" "QEMU_MODULE_DIR=$dir/usr/lib/x86_64-linux-gnu/qemu"
        "$dir/usr/bin/qemu-system-x86_64" -L "$dir/usr/share/qemu" -L "$dir/usr/share/seabios")
    has_igb
}
