//! How a running daemon is asked and told.
//!
//! ```text
//! xblade status ─► socket ─┐
//! Prometheus ──► listener ─┴► Ask ─► the control thread (daemon/control.rs) ─► workers
//!                 own thread   ◄── answer
//! ```
//!
//! Whoever listens to clients has no access to workers and exports. It puts an
//! [`Ask`] into a bounded channel, and the control thread answers it: only that
//! thread changes anything.

mod ask;
pub mod metrics;
mod overview;
pub mod samples;

pub use ask::{Answer, Ask, Asked, Asker, Changed, Refusal, channel};
pub use overview::{ExportView, InterfaceView, Overview};
