//! Waiting for the state of an export to be saved: see `worker/save.rs`.

use crossbeam_channel::Sender;

use super::execute::Context;
use super::export_runtime::ExportRuntime;
use super::messages::Finished;
use super::save::{Clear, SaveAck, SaveRequest, Waits};

impl ExportRuntime {
    /// The reply to a request that sets something. It has to wait if that is not on
    /// stable storage yet.
    pub(super) fn reply_when_saved(
        &mut self,
        index: u16,
        done: Finished,
        context: &Context<'_>,
    ) -> Option<Finished> {
        self.wait_for_save(index, Waits::Reply(done), context)
    }

    /// Clears a reservation or mask list; sends to `to` when the change is on stable
    /// storage. Returns a request that now gets no reply because too many are waiting.
    pub(super) fn clear(
        &mut self,
        index: u16,
        what: Clear,
        to: Sender<()>,
        context: &Context<'_>,
    ) -> Option<Finished> {
        match what {
            Clear::Reservation => {
                // An empty list always fits.
                let _ = self.export.state.set_reservation(std::iter::empty());
            }
            Clear::Mask => self.export.state.clear_mask(),
        }
        self.wait_for_save(index, Waits::Asked(to), context)
    }

    /// Makes `waits` wait, unless what it waits for is saved already. Returns a request that
    /// need not wait, or may not wait any longer and gets no reply.
    fn wait_for_save(&mut self, index: u16, waits: Waits, context: &Context<'_>) -> Option<Finished> {
        let revision = self.export.state.revision();
        if self.saved_revision >= revision {
            return waits.saved();
        }
        let Some((worker, writer)) = &context.state_writer else { return waits.saved() };
        let save = SaveRequest {
            worker: *worker,
            export: index,
            number: self.number,
            revision,
            key: self.key.clone(),
            saved: crate::shelf::Saved::of(&self.export.state),
        };
        if writer.try_send(save).is_err() {
            // The host resends the request, which retries the save.
            return waits.dropped();
        }
        self.pending_saves.add(revision, waits).and_then(Waits::dropped)
    }

    /// Handles a saved state: releases the replies that have waited for it.
    pub(super) fn saved(&mut self, saved: SaveAck, done: &mut Vec<Finished>) {
        if self.number != saved.number {
            return;
        }
        self.saved_revision = self.saved_revision.max(saved.revision);
        while let Some(waits) = self.pending_saves.next(saved.revision) {
            done.extend(waits.saved());
        }
    }
}
