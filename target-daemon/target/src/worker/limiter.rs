//! Rate limits: requests that wait until the limits of their export and of their host let
//! them run.
//!
//! A request waits before it enters the request table, as if it were still on its way: it
//! conflicts with no other, and everything about it is checked again when it runs. Requests of
//! one host stay in order, so that what it sent before it booted is never executed after what
//! it sent since. Hosts that wait for the same limit take turns (`held.rs`).
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
    waiting: HeldRequests<Inbound>,
    /// Number of requests that wait.
    len: usize,
    busy: Busy,
    /// No request may run before.
    ready_ns: u64,
    /// Requests do not wait any more.
    is_lifted: bool,
    /// It is on the list of those with requests that wait.
    pub is_listed: bool,
}

impl Queued for Inbound {
    fn host(&self) -> u16 {
        self.host
    }

    fn room(&self) -> u32 {
        1
    }

    fn cost(&self) -> u32 {
        cost(self.ata.as_ref())
    }
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
            len: 0,
            busy,
            ready_ns: u64::MAX,
            is_lifted: false,
            is_listed: false,
        }
    }

    /// Number of requests that wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// No request may run before this time.
    pub fn ready_ns(&self) -> u64 {
        self.ready_ns
    }

    /// Changes the limits. The new ones begin with their bursts.
    pub fn change(&mut self, rates: &Rates) {
        if self.rates != *rates {
            self.rates = rates.clone();
            self.export = Meter::default();
            self.hosts.fill_with(Meter::default);
            (self.is_lifted, self.ready_ns) = (rates.is_unlimited(), 0);
        }
    }

    /// Lets everything run that waits, and whatever comes.
    pub fn lift(&mut self) {
        (self.is_lifted, self.ready_ns) = (true, 0);
    }

    /// Whether a request that has just arrived has to wait: for its limits, or for others that
    /// wait for them.
    pub fn must_wait(&self, inbound: &Inbound, now_ns: u64) -> bool {
        let others = self.len > 0 && !self.rates.export.is_unlimited() || self.waiting.of(inbound.host) > 0;
        !self.is_lifted && (others || self.ready_ns_of(inbound).max(self.export_ready_ns()) > now_ns)
    }

    /// Makes a request wait. Returns one that is dropped instead, if any: this one, if its host
    /// has used up its share, or the one that its host has resent with this.
    pub fn wait(&mut self, mut inbound: Inbound, now_ns: u64) -> Option<Dropped> {
        // Others that arrived later may run before it.
        inbound.held = true;
        if self.waiting.room_for(inbound.host) == 0 {
            // Before the search, which takes as long as much waits.
            return Some(Dropped::OverShare(inbound));
        }
        let is_old = |other: &Inbound| now_ns.saturating_sub(other.received_ns) >= RESEND_MIN_NS;
        let key = |request: &Inbound| (request.ata, request.header.ether.src);
        let is_resent = |other: &Inbound| is_old(other) && key(other) == key(&inbound);
        if self.waiting.first(inbound.host).is_some_and(is_old)
            && let Some(other) = self.waiting.find_mut(inbound.host, is_resent)
        {
            note_waiting(&self.busy, &inbound);
            let other = std::mem::replace(other, inbound);
            note_ended(&self.busy, &other);
            return Some(Dropped::Resent(other));
        }
        let ready_ns = self.ready_ns_of(&inbound).max(self.export_ready_ns());
        note_waiting(&self.busy, &inbound);
        if let Err(inbound) = self.waiting.push(inbound) {
            // Cannot happen: there is room.
            note_ended(&self.busy, &inbound);
            return Some(Dropped::OverShare(inbound));
        }
        self.len += 1;
        self.ready_ns = self.ready_ns.min(ready_ns);
        None
    }

    /// The next request that may run, or that has waited for too long.
    pub fn next(&mut self, now_ns: u64) -> Option<Result<Inbound, Inbound>> {
        if now_ns < self.ready_ns {
            return None;
        }
        let Self { rates, hosts, waiting, is_lifted, .. } = self;
        let is_late = |inbound: &Inbound| now_ns.saturating_sub(inbound.received_ns) > WAIT_MAX_NS;
        let export_is_ready = *is_lifted || self.export.ready_ns(&rates.export) <= now_ns;
        let may_run = |inbound: &Inbound| {
            *is_lifted
                || is_late(inbound)
                || export_is_ready && ready_ns(rates, hosts, inbound.host, inbound.header.ether.src) <= now_ns
        };
        match waiting.pop(may_run) {
            Some(inbound) => {
                self.len -= 1;
                note_ended(&self.busy, &inbound);
                Some(if is_late(&inbound) && !self.is_lifted { Err(inbound) } else { Ok(inbound) })
            }
            None => {
                let hosts = waiting.firsts().map(|inbound| {
                    let late_ns = inbound.received_ns + WAIT_MAX_NS + 1;
                    let src = inbound.header.ether.src;
                    let ready_ns = ready_ns(rates, hosts, inbound.host, src);
                    ready_ns.max(self.export.ready_ns(&rates.export)).min(late_ns)
                });
                self.ready_ns = hosts.min().unwrap_or(u64::MAX);
                None
            }
        }
    }

    /// Counts a request that runs.
    pub fn count(&self, inbound: &Inbound, bytes: u32, now_ns: u64) {
        let Rates { export, each_host, .. } = &self.rates;
        self.export.count(export, bytes, now_ns);
        if let Some(host) = self.hosts.get(usize::from(inbound.host)) {
            host.count(each_host, bytes, now_ns);
        }
        self.rates
            .of_host(inbound.header.ether.src)
            .for_each(|(rate, meter)| meter.count(rate, bytes, now_ns));
    }

    fn export_ready_ns(&self) -> u64 {
        self.export.ready_ns(&self.rates.export)
    }

    fn ready_ns_of(&self, inbound: &Inbound) -> u64 {
        ready_ns(&self.rates, &self.hosts, inbound.host, inbound.header.ether.src)
    }
}

/// Only of this worker's memory, as in the request table.
fn note_waiting(busy: &Busy, inbound: &Inbound) {
    if !inbound.from_afar {
        busy.add(inbound.host, &inbound.frame);
    }
}

fn note_ended(busy: &Busy, inbound: &Inbound) {
    if !inbound.from_afar {
        busy.remove(inbound.host, &inbound.frame);
    }
}

/// When the limits of a host let its next request run.
fn ready_ns(rates: &Rates, hosts: &[Meter], host: u16, mac: Mac) -> u64 {
    let here = hosts.get(usize::from(host)).map_or(0, |meter| meter.ready_ns(&rates.each_host));
    rates.of_host(mac).map(|(rate, meter)| meter.ready_ns(rate)).fold(here, u64::max)
}

/// A request that does not wait any longer.
#[derive(Debug)]
pub(super) enum Dropped {
    /// Its host has resent it.
    Resent(Inbound),
    /// Too many of its host wait.
    OverShare(Inbound),
}
