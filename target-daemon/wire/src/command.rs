//! The AoE commands: for each, its code, the argument of a request, and the content of a
//! reply.

/// Command 2: the MAC mask list.
pub mod mask;
/// Command 1: query config information.
pub mod query;
/// Command 3: reserve and release.
pub mod reserve;

use super::aoe::{self, Address, Header};
use super::bytes::pad;
use super::ether::{Mac, Tags};
use super::identify::{IDENTIFY_LEN, Identity};
use super::{DropReason, FRAME_LEN_MIN, ata};

/// The command of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// Execute an ATA command.
    Ata,
    /// Read or change the config string; discovery.
    Query,
    /// Read or change the mask list.
    Mask,
    /// Read or change the reservation.
    Reserve,
    /// Any command that this target does not implement.
    Unknown(u8),
}

impl From<u8> for Command {
    #[inline]
    fn from(code: u8) -> Self {
        match code {
            0 => Self::Ata,
            1 => Self::Query,
            2 => Self::Mask,
            3 => Self::Reserve,
            code => Self::Unknown(code),
        }
    }
}

impl From<Command> for u8 {
    #[inline]
    fn from(command: Command) -> Self {
        match command {
            Command::Ata => 0,
            Command::Query => 1,
            Command::Mask => 2,
            Command::Reserve => 3,
            Command::Unknown(code) => code,
        }
    }
}

impl Command {
    /// Its name; `None` if this target does not implement it.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Ata => Some("ata"),
            Self::Query => Some("query"),
            Self::Mask => Some("mask"),
            Self::Reserve => Some("reserve"),
            Self::Unknown(_) => None,
        }
    }
}

/// A request, borrowed from its frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request<'a> {
    /// Link layer and AoE header.
    pub header: Header,
    /// The argument of its command.
    pub body: Body<'a>,
}

