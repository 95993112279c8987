//! Answered requests that set a config string, a mask list or a reservation.
//!
//! The network may deliver such a request twice, the second time late: a host reserves an
//! export, releases it and reserves it again; then the duplicate of the release arrives,
//! and others write. So an exact duplicate (same source, tag and argument) of a request
//! answered within the horizon is not executed. If the original succeeded, the duplicate
//! is answered with the current value. If the original was refused, the duplicate gets no
//! reply: its host has seen the refusal, and the duplicate must not succeed where the
//! original did not.
//!
//! A tool may use the same tag for all its requests. They are not taken for duplicates:
//! either the last request with this tag differs, or the new one asks for what is already
//! set.
//!
//! Memory is bounded: [`RECORDS_MAX`] requests per export. A new record replaces the
//! oldest one of the source that has the most.

use super::messages::{Arrival, Inbound};
use super::tag_order::HORIZON_NS;
use crate::plant::{Bug, planted};
use crate::wire::aoe::Command;
use crate::wire::ether::Mac;

/// Number of requests remembered per export.
pub const RECORDS_MAX: usize = 64;

/// What is known about an arriving request that sets something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Known {
    /// It is new: execute it.
    New,
    /// It is a duplicate of a request that succeeded.
    CopyOfDone,
    /// It is a duplicate of a refused request, or a request that arrived later has been
    /// answered.
    TooLate,
}

/// Answered requests of one export, oldest first.
#[derive(Debug)]
pub struct AnsweredSets {
    records: Vec<Record>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    source: Mac,
    tag: u32,
    command: Command,
    hash: u64,
    answered_ns: u64,
    arrival: Arrival,
    refused: bool,
}

impl AnsweredSets {
    /// An empty record. Allocates all memory.
    pub fn new() -> Self {
        Self { records: Vec::with_capacity(RECORDS_MAX) }
    }

    /// Looks up a request whose argument has this hash.
    pub fn find(&self, inbound: &Inbound, arrival: Arrival, hash: u64, now_ns: u64) -> Known {
        if planted(Bug::NoSetHistory) {
            return Known::New;
        }
        let young = |record: &&Record| now_ns.saturating_sub(record.answered_ns) <= HORIZON_NS;
        let same_tag = |record: &&Record| {
            (record.source, record.tag, record.command)
                == (inbound.header.ether.src, inbound.header.tag, inbound.header.command)
        };
        let mut same = self.records.iter().rev().filter(young).filter(same_tag);
        match same.next() {
            Some(newest) if newest.hash == hash && same.all(|other| other.hash == hash) => {
                if newest.refused {
                    Known::TooLate
                } else {
                    Known::CopyOfDone
                }
            }
            Some(_) => Known::New,
            None if self.records.iter().any(|record| record.is_later(inbound, arrival)) => Known::TooLate,
            None => Known::New,
        }
    }

    /// Records an answered request.
    pub fn record(&mut self, inbound: &Inbound, arrival: Arrival, hash: u64, refused: bool, now_ns: u64) {
        let header = &inbound.header;
        let (source, tag, command) = (header.ether.src, header.tag, header.command);
        if self.records.len() == RECORDS_MAX {
            self.make_room();
        }
        self.records.push(Record { source, tag, command, hash, answered_ns: now_ns, arrival, refused });
    }

    /// Remembers a request for as long again as if it had been answered now. A duplicate of
    /// it has been, and there may be duplicates of that one.
    pub fn renew(&mut self, inbound: &Inbound, now_ns: u64) {
        let (source, tag, command) = (inbound.header.ether.src, inbound.header.tag, inbound.header.command);
        let same =
            |record: &&mut Record| (record.source, record.tag, record.command) == (source, tag, command);
        if let Some(record) = self.records.iter_mut().rev().find(same) {
            record.answered_ns = now_ns;
        }
    }

    /// Forgets a source that may have booted, and may start with the same tags again.
    pub fn forget(&mut self, source: Mac) {
        self.records.retain(|record| record.source != source);
    }

    /// Forgets the oldest request of the source that has the most.
    fn make_room(&mut self) {
        let count = |source: Mac| self.records.iter().filter(|record| record.source == source).count();
        // Among equals, the source whose oldest request is the oldest.
        let most = self.records.iter().rev().map(|record| record.source).max_by_key(|source| count(*source));
        let oldest = self.records.iter().position(|record| Some(record.source) == most);
        self.records.remove(oldest.unwrap_or(0));
    }
}

impl Record {
    /// Whether it arrived after this request, at another worker, and set the same kind of
    /// value.
    fn is_later(&self, inbound: &Inbound, arrival: Arrival) -> bool {
        self.command == inbound.header.command
            && !arrival.is_in_order_with(self.arrival.worker)
            && self.arrival.latest_ns > arrival.earliest_ns
            && !planted(Bug::NoArrivalOrder)
    }
}

