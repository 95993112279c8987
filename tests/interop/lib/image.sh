# shellcheck shell=bash
# Builds the guest: a distribution kernel and an initramfs. Sourced by run.
#
# Nothing is installed on this machine: the kernel packages are downloaded and unpacked,
# and a few modules kept. The result is in $GUEST:
#   vmlinux, initramfs.cpio, version, stamp
# Delete that directory to build it again, for instance with a newer kernel.

GUEST=$CACHE/guest
# The package of its kernel; empty for the distribution's current one.
KERNEL_PACKAGE=''

# Modules that the guest loads; their dependencies are included. Ubuntu has some of them
# built in.
GUEST_MODULES='aoe virtio_pci virtio_net virtio_rng ext4 crc32c_generic crc32c_intel'

# Programs copied from this machine together with their libraries. busybox provides
# everything else.
GUEST_PROGRAMS='bash dd fio
    aoe-discover aoe-flush aoe-interfaces aoe-revalidate aoe-stat aoe-version
    aoe-sancheck aoecfg aoeping
    mkfs.ext4 fsck.ext4 resize2fs mount umount sfdisk blkid lsblk hdparm'

image_stamp() {
    { cat "$HERE"/lib/image.sh "$HERE"/lib/unpack-kernel.py; echo "$GUEST_MODULES $GUEST_PROGRAMS"; } | sha256sum
}

image_current() { [ "$(cat "$GUEST/stamp" 2>/dev/null)" = "$(image_stamp)" ]; }

# image_ready - builds the guest unless the cached one is current
image_ready() {
    if ! image_current; then
        rm -rf "$GUEST" "$GUEST.new"
        mkdir -p "$GUEST.new"
        (set -e; image_build "$GUEST.new")
        image_stamp >"$GUEST.new/stamp"
        mv "$GUEST.new" "$GUEST"
    fi
    # shellcheck disable=SC2034 # run prints it
    GUEST_KERNEL=$(cat "$GUEST/version")
}

image_build() {
    local out=$1 version boot tree=$1/tree root=$1/root
    mkdir -p "$out/deb" "$tree" "$root"
    kernel_fetch "$out/deb"
    for deb in "$out"/deb/*.deb; do dpkg-deb -x "$deb" "$tree"; done
    # Old packages have lib/modules, new ones usr/lib/modules.
    [ -d "$tree/lib/modules" ] || ln -s usr/lib "$tree/lib"
    version=$(basename "$(echo "$tree"/lib/modules/*)")
    say "building the guest for Linux $version"
    # From Linux 7 on Debian has it beside the modules.
    boot=$(find "$tree" -name 'vmlinuz*' -type f)
    "$HERE/lib/unpack-kernel.py" "$boot" "$out/vmlinux"
    depmod -b "$tree" "$version"
    root_skeleton "$root"
    for program in $GUEST_PROGRAMS; do root_program "$root" "$program"; done
    root_modules "$root" "$tree" "$version"
    root_archive "$root" >"$out/initramfs.cpio"
    rm -rf "$out/deb" "$tree" "$root"
    echo "$version" >"$out/version"
}

# The package of the distribution's current kernel: the dependency of its meta package, so
# 6.1 on Debian 12.
kernel_package() {
    local meta
    for meta in linux-image-amd64 linux-image-generic; do
        if [[ $(apt-cache depends "$meta" 2>/dev/null) =~ linux-image-[0-9][^[:space:]]* ]]; then
            echo "${BASH_REMATCH[0]}"
            return
        fi
    done
    return 1
}

# kernel_fetch DIR - downloads it; Ubuntu, and Debian from Linux 7 on, have the modules in
# separate packages, and Ubuntu has aoe in the one of extra modules
kernel_fetch() {
    local image=$KERNEL_PACKAGE version packages
    [ -n "$image" ] || image=$(kernel_package) || { apt-get update -qq; image=$(kernel_package); } ||
        die "the package archive has no linux-image-amd64 and no linux-image-generic"
    version=${image#linux-image-}
    packages=("$image")
    for extra in linux-{modules,modules-extra,binary,base}-"$version"; do
        # It also succeeds for a name that is only mentioned.
        [ -z "$(apt-cache show "$extra" 2>/dev/null)" ] || packages+=("$extra")
    done
    say "fetching ${packages[*]}"
    # Outdated lists name packages that no longer exist.
    kernel_download "$1" "${packages[@]}" || { apt-get update -qq && kernel_download "$1" "${packages[@]}"; } ||
        die "could not fetch ${packages[*]}"
}

kernel_download() {
    local dir=$1
    shift
    # apt's unprivileged user may not write to a home directory.
    (cd "$dir" && apt-get download -qq -o APT::Sandbox::User=root "$@")
}

# root_skeleton ROOT - creates directories in the merged layout, and busybox with its
# links
root_skeleton() {
    local root=$1 name
    mkdir -p "$root"/{bin,dev,proc,sys,run,tmp,mnt,etc,root,usr,lib/modules}
    ln -s bin "$root/sbin"
    ln -s ../bin "$root/usr/bin"
    ln -s ../bin "$root/usr/sbin"
    ln -s ../lib "$root/usr/lib"
    ln -s lib "$root/lib64"
    cp "$(command -v busybox)" "$root/bin/busybox"
    for name in $(busybox --list); do
        [ "$name" = busybox ] || ln -s busybox "$root/bin/$name"
    done
    echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
    echo 'root:x:0:' >"$root/etc/group"
    ln -s /proc/self/mounts "$root/etc/mtab"
    cp /etc/mke2fs.conf "$root/etc/"
}

# root_program ROOT NAME - copies a program and its shared libraries
root_program() {
    local root=$1 source library target
    source=$(command -v "$2") || die "no program $2 on this machine (run: deploy/setup.sh test)"
    rm -f "$root/bin/$2"
    cp -L "$source" "$root/bin/$2"
    for library in $(ldd "$source" 2>/dev/null | grep -o '/[^ ]*'); do
        # /lib64/ld-linux... and /usr/lib/x86_64-linux-gnu/... both go to /lib
        target=${library#/usr}
        target=$root/lib/${target#/lib*/}
        [ -e "$target" ] && continue
        mkdir -p "$(dirname "$target")"
        cp -L "$library" "$target"
    done
}

# root_modules ROOT TREE VERSION - uncompresses modules, since busybox cannot read .xz and
# .zst
root_modules() {
    local root=$1 tree=$2 version=$3 module file target
    for module in $GUEST_MODULES; do
        modprobe -d "$tree" -S "$version" --show-depends "$module" 2>/dev/null || true
    done | awk '$1 == "insmod" {print $2}' | sort -u >"$root/modules.list"
    while read -r file; do
        target=$root/lib/modules/$version/${file#*"/lib/modules/$version/"}
        mkdir -p "$(dirname "$target")"
        case $file in
            *.xz) xz -dc "$file" >"${target%.xz}" ;;
            *.zst) zstd -qdc "$file" >"${target%.zst}" ;;
            *) cp "$file" "$target" ;;
        esac
    done <"$root/modules.list"
    rm "$root/modules.list"
    cp "$tree/lib/modules/$version"/modules.{builtin*,order} "$root/lib/modules/$version/"
    depmod -b "$root" "$version"
    [ -n "$(find "$root/lib/modules" -name aoe.ko)" ] || die "Linux $version has no aoe module"
}

# root_archive DIR - writes a directory as cpio archive to standard output
root_archive() {
    (cd "$1" && find . -print0 | sort -z | cpio -0 -o -H newc --owner=0:0 --quiet)
}
