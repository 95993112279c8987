//! The requests in flight for one export. Each export has its own table, so that one with
//! a hanging disk does not use up the entries of others.

use std::collections::VecDeque;

use super::coalesced::Coalesced;
use super::fingerprint::Fingerprint;
use super::hosts::Busy;
use super::inflight::{Pending, Slab, SlabFull};
use crate::plant::{Bug, planted};
use crate::ring::Umem;
use crate::store::{Op, Overlap, Span};

/// The requests of an export that its store is working on, and those that wait for other
/// requests which they overlap.
#[derive(Debug)]
pub struct RequestTable {
    slab: Slab,
    overlap: Overlap,
    coalesced: Coalesced,
    /// Requests that had to wait and may run now, in order of arrival.
    ready: VecDeque<u16>,
    stuck: bool,
    hosts: HostCounts,
    busy: Busy,
}

/// The number of requests of each host that has any.
#[derive(Debug)]
struct HostCounts(Vec<(u16, u16)>);

impl HostCounts {
    fn of(&self, host: u16) -> u16 {
        self.0.iter().find(|(other, _)| *other == host).map_or(0, |(_, count)| *count)
    }

    fn add(&mut self, host: u16) {
        match self.0.iter_mut().find(|(other, _)| *other == host) {
            Some((_, count)) => *count += 1,
            None => self.0.push((host, 1)),
        }
    }

    fn remove(&mut self, host: u16) {
        let Some(at) = self.0.iter().position(|(other, _)| *other == host) else { return };
        if let Some((_, count)) = self.0.get_mut(at) {
            *count -= 1;
            if *count == 0 {
                self.0.swap_remove(at);
            }
        }
    }
}

/// A store is stuck if it has not finished an operation for this long. That is longer
/// than a working disk needs for anything, including its own error recovery, but short
/// enough to be reported before the operator asks.
const STUCK_NS: u64 = 10_000_000_000;

/// A request that was admitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admitted {
    /// It may run at once.
    Runs(u16),
    /// It waits for earlier ones: [`RequestTable::next_ready`] returns it when it may
    /// run.
    Waits,
}

impl RequestTable {
    /// A table with room for `size` requests of one host, and for as many of others. Allocates
    /// all memory.
    pub fn new(size: u16) -> Self {
        let size = size.saturating_mul(2).min(u16::MAX - 1);
        Self {
            slab: Slab::new(size),
            overlap: Overlap::new(size),
            coalesced: Coalesced::new(size),
            ready: VecDeque::with_capacity(size.into()),
            stuck: false,
            hosts: HostCounts(Vec::with_capacity(size.into())),
            busy: Busy::new(0),
        }
    }

    /// Counts what is in the table here as well.
    pub fn count_in(&mut self, busy: Busy) {
        self.busy = busy;
    }

    /// Admits a request that accesses these sectors; `None` for one that conflicts with
    /// no other.
    ///
    /// # Errors
    ///
    /// Its host has as many requests here as there is room left for those of others.
    pub fn admit(&mut self, pending: Pending, span: Option<Span>) -> Result<Admitted, SlabFull> {
        let host = pending.inbound.host;
        if usize::from(self.hosts.of(host)) >= self.slab.room() {
            return Err(SlabFull(pending));
        }
        self.note_added(&pending);
        let index = match self.slab.admit(pending) {
            Ok(index) => index,
            // Cannot happen: there is room.
            Err(SlabFull(pending)) => {
                self.note_removed(&pending);
                return Err(SlabFull(pending));
            }
        };
        let Some(span) = span else { return Ok(Admitted::Runs(index)) };
        match self.overlap.enter(index, span) {
            Ok(true) => Ok(Admitted::Runs(index)),
            Ok(false) => Ok(Admitted::Waits),
            // Cannot happen: `overlap` has as much room as the slab.
            Err(_) => match self.slab.withdraw(index) {
                Some(pending) => {
                    self.note_removed(&pending);
                    Err(SlabFull(pending))
                }
                None => Ok(Admitted::Waits),
            },
        }
    }