/// The argument of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Body<'a> {
    /// An ATA command.
    Ata {
        /// The ATA header.
        ata: ata::Request,
        /// Offset of the data from the start of the frame.
        payload_offset: usize,
        /// Number of bytes from there to the end of the frame, regardless of the command
        /// and its count.
        payload_len: usize,
    },
    /// A config query.
    Query(query::Request<'a>),
    /// A mask list command.
    Mask(mask::Request<'a>),
    /// A reservation command.
    Reserve(reserve::Request<'a>),
    /// Any command that this target does not implement.
    Unknown(u8),
}

impl<'a> Request<'a> {
    /// Parses what follows `header` in its frame.
    ///
    /// A frame may consist of several pieces. `frame_head` is the first one, `total_len`
    /// the length of the whole frame. The data of an ATA command may extend into other
    /// pieces; all other arguments must be entirely in `frame_head`, and bytes outside it
    /// count as missing.
    pub fn parse(header: &Header, frame_head: &'a [u8], total_len: usize) -> Result<Self, DropReason> {
        let frame = frame_head.get(..total_len).unwrap_or(frame_head);
        let argument = frame.get(header.argument_offset()..).ok_or(DropReason::TooShort)?;
        let body = match header.command {
            Command::Ata => {
                let payload_offset = header.argument_offset() + ata::HEADER_LEN;
                Body::Ata {
                    ata: ata::Request::parse(argument).ok_or(DropReason::TooShort)?,
                    payload_offset,
                    payload_len: total_len.saturating_sub(payload_offset),
                }
            }
            Command::Query => Body::Query(query::Request::parse(argument)?),
            Command::Mask => Body::Mask(mask::Request::parse(argument)?),
            Command::Reserve => Body::Reserve(reserve::Request::parse(argument)?),
            Command::Unknown(code) => Body::Unknown(code),
        };
        Ok(Self { header: *header, body })
    }

    /// Writes the request as an initiator does, except for the data of an ATA command.
    /// The caller puts that at `payload_offset`, which must be
    /// [`Header::argument_offset`] + [`ata::HEADER_LEN`]. Returns the length of the whole
    /// frame, data included; `None` if `out` is too short.
    pub fn emit(&self, out: &mut [u8]) -> Option<usize> {
        let at = self.header.emit(out)?;
        let argument = out.get_mut(at..)?;
        let written = match self.body {
            Body::Ata { ata, payload_len, .. } => ata.emit(argument)? + payload_len,
            Body::Query(query) => query.emit(argument)?,
            Body::Mask(mask) => mask.emit(argument)?,
            Body::Reserve(reserve) => reserve.emit(argument)?,
            Body::Unknown(_) => 0,
        };
        pad(out, at + written)
    }
}

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
    #[inline]
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

/// As [`Reply::emit`] of [`Reply::Ata`] or, with `bytes` bytes of data, [`Reply::AtaData`].
#[inline(always)]
pub fn emit_ata(
    ata: &ata::Reply,
    bytes: usize,
    request: &Header,
    own: Mac,
    address: Address,
    out: &mut [u8],
) -> Option<usize> {
    const UNTAGGED: usize = 14 + aoe::HEADER_LEN + ata::HEADER_LEN;
    if request.argument_offset() + ata::HEADER_LEN != UNTAGGED || out.len() < UNTAGGED {
        return Reply::AtaData { ata: *ata, bytes }.emit(request, own, address, out);
    }
    // With both known, the compiler removes all other checks of the length.
    let mut header = request.answer(own, address, None);
    header.ether.tags = Tags::NONE;
    let at = header.emit(out)?;
    let written = ata.emit(out.get_mut(at..)?)?;
    pad(out, at + written + bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An untagged request with this command and argument.
    fn frame(command: u8, argument: &[u8]) -> Vec<u8> {
        let header = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xA2, 0x10, 0, 0, 7, 3];
        [&header[..], &[command, 0, 0, 0, 9], argument].concat()
    }

    fn parse(frame: &[u8]) -> Result<Request<'_>, DropReason> {
        Request::parse(&Header::parse(frame)?, frame, frame.len())
    }

    #[test]
    fn shortest_frame_of_each_command() {
        for (command, len) in [(0, 36), (1, 32), (2, 28), (3, 26), (4, 24), (0xF0, 24), (0xFF, 24)] {
            let frame = frame(command, &[0; 12]);
            assert!(parse(&frame[..len]).is_ok(), "command {command}, {len} bytes");
            let shorter = parse(&frame[..len - 1]);
            assert_eq!(shorter, Err(DropReason::TooShort), "command {command}");
        }
    }

    #[test]
    fn payload_may_lie_in_other_pieces() {
        let frame = frame(0, &[0; 12 + 1024]);
        let header = Header::parse(&frame).unwrap();
        for (head_len, total_len, expected) in
            [(1060, 1060, 1024), (36, 1060, 1024), (100, 1060, 1024), (36, 36, 0), (60, 36, 0)]
        {
            let request = Request::parse(&header, &frame[..head_len], total_len).unwrap();
            let Body::Ata { payload_offset, payload_len, .. } = request.body else {
                unreachable!("{request:?}")
            };
            assert_eq!((payload_offset, payload_len), (36, expected), "{head_len}, {total_len}");
        }
        let cut = Request::parse(&header, &frame[..35], 1060);
        assert_eq!(cut, Err(DropReason::TooShort), "the ATA header must be in the first piece");
    }

    #[test]
    fn bytes_behind_the_total_length_do_not_exist() {
        let frame = frame(1, &[0, 0, 0, 0, 0, 3, 0, 4, b'a', b'b', b'c', b'd']);
        let header = Header::parse(&frame).unwrap();
        assert!(Request::parse(&header, &frame, 36).is_ok());
        assert_eq!(Request::parse(&header, &frame, 35), Err(DropReason::ConfigLength));
    }

    #[test]
    fn trailing_bytes_are_ignored() {
        for command in [0, 1, 2, 3, 9] {
            let short = frame(command, &[0; 12]);
            let long = frame(command, &[&[0; 12][..], &[0xEE; 1000]].concat());
            let (short, long) = (parse(&short).unwrap(), parse(&long).unwrap());
            match (short.body, long.body) {
                (Body::Ata { ata: short, .. }, Body::Ata { ata: long, .. }) => {
                    assert_eq!(short, long);
                }
                (short, long) => assert_eq!(short, long),
            }
        }
    }
}
