//! Duplicate writes: of a write in flight, and of one that has been answered.

use xblade::store::{IoError, Kind};
use xblade_sim::store::Order;
use xblade_tests::frame::{ATA, Ask, ata, ata_done};
use xblade_tests::{FakeTarget, OTHER_HOST, Plan, pattern};

use crate::channels::{on_lane, pair};
use crate::{DISK, SECOND, good, read, release_all, send, store, target, write};

/// That an export remembers.
const HOSTS_MAX: u8 = 16;

fn error(ask: &Ask, error: u8) -> Vec<u8> {
    ask.reply(DISK, &ata_done(&ask.argument, 0x41, error, &[]))
}

/// A resend has another tag, and may come from another address of the host.
#[test]
pub fn a_write_that_is_under_way_is_done_once_and_answered_to_everybody() {
    for result in [Ok(()), Err(IoError::NoSpace)] {
        let store = store(Order::Manual, 64);
        let mut target = target(&store, |plan| plan.chunk_bytes = 2048);
        let data = pattern(1, 0, 16);
        let asks = [
            write(DISK, 1, 8, &data),
            write(DISK, 2, 8, &data),
            write(DISK, 3, 8, &data).from(OTHER_HOST),
            Ask { vlan: vec![0x81, 0, 0, 7], ..write(DISK, 4, 8, &data) },
        ];
        send(&mut target, &asks);
        assert_eq!(store.submitted().len(), 1);
        assert_eq!(target.count(|c| (c.folded, c.waited).0), 3);
        assert_eq!(target.workers[0].export(0).unwrap().tally.counters.folded, 3);
        assert_eq!(target.sent(0), [] as [Vec<u8>; 0], "none before the store has completed it");
        if let Err(fault) = result {
            store.fail_next(Kind::Write, fault);
        }
        release_all(&store);
        target.settle();
        let expected = asks.each_ref().map(|ask| if result.is_ok() { good(ask, &[]) } else { error(ask, 4) });
        assert_eq!(target.sent(0), expected);
        assert_eq!(target.count(|c| c.writes), 1);
        target.assert_at_rest();
    }
}

/// A difference in sectors, length or one byte makes it another write.
#[test]
fn only_the_same_write_is_folded() {
    let store = store(Order::Manual, 64);
    let mut target = target(&store, |_| {});
    let data = pattern(1, 0, 2);
    let mut other = data.clone();
    other[1023] ^= 1;
    let asks = [
        write(DISK, 1, 8, &data),
        write(DISK, 2, 8, &other),
        write(DISK, 3, 9, &data),
        write(DISK, 4, 8, &data[..512]),
        write(DISK, 5, 40, &data),
        read(DISK, 6, 60, 2),
        read(DISK, 7, 60, 2),
    ];
    send(&mut target, &asks);
    while !store.pending().is_empty() {
        release_all(&store);
        target.settle();
    }
    assert_eq!(store.submitted().len(), asks.len());
    assert_eq!(target.count(|c| c.folded), 0);
    assert_eq!(target.sent(0).len(), asks.len());
    target.assert_at_rest();
}

/// Old, new, old again: the second old one is coalesced with the first, which has not
/// been answered yet. The new data stays.
#[test]
pub fn a_resend_that_comes_behind_a_newer_write_does_not_undo_it() {
    let store = store(Order::Manual, 64);
    let mut target = target(&store, |_| {});
    let (old, new) = (pattern(1, 0, 1), pattern(2, 0, 1));
    let asks = [write(DISK, 1, 0, &old), write(DISK, 2, 0, &new), write(DISK, 3, 0, &old)];
    send(&mut target, &asks);
    release_all(&store);
    target.settle();
    assert_eq!(target.sent(0), [good(&asks[0], &[]), good(&asks[2], &[])]);
    release_all(&store);
    target.settle();
    assert_eq!(target.sent(0), [good(&asks[1], &[])]);
    assert_eq!(store.bytes()[..512], new[..]);
    target.assert_at_rest();
}

/// The host waits for its newest tag, so that is always among those answered; the entries
/// of the export are not used up, and no frame is lost.
#[test]
pub fn followers_are_bounded() {
    let store = store(Order::Manual, 64);
    let mut target = target(&store, |plan| plan.in_flight = 2);
    let data = pattern(1, 0, 1);
    let asks: Vec<_> = (0..20).map(|tag| write(DISK, tag, 0, &data)).collect();
    send(&mut target, &asks);
    assert_eq!(target.count(|c| c.folded), 19);
    assert_eq!(target.count(|c| c.followers_released), 15);
    assert_eq!(target.count(|c| c.slab_full), 0);
    assert_eq!(target.sent(0), [] as [Vec<u8>; 0]);
    release_all(&store);
    target.settle();
    let expected = [0, 16, 17, 18, 19].map(|at: usize| good(&asks[at], &[]));
    assert_eq!(target.sent(0), expected);
    target.assert_at_rest();
}