    fn note_added(&mut self, pending: &Pending) {
        self.hosts.add(pending.inbound.host);
        self.busy.add_own(&pending.inbound);
    }

    fn note_removed(&mut self, pending: &Pending) {
        self.hosts.remove(pending.inbound.host);
        self.busy.remove_own(&pending.inbound);
    }

    /// Whether a request that needs these sectors can run without waiting.
    #[inline]
    pub fn is_clear(&self, span: Span) -> bool {
        self.overlap.is_clear(span)
    }

    /// An identical write that has not completed.
    pub fn duplicate_in_flight(&self, fingerprint: &Fingerprint, span: Span) -> Option<u16> {
        let equal = |index: &u16| {
            self.slab.get(*index).is_some_and(|pending| pending.task.fingerprint == *fingerprint)
        };
        self.overlap.with_span(span).find(equal).filter(|_| !planted(Bug::NoFolding))
    }

    /// Adds a write that is not executed. It gets the same answer as its leader, the
    /// identical write in flight. Returns the oldest coalesced write if there are too
    /// many.
    ///
    /// This is correct regardless of what arrived between the two. The leader has not
    /// been acknowledged yet, and nothing that overlaps it runs before it completes. So
    /// the outcome is as if leader and duplicate were executed one directly after the
    /// other when the leader completes: by then the duplicate has arrived, and has not
    /// been answered. An overlapping request that arrived between them is executed after
    /// both. That is allowed: it has not been answered either, so its host cannot rely on
    /// any order.
    pub fn coalesce(&mut self, leader: u16, pending: Pending) -> Option<Pending> {
        self.busy.add_own(&pending.inbound);
        let displaced = self.coalesced.push(leader, pending)?;
        self.busy.remove_own(&displaced.inbound);
        Some(displaced)
    }

    /// The next write coalesced with a leader that has completed.
    pub fn next_coalesced(&mut self, leader: u16) -> Option<Pending> {
        let pending = self.coalesced.pop(leader)?;
        self.busy.remove_own(&pending.inbound);
        Some(pending)
    }

    /// The request with this index.
    pub fn get(&self, index: u16) -> Option<&Pending> {
        self.slab.get(index)
    }

    /// The operation of a request that may run.
    pub fn begin(&mut self, index: u16, umem: &Umem, now_ns: u64) -> Option<Op> {
        self.slab.begin(index, umem, now_ns)
    }

    /// Removes a request whose operation has completed. `None` if the store has no
    /// operation with this token.
    pub fn complete(&mut self, token: u32) -> Option<Pending> {
        let pending = self.slab.complete(token)?;
        self.note_removed(&pending);
        self.leave(token as u16);
        Some(pending)
    }

    /// Removes a request that the store did not accept. `op` is the operation that the
    /// store handed back; `None` if there was none.
    pub fn give_up(&mut self, index: u16, op: Option<Op>) -> Option<Pending> {
        let pending = match op {
            Some(op) => self.slab.refuse(op),
            None => self.slab.withdraw(index),
        };
        if let Some(pending) = &pending {
            self.note_removed(pending);
        }
        self.leave(index);
        pending
    }

    /// The next request that had to wait and may run now.
    pub fn next_ready(&mut self) -> Option<u16> {
        self.ready.pop_front()
    }

    /// Checks whether the store is stuck. Returns the number of operations that are newly
    /// overdue, and whether the store is stuck, if that has changed.
    ///
    /// Overdue operations are not answered: the store may still execute them, or may have
    /// done so.
    pub fn look(&mut self, now_ns: u64) -> (u64, Option<bool>) {
        if self.len() == 0 && !self.stuck {
            return (0, None);
        }
        let (new, stuck) = self.slab.find_overdue(now_ns, STUCK_NS);
        let before = std::mem::replace(&mut self.stuck, stuck);
        (new, (stuck != before).then_some(stuck))
    }

    /// Maximum number of requests.
    pub fn size(&self) -> usize {
        self.slab.size()
    }

    /// Number of requests in flight.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    fn leave(&mut self, index: u16) {
        let ready = &mut self.ready;
        self.overlap.leave(index, |index| ready.push_back(index));
    }
}
