//! What initiators set lasts: a reply that says that it was set is sent when it
//! is on stable storage.

use std::collections::VecDeque;

use crossbeam_channel::Sender;

use super::messages::Finished;
use crate::shelf::Saved;
use crate::wire::{Body, mask, query, reserve};

/// Replies that may wait for one export. The oldest makes room: its host has
/// sent the request again long ago.
const PENDING_MAX: usize = 64;

/// What a worker wants to have kept.
#[derive(Debug)]
pub struct SaveRequest {
    /// The worker.
    pub worker: u16,
    /// The export, in the worker's shelf.
    pub export: u16,
    /// The number of the export.
    pub number: u32,
    /// Which revision of its state this is.
    pub revision: u64,
    /// Where it belongs, as the control thread has named it.
    pub key: String,
    /// The state.
    pub saved: Saved,
}

/// What is on stable storage.
#[derive(Clone, Copy, Debug)]
pub struct SaveAck {
    /// The export, in the worker's shelf.
    pub export: u16,
    /// The number of the export.
    pub number: u32,
    /// All up to this revision.
    pub revision: u64,
}

/// Who waits for a revision to be on stable storage.
#[derive(Debug)]
pub(super) enum Waits {
    /// A reply.
    Reply(Finished),
    /// The control thread.
    Asked(Sender<()>),
}

/// What waits for one export.
#[derive(Debug, Default)]
pub(super) struct PendingSaves(VecDeque<(u64, Waits)>);

impl PendingSaves {
    /// Lets it wait for this revision. Returns the oldest, if there are too many.
    pub fn add(&mut self, revision: u64, waits: Waits) -> Option<Waits> {
        self.0.push_back((revision, waits));
        if self.0.len() > PENDING_MAX { self.0.pop_front().map(|(_, waits)| waits) } else { None }
    }

    /// The next that waits for no later revision than this.
    pub fn next(&mut self, revision: u64) -> Option<Waits> {
        let (wanted, _) = self.0.front()?;
        if *wanted <= revision { self.0.pop_front().map(|(_, waits)| waits) } else { None }
    }

    /// Any that waits.
    pub fn any(&mut self) -> Option<Waits> {
        self.0.pop_front().map(|(_, waits)| waits)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// Whether a request sets something that lasts.
pub(super) fn sets(body: &Body<'_>) -> bool {
    match body {
        Body::Query(request) => matches!(request, query::Request::Set(_) | query::Request::ForceSet(_)),
        Body::Mask(request) => matches!(request, mask::Request::Edit(_)),
        Body::Reserve(request) => {
            matches!(request, reserve::Request::Set(_) | reserve::Request::ForceSet(_))
        }
        Body::Ata { .. } | Body::Unknown(_) => false,
    }
}

#[cfg(test)]
#[allow(clippy::panic)]
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
