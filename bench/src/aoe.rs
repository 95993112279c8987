//! What an initiator says and hears: requests as bytes, replies as meaning.
//!
//! ```text
//! 0    6    12     14         15     16     18    19       20   24        36
//! ┌────┬────┬──────┬──────────┬──────┬──────┬─────┬────────┬────┬─────────┬──────
//! │dst │src │ 88a2 │ver/flags │error │shelf │slot │command │tag │argument │ data
//! └────┴────┴──────┴──────────┴──────┴──────┴─────┴────────┴────┴─────────┴──────
//! ATA argument:   24 flags, 25 feature/error, 26 count, 27 command/status, 28 lba (6, little-endian)
//! query argument: 24 buffer count, 26 firmware, 28 sectors, 29 version/command, 30 length, 32 string
//! ```

use std::fmt;
use std::str::FromStr;

/// The EtherType of AoE.
pub const ETHERTYPE: u16 = 0x88A2;
/// Bytes in front of the data of an ATA frame.
pub const DATA_AT: usize = 36;
/// Bytes in a sector.
pub const SECTOR: usize = 512;
/// Shortest frame: nobody pads what leaves through AF_XDP.
pub const FRAME_MIN: usize = 60;
/// Set in every tag of ours. The Linux initiator ignores replies with it, and
/// the XDP program takes no others: both can use one interface.
pub const TAG_USER: u32 = 1 << 31;

/// The response flag.
pub const FLAG_RESPONSE: u8 = 0x08;
/// The error flag.
pub const FLAG_ERROR: u8 = 0x04;
/// ATA: any of these bits in the status fails a request, for Linux too.
pub const STATUS_BAD: u8 = 0xA9;

/// AoE command 0.
pub const COMMAND_ATA: u8 = 0;
/// AoE command 1.
pub const COMMAND_QUERY: u8 = 1;

/// READ SECTORS EXT.
pub const READ_EXT: u8 = 0x24;
/// WRITE SECTORS EXT.
pub const WRITE_EXT: u8 = 0x34;
/// IDENTIFY DEVICE.
pub const IDENTIFY: u8 = 0xEC;

/// A MAC address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Everybody on the segment.
    pub const BROADCAST: Self = Self([0xff; 6]);
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Shelf and slot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Address {
    /// The shelf; 0xffff in a request means any.
    pub shelf: u16,
    /// The slot; 0xff in a request means any.
    pub slot: u8,
}

impl Address {
    /// Every export.
    pub const ANY: Self = Self {
        shelf: 0xffff,
        slot: 0xff,
    };
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.shelf, self.slot)
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('.').and_then(|(shelf, slot)| {
            Some(Self {
                shelf: shelf.parse().ok()?,
                slot: slot.parse().ok()?,
            })
        });
        parsed.ok_or_else(|| format!("{text:?} is not an address: write SHELF.SLOT, as in 7.0"))
    }
}

/// Who talks to which export.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Our MAC address.
    pub from: Mac,
    /// The target's, or broadcast.
    pub to: Mac,
    /// The export, or any.
    pub address: Address,
}

impl Route {
    /// A request to read the config string; 60 bytes.
    pub fn query(&self, tag: u32) -> [u8; FRAME_MIN] {
        self.header(COMMAND_QUERY, tag)
    }

    /// The first 36 bytes of an ATA request, padded to 60: a request without
    /// data is all of it, one with data the first [`DATA_AT`] bytes and the data.
    pub fn ata(&self, ata: Ata, tag: u32) -> [u8; FRAME_MIN] {
        const FLAG_EXTENDED: u8 = 0x40;
        const FLAG_WRITE: u8 = 0x01;
        let mut frame = self.header(COMMAND_ATA, tag);
        let flags = match ata.command {
            READ_EXT => FLAG_EXTENDED,
            WRITE_EXT => FLAG_EXTENDED | FLAG_WRITE,
            _ => 0,
        };
        let [l0, l1, l2, l3, l4, l5, ..] = ata.lba.to_le_bytes();
        put(
            &mut frame,
            24,
            &[flags, 0, ata.sectors, ata.command, l0, l1, l2, l3, l4, l5],
        );
        frame
    }

