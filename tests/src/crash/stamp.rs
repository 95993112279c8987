//! Sectors that tell what they are: their place, their generation, and 496
//! bytes that follow from both, so that no part of one can pass for another.

use super::random::mix;

/// Bytes in a sector.
pub const SECTOR: usize = 512;

/// What a sector holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// All of this generation, which was written here; 0 for zeros.
    Generation(u64),
    /// All of a generation that was written to another sector.
    WrongPlace {
        /// Where it belongs.
        lba: u64,
        /// Its generation.
        generation: u64,
    },
    /// Nothing that was ever sent.
    Torn,
}

/// Appends a sector. `run` keeps apart what different runs leave on a disk.
pub fn stamp(run: u64, lba: u64, generation: u64, bytes: &mut Vec<u8>) {
    bytes.extend(lba.to_le_bytes());
    bytes.extend(generation.to_le_bytes());
    for word in filling(run, lba, generation) {
        bytes.extend(word.to_le_bytes());
    }
}

/// Reads a sector, found at `lba`.
pub fn read(run: u64, lba: u64, sector: &[u8]) -> Found {
    if sector.iter().all(|byte| *byte == 0) {
        return Found::Generation(0);
    }
    let mut words = sector.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap()));
    let (place, generation) = (words.next().unwrap(), words.next().unwrap());
    match (words.eq(filling(run, place, generation)), place == lba) {
        (true, true) => Found::Generation(generation),
        (true, false) => Found::WrongPlace { lba: place, generation },
        (false, _) => Found::Torn,
    }
}

fn filling(run: u64, lba: u64, generation: u64) -> impl Iterator<Item = u64> {
    let base = mix(run ^ mix(lba ^ mix(generation)));
    (2..SECTOR as u64 / 8).map(move |at| mix(base.wrapping_add(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamped(lba: u64, generation: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        stamp(1, lba, generation, &mut bytes);
        bytes
    }

    #[test]
    fn a_sector_tells_what_it_is() {
        let sector = stamped(7, 3);
        assert_eq!(sector.len(), SECTOR);
        assert_eq!(read(1, 7, &sector), Found::Generation(3));
        assert_eq!(read(1, 8, &sector), Found::WrongPlace { lba: 7, generation: 3 });
        assert_eq!(read(2, 7, &sector), Found::Torn, "of another run");
        assert_eq!(read(1, 7, &[0; SECTOR]), Found::Generation(0));
    }

    #[test]
    fn every_mixture_of_two_generations_is_torn() {
        let (old, new) = (stamped(7, 3), stamped(7, 4));
        for cut in (8..SECTOR).step_by(8) {
            let torn = [&new[..cut], &old[cut..]].concat();
            // The first eight bytes, the place, are the same in both.
            let expected = if cut == 8 { Found::Generation(3) } else { Found::Torn };
            assert_eq!(read(1, 7, &torn), expected, "cut at {cut}");
        }
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        for at in 0..SECTOR {
            let mut sector = stamped(7, 3);
            sector[at] ^= 0x10;
            assert_eq!(read(1, 7, &sector), Found::Torn, "byte {at}");
        }
    }
}
