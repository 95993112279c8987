//! Command 1: query config information. Also used to discover targets.
//!
//! ```text
//! from the end of the AoE header:
//!  0              2          4         5            6        8
//! ┌──────────────┬──────────┬─────────┬────────────┬────────┐
//! │ buffer count │ firmware │ sectors │ ver │ ccmd │ length │ config string …
//! └──────────────┴──────────┴─────────┴────────────┴────────┘
//!   2              2          1         4     4 bit  2          bytes, big-endian
//! ```

use super::DropReason;
use super::aoe::{Error, VERSION};
use super::bytes::{array, put};

/// Bytes before the config string.
pub const HEADER_LEN: usize = 8;
/// Maximum length of a config string in bytes.
pub const STRING_LEN_MAX: usize = 1024;

/// The subcommand of a request. The codes are 0 to 4, in this order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request<'a> {
    /// Return the string.
    Read,
    /// Reply only if this is the string.
    Test(&'a [u8]),
    /// Reply only if the string starts with this.
    Prefix(&'a [u8]),
    /// Set the string, if there is none.
    Set(&'a [u8]),
    /// Set the string.
    ForceSet(&'a [u8]),
    /// A code (below 16) that is not defined.
    Unknown(u8),
}

impl<'a> Request<'a> {
    /// Parses an argument.
    ///
    /// Ignores the version next to the code, since every initiator sends 0 there, and the
    /// length of a read, since aoeping sends 1024.
    pub fn parse(argument: &'a [u8]) -> Result<Self, DropReason> {
        let [version_code, high, low] = array(argument, 5).ok_or(DropReason::TooShort)?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let code = version_code & 0x0f;
        if code == 0 {
            return Ok(Self::Read);
        }
        let string = argument.get(HEADER_LEN..HEADER_LEN + length).filter(|_| length <= STRING_LEN_MAX);
        let string = string.ok_or(DropReason::ConfigLength)?;
        Ok(match code {
            1 => Self::Test(string),
            2 => Self::Prefix(string),
            3 => Self::Set(string),
            4 => Self::ForceSet(string),
            code => Self::Unknown(code),
        })
    }

    /// The code of the subcommand.
    pub fn code(&self) -> u8 {
        match *self {
            Self::Read => 0,
            Self::Test(_) => 1,
            Self::Prefix(_) => 2,
            Self::Set(_) => 3,
            Self::ForceSet(_) => 4,
            Self::Unknown(code) => code,
        }
    }

    fn string(&self) -> &'a [u8] {
        match *self {
            Self::Read | Self::Unknown(_) => &[],
            Self::Test(string) | Self::Prefix(string) | Self::Set(string) | Self::ForceSet(string) => string,
        }
    }

    /// Writes the argument. Returns its length; `None` if `out` is too short.
    pub fn emit(&self, out: &mut [u8]) -> Option<usize> {
        Reply { code: self.code(), advert: Advert::default(), string: self.string(), refusal: None }.emit(out)
    }
}

/// What a target advertises, and keeps to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Advert {
    /// Number of requests that an initiator may have outstanding. At least 2, or Linux
    /// never sends the first one.
    pub buffer_count: u16,
    /// Only shown to users.
    pub firmware: u16,
    /// Maximum number of sectors in a frame.
    pub sectors_per_frame: u8,
}

/// The reply, and the unsolicited announcement (code 0).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reply<'a> {
    /// The code of the request.
    pub code: u8,
    /// What the target advertises.
    pub advert: Advert,
    /// The current string.
    pub string: &'a [u8],
    /// Why a set was refused. The reply contains the current string even then.
    pub refusal: Option<Error>,
}

impl<'a> Reply<'a> {
    /// Length in bytes.
    pub(super) fn len(&self) -> usize {
        HEADER_LEN + self.string.len()
    }

