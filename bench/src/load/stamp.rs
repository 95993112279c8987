//! Stamps: the contents of a sector written to be checked.
//!
//! ```text
//! 0       8     16           20    24       32                          512
//! ┌───────┬─────┬────────────┬─────┬────────┬─────────────────────────────┐
//! │ magic │ lba │ generation │ run │  seed  │ seed + 1·K, seed + 2·K, …   │
//! └───────┴─────┴────────────┴─────┴────────┴─────────────────────────────┘
//! ```
//!
//! The seed is a hash of lba, generation and run, and determines all bytes after it. So
//! it serves as a checksum: a sector mixed from two writes does not pass.

use std::fmt;

use crate::aoe::SECTOR;

const MAGIC: u64 = u64::from_le_bytes(*b"xbstamp1");
const BODY_AT: usize = 32;
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// The identity of a written sector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Its address.
    pub lba: u64,
    /// The number of the write in the run, from 1.
    pub generation: u32,
    /// The run.
    pub run: u32,
}

/// An error in a sector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// An acknowledged write is missing: there is no stamp of this run.
    Lost,
    /// An older write of this run than the last acknowledged one.
    Stale {
        /// The generation found.
        found: u32,
    },
    /// A write of this run that was not acknowledged or not sent yet.
    Unasked {
        /// The generation found.
        found: u32,
    },
    /// The contents of another sector.
    WrongLba {
        /// Its address.
        found: u64,
    },
    /// Some bytes differ from what was written.
    Corrupt,
}

impl Fault {
    /// The number of kinds.
    pub const KINDS: usize = 5;
    /// The names of the kinds, indexed by [`Fault::kind`].
    pub const NAMES: [&str; Self::KINDS] = ["lost", "stale", "unasked", "wrong lba", "corrupt"];

    /// Its index.
    pub fn kind(self) -> usize {
        match self {
            Self::Lost => 0,
            Self::Stale { .. } => 1,
            Self::Unasked { .. } => 2,
            Self::WrongLba { .. } => 3,
            Self::Corrupt => 4,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost => write!(f, "lost: no write of this run is in it"),
            Self::Stale { found } => write!(f, "stale: holds write {found}"),
            Self::Unasked { found } => write!(f, "holds write {found}, which was not acknowledged"),
            Self::WrongLba { found } => write!(f, "holds the contents of sector {found}"),
            Self::Corrupt => write!(f, "corrupt: the checksum does not match"),
        }
    }
}

impl Stamp {
    /// Fills a sector.
    pub fn write(&self, sector: &mut [u8]) {
        let seed = self.seed();
        let head = [MAGIC, self.lba, u64::from(self.generation) | u64::from(self.run) << 32, seed];
        let body = (1..).map(|n: u64| seed.wrapping_add(n.wrapping_mul(STEP)));
        for (to, word) in sector.chunks_exact_mut(8).zip(head.into_iter().chain(body)) {
            to.copy_from_slice(&word.to_le_bytes());
        }
    }

    /// The stamp of a sector: `None` if it has none, `Err` if it is corrupt.
    pub fn read(sector: &[u8]) -> Result<Option<Self>, Fault> {
        let word = |at: usize| sector.get(at..)?.first_chunk().copied().map(u64::from_le_bytes);
        if word(0) != Some(MAGIC) {
            return Ok(None);
        }
        let (Some(lba), Some(who)) = (word(8), word(16)) else {
            return Ok(None);
        };
        let stamp = Self { lba, generation: who as u32, run: (who >> 32) as u32 };
        let seed = stamp.seed();
        let mut wanted = seed;
        let mut difference = word(24).unwrap_or(0) ^ seed;
        for bytes in sector.get(BODY_AT..SECTOR).unwrap_or(&[]).as_chunks::<8>().0 {
            wanted = wanted.wrapping_add(STEP);
            difference |= u64::from_le_bytes(*bytes) ^ wanted;
        }
        if difference == 0 { Ok(Some(stamp)) } else { Err(Fault::Corrupt) }
    }

    /// A hash in which every bit of the stamp counts (the finalizer of splitmix64).
    fn seed(&self) -> u64 {
        let who = u64::from(self.generation) | u64::from(self.run) << 32;
        let mut z = self.lba.wrapping_mul(STEP) ^ who;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_changed_byte_behind_the_magic_is_noticed() {
        let stamp = Stamp { lba: 1 << 40, generation: 7, run: 0xDEAD };
        let mut sector = [0; SECTOR];
        stamp.write(&mut sector);
        assert_eq!(Stamp::read(&sector), Ok(Some(stamp)));
        for at in 8..SECTOR {
            let mut damaged = sector;
            if let Some(byte) = damaged.get_mut(at) {
                *byte ^= 0x10;
            }
            assert_eq!(Stamp::read(&damaged), Err(Fault::Corrupt), "byte {at}");
        }
        assert_eq!(Stamp::read(&[0; SECTOR]), Ok(None));
    }
}
