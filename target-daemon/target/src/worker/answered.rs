//! The answered writes of one export: a record on which two rules are based.
//!
//! **A late write is not executed.** A write may wait where the target cannot see it: in
//! the ring of a lane whose worker is not scheduled, in a NIC, in a switch. Meanwhile its
//! host resends it over another path, gets the reply, and writes newer data to the same
//! sectors. When the old write finally arrives, it must not overwrite the newer one. So
//! xblade drops a write if it has answered a newer, overlapping one from the same host. If
//! the host still waits for the dropped write, it resends it. Which of two writes is newer
//! is derived from:
//!
//! - *The host's tags*, if they are in order ([`TagOrder`]). All addresses of a host are
//!   compared together; which addresses belong to one host is also derived from the tags.
//! - *The arrival time*, for lanes of different workers: of two writes from one host, the
//!   one that arrived first is taken as the older one. For lanes of the same worker, its
//!   passes keep the order (`pass.rs`). The XDP program stamps the arrival time; without a
//!   stamp, the pass that found the frame gives a bound ([`Arrival`]).
//!
//! If the records do not reach back far enough to decide, the write is dropped as well: a
//! resend costs time, but an old write destroys data.
//!
//! **A duplicate is not executed again.** The network may deliver a frame twice. An exact
//! duplicate (same source, tag, sectors and data) of a write answered within the horizon
//! ([`HORIZON_NS`]) gets the same answer. This is only valid for hosts that do not reuse a
//! tag for another write within that time. To detect reuse, a write is compared with the
//! record of its tag when it arrives, and again when it is answered, because two writes
//! with one tag may be in flight together.
//!
//! An IDENTIFY resets what is remembered of a host for duplicates and tags: a host that
//! has booted sends one before it writes, and may start with the tags of its last boot. A
//! host has not booted if its tags are in order and continue that order, if it has sent
//! something within the last second, or if the IDENTIFY is itself a duplicate
//! (`identified.rs`).
//!
//! Memory is bounded: [`SOURCES_MAX`] addresses per export, [`WRITES_MAX`] writes per
//! address. An address that has written, and was active within the horizon, keeps its
//! entry. Each entry has a ring of records. Addresses without an entry share one
//! additional ring, which is used only to compare arrival times. Memory is reserved when
//! the export is created, and touched only when addresses write.
//!
//! ```text
//! heads  [tag's bucket] ──► newest ──► older ──► older than the ring reaches: the end
//! ring   [ … 4096 records, each with the distance to the one before it in its bucket … ]
//! ```

mod source;

use self::source::{Late, Record, Source};
use super::fingerprint::Fingerprint;
use super::messages::{Arrival, HELD, Inbound};
use super::tag_order::{Fit, HORIZON_NS, TagOrder, may_be_ordered};
use crate::observe::Zeroed;
use crate::plant::{Bug, planted};
use crate::store::IoError;
use crate::wire::ether::Mac;

/// Number of source addresses remembered per export.
pub const SOURCES_MAX: usize = 16;

/// Number of writes remembered per address. A power of two.
pub const WRITES_MAX: usize = 4096;

/// Index of the ring for addresses without an entry.
const OTHERS: usize = SOURCES_MAX;

/// No host: no source has this index.
const NO_HOST: usize = usize::MAX;

/// Maximum number of records examined in one bucket. Otherwise a host whose tags
/// deliberately share a bucket could slow down others.
const CHAIN_MAX: usize = 64;

/// Maximum number of records examined for one write; after that it counts as late.
/// Otherwise one host with many addresses could slow down others.
const LOOKS_MAX: usize = 2 * WRITES_MAX;

/// Number of times that two addresses must be found to share a counter before they count
/// as one host.
const SAME_HOST: u8 = 4;

/// What is known about an arriving write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// It is new: execute it.
    New,
    /// It is a duplicate of a write that was answered with this result.
    Copy(Result<(), IoError>),
    /// Its tag was used for a different write: execute it. Duplicates from its source are
    /// no longer recognized.
    TagReused,
}

