//! Bytes ↔ meaning.
//!
//! ```text
//! frame:  dst src [tag [tag]] 88a2 │ ver/flags error shelf slot command tag │ argument …
//!         └────── l2_len ────────┘ └──────── HEADER_LEN ──────────────────┘ └ ata, query,
//!               ether                            aoe                          mask, reserve
//! ```
//!
//! The contract of every function that sees a frame: no I/O, no allocation,
//! no `unsafe`, and no panic on any input. Input that means nothing becomes a
//! [`DropReason`](crate::wire::DropReason); output that does not fit becomes
//! `None`. Whatever is emitted writes every byte of the frame that it
//! describes, so that no byte of the frame's earlier use can leave with it.

mod bytes;
mod drop_reason;
mod read_hint;
mod initiator;
mod reply;
mod request;

/// The AoE header and the addresses in it.
pub mod aoe;
/// Command 0: ATA.
pub mod ata;
/// Ethernet addresses and headers.
pub mod ether;
/// The 512 bytes that IDENTIFY DEVICE returns.
pub mod identify;
/// Command 2: the MAC mask list.
pub mod mask;
/// Command 1: query config information.
pub mod query;
/// Command 3: reserve and release.
pub mod reserve;

pub use drop_reason::DropReason;
pub use initiator::Response;
pub use read_hint::ReadHint;
pub use reply::Reply;
pub use request::{Body, Request};

/// Shortest frame that leaves, without the frame check sequence. No driver
/// pads what goes out through AF_XDP, and aoetools discard anything shorter.
pub const FRAME_LEN_MIN: usize = 60;

#[cfg(test)]
mod properties;
