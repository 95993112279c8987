#!/bin/bash
# shellcheck disable=SC2317 # stages call functions by their names
# Runs all tests, from formatting to a VM with the real Linux initiator.
#
# usage: sudo tests/run.sh [--quick]
#
#   --quick   without the VM
#
# Installs the Debian or Ubuntu packages that the tests need (deploy/setup.sh); Rust must
# be installed (rustup). Compiles as the user who called sudo. Without root it runs what
# it can and reports the rest as skipped; with CI=true or XBLADE_TESTS_STRICT=1 a skipped
# test is a failure.
#
# exit status: 0 if all tests passed
set -euo pipefail
TOP=$(readlink -f "$(dirname "$(readlink -f "$0")")/..")
cd "$TOP"
PATH=$PATH:/usr/sbin:/sbin
DENY_VERSION=0.20.2
HDRHISTOGRAM_VERSION=0.10.8

quick=no
for arg in "$@"; do
    case $arg in
        --quick) quick=yes ;;
        -h|--help) sed -n '3,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) echo "unknown argument '$arg' (see --help)" >&2; exit 2 ;;
    esac
done
strict=no
if [ "${CI:-}" = true ] || [ "${XBLADE_TESTS_STRICT:-}" = 1 ]; then
    strict=yes
    export XBLADE_TESTS_STRICT=1
fi

. tests/lib/stages.sh
. deploy/lib/cargo.sh
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$TOP/target}
LOG_DIR=$CARGO_TARGET_DIR/test-log

packages() {
    if [ "$(id -u)" = 0 ]; then
        deploy/setup.sh build test
    else
        deploy/setup.sh --check build test || echo "SKIPPED: some packages are missing, and only root can install them"
    fi
}

# One profile for everything: the test programs, and the daemon for the VM.
build() {
    as_user cargo build --workspace --all-targets --message-format=json-render-diagnostics >"$LOG_DIR/build.json"
}

deny() {
    local deny
    deny=$(command -v cargo-deny || echo "$CARGO_TARGET_DIR/tools/bin/cargo-deny")
    if [ ! -x "$deny" ]; then
        # Without optimisation: it runs for seconds, but compiles for minutes. Uses its
        # own target directory, which cargo removes afterwards.
        as_user env -u CARGO_TARGET_DIR cargo install --quiet --locked --debug --root "$CARGO_TARGET_DIR/tools" \
            "cargo-deny@$DENY_VERSION"
    fi
    as_user "$deny" --log-level error check --hide-inclusion-graph bans licenses sources
    if as_user timeout 60 "$deny" fetch db; then
        as_user "$deny" --log-level error check --disable-fetch advisories
    else
        echo "NOT CHECKED: security advisories, for the advisory database could not be fetched"
    fi
}

# A Python package that reads the files of xblade-bench. Without it a test is skipped.
hdrhistogram() {
    local venv=$CARGO_TARGET_DIR/tools/hdrhistogram
    if ! "$venv/bin/python3" -c 'import hdrh' 2>/dev/null; then
        as_user python3 -m venv --clear "$venv" &&
            as_user "$venv/bin/python3" -m pip install --quiet --disable-pip-version-check \
                "hdrhistogram==$HDRHISTOGRAM_VERSION" ||
            echo "hdrhistogram $HDRHISTOGRAM_VERSION could not be installed from PyPI"
    fi
}

# Some of the mutations: others with each commit.
mutants() {
    local seed
    seed=$(as_user git rev-parse HEAD 2>/dev/null) || seed=$(date +%F)
    as_user tests/mutants/run --sample 16 --seed "$seed"
}

# Prints the last line of the run, and exits.
finish() {
    local status=0
    stages_report $((SECONDS - began)) $strict || status=1
    exit $status
}

# If this stage fails, later ones would only repeat its error.
needed() { [ "$STAGE_STATUS" = 0 ] || finish; }

began=$SECONDS
cargo_find
as_user mkdir -p "$LOG_DIR"
rm -f "$LOG_DIR"/*
trap 'give_back "$LOG_DIR"' EXIT

stage packages packages; needed
stage format as_user cargo fmt --all --check
stage shell tests/lib/check-shell
stage clippy as_user cargo clippy --workspace --all-targets --quiet -- -D warnings
stage dependencies deny
stage build build; needed
stage hdrhistogram hdrhistogram
stage tests tests/lib/run-tests.py "$LOG_DIR/build.json" "$TOP"
stage "doc tests" as_user cargo test --workspace --doc --quiet
stage "instruction counts" as_user bench/counts/run
stage mutants mutants
stage fuzzing as_user tests/fuzz/run
stage package tests/package/run
if [ $quick = no ]; then
    stage VM env XBLADE="$CARGO_TARGET_DIR/debug/xblade" tests/interop/run
    stage drivers env XBLADE="$CARGO_TARGET_DIR/debug/xblade" XBLADE_BENCH="$CARGO_TARGET_DIR/debug/xblade-bench" \
        tests/drivers/run
    stage "pauses of a VM" env XBLADE="$CARGO_TARGET_DIR/debug/xblade" tests/interop/pauses
    stage walk-through tests/interop/walkthrough
fi
finish