/// Kind of an ATA request, as far as tags are concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Observed {
    /// IDENTIFY.
    Identify,
    /// A read; most requests are.
    Read,
    /// Anything else.
    Other,
}

/// How an answered write was recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recorded {
    /// It was stored.
    Kept,
    /// As [`Found::TagReused`].
    TagReused,
    /// Its source has no entry: it was stored for its arrival time only.
    NoPlace,
}

/// The answered writes of one export.
#[derive(Debug)]
pub struct AnsweredWrites {
    sources: Vec<Source>,
    /// Number of sources in use; the others only hold memory.
    used: usize,
    /// For each source and bucket: the number of the newest record plus 1; 0 for none.
    heads: Zeroed,
    latest: LatestArrivals,
    /// Latest arrival time of the writes that are no longer remembered, because the entry
    /// of their source was reused.
    unremembered_ns: u64,
    /// The host whose request was the last one in order; [`NO_HOST`] if its order has
    /// restarted since.
    last_host: usize,
    /// The source and tag for which `find` has found no record, until the next one is made.
    unused_tag: Option<(usize, u32)>,
    /// The source found last.
    last_source: usize,
    /// An address of which it is known whether its tags are in order: `settled_in_order`.
    /// If they are, its reads provide no more information; if not, only IDENTIFY does.
    settled: Option<Mac>,
    settled_in_order: bool,
    /// The address in `settled`, if [`Self::observe`] has seen a read from it since anything
    /// changed: no other one provides information until then.
    reads_say_nothing: Option<Mac>,
    /// Whether two addresses were ever found to belong to one host.
    joined: bool,
}

/// Latest arrival times of answered writes: `ns` is the latest at `worker`; `others_ns` is
/// the latest at any other worker, and of those that were held.
#[derive(Clone, Copy, Default, Debug)]
struct LatestArrivals {
    ns: u64,
    worker: u16,
    others_ns: u64,
}

impl LatestArrivals {
    fn add(&mut self, arrival: Arrival) {
        let ns = arrival.latest_ns;
        if arrival.is_in_order_with(self.worker) {
            self.ns = self.ns.max(ns);
        } else if ns > self.ns && arrival.worker != HELD {
            *self = Self { ns, worker: arrival.worker, others_ns: self.others_ns.max(self.ns) };
        } else {
            self.others_ns = self.others_ns.max(ns);
        }
    }

    /// The latest arrival that this worker did not keep in order.
    fn beside(&self, worker: u16) -> u64 {
        if worker == self.worker { self.others_ns } else { self.ns.max(self.others_ns) }
    }
}

impl AnsweredWrites {
    /// An empty record. Reserves all memory.
    pub fn new() -> Self {
        Self {
            sources: (0..=OTHERS).map(Source::unused).collect(),
            used: 0,
            heads: Zeroed::new(SOURCES_MAX * WRITES_MAX),
            latest: LatestArrivals::default(),
            unremembered_ns: 0,
            last_host: NO_HOST,
            unused_tag: None,
            last_source: 0,
            settled: None,
            settled_in_order: false,
            reads_say_nothing: None,
            joined: false,
        }
    }

    /// Handles an arriving ATA request. Every tag gives information about its host, and
    /// an IDENTIFY gives more. Returns whether the host may have booted.
    #[inline]
    pub fn observe(&mut self, inbound: &Inbound, kind: Observed, now_ns: u64) -> bool {
        // Most requests return here if one host uses the export, so this must cost next
        // to nothing.
        if kind == Observed::Read && self.reads_say_nothing == Some(inbound.header.ether.src) {
            return false;
        }
        self.observe_more(inbound, kind, now_ns)
    }