/// After a transient error none is answered, and the resend is executed.
#[test]
fn followers_of_a_transient_fault_are_not_answered() {
    let store = store(Order::Manual, 64);
    let mut target = target(&store, |_| {});
    let data = pattern(1, 0, 1);
    store.fail_next(Kind::Write, IoError::Transient);
    send(&mut target, &[1, 2, 3].map(|tag| write(DISK, tag, 0, &data)));
    release_all(&store);
    target.settle();
    assert_eq!(target.sent(0), [] as [Vec<u8>; 0]);
    target.assert_at_rest();
    let again = write(DISK, 3, 0, &data);
    send(&mut target, std::slice::from_ref(&again));
    release_all(&store);
    target.settle();
    assert_eq!(target.sent(0), [good(&again, &[])], "it was not taken for a copy of an answered one");
    assert_eq!(target.count(|c| c.repeated), 0);
}

/// Coalesced writes are answered on the lanes that received them, whichever worker owns
/// the export.
#[test]
fn followers_of_other_workers_go_home() {
    let (mut target, stores) = pair(Order::Manual);
    let data = pattern(1, 0, 1);
    let asks = [0, 1, 2, 3].map(|lane| on_lane(lane, write(SECOND, lane.into(), 0, &data)));
    for (lane, ask) in asks.iter().enumerate() {
        assert!(target.deliver(lane, &ask.bytes()));
    }
    target.settle();
    assert_eq!(stores[1].submitted().len(), 1);
    release_all(&stores[1]);
    target.settle();
    for (lane, ask) in asks.iter().enumerate() {
        assert_eq!(target.sent(lane), [good(ask, &[])], "lane {lane}");
    }
    target.assert_at_rest();
}

/// The network delivers the first write again after the second one.
fn copy_after_newer(target: &mut FakeTarget, store: &xblade_sim::FakeStore, wait_ns: u64) -> Vec<u8> {
    let (old, new) = (pattern(1, 0, 8), pattern(2, 0, 8));
    let first = write(DISK, 1, 0, &old);
    assert_eq!(target.channels(0, &first.bytes()), [good(&first, &[])]);
    let second = write(DISK, 2, 0, &new);
    assert_eq!(target.channels(0, &second.bytes()), [good(&second, &[])]);
    let now = target.clock.0.get();
    target.clock.0.set(now + wait_ns);
    assert_eq!(target.channels(0, &first.bytes()), [good(&first, &[])], "answered again");
    target.assert_at_rest();
    store.bytes()[..4096].to_vec()
}

#[test]
pub fn a_late_copy_does_not_bring_back_old_data() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |plan| plan.chunk_bytes = 2048);
    assert_eq!(copy_after_newer(&mut target, &store, 3_900_000_000), pattern(2, 0, 8));
    assert_eq!(target.count(|c| c.repeated), 1);
    assert_eq!(target.workers[0].export(0).unwrap().tally.counters.repeated, 1);
    assert_eq!(target.count(|c| c.tags_reused), 0);
    assert_eq!(store.executed().len(), 2);
}

/// After 4 s it is forgotten: networks do not hold frames longer, and a host that boots
/// may start with the same tags.
#[test]
fn what_is_too_long_ago_is_executed() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |_| {});
    assert_eq!(copy_after_newer(&mut target, &store, 4_100_000_000), pattern(1, 0, 8));
    assert_eq!(target.count(|c| c.repeated), 0);
}

/// The tag of a coalesced write counts like that of its leader; so does an error.
#[test]
pub fn copies_of_followers_and_of_failed_writes_are_answered_as_those_were() {
    let store = store(Order::Manual, 64);
    let mut target = target(&store, |_| {});
    let (old, new) = (pattern(1, 0, 1), pattern(2, 0, 1));
    let asks = [write(DISK, 1, 0, &old), write(DISK, 2, 0, &old)];
    store.fail_next(Kind::Write, IoError::NoSpace);
    send(&mut target, &asks);
    release_all(&store);
    target.settle();
    target.sent(0);
    let newer = write(DISK, 3, 0, &new);
    send(&mut target, std::slice::from_ref(&newer));
    release_all(&store);
    target.settle();
    assert_eq!(target.sent(0), [good(&newer, &[])]);
    for ask in &asks {
        assert_eq!(target.channels(0, &ask.bytes()), [error(ask, 4)]);
    }
    assert_eq!(target.count(|c| c.repeated), 2);
    assert_eq!(store.bytes()[..512], new[..]);
    target.assert_at_rest();
}

