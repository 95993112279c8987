//! The requests in flight for one export. Each export has its own table, so that one with
//! a hanging disk does not use up the entries of others.

use std::collections::VecDeque;

use super::coalesced::Coalesced;
use super::fingerprint::Fingerprint;
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
    /// A table with room for `size` requests. Allocates all memory.
    pub fn new(size: u16) -> Self {
        Self {
            slab: Slab::new(size),
            overlap: Overlap::new(size),
            coalesced: Coalesced::new(size),
            ready: VecDeque::with_capacity(size.into()),
            stuck: false,
        }
    }

    /// Admits a request that accesses these sectors; `None` for one that conflicts with
    /// no other.
    ///
    /// # Errors
    ///
    /// The table is full.
    pub fn admit(&mut self, pending: Pending, span: Option<Span>) -> Result<Admitted, SlabFull> {
        let index = self.slab.admit(pending)?;
        let Some(span) = span else { return Ok(Admitted::Runs(index)) };
        match self.overlap.enter(index, span) {
            Ok(true) => Ok(Admitted::Runs(index)),
            Ok(false) => Ok(Admitted::Waits),
            // Cannot happen: `overlap` has as much room as the slab.
            Err(_) => self.slab.withdraw(index).map_or(Ok(Admitted::Waits), |pending| Err(SlabFull(pending))),
        }
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
        self.coalesced.push(leader, pending)
    }

    /// The next write coalesced with a leader that has completed.
    pub fn next_coalesced(&mut self, leader: u16) -> Option<Pending> {
        self.coalesced.pop(leader)
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

    /// Number of requests in flight.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    fn leave(&mut self, index: u16) {
        let ready = &mut self.ready;
        self.overlap.leave(index, |index| ready.push_back(index));
    }
}
