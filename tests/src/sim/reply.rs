//! Parses what the target sends, without the library's own code.

use super::history::Setting;
use super::value::Value;
use crate::Mac;

/// A frame of the target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Reply<'a> {
    pub(super) dst: Mac,
    pub(super) src: Mac,
    pub(super) flags: u8,
    pub(super) error: u8,
    pub(super) address: (u16, u8),
    pub(super) command: u8,
    pub(super) tag: u32,
    pub(super) argument: &'a [u8],
}

impl<'a> Reply<'a> {
    pub(super) fn parse(frame: &'a [u8]) -> Option<Self> {
        if frame.get(12..14) != Some(&[0x88, 0xA2]) || frame.len() < 60 {
            return None;
        }
        Some(Self {
            dst: frame[..6].try_into().ok()?,
            src: frame[6..12].try_into().ok()?,
            flags: frame[14],
            error: frame[15],
            address: (u16::from_be_bytes([frame[16], frame[17]]), frame[18]),
            command: frame[19],
            tag: u32::from_be_bytes([frame[20], frame[21], frame[22], frame[23]]),
            argument: &frame[24..],
        })
    }

    /// A response that is not an AoE error.
    pub(super) fn is_good_response(&self) -> bool {
        self.flags == 0x18 && self.error == 0
    }

    /// Status and error of an ATA reply.
    pub(super) fn ata(&self) -> (u8, u8) {
        (self.argument[3], self.argument[1])
    }

    /// The value of a setting: the number in the string, or in the list's one address
    /// that belongs to no host; 0 for none.
    pub(super) fn setting(&self, setting: Setting) -> Result<Value, String> {
        let number = |text: &[u8]| std::str::from_utf8(text).ok()?.strip_prefix("set ")?.parse().ok();
        let (skip, stride, at) = match setting {
            Setting::Config => {
                let length = usize::from(u16::from_be_bytes([self.argument[6], self.argument[7]]));
                let text = self.argument.get(8..8 + length).unwrap_or(b"?");
                return match text {
                    b"" => Ok(0),
                    text => number(text).ok_or_else(|| format!("a config string {text:?}")),
                };
            }
            Setting::Mask => (4, 8, 2),
            Setting::Reservation => (2, 6, 0),
        };
        let count = usize::from(self.argument[skip - 1]);
        let entries = self.argument.get(skip..skip + count * stride).ok_or("a short list")?.chunks(stride);
        let mut own = entries.filter_map(|entry| match entry[at..] {
            [2, 0xFE, a, b, c, d] => Some(u32::from_be_bytes([a, b, c, d])),
            _ => None,
        });
        match (own.next(), own.next()) {
            (value, None) => Ok(value.unwrap_or(0)),
            (Some(one), Some(other)) => Err(format!("{setting:?} as set by {one} and by {other}")),
            (None, Some(_)) => Ok(0),
        }
    }

    /// The data of an ATA reply.
    pub(super) fn data(&self) -> &'a [u8] {
        &self.argument[12..]
    }
}

/// The address that encodes a value in a list.
pub(super) fn mac_of(value: Value) -> Mac {
    let [a, b, c, d] = value.to_be_bytes();
    [2, 0xFE, a, b, c, d]
}
