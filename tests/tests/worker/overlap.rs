//! Overlapping requests are executed one at a time in order of arrival, over a store that
//! would execute them in any order; all others are not held up.

use xblade::store::IoError;
use xblade::store::Kind;
use xblade_sim::FakeStore;
use xblade_sim::store::Order;
use xblade_tests::frame::{ATA, Ask, ata, ata_done, trim};
use xblade_tests::{ExportPlan, FakeTarget, Plan, pattern};

use crate::{DISK, SECOND, SECTORS, good, read, release_all, send, store, target, write};

/// What the store has been given and has not completed: kind and first sector.
fn given(store: &FakeStore) -> Vec<(Kind, u64)> {
    let pending = store.pending();
    let submitted = store.submitted();
    let of = |token: &u32| submitted.iter().rev().find(|op| op.token == *token).unwrap();
    pending.iter().map(of).map(|op| (op.kind, op.sector)).collect()
}

#[test]
pub fn writes_that_overlap_keep_their_order() {
    let store = store(Order::Manual, 64);
    let mut target = target(&store, |_| {});
    let (old, new) = (pattern(1, 0, 4), pattern(2, 0, 4));
    let asks = [
        write(DISK, 1, 0, &old),
        write(DISK, 2, 2, &new),
        read(DISK, 3, 1, 4),
        write(DISK, 4, 4, &old),
        write(DISK, 5, 100, &new),
    ];
    send(&mut target, &asks);
    assert_eq!(given(&store), [(Kind::Write, 0), (Kind::Write, 100)], "the others wait");
    assert_eq!(target.count(|c| c.waited), 3);
    assert_eq!(target.workers[0].export(0).unwrap().tally.counters.waited, 3);
    // Back to front, as a disk may do it.
    for (at, (kind, sector)) in [(4, (Kind::Write, 100)), (0, (Kind::Write, 0)), (1, (Kind::Write, 2))] {
        let (token, first) = (*store.pending().last().unwrap(), *given(&store).last().unwrap());
        assert_eq!(first, (kind, sector));
        store.release(token);
        target.settle();
        assert_eq!(target.sent(0), [good(&asks[at], &[])]);
    }
    assert_eq!(given(&store), [(Kind::Read, 1)], "a write waits for a read before it");
    release_all(&store);
    target.settle();
    let seen = [&old[512..1024], &new[..1536]].concat();
    assert_eq!(target.sent(0), [good(&asks[2], &seen)]);
    release_all(&store);
    target.settle();
    assert_eq!(target.sent(0), [good(&asks[3], &[])]);
    assert_eq!(store.bytes()[..4096], [&old[..1024], &new[..1024], &old[..]].concat());
    target.assert_at_rest();
}

/// A store that completes inline gets no request that overlaps one in flight, whichever
/// of the two writes.
#[test]
pub fn what_is_done_at_once_does_not_overtake() {
    for (first, second) in [(Kind::Write, Kind::Read), (Kind::Read, Kind::Write), (Kind::Write, Kind::Write)]
    {
        let store = store(Order::Manual, 64);
        let mut target = target(&store, |_| {});
        let (old, new) = (pattern(1, 0, 4), pattern(2, 0, 4));
        let ask = |kind, tag, lba, data: &[u8]| match kind {
            Kind::Read => read(DISK, tag, lba, 4),
            _ => write(DISK, tag, lba, data),
        };
        let asks = [ask(first, 1, 0, &old), ask(second, 2, 2, &new), ask(second, 3, 100, &new)];
        send(&mut target, &asks[..1]);
        assert_eq!(given(&store), [(first, 0)]);
        store.set_at_once(&[second]);
        send(&mut target, &asks[1..]);
        let answer = |kind, data: &[u8]| if kind == Kind::Read { data.to_vec() } else { vec![] };
        let apart = if second == Kind::Read { vec![0; 2048] } else { vec![] };
        assert_eq!(target.sent(0), [good(&asks[2], &apart)], "{first:?} {second:?}: it overlaps nothing");
        assert_eq!((given(&store).len(), target.count(|c| c.waited)), (1, 1), "{first:?} {second:?}");
        release_all(&store);
        target.settle();
        assert_eq!(target.sent(0), [good(&asks[0], &answer(first, &[0; 2048]))]);
        release_all(&store);
        target.settle();
        let seen = [&old[1024..], &[0; 1024]].concat();
        assert_eq!(target.sent(0), [good(&asks[1], &answer(second, &seen))]);
        let order: Vec<_> = store.executed().iter().map(|op| op.sector).collect();
        assert_eq!(order, [100, 0, 2], "{first:?} {second:?}");
        target.assert_at_rest();
    }
}

