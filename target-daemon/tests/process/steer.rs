//! `xblade steer` with drivers of this kernel, none of which can steer.

use std::process::Output;

use crate::daemon::xblade;
use xblade_kit::{OURS, Pair, apply, needs_root};

pub fn run(pair: &Pair, arguments: &str) -> (Option<i32>, String, String) {
    let mut command = xblade(arguments);
    let Output { status, stdout, stderr } = pair.ours.run(move || command.output().unwrap());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[apply(needs_root!)]
fn drivers_without_rules_are_reported_plainly() {
    let pair = Pair::with("numrxqueues 4 numtxqueues 4");
    pair.ours.sh("ip link add xbpbr numrxqueues 4 type bridge && ip link add xbpifb numrxqueues 4 type ifb");
    pair.ours.sh("ip tuntap add xbptap mode tap multi_queue");
    for (name, driver) in [(OURS, "veth"), ("xbpbr", "bridge"), ("xbpifb", "ifb"), ("xbptap", "tun")] {
        for mode in
            ["--plan --queue 1", "--apply --queue 1", "--apply --from 02:00:00:00:00:01,02:00:00:00:00:02"]
        {
            let (code, out, err) = run(&pair, &format!("steer -i {name} {mode}"));
            assert_eq!((code, out.as_str()), (Some(3), ""), "{name}: {err}");
            let why = format!("{name}: driver `{driver}` has no rules for receive queues");
            assert!(
                err.contains(&why) && err.contains("takes them to the worker that owns the export"),
                "{err}"
            );
        }
        let (code, out, err) = run(&pair, &format!("steer -i {name} --revert"));
        assert_eq!((code, err.as_str()), (Some(0), ""));
        assert!(out.contains("nothing to take back"), "{out}");
    }
}

#[apply(needs_root!)]
fn one_queue_is_nothing_to_steer() {
    let pair = Pair::new();
    for mode in ["--plan", "--apply", "--apply --queue 0"] {
        let (code, out, err) = run(&pair, &format!("steer -i {OURS} {mode}"));
        assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
        assert!(out.contains("driver veth, 1 receive queue(s)") && out.contains("nothing to steer"), "{out}");
    }
}

#[apply(needs_root!)]
fn wishes_that_cannot_be_are_refused() {
    let pair = Pair::with("numrxqueues 2 numtxqueues 2");
    for (arguments, part) in [
        (format!("-i {OURS}"), "--plan"),
        ("--plan".into(), "--interface"),
        (format!("-i {OURS} --plan --apply"), "cannot be used with"),
        (format!("-i {OURS} --revert --queue 1"), "cannot be used with"),
        (format!("-i {OURS} --plan --queue 1 --queues 0,1"), "cannot be used with"),
        (format!("-i {OURS} --apply --queues 0,1"), "name the hosts with --from"),
        (format!("-i {OURS} --apply --from 02:00"), "MAC address"),
    ] {
        let (code, _, err) = run(&pair, &format!("steer {arguments}"));
        assert!(code == Some(2) && err.contains(part), "{arguments}: {err}");
    }
    for (arguments, part) in [
        (format!("-i {OURS} --plan --queue 2"), "has no receive queue 2: give 0 to 1"),
        ("-i xbpnone --plan".into(), "`xbpnone` does not exist"),
    ] {
        let (code, _, err) = run(&pair, &format!("steer {arguments}"));
        assert!(code == Some(3) && err.contains(part), "{arguments}: {err}");
    }
}
