# shellcheck shell=bash
# The guest: a distribution kernel and an initramfs. Sourced by run.
#
# Nothing of it is installed on this machine: the kernel packages are fetched,
# unpacked, and a few modules kept. The result stays in $CACHE/guest:
#   vmlinux, initramfs.cpio, version, stamp
# Delete that directory to build it anew, for instance with a newer kernel.

# Modules that the guest loads, by name; what they need comes along. Ubuntu has
# some of them built in.
GUEST_MODULES='aoe virtio_pci virtio_net virtio_rng ext4 crc32c_generic crc32c_intel'

# Programs taken from this machine together with their libraries. busybox
# provides everything else.
GUEST_PROGRAMS='bash dd fio
    aoe-discover aoe-flush aoe-interfaces aoe-revalidate aoe-stat aoe-version
    aoe-sancheck aoecfg aoeping
    mkfs.ext4 fsck.ext4 resize2fs mount umount sfdisk blkid lsblk hdparm'

# image_ready - build the guest unless the cached one is good
image_ready() {
    local stamp
    stamp=$(cat "$HERE"/lib/image.sh "$HERE"/lib/unpack-kernel.py | sha256sum)
    if [ "$(cat "$CACHE/guest/stamp" 2>/dev/null)" != "$stamp" ]; then
        rm -rf "$CACHE/guest" "$CACHE/guest.new"
        mkdir -p "$CACHE/guest.new"
        (set -e; image_build "$CACHE/guest.new")
        echo "$stamp" >"$CACHE/guest.new/stamp"
        mv "$CACHE/guest.new" "$CACHE/guest"
    fi
    # shellcheck disable=SC2034 # run prints it
    GUEST_KERNEL=$(cat "$CACHE/guest/version")
}

image_build() {
    local out=$1 version tree=$1/tree root=$1/root
    mkdir -p "$out/deb" "$tree" "$root"
    kernel_fetch "$out/deb"
    for deb in "$out"/deb/*.deb; do dpkg-deb -x "$deb" "$tree"; done
    # Old packages have lib/modules, new ones usr/lib/modules.
    [ -d "$tree/lib/modules" ] || ln -s usr/lib "$tree/lib"
    version=$(basename "$tree"/boot/vmlinuz-*)
    version=${version#vmlinuz-}
    say "building the guest for Linux $version"
    "$HERE/lib/unpack-kernel.py" "$tree/boot/vmlinuz-$version" "$out/vmlinux"
    depmod -b "$tree" "$version"
    root_skeleton "$root"
    for program in $GUEST_PROGRAMS; do root_program "$root" "$program"; done
    root_modules "$root" "$tree" "$version"
    root_archive "$root" >"$out/initramfs.cpio"
    rm -rf "$out/deb" "$tree" "$root"
    echo "$version" >"$out/version"
}

# The package of the distribution's current kernel: what its meta package
# depends on, so 6.1 on Debian 12.
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

# kernel_fetch DIR - download it; Ubuntu (on which this is untested) keeps the
# modules in packages of their own, aoe among the extra ones
kernel_fetch() {
    local image version packages
    image=$(kernel_package) || { apt-get update -qq; image=$(kernel_package); } ||
        die "the package archive has no linux-image-amd64 and no linux-image-generic"
    version=${image#linux-image-}
    packages=("$image")
    for extra in "linux-modules-$version" "linux-modules-extra-$version"; do
        ! apt-cache show "$extra" >/dev/null 2>&1 || packages+=("$extra")
    done
    say "fetching ${packages[*]}"
    # Lists that are out of date name packages that are gone.
    kernel_download "$1" "${packages[@]}" || { apt-get update -qq && kernel_download "$1" "${packages[@]}"; } ||
        die "could not fetch ${packages[*]}"
}

kernel_download() {
    local dir=$1
    shift
    # The unprivileged user of apt may not write below a home directory.
    (cd "$dir" && apt-get download -qq -o APT::Sandbox::User=root "$@")
}

# root_skeleton ROOT - directories in the merged layout, busybox and its names
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

# root_program ROOT NAME - copy a program and the libraries that it is linked with
root_program() {
    local root=$1 source library target
    source=$(command -v "$2") || die "no program $2 on this machine (run: deploy/setup.sh test)"
    rm -f "$root/bin/$2"
    cp -L "$source" "$root/bin/$2"
    for library in $(ldd "$source" 2>/dev/null | grep -o '/[^ ]*'); do
        # /lib64/ld-linux... and /usr/lib/x86_64-linux-gnu/... both end up below /lib
        target=${library#/usr}
        target=$root/lib/${target#/lib*/}
        [ -e "$target" ] && continue
        mkdir -p "$(dirname "$target")"
        cp -L "$library" "$target"
    done
}

# root_modules ROOT TREE VERSION - unpacked modules, since busybox cannot read .xz and .zst
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

# root_archive DIR - a directory as cpio archive on standard output
root_archive() {
    (cd "$1" && find . -print0 | sort -z | cpio -0 -o -H newc --owner=0:0 --quiet)
}
