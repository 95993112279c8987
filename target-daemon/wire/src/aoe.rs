//! The AoE header.
//!
//! ```text
//! from the end of the link layer:
//!  0            1       2        4      5         6       10
//! ┌────────────┬───────┬────────┬──────┬─────────┬───────┐
//! │ ver │flags │ error │ shelf  │ slot │ command │  tag  │ argument …
//! └────────────┴───────┴────────┴──────┴─────────┴───────┘
//!   4     4 bit    1        2      1        1        4       bytes, big-endian
//! ```

mod address;

pub use address::{Address, AddressError};

pub use super::command::Command;

use super::DropReason;
use super::bytes::{array, put};
use super::ether::{Ether, Mac};

/// Length in bytes.
pub const HEADER_LEN: usize = 10;
/// The version of the protocol.
pub const VERSION: u8 = 1;
/// "Any shelf" in a request.
pub const SHELF_ANY: u16 = 0xffff;
/// "Any slot" in a request.
pub const SLOT_ANY: u8 = 0xff;

const FLAG_RESPONSE: u8 = 0x08;
const FLAG_ERROR: u8 = 0x04;

/// The error code of a frame with the error flag set.
///
/// Linux treats such a frame as no reply at all and fails the export after 180 s. Send
/// one only for malformed requests and reservation conflicts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// No such AoE command.
    Command,
    /// The argument of the command is invalid.
    Argument,
    /// The export already has a config string.
    ConfigPresent,
    /// Another initiator holds the reservation.
    Reserved,
    /// A code that this target never sends.
    Other(u8),
}

impl From<u8> for Error {
    fn from(code: u8) -> Self {
        match code {
            1 => Self::Command,
            2 => Self::Argument,
            4 => Self::ConfigPresent,
            6 => Self::Reserved,
            code => Self::Other(code),
        }
    }
}

impl From<Error> for u8 {
    fn from(error: Error) -> Self {
        match error {
            Error::Command => 1,
            Error::Argument => 2,
            Error::ConfigPresent => 4,
            Error::Reserved => 6,
            Error::Other(code) => code,
        }
    }
}

/// Whether a frame is a request or a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// A request.
    Request,
    /// A response, or an announcement.
    Response,
    /// A response with the error flag set.
    Refusal(Error),
}

/// Link layer and AoE header of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// The link layer.
    pub ether: Ether,
    /// Request, response or refusal.
    pub role: Role,
    /// The shelf, or [`SHELF_ANY`].
    pub shelf: u16,
    /// The slot, or [`SLOT_ANY`].
    pub slot: u8,
    /// The command.
    pub command: Command,
    /// Chosen by the initiator, returned unchanged.
    pub tag: u32,
}

impl Header {
    /// Parses the header of a request from the first piece of a frame.
    ///
    /// Accepts frames from 24 bytes (plus VLAN tags), because virtual links do not pad.
    #[inline]
    pub fn parse(first_piece: &[u8]) -> Result<Self, DropReason> {
        let header = Self::parse_any(first_piece)?;
        if header.role != Role::Request {
            return Err(DropReason::Response);
        }
        if header.ether.src.is_multicast() || header.ether.src.is_zero() {
            return Err(DropReason::Source);
        }
        Ok(header)
    }

    /// The export that it is for, or from.
    #[inline]
    pub fn address(&self) -> Address {
        Address { shelf: self.shelf, slot: self.slot }
    }

    /// Parses the header of a request or a response.
    #[inline]
    pub(super) fn parse_any(first_piece: &[u8]) -> Result<Self, DropReason> {
        /// Link layer and header of an untagged frame.
        const UNTAGGED: usize = 14 + HEADER_LEN;
        if let Some(bytes) = first_piece.first_chunk::<UNTAGGED>()
            && let Some(ether) = Ether::untagged(bytes)
        {
            // The compiler knows the length, and removes the checks.
            return Self::behind(ether, bytes);
        }
        Self::behind(Ether::parse(first_piece)?, first_piece)
    }

