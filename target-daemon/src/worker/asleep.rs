//! What a worker and those who wake it agree on: that it sleeps.

use crate::sync::atomic::{AtomicBool, Ordering};

/// Whether a worker sleeps, or is about to.
///
/// No wake-up is lost: whoever sends something to the worker does so before
/// [`Self::must_ring`], and the worker looks for it after it has set the flag. Every
/// change of the flag also reads it, so who comes second sees what the other did
/// before: the sender that it has to ring, or the worker that something is there.
/// A plain store would break that chain. `tests/model` tries every order.
#[derive(Debug, Default)]
pub struct Asleep(AtomicBool);

impl Asleep {
    /// Whether the worker has to be woken. Only the first who asks has to.
    pub fn must_notify(&self) -> bool {
        self.0.swap(false, Ordering::SeqCst)
    }

    /// Calls `wait` unless something is `ready` when others can see that we sleep.
    pub fn sleep(&self, ready: impl Fn() -> bool, wait: impl FnOnce()) {
        self.0.swap(true, Ordering::SeqCst);
        if !ready() {
            wait();
        }
        self.0.swap(false, Ordering::SeqCst);
    }
}
