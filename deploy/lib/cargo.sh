# shellcheck shell=bash
# Runs cargo as the right user. Sourced by tests/run.sh and other scripts.
#
# Under sudo the toolchain and the source tree belong to the user. Compiling runs as that
# user, so that nothing in target/ is owned by root. Only what needs root (namespaces,
# XDP) runs as root.

# cargo_find - adds cargo's directory to $PATH, or explains what to do
cargo_find() {
    local home=$HOME
    if under_sudo; then home=$(getent passwd "$SUDO_USER" | cut -d: -f6); fi
    PATH=$home/.cargo/bin:$PATH
    if ! as_user sh -c 'command -v cargo' >/dev/null; then
        echo "no cargo in $home/.cargo/bin or PATH: install Rust (https://rustup.rs) and run this again" >&2
        return 1
    fi
    as_user cargo --version
}

under_sudo() { [ "$(id -u)" = 0 ] && [ "${SUDO_USER:-root}" != root ]; }

# as_user COMMAND... - runs it as the user who called sudo; directly without sudo
as_user() {
    if ! under_sudo; then "$@"; return; fi
    local keep=("PATH=$PATH") name
    for name in CI CARGO_TARGET_DIR CARGO_TERM_COLOR http_proxy https_proxy; do
        [ -z "${!name:-}" ] || keep+=("$name=${!name}")
    done
    sudo -u "$SUDO_USER" -H env "${keep[@]}" "$@"
}

# give_back PATH... - gives files written as root to the user
give_back() { ! under_sudo || chown -R "$SUDO_UID:$SUDO_GID" "$@"; }
