//! Keeps a core busy.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crate::cores;

/// Keeps a core busy until dropped.
pub struct Spinner {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Spinner {
    /// Starts on this core.
    pub fn start(core: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let spin = move || {
            // A missing core is reported when the generator is pinned.
            let _ = cores::pin(Some(core));
            while !seen.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        };
        Self { stop, thread: Some(thread::spawn(spin)) }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