/// Nor does it overtake a request that is itself waiting, which the store does not have
/// yet.
#[test]
fn what_is_done_at_once_does_not_overtake_what_waits() {
    for second in [Kind::Read, Kind::Write] {
        let store = store(Order::Manual, 64);
        let mut target = target(&store, |_| {});
        let (old, new) = (pattern(1, 0, 4), pattern(2, 0, 4));
        let asks = [read(DISK, 1, 0, 4), write(DISK, 2, 2, &old)];
        send(&mut target, &asks);
        assert_eq!(given(&store), [(Kind::Read, 0)], "the write waits");
        store.set_at_once(&[second]);
        // It overlaps only the waiting write.
        let last = if second == Kind::Read { read(DISK, 3, 5, 1) } else { write(DISK, 3, 5, &new[..512]) };
        send(&mut target, std::slice::from_ref(&last));
        assert_eq!((target.sent(0).len(), target.count(|c| c.waited)), (0, 2), "{second:?}");
        while !store.pending().is_empty() {
            release_all(&store);
            target.settle();
        }
        assert_eq!(target.sent(0).len(), 3);
        let order: Vec<_> = store.executed().iter().map(|op| op.sector).collect();
        assert_eq!(order, [0, 2, 5], "{second:?}");
        target.assert_at_rest();
    }
}

/// A discard locks the whole export, whichever sectors it names.
#[test]
fn a_discard_waits_for_all_and_all_wait_for_it() {
    let store = store(Order::Manual, 64);
    store.set_discards(true);
    let mut target = target(&store, |_| {});
    let data = pattern(1, 0, 1);
    let discard = |tag| Ask { tag, ..Ask::new(DISK, ATA, trim(&[(7, 2)])) };
    let asks = [
        write(DISK, 1, SECTORS - 1, &data),
        discard(2),
        read(DISK, 3, 100, 1),
        write(DISK, 4, 200, &data),
        read(DISK, 5, 0, 1),
    ];
    send(&mut target, &asks);
    for alone in [(Kind::Write, SECTORS - 1), (Kind::Discard, 0)] {
        assert_eq!(given(&store), [alone]);
        release_all(&store);
        target.settle();
    }
    assert_eq!(given(&store), [(Kind::Read, 100), (Kind::Write, 200), (Kind::Read, 0)]);
    send(&mut target, &[discard(6)]);
    assert_eq!(store.pending().len(), 3, "it waits for reads, too");
    while !store.pending().is_empty() {
        release_all(&store);
        target.settle();
    }
    assert_eq!(target.sent(0).len(), 6);
    target.assert_at_rest();
}

/// A duplicate of a write completed inline is answered, but not executed.
#[test]
pub fn a_copy_of_what_was_done_at_once_is_not_done_again() {
    let store = store(Order::Manual, 64);
    store.set_at_once(&[Kind::Read, Kind::Write]);
    let mut target = target(&store, |_| {});
    let (old, new) = (pattern(1, 0, 4), pattern(2, 0, 4));
    let asks =
        [write(DISK, 1, 0, &old), write(DISK, 2, 0, &new), write(DISK, 1, 0, &old), read(DISK, 3, 0, 4)];
    send(&mut target, &asks);
    let answers = [&[][..], &[], &[], &new];
    let expected: Vec<_> = asks.iter().zip(answers).map(|(ask, data)| good(ask, data)).collect();
    let mut sent = target.sent(0);
    sent.sort();
    let mut sorted = expected.clone();
    sorted.sort();
    assert_eq!(sent, sorted);
    assert_eq!((store.executed().len(), target.count(|c| c.repeated)), (3, 1));
    target.assert_at_rest();
}

/// Reads of the same sectors, and neighbouring sectors, are at the store at the same
/// time.
#[test]
fn what_does_not_conflict_does_not_wait() {
    let store = store(Order::Manual, 64);
    let mut target = target(&store, |_| {});
    let data = pattern(1, 0, 8);
    let asks: Vec<_> = (0..16)
        .map(|n| read(DISK, n, 0, 16))
        .chain((2..10).map(|n| write(DISK, 100 + n, u64::from(n) * 8, &data)))
        .chain([Ask::new(DISK, ATA, ata(0xE7, 0, 0, &[]))])
        .collect();
    send(&mut target, &asks);
    assert_eq!(store.pending().len(), asks.len());
    assert_eq!(target.count(|c| c.waited), 0);
    release_all(&store);
    target.settle();
    assert_eq!(target.sent(0).len(), asks.len());
    target.assert_at_rest();
}

