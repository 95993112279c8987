//! Facts follow the kernel, and changes cause events.

use std::os::fd::{AsFd, AsRawFd};
use xblade_kit::{OURS, PEER, Pair, apply, needs_root, sh, until};

use xblade::link::{Facts, FactsError, LinkEvents, NicSetting};
use xblade::wire::ether::Mac;

use crate::ours::facts;

#[apply(needs_root!)]
fn facts_are_those_of_the_kernel() {
    let pair = Pair::new();
    pair.ours.set_mac(OURS, Mac([2, 0, 0, 0, 0, 0xaa]));
    for mtu in [1500, 9000] {
        pair.mtu(mtu);
        pair.ours.run(move || {
            let facts = facts();
            assert_eq!(facts.name, OURS);
            assert_eq!(facts.mac, [2, 0, 0, 0, 0, 0xaa]);
            assert_eq!((facts.mtu, facts.queues, facts.driver.as_str()), (mtu, 1, "veth"));
            assert!(facts.up && facts.carrier && !facts.loopback);
            assert_eq!((facts.native, facts.rx_sg), (Some(true), Some(true)));
            assert_eq!(facts.zero_copy, Some(false));
            assert_eq!(facts.attached, []);
        });
    }
    pair.peer.sh(&format!("ip link set {PEER} down"));
    pair.ours.run(|| until("no carrier", || facts().up && !facts().carrier));
    pair.ours.run(|| {
        sh(&format!("ip link set {OURS} down && ip link set {OURS} address 02:00:00:00:00:bb"));
        let facts = facts();
        assert!(!facts.up && !facts.carrier);
        assert_eq!(facts.mac, [2, 0, 0, 0, 0, 0xbb]);
    });
}

#[apply(needs_root!)]
fn queues_are_those_in_use() {
    let pair = Pair::with("numrxqueues 4 numtxqueues 4");
    pair.ours.run(|| {
        sh(&format!("ethtool -L {OURS} rx 3 tx 3"));
        assert_eq!(facts().queues, 3);
    });
}

#[apply(needs_root!)]
fn settings_of_a_nic_are_those_of_ethtool() {
    let pair = Pair::new();
    pair.ours.run(|| {
        let rx_vlan = NicSetting::RX_VLAN;
        let shown = || sh(&format!("ethtool -k {OURS}"));
        let whole = shown();
        assert_eq!(rx_vlan.read(OURS).unwrap(), 1);
        sh(&format!("ethtool -K {OURS} rxvlan off"));
        assert_eq!(rx_vlan.read(OURS).unwrap(), 0);
        rx_vlan.write(OURS, 1).unwrap();
        assert_eq!(shown(), whole, "nothing else was changed");
        assert!(!rx_vlan.is_fixed(OURS) && rx_vlan.is_fixed("lo"));
        assert!(NicSetting::NTUPLE.is_fixed(OURS) && !NicSetting::RX_RING.is_fixed(OURS));
        for setting in [NicSetting::RX_RING, NicSetting::RX_USECS, NicSetting::PAUSE_RX] {
            let error = setting.read(OURS).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP), "{setting:?}");
        }
    });
}

#[apply(needs_root!)]
fn a_driver_that_does_not_tell_its_queues_has_those_it_was_made_with() {
    let pair = Pair::new();
    pair.ours.run(|| {
        sh("ip link add xblbr numrxqueues 3 type bridge");
        let facts = Facts::read("xblbr").unwrap();
        assert_eq!((facts.queues, facts.driver.as_str()), (3, "bridge"));
        assert_eq!((facts.native, facts.rx_sg), (None, None));
    });
}

#[apply(needs_root!)]
fn interfaces_of_other_namespaces_do_not_exist() {
    let pair = Pair::new();
    let error = pair.peer.run(|| Facts::read(OURS).unwrap_err());
    let FactsError::Missing { there, .. } = error else { panic!("{error}") };
    assert_eq!(there, [PEER]);
}

#[apply(needs_root!)]
fn a_change_wakes_and_nothing_else() {
    let pair = Pair::new();
    pair.ours.run(|| {
        let events = LinkEvents::open().unwrap();
        // An event for a carrier that has just come up may still arrive.
        until("silence", || !events.drain().unwrap().any && !readable(&events));
        sh(&format!("ip link set {OURS} mtu 4000"));
        until("a readable descriptor", || readable(&events));
        assert!(events.drain().unwrap().any);
        assert!(!readable(&events) && !events.drain().unwrap().any);
        assert_eq!(facts().mtu, 4000);
    });
}

#[apply(needs_root!)]
fn events_that_the_kernel_threw_away_count_as_a_change() {
    let pair = Pair::new();
    pair.ours.run(|| {
        let events = LinkEvents::open().unwrap();
        // More than a socket's default 208 KiB can hold.
        let lines = format!("link set {OURS} mtu 2000\nlink set {OURS} mtu 3000\n").repeat(200);
        sh(&format!("ip -batch - <<'END'\n{lines}END"));
        assert!(events.drain().unwrap().any);
        until("silence", || !events.drain().unwrap().any);
    });
}

fn readable(events: &LinkEvents) -> bool {
    let fd = events.as_fd().as_raw_fd();
    let mut entry = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: `entry` is one pollfd, exclusive for the call.
    let ready = unsafe { libc::poll(&raw mut entry, 1, 0) };
    ready > 0
}
