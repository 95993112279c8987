# shellcheck shell=bash disable=SC2034
# The target dies (SIGKILL) under a verified load and restarts four seconds later: the
# load sees a pause but no error.
EXPORTS='0.1=96M'
TIMEOUT=150
# While there is no target, frames sent to it are lost, as expected.
DROPS=any

guest() {
    wait_up e0.1
    step "load"
    verify outage "$(dev e0.1)" --time_based --runtime=12 --size=64M &
    load=$!
    sleep 3
    kill -0 $load || fail "the load ended too early"
    on_host outage
    wait $load || fail "an error reached the application"
    is_up e0.1 || fail "e0.1 is not up"
    step "and it still works"
    verify after "$(dev e0.1)" --size=4M --offset=80M
}

on_outage() { target_kill && sleep 4 && target_start; }
