//! Writes of one export that have been answered: the memory behind two rules.
//!
//! **A late write is not executed.** A write may wait where the target cannot see it:
//! in the ring of a lane whose worker gets no time, in a NIC, in a switch. Meanwhile
//! its host sends it again over another path, has its answer, and writes something
//! newer to the same sectors. When the old one comes at last, it must not land on the
//! newer. So a write is dropped, for its host to send again, if an overlapping write
//! that its host sent later has been answered. Two things say what was sent later:
//!
//! - *The host's tags*, where they are in an order ([`TagOrder`]). All addresses of one
//!   host are judged as one: that they belong together shows in their tags, too.
//! - *The arrival*, between lanes of different workers: what has arrived before a write
//!   of the same host that was answered, was sent before it. For one worker's own lanes
//!   the passes over them keep the order (`round.rs`). It is taken from the XDP
//!   program's stamp, or from the pass in which the frame was found ([`Arrival`]).
//!
//! Where the records do not reach back far enough to tell, the write is dropped as well:
//! a resend costs time, and an old write data.
//!
//! **A copy is not executed again.** The network may deliver a frame twice. An exact
//! copy (the same source, tag, sectors and data) of a write that was answered within
//! the horizon is answered as that one was. This holds only for hosts that do not use a
//! tag again for another write within that time. One that does is seen doing it:
//! whichever write is remembered last for a tag is compared when the next one arrives,
//! and once more when that has been answered, for two may be under way together.
//!
//! IDENTIFY ends what is remembered of a host for copies and tags: a host that has
//! booted sends it before it writes, and may begin with the tags of its last boot. If
//! its tags are in an order and go on in it, it has not booted; nor if it has sent
//! something within a second, or the IDENTIFY is a copy (`identified.rs`).
//!
//! Bounded: [`SOURCES_MAX`] addresses an export, of each [`WRITES_MAX`] writes. An
//! address that has written, and was heard of within the horizon, keeps its place. The
//! writes of all that find none share one more ring, for the arrival only. Memory is
//! reserved with the export, and used as addresses write.
//!
//! ```text
//! heads  [tag's bucket] ──► newest ──► older ──► older than the ring reaches: the end
//! ring   [ … 4096 records, each with the distance to the one before it in its bucket … ]
//! ```

mod source;

use self::source::{Late, Record, Source};
use super::fingerprint::Fingerprint;
use super::messages::{Arrival, Inbound};
use super::tag_order::{Fit, HORIZON_NS, TagOrder, may_be_ordered};
use crate::plant::{Bug, planted};
use crate::store::IoError;
use crate::wire::ether::Mac;

/// Source addresses that are remembered of an export.
pub const SOURCES_MAX: usize = 16;

/// Writes that are remembered of each. A power of two.
pub const WRITES_MAX: usize = 4096;

/// Where the writes of addresses are that have no place.
const OTHERS: usize = SOURCES_MAX;

/// No host: no place has this index.
const NO_HOST: usize = usize::MAX;

/// Records of one bucket that are looked at. A host whose tags share a bucket on
/// purpose would slow down others.
const CHAIN_MAX: usize = 64;

/// Records that are looked at for one write: then nobody can tell. More would let one host
/// with many addresses slow down others.
const LOOKS_MAX: usize = 2 * WRITES_MAX;

/// How often two addresses have to be found to share a counter before they count as one
/// host.
const SAME_HOST: u8 = 4;

/// What is known of a write that has arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// Nothing: it is to be executed.
    New,
    /// It is a copy of one that was answered with this.
    Copy(Result<(), IoError>),
    /// Its tag was used for another write: it is to be executed, and copies of its
    /// source are not looked for any more.
    TagReused,
}

/// What a request is, as far as its tag is concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Observed {
    /// IDENTIFY.
    Identify,
    /// A read: there are many.
    Read,
    /// Anything else.
    Other,
}

/// What became of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recorded {
    /// It is there.
    Kept,
    /// As [`Found::TagReused`].
    TagReused,
    /// There is no place for its source: it is there for the arrival only.
    NoPlace,
}

/// What was answered to whom, of one export.
#[derive(Debug)]
pub struct AnsweredWrites {
    sources: Vec<Source>,
    /// How many of these are in use; the others have their memory only.
    used: usize,
    /// For each source and bucket: the number of the newest record, plus 1; 0 for none.
    heads: Vec<u64>,
    latest: LatestArrivals,
    /// When the last write arrived that is not remembered: of a source whose place was
    /// given away.
    unremembered_ns: u64,
    /// Whose request was the last that came in order; [`NO_HOST`] if its order has begun
    /// anew since.
    last_host: usize,
    /// The source that was looked for last.
    last_source: usize,
    /// An address of which is known whether its tags are in order. If they are, its reads
    /// say nothing more; if not, nothing does but IDENTIFY.
    settled: Option<Mac>,
    settled_in_order: bool,
    /// Any address was found to belong to the host of another.
    joined: bool,
}

/// When the last answered write arrived: the last of all, and the last that another
/// worker than that one received.
#[derive(Clone, Copy, Default, Debug)]
struct LatestArrivals {
    ns: u64,
    worker: u16,
    others_ns: u64,
}

