# shellcheck shell=bash
# Shows that a long command goes on. Sourced by quickstart.sh and other scripts.

# Seconds without output until the time is printed.
PROGRESS_EVERY=5

# progress WHAT COMMAND... - runs it, and while it prints nothing, prints WHAT and for how
# long it has been running. On a terminal, commands such as cargo show this themselves.
progress() {
    local what=$1
    shift
    if [ -t 1 ] && [ -t 2 ]; then "$@"; return; fi
    "$@" 2>&1 | progress_lines "$what"
    return "${PIPESTATUS[0]}"
}

# Copies lines.
progress_lines() {
    local began=$SECONDS part='' line status
    while :; do
        status=0
        IFS= read -r -t $PROGRESS_EVERY line || status=$?
        part+=$line
        if [ $status = 0 ]; then
            printf '%s\n' "$part"
            part=''
        elif [ $status -gt 128 ]; then
            printf '   %s: %d s\n' "$1" $((SECONDS - began))
        else
            [ -z "$part" ] || printf '%s\n' "$part"
            return 0
        fi
    done
}

# apt_progress WHAT OPTIONS... - apt-get, without its output; prints what it is doing every
# five seconds
apt_progress() {
    local what=$1
    shift
    apt-get -o APT::Status-Fd=3 "$@" 3>&1 >/dev/null | apt_lines "$what"
    return "${PIPESTATUS[0]}"
}

# Lines are KIND:PACKAGE:PERCENT:TEXT; downloads and installation each count to 100.
apt_lines() {
    local began=$SECONDS shown=0 now line last='starting' status
    while :; do
        status=0
        IFS= read -r -t 1 line || status=$?
        if [ $status = 0 ]; then
            IFS=: read -r _ _ now last <<<"$line"
            last="${now%%.*} %: $last"
        elif [ $status -le 128 ]; then
            return 0
        fi
        if [ $((SECONDS - began - shown)) -ge $PROGRESS_EVERY ]; then
            shown=$((SECONDS - began))
            printf '   %s: %d s, %s\n' "$1" "$shown" "$last"
        fi
    done
}
