//! What a frame will probably ask for, from a quick look at its headers.
//! Nothing may depend on it, for nothing was checked.

use super::aoe::Address;
use super::bytes::array;
use super::ether::ETHERTYPE_AOE;

/// ATA commands, requests and replies alike, and the two opcodes of reads.
const ATA: u8 = 0;
const READS: [u8; 2] = [0x20, 0x24];

/// Sectors that will probably be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadHint {
    /// The export.
    pub address: Address,
    /// First sector.
    pub sector: u64,
    /// How many.
    pub count: u8,
}

impl ReadHint {
    /// What an untagged request to read asks for; nothing for any other frame.
    pub fn at(first_piece: &[u8]) -> Option<Self> {
        const HEAD: usize = 36;
        let head: [u8; HEAD] = array(first_piece, 0)?;
        let [_, _, _, _, _, _, _, _, _, _, _, _, type_high, type_low, _, _, rest @ ..] = head;
        let [shelf_high, shelf_low, slot, command, _, _, _, _, _, _, count, opcode, lba @ ..] = rest;
        let is_read = u16::from_be_bytes([type_high, type_low]) == ETHERTYPE_AOE
            && command == ATA
            && READS.contains(&opcode);
        let [a, b, c, d, e, f, _, _] = lba;
        is_read.then_some(Self {
            address: Address { shelf: u16::from_be_bytes([shelf_high, shelf_low]), slot },
            sector: u64::from_le_bytes([a, b, c, d, e, f, 0, 0]),
            count,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::aoe::{Command, Header, Role};
    use crate::wire::ata::{self, Command as Opcode};
    use crate::wire::ether::{Ether, Mac, Tags};
    use crate::wire::{Body, FRAME_LEN_MIN, Request};

    fn frame(command: Opcode, sector: u64) -> [u8; FRAME_LEN_MIN] {
        let ether = Ether { dst: Mac([2; 6]), src: Mac([4; 6]), tags: Tags::NONE };
        let header = Header { ether, role: Role::Request, shelf: 7, slot: 3, command: Command::Ata, tag: 9 };
        let registers = ata::Request::registers_of(sector);
        let ata = ata::Request { flags: 0x40, feature: 0, count: 16, command, registers };
        let mut frame = [0; FRAME_LEN_MIN];
        let body = Body::Ata { ata, payload_offset: 36, payload_len: 0 };
        let _ = Request { header, body }.emit(&mut frame);
        frame
    }

    #[test]
    fn only_reads_are_seen() {
        let seen = ReadHint { address: Address { shelf: 7, slot: 3 }, sector: 0x0102_0304_0506, count: 16 };
        let read = frame(Opcode::ReadSectorsExt, seen.sector);
        assert_eq!(ReadHint::at(&read), Some(seen));
        assert_eq!(ReadHint::at(&frame(Opcode::WriteSectorsExt, seen.sector)), None);
        assert_eq!(ReadHint::at(read.get(..35).unwrap_or(&[])), None);
        for at in [12, 13, 19] {
            let mut other = read;
            if let Some(byte) = other.get_mut(at) {
                *byte ^= 1;
            }
            assert_eq!(ReadHint::at(&other), None, "byte {at}");
        }
    }
}
