//! An array of integers, in memory of its own or in a map of the XDP program.

use std::io;
use std::os::fd::RawFd;
use std::slice;
use std::sync::atomic::AtomicU64;

use memmap2::{MmapOptions, MmapRaw};

/// Integers that another core, or the kernel, may access at the same time.
#[derive(Debug)]
pub enum SharedWords {
    /// Memory of its own.
    Own(Box<[AtomicU64]>),
    /// The mapping of a map, and the number of integers.
    Mapped(MmapRaw, usize),
}

impl SharedWords {
    /// This number of zeros.
    pub fn new(words: usize) -> Self {
        Self::Own((0..words).map(|_| AtomicU64::new(0)).collect())
    }

    /// The first `words` integers of a map.
    ///
    /// # Errors
    ///
    /// Those of `mmap`: the map has fewer.
    pub fn map(map: RawFd, words: usize) -> io::Result<Self> {
        Ok(Self::Mapped(MmapOptions::new().len(words * size_of::<AtomicU64>()).map_raw(map)?, words))
    }

    /// The integers.
    #[inline]
    pub fn words(&self) -> &[AtomicU64] {
        match self {
            Self::Own(words) => words,
            // SAFETY: the mapping has this number of integers, is aligned to a page, and lives as
            // long as `self`. The kernel never shrinks a map. All others access it as integers of
            // this size, too, with single loads and stores.
            Self::Mapped(map, words) => unsafe { slice::from_raw_parts(map.as_ptr().cast(), *words) },
        }
    }
}
