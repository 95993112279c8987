//! Requests that come again, late, and in each other's way.

use super::{WRITTEN, rules};
use crate::frame::{ATA, Ask, ata, ata_done};
use crate::{Bench, HOST, MAIN, OTHER_HOST, pattern};

rules! {
    late_copies_are_answered_and_not_executed ["P-ORD-3"]
    hosts_with_one_tag_lose_nothing ["P-ORD-4"]
    the_last_of_many_writes_stays ["P-ORD-1" "P-ORD-2"]
}

/// A write from a host that no other rule writes for, so that its tags are
/// known here.
fn write(bench: &mut Bench<'_>, host: u8, tag: u32, lba: u64, seed: u8) -> (Ask, Vec<u8>) {
    let data = pattern(seed, lba, 1);
    let ask = bench.ask(MAIN, ATA, ata(0x34, lba, 1, &data)).from([2, 0, 0, 0, 0xBB, host]);
    (Ask { tag, ..ask }, data)
}

fn good(ask: &Ask) -> Vec<u8> {
    ask.reply(MAIN, &ata_done(&ask.argument, 0x40, 0, &[]))
}

/// A tag that no other bench uses of the same target.
fn tag_of(bench: &Bench<'_>) -> u32 {
    let vlan = bench.variant.vlan.len() as u32;
    0x4000_0000 | bench.variant.mtu << 8 | vlan << 4
}

fn late_copies_are_answered_and_not_executed(bench: &mut Bench<'_>) {
    let (lba, tag) = (WRITTEN + 300, tag_of(bench));
    let (old, _) = write(bench, 1, tag, lba, 1);
    let (new, newer) = write(bench, 1, tag + 1, lba, 2);
    bench.expect(&old, good(&old));
    bench.expect(&new, good(&new));
    bench.expect(&old, good(&old));
    assert_eq!(bench.stand.contents(MAIN, lba, 1), newer);
    // The same again by itself is a new write.
    let (again, older) = write(bench, 1, tag + 2, lba, 1);
    bench.expect(&again, good(&again));
    assert_eq!(bench.stand.contents(MAIN, lba, 1), older);
    assert_eq!(bench.read(MAIN, lba, 1), older);
}

fn hosts_with_one_tag_lose_nothing(bench: &mut Bench<'_>) {
    let lba = WRITTEN + 301;
    for seed in [1, 2, 1, 1, 2, 1] {
        let (ask, data) = write(bench, 2, 7, lba, seed);
        bench.expect(&ask, good(&ask));
        assert_eq!(bench.stand.contents(MAIN, lba, 1), data);
    }
}

/// Sent without waiting, twice each, as by a host that is impatient: the
/// newest stays, whatever is folded.
fn the_last_of_many_writes_stays(bench: &mut Bench<'_>) {
    let lba = WRITTEN + 302;
    for seed in 1..=20u8 {
        for from in [HOST, OTHER_HOST] {
            let ask = bench.ask(MAIN, ATA, ata(0x34, lba, 1, &pattern(seed, lba, 1))).from(from);
            bench.send(&ask);
        }
    }
    // It waits for all writes, so its answer is the last one.
    let ask = bench.ask(MAIN, ATA, ata(0x24, lba, 1, &[]));
    let replies = bench.exchange(&ask.bytes());
    assert_eq!(replies.len(), 41, "every tag is answered");
    let last = pattern(20, lba, 1);
    assert_eq!(replies.last(), Some(&ask.reply(MAIN, &ata_done(&ask.argument, 0x40, 0, &last))));
    assert_eq!(bench.stand.contents(MAIN, lba, 1), last);
}
