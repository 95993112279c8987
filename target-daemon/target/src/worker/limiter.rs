//! Rate limits: requests that wait until the limits of their export and of their host let
//! them run.
//!
//! A request waits before it enters the request table, as if it were still on its way: it
//! conflicts with no other, and everything about it is checked again when it runs. Requests of
//! one host stay in order, so that what it sent before it booted is never executed after what
//! it sent since. Hosts that wait for the limit of an export take turns (`held.rs`). In the limit
//! of a host over several exports, which may be those of several workers, each request gets its
//! time when it arrives.
//!
//! A request that cannot run within [`WAIT_MAX_NS`] is dropped: by then another host may have
//! taken over from its own, and would find an old write after its own. The target advertises a
//! window that the limit lets through in much less time (`shelf/rate.rs`), so this happens only
//! with many hosts, or with hosts that ignore the window.

use super::held::{HeldRequests, Queued, cost};
use super::hosts::Busy;
use super::messages::Inbound;
use crate::shelf::{Meter, Rates};
use crate::wire::ether::Mac;

/// No host boots, or is replaced, within this time after its last request.
const WAIT_MAX_NS: u64 = super::tag_order::BOOT_MIN_NS;

/// No host resends a request that was received this short time ago.
const RESEND_MIN_NS: u64 = 50_000_000;

/// The limits of an export, and the requests that wait for them.
#[derive(Debug)]
pub(super) struct Limiter {
    rates: Rates,
    export: Meter,
    /// Of each host at this export, by its number.
    hosts: Vec<Meter>,
    waiting: HeldRequests<Waiting>,
    busy: Busy,
    /// No request may run before.
    ready_ns: u64,
    /// Changes with the limits of certain hosts.
    generation: u32,
    /// Requests do not wait any more.
    is_lifted: bool,
    /// It is on the list of those with requests that wait.
    pub is_listed: bool,
}

/// A request that waits.
#[derive(Debug)]
struct Waiting {
    inbound: Inbound,
    /// When the limits of its host over several exports let it run, if they are still those of
    /// this generation.
    ready_ns: u64,
    generation: u32,
}

impl Queued for Waiting {
    fn host(&self) -> u16 {
        self.inbound.host
    }

    fn room(&self) -> u32 {
        1
    }

    fn cost(&self) -> u32 {
        cost(self.inbound.ata.as_ref())
    }
}

/// What becomes of a request that has arrived.
#[derive(Debug)]
pub(super) enum Admitted {
    /// It runs now.
    Runs(Inbound),
    /// It waits.
    Waits,
    /// It waits, in place of this one, which its host has resent with it.
    Replaces(Inbound),
    /// It does not wait: too many of its host do, or it would for too long.
    OverShare(Inbound),
}

impl Limiter {
    /// With these limits, and room for this number of requests. Counts their chunks in `busy`.
    /// Allocates all memory.
    pub fn new(rates: Rates, requests: usize, busy: Busy) -> Self {
        let hosts = busy.hosts();
        Self {
            rates,
            export: Meter::default(),
            hosts: (0..hosts).map(|_| Meter::default()).collect(),
            waiting: HeldRequests::new(requests as u32, hosts),
            busy,
            ready_ns: u64::MAX,
            generation: 0,
            is_lifted: false,
            is_listed: false,
        }
    }

    /// Number of requests that wait.
    pub fn len(&self) -> usize {
        self.waiting.used() as usize
    }

    /// Whether no request waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// No request may run before this time.
    pub fn ready_ns(&self) -> u64 {
        self.ready_ns
    }

    /// Changes the limits. Those that are new begin with their bursts.
    pub fn change(&mut self, rates: &Rates) {
        if self.rates.export != rates.export {
            self.export = Meter::default();
        }
        if self.rates.each_host != rates.each_host {
            self.hosts.fill_with(Meter::default);
        }
        if !self.rates.has_same_hosts(rates) {
            self.generation = self.generation.wrapping_add(1);
        }
        self.rates = rates.clone();
        (self.is_lifted, self.ready_ns) = (rates.is_unlimited(), 0);
    }

    /// Lets everything run that waits, and whatever comes.
    pub fn lift(&mut self) {
        (self.is_lifted, self.ready_ns) = (true, 0);
    }