#[cfg(test)]
mod tests {
    use xblade_sim::FakeRings;

    use super::*;
    use crate::ring::Lane;
    use crate::wire::aoe::{Header, Role};
    use crate::wire::ether::{Ether, Tags};

    fn inbound(lane: &mut Lane<FakeRings>, host: u8, tag: u32, at_ns: u64) -> Inbound {
        let ether = Ether { dst: Mac::default(), src: Mac([2, 0, 0, 0, 0, host]), tags: Tags::NONE };
        let command = Command::Reserve;
        let header = Header { ether, role: Role::Request, shelf: 0, slot: 0, command, tag };
        let frame = lane.allocate(60).unwrap();
        Inbound::of(frame, header, at_ns)
    }

    /// Calls `act` with a request of this host, tag, arrival time and worker.
    fn with<T>(from: (u8, u32, u64, u16), act: impl FnOnce(&Inbound, Arrival) -> T) -> T {
        let (mut lane, _wire) = FakeRings::open(64, 2048, 16).unwrap();
        let inbound = inbound(&mut lane, from.0, from.1, from.2);
        let result = act(&inbound, inbound.arrival(from.3));
        lane.release(inbound.frame);
        result
    }

    #[test]
    fn a_copy_is_known_for_as_long_as_networks_hold_it() {
        let mut sets = AnsweredSets::new();
        with((1, 7, 0, 0), |inbound, at| sets.record(inbound, at, 1, false, 1_000));
        with((1, 8, 0, 0), |inbound, at| sets.record(inbound, at, 2, true, 1_000));
        let find = |from, hash, now_ns| with(from, |inbound, at| sets.find(inbound, at, hash, now_ns));
        assert_eq!(find((1, 7, 0, 0), 1, 1_000 + HORIZON_NS), Known::CopyOfDone);
        assert_eq!(find((1, 7, 0, 0), 1, 1_001 + HORIZON_NS), Known::New);
        assert_eq!(find((1, 8, 0, 0), 2, 2_000), Known::TooLate, "it was refused");
        assert_eq!(find((1, 7, 0, 0), 2, 2_000), Known::New, "another argument");
        assert_eq!(find((1, 9, 0, 0), 1, 2_000), Known::New, "another tag");
        assert_eq!(find((2, 7, 0, 0), 1, 2_000), Known::New, "another host");
        with((1, 7, 0, 0), |_, _| sets.forget(Mac([2, 0, 0, 0, 0, 1])));
        assert_eq!(with((1, 7, 0, 0), |inbound, at| sets.find(inbound, at, 1, 2_000)), Known::New);
    }

    /// Reserve, release, reserve, all with the same tag.
    #[test]
    fn a_tool_with_one_tag_is_not_taken_for_a_copy() {
        for hashes in [[1, 2, 1, 1, 2], [1, 2, 2, 2, 1]] {
            let mut sets = AnsweredSets::new();
            for hash in hashes {
                let known = with((1, 7, 0, 0), |inbound, at| {
                    let known = sets.find(inbound, at, hash, 2_000);
                    sets.record(inbound, at, hash, false, 2_000);
                    known
                });
                assert_eq!(known, Known::New);
            }
        }
    }

    #[test]
    fn what_arrived_before_an_answered_one_is_late() {
        let mut sets = AnsweredSets::new();
        with((1, 7, 500, 0), |inbound, at| sets.record(inbound, at, 1, false, 1_000));
        assert_eq!(with((2, 1, 499, 1), |inbound, at| sets.find(inbound, at, 5, 1_000)), Known::TooLate);
        assert_eq!(with((2, 1, 500, 1), |inbound, at| sets.find(inbound, at, 5, 1_000)), Known::New);
        assert_eq!(with((2, 1, 499, 0), |inbound, at| sets.find(inbound, at, 5, 1_000)), Known::New);
    }

    /// A source that sends many requests only displaces its own.
    #[test]
    fn one_source_does_not_push_out_another() {
        let mut sets = AnsweredSets::new();
        with((1, 7, 0, 0), |inbound, at| sets.record(inbound, at, 1, false, 1_000));
        for tag in 0..1_000 {
            with((2, tag, 0, 0), |inbound, at| sets.record(inbound, at, 1, true, 1_000));
        }
        assert_eq!(sets.records.len(), RECORDS_MAX);
        assert_eq!(with((1, 7, 0, 0), |inbound, at| sets.find(inbound, at, 1, 2_000)), Known::CopyOfDone);
        assert_eq!(with((2, 999, 0, 0), |inbound, at| sets.find(inbound, at, 1, 2_000)), Known::TooLate);
    }
}
