//! Tables of numbers that begin as zeros and take no memory before they are written.

use std::alloc::{Layout, handle_alloc_error};

use memmap2::MmapMut;

/// A table in a mapping of its own. The allocator would reuse memory for it, and clear all of
/// that: half a MiB for each of a thousand exports, of which hosts use a few.
#[derive(Debug)]
pub struct Zeroed(MmapMut);

/// Numbers that are copied together.
const PAGE: usize = 512;

impl Zeroed {
    /// `len` zeros.
    pub fn new(len: usize) -> Self {
        let bytes = len * size_of::<u64>();
        let failed = |_| handle_alloc_error(Layout::array::<u64>(len).unwrap_or(Layout::new::<u64>()));
        Self(MmapMut::map_anon(bytes).unwrap_or_else(failed))
    }

    /// The number at an index.
    #[inline]
    pub fn get(&self, at: usize) -> Option<u64> {
        self.0.as_chunks().0.get(at).map(|bytes| u64::from_ne_bytes(*bytes))
    }

    /// Replaces a number; returns the one before.
    #[inline]
    pub fn replace(&mut self, at: usize, with: impl FnOnce(u64) -> u64) -> Option<u64> {
        let place = self.0.as_chunks_mut().0.get_mut(at)?;
        let before = u64::from_ne_bytes(*place);
        *place = with(before).to_ne_bytes();
        Some(before)
    }

    /// Clears `len` numbers from an index on.
    pub fn clear(&mut self, at: usize, len: usize) {
        if let Some(places) = self.0.as_chunks_mut::<8>().0.get_mut(at..at + len) {
            places.fill([0; 8]);
        }
    }
}

impl Clone for Zeroed {
    /// Copies only what is in use.
    fn clone(&self) -> Self {
        let mut copy = Self::new(self.0.len() / size_of::<u64>());
        let pages = self.0.chunks(PAGE * size_of::<u64>());
        for (to, from) in copy.0.chunks_mut(PAGE * size_of::<u64>()).zip(pages) {
            if from.iter().any(|byte| *byte != 0) {
                to.copy_from_slice(from);
            }
        }
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_begin_as_zeros_and_are_copied() {
        let mut table = Zeroed::new(3 * PAGE + 7);
        assert_eq!(
            (table.get(0), table.get(3 * PAGE + 6), table.get(3 * PAGE + 7)),
            (Some(0), Some(0), None)
        );
        assert_eq!(table.replace(2 * PAGE, |n| n + 5), Some(0));
        assert_eq!(table.replace(3 * PAGE + 6, |_| u64::MAX), Some(0));
        assert_eq!(table.replace(3 * PAGE + 7, |_| 1), None);
        let copy = table.clone();
        table.clear(2 * PAGE, PAGE);
        assert_eq!((table.get(2 * PAGE), copy.get(2 * PAGE)), (Some(0), Some(5)));
        assert_eq!((table.get(3 * PAGE + 6), copy.get(3 * PAGE + 6)), (Some(u64::MAX), Some(u64::MAX)));
    }
}
