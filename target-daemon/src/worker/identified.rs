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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::ring::FakeRings;
    use crate::wire::aoe::{Command, Header, Role};
    use crate::wire::ether::{Ether, Tags};

    #[test]
    fn a_copy_is_known_among_as_many_as_there_is_room_for() {
        let (mut lane, _wire) = FakeRings::open(64, 2048, 16).unwrap();
        let mut identified = Identified::new();
        let mut is_copy = |host: usize, tag| {
            let ether =
                Ether { dst: Mac::default(), src: Mac([2, 0, 0, 0, 0, host as u8]), tags: Tags::NONE };
            let header = Header { ether, role: Role::Request, shelf: 0, slot: 0, command: Command::Ata, tag };
            let frame = lane.allocate(60).unwrap();
            let inbound =
                Inbound { frame, header, lane: 0, export: 0, request_len: 60, received_ns: 0, since_ns: 0 };
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
