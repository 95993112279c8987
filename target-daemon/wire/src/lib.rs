//! The wire format: parses frames into typed requests, and writes typed replies into frames.
//!
//! ```text
//! frame:  dst src [tag [tag]] 88a2 │ ver/flags error shelf slot command tag │ argument …
//!         └────── l2_len ────────┘ └──────── HEADER_LEN ──────────────────┘ └ ata, query,
//!               ether                            aoe                          mask, reserve
//! ```
//!
//! Rules for every function that handles a frame: no I/O, no allocation, no `unsafe`, and
//! no panic on any input. Invalid input becomes a [`DropReason`](crate::DropReason);
//! output that does not fit becomes `None`. `emit` functions write every byte of what
//! they describe, so no byte of the buffer's earlier content is ever sent.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![forbid(unsafe_code)]

mod bytes;
mod drop_reason;
mod initiator;

/// The AoE header and the addresses in it.
pub mod aoe;
/// The commands: codes, requests, replies.
pub mod command;
/// Command 0: ATA.
pub mod ata;
/// Ethernet addresses and headers.
pub mod ether;
/// VLANs: which one a frame belongs to, and sets of them.
pub mod vlan;
/// The 512 bytes that IDENTIFY DEVICE returns.
pub mod identify;

pub use command::{Body, Reply, Request, emit_ata, mask, query, reserve};
pub use drop_reason::DropReason;
pub use initiator::Response;

/// Minimum length of a sent frame, without the frame check sequence. Drivers do not pad
/// what is sent through AF_XDP, and aoetools discard shorter frames.
pub const FRAME_LEN_MIN: usize = 60;

#[cfg(test)]
mod properties;
