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
use super::bytes::{array, chunks, put};
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
    Set(&'a [[u8; MAC_LEN]]),
    /// Reserve for these unconditionally.
    ForceSet(&'a [[u8; MAC_LEN]]),
    /// A set that announces more addresses than the frame holds.
    Overrun,
    /// A code that is not defined.
    Unknown(u8),
}

impl<'a> Request<'a> {
    /// Parses an argument. Ignores the count of a read.
    pub fn parse(argument: &'a [u8]) -> Result<Self, DropReason> {
        let [code, count]: [u8; HEADER_LEN] = array(argument, 0).ok_or(DropReason::TooShort)?;
        let set = |set: fn(_) -> _| chunks(argument, HEADER_LEN, count).map_or(Self::Overrun, set);
        Ok(match code {
            0 => Self::Read,
            1 => set(Self::Set),
            2 => set(Self::ForceSet),
            code => Self::Unknown(code),
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
        let macs: &[_] = match *self {
            Self::Read | Self::Unknown(_) => &[],
            Self::Set(macs) | Self::ForceSet(macs) => macs,
            Self::Overrun => return None,
        };
        put(out, 0, &[self.code(), u8::try_from(macs.len()).ok()?])?;
        put(out, HEADER_LEN, macs.as_flattened())?;
        Some(HEADER_LEN + macs.len() * MAC_LEN)
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

    /// Always false: there is a header.
    pub fn is_empty(&self) -> bool {
        false
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
            (with(1, 2), Ok(Request::Set(&[A.0, B.0]))),
            (with(1, 1), Ok(Request::Set(&[A.0]))),
            (with(2, 2), Ok(Request::ForceSet(&[A.0, B.0]))),
            (with(1, 0), Ok(Request::Set(&[]))),
            (with(1, 3), Ok(Request::Overrun)),
            (with(2, 3), Ok(Request::Overrun)),
            (with(3, 9), Ok(Request::Unknown(3))),
            (vec![0], Err(DropReason::TooShort)),
            (vec![], Err(DropReason::TooShort)),
        ] {
            assert_eq!(Request::parse(&argument), expected, "{argument:?}");
        }
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
