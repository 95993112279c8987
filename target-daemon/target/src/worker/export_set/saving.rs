//! Waiting for a state to be saved: see `worker/save.rs`.

use crossbeam_channel::Sender;

use super::super::messages::Finished;
use super::super::save::{SaveAck, SaveRequest, Waits};
use super::ExportSet;

impl ExportSet {
    /// From now on, sends changes made by initiators to this state writer.
    pub fn set_state_writer(&mut self, worker: u16, writer: Sender<SaveRequest>) {
        self.state_writer = Some((worker, writer));
    }

    /// The reply to a request that sets something. It has to wait if that is not on
    /// stable storage yet.
    pub(super) fn reply_when_saved(&mut self, index: u16, done: Finished) -> Option<Finished> {
        if self.state_writer.is_none() || done.reply_len.is_none() {
            return Some(done);
        }
        match self.wait_for_save(index, Waits::Reply(done))? {
            NotPending::Free(Waits::Reply(done)) => Some(done),
            NotPending::Dropped(Waits::Reply(done)) => Some(done.without_reply()),
            // The caller notices that its channel is closed.
            NotPending::Free(Waits::Asked(_)) | NotPending::Dropped(Waits::Asked(_)) => None,
        }
    }

    /// Clears a reservation or mask list; sends to `to` when the change is on stable
    /// storage. Returns a request that now gets no reply because too many are waiting.
    pub fn clear(&mut self, index: u16, what: Clear, to: Sender<()>) -> Option<Finished> {
        let runtime = self.runtimes.get_mut(usize::from(index))?.as_mut()?;
        match what {
            Clear::Reservation => {
                // An empty list always fits.
                let _ = runtime.export.state.set_reservation(std::iter::empty());
            }
            Clear::Mask => runtime.export.state.clear_mask(),
        }
        match self.wait_for_save(index, Waits::Asked(to))? {
            NotPending::Free(Waits::Asked(to)) => {
                let _ = to.try_send(());
                None
            }
            // The caller notices that its channel is closed.
            NotPending::Dropped(Waits::Asked(_)) => None,
            NotPending::Free(Waits::Reply(done)) | NotPending::Dropped(Waits::Reply(done)) => {
                Some(done.without_reply())
            }
        }
    }

    /// Makes `waits` wait. Returns a waiter that need not wait, or may not wait any
    /// longer.
    fn wait_for_save(&mut self, index: u16, waits: Waits) -> Option<NotPending> {
        let Some(Some(runtime)) = self.runtimes.get_mut(usize::from(index)) else {
            return Some(NotPending::Dropped(waits));
        };
        let revision = runtime.export.state.revision();
        if runtime.saved_revision >= revision {
            return Some(NotPending::Free(waits));
        }
        let Some((worker, writer)) = &self.state_writer else { return Some(NotPending::Free(waits)) };
        let save = SaveRequest {
            worker: *worker,
            export: index,
            number: runtime.number,
            revision,
            key: runtime.key.clone(),
            saved: crate::shelf::Saved::of(&runtime.export.state),
        };
        if writer.try_send(save).is_err() {
            // The host resends the request, which retries the save.
            return Some(NotPending::Dropped(waits));
        }
        runtime.pending_saves.add(revision, waits).map(NotPending::Dropped)
    }

    /// Handles a saved state: releases the replies that have waited for it.
    pub fn saved(&mut self, saved: SaveAck, done: &mut Vec<Finished>) {
        let Some(Some(runtime)) = self.runtimes.get_mut(usize::from(saved.export)) else { return };
        if runtime.number != saved.number {
            return;
        }
        runtime.saved_revision = runtime.saved_revision.max(saved.revision);
        while let Some(waits) = runtime.pending_saves.next(saved.revision) {
            match waits {
                Waits::Reply(reply) => done.push(reply),
                Waits::Asked(to) => {
                    let _ = to.try_send(());
                }
            }
        }
    }
}

/// A waiter that is not waiting any longer.
enum NotPending {
    /// What it waited for has already happened.
    Free(Waits),
    /// It gets no reply.
    Dropped(Waits),
}

/// What to clear.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clear {
    /// The reservation.
    Reservation,
    /// The mask list.
    Mask,
}