/// To write a single sector, a store with 4 KiB blocks reads, modifies and writes a whole
/// block.
#[test]
pub fn a_block_is_written_by_one_at_a_time() {
    for (block_bytes, together) in [(512, 5), (4096, 2)] {
        let store = store(Order::Manual, 64);
        store.set_block_bytes(block_bytes);
        let mut target = target(&store, |_| {});
        let data = pattern(1, 0, 1);
        let asks = [1, 2, 6, 7, 8].map(|lba| write(DISK, lba as u32, lba, &data));
        send(&mut target, &asks);
        assert_eq!(store.pending().len(), together, "blocks of {block_bytes}");
        while !store.pending().is_empty() {
            release_all(&store);
            target.settle();
        }
        let done: Vec<_> = store.executed().iter().map(|op| op.sector).collect();
        let expected = if together == 5 { [1, 2, 6, 7, 8] } else { [1, 8, 2, 6, 7] };
        assert_eq!(done, expected, "blocks of {block_bytes}");
        assert_eq!(target.sent(0).len(), 5);
        target.assert_at_rest();
    }
}

/// Whatever the result of the first request, the second one runs.
#[test]
fn a_request_that_fails_or_is_refused_lets_the_next_one_run() {
    let store = store(Order::Manual, 2);
    let mut target = target(&store, |_| {});
    let [a, b, c, d] = [1, 2, 3, 4].map(|seed| pattern(seed, 0, 1));
    store.fail_next(Kind::Write, IoError::Media);
    store.fail_next(Kind::Write, IoError::Transient);
    let asks = [&a, &b, &c, &d].map(|data| write(DISK, u32::from(data[0]), 0, data));
    send(&mut target, &asks);
    let failed = asks[0].reply(DISK, &ata_done(&asks[0].argument, 0x41, 0x04, &[]));
    for (expected, held) in [(vec![failed], None), (vec![], None), (vec![good(&asks[2], &[])], Some(&c))] {
        release_all(&store);
        // The store's second slot is taken, and its first has just become free.
        target.settle();
        assert_eq!(target.sent(0), expected);
        assert!(held.is_none_or(|held| store.bytes()[..512] == held[..]));
    }
    assert_eq!(target.count(|k| k.transient_faults), 1);
    assert_eq!(target.count(|k| k.other_faults), 0);
    release_all(&store);
    target.settle();
    assert_eq!(target.sent(0), [good(&asks[3], &[])]);
    assert_eq!(store.bytes()[..512], d[..]);
    target.assert_at_rest();
}

/// A request that had to wait and finds the store full is dropped, and does not hold up
/// those after it.
#[test]
fn those_behind_one_that_finds_the_store_full_are_not_forgotten() {
    let store = store(Order::Manual, 2);
    let mut target = target(&store, |_| {});
    let data = [1, 2, 3].map(|seed| pattern(seed, 0, 1));
    // Both slots of the store are used by requests for which two more are waiting.
    let asks = [
        write(DISK, 1, 0, &pattern(9, 0, 2)),
        read(DISK, 2, 50, 1),
        write(DISK, 3, 0, &data[0]),
        write(DISK, 4, 1, &data[1]),
        write(DISK, 5, 0, &data[2]),
        write(DISK, 6, 0, &data[2]),
    ];
    send(&mut target, &asks);
    assert_eq!(target.count(|k| (k.waited, k.folded).0), 3);
    let first = store.pending()[0];
    store.release(first);
    target.settle();
    // One slot for the first two that may run: the second of them is dropped.
    assert_eq!(given(&store), [(Kind::Read, 50), (Kind::Write, 0)]);
    assert_eq!(target.count(|k| k.store_full), 1);
    while !store.pending().is_empty() {
        release_all(&store);
        target.settle();
    }
    assert_eq!(store.bytes()[..512], data[2][..]);
    let mut tags: Vec<_> = target.sent(0).iter().map(|reply| reply[23]).collect();
    tags.sort_unstable();
    assert_eq!(tags, [1, 2, 3, 5, 6]);
    target.assert_at_rest();
}

/// An export whose disk hangs uses only its own entries.
#[test]
fn an_export_that_hangs_takes_no_places_of_others() {
    let (stuck, free) = (store(Order::Manual, 1000), store(Order::Submitted, 64));
    let exports = vec![ExportPlan::new(DISK, stuck.clone()), ExportPlan::new(SECOND, free)];
    let mut target = FakeTarget::new(Plan { in_flight: 8, ..Plan::new(exports) });
    for n in 0..12u32 {
        // Some are at the store, some wait for one that is.
        let lba = u64::from(n / 2);
        send(&mut target, &[write(DISK, n, lba, &pattern(n as u8, 0, 1))]);
        let ask = read(SECOND, n, 0, 1);
        assert_eq!(target.channels(0, &ask.bytes()), [good(&ask, &[0; 512])]);
    }
    assert_eq!(target.count(|c| c.slab_full), 4);
    while !stuck.pending().is_empty() {
        release_all(&stuck);
        target.settle();
    }
    assert_eq!(target.sent(0).len(), 8);
    target.assert_at_rest();
}
