//! A reply, written over its request or into any other buffer.

use super::aoe::{self, Address, Header};
use super::bytes::pad;
use super::ether::Mac;
use super::identify::{IDENTIFY_LEN, Identity};
use super::{FRAME_LEN_MIN, ata, mask, query, reserve};

/// The content of a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply<'a> {
    /// A header with the error flag, without an argument.
    Refusal(aoe::Error),
    /// Completion of an ATA command without data.
    Ata(ata::Reply),
    /// Completion of a read whose data is already in the frame.
    AtaData {
        /// The ATA header.
        ata: ata::Reply,
        /// Length of the data in bytes.
        bytes: usize,
    },
    /// Reply to IDENTIFY DEVICE.
    Identify(ata::Reply, Identity),
    /// Reply to a config query.
    Query(query::Reply<'a>),
    /// Reply to a mask list command.
    Mask(mask::Reply<'a>),
    /// Reply to a reservation command.
    Reserve(reserve::Reply<'a>),
}

impl Reply<'_> {
    /// Length of the whole frame, padding included, for a request with `l2_len` bytes
    /// before its AoE header.
    pub fn frame_len(&self, l2_len: usize) -> usize {
        FRAME_LEN_MIN.max(l2_len + aoe::HEADER_LEN + self.argument_len())
    }

    /// Whether it reports an error.
    pub fn is_error(&self) -> bool {
        match self {
            Self::Ata(ata) | Self::AtaData { ata, .. } | Self::Identify(ata, _) => !ata.is_good(),
            Self::Mask(reply) => matches!(reply, mask::Reply::Stopped { .. }),
            Self::Refusal(_) | Self::Query(_) | Self::Reserve(_) => self.refusal().is_some(),
        }
    }

    fn argument_len(&self) -> usize {
        match self {
            Self::Refusal(_) => 0,
            Self::Ata(_) => ata::HEADER_LEN,
            Self::AtaData { bytes, .. } => ata::HEADER_LEN + bytes,
            Self::Identify(..) => ata::HEADER_LEN + IDENTIFY_LEN,
            Self::Query(reply) => reply.len(),
            Self::Mask(reply) => reply.len(),
            Self::Reserve(reply) => reply.len(),
        }
    }

    fn refusal(&self) -> Option<aoe::Error> {
        match self {
            Self::Refusal(error) => Some(*error),
            Self::Query(reply) => reply.refusal,
            _ => None,
        }
    }

    /// Writes the reply of the export at `address` into the first piece of a frame, which
    /// may be the request's. `own` is the MAC address of the sending interface.
    ///
    /// Writes every byte of the frame except the data of [`Reply::AtaData`]: the store
    /// puts that at [`Header::argument_offset`] + [`ata::HEADER_LEN`], and it may extend
    /// into other pieces. Returns [`Reply::frame_len`]; `None` if `out` is too short.
    pub fn emit(&self, request: &Header, own: Mac, address: Address, out: &mut [u8]) -> Option<usize> {
        let at = request.answer(own, address, self.refusal()).emit(out)?;
        let written = self.emit_argument(out.get_mut(at..)?)?;
        pad(out, at + written)
    }

    /// Returns the length of the argument, data included.
    fn emit_argument(&self, out: &mut [u8]) -> Option<usize> {
        match self {
            Self::Refusal(_) => Some(0),
            Self::Ata(ata) => ata.emit(out),
            Self::AtaData { ata, bytes } => Some(ata.emit(out)? + bytes),
            Self::Identify(ata, identity) => {
                let at = ata.emit(out)?;
                Some(at + identity.emit(out.get_mut(at..)?)?)
            }
            Self::Query(reply) => reply.emit(out),
            Self::Mask(reply) => reply.emit(out),
            Self::Reserve(reply) => reply.emit(out),
        }
    }
}
