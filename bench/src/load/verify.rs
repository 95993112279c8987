//! Checks the contents of sectors by the stamps that writes leave in them:
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

use crate::aoe::SECTOR;
use crate::outcome::Verified;

/// In place of a generation: any content is right.
pub const ANYTHING: u32 = 0;

/// The generation that each sector must hold, and the faults found.
///
/// The generator never has two overlapping requests in flight of which one is a write, so
/// every read has exactly one right answer.
#[derive(Debug)]
pub struct Verifier {
    run: u32,
    /// The first sector.
    first: u64,
    /// By sector from there: the last acknowledged generation, or [`ANYTHING`].
    wanted: Vec<u32>,
    generation: u32,
    /// The result so far. Sectors count as checked if they have at least their own stamp.
    pub found: Verified,
}

/// The kind of an error in a sector, and its description.
type Fault = (&'static str, String);

impl Verifier {
    /// For `sectors` sectors whose contents are not known.
    pub fn new(run: u32, first: u64, sectors: u64) -> Self {
        let wanted = vec![ANYTHING; sectors as usize];
        Self { run, first, wanted, generation: 0, found: Verified::default() }
    }

    /// The generation of a new write.
    pub fn next_generation(&mut self) -> u32 {
        // A run does not reach billions of writes.
        self.generation = self.generation.saturating_add(1);
        self.generation
    }

    /// Stamps the data of a write.
    pub fn stamp(&self, lba: u64, generation: u32, data: &mut [u8]) {
        for (sector, lba) in data.chunks_exact_mut(SECTOR).zip(lba..) {
            Stamp { lba, generation, run: self.run }.write(sector);
        }
    }

    /// Records an acknowledged write; or with [`ANYTHING`] one that failed or was never
    /// answered: it may have happened, or may still happen.
    pub fn written(&mut self, lba: u64, sectors: u8, generation: u32) {
        let at = lba.wrapping_sub(self.first) as usize;
        if let Some(wanted) = self.wanted.get_mut(at..at.saturating_add(sectors.into())) {
            wanted.fill(generation);
        }
    }

    /// Checks the data of a read.
    pub fn check(&mut self, lba: u64, data: &[u8]) {
        for (sector, lba) in data.chunks_exact(SECTOR).zip(lba..) {
            let at = lba.wrapping_sub(self.first) as usize;
            let wanted = self.wanted.get(at).copied().unwrap_or(ANYTHING);
            match self.judge(lba, wanted, sector) {
                Ok(true) => self.found.checked += 1,
                Ok(false) => self.found.unchecked += 1,
                Err(fault) => self.note(lba, wanted, fault),
            }
        }
    }

    /// Whether a sector could be checked, or its fault.
    fn judge(&self, lba: u64, wanted: u32, sector: &[u8]) -> Result<bool, Fault> {
        let Ok(found) = Stamp::read(sector) else {
            return Err(("corrupt", "corrupt: the checksum does not match".to_owned()));
        };
        if let Some(other) = found.map(|stamp| stamp.lba).filter(|&other| other != lba) {
            return Err(("wrong lba", format!("holds the contents of sector {other}")));
        }
        match found.filter(|stamp| stamp.run == self.run).map(|stamp| stamp.generation) {
            _ if wanted == ANYTHING => Ok(found.is_some()),
            None => Err(("lost", "lost: no write of this run is in it".to_owned())),
            Some(found) if found < wanted => Err(("stale", format!("stale: holds write {found}"))),
            Some(found) if found > wanted => {
                Err(("unasked", format!("holds write {found}, which was not acknowledged")))
            }
            Some(_) => Ok(true),
        }
    }

    fn note(&mut self, lba: u64, wanted: u32, (kind, what): Fault) {
        let should = if wanted == ANYTHING { String::new() } else { format!(" should hold write {wanted}") };
        self.found.add(&Verified {
            checked: 1,
            unchecked: 0,
            faults: [(kind.to_owned(), 1)].into(),
            examples: vec![format!("sector {lba}{should}: {what}")],
        });
    }
}

const MAGIC: u64 = u64::from_le_bytes(*b"xbstamp1");
const BODY_AT: usize = 32;
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// The identity of a written sector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    /// Its address.
    lba: u64,
    /// The number of the write in the run, from 1.
    generation: u32,
    /// The run.
    run: u32,
}

