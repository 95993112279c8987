//! Every rule on the real program: `xblade serve` behind a veth pair.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;
use xblade_kit::{OURS, apply, needs_root};

use xblade_tests::frame::{ATA, Ask, MASK, QUERY, RESERVE, ata, ata_done, mask, query, query_done, reserve};
use xblade_tests::{
    BROADCAST, Bench, HOST, MAIN, Mac, OTHER_HOST, SENTINEL_HOST, Stand, TARGET_MAC, Target, Variant,
    VethTarget, may_run, rules,
};

const PATIENCE: Duration = Duration::from_secs(5);

fn conforms(test: &str, mtu: u32, options: &[&str], variants: usize) {
    if !may_run(test) {
        return;
    }
    let stand = Stand::new();
    let mut target = VethTarget::start(&stand, mtu, options, 5);
    for variant in Variant::ALL.into_iter().filter(|variant| variant.mtu == mtu).take(variants) {
        println!("{variant:?} {options:?}");
        rules::check_all(|_, check| check(&mut Bench::new(&mut target, &stand, variant)));
    }
    assert!(target.is_running());
}

#[test]
fn rules_at_mtu_1500() {
    conforms("rules_at_mtu_1500", 1500, &[], 3);
}

#[test]
fn rules_at_mtu_9000() {
    conforms("rules_at_mtu_9000", 9000, &[], 3);
}

#[test]
fn rules_at_mtu_9000_in_generic_mode() {
    conforms("rules_at_mtu_9000_in_generic_mode", 9000, &["--xdp-mode", "generic"], 1);
}

/// The announcement of an export, sent to this address.
fn announcement(to: Mac, from: (u16, u8), sectors: u8) -> Vec<u8> {
    let unsent = Ask { tag: 0, dst: TARGET_MAC, ..Ask::new(from, QUERY, []) }.from(to);
    unsent.reply(from, &query_done(64, sectors, 0, b""))
}

fn announcements(to: &[Mac], sectors: u8) -> Vec<Vec<u8>> {
    let all = Stand::exports().into_iter().flat_map(|(from, _)| to.iter().map(move |to| (*to, from)));
    let mut all: Vec<_> = all.map(|(to, from)| announcement(to, from, sectors)).collect();
    all.sort();
    all
}

fn next(target: &mut VethTarget, count: usize) -> Vec<Vec<u8>> {
    let mut frames: Vec<_> = (0..count).filter_map(|_| target.next_reply(PATIENCE)).collect();
    frames.sort();
    frames
}

#[apply(needs_root!)]
fn exports_are_announced_at_start_and_when_the_link_changes() {
    let stand = Stand::new();
    let mut target = VethTarget::start(&stand, 9000, &[], 5);
    let mut announced = target.announced.clone();
    announced.sort();
    assert_eq!(announced, announcements(&[BROADCAST], 16));

    target.sh(&format!("ip link set {OURS} mtu 1500"));
    assert_eq!(next(&mut target, 5), announcements(&[BROADCAST], 2), "at the new MTU");
    let mut bench = Bench::new(&mut target, &stand, Variant::ALL[0]);
    // It fitted before, and will again at the old MTU.
    let longer = bench.ask(MAIN, ATA, ata(0x24, 0, 3, &[]));
    bench.silence(&longer.bytes(), &[]);
    bench.ata(MAIN, ata(0x24, 0, 2, &[]), 0x40, 0, &Stand::original(MAIN, 0, 2));

    target.sh(&format!("ip link set {OURS} down"));
    target.wait_for("link is down");
    target.sh(&format!("ip link set {OURS} up"));
    assert_eq!(next(&mut target, 5), announcements(&[BROADCAST], 2), "when the link is back");
    target.until_answered();
    let mut bench = Bench::new(&mut target, &stand, Variant::ALL[0]);
    bench.ata(MAIN, ata(0x24, 0, 2, &[]), 0x40, 0, &Stand::original(MAIN, 0, 2));
}

#[apply(needs_root!)]
fn only_those_on_the_list_are_announced_to_and_answered() {
    let stand = Stand::new();
    let allow = "02:00:00:00:00:01,02:00:00:00:00:fe";
    let mut target = VethTarget::start(&stand, 1500, &["--allow", allow], 10);
    let mut announced = target.announced.clone();
    announced.sort();
    assert_eq!(announced, announcements(&[HOST, SENTINEL_HOST], 2));

    let mut bench = Bench::new(&mut target, &stand, Variant::ALL[1]);
    for (command, argument) in [
        (ATA, ata(0xEC, 0, 1, &[])),
        (ATA, ata(0x20, 0, 1, &[])),
        (QUERY, query(0, b"")),
        (MASK, mask(1, 0, 1, &[(1, OTHER_HOST)])),
        (RESERVE, reserve(2, 1, &[OTHER_HOST])),
        (9, Vec::new()),
    ] {
        let ask = bench.ask(MAIN, command, argument).from(OTHER_HOST);
        bench.silence(&ask.bytes(), &[]);
        bench.silence(&ask.broadcast().bytes(), &[]);
    }
    // No host can get onto the list, or change it, over the network.
    let edit = bench.ask(MAIN, MASK, mask(1, 0, 2, &[(1, HOST), (1, OTHER_HOST)]));
    let expected = edit.reply(MAIN, &mask(1, 0, 2, &[(0, HOST), (0, OTHER_HOST)]));
    bench.expect(&edit, expected);
    let ask = bench.ask(MAIN, QUERY, query(0, b"")).from(OTHER_HOST);
    bench.silence(&ask.bytes(), &[]);
    let ask = bench.ask(MAIN, ATA, ata(0x20, 0, 1, &[]));
    let expected = ask.reply(MAIN, &ata_done(&ask.argument, 0x40, 0, &Stand::original(MAIN, 0, 1)));
    bench.expect(&ask, expected);
}

#[apply(needs_root!)]
fn a_host_that_may_not_sets_nothing() {
    let stand = Stand::new();
    let mut target = VethTarget::start(&stand, 1500, &["--host-settings", "refuse"], 5);
    let mut bench = Bench::new(&mut target, &stand, Variant::ALL[1]);
    for (command, argument) in [
        (QUERY, query(3, b"x")),
        (QUERY, query(4, b"x")),
        (RESERVE, reserve(1, 1, &[HOST])),
        (RESERVE, reserve(2, 1, &[HOST])),
    ] {
        let ask = bench.ask(MAIN, command, argument);
        let expected = ask.refusal(MAIN, 2);
        bench.expect(&ask, expected);
    }
    let ask = bench.ask(MAIN, MASK, mask(1, 0, 2, &[(2, OTHER_HOST), (1, HOST)]));
    let expected = ask.reply(MAIN, &mask(1, 1, 1, &[]));
    bench.expect(&ask, expected);
    // What is in force may be repeated.
    for (command, argument) in
        [(RESERVE, reserve(1, 0, &[])), (MASK, mask(1, 0, 0, &[])), (QUERY, query(0, b""))]
    {
        let ask = bench.ask(MAIN, command, argument.clone());
        let argument = if command == QUERY { query_done(64, 2, 0, b"") } else { argument };
        let expected = ask.reply(MAIN, &argument);
        bench.expect(&ask, expected);
    }
}