    /// Parses the header behind a link layer.
    #[inline]
    fn behind(ether: Ether, first_piece: &[u8]) -> Result<Self, DropReason> {
        let bytes: [u8; HEADER_LEN] = array(first_piece, ether.len()).ok_or(DropReason::TooShort)?;
        let [version_flags, error, shelf_high, shelf_low, slot, command, tag @ ..] = bytes;
        if version_flags >> 4 != VERSION {
            return Err(DropReason::Version);
        }
        // Mask reserved flags instead of refusing them: aoeping sets one by mistake.
        let role = match version_flags & (FLAG_RESPONSE | FLAG_ERROR) {
            FLAG_RESPONSE => Role::Response,
            flags if flags & FLAG_RESPONSE != 0 => Role::Refusal(error.into()),
            _ => Role::Request,
        };
        Ok(Self {
            ether,
            role,
            shelf: u16::from_be_bytes([shelf_high, shelf_low]),
            slot,
            command: command.into(),
            tag: u32::from_be_bytes(tag),
        })
    }

    /// Writes the header. Returns the offset of the argument; `None` if `out` is too
    /// short.
    #[inline(always)]
    pub fn emit(&self, out: &mut [u8]) -> Option<usize> {
        let at = self.ether.emit(out)?;
        let (flags, error) = match self.role {
            Role::Request => (0, 0),
            Role::Response => (FLAG_RESPONSE, 0),
            Role::Refusal(error) => (FLAG_RESPONSE | FLAG_ERROR, error.into()),
        };
        let ([shelf_high, shelf_low], [a, b, c, d]) = (self.shelf.to_be_bytes(), self.tag.to_be_bytes());
        let first = VERSION << 4 | flags;
        put(out, at, &[first, error, shelf_high, shelf_low, self.slot, self.command.into(), a, b, c, d])?;
        Some(at + HEADER_LEN)
    }

    /// The header of the reply that the export at `address` sends from the interface with
    /// MAC address `own`.
    #[inline(always)]
    pub fn answer(&self, own: Mac, address: Address, refusal: Option<Error>) -> Self {
        Self {
            ether: Ether { dst: self.ether.src, src: own, tags: self.ether.tags },
            role: refusal.map_or(Role::Response, Role::Refusal),
            shelf: address.shelf,
            slot: address.slot,
            ..*self
        }
    }

    /// Checks that the frame is addressed to the interface with MAC address `own` and was
    /// not sent by it. With XDP no NIC filter has done this.
    #[inline]
    pub fn check_link(&self, own: Mac) -> Result<(), DropReason> {
        if self.ether.dst != own && self.ether.dst != Mac::BROADCAST {
            return Err(DropReason::Destination);
        }
        if self.ether.src == own {
            return Err(DropReason::Source);
        }
        Ok(())
    }

    /// Whether the frame addresses this export. Shelf and slot may each be "any".
    #[inline]
    pub fn is_for(&self, address: Address) -> bool {
        (self.shelf == address.shelf || self.shelf == SHELF_ANY)
            && (self.slot == address.slot || self.slot == SLOT_ANY)
    }

    /// Whether more than one export may receive the frame, because of its shelf, its slot
    /// or its destination.
    #[inline]
    pub fn is_broadcast(&self) -> bool {
        self.shelf == SHELF_ANY || self.slot == SLOT_ANY || self.ether.dst.is_multicast()
    }

    /// Length in bytes of what precedes the AoE header: 14, 18 or 22.
    #[inline]
    pub fn l2_len(&self) -> usize {
        self.ether.len()
    }

    /// Offset of the command's argument in the frame.
    #[inline]
    pub fn argument_offset(&self) -> usize {
        self.l2_len() + HEADER_LEN
    }
}

#[cfg(test)]
mod tests;
