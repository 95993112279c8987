//! Command 0: ATA.
//!
//! ```text
//! from the end of the AoE header:
//!  0        1               2       3                4             10         12
//! ┌────────┬───────────────┬───────┬────────────────┬─────────────┬──────────┐
//! │ aflags │ feature/error │ count │ command/status │ lba0 … lba5 │ reserved │ data …
//! └────────┴───────────────┴───────┴────────────────┴─────────────┴──────────┘
//!   1        1               1       1                6             2            bytes
//! ```
//!
//! The LBA is the only little-endian field of the protocol. The opcode, not the flags,
//! determines the direction and the width of the LBA: initiators set the flags
//! inconsistently.

mod command;

pub use command::{Command, Direction};

use super::aoe::{self, Header};
use super::bytes::{array, put};

/// Length of the ATA header in bytes.
pub const HEADER_LEN: usize = 12;
/// Length of a sector in bytes.
pub const SECTOR_LEN: usize = 512;

const LBA28_MASK: u64 = 0x0fff_ffff;

/// The defined flags: extended (48 bit), device bit, asynchronous, write.
const FLAGS_KNOWN: u8 = 0x40 | 0x10 | 0x02 | 0x01;

/// Bits and values of the status register. Linux fails a request if any bit of 0xA9 is
/// set, iPXE only if 0x01 is set. So an error sets 0x01, and success sets none of 0xA9.
pub mod status {
    /// Ready, and no error.
    pub const GOOD: u8 = 0x40;
    /// Ready, and an error.
    pub const ERROR: u8 = 0x41;
}

/// Values of the error register.
pub mod error {
    /// No error.
    pub const NONE: u8 = 0x00;
    /// The command was aborted.
    pub const ABORT: u8 = 0x04;
    /// There is no such sector.
    pub const NOT_FOUND: u8 = 0x10;
    /// The medium could not return the data.
    pub const UNCORRECTABLE: u8 = 0x40;
}

/// The ATA header of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// The flags as sent; nothing depends on them.
    pub flags: u8,
    /// The feature register.
    pub feature: u8,
    /// Number of sectors to transfer, 0 to 255.
    pub count: u8,
    /// The opcode.
    pub command: Command,
    /// The six LBA registers as sent; [`Request::lba`] gives their meaning.
    pub registers: [u8; 6],
}

impl Request {
    /// Parses the first [`HEADER_LEN`] bytes of an argument.
    #[inline]
    pub fn parse(argument: &[u8]) -> Option<Self> {
        // The reserved bytes must be present, with any content.
        let [flags, feature, count, opcode, registers @ .., _, _]: [u8; HEADER_LEN] = array(argument, 0)?;
        Some(Self { flags, feature, count, command: opcode.into(), registers })
    }

    /// Parses the ATA header behind `header` in the first piece of a frame. `None` if it is
    /// not an ATA request, or too short for one.
    #[inline]
    pub fn behind(header: &Header, first_piece: &[u8]) -> Option<Self> {
        if header.command != aoe::Command::Ata {
            return None;
        }
        Self::parse(first_piece.get(header.argument_offset()..)?)
    }

    /// Writes the header. Returns [`HEADER_LEN`]; `None` if `out` is too short.
    pub fn emit(&self, out: &mut [u8]) -> Option<usize> {
        emit(out, [self.flags, self.feature, self.count, self.command.into()], self.registers)
    }

    /// The first sector, masked to the width that the opcode uses.
    #[inline]
    pub fn lba(&self) -> u64 {
        let [a, b, c, d, e, f] = self.registers;
        let lba = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
        if self.command.is_extended() { lba } else { lba & LBA28_MASK }
    }

    /// The registers for a sector: the low 48 bits of `lba`.
    pub fn registers_of(lba: u64) -> [u8; 6] {
        let [a, b, c, d, e, f, ..] = lba.to_le_bytes();
        [a, b, c, d, e, f]
    }

    /// The reply with this status and error. Count is 0 ("none left to transfer"); flags
    /// and LBA are those of the request.
    #[inline]
    pub fn reply(&self, status: u8, error: u8) -> Reply {
        let flags = self.flags & FLAGS_KNOWN;
        Reply { flags, error, count: 0, status, registers: self.registers }
    }
}

