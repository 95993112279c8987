//! Recent IDENTIFY requests. An IDENTIFY resets what is remembered of a host, because the
//! host may have rebooted. A duplicate received shortly before does not: the network
//! duplicated it, or the host resent it, and no host boots that fast.

use super::messages::Inbound;
use super::tag_order::BOOT_MIN_NS;
use crate::wire::ether::Mac;

/// IDENTIFY requests remembered per export. If more hosts send IDENTIFY at a time, a
/// duplicate counts as a new one.
const RECORDS_MAX: usize = 32;

/// The most recent IDENTIFY requests to an export.
#[derive(Debug)]
pub struct Identified {
    /// Source, tag and time.
    records: [(Mac, u32, u64); RECORDS_MAX],
    next: usize,
}

impl Identified {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { records: [(Mac::default(), 0, 0); RECORDS_MAX], next: 0 }
    }

    /// Records an IDENTIFY. Returns whether it is a duplicate of a recent one.
    pub fn is_copy(&mut self, inbound: &Inbound, now_ns: u64) -> bool {
        let (source, tag) = (inbound.header.ether.src, inbound.header.tag);
        let young = |at_ns: u64| at_ns > 0 && now_ns.saturating_sub(at_ns) < BOOT_MIN_NS;
        let same = |record: &&(Mac, u32, u64)| (record.0, record.1) == (source, tag) && young(record.2);
        if self.records.iter().any(|record| same(&record)) {
            return true;
        }
        if let Some(oldest) = self.records.get_mut(self.next) {
            *oldest = (source, tag, now_ns);
        }
        self.next = (self.next + 1) % RECORDS_MAX;
        false
    }
}