impl Stamp {
    /// Fills a sector.
    fn write(&self, sector: &mut [u8]) {
        let seed = self.seed();
        let head = [MAGIC, self.lba, self.who(), seed];
        let body = (1..).map(|n: u64| seed.wrapping_add(n.wrapping_mul(STEP)));
        for (to, word) in sector.chunks_exact_mut(8).zip(head.into_iter().chain(body)) {
            to.copy_from_slice(&word.to_le_bytes());
        }
    }

    /// The stamp of a sector: `None` if it has none, `Err` if it is corrupt.
    fn read(sector: &[u8]) -> Result<Option<Self>, ()> {
        let word = |at: usize| sector.get(at..)?.first_chunk().copied().map(u64::from_le_bytes);
        let (Some(MAGIC), Some(lba), Some(who)) = (word(0), word(8), word(16)) else { return Ok(None) };
        let stamp = Self { lba, generation: who as u32, run: (who >> 32) as u32 };
        let seed = stamp.seed();
        let mut wanted = seed;
        let mut difference = word(24).unwrap_or(0) ^ seed;
        for bytes in sector.get(BODY_AT..SECTOR).unwrap_or(&[]).as_chunks::<8>().0 {
            wanted = wanted.wrapping_add(STEP);
            difference |= u64::from_le_bytes(*bytes) ^ wanted;
        }
        if difference == 0 { Ok(Some(stamp)) } else { Err(()) }
    }

    /// The write that it is of.
    fn who(&self) -> u64 {
        u64::from(self.generation) | u64::from(self.run) << 32
    }

    /// A hash in which every bit of the stamp counts (the finalizer of splitmix64).
    fn seed(&self) -> u64 {
        let mut z = self.lba.wrapping_mul(STEP) ^ self.who();
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_total(verifier: &Verifier) -> u64 {
        verifier.found.faults.values().sum()
    }

    fn sector(lba: u64, generation: u32, run: u32) -> [u8; SECTOR] {
        let mut sector = [0; SECTOR];
        Stamp { lba, generation, run }.write(&mut sector);
        sector
    }

    #[test]
    fn each_fault_is_told_by_its_name() {
        let mut torn = sector(3, 2, 9);
        torn[256..].copy_from_slice(&sector(3, 1, 9)[256..]);
        for (found, expected) in [
            (sector(3, 2, 9), None),
            ([0; SECTOR], Some("lost: no write of this run is in it")),
            (sector(3, 2, 8), Some("lost: no write of this run is in it")),
            (sector(3, 1, 9), Some("stale: holds write 1")),
            (sector(3, 4, 9), Some("holds write 4, which was not acknowledged")),
            (sector(4, 2, 9), Some("holds the contents of sector 4")),
            (torn, Some("corrupt: the checksum does not match")),
        ] {
            let mut verifier = Verifier::new(9, 2, 8);
            verifier.written(3, 1, 2);
            verifier.check(3, &found);
            let example = expected.map(|fault| format!("sector 3 should hold write 2: {fault}"));
            assert_eq!(verifier.found.examples.first(), example.as_ref());
            assert_eq!((verifier.found.checked, verifier.found.unchecked), (1, 0));
        }
    }

    #[test]
    fn what_was_not_written_is_not_judged_but_a_foreign_sector_is() {
        let mut verifier = Verifier::new(9, 2, 8);
        verifier.check(3, &[0; SECTOR]);
        verifier.check(3, &sector(3, 77, 8));
        verifier.written(4, 2, 1);
        verifier.written(4, 2, ANYTHING);
        verifier.check(4, &sector(4, 3, 9));
        assert_eq!((verifier.found.checked, verifier.found.unchecked, faults_total(&verifier)), (2, 1, 0));
        verifier.check(3, &sector(5, 77, 8));
        assert_eq!(faults_total(&verifier), 1);
    }
}

#[cfg(test)]
mod stamp_tests {
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
            assert_eq!(Stamp::read(&damaged), Err(()), "byte {at}");
        }
        assert_eq!(Stamp::read(&[0; SECTOR]), Ok(None));
    }
}
