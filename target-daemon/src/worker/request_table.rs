//! What is under way for one export. Each export has a book of its own, so that
//! one whose disk hangs uses up nobody else's places.

use std::collections::VecDeque;

use super::coalesced::Coalesced;
use super::fingerprint::Fingerprint;
use super::inflight::{Pending, Slab, SlabFull};
use crate::plant::{Bug, planted};
use crate::ring::Umem;
use crate::store::{Op, Overlap, Span};

/// The requests of an export that its store is working on, and those that wait
/// for others which they overlap.
#[derive(Debug)]
pub struct RequestTable {
    slab: Slab,
    overlap: Overlap,
    /// By the index of their leader in the slab.
    coalesced: Vec<Coalesced>,
    /// Those that waited and may run now, in the order of their arrival.
    ready: VecDeque<u16>,
    stuck: bool,
}

/// A store that has not finished an operation for this long is stuck. Longer
/// than a disk that works takes for anything, error recovery of its own
/// included; shorter than an operator takes to ask.
const STUCK_NS: u64 = 10_000_000_000;

/// A request that was taken in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admitted {
    /// It may run at once.
    Runs(u16),
    /// It waits for earlier ones: [`Book::next_ready`] tells when it may run.
    Waits,
}

impl RequestTable {
    /// A book with room for `size` requests. All memory is taken here.
    pub fn new(size: u16) -> Self {
        Self {
            slab: Slab::new(size),
            overlap: Overlap::new(size),
            coalesced: (0..size).map(|_| Coalesced::default()).collect(),
            ready: VecDeque::with_capacity(size.into()),
            stuck: false,
        }
    }

    /// Takes a request in that needs these sectors for itself.
    ///
    /// # Errors
    ///
    /// There is no room for it.
    pub fn admit(&mut self, pending: Pending, span: Option<Span>) -> Result<Admitted, SlabFull> {
        let index = self.slab.admit(pending)?;
        let Some(span) = span else { return Ok(Admitted::Runs(index)) };
        match self.overlap.enter(index, span) {
            Ok(true) => Ok(Admitted::Runs(index)),
            Ok(false) => Ok(Admitted::Waits),
            // Cannot be: it has as much room as the slab.
            Err(_) => self.slab.withdraw(index).map_or(Ok(Admitted::Waits), |pending| Err(SlabFull(pending))),
        }
    }

    /// Whether a request that needs these sectors has to wait for nobody.
    pub fn is_clear(&self, span: Span) -> bool {
        self.overlap.is_clear(span)
    }

    /// A write that does just the same, and has not ended.
    pub fn duplicate_in_flight(&self, fingerprint: &Fingerprint, span: Span) -> Option<u16> {
        let equal =
            |index: &u16| self.slab.get(*index).is_some_and(|pending| pending.fingerprint == *fingerprint);
        self.overlap.with_span(span).find(equal).filter(|_| !planted(Bug::NoFolding))
    }

    /// Takes a write in that is not executed: it is answered as its twin, the
    /// leader, is. Returns the oldest follower if there are too many.
    ///
    /// That is right whatever else has arrived between the two. Nobody has been
    /// told yet that the leader is done, and nothing that overlaps it runs
    /// before it has ended. So it is as if leader and follower had been done
    /// one directly after the other in the moment in which the leader ends: the
    /// follower has arrived by then, and has not been answered. What arrived in
    /// between and overlaps comes after both, and may: it has not been answered
    /// either, so its host cannot know of any order.
    pub fn coalesce(&mut self, leader: u16, pending: Pending) -> Option<Pending> {
        match self.coalesced.get_mut(usize::from(leader)) {
            Some(followers) => followers.push(pending),
            None => Some(pending),
        }
    }

    /// The next follower of a leader that has ended.
    pub fn next_coalesced(&mut self, leader: u16) -> Option<Pending> {
        self.coalesced.get_mut(usize::from(leader))?.pop()
    }

    /// The request with this index.
    pub fn get(&self, index: u16) -> Option<&Pending> {
        self.slab.get(index)
    }

    /// The operation of a request that may run.
    pub fn begin(&mut self, index: u16, umem: &Umem, now_ns: u64) -> Option<Op> {
        self.slab.begin(index, umem, now_ns)
    }

    /// A request whose operation has ended. `None` for a token whose operation
    /// the store does not have.
    pub fn complete(&mut self, token: u32) -> Option<Pending> {
        let pending = self.slab.complete(token)?;
        self.leave(token as u16);
        Some(pending)
    }

    /// A request that the store did not take: it gave the operation back, or
    /// there was none to give.
    pub fn give_up(&mut self, index: u16, op: Option<Op>) -> Option<Pending> {
        let pending = match op {
            Some(op) => self.slab.refuse(op),
            None => self.slab.withdraw(index),
        };
        self.leave(index);
        pending
    }

    /// The next of those that have waited and may run now.
    pub fn next_ready(&mut self) -> Option<u16> {
        self.ready.pop_front()
    }

    /// Looks whether the store is stuck. Returns how many operations are newly
    /// found to be, and whether that is a change for the export.
    ///
    /// Nothing is answered for them: the store may still do what it was asked,
    /// or have done it.
    pub fn look(&mut self, now_ns: u64) -> (u64, Option<bool>) {
        if self.len() == 0 && !self.stuck {
            return (0, None);
        }
        let (new, stuck) = self.slab.find_overdue(now_ns, STUCK_NS);
        let before = std::mem::replace(&mut self.stuck, stuck);
        (new, (stuck != before).then_some(stuck))
    }

    /// Requests that are under way.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    fn leave(&mut self, index: u16) {
        let ready = &mut self.ready;
        self.overlap.leave(index, |index| ready.push_back(index));
    }
}
