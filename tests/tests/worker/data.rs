//! Every byte ends up in the right place, however its frame is split.

use xblade::observe::{Operation, Outcome};
use xblade_sim::store::Order;
use xblade_tests::frame::{ATA, Ask, MASK, QUERY, ata, mask, query, trim};
use xblade_tests::{FakeTarget, pattern};

use crate::{DISK, SECTORS, good, read, store, target, write};

const TAGS: [&[u8]; 3] = [&[], &[0x81, 0, 0xE0, 0x64], &[0x88, 0xA8, 0x20, 0x07, 0x81, 0, 0x60, 0x08]];

/// Every count, with both chunk sizes and any number of tags. With chunks of 2 KiB the
/// longest frame has five pieces.
#[test]
fn every_count_is_written_and_read_back() {
    for chunk_bytes in [2048, 4096] {
        let store = store(Order::Submitted, 64);
        let mut target = target(&store, |plan| plan.chunk_bytes = chunk_bytes);
        let mut contents = vec![0; SECTORS as usize * 512];
        for vlan in TAGS {
            for count in 1..=16u8 {
                let lba = u64::from(count) * 20 + 1;
                let data = pattern(count ^ vlan.len() as u8, lba, count.into());
                let ask = Ask { vlan: vlan.to_vec(), ..write(DISK, 1, lba, &data) };
                assert_eq!(
                    target.channels(0, &ask.bytes()),
                    [good(&ask, &[])],
                    "write {count}, {chunk_bytes}"
                );
                contents[lba as usize * 512..][..data.len()].copy_from_slice(&data);
                assert_eq!(store.bytes(), contents, "count {count}, chunks of {chunk_bytes}");
                let ask = Ask { vlan: vlan.to_vec(), ..read(DISK, 2, lba, count) };
                assert_eq!(
                    target.channels(0, &ask.bytes()),
                    [good(&ask, &data)],
                    "read {count}, {chunk_bytes}"
                );
            }
        }
        target.assert_at_rest();
    }
}

/// A read that carries as much data as it asks for, or less, or more.
#[test]
fn reads_that_carry_data_are_answered_in_their_own_frames() {
    let store = store(Order::Submitted, 64);
    for chunk_bytes in [2048, 4096] {
        let mut target = target(&store, |plan| plan.chunk_bytes = chunk_bytes);
        let data = pattern(5, 0, 16);
        let ask = write(DISK, 1, 0, &data);
        target.channels(0, &ask.bytes());
        for count in [1u8, 7, 8, 16] {
            for carried in [0, 1, 511, 512, 1700, 4096, 8192, 8900] {
                let ask = read(DISK, 3, 0, count);
                let frame = ask.clone().trailed_by(&vec![0xEE; carried]).bytes();
                let expected = good(&ask, &data[..usize::from(count) * 512]);
                assert_eq!(target.channels(0, &frame), [expected], "count {count}, {carried} bytes");
            }
        }
        target.assert_at_rest();
    }
}

#[test]
fn a_burst_is_answered_once_each() {
    let store = store(Order::Submitted, 256);
    let mut target: FakeTarget = target(&store, |_| {});
    let asks: Vec<_> = (0..200).map(|tag| read(DISK, tag, u64::from(tag), 1)).collect();
    for ask in &asks {
        assert!(target.deliver(0, &ask.bytes()));
    }
    target.settle();
    let mut replies = target.sent(0);
    let mut expected: Vec<_> = asks.iter().map(|ask| good(ask, &[0; 512])).collect();
    replies.sort();
    expected.sort();
    assert_eq!(replies, expected);
    target.assert_at_rest();
}

/// Its count means nothing.
#[test]
fn a_flush_with_a_count_is_a_flush() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |_| {});
    for opcode in [0xE7, 0xEA] {
        let ask = Ask::new(DISK, ATA, ata(opcode, 0, 255, &[]));
        let replies = target.channels(0, &ask.bytes());
        assert_eq!((replies.len(), replies[0][27]), (1, 0x40));
    }
    target.assert_at_rest();
}

#[test]
fn requests_are_counted_by_what_they_ask_for() {
    let store = store(Order::Submitted, 64);
    store.set_discards(true);
    let mut target = target(&store, |_| {});
    let ata = |opcode, count| Ask::new(DISK, ATA, ata(opcode, 0, count, &[]));
    let asks = [
        (Operation::Write, write(DISK, 1, 0, &pattern(1, 0, 3))),
        (Operation::Read, read(DISK, 2, 0, 2)),
        (Operation::Flush, ata(0xE7, 0)),
        (Operation::Flush, ata(0xEA, 0)),
        (Operation::Discard, Ask::new(DISK, ATA, trim(&[(0, 1)]))),
        (Operation::Ata, ata(0xEC, 1)),
        (Operation::Query, Ask::new(DISK, QUERY, query(0, b""))),
        (Operation::Other, Ask::new(DISK, MASK, mask(0, 0, 0, &[]))),
    ];
    for (operation, ask) in asks {
        let count = |target: &FakeTarget| {
            let tally = target.workers[0].export(0).unwrap().tally;
            Operation::ALL.map(|operation| tally.requests(operation, Outcome::Done))
        };
        let mut expected = count(&target);
        assert_eq!(target.channels(0, &ask.bytes()).len(), 1);
        expected[operation as usize] += 1;
        assert_eq!(count(&target), expected, "{operation:?}");
    }
    let tally = target.workers[0].export(0).unwrap().tally;
    assert_eq!((tally.counters.bytes_written, tally.counters.bytes_read), (3 * 512, 2 * 512));
    target.assert_at_rest();
}
