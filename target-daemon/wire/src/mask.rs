//! Command 2: the MAC mask list, which limits the initiators that get replies.
//!
//! ```text
//! from the end of the AoE header:
//!  0          1      2        3       4
//! ┌──────────┬──────┬────────┬───────┐  count times:  ┌──────────┬──────┬─────┐
//! │ reserved │ mcmd │ merror │ count │                │ reserved │ dcmd │ mac │
//! └──────────┴──────┴────────┴───────┘                └──────────┴──────┴─────┘
//!   1          1      1        1                        1          1      6      bytes
//! ```

use super::DropReason;
use super::bytes::{array, chunks, put};
use super::ether::Mac;

/// Bytes before the directives.
pub const HEADER_LEN: usize = 4;
/// Length of a directive in bytes.
pub const DIRECTIVE_LEN: usize = 8;
/// Maximum length of the list: a reply with all entries fits in an MTU of 1500.
pub const ENTRIES_MAX: usize = 180;

/// The subcommand of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request<'a> {
    /// Return the list.
    Read,
    /// Apply the directives in order.
    Edit(&'a [[u8; DIRECTIVE_LEN]]),
    /// An edit that announces more directives than the frame holds.
    Overrun,
    /// A code that is not defined.
    Unknown(u8),
}

impl<'a> Request<'a> {
    /// Parses an argument. Ignores the count of a read.
    pub fn parse(argument: &'a [u8]) -> Result<Self, DropReason> {
        let [_, code, _, count]: [u8; HEADER_LEN] = array(argument, 0).ok_or(DropReason::TooShort)?;
        Ok(match code {
            0 => Self::Read,
            1 => chunks(argument, HEADER_LEN, count).map_or(Self::Overrun, Self::Edit),
            code => Self::Unknown(code),
        })
    }

    /// Writes the argument. Returns its length; `None` if `out` is too short, or for an
    /// overrun, which cannot be written.
    pub fn emit(&self, out: &mut [u8]) -> Option<usize> {
        let (code, directives): (_, &[_]) = match *self {
            Self::Read => (0, &[]),
            Self::Edit(directives) => (1, directives),
            Self::Unknown(code) => (code, &[]),
            Self::Overrun => return None,
        };
        put(out, 0, &[0, code, 0, u8::try_from(directives.len()).ok()?])?;
        put(out, HEADER_LEN, directives.as_flattened())?;
        Some(HEADER_LEN + directives.len() * DIRECTIVE_LEN)
    }
}

/// A single change to the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Directive {
    /// No change.
    None,
    /// Add this address.
    Add(Mac),
    /// Delete this address.
    Delete(Mac),
    /// A code that is not defined.
    Unknown(u8),
}

impl Directive {
    /// Parses a directive of [`Request::Edit`].
    pub fn parse([_, code, mac @ ..]: [u8; DIRECTIVE_LEN]) -> Self {
        match code {
            0 => Self::None,
            1 => Self::Add(Mac(mac)),
            2 => Self::Delete(Mac(mac)),
            code => Self::Unknown(code),
        }
    }
}

/// Why an edit stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// A reason without its own code.
    Unspecified = 1,
    /// The directive is not defined.
    BadDirective = 2,
    /// The list already has [`ENTRIES_MAX`] entries.
    ListFull = 3,
}

/// The reply. It never sets the error flag of the frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply<'a> {
    /// The current list, with the code of the request.
    List {
        /// 0 or 1.
        code: u8,
        /// At most [`ENTRIES_MAX`].
        macs: &'a [Mac],
    },
    /// The edit stopped; the directives before it remain applied.
    Stopped {
        /// The reason.
        error: Error,
        /// Index of the failed directive, from 0.
        index: u8,
    },
}

impl Reply<'_> {
    /// Length in bytes.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::List { macs, .. } => HEADER_LEN + macs.len() * DIRECTIVE_LEN,
            Self::Stopped { .. } => HEADER_LEN,
        }
    }

    /// Writes the reply. Returns its length; `None` if `out` is too short or the list too
    /// long.
    pub fn emit(&self, out: &mut [u8]) -> Option<usize> {
        match *self {
            Self::Stopped { error, index } => put(out, 0, &[0, 1, error as u8, index])?,
            Self::List { code, macs } => {
                put(out, 0, &[0, code, 0, u8::try_from(macs.len()).ok()?])?;
                let directives = out.get_mut(HEADER_LEN..self.len())?;
                for (directive, Mac([a, b, c, d, e, f])) in directives.as_chunks_mut().0.iter_mut().zip(macs)
                {
                    *directive = [0, 0, *a, *b, *c, *d, *e, *f];
                }
            }
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
    fn directives_are_read_in_order() {
        let bytes = [
            &[0xEE, 1, 0xEE, 4][..],
            &[0xEE, 1, 2, 0, 0, 0, 0, 0xA],
            &[0, 2, 2, 0, 0, 0, 0, 0xB],
            &[0, 0, 2, 0, 0, 0, 0, 0xB],
            &[0, 9, 2, 0, 0, 0, 0, 0xB],
            &[1, 2, 3],
        ]
        .concat();
        let Ok(Request::Edit(directives)) = Request::parse(&bytes) else {
            unreachable!("{:?}", Request::parse(&bytes))
        };
        let expected = [Directive::Add(A), Directive::Delete(B), Directive::None, Directive::Unknown(9)];
        assert!(directives.iter().copied().map(Directive::parse).eq(expected));
    }

    #[test]
    fn header_is_judged() {
        for (argument, expected) in [
            (&[0, 0, 0, 0][..], Ok(Request::Read)),
            (&[0, 0, 0, 255], Ok(Request::Read)),
            (&[0, 1, 0, 0], Ok(Request::Edit(&[]))),
            (&[0, 1, 0, 1], Ok(Request::Overrun)),
            (&[0, 1, 0, 1, 0, 1, 2, 0, 0, 0, 0], Ok(Request::Overrun)),
            (&[0, 2, 0, 0], Ok(Request::Unknown(2))),
            (&[0, 2, 0, 9], Ok(Request::Unknown(2))),
            (&[0, 0, 0], Err(DropReason::TooShort)),
            (&[], Err(DropReason::TooShort)),
        ] {
            assert_eq!(Request::parse(argument), expected, "{argument:?}");
        }
    }

    #[test]
    fn list_reply_writes_every_byte() {
        let mut out = [0xEE; 20];
        assert_eq!(Reply::List { code: 1, macs: &[A, B] }.emit(&mut out), Some(20));
        let expected = [0, 1, 0, 2, 0, 0, 2, 0, 0, 0, 0, 0xA, 0, 0, 2, 0, 0, 0, 0, 0xB];
        assert_eq!(out, expected);
        assert_eq!(Reply::List { code: 1, macs: &[A, B] }.emit(&mut out[..19]), None);
    }

    #[test]
    fn stopped_reply_has_error_and_index_only() {
        let mut out = [0xEE; 4];
        assert_eq!(Reply::Stopped { error: Error::ListFull, index: 7 }.emit(&mut out), Some(4));
        assert_eq!(out, [0, 1, 3, 7]);
    }

    #[test]
    fn longest_list_fits_an_mtu_of_1500() {
        let macs = [A; ENTRIES_MAX];
        assert!(crate::aoe::HEADER_LEN + Reply::List { code: 0, macs: &macs }.len() <= 1500);
    }
}