/// A tool that uses a single tag: its third write is not a duplicate of its first.
#[test]
fn a_host_with_one_tag_for_everything_loses_nothing() {
    let (a, b) = (pattern(1, 0, 1), pattern(2, 0, 1));
    for data in [[&a, &b, &a], [&a, &a, &b]] {
        let store = store(Order::Submitted, 64);
        let mut target = target(&store, |_| {});
        for data in data {
            let ask = write(DISK, 7, 0, data);
            assert_eq!(target.channels(0, &ask.bytes()), [good(&ask, &[])]);
            assert_eq!(store.bytes()[..512], data[..]);
        }
        assert_eq!(target.count(|c| c.tags_reused), 1);
        // Nor later, and no other host is affected.
        for data in [&a, &b, &a] {
            target.channels(0, &write(DISK, 7, 0, data).bytes());
            assert_eq!(store.bytes()[..512], data[..]);
        }
        let other = write(DISK, 7, 1, &a).from(OTHER_HOST);
        target.channels(0, &other.bytes());
        target.channels(0, &other.bytes());
        assert_eq!(target.count(|c| (c.tags_reused, c.repeated).0), 1);
        target.assert_at_rest();
    }
}

/// The two disks of a mirror on a Linux host may use the same tag.
#[test]
fn each_export_has_tags_of_its_own() {
    let exports = [DISK, SECOND].map(|at| xblade_tests::ExportPlan::new(at, store(Order::Submitted, 64)));
    let mut target = FakeTarget::new(Plan::new(exports.into()));
    for (tag, to) in [(1, DISK), (1, SECOND), (2, SECOND), (2, DISK)] {
        let ask = write(to, tag, u64::from(to.1), &pattern(to.1 + tag as u8, 0, 1));
        assert_eq!(target.channels(0, &ask.bytes()), [good(&ask, &[])]);
        assert_eq!(target.channels(0, &ask.bytes()), [good(&ask, &[])]);
    }
    assert_eq!(target.count(|c| c.tags_reused), 0);
    assert_eq!(target.count(|c| c.repeated), 4);
    target.assert_at_rest();
}

/// iPXE and WinAoE start with the same tags each time. What such a host writes after a
/// reboot is no duplicate of what it wrote before, however soon.
#[test]
fn a_host_that_has_booted_is_not_taken_for_its_past() {
    let (a, b) = (pattern(1, 0, 1), pattern(2, 0, 1));
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |_| {});
    for data in [&a, &b] {
        for (tag, data) in [(3, None), (4, Some(&a)), (5, Some(data))] {
            let ask = match data {
                None => Ask { tag, ..Ask::new(DISK, ATA, ata(0xEC, 0, 1, &[])) },
                Some(data) => write(DISK, tag, 0, data),
            };
            assert_eq!(target.channels(0, &ask.bytes()).len(), 1);
            if let Some(data) = data {
                assert_eq!(store.bytes()[..512], data[..], "tag {tag}");
            }
        }
    }
    assert_eq!(target.count(|c| c.repeated), 0);
    target.assert_at_rest();
}

/// The network delivers an IDENTIFY twice: its host has not rebooted.
#[test]
pub fn a_copy_of_identify_ends_no_memory() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |_| {});
    target.clock.0.set(5_000_000_000);
    let (old, new) = (write(DISK, 2, 0, &pattern(1, 0, 1)), write(DISK, 3, 0, &pattern(2, 0, 1)));
    let identify = Ask { tag: 1, ..Ask::new(DISK, ATA, ata(0xEC, 0, 1, &[])) };
    for ask in [&identify, &old, &new, &identify, &old] {
        assert_eq!(target.channels(0, &ask.bytes()).len(), 1);
    }
    assert_eq!(store.bytes()[..512], pattern(2, 0, 1)[..], "the old one has come back");
    // After a second it may have rebooted.
    target.clock.0.set(6_000_000_000);
    for ask in [&identify, &old] {
        assert_eq!(target.channels(0, &ask.bytes()).len(), 1);
    }
    assert_eq!(store.bytes()[..512], pattern(1, 0, 1)[..], "it is another one");
    target.assert_at_rest();
}

/// Two that are under way at a time: that they differ shows when the second is answered.
#[test]
fn a_tag_of_two_writes_that_are_under_way_is_noted() {
    let store = store(Order::Manual, 64);
    let mut target = target(&store, |_| {});
    send(&mut target, &[write(DISK, 7, 0, &pattern(1, 0, 1)), write(DISK, 7, 8, &pattern(1, 8, 1))]);
    release_all(&store);
    target.settle();
    assert_eq!((target.sent(0).len(), target.count(|c| c.tags_reused)), (2, 1));
    target.assert_at_rest();
}

/// More hosts than one export remembers: what that one has not is counted.
#[test]
fn a_host_too_many_is_counted() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |_| {});
    for host in 0..=HOSTS_MAX {
        let ask = write(DISK, 7, 0, &pattern(1, 0, 1)).from([2, 0, 0, 0, 7, host]);
        assert_eq!(target.channels(0, &ask.bytes()), [good(&ask, &[])]);
    }
    assert_eq!(target.count(|c| c.not_remembered), 1);
    target.assert_at_rest();
}
