//! A target as an initiator sees it.

use std::time::Duration;

use xblade::wire::DropReason;

/// A target at the other end of a wire.
pub trait Target {
    /// Sends a frame to it.
    fn send(&mut self, frame: &[u8]);

    /// The next frame from it; waits at most `window`.
    fn next_reply(&mut self, window: Duration) -> Option<Vec<u8>>;

    /// Number of frames that its workers have dropped so far, by reason; `None` if that
    /// is not visible from here.
    fn drops(&self) -> Option<[u64; DropReason::NAMES.len()]>;

    /// All frames from it within this time.
    fn replies(&mut self, window: Duration) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.next_reply(window)).collect()
    }
}
