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
# Python packages that tests use: they read the files of xblade-bench, run the playbook, and
# judge the OpenAPI document. Without one its test is skipped.
PYTHON_PACKAGES='hdrhistogram==0.10.8 ansible-core==2.18.19 openapi-spec-validator==0.9.0'

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
. deploy/lib/progress.sh
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
    # shellcheck disable=SC2016 # the inner shell has the argument
    progress "building" as_user sh -c \
        'exec cargo build --workspace --all-targets --message-format=json-render-diagnostics >"$1"' - "$LOG_DIR/build.json"
}

deny() {
    local deny
    deny=$(command -v cargo-deny || echo "$CARGO_TARGET_DIR/tools/bin/cargo-deny")
    if [ ! -x "$deny" ]; then
        # Without optimisation: it runs for seconds, but compiles for minutes. Uses its
        # own target directory, which cargo removes afterwards.
        progress "installing cargo-deny" as_user env -u CARGO_TARGET_DIR cargo install --quiet --locked --debug \
            --root "$CARGO_TARGET_DIR/tools" "cargo-deny@$DENY_VERSION"
    fi
    as_user "$deny" --log-level error check --hide-inclusion-graph bans licenses sources
    if as_user timeout 60 "$deny" fetch db; then
        as_user "$deny" --log-level error check --disable-fetch advisories
    else
        echo "NOT CHECKED: security advisories, for the advisory database could not be fetched"
    fi
}

python_packages() {
    local venv=$CARGO_TARGET_DIR/tools/python
    if [ "$(cat "$venv/packages" 2>/dev/null)" != "$PYTHON_PACKAGES" ]; then
        # shellcheck disable=SC2086 # a list of words
        as_user python3 -m venv --clear "$venv" &&
            progress "installing" as_user "$venv/bin/python3" -m pip install --quiet --disable-pip-version-check \
                $PYTHON_PACKAGES &&
            printf '%s' "$PYTHON_PACKAGES" | as_user tee "$venv/packages" >/dev/null ||
            echo "these could not be installed from PyPI: $PYTHON_PACKAGES"
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
stage "Python packages" python_packages
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