    /// Decides whether a request that has arrived, with this much data, has to wait: for its
    /// limits, or for others that wait for them.
    pub fn admit(&mut self, mut inbound: Inbound, bytes: u32, now_ns: u64) -> Admitted {
        if self.is_lifted {
            return Admitted::Runs(inbound);
        }
        let src = inbound.header.ether.src;
        let over = self.rates.of_host(src).map(|(rate, meter)| meter.ready_ns(rate));
        let over_ns = over.max().unwrap_or(0);
        let ready_ns = over_ns.max(self.ready_ns_of(inbound.host));
        // Of those that wait, some may run as well.
        let others = self.ready_ns <= now_ns && !self.rates.export.is_unlimited();
        if !others && self.waiting.of(inbound.host) == 0 && ready_ns <= now_ns {
            self.reserve(src, bytes, now_ns);
            self.count(inbound.host, bytes, now_ns);
            return Admitted::Runs(inbound);
        }
        // Others that arrived later may run before it.
        inbound.held = true;
        let is_old = |other: &Waiting| now_ns.saturating_sub(other.inbound.received_ns) >= RESEND_MIN_NS;
        let key = |request: &Inbound| (request.ata, request.header.ether.src, request.header.ether.tags);
        let is_resent = |other: &Waiting| is_old(other) && key(&other.inbound) == key(&inbound);
        if bytes > 0
            && self.waiting.first(inbound.host).is_some_and(is_old)
            && let Some(other) = self.waiting.find_mut(inbound.host, is_resent)
        {
            self.busy.add_own(&inbound);
            let other = std::mem::replace(&mut other.inbound, inbound);
            self.busy.remove_own(&other);
            return Admitted::Replaces(other);
        }
        // What it would take up of a limit is lost to the host if its time comes too late.
        if over_ns > now_ns + WAIT_MAX_NS || self.waiting.room_for(inbound.host) == 0 {
            return Admitted::OverShare(inbound);
        }
        self.busy.add_own(&inbound);
        let over_ns = self.reserve(src, bytes, now_ns);
        self.ready_ns = self.ready_ns.min(ready_ns).min(inbound.received_ns + WAIT_MAX_NS);
        match self.waiting.push(Waiting { inbound, ready_ns: over_ns, generation: self.generation }) {
            Ok(()) => Admitted::Waits,
            // Cannot happen: there is room.
            Err(Waiting { inbound, .. }) => {
                self.busy.remove_own(&inbound);
                Admitted::OverShare(inbound)
            }
        }
    }

    /// The next request that may run, or that has waited for too long.
    pub fn next(&mut self, now_ns: u64) -> Option<Result<Inbound, Inbound>> {
        if now_ns < self.ready_ns {
            return None;
        }
        let Self { rates, hosts, waiting, is_lifted, generation, .. } = self;
        let export_ns = self.export.ready_ns(&rates.export);
        let late_ns = |one: &Waiting| one.inbound.received_ns + WAIT_MAX_NS;
        // When it may run, or is dropped.
        let ready_ns = |one: &Waiting| {
            let over_ns = if one.generation == *generation { one.ready_ns } else { 0 };
            let here_ns = ready_ns(rates, hosts, one.inbound.host);
            over_ns.max(here_ns).max(export_ns).min(late_ns(one))
        };
        let Some(one) = waiting.pop(|one| *is_lifted || ready_ns(one) <= now_ns) else {
            self.ready_ns = waiting.firsts().map(ready_ns).min().unwrap_or(u64::MAX);
            return None;
        };
        self.busy.remove_own(&one.inbound);
        Some(if late_ns(&one) <= now_ns { Err(one.inbound) } else { Ok(one.inbound) })
    }

    /// Counts a request that runs, in the limits of this export.
    pub fn count(&self, host: u16, bytes: u32, now_ns: u64) {
        self.export.count(&self.rates.export, bytes, now_ns);
        if let Some(meter) = self.hosts.get(usize::from(host)) {
            meter.count(&self.rates.each_host, bytes, now_ns);
        }
    }

    /// Counts a request in the limits of its host over several exports. Returns when they let
    /// it run.
    fn reserve(&self, mac: Mac, bytes: u32, now_ns: u64) -> u64 {
        let times = self.rates.of_host(mac).map(|(rate, meter)| meter.count(rate, bytes, now_ns));
        times.max().unwrap_or(0)
    }

    /// When the limits of this export let a request of this host run.
    fn ready_ns_of(&self, host: u16) -> u64 {
        ready_ns(&self.rates, &self.hosts, host).max(self.export.ready_ns(&self.rates.export))
    }
}

/// When the limit of a host at this export lets its next request run.
fn ready_ns(rates: &Rates, hosts: &[Meter], host: u16) -> u64 {
    hosts.get(usize::from(host)).map_or(0, |meter| meter.ready_ns(&rates.each_host))
}
