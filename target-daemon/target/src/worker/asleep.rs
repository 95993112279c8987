//! The protocol by which a sleeping worker is woken without losing a wakeup.

use crate::sync::atomic::{AtomicBool, Ordering};

/// Whether a worker sleeps, or is about to.
///
/// No wakeup is lost: a sender enqueues its message before it calls
/// [`Self::must_notify`], and the worker looks for messages after it has set the flag.
/// Every change of the flag also reads it, so whichever side comes second sees what the
/// other did before: the sender sees that it must notify, or the worker sees that there
/// is something to do. A plain store would break this. `tests/model` tries every order.
#[derive(Debug, Default)]
pub struct Asleep(AtomicBool);

impl Asleep {
    /// Whether the worker has to be woken. True only for the first caller after it fell
    /// asleep.
    pub fn must_notify(&self) -> bool {
        self.0.swap(false, Ordering::SeqCst)
    }

    /// Sets the flag, then calls `wait` unless something is already `ready`.
    pub fn sleep(&self, ready: impl Fn() -> bool, wait: impl FnOnce()) {
        self.0.swap(true, Ordering::SeqCst);
        if !ready() {
            wait();
        }
        self.0.swap(false, Ordering::SeqCst);
    }
}