    #[inline(never)]
    fn observe_more(&mut self, inbound: &Inbound, kind: Observed, now_ns: u64) -> bool {
        // With several addresses, every request is needed to find out whether they belong to
        // one host.
        let alone = self.used == 1 || self.joined || !self.settled_in_order;
        let says_more = kind == Observed::Identify || kind == Observed::Other && self.settled_in_order;
        if alone && !says_more && self.settled == Some(inbound.header.ether.src) {
            self.reads_say_nothing = self.settled;
            return false;
        }
        self.reads_say_nothing = None;
        self.observe_tag(inbound, kind, now_ns).unwrap_or(kind == Observed::Identify)
    }

    /// As [`Self::observe`]; `None` if the source has no entry.
    fn observe_tag(&mut self, inbound: &Inbound, kind: Observed, now_ns: u64) -> Option<bool> {
        let at = self.place(inbound.header.ether.src, false, now_ns)?;
        let tag = inbound.header.tag;
        let host = self.sources.get(at)?.host;
        let order = &mut self.sources.get_mut(host)?.order;
        let fit = if may_be_ordered(tag) { order.observe(tag, now_ns) } else { Fit::Older };
        let restarted = kind == Observed::Identify
            && order.may_have_restarted(tag, fit, now_ns)
            && !planted(Bug::ForgetsNothingOnIdentify);
        self.settled = (order.is_settled() && !restarted).then_some(inbound.header.ether.src);
        self.settled_in_order = order.is_believed();
        if (restarted || matches!(fit, Fit::First | Fit::Misfit)) && self.last_host == host {
            // Requests after this tag do not continue the previous order.
            self.last_host = NO_HOST;
        }
        match fit {
            _ if restarted => self.restart_host(host),
            Fit::Newer if host != self.last_host && !planted(Bug::AddressesApart) => {
                self.compare_hosts(host, tag, now_ns)
            }
            Fit::Newer | Fit::Older => {}
            Fit::First => self.members(host).for_each(|source| source.order_from = source.records),
            Fit::Misfit if self.joined => self.dissolve(host),
            Fit::Misfit => {
                if let Some(source) = self.sources.get_mut(host) {
                    source.order_from = source.records;
                }
            }
        }
        Some(restarted)
    }

    /// Resets a host that may have booted.
    fn restart_host(&mut self, host: usize) {
        for source in self.members(host) {
            source.order.restart();
            source.unique_tags = true;
            source.copies_from = source.records;
            source.order_from = source.records;
        }
    }

    /// Looks up an arriving write.
    pub fn find(&mut self, inbound: &Inbound, fingerprint: &Fingerprint, now_ns: u64) -> Found {
        if planted(Bug::NoHistory) {
            return Found::New;
        }
        let Some(at) = self.find_source(inbound.header.ether.src) else { return Found::New };
        match self.newest_with(at, inbound.header.tag, now_ns) {
            None => {
                self.unused_tag = Some((at, inbound.header.tag));
                Found::New
            }
            Some(record) if record.is(fingerprint) => Found::Copy(record.result),
            Some(_) => {
                self.tag_was_reused(at);
                Found::TagReused
            }
        }
    }

    /// Whether an overlapping write that was sent later has been answered, or may have
    /// been. If so, this one must not be executed.
    pub fn is_overtaken(
        &self,
        inbound: &Inbound,
        arrival: Arrival,
        fingerprint: &Fingerprint,
        now_ns: u64,
    ) -> bool {
        let Arrival { earliest_ns, worker, .. } = arrival;
        let by_arrival = self.latest.beside(worker) > earliest_ns && !planted(Bug::NoArrivalOrder);
        let host = self.host_with_later(inbound);
        if !by_arrival && host.is_none() {
            return false;
        }
        self.has_later(inbound, arrival, fingerprint, (by_arrival, host), now_ns)
    }

    /// The slow part of [`Self::is_overtaken`].
    #[inline(never)]
    fn has_later(
        &self,
        inbound: &Inbound,
        arrival: Arrival,
        fingerprint: &Fingerprint,
        (by_arrival, host): (bool, Option<usize>),
        now_ns: u64,
    ) -> bool {
        let Arrival { earliest_ns, worker, .. } = arrival;
        if by_arrival && self.unremembered_ns > earliest_ns {
            return true;
        }
        let tag = inbound.header.tag;
        let late = Late { fingerprint, by_arrival: by_arrival.then_some(earliest_ns), worker, tag, now_ns };
        let mut looks = LOOKS_MAX;
        self.sources.iter().any(|source| source.has_later(&late, host == Some(source.host), &mut looks))
    }

