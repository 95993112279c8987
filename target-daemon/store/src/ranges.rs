//! The ranges of a discard, decoded from its buffers.
//!
//! ```text
//! one range, 8 bytes, little-endian:
//!  0          6       8
//! ┌──────────┬───────┐
//! │ first    │ count │ …
//! └──────────┴───────┘
//!   6          2       bytes: first sector and number of sectors; 0 for an unused entry
//! ```
//!
//! A frame may lie in several pieces, and a range may cross them. No input causes a panic
//! or an overflow: 48 and 16 bits of sectors are below 2^63 bytes.

use super::{Geometry, IoError, IoVec, OpResult, SECTOR_BYTES};

const RANGE_LEN: usize = 8;

/// Contiguous bytes, from the start of the export or of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// The first byte.
    pub at: u64,
    /// The length in bytes.
    pub bytes: u64,
}

impl Extent {
    /// One past the last byte.
    pub fn end(self) -> u64 {
        self.at.saturating_add(self.bytes)
    }
}

/// The ranges of a discard in bytes from the start of the export, in their order, without
/// the empty ones. They may overlap. Trailing bytes that do not make a whole range are
/// ignored.
pub fn ranges(buffers: &IoVec) -> impl Iterator<Item = Extent> + '_ {
    entries(buffers, 0).filter(|extent| extent.bytes > 0)
}

/// The next non-empty range of a discard at or after entry `from`, with its entry number.
/// For callers that discard one range at a time.
pub(super) fn next(buffers: &IoVec, from: usize) -> Option<(usize, Extent)> {
    let mut numbered = (from..).zip(entries(buffers, from));
    numbered.find(|(_, extent)| extent.bytes > 0)
}

fn entries(buffers: &IoVec, from: usize) -> impl Iterator<Item = Extent> + '_ {
    let mut bytes = buffers.pieces().flatten().copied().skip(from * RANGE_LEN);
    std::iter::from_fn(move || {
        let mut entry = [0; RANGE_LEN];
        for byte in &mut entry {
            *byte = bytes.next()?;
        }
        Some(extent(entry))
    })
}

/// The extent from the first to the last byte of all ranges of a discard; `None` if all are
/// empty.
pub fn span(buffers: &IoVec) -> Option<Extent> {
    ranges(buffers).reduce(|a, b| {
        let at = a.at.min(b.at);
        Extent { at, bytes: a.end().max(b.end()) - at }
    })
}

/// Checks that every range lies within a store of this size.
pub(super) fn check(buffers: &IoVec, geometry: Geometry) -> OpResult {
    let end = geometry.sectors.saturating_mul(SECTOR_BYTES);
    if ranges(buffers).all(|range| range.end() <= end) { Ok(()) } else { Err(IoError::Range) }
}

fn extent([a, b, c, d, e, f, low, high]: [u8; RANGE_LEN]) -> Extent {
    let sector = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
    let count = u64::from(u16::from_le_bytes([low, high]));
    Extent { at: sector * SECTOR_BYTES, bytes: count * SECTOR_BYTES }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// The memory, split into pieces of these lengths and the rest.
    fn buffers(mut memory: &mut [u8], cuts: &[usize]) -> IoVec {
        let mut list = IoVec::empty();
        for cut in cuts {
            let (piece, rest) = memory.split_at_mut((*cut).min(memory.len()));
            memory = rest;
            // SAFETY: the callers keep the memory, unused, for longer than the list.
            assert!(unsafe { list.push(piece) });
        }
        // SAFETY: as above.
        assert!(unsafe { list.push(memory) });
        list
    }

    fn entry(sector: u64, count: u16) -> [u8; 8] {
        (sector | u64::from(count) << 48).to_le_bytes()
    }

    const TOP: u64 = (1 << 48) - 1;

    #[test]
    fn layout_is_the_published_one() {
        let mut memory = [[1, 2, 3, 4, 5, 6, 7, 8], [0xff; 8], [9, 0, 0, 0, 0, 0, 0, 0]].concat();
        let list = buffers(&mut memory, &[]);
        let found: Vec<_> = ranges(&list).collect();
        let first = Extent { at: 0x0605_0403_0201 * 512, bytes: 0x0807 * 512 };
        assert_eq!(found, [first, Extent { at: TOP * 512, bytes: 0xffff * 512 }], "and no empty one");
    }

    #[test]
    fn span_is_from_the_smallest_to_the_largest() {
        for (entries, expected) in [
            (vec![], None),
            (vec![entry(7, 0), entry(0, 0)], None),
            (vec![entry(7, 1)], Some((7, 1))),
            (vec![entry(100, 8), entry(0, 0), entry(10, 5)], Some((10, 98))),
            (vec![entry(10, 50), entry(20, 5)], Some((10, 50))),
            (vec![entry(TOP, 0xffff), entry(0, 1)], Some((0, TOP + 0xffff))),
        ] {
            let mut memory = entries.concat();
            let list = buffers(&mut memory, &[]);
            let sectors = span(&list).map(|span| (span.at / 512, span.bytes / 512));
            assert_eq!(sectors, expected, "{entries:?}");
        }
    }

    #[test]
    fn one_range_beyond_the_end_is_one_too_many() {
        for (sector, count, fits) in [
            (99, 1, true),
            (0, 100, true),
            (99, 2, false),
            (100, 1, false),
            (100, 0, true),
            (TOP, 0, true),
            (TOP, 0xffff, false),
        ] {
            let mut memory = [entry(0, 1), entry(5, 5), entry(sector, count), entry(1, 1)].concat();
            let list = buffers(&mut memory, &[13]);
            let expected = if fits { Ok(()) } else { Err(IoError::Range) };
            assert_eq!(check(&list, Geometry::new(100, 512)), expected, "{sector}+{count}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Any bytes, however they are split, give the same ranges and no panic.
        #[test]
        fn cuts_change_nothing(mut memory in vec(any::<u8>(), 0..700), cuts in vec(0..300usize, 0..7)) {
            let mut copy = memory.clone();
            let whole: Vec<_> = ranges(&buffers(&mut copy, &[])).collect();
            let expected = memory.chunks_exact(8).map(|c| extent(c.try_into().unwrap()));
            prop_assert!(expected.filter(|extent| extent.bytes > 0).eq(whole.iter().copied()));
            let list = buffers(&mut memory, &cuts);
            prop_assert!(ranges(&list).eq(whole.iter().copied()));
            let span = span(&list);
            prop_assert!(whole.iter().all(|r| span.is_some_and(|s| s.at <= r.at && r.end() <= s.end())));
        }
    }
}
