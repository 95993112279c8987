//! xblade: an ATA-over-Ethernet target on AF_XDP. The modules below stand in
//! the order in which a frame meets them.
//!
//! ```text
//!           kernel                                   user space, one worker per queue, pinned
//! NIC ──► XDP program ──► XSKMAP ──► RX ring ──► wire ──► command ──► store ──► wire ──► TX ring ──► NIC
//! queue   ebpf/           (by queue) ring/       bytes→   meaning→    bytes     meaning  ring/
//!         0x88A2 only                owned       meaning  action      at rest   →bytes
//!         the rest: XDP_PASS         frames      (no I/O) (pure)                in place
//! ```

/// The command line and the typed model that it becomes.
pub mod config;
/// How a running daemon is asked and told: what there is to ask, and the answers.
pub mod control;
/// What the process may still do while it serves: capabilities, files, system calls.
pub mod privilege;
/// The log, which waits for no reader.
pub mod logging;
/// Which receive queue of a NIC the frames of AoE go to.
pub mod steer;
/// `xblade top`: what a running daemon does, second by second.
pub mod top;
/// Assembly: from a command line to running workers, and back down.
pub mod daemon;

pub use xblade_link as link;
pub use xblade_ring as ring;
pub use xblade_store::{self as store, plant};
pub use xblade_target::{command, observe, shelf, worker};
pub use xblade_wire as wire;

/// What users see, kept in files.
#[cfg(test)]
#[allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "shared with other tests"
)]
#[path = "../tests/common/golden.rs"]
mod golden;
