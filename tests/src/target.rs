//! A target, as an initiator sees it.

use std::time::Duration;

use xblade::wire::DropReason;

/// A target on the other end of a wire.
pub trait Target {
    /// Sends it a frame.
    fn send(&mut self, frame: &[u8]);

    /// The next frame that came from it, waiting this long at most.
    fn next_reply(&mut self, window: Duration) -> Option<Vec<u8>>;

    /// Frames that its workers have dropped so far, by reason; `None` if that
    /// cannot be seen from here.
    fn drops(&self) -> Option<[u64; DropReason::ALL.len()]>;

    /// All that comes from it within this time.
    fn replies(&mut self, window: Duration) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.next_reply(window)).collect()
    }
}
