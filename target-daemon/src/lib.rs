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

/// Meaning → action. Pure: no clock, no system call.
pub mod command;
/// The command line and the typed model that it becomes.
pub mod config;
/// Assembly: from a checked configuration to running workers, and back down.
pub mod daemon;
/// The NIC: facts, the XDP program's load, attach and detach.
pub mod link;
/// Counters and latency histograms.
pub mod observe;
/// AF_XDP: UMEM, owned frames, rx/tx/fill/completion rings; fake rings.
pub mod ring;
/// What is exported: addresses, limits, config strings, masks, reservations.
pub mod shelf;
/// Bytes at rest: the submit/complete trait and its engines.
pub mod store;
/// Bytes ↔ meaning. No I/O, no `unsafe`, no panic.
pub mod wire;
/// The loop: receive → command → submit → harvest → send → refill.
pub mod worker;
