# shellcheck shell=bash disable=SC2034
# xblade replaces vblade under a verified load. vblade advertises 17 sectors at MTU 9000
# and xblade 16. Requests sent to vblade are resent unchanged to xblade: the load sees a
# pause but no error.
EXPORTS='0.1=96M'
MTUS=9000
TIMEOUT=150
# While there is no target, frames sent to it are lost, as expected.
DROPS=any

prepare() {
    SUCCESSOR=$TARGET_CMD
    TARGET_CMD="exec $HERE/vblade"
}

guest() {
    wait_up e0.1
    [ "$(attribute e0.1 payload)" = 8704 ] || fail "vblade has $(attribute e0.1 payload) bytes a frame, not 17 sectors"
    step "load"
    verify takeover "$(dev e0.1)" --time_based --runtime=12 --size=64M &
    load=$!
    sleep 3
    kill -0 $load || fail "the load ended too early"
    on_host takeover
    wait $load || fail "an error reached the application"
    is_up e0.1 || fail "e0.1 is not up"
    info "payload $(attribute e0.1 payload) bytes a frame, after vblade's 8704"
    [ "$(attribute e0.1 payload)" = 8192 ] || fail "xblade does not advertise 16 sectors"
    step "and it still works"
    verify after "$(dev e0.1)" --size=4M --offset=80M
}

on_takeover() {
    target_kill && sleep 1 || return
    TARGET_CMD=$SUCCESSOR
    target_start
}
