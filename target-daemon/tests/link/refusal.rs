//! Interfaces on which the program must not be attached: the error gives the reason, names
//! the program in the way, and everything stays as it was.

use xblade::link::{AttachError, Facts, Mode, Program, XdpMode};
use xblade_kit::{OURS, Pair, apply, needs_root, sh};

use crate::foreign::{self, GENERIC, NATIVE};
use crate::ours::{facts, until_detached};

const MODES: [Mode; 3] = [Mode::Auto, Mode::Native, Mode::Generic];

#[apply(needs_root!)]
fn the_loopback_is_refused() {
    for mode in MODES {
        let lo = Facts::read("lo").unwrap();
        let error = Program::attach(&lo, mode, &[]).unwrap_err().to_string();
        assert_eq!(error, "interface `lo` is a loopback: name an Ethernet interface");
    }
}

#[apply(needs_root!)]
fn a_second_xblade_is_refused_by_name() {
    let pair = Pair::new();
    pair.ours.run(|| {
        for first in MODES {
            let program = Program::attach(&facts(), first, &[]).unwrap();
            for second in MODES {
                let error = Program::attach(&facts(), second, &[]).unwrap_err();
                let AttachError::Occupied(occupant) = &error else { panic!("{error}") };
                assert!(occupant.is_xblade());
                let line = error.to_string();
                let start = format!("interface `{OURS}` is served by another xblade (program id ");
                assert!(line.starts_with(&start), "{line}");
                let pid = std::process::id();
                // A child of another test, between fork and exec, may hold it too.
                assert!(line.contains(&format!("process {pid}")), "{line}");
                assert!(line.contains("): stop process "), "{line}");
            }
            assert_eq!(facts().attached.len(), 1);
            drop(program);
            until_detached();
        }
    });
}

#[apply(needs_root!)]
fn a_foreign_program_is_named_and_left_in_place() {
    let pair = Pair::new();
    let rows = [(NATIVE, XdpMode::Native, "xdpdrv off"), (GENERIC, XdpMode::Generic, "xdpgeneric off")];
    for (flags, mode, remedy) in rows {
        pair.ours.run(move || {
            let before = facts();
            let program = foreign::load("xbl_foreign");
            foreign::attach(&program, before.index, flags);
            drop(program);
            let there = facts().attached;
            for asked in MODES {
                let line = Program::attach(&before, asked, &[]).unwrap_err().to_string();
                let id = there[0].1;
                let want = format!(
                    "interface `{OURS}` already runs the XDP program `xbl_foreign` (program id \
                     {id}, {mode} mode): run `ip link set dev {OURS} {remedy}`"
                );
                assert_eq!(line, want);
                assert_eq!(facts().attached, there);
            }
            sh(&format!("ip link set dev {OURS} {remedy}"));
            drop(Program::attach(&facts(), Mode::Auto, &[]).unwrap());
        });
    }
}

#[apply(needs_root!)]
fn a_foreign_link_is_named_with_its_holder() {
    let pair = Pair::new();
    pair.ours.run(|| {
        let program = foreign::load("xbl_foreign");
        let link = foreign::link(&program, facts().index, NATIVE);
        drop(program);
        let there = facts().attached;
        let error = Program::attach(&facts(), Mode::Auto, &[]).unwrap_err();
        let AttachError::Occupied(occupant) = &error else { panic!("{error}") };
        assert_eq!((occupant.mode, occupant.name.as_deref()), (XdpMode::Native, Some("xbl_foreign")));
        assert_eq!(occupant.links.len(), 1);
        let us = std::process::id();
        assert!(occupant.holders.iter().any(|(pid, _)| *pid == us), "{error}");
        let line = error.to_string();
        let end = format!("or run `bpftool link detach id {}`", occupant.links[0]);
        assert!(line.ends_with(&end), "{line}");
        assert_eq!(facts().attached, there);
        drop(link);
        until_detached();
        drop(Program::attach(&facts(), Mode::Auto, &[]).unwrap());
    });
}

#[apply(needs_root!)]
fn an_access_list_that_does_not_fit_is_refused() {
    let pair = Pair::new();
    pair.ours.run(|| {
        let list = |len: u16| -> Vec<[u8; 6]> {
            (0..len).map(|n| [2, 0, 0, 1, n.to_be_bytes()[0], n.to_be_bytes()[1]]).collect()
        };
        let error = Program::attach(&facts(), Mode::Auto, &list(4097)).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("4097 addresses, the most is 4096"), "{source}");
        assert_eq!(facts().attached, []);
        let mut program = Program::attach(&facts(), Mode::Auto, &list(4096)).unwrap();
        // A full list can be replaced by another full one.
        let other: Vec<[u8; 6]> = list(4096).iter().map(|mac| [6, 0, 0, 2, mac[4], mac[5]]).collect();
        program.set_acl(&other).unwrap();
    });
}