impl LatestArrivals {
    fn add(&mut self, arrival: Arrival) {
        let ns = arrival.latest_ns;
        if arrival.worker == self.worker {
            self.ns = self.ns.max(ns);
        } else if ns > self.ns {
            *self = Self { ns, worker: arrival.worker, others_ns: self.ns };
        } else {
            self.others_ns = self.others_ns.max(ns);
        }
    }

    /// The last that another worker received.
    fn beside(&self, worker: u16) -> u64 {
        if worker == self.worker { self.others_ns } else { self.ns }
    }
}

impl AnsweredWrites {
    /// Remembers nothing yet. All memory is reserved here.
    pub fn new() -> Self {
        Self {
            sources: (0..=OTHERS).map(Source::unused).collect(),
            used: 0,
            heads: vec![0; SOURCES_MAX * WRITES_MAX],
            latest: LatestArrivals::default(),
            unremembered_ns: 0,
            last_host: NO_HOST,
            last_source: 0,
            settled: None,
            settled_in_order: false,
            joined: false,
        }
    }

    /// An ATA request has arrived: its tag says something, and IDENTIFY says more. Returns
    /// whether its host may have booted.
    #[inline]
    pub fn observe(&mut self, inbound: &Inbound, kind: Observed, now_ns: u64) -> bool {
        // Most requests where one host uses the export, so it costs next to nothing. Of
        // several addresses all has to be known to tell whether they are of one host.
        let alone = self.used == 1 || self.joined || !self.settled_in_order;
        let says_more = kind == Observed::Identify || kind == Observed::Other && self.settled_in_order;
        if alone && !says_more && self.settled == Some(inbound.header.ether.src) {
            return false;
        }
        self.observe_tag(inbound, kind, now_ns).unwrap_or(kind == Observed::Identify)
    }

    /// `None` if there is no place for its source.
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
            // What follows this tag follows nothing.
            self.last_host = NO_HOST;
        }
        match fit {
            _ if restarted => self.begin_anew(host),
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

    /// A host may have booted.
    fn begin_anew(&mut self, host: usize) {
        for source in self.members(host) {
            source.order.restart();
            source.unique_tags = true;
            source.copies_from = source.records;
            source.order_from = source.records;
        }
    }

    /// What is known of a write that has arrived.
    pub fn find(&mut self, inbound: &Inbound, fingerprint: &Fingerprint, now_ns: u64) -> Found {
        if planted(Bug::NoHistory) {
            return Found::New;
        }
        let Some(at) = self.find_source(inbound.header.ether.src) else { return Found::New };
        match self.newest_with(at, inbound.header.tag, now_ns) {
            None => Found::New,
            Some(record) if record.is(fingerprint) => Found::Copy(record.result),
            Some(_) => {
                self.tag_was_reused(at);
                Found::TagReused
            }
        }
    }

    /// Whether an overlapping write that was sent later has been answered, or may have
    /// been: then this one is not to be executed.
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

    /// As [`Self::is_overtaken`], for one that may be.
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

    /// The host of a request whose tag is in its order, if a request has come that it sent
    /// later. Of most there is none.
    #[inline]
    fn host_with_later(&self, inbound: &Inbound) -> Option<usize> {
        let (at, tag) = (self.find_source(inbound.header.ether.src)?, inbound.header.tag);
        let host = self.sources.get(at)?.host;
        let order = &self.sources.get(host)?.order;
        let later = !order.is_newest(tag) && order.is_believed() && may_be_ordered(tag);
        (later && !planted(Bug::NoTagOrder)).then_some(host)
    }

    /// A write was answered with this.
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
        let reused = self.newest_with(at, tag, now_ns).is_some_and(|record| !record.is(fingerprint));
        if reused {
            self.tag_was_reused(at);
        }
        let Some(source) = self.sources.get_mut(at) else { return Recorded::NoPlace };
        let number = source.records;
        // The others have no buckets.
        let head = self.heads.get_mut(at * WRITES_MAX + bucket(tag));
        let before = head.map_or(0, |head| std::mem::replace(head, number + 1));
        source.push(Record {
            sector: fingerprint.sector,
            hash: fingerprint.hash,
            answered_ns: now_ns,
            arrived_ns: arrival.latest_ns,
            newest_arrived_ns: arrival.latest_ns,
            tag,
            newest_tag: tag,
            bytes: fingerprint.bytes,
            back: before.checked_sub(1).map_or(0, |before| (number - before).min(u32::MAX.into()) as u32),
            worker: arrival.worker,
            kind: fingerprint.kind,
            result,
        });
        match place {
            None => Recorded::NoPlace,
            Some(_) if reused => Recorded::TagReused,
            Some(_) => Recorded::Kept,
        }
    }

    #[inline]
    fn find_source(&self, mac: Mac) -> Option<usize> {
        let last = self.last_source;
        if last < self.used && self.sources.get(last).is_some_and(|source| source.mac == mac) {
            return Some(last);
        }
        self.sources.iter().take(self.used).position(|source| source.mac == mac)
    }

    /// The place of a source: its own, a free one, or that of one that has not been heard
    /// of within the horizon. One that writes may also take that of one that has only read.
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
            self.heads.get_mut(at * WRITES_MAX..(at + 1) * WRITES_MAX)?.fill(0);
        }
        self.sources.get_mut(at)?.begin(mac, at);
        Some(at)
    }

    /// The newest record of a tag that a copy may be of.
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

    /// The sources of a host are hosts of their own again, in no order with before.
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

    /// A request of this host came in order, after one of another: the two may be
    /// addresses of one.
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
