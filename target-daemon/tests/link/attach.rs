//! Attaching the program, and the ways in which it is detached.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use xblade_kit::{OURS, Pair, apply, needs_root, sh};

use xblade::link::{Facts, Mode, Program, XdpMode, missing_capabilities, raise_memlock};

use crate::ours::{facts, until_detached};

#[apply(needs_root!)]
fn attaches_in_the_mode_asked_for_and_detaches_on_drop() {
    let pair = Pair::new();
    let rows =
        [(Mode::Auto, XdpMode::Native), (Mode::Native, XdpMode::Native), (Mode::Generic, XdpMode::Generic)];
    for mtu in [1500, 9000] {
        pair.mtu(mtu);
        for (asked, got) in rows {
            pair.ours.run(move || {
                let program = Program::attach(&facts(), asked, &[]).unwrap();
                assert_eq!((program.mode(), program.native_refusal()), (got, None));
                let modes: Vec<XdpMode> = facts().attached.iter().map(|one| one.0).collect();
                assert_eq!(modes, [got], "{asked:?} at MTU {mtu}");
                drop(program);
                until_detached();
            });
        }
    }
}

#[apply(needs_root!)]
fn auto_falls_back_to_generic_and_says_why() {
    let pair = Pair::new();
    pair.ours.run(|| {
        sh("ip link add xblbr type bridge");
        let facts = Facts::read("xblbr").unwrap();
        let program = Program::attach(&facts, Mode::Auto, &[]).unwrap();
        assert_eq!(program.mode(), XdpMode::Generic);
        let refusal = program.native_refusal().unwrap();
        assert!(refusal.contains("not supported"), "{refusal}");
        drop(program);
        let error = Program::attach(&facts, Mode::Native, &[]).unwrap_err().to_string();
        let want = "interface `xblbr` refuses the XDP program in native mode (Operation not \
                    supported";
        assert!(error.starts_with(want), "{error}");
        assert!(error.ends_with(": choose generic mode or auto, or lower the MTU"), "{error}");
    });
}

#[apply(needs_root!)]
fn a_killed_process_leaves_nothing_attached() {
    let pair = Pair::new();
    for mode in ["native", "generic"] {
        pair.ours.run(move || {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "attach::child_that_waits", "--ignored", "--nocapture"])
                .env("XBL_CHILD_MODE", mode)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            assert!(lines.any(|line| line.unwrap().ends_with("attached")), "the child failed");
            assert_eq!(facts().attached.len(), 1);
            let refusal = Program::attach(&facts(), Mode::Auto, &[]).unwrap_err().to_string();
            assert!(refusal.contains(&format!("process {}", child.id())), "{refusal}");
            child.kill().unwrap();
            child.wait().unwrap();
            until_detached();
            drop(Program::attach(&facts(), Mode::Auto, &[]).unwrap());
            until_detached();
        });
    }
}

/// Not a test: the process that the test above kills.
#[test]
#[ignore = "run by a_killed_process_leaves_nothing_attached"]
fn child_that_waits() {
    let Ok(mode) = std::env::var("XBL_CHILD_MODE") else {
        return;
    };
    let mode = if mode == "native" { Mode::Native } else { Mode::Generic };
    let program = Program::attach(&facts(), mode, &[]).unwrap();
    println!("attached");
    // Exits with the parent, if that does not kill it.
    let _ = std::io::stdin().read(&mut [0]);
    drop(program);
}

#[apply(needs_root!)]
fn an_interface_that_goes_away_takes_no_harm() {
    let pair = Pair::new();
    pair.ours.run(|| {
        let facts = facts();
        let program = Program::attach(&facts, Mode::Auto, &[]).unwrap();
        sh(&format!("ip link del {OURS}"));
        assert!(program.counters().is_ok());
        drop(program);
        let error = Program::attach(&facts, Mode::Auto, &[]).unwrap_err().to_string();
        assert!(error.contains(OURS), "{error}");
    });
}

#[apply(needs_root!)]
fn root_has_what_it_takes() {
    assert_eq!(missing_capabilities().unwrap(), [""; 0]);
}

#[apply(needs_root!)]
fn memlock_is_raised_or_the_remedy_named() {
    // Root in a container often lacks CAP_SYS_RESOURCE.
    match raise_memlock() {
        Ok(()) => {
            let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
            let line = limits.lines().find(|line| line.starts_with("Max locked")).unwrap();
            assert_eq!(line.matches("unlimited").count(), 2, "{line}");
        }
        Err(error) => {
            assert!(error.bytes > 0);
            assert!(error.to_string().contains("grant CAP_SYS_RESOURCE"), "{error}");
        }
    }
}