    /// Writes the reply. Returns its length; `None` if `out` is too short or the string
    /// too long.
    pub fn emit(&self, out: &mut [u8]) -> Option<usize> {
        if self.string.len() > STRING_LEN_MAX {
            return None;
        }
        let Advert { buffer_count, firmware, sectors_per_frame } = self.advert;
        let ([a, b], [c, d]) = (buffer_count.to_be_bytes(), firmware.to_be_bytes());
        let [high, low] = (self.string.len() as u16).to_be_bytes();
        put(out, 0, &[a, b, c, d, sectors_per_frame, VERSION << 4 | self.code & 0x0f, high, low])?;
        put(out, HEADER_LEN, self.string)?;
        Some(self.len())
    }

    /// Parses the argument of a response.
    pub fn parse(argument: &'a [u8], refusal: Option<Error>) -> Option<Self> {
        let [a, b, c, d, sectors_per_frame, version_code, high, low]: [u8; HEADER_LEN] = array(argument, 0)?;
        let (buffer_count, firmware) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let length = usize::from(u16::from_be_bytes([high, low]));
        Some(Self {
            code: version_code & 0x0f,
            advert: Advert { buffer_count, firmware, sectors_per_frame },
            string: argument.get(HEADER_LEN..HEADER_LEN + length)?,
            refusal,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argument(version_code: u8, length: u16, string: &[u8]) -> Vec<u8> {
        let [high, low] = length.to_be_bytes();
        [&[0xEE, 0xEE, 0xEE, 0xEE, 0xEE, version_code, high, low], string].concat()
    }

    #[test]
    fn only_the_low_half_of_the_code_counts() {
        for (byte, expected) in [
            (0x01, Request::Test(b"ab")),
            (0x11, Request::Test(b"ab")),
            (0x22, Request::Prefix(b"ab")),
            (0x13, Request::Set(b"ab")),
            (0xF4, Request::ForceSet(b"ab")),
            (0x15, Request::Unknown(5)),
            (0x1F, Request::Unknown(15)),
        ] {
            let bytes = argument(byte, 2, b"abc");
            assert_eq!(Request::parse(&bytes), Ok(expected), "{byte:#x}, trailing byte ignored");
        }
    }

    #[test]
    fn length_is_held_against_the_limit_and_the_frame() {
        for (code, length, present, expected) in [
            (0, 1024, 1024, Ok(())),
            (0, 65535, 0, Ok(())),
            (1, 1024, 1024, Ok(())),
            (3, 0, 0, Ok(())),
            (1, 1025, 1025, Err(DropReason::ConfigLength)),
            (2, 5, 4, Err(DropReason::ConfigLength)),
            (3, 1025, 2000, Err(DropReason::ConfigLength)),
            (4, 1, 0, Err(DropReason::ConfigLength)),
            (9, 65535, 10, Err(DropReason::ConfigLength)),
        ] {
            let bytes = argument(code, length, &vec![7; present]);
            let parsed = Request::parse(&bytes).map(|_| ());
            assert_eq!(parsed, expected, "code {code}, length {length}, present {present}");
        }
    }

    #[test]
    fn argument_has_eight_bytes() {
        let bytes = argument(0, 0, b"");
        assert_eq!(Request::parse(&bytes), Ok(Request::Read));
        for len in 0..bytes.len() {
            assert_eq!(Request::parse(&bytes[..len]), Err(DropReason::TooShort), "{len}");
        }
    }

    #[test]
    fn reply_layout_is_the_published_one() {
        let advert = Advert { buffer_count: 0x0140, firmware: 0x4019, sectors_per_frame: 16 };
        let reply = Reply { code: 3, advert, string: b"owner", refusal: None };
        let mut out = [0xEE; 13];
        assert_eq!(reply.emit(&mut out), Some(13));
        assert_eq!(out, *b"\x01\x40\x40\x19\x10\x13\x00\x05owner");
        assert_eq!(Reply::parse(&out, None), Some(reply));
    }

    #[test]
    fn string_beyond_the_limit_is_not_emitted() {
        let string = [0; STRING_LEN_MAX + 1];
        let advert = Advert::default();
        let mut out = [0; 2000];
        let reply = Reply { code: 0, advert, string: &string, refusal: None };
        assert_eq!(reply.emit(&mut out), None);
    }
}