/// The ATA header of a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The defined flags of the request.
    pub flags: u8,
    /// The error register: see [`error`].
    pub error: u8,
    /// Number of sectors left to transfer, or a value that the command returns here.
    pub count: u8,
    /// The status register: see [`status`].
    pub status: u8,
    /// The LBA registers of the request.
    pub registers: [u8; 6],
}

impl Reply {
    /// Parses the first [`HEADER_LEN`] bytes of an argument.
    pub fn parse(argument: &[u8]) -> Option<Self> {
        let [flags, error, count, status, registers @ .., _, _]: [u8; HEADER_LEN] = array(argument, 0)?;
        Some(Self { flags, error, count, status, registers })
    }

    /// Writes the header. Returns [`HEADER_LEN`]; `None` if `out` is too short.
    #[inline]
    pub fn emit(&self, out: &mut [u8]) -> Option<usize> {
        emit(out, [self.flags, self.error, self.count, self.status], self.registers)
    }

    /// Whether Linux would treat this as success.
    #[inline]
    pub fn is_good(&self) -> bool {
        self.status & 0xA9 == 0
    }
}

#[inline(always)]
fn emit(out: &mut [u8], [a, b, c, d]: [u8; 4], [e, f, g, h, i, j]: [u8; 6]) -> Option<usize> {
    put(out, 0, &[a, b, c, d, e, f, g, h, i, j, 0, 0])?;
    Some(HEADER_LEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(opcode: u8, registers: [u8; 6]) -> Request {
        Request { flags: 0, feature: 0, count: 1, command: opcode.into(), registers }
    }

    #[test]
    fn opcode_decides_on_the_width_of_the_lba() {
        let registers = [0x01, 0x02, 0x03, 0xE4, 0x05, 0x06];
        for opcode in [0x20, 0x30, 0xC8, 0xCA] {
            for flags in [0, 0x40, 0xff] {
                let request = Request { flags, ..request(opcode, registers) };
                assert_eq!(request.lba(), 0x0403_0201, "{opcode:#x}, flags {flags:#x}");
            }
        }
        for opcode in [0x24, 0x34, 0x25, 0x35] {
            for flags in [0, 0x40, 0xff] {
                let request = Request { flags, ..request(opcode, registers) };
                assert_eq!(request.lba(), 0x0605_E403_0201, "{opcode:#x}, flags {flags:#x}");
            }
        }
        assert_eq!(request(0x24, [0xff; 6]).lba(), (1 << 48) - 1);
        assert_eq!(Request::registers_of(0x0605_E403_0201), registers);
    }

    #[test]
    fn layout_is_the_published_one() {
        let bytes = [0x41, 0xD0, 2, 0x34, 1, 2, 3, 4, 5, 6, 0xAA, 0xBB];
        let request = Request::parse(&bytes).unwrap();
        assert_eq!((request.flags, request.feature, request.count), (0x41, 0xD0, 2));
        assert_eq!(request.command, Command::WriteSectorsExt);
        let mut out = [0xEE; 12];
        assert_eq!(request.reply(status::ERROR, error::NOT_FOUND).emit(&mut out), Some(12));
        assert_eq!(out, [0x41, 0x10, 0, 0x41, 1, 2, 3, 4, 5, 6, 0, 0], "reserved bytes are 0");
        for len in 0..bytes.len() {
            assert_eq!(Request::parse(&bytes[..len]), None, "{len}");
        }
    }

    #[test]
    fn reply_echoes_no_unknown_flag() {
        let request = Request { flags: 0xff, ..request(0x20, [0; 6]) };
        assert_eq!(request.reply(status::GOOD, error::NONE).flags, 0x53);
    }

    #[test]
    fn good_and_bad_are_told_apart_by_linux_and_by_ipxe() {
        assert_eq!(status::GOOD & 0xA9, 0);
        assert_eq!(status::ERROR & 0x01, 1);
        assert!(request(0x20, [0; 6]).reply(status::GOOD, 0).is_good());
        assert!(!request(0x20, [0; 6]).reply(status::ERROR, 0).is_good());
    }
}