    /// The host of a request with an ordered tag, if a request that it sent later has
    /// already arrived. For most requests there is none.
    #[inline]
    fn host_with_later(&self, inbound: &Inbound) -> Option<usize> {
        let (at, tag) = (self.find_source(inbound.header.ether.src)?, inbound.header.tag);
        let host = self.sources.get(at)?.host;
        let order = &self.sources.get(host)?.order;
        let later = !order.is_newest(tag) && order.is_believed() && may_be_ordered(tag);
        (later && !planted(Bug::NoTagOrder)).then_some(host)
    }

    /// Records that a write was answered with this result.
    pub fn record(
        &mut self,
        inbound: &Inbound,
        arrival: Arrival,
        fingerprint: &Fingerprint,
        result: Result<(), IoError>,
        now_ns: u64,
    ) -> Recorded {
        self.latest.add(arrival);
        let place = self.place(inbound.header.ether.src, true, now_ns);
        let at = place.unwrap_or(OTHERS);
        let tag = inbound.header.tag;
        // Not again what `find` has found, if nothing was recorded since.
        let reused = self.unused_tag.take() != Some((at, tag))
            && self.newest_with(at, tag, now_ns).is_some_and(|record| !record.is(fingerprint));
        if reused {
            self.tag_was_reused(at);
        }
        self.push(
            at,
            Record {
                sector: fingerprint.sector,
                hash: fingerprint.hash,
                answered_ns: now_ns,
                arrived_ns: arrival.latest_ns,
                newest_arrived_ns: arrival.latest_ns,
                tag,
                newest_tag: tag,
                bytes: fingerprint.bytes,
                back: 0,
                worker: arrival.worker,
                kind: fingerprint.kind,
                result,
            },
        );
        match place {
            None => Recorded::NoPlace,
            Some(_) if reused => Recorded::TagReused,
            Some(_) => Recorded::Kept,
        }
    }

    /// Remembers a write for as long again as if it had been answered now. A duplicate of it
    /// has been, and there may be duplicates of that one.
    pub fn renew(&mut self, inbound: &Inbound, now_ns: u64) {
        let Some(at) = self.find_source(inbound.header.ether.src) else { return };
        if let Some(record) = self.newest_with(at, inbound.header.tag, now_ns).copied() {
            self.push(at, Record { answered_ns: now_ns, newest_tag: record.tag, ..record });
        }
    }

    #[inline(always)]
    fn push(&mut self, at: usize, record: Record) {
        let Some(source) = self.sources.get_mut(at) else { return };
        let number = source.records;
        // The ring for addresses without an entry has no buckets.
        let head = self.heads.replace(at * WRITES_MAX + bucket(record.tag), |_| number + 1);
        let before = head.unwrap_or(0).checked_sub(1);
        let back = before.map_or(0, |before| (number - before).min(u32::MAX.into()) as u32);
        source.push(Record { back, ..record });
    }

    #[inline]
    fn find_source(&self, mac: Mac) -> Option<usize> {
        let last = self.last_source;
        if last < self.used && self.sources.get(last).is_some_and(|source| source.mac == mac) {
            return Some(last);
        }
        self.sources.iter().take(self.used).position(|source| source.mac == mac)
    }

    /// The entry of a source: its own, a free one, or that of a source not active within
    /// the horizon. A source that writes may also take the entry of one that has only
    /// read.
    fn place(&mut self, mac: Mac, writes: bool, now_ns: u64) -> Option<usize> {
        let at = match self.find_source(mac) {
            Some(at) => at,
            None => self.new_place(mac, writes, now_ns)?,
        };
        self.last_source = at;
        self.sources.get_mut(at)?.heard_ns = now_ns;
        Some(at)
    }

