//! Frames, byte by byte, in the published layout.

use crate::{Address, BROADCAST, HOST, Mac, TARGET_MAC};

/// "Any shelf".
pub const SHELF_ANY: u16 = 0xffff;
/// "Any slot".
pub const SLOT_ANY: u8 = 0xff;

/// ATA commands.
pub const ATA: u8 = 0;
/// Query config information.
pub const QUERY: u8 = 1;
/// MAC mask list.
pub const MASK: u8 = 2;
/// Reserve and release.
pub const RESERVE: u8 = 3;

/// A request. Every field can have an invalid value.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Destination.
    pub dst: Mac,
    /// Source.
    pub src: Mac,
    /// VLAN tags: TPID and TCI of each.
    pub vlan: Vec<u8>,
    /// Version and flags.
    pub version_flags: u8,
    /// The error byte.
    pub error: u8,
    /// Major.
    pub shelf: u16,
    /// Minor.
    pub slot: u8,
    /// AoE command.
    pub command: u8,
    /// Tag.
    pub tag: u32,
    /// Everything after the header.
    pub argument: Vec<u8>,
}

impl Ask {
    /// An untagged request of [`HOST`] to [`TARGET_MAC`].
    pub fn new((shelf, slot): Address, command: u8, argument: impl Into<Vec<u8>>) -> Self {
        Self {
            dst: TARGET_MAC,
            src: HOST,
            vlan: Vec::new(),
            version_flags: 0x10,
            error: 0,
            shelf,
            slot,
            command,
            tag: 0x1234_5678,
            argument: argument.into(),
        }
    }

    /// Changes the source.
    #[must_use]
    pub fn from(self, src: Mac) -> Self {
        Self { src, ..self }
    }

    /// Changes the destination to broadcast.
    #[must_use]
    pub fn broadcast(self) -> Self {
        Self { dst: BROADCAST, ..self }
    }

    /// Appends bytes.
    #[must_use]
    pub fn trailed_by(mut self, bytes: &[u8]) -> Self {
        self.argument.extend(bytes);
        self
    }

    /// The bytes of the frame, not padded.
    pub fn bytes(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        frame.extend(self.dst);
        frame.extend(self.src);
        frame.extend(&self.vlan);
        frame.extend([0x88, 0xA2, self.version_flags, self.error]);
        frame.extend(self.shelf.to_be_bytes());
        frame.extend([self.slot, self.command]);
        frame.extend(self.tag.to_be_bytes());
        frame.extend(&self.argument);
        frame
    }

    /// Length of what precedes the AoE header, in bytes.
    pub fn link_len(&self) -> usize {
        14 + self.vlan.len()
    }

    /// The reply that the export at `from` must send, with this argument.
    pub fn reply(&self, from: Address, argument: &[u8]) -> Vec<u8> {
        self.response(from, 0x18, 0, argument)
    }

    /// The refusal that the export at `from` must send.
    pub fn refusal(&self, from: Address, error: u8) -> Vec<u8> {
        self.response(from, 0x1C, error, &[])
    }

    /// A refusal with an argument.
    pub fn refusal_with(&self, from: Address, error: u8, argument: &[u8]) -> Vec<u8> {
        self.response(from, 0x1C, error, argument)
    }

    fn response(&self, (shelf, slot): Address, version_flags: u8, error: u8, argument: &[u8]) -> Vec<u8> {
        // The reply to a broadcast comes from the interface's own address.
        let src = if self.dst == BROADCAST { TARGET_MAC } else { self.dst };
        let response = Self {
            dst: self.src,
            src,
            version_flags,
            error,
            shelf,
            slot,
            argument: argument.to_vec(),
            ..self.clone()
        };
        padded(response.bytes())
    }
}

/// Pads a frame with zeros to 60 bytes.
pub fn padded(mut frame: Vec<u8>) -> Vec<u8> {
    if frame.len() < 60 {
        frame.resize(60, 0);
    }
    frame
}

/// An ATA argument with the flags that Linux sets for this opcode.
pub fn ata(opcode: u8, lba: u64, count: u8, data: &[u8]) -> Vec<u8> {
    let write = matches!(opcode, 0x06 | 0x30 | 0x34 | 0xCA | 0x35);
    let extended = matches!(opcode, 0x24 | 0x34 | 0x25 | 0x35 | 0xEA);
    let flags = if extended { 0x40 } else { 0 } | u8::from(write);
    ata_with(flags, 0, opcode, lba, count, data)
}

/// An ATA argument.
pub fn ata_with(flags: u8, feature: u8, opcode: u8, lba: u64, count: u8, data: &[u8]) -> Vec<u8> {
    let mut argument = vec![flags, feature, count, opcode];
    argument.extend(&lba.to_le_bytes()[..6]);
    argument.extend([0, 0]);
    argument.extend(data);
    argument
}

/// The argument of the reply to an ATA argument: defined flags and LBA are returned,
/// count is 0.
pub fn ata_done(argument: &[u8], status: u8, error: u8, data: &[u8]) -> Vec<u8> {
    let mut reply = vec![argument[0] & 0x53, error, 0, status];
    reply.extend(&argument[4..10]);
    reply.extend([0, 0]);
    reply.extend(data);
    reply
}

/// The argument of a TRIM: ranges of sectors, each with start and count, in as many
/// blocks as needed.
pub fn trim(ranges: &[(u64, u16)]) -> Vec<u8> {
    let mut data = Vec::new();
    for (lba, count) in ranges {
        data.extend(&lba.to_le_bytes()[..6]);
        data.extend(count.to_le_bytes());
    }
    data.resize(data.len().next_multiple_of(512), 0);
    ata_with(0x41, 0x01, 0x06, 0, (data.len() / 512) as u8, &data)
}

/// The argument of a query: code and string.
pub fn query(code: u8, string: &[u8]) -> Vec<u8> {
    query_with(code, string.len() as u16, string)
}

/// The argument of a query whose length field may differ from the length of its string.
pub fn query_with(code: u8, length: u16, string: &[u8]) -> Vec<u8> {
    let mut argument = vec![0, 0, 0, 0, 0, code];
    argument.extend(length.to_be_bytes());
    argument.extend(string);
    argument
}

/// The argument of the reply to a query.
pub fn query_done(buffer_count: u16, sectors: u8, code: u8, string: &[u8]) -> Vec<u8> {
    let mut argument = buffer_count.to_be_bytes().to_vec();
    argument.extend([0, 1, sectors, 0x10 | code]);
    argument.extend((string.len() as u16).to_be_bytes());
    argument.extend(string);
    argument
}

/// The argument of a mask command: code, error, count and directives.
pub fn mask(code: u8, error: u8, count: u8, directives: &[(u8, Mac)]) -> Vec<u8> {
    let mut argument = vec![0, code, error, count];
    for (directive, mac) in directives {
        argument.extend([0, *directive]);
        argument.extend(mac);
    }
    argument
}

/// The argument of a reserve command: code, count and addresses.
pub fn reserve(code: u8, count: u8, macs: &[Mac]) -> Vec<u8> {
    let mut argument = vec![code, count];
    argument.extend(macs.iter().flatten());
    argument
}

/// A MAC address with this number.
pub fn mac(number: u8) -> Mac {
    [2, 0, 0, 0, 7, number]
}