    fn header(&self, command: u8, tag: u32) -> [u8; FRAME_MIN] {
        let mut frame = [0; FRAME_MIN];
        put(&mut frame, 0, &self.to.0);
        put(&mut frame, 6, &self.from.0);
        put(&mut frame, 12, &ETHERTYPE.to_be_bytes());
        put(&mut frame, 14, &[0x10, 0]);
        put(&mut frame, 16, &self.address.shelf.to_be_bytes());
        put(&mut frame, 18, &[self.address.slot, command]);
        put(&mut frame, 20, &tag.to_be_bytes());
        frame
    }
}

/// An ATA command of an initiator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ata {
    /// The command's code.
    pub command: u8,
    /// The first sector.
    pub lba: u64,
    /// How many sectors.
    pub sectors: u8,
}

/// A reply's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reply {
    /// Who sent it.
    pub from: Mac,
    /// Which export.
    pub address: Address,
    /// The tag of the request that it answers.
    pub tag: u32,
    /// What it says.
    pub body: Body,
}

/// What a reply says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Body {
    /// An ATA command was executed, or failed.
    Ata {
        /// The status register.
        status: u8,
        /// The error register.
        error: u8,
    },
    /// The config string and what surrounds it.
    Query(Query),
    /// The error flag is set.
    Refused(u8),
    /// An answer to a command that we never send.
    Other(u8),
}

/// What an export tells about itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Query {
    /// Requests that it can hold at once.
    pub buffer_count: u16,
    /// Its firmware version.
    pub firmware: u16,
    /// Most sectors in a frame.
    pub sectors: u8,
    /// Bytes of the config string, at offset 32.
    pub config_len: u16,
}

impl Reply {
    /// Reads the header of a reply; `None` for anything else.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let flags = *frame.get(14)?;
        if array(frame, 12).map(u16::from_be_bytes) != Some(ETHERTYPE) || flags & FLAG_RESPONSE == 0
        {
            return None;
        }
        let address = Address {
            shelf: u16::from_be_bytes(array(frame, 16)?),
            slot: *frame.get(18)?,
        };
        let body = match *frame.get(19)? {
            _ if flags & FLAG_ERROR != 0 => Body::Refused(*frame.get(15)?),
            COMMAND_ATA => Body::Ata {
                status: *frame.get(27)?,
                error: *frame.get(25)?,
            },
            COMMAND_QUERY => Body::Query(Query {
                buffer_count: u16::from_be_bytes(array(frame, 24)?),
                firmware: u16::from_be_bytes(array(frame, 26)?),
                sectors: *frame.get(28)?,
                config_len: u16::from_be_bytes(array(frame, 30)?),
            }),
            other => Body::Other(other),
        };
        let tag = u32::from_be_bytes(array(frame, 20)?);
        Some(Self {
            from: Mac(array(frame, 6)?),
            address,
            tag,
            body,
        })
    }
}

/// The size in sectors that IDENTIFY data tells.
pub fn identified_sectors(data: &[u8]) -> Option<u64> {
    let words = |at: usize| array::<8>(data, at * 2).map(u64::from_le_bytes);
    let word = |at: usize| array::<2>(data, at * 2).map(u16::from_le_bytes);
    if (word(83)? | word(86)?) & 1 << 10 != 0 {
        return words(100);
    }
    array::<4>(data, 60 * 2)
        .map(u32::from_le_bytes)
        .map(u64::from)
}

/// The model that IDENTIFY data names.
pub fn identified_model(data: &[u8]) -> String {
    let swapped: Vec<u8> = data
        .get(54..94)
        .unwrap_or(&[])
        .chunks(2)
        .flat_map(|w| w.iter().rev())
        .copied()
        .collect();
    String::from_utf8_lossy(&swapped).trim().to_owned()
}

/// The `N` bytes at `at`, if they are there.
pub fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Writes `value` at `at`; nothing, if it does not fit.
pub fn put(out: &mut [u8], at: usize, value: &[u8]) {
    if let Some(to) = out
        .get_mut(at..)
        .and_then(|rest| rest.get_mut(..value.len()))
    {
        to.copy_from_slice(value);
    }
}
