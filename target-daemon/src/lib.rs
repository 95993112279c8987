//! xblade: an ATA-over-Ethernet target on AF_XDP. The modules are listed in the order in
//! which a frame meets them; the control plane follows.
//!
//! ```text
//!           kernel                                   user space, one worker per queue, pinned
//! NIC ──► XDP program ──► XSKMAP ──► RX ring ──► wire ──► command ──► store ──► wire ──► TX ring ──► NIC
//! queue   ebpf/           (by queue) ring/       frame→   request→    sectors   reply→   ring/
//!         0x88A2 only                owned       request  action      at rest   frame
//!         the rest: XDP_PASS         frames      (no I/O) (pure)                in place
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

/// The command line, and the typed configuration built from it.
pub mod config;
/// The control interface of a running daemon: requests and replies.
pub mod control;
/// Text from files, and for people.
pub mod text;
/// Restricts what the serving process may do: capabilities, files, system calls.
pub mod privilege;
/// The log; writing to it never blocks on a slow reader.
pub mod logging;
/// Steering: which receive queues of a NIC get AoE frames.
pub mod steer;
/// Settings of this machine: what is wanted, changed and reverted.
pub mod tune;
/// `xblade top`: the activity of a running daemon, second by second.
pub mod top;
/// Assembly: from the command line to running workers, and shutdown.
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
