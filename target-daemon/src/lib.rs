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

/// The NIC: its properties; loading, attaching and detaching the XDP program.
pub mod link;
/// AF_XDP: UMEM, owned frames, rx/tx/fill/completion rings; fake rings for tests.
pub mod ring;
/// Parses and writes frames. No I/O, no `unsafe`, no panic.
pub mod wire;
/// Executes requests: turns each one into an action. Pure: no clock, no system call.
pub mod command;
/// What is exported: addresses, limits, config strings, mask lists, reservations.
pub mod shelf;
/// Stores: the submit/complete trait and its engines.
pub mod store;
/// The event loop: receive → execute → harvest → finish → send → refill.
pub mod worker;
/// Counters and service times.
pub mod observe;
/// The command line, and the typed configuration built from it.
pub mod config;
/// Deliberate bugs for test builds.
pub mod plant;
/// Cache prefetch hints.
pub(crate) mod prefetch;
/// Locks and atomics, replaceable by loom's in model tests.
pub(crate) mod sync;
/// The control interface of a running daemon: requests and replies.
pub mod control;
/// Restricts what the serving process may do: capabilities, files, system calls.
pub mod privilege;
/// The log; writing to it never blocks on a slow reader.
pub mod logging;
/// Steering: which receive queues of a NIC get AoE frames.
pub mod steer;
/// `xblade top`: the activity of a running daemon, second by second.
pub mod top;
/// Assembly: from the command line to running workers, and shutdown.
pub mod daemon;
