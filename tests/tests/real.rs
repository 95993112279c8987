//! Every rule on the real program: `xblade serve` behind a veth pair.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;
use xblade_kit::{OURS, Space, apply, join, needs_root};

use xblade_tests::frame::{ATA, Ask, MASK, QUERY, RESERVE, ata, ata_done, mask, query, query_done, reserve};
use xblade_tests::{
    BROADCAST, Bench, HOST, MAIN, Mac, OTHER_HOST, SENTINEL_HOST, Stand, TARGET_MAC, Target, Variant,
    VethTarget, may_run, pair, rules,
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

/// 802.1Q tags with this ID, and a priority.
fn tag(id: u16) -> Vec<u8> {
    [[0x81, 0x00], (0x6000 | id).to_be_bytes()].concat()
}

/// Checks which of these exports answer requests with these tags, broadcasts too.
#[track_caller]
fn answered(target: &mut VethTarget, stand: &Stand, vlan: &[u8], exports: &[((u16, u8), bool)]) {
    let mut bench = Bench::new(target, stand, Variant::ALL[0]);
    for (to, is_served) in exports {
        for (command, argument) in [
            (ATA, ata(0x20, 0, 1, &[])),
            (QUERY, query(0, b"")),
            (QUERY, query(4, b"")),
            (MASK, mask(0, 0, 0, &[])),
            (RESERVE, reserve(1, 0, &[])),
            (9, Vec::new()),
        ] {
            let ask = Ask { vlan: vlan.to_vec(), ..bench.ask(*to, command, argument) };
            // The second is a copy.
            for _ in 0..2 {
                let replies = bench.exchange(&ask.bytes());
                assert_eq!(replies.len(), usize::from(*is_served), "{to:?} command {command} of {vlan:x?}");
                let tags = replies.first().and_then(|reply| reply.get(12..12 + vlan.len()));
                assert!(tags.is_none_or(|tags| tags == vlan), "{to:?} command {command} of {vlan:x?}");
            }
        }
        let any = bench.ask((0xffff, to.1), QUERY, query(0, b"")).broadcast();
        let replies = bench.exchange(&Ask { vlan: vlan.to_vec(), ..any }.bytes());
        let shelf = to.0.to_be_bytes();
        let own = replies.iter().filter(|reply| reply.get(vlan.len() + 16..vlan.len() + 18) == Some(&shelf));
        assert_eq!(own.count(), usize::from(*is_served), "broadcast of {vlan:x?} to {to:?}");
    }
}

#[apply(needs_root!)]
fn each_vlan_reaches_its_exports() {
    let stand = Stand::new();
    let ram = |slot: u8, vlan: &str| format!("9.{slot}=x,store=ram,length=8{vlan}");
    let exports =
        [ram(1, ""), ram(2, ",vlan=20"), ram(3, ",vlan=untagged,vlan=20,vlan=30"), ram(4, ",vlan=any")];
    let mut target = VethTarget::start(&stand, 1500, &exports.each_ref().map(String::as_str), 5);
    let service = |id: u8| vec![0x88, 0xA8, 0, id];
    for (vlan, served) in [
        (Vec::new(), [true, false, true, true]),
        (tag(0), [true, false, true, true]),
        (tag(20), [false, true, true, true]),
        (tag(30), [false, false, true, true]),
        (tag(40), [false, false, false, true]),
        ([tag(20), tag(40)].concat(), [false, true, true, true]),
        ([tag(40), tag(20)].concat(), [false, false, false, true]),
        (service(20), [false, false, false, true]),
        ([service(7), tag(20)].concat(), [false, false, false, true]),
    ] {
        let all: Vec<_> = (1..).zip(served).map(|(slot, is_served)| ((9, slot), is_served)).collect();
        answered(&mut target, &stand, &vlan, &all);
    }
}

#[apply(needs_root!)]
fn without_its_tag_no_frame_is_of_a_vlan() {
    let stand = Stand::new();
    let exports = ["9.1=x,store=ram,length=8", "9.2=x,store=ram,length=8,vlan=20"];
    let mut target = VethTarget::start(&stand, 1500, &exports, 5);
    answered(&mut target, &stand, &tag(20), &[((9, 1), false), ((9, 2), true)]);
    target.sh(&format!("ethtool -K {OURS} rxvlan on"));
    target.wait_for("exports with a vlan are not served there (9.2)");
    // As an inner tag that the NIC has made the outer one.
    answered(&mut target, &stand, &tag(20), &[((9, 1), false), ((9, 2), false)]);
    answered(&mut target, &stand, &[], &[((9, 1), true), ((9, 2), false)]);
    target.sh(&format!("ethtool -K {OURS} rxvlan off"));
    target.wait_for("frames arrive with their VLAN tags now");
    answered(&mut target, &stand, &tag(20), &[((9, 1), false), ((9, 2), true)]);
}

#[apply(needs_root!)]
fn an_export_is_served_on_its_interfaces() {
    let stand = Stand::new();
    let pair = pair(Space::new(), 1500);
    join((&pair.ours, "xbp2"), (&pair.peer, "xbp3"), "");
    let options = [
        "--interface",
        "xbp2",
        "9.1=x,store=ram,length=8,interface=xbp2",
        "9.2=x,store=ram,length=8,interface=xbp0",
    ];
    let mut target = VethTarget::on(pair, &stand, &options, 6);
    let announced = target.announced.iter().filter(|frame| frame.get(16..18) == Some(&[0, 9]));
    assert_eq!(announced.map(|frame| frame[18]).collect::<Vec<_>>(), [2]);
    answered(&mut target, &stand, &[], &[((9, 1), false), ((9, 2), true)]);
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
