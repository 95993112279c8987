//! State that lasts: see `worker/keep.rs`.

use crossbeam_channel::Sender;

use super::super::job::Done;
use super::super::keep::{Keep, Kept, Waits};
use super::Desk;

impl Desk {
    /// What initiators set goes to this keeper from now on.
    pub fn set_keeper(&mut self, worker: u16, keeper: Sender<Keep>) {
        self.keeper = Some((worker, keeper));
    }

    /// The reply to a request that sets something: it waits if that is not on
    /// stable storage yet.
    pub(super) fn reply_when_kept(&mut self, index: u16, done: Done) -> Option<Done> {
        match self.park(index, Waits::Reply(done))? {
            Parking::Free(Waits::Reply(done)) => Some(done),
            Parking::Dropped(Waits::Reply(done)) => Some(done.without_reply()),
            // Whoever asked sees that nobody answers.
            Parking::Free(Waits::Asked(_)) | Parking::Dropped(Waits::Asked(_)) => None,
        }
    }

    /// Takes a reservation or a mask list away, and tells when that is on stable
    /// storage. Returns a request that now gets no answer, because too many wait.
    pub fn clear(&mut self, index: u16, what: Clear, to: Sender<()>) -> Option<Done> {
        let seat = self.seats.get_mut(usize::from(index))?.as_mut()?;
        match what {
            Clear::Reservation => {
                // An empty list fits.
                let _ = seat.export.state.set_reservation(std::iter::empty());
            }
            Clear::Mask => seat.export.state.clear_mask(),
        }
        match self.park(index, Waits::Asked(to))? {
            Parking::Free(Waits::Asked(to)) => {
                let _ = to.try_send(());
                None
            }
            // Whoever asked sees that nobody answers.
            Parking::Dropped(Waits::Asked(_)) => None,
            Parking::Free(Waits::Reply(done)) | Parking::Dropped(Waits::Reply(done)) => {
                Some(done.without_reply())
            }
        }
    }

    /// Returns who need not wait, or may not any more.
    fn park(&mut self, index: u16, waits: Waits) -> Option<Parking> {
        let Some(Some(seat)) = self.seats.get_mut(usize::from(index)) else {
            return Some(Parking::Dropped(waits));
        };
        let revision = seat.export.state.revision();
        if seat.kept >= revision {
            return Some(Parking::Free(waits));
        }
        let Some((worker, keeper)) = &self.keeper else { return Some(Parking::Free(waits)) };
        let keep = Keep {
            worker: *worker,
            export: index,
            number: seat.number,
            revision,
            key: seat.key.clone(),
            saved: crate::shelf::Saved::of(&seat.export.state),
        };
        if keeper.try_send(keep).is_err() {
            // The host sends it again, which is another try.
            return Some(Parking::Dropped(waits));
        }
        seat.parked.park(revision, waits).map(Parking::Dropped)
    }

    /// So much of a state is on stable storage: replies that have waited for it.
    pub fn kept(&mut self, kept: Kept, done: &mut Vec<Done>) {
        let Some(Some(seat)) = self.seats.get_mut(usize::from(kept.export)) else { return };
        if seat.number != kept.number {
            return;
        }
        seat.kept = seat.kept.max(kept.revision);
        while let Some(waits) = seat.parked.next(kept.revision) {
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
enum Parking {
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
