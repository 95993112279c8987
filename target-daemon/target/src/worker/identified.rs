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
    #[inline(never)]
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::aoe::{Command, Header, Role};
    use crate::wire::ether::{Ether, Tags};
    use xblade_sim::FakeRings;

    #[test]
    fn a_copy_is_known_among_as_many_as_there_is_room_for() {
        let (mut lane, _wire) = FakeRings::open(64, 2048, 16).unwrap();
        let mut identified = Identified::new();
        let mut is_copy = |host: usize, tag| {
            let ether =
                Ether { dst: Mac::default(), src: Mac([2, 0, 0, 0, 0, host as u8]), tags: Tags::NONE };
            let header = Header { ether, role: Role::Request, shelf: 0, slot: 0, command: Command::Ata, tag };
            let frame = lane.allocate(60).unwrap();
            let inbound = Inbound::of(frame, header, 0);
            let is_copy = identified.is_copy(&inbound, 1_000);
            lane.release(inbound.frame);
            is_copy
        };
        for tag in 0..3 {
            for expected in [false, true] {
                for host in 0..RECORDS_MAX {
                    assert_eq!(is_copy(host, tag), expected, "host {host}, tag {tag}");
                }
            }
        }
        assert!(!is_copy(0, 1), "the oldest goes first");
    }
}
