//! State that lasts: see `worker/keep.rs`.

use crossbeam_channel::Sender;

use super::super::messages::Finished;
use super::super::save::{SaveAck, SaveRequest, Waits};
use super::ExportSet;

impl ExportSet {
    /// What initiators set goes to this keeper from now on.
    pub fn set_state_writer(&mut self, worker: u16, writer: Sender<SaveRequest>) {
        self.state_writer = Some((worker, writer));
    }

    /// The reply to a request that sets something: it waits if that is not on
    /// stable storage yet.
    pub(super) fn reply_when_saved(&mut self, index: u16, done: Finished) -> Option<Finished> {
        match self.wait_for_save(index, Waits::Reply(done))? {
            NotPending::Free(Waits::Reply(done)) => Some(done),
            NotPending::Dropped(Waits::Reply(done)) => Some(done.without_reply()),
            // Whoever asked sees that nobody answers.
            NotPending::Free(Waits::Asked(_)) | NotPending::Dropped(Waits::Asked(_)) => None,
        }
    }

    /// Takes a reservation or a mask list away, and tells when that is on stable
    /// storage. Returns a request that now gets no answer, because too many wait.
    pub fn clear(&mut self, index: u16, what: Clear, to: Sender<()>) -> Option<Finished> {
        let runtime = self.runtimes.get_mut(usize::from(index))?.as_mut()?;
        match what {
            Clear::Reservation => {
                // An empty list fits.
                let _ = runtime.export.state.set_reservation(std::iter::empty());
            }
            Clear::Mask => runtime.export.state.clear_mask(),
        }
        match self.wait_for_save(index, Waits::Asked(to))? {
            NotPending::Free(Waits::Asked(to)) => {
                let _ = to.try_send(());
                None
            }
            // Whoever asked sees that nobody answers.
            NotPending::Dropped(Waits::Asked(_)) => None,
            NotPending::Free(Waits::Reply(done)) | NotPending::Dropped(Waits::Reply(done)) => {
                Some(done.without_reply())
            }
        }
    }

    /// Returns who need not wait, or may not any more.
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
            // The host sends it again, which is another try.
            return Some(NotPending::Dropped(waits));
        }
        runtime.pending_saves.add(revision, waits).map(NotPending::Dropped)
    }

    /// So much of a state is on stable storage: replies that have waited for it.
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

/// Who need not be parked.
enum NotPending {
    /// What it waits for is there already.
    Free(Waits),
    /// It gets no answer.
    Dropped(Waits),
}

/// What to take away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clear {
    /// The reservation.
    Reservation,
    /// The mask list.
    Mask,
}
