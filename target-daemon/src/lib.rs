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

/// The NIC: facts, the XDP program's load, attach and detach.
pub mod link;
/// AF_XDP: UMEM, owned frames, rx/tx/fill/completion rings; fake rings.
pub mod ring;
/// Bytes ↔ meaning. No I/O, no `unsafe`, no panic.
pub mod wire;
/// Meaning → action. Pure: no clock, no system call.
pub mod command;
/// What is exported: addresses, limits, config strings, masks, reservations.
pub mod shelf;
/// Bytes at rest: the submit/complete trait and its engines.
pub mod store;
/// The loop: receive → execute → harvest → finish → send → refill.
pub mod worker;
/// Counters and service times.
pub mod observe;
/// The command line and the typed model that it becomes.
pub mod config;
/// Bugs to plant in test builds.
pub mod plant;
/// Telling the processor what will be needed soon.
pub(crate) mod prefetch;
/// Locks and atomics.
pub(crate) mod sync;
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
