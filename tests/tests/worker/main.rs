//! Whole workers over rings and stores in memory: late stores, full resources, several
//! workers, random requests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod at_once;
mod changes;
mod copies;
mod data;
mod drain;
mod fair;
mod channels;
mod faults;
mod faulty;
mod late;
mod late_sets;
mod limits;
mod order;
mod overlap;
mod planted;
mod random;
mod rates;
mod segments;
mod sizes;
mod sleep;
mod stuck;
mod times;
mod trace;

use xblade_sim::FakeStore;
use xblade_sim::store::Order;
use xblade_tests::frame::{ATA, Ask, ata, ata_done};
use xblade_tests::{Address, ExportPlan, FakeTarget, Plan};

/// The export of most tests.
const DISK: Address = (1, 0);
/// Another one, with a higher address.
const SECOND: Address = (1, 1);
/// Sectors of a store.
const SECTORS: u64 = 512;

/// A store that completes in this order, with room for `capacity` operations.
fn store(order: Order, capacity: usize) -> FakeStore {
    FakeStore::new(SECTORS, capacity, order)
}

/// A target with one export over a clone of this store.
fn target(store: &FakeStore, change: impl FnOnce(&mut Plan)) -> FakeTarget {
    let mut plan = Plan::new(vec![ExportPlan::new(DISK, store.clone())]);
    change(&mut plan);
    FakeTarget::new(plan)
}

/// A read with this tag.
fn read(to: Address, tag: u32, lba: u64, count: u8) -> Ask {
    Ask { tag, ..Ask::new(to, ATA, ata(0x24, lba, count, &[])) }
}

/// A write with this tag.
fn write(to: Address, tag: u32, lba: u64, data: &[u8]) -> Ask {
    Ask { tag, ..Ask::new(to, ATA, ata(0x34, lba, (data.len() / 512) as u8, data)) }
}

/// The good reply.
fn good(ask: &Ask, data: &[u8]) -> Vec<u8> {
    ask.reply((ask.shelf, ask.slot), &ata_done(&ask.argument, 0x40, 0, data))
}

/// Writes data that a test expects to be there at the start.
fn fill(target: &mut FakeTarget, store: &FakeStore, to: Address, lba: u64, data: &[u8]) {
    for (at, part) in data.chunks(8 * 512).enumerate() {
        let ask = write(to, 0, lba + 8 * at as u64, part);
        assert!(target.deliver(0, &ask.bytes()));
        target.round();
        release_all(store);
        target.settle();
        assert_eq!(target.sent(0), [good(&ask, &[])]);
    }
}

/// Sends these; waits only until they have been received.
fn send(target: &mut FakeTarget, asks: &[Ask]) {
    for ask in asks {
        assert!(target.deliver(0, &ask.bytes()));
        target.round();
    }
}

/// Lets a store complete everything it has, in the order of submission.
fn release_all(store: &FakeStore) {
    for token in store.pending() {
        assert!(store.release(token));
    }
}
