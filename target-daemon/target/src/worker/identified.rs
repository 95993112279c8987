//! IDENTIFY ends what is remembered of a host, for it may have booted. A copy of one that
//! was delivered a moment ago does not: the network has made that, or the host has sent
//! it again, and no host boots within the time.

use super::messages::Inbound;
use super::tag_order::BOOT_MIN_NS;
use crate::wire::ether::Mac;

/// Requests that are remembered of an export. Where there are more hosts that send IDENTIFY
/// at a time, a copy counts as one more.
const RECORDS_MAX: usize = 32;

/// The last requests of this kind to an export.
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

    /// An IDENTIFY has arrived. Whether it is a copy of one that has arrived a moment ago.
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
