//! Attaching the program, and the ways in which it is detached.

use xblade_kit::{OURS, Pair, apply, needs_root, sh};

use xblade::link::{Facts, Mode, XdpMode, missing_capabilities, raise_memlock};

use crate::ours::{attach, facts, until_detached};

#[apply(needs_root!)]
fn attaches_in_the_mode_asked_for_and_detaches_on_drop() {
    let pair = Pair::new();
    let rows =
        [(Mode::Auto, XdpMode::Native), (Mode::Native, XdpMode::Native), (Mode::Generic, XdpMode::Generic)];
    for mtu in [1500, 9000] {
        pair.mtu(mtu);
        for (asked, got) in rows {
            pair.ours.run(move || {
                let program = attach(&facts(), asked, &[]).unwrap();
                assert_eq!((program.mode, program.native_refusal.as_deref()), (got, None));
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
        let program = attach(&facts, Mode::Auto, &[]).unwrap();
        assert_eq!(program.mode, XdpMode::Generic);
        let refusal = program.native_refusal.as_deref().unwrap();
        assert!(refusal.contains("does not support XDP in native mode"), "{refusal}");
        drop(program);
        let error = attach(&facts, Mode::Native, &[]).err().unwrap().to_string();
        let want =
            "interface `xblbr` refuses the XDP program in native mode (Underlying driver does not support";
        assert!(error.starts_with(want), "{error}");
        assert!(error.ends_with(": choose generic mode or auto, or lower the MTU"), "{error}");
    });
}

#[apply(needs_root!)]
fn an_interface_that_goes_away_takes_no_harm() {
    let pair = Pair::new();
    pair.ours.run(|| {
        let facts = facts();
        let program = attach(&facts, Mode::Auto, &[]).unwrap();
        sh(&format!("ip link del {OURS}"));
        assert!(program.counters().is_ok());
        drop(program);
        let error = attach(&facts, Mode::Auto, &[]).err().unwrap().to_string();
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

#[apply(needs_root!)]
fn an_access_list_that_does_not_fit_is_refused() {
    let pair = Pair::new();
    pair.ours.run(|| {
        let list = |len: u16| -> Vec<[u8; 6]> {
            (0..len).map(|n| [2, 0, 0, 1, n.to_be_bytes()[0], n.to_be_bytes()[1]]).collect()
        };
        let error = attach(&facts(), Mode::Auto, &list(4097)).err().unwrap();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("4097 addresses, the most is 4096"), "{source}");
        assert_eq!(facts().attached, []);
        let mut program = attach(&facts(), Mode::Auto, &list(4096)).unwrap();
        // A full list can be replaced by another full one.
        let other: Vec<[u8; 6]> = list(4096).iter().map(|mac| [6, 0, 0, 2, mac[4], mac[5]]).collect();
        program.set_acl(&other).unwrap();
    });
}
