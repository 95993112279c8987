//! What the target sends, taken apart without the library's own code.

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

    /// The data of an ATA reply.
    pub(super) fn data(&self) -> &'a [u8] {
        &self.argument[12..]
    }
}
