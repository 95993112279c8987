//! Persistence of what initiators set: the reply to a set is sent once it is on stable
//! storage.

use std::collections::VecDeque;

use crossbeam_channel::Sender;

use super::messages::Finished;
use crate::shelf::Saved;

/// Maximum number of replies waiting per export. Beyond that the oldest is dropped: its
/// host has resent the request long ago.
const PENDING_MAX: usize = 64;

/// A state to be saved by the state writer.
#[derive(Debug)]
pub struct SaveRequest {
    /// The worker.
    pub worker: u16,
    /// The export, as an index at the worker.
    pub export: u16,
    /// The number of the export ([`ExportRuntime`](super::ExportRuntime)).
    pub number: u32,
    /// The revision of the state.
    pub revision: u64,
    /// Identifies the export to the state writer.
    pub key: String,
    /// The state.
    pub saved: Saved,
}

/// A state that is on stable storage.
#[derive(Clone, Copy, Debug)]
pub struct SaveAck {
    /// The export, as an index at the worker.
    pub export: u16,
    /// The number of the export.
    pub number: u32,
    /// Everything up to this revision is saved.
    pub revision: u64,
}

/// What waits for a revision to be saved.
#[derive(Debug)]
pub(super) enum Waits {
    /// A reply.
    Reply(Finished),
    /// The control thread.
    Asked(Sender<()>),
}

impl Waits {
    /// What it waits for is saved. Returns the reply, if it is one.
    pub fn saved(self) -> Option<Finished> {
        match self {
            Self::Reply(done) => Some(done),
            Self::Asked(to) => {
                let _ = to.try_send(());
                None
            }
        }
    }

    /// It may not wait any longer. Returns the request, which gets no reply.
    pub fn dropped(self) -> Option<Finished> {
        match self {
            Self::Reply(done) => Some(done.without_reply()),
            // The caller notices that its channel is closed.
            Self::Asked(_) => None,
        }
    }
}

/// What is waiting for the state of one export to be saved.
#[derive(Debug, Default)]
pub(super) struct PendingSaves(VecDeque<(u64, Waits)>);

impl PendingSaves {
    /// Adds a waiter for this revision. Returns the oldest waiter if there are too many.
    pub fn add(&mut self, revision: u64, waits: Waits) -> Option<Waits> {
        self.0.push_back((revision, waits));
        if self.0.len() > PENDING_MAX { self.0.pop_front().map(|(_, waits)| waits) } else { None }
    }

    /// Removes the next waiter whose revision is at most this.
    pub fn next(&mut self, revision: u64) -> Option<Waits> {
        let (wanted, _) = self.0.front()?;
        if *wanted <= revision { self.0.pop_front().map(|(_, waits)| waits) } else { None }
    }

    /// Removes any waiter.
    pub fn any(&mut self) -> Option<Waits> {
        self.0.pop_front().map(|(_, waits)| waits)
    }

    /// Number of waiters.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// What to clear.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clear {
    /// The reservation.
    Reservation,
    /// The mask list.
    Mask,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room() {
        let mut parked = PendingSaves::default();
        let (first, first_end) = crossbeam_channel::bounded(1);
        let (rest, rest_end) = crossbeam_channel::bounded(PENDING_MAX);
        assert!(parked.add(0, Waits::Asked(first)).is_none());
        for revision in 1..PENDING_MAX as u64 {
            assert!(parked.add(revision, Waits::Asked(rest.clone())).is_none(), "there is room");
        }
        let Some(Waits::Asked(oldest)) = parked.add(64, Waits::Asked(rest)) else { panic!("one too many") };
        assert!(oldest.try_send(()).is_ok() && first_end.try_recv().is_ok() && rest_end.is_empty());
        assert_eq!(parked.len(), PENDING_MAX);
    }
}
