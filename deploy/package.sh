#!/bin/bash
# Builds the Debian package.
#
# usage: deploy/package.sh [--profile NAME] [--no-build] [--revision N] [--output FOLDER]
#                          [--maintainer "NAME <ADDRESS>"]
#
#   --profile NAME    cargo profile of the programs (release)
#   --no-build        use the programs built earlier with that profile
#   --revision N      the last part of the version (1)
#   --output FOLDER   where to put it (target/debian)
#   --maintainer "NAME <ADDRESS>"
#                     maintainer of the package ("$DEBFULLNAME <$DEBEMAIL>"). Without
#                     it the package has an address that does not exist. That is
#                     sufficient for your own machines, but lintian refuses it
#
# The package runs where glibc is at least as new as its programs need, which is printed. From
# Debian 12 that is 2.34 (docs/OPERATING.md, "Service and package"); a newer build machine may
# make it newer.
#
# Installs cargo-deb in target/tools. The build needs the packages of "deploy/setup.sh
# build", and installs them if it runs as root. The last line of output is the path of the
# package. Under sudo it compiles as the user who called it.
set -euo pipefail
TOP=$(readlink -f "$(dirname "$(readlink -f "$0")")/..")
cd "$TOP"
CARGO_DEB_VERSION=3.8.0

profile=release build=yes revision=1
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$TOP/target}
output=$CARGO_TARGET_DIR/debian
maintainer=${DEBEMAIL:+${DEBFULLNAME:-$DEBEMAIL} <$DEBEMAIL>}
while [ $# -gt 0 ]; do
    case $1 in
        --profile|--revision|--output|--maintainer)
            [ $# -gt 1 ] || { echo "package: $1 needs a value (see --help)" >&2; exit 2; }
            declare "${1#--}=$2"
            shift ;;
        --no-build) build=no ;;
        -h|--help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) echo "package: unknown argument '$1' (see --help)" >&2; exit 2 ;;
    esac
    shift
done
[[ $revision =~ ^[0-9A-Za-z.+~]+$ ]] || { echo "package: --revision $revision: letters, digits and .+~ only" >&2; exit 2; }
[[ -z $maintainer || $maintainer =~ ^[^\<\>,]+\ \<[^\ \<\>@]+@[^\ \<\>@]+\>$ ]] ||
    { echo "package: the maintainer '$maintainer' is no \"NAME <ADDRESS>\"" >&2; exit 2; }

. deploy/lib/cargo.sh
cargo_find >/dev/null
say() { printf 'package: %s\n' "$*" >&2; }

deb=$CARGO_TARGET_DIR/tools/bin/cargo-deb
if [ "$("$deb" --version 2>/dev/null | tail -1)" != "cargo-deb $CARGO_DEB_VERSION" ]; then
    say "installing cargo-deb $CARGO_DEB_VERSION in target/tools"
    # Without optimisation: it runs for seconds, but compiles for minutes. Uses its own
    # target directory, which cargo removes afterwards.
    as_user env -u CARGO_TARGET_DIR cargo install --quiet --locked --debug --force \
        --root "$CARGO_TARGET_DIR/tools" "cargo-deb@$CARGO_DEB_VERSION"
fi

if [ $build = yes ]; then
    if [ "$(id -u)" = 0 ]; then deploy/setup.sh build; else deploy/setup.sh --check build; fi
    say "compiling with the profile $profile"
    as_user cargo build --quiet --locked --profile "$profile" -p xblade -p xblade-bench -p xblade-manual
fi
# The folder of the profile dev is debug.
folder=$CARGO_TARGET_DIR/${profile/#dev/debug}
for program in xblade xblade-bench xblade-manual; do
    [ -x "$folder/$program" ] || { echo "package: no $folder/$program: leave out --no-build" >&2; exit 1; }
done
if "$folder/xblade" --version | grep -q plant; then
    echo "package: $folder/xblade can plant bugs, and is for tests only: build it again" >&2
    [ "${XBLADE_PACKAGE_TEST:-}" = 1 ] || exit 1
fi

say "writing manual pages and completions"
manual=$folder/manual
as_user rm -rf "$manual"
as_user "$folder/xblade-manual" "$manual"
# The time of the last change, so that the same source gives the same files.
changed=$(git log -1 --format=%ct 2>/dev/null) || changed=$(stat -c %Y CHANGELOG.md)
version=$("$folder/xblade" --version)
version=${version#xblade }
as_user tee "$manual/changelog.Debian" >/dev/null <<EOF
xblade (${version%%[+ ]*}-$revision) unstable; urgency=medium

  * See CHANGELOG.md.

 -- ${maintainer:-The xblade authors <xblade@localhost>}  $(date -u -R -d "@${SOURCE_DATE_EPOCH:-$changed}")
EOF
as_user gzip -9n "$manual"/*.[158] "$manual/changelog.Debian"
as_user ln -sf xblade "$folder/xblade-vblade"
# Documents link to these as in the source, and users look for examples.
for file in xblade.toml vbladed prometheus/alerts.yml grafana/xblade.json ansible/xblade.yml; do
    as_user mkdir -p "$manual/"{examples,deploy}"/$(dirname $file)"
    as_user cp deploy/$file "$manual/examples/$file"
    as_user ln -sr "$manual/examples/$file" "$manual/deploy/$file"
done
glibc=$(objdump -T "$folder"/xblade{,-bench} | grep -oE 'GLIBC_[0-9.]+' | sort -Vu | tail -1)
say "the programs need glibc ${glibc#GLIBC_} or newer"
say "packing"
as_user mkdir -p "$output"
more=()
[ "$profile" = release ] || more+=(--fast)
[ -z "$maintainer" ] || more+=(--maintainer "$maintainer")
made=$(as_user "$deb" -p xblade --manifest-path Cargo.toml --no-build --profile "$profile" --strip "${more[@]}" --quiet \
    --deb-revision "$revision" --output "$output")
[ -f "$made" ] || { echo "package: cargo-deb says '$made', and that is no file" >&2; exit 1; }
printf '%s\n' "$made"
