//! Command 3: reserve and release.
//!
//! ```text
//! from the end of the AoE header:
//!  0      1       2
//! ┌──────┬───────┐  count times:  ┌─────┐
//! │ rcmd │ count │                │ mac │
//! └──────┴───────┘                └─────┘
//!   1      1                        6       bytes
//! ```

use super::DropReason;
use super::bytes::{array, put};
use super::ether::Mac;

/// Bytes before the addresses.
pub const HEADER_LEN: usize = 2;
/// Length of an address in bytes.
pub const MAC_LEN: usize = 6;
/// Maximum length of the list: a reply with all entries fits in an MTU of 1500.
pub const ENTRIES_MAX: usize = 240;

/// The subcommand of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request<'a> {
    /// Return the list.
    Read,
    /// Reserve for these, unless another initiator holds the reservation. An empty list
    /// releases.
    Set(Macs<'a>),
    /// Reserve for these unconditionally.
    ForceSet(Macs<'a>),
    /// A set that announces more addresses than the frame holds.
    Overrun,
    /// A code that is not defined.
    Unknown(u8),
}

impl<'a> Request<'a> {
    /// Parses an argument. Ignores the count of a read.
    pub fn parse(argument: &'a [u8]) -> Result<Self, DropReason> {
        let [code, count]: [u8; HEADER_LEN] = array(argument, 0).ok_or(DropReason::TooShort)?;
        let macs = argument.get(HEADER_LEN..).and_then(|rest| rest.get(..usize::from(count) * MAC_LEN));
        Ok(match (code, macs) {
            (0, _) => Self::Read,
            (1, Some(bytes)) => Self::Set(Macs(bytes)),
            (2, Some(bytes)) => Self::ForceSet(Macs(bytes)),
            (1 | 2, None) => Self::Overrun,
            (code, _) => Self::Unknown(code),
        })
    }

    /// The code of the subcommand; an overrun has that of a set.
    pub fn code(&self) -> u8 {
        match *self {
            Self::Read => 0,
            Self::Set(_) | Self::Overrun => 1,
            Self::ForceSet(_) => 2,
            Self::Unknown(code) => code,
        }
    }

    /// Writes the argument. Returns its length; `None` if `out` is too short, or for an
    /// overrun, which cannot be written.
    pub fn emit(&self, out: &mut [u8]) -> Option<usize> {
        let macs: &[u8] = match *self {
            Self::Read | Self::Unknown(_) => &[],
            Self::Set(Macs(bytes)) | Self::ForceSet(Macs(bytes)) => bytes,
            Self::Overrun => return None,
        };
        put(out, 0, &[self.code(), u8::try_from(macs.len() / MAC_LEN).ok()?])?;
        put(out, HEADER_LEN, macs)?;
        Some(HEADER_LEN + macs.len())
    }
}

/// The addresses of a set: complete ones, at most 255.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Macs<'a>(&'a [u8]);

impl<'a> Macs<'a> {
    /// Takes the complete addresses in `bytes`, at most 255.
    pub fn new(bytes: &'a [u8]) -> Self {
        let count = (bytes.len() / MAC_LEN).min(usize::from(u8::MAX));
        Self(bytes.get(..count * MAC_LEN).unwrap_or(&[]))
    }

    /// Iterates over the addresses in order.
    pub fn iter(&self) -> impl Iterator<Item = Mac> + Clone + use<'a> {
        self.0.chunks_exact(MAC_LEN).filter_map(|bytes| array(bytes, 0).map(Mac))
    }
}

/// The reply, with the current list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reply<'a> {
    /// The code of the request.
    pub code: u8,
    /// At most [`ENTRIES_MAX`].
    pub macs: &'a [Mac],
}

impl Reply<'_> {
    /// Length in bytes.
    pub(super) fn len(&self) -> usize {
        HEADER_LEN + self.macs.len() * MAC_LEN
    }

    /// Writes the reply. Returns its length; `None` if `out` is too short or the list too
    /// long.
    pub fn emit(&self, out: &mut [u8]) -> Option<usize> {
        put(out, 0, &[self.code, u8::try_from(self.macs.len()).ok()?])?;
        let macs = out.get_mut(HEADER_LEN..self.len())?;
        for (to, mac) in macs.as_chunks_mut().0.iter_mut().zip(self.macs) {
            *to = mac.0;
        }
        Some(self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Mac = Mac([2, 0, 0, 0, 0, 0xA]);
    const B: Mac = Mac([2, 0, 0, 0, 0, 0xB]);

    #[test]
    fn header_is_judged() {
        let both = [2, 0, 0, 0, 0, 0xA, 2, 0, 0, 0, 0, 0xB];
        let with = |code, count| [&[code, count][..], &both].concat();
        for (argument, expected) in [
            (with(0, 255), Ok(Request::Read)),
            (with(1, 2), Ok(Request::Set(Macs(&both)))),
            (with(1, 1), Ok(Request::Set(Macs(&both[..6])))),
            (with(2, 2), Ok(Request::ForceSet(Macs(&both)))),
            (with(1, 0), Ok(Request::Set(Macs(&[])))),
            (with(1, 3), Ok(Request::Overrun)),
            (with(2, 3), Ok(Request::Overrun)),
            (with(3, 9), Ok(Request::Unknown(3))),
            (vec![0], Err(DropReason::TooShort)),
            (vec![], Err(DropReason::TooShort)),
        ] {
            assert_eq!(Request::parse(&argument), expected, "{argument:?}");
        }
        assert_eq!(Macs(&both).iter().collect::<Vec<_>>(), [A, B]);
        assert_eq!(Macs::new(&both[..11]), Macs(&both[..6]));
    }

    #[test]
    fn reply_writes_every_byte() {
        let mut out = [0xEE; 14];
        assert_eq!(Reply { code: 2, macs: &[A, B] }.emit(&mut out), Some(14));
        assert_eq!(out, [2, 2, 2, 0, 0, 0, 0, 0xA, 2, 0, 0, 0, 0, 0xB]);
        assert_eq!(Reply { code: 2, macs: &[A, B] }.emit(&mut out[..13]), None);
    }

    #[test]
    fn longest_list_fits_an_mtu_of_1500() {
        let macs = [A; ENTRIES_MAX];
        assert!(crate::aoe::HEADER_LEN + Reply { code: 0, macs: &macs }.len() <= 1500);
    }
}
