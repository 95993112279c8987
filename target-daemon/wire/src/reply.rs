//! A reply: written into the frame of its request, or into any other.

use super::aoe::{self, Address, Header};
use super::bytes::pad;
use super::ether::Mac;
use super::identify::{IDENTIFY_LEN, Identity};
use super::{FRAME_LEN_MIN, ata, mask, query, reserve};

/// What to answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply<'a> {
    /// A refusal: a header with the error flag, and nothing else.
    Refusal(aoe::Error),
    /// The end of an ATA command without data.
    Ata(ata::Reply),
    /// The end of a read, whose data is in the frame already.
    AtaData {
        /// Its ATA header.
        ata: ata::Reply,
        /// Length of the data.
        bytes: usize,
    },
    /// The answer to IDENTIFY DEVICE.
    Identify(ata::Reply, Identity),
    /// The answer to a query of the config.
    Query(query::Reply<'a>),
    /// The answer to a mask list command.
    Mask(mask::Reply<'a>),
    /// The answer to a reservation command.
    Reserve(reserve::Reply<'a>),
}

impl Reply<'_> {
    /// Length of the whole frame, padding included, if it answers a request
    /// with `l2_len` bytes in front of its AoE header.
    pub fn frame_len(&self, l2_len: usize) -> usize {
        FRAME_LEN_MIN.max(l2_len + aoe::HEADER_LEN + self.argument_len())
    }

    /// Whether it tells of an error.
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

    /// Writes the reply of the export at `address` into the first piece of a
    /// frame, which may be that of the request. `own` is the MAC address of
    /// the interface that sends it.
    ///
    /// Every byte of the frame is written, except the data of
    /// [`Reply::AtaData`]: the store puts that at
    /// [`Header::argument_offset`] + [`ata::HEADER_LEN`], and it may lie in
    /// other pieces. Returns [`Reply::frame_len`]; `None` if `out` is too
    /// short.
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