    #[cold]
    fn new_place(&mut self, mac: Mac, writes: bool, now_ns: u64) -> Option<usize> {
        self.reads_say_nothing = None;
        let at = if self.used < SOURCES_MAX {
            self.used += 1;
            self.used - 1
        } else {
            let silent = |source: &Source| now_ns.saturating_sub(source.heard_ns) > HORIZON_NS;
            let may_go = |source: &Source| silent(source) || writes && source.records == 0;
            let sources =
                self.sources.iter().take(SOURCES_MAX).enumerate().filter(|(_, source)| may_go(source));
            sources.min_by_key(|(_, source)| source.heard_ns)?.0
        };
        self.dissolve(at);
        for source in self.sources.iter_mut().filter(|source| source.follows.0 == at) {
            source.follows.1 = 0;
        }
        if let Some(newest) = self.sources.get(at)?.newest() {
            self.unremembered_ns = self.unremembered_ns.max(newest.newest_arrived_ns);
            self.heads.clear(at * WRITES_MAX, WRITES_MAX);
        }
        self.sources.get_mut(at)?.begin(mac, at);
        Some(at)
    }

    /// The newest record with this tag that a write may be a duplicate of.
    fn newest_with(&self, at: usize, tag: u32, now_ns: u64) -> Option<&Record> {
        let source = self.sources.get(at).filter(|source| source.unique_tags)?;
        let mut number = self.heads.get(at * WRITES_MAX + bucket(tag))?.checked_sub(1)?;
        for _ in 0..CHAIN_MAX {
            let record = source.record(number).filter(|_| number >= source.copies_from)?;
            if now_ns.saturating_sub(record.answered_ns) > HORIZON_NS {
                return None;
            }
            if record.tag == tag {
                return Some(record);
            }
            number = number.checked_sub(record.back.into()).filter(|_| record.back > 0)?;
        }
        None
    }

    fn tag_was_reused(&mut self, at: usize) {
        if let Some(source) = self.sources.get_mut(at) {
            source.unique_tags = false;
        }
    }

    /// All sources of one host.
    fn members(&mut self, host: usize) -> impl Iterator<Item = &mut Source> {
        self.sources.iter_mut().filter(move |source| source.host == host)
    }

    /// Makes each source of a host a separate host again, with no order relative to its
    /// earlier requests.
    fn dissolve(&mut self, host: usize) {
        for (at, source) in self.sources.iter_mut().enumerate().filter(|(_, source)| source.host == host) {
            if at != host {
                source.order = TagOrder::default();
            }
            source.host = at;
            source.follows = (at, 0);
            source.order_from = source.records;
        }
    }

    /// Handles a request that is the newest of its host, after one that was the newest of
    /// another host: the two may be addresses of one host.
    fn compare_hosts(&mut self, host: usize, tag: u32, now_ns: u64) {
        let last = std::mem::replace(&mut self.last_host, host);
        let Some(other) = self.sources.get(last).map(|other| other.order) else { return };
        let Some(source) = self.sources.get_mut(host) else { return };
        let times = if source.follows.0 == last { source.follows.1 } else { 0 };
        source.follows = match source.order.is_of_one_host(&other) {
            Some(true) => (last, times + 1),
            Some(false) => (last, 0),
            None => (last, times),
        };
        if source.follows.1 < SAME_HOST {
            return;
        }
        source.follows.1 = 0;
        self.joined = true;
        self.members(host).for_each(|source| source.host = last);
        self.last_host = last;
        if let Some(leader) = self.sources.get_mut(last) {
            leader.order.observe(tag, now_ns);
        }
    }
}

/// Fibonacci hashing: the upper bits depend on all bits of the tag.
fn bucket(tag: u32) -> usize {
    (tag.wrapping_mul(0x9E37_79B9) >> (u32::BITS - WRITES_MAX.ilog2())) as usize
}

#[cfg(test)]
mod tests;
