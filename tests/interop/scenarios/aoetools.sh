# shellcheck shell=bash disable=SC2034
# The tools that speak AoE themselves. They ignore replies shorter than 60 bytes, and no
# NIC on this path pads, so the target must.
EXPORTS='0.1=64M,host-settings=allow'

guest() {
    wait_up e0.1
    step "ping and check"
    run timeout 10 aoeping -s 5 -I 0 1 eth0
    run timeout 20 aoe-sancheck

    step "config string"
    run timeout 10 aoecfg -t 2 -c fset -s hello 0 1 eth0
    answers read
    answers test hello
    answers prefix hel
    if answer test other; then fail "an answer to a test that does not match"; fi
    run timeout 10 aoecfg -t 2 -c fset -s '' 0 1 eth0

    step "flush, and find again"
    run aoe-flush -a
    wait_for 5 is_gone e0.1
    wait_up e0.1

    step "interface list"
    run aoe-interfaces lo
    run aoe-flush -a
    wait_for 5 is_gone e0.1
    run aoe-discover
    sleep 1
    is_gone e0.1 || fail "found through an interface that is not in the list"
    run aoe-interfaces eth0
    wait_up e0.1
}

# answer COMMAND [STRING] - the target answers with its config string, "hello"
answer() {
    timeout 10 aoecfg -t 2 -c "$1" ${2:+-s "$2"} 0 1 eth0 >/tmp/cfg
    grep -q hello /tmp/cfg
}
answers() { answer "$@" || fail "no answer to config $*"; }
