//! The answered writes of one source address, in a ring.

use super::super::fingerprint::Fingerprint;
use super::super::tag_order::{HORIZON_NS, TagOrder, is_before, may_be_ordered};
use super::WRITES_MAX;
use crate::store::{IoError, Kind, SECTOR_BYTES};
use crate::wire::ether::Mac;
use crate::worker::messages::HELD;

/// A source address.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) mac: Mac,
    /// When its last request arrived, or its last write was answered.
    pub(super) heard_ns: u64,
    /// As far as known, it has not reused a tag.
    pub(super) unique_tags: bool,
    /// The source that holds the order of its host: itself, until it is known to belong
    /// to another.
    pub(super) host: usize,
    pub(super) order: TagOrder,
    /// The host that it was found to share a counter with, and how often.
    pub(super) follows: (usize, u8),
    /// Number of records ever made here. Record *n* is at *n* modulo the ring's size.
    pub(super) records: u64,
    /// The first record that a write may be a duplicate of.
    pub(super) copies_from: u64,
    /// The first record whose tag is in order with the current ones.
    pub(super) order_from: u64,
    ring: Vec<Record>,
}

/// An answered write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) sector: u64,
    pub(super) hash: u64,
    pub(super) answered_ns: u64,
    /// Upper bound of its arrival time, and the maximum of this and all earlier records.
    pub(super) arrived_ns: u64,
    pub(super) newest_arrived_ns: u64,
    pub(super) tag: u32,
    /// The tag sent last, among this and all earlier records in the same order.
    pub(super) newest_tag: u32,
    pub(super) bytes: u32,
    /// Distance to the previous record in its bucket; 0 for none.
    pub(super) back: u32,
    /// The worker that received it.
    pub(super) worker: u16,
    pub(super) kind: Kind,
    pub(super) result: Result<(), IoError>,
}

/// A write that may be late, and what to compare it by.
pub(super) struct Late<'a> {
    pub(super) fingerprint: &'a Fingerprint,
    /// Lower bound of its arrival time, if arrival times are to be compared.
    pub(super) by_arrival: Option<u64>,
    pub(super) worker: u16,
    pub(super) tag: u32,
    pub(super) now_ns: u64,
}

impl Source {
    pub(super) fn unused(at: usize) -> Self {
        Self {
            mac: Mac::default(),
            heard_ns: 0,
            unique_tags: false,
            host: at,
            order: TagOrder::default(),
            follows: (at, 0),
            records: 0,
            copies_from: 0,
            order_from: 0,
            ring: Vec::with_capacity(WRITES_MAX),
        }
    }

    /// Reuses this entry for another address. Keeps its memory.
    pub(super) fn begin(&mut self, mac: Mac, at: usize) {
        (self.mac, self.unique_tags, self.order) = (mac, true, TagOrder::default());
        (self.host, self.follows) = (at, (at, 0));
        (self.records, self.copies_from, self.order_from) = (0, 0, 0);
        self.ring.clear();
    }

    pub(super) fn record(&self, number: u64) -> Option<&Record> {
        let there = number < self.records && self.records - number <= WRITES_MAX as u64;
        self.ring.get(number as usize % WRITES_MAX).filter(|_| there)
    }

    pub(super) fn newest(&self) -> Option<&Record> {
        self.record(self.records.checked_sub(1)?)
    }

    pub(super) fn push(&mut self, mut record: Record) {
        if let Some(before) = self.newest() {
            record.newest_arrived_ns = record.newest_arrived_ns.max(before.newest_arrived_ns);
            let recent = record.answered_ns.saturating_sub(before.answered_ns) <= HORIZON_NS;
            let in_order = recent && self.records > self.order_from && may_be_ordered(before.newest_tag);
            if in_order && !(may_be_ordered(record.tag) && is_before(before.newest_tag, record.tag)) {
                record.newest_tag = before.newest_tag;
            }
        }
        match self.ring.get_mut(self.records as usize % WRITES_MAX) {
            Some(old) => *old = record,
            // The ring grows to its full size within its reserved memory.
            None => self.ring.push(record),
        }
        self.records += 1;
    }

    /// Whether the records contain a write that overlaps this one and was sent later, or
    /// may have contained one. Searches back from the newest record, as far as there can
    /// be one, and for at most `looks` records.
    pub(super) fn has_later(&self, late: &Late<'_>, same_order: bool, looks: &mut usize) -> bool {
        let mut same_order = same_order;
        let mut number = self.records;
        while let Some(before) = number.checked_sub(1) {
            number = before;
            same_order &= number >= self.order_from;
            if !same_order && late.by_arrival.is_none() {
                return false;
            }
            let Some(record) = self.record(number).filter(|_| *looks > 0) else { return true };
            *looks -= 1;
            let young = late.now_ns.saturating_sub(record.answered_ns) <= HORIZON_NS;
            same_order &= young && is_later(late.tag, record.newest_tag);
            let arrived_later = late.by_arrival.filter(|ns| record.newest_arrived_ns > *ns);
            if !same_order && arrived_later.is_none() {
                return false;
            }
            let later = same_order && is_later(late.tag, record.tag)
                || (record.worker != late.worker || late.worker == HELD)
                    && arrived_later.is_some_and(|ns| record.arrived_ns > ns);
            if later && record.overlaps(late.fingerprint) {
                return true;
            }
        }
        false
    }
}

/// Whether the request with tag `other` was sent after the one with `tag`.
fn is_later(tag: u32, other: u32) -> bool {
    may_be_ordered(other) && is_before(tag, other)
}

impl Record {
    /// Whether it records an identical write.
    pub(super) fn is(&self, fingerprint: &Fingerprint) -> bool {
        let Fingerprint { kind, sector, bytes, hash } = *fingerprint;
        (self.kind, self.sector, self.bytes, self.hash) == (kind, sector, bytes, hash)
    }

    /// Whether both touch the same sector. The ranges of a discard are in its data, so it
    /// counts as touching everything.
    fn overlaps(&self, fingerprint: &Fingerprint) -> bool {
        let end = |sector: u64, bytes: u32| sector.saturating_add(u64::from(bytes) / SECTOR_BYTES);
        if self.kind == Kind::Discard || fingerprint.kind == Kind::Discard {
            return true;
        }
        self.sector < end(fingerprint.sector, fingerprint.bytes)
            && fingerprint.sector < end(self.sector, self.bytes)
    }
}
